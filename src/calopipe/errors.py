"""Exceptions of calopipe. Each message names the file or key, what was expected and what was found."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Hashable, Iterable
from typing import Any


class CalopipeError(Exception):
    """Base class of every error that calopipe raises on purpose; the command line prints it without a traceback.

    The message is one line of printable characters, whatever the names in it are.
    """

    def __str__(self) -> str:
        return printable(super().__str__())


class ConfigError(CalopipeError):
    """The configuration is not valid: unknown key, wrong type, missing reference."""


class GeometryError(CalopipeError):
    """A geometry description is malformed, or does not fit the data it is used with."""


class DataError(CalopipeError):
    """A shower file is missing, truncated, of the wrong shape, or holds values that are not energies."""


class DownloadError(CalopipeError):
    """A file could not be fetched or failed its checksum."""


class CheckpointError(CalopipeError):
    """A checkpoint is unreadable, or belongs to another model, geometry or version."""


class TrainingError(CalopipeError):
    """Training cannot go on: non-finite loss, no data, or an unusable schedule."""


class NumericsError(CalopipeError):
    """A numerical routine met input on which its result is not defined."""


class MetricUnavailable(CalopipeError):
    """A metric cannot be computed on this input; the message says why. Recorded as missing, never as a number."""


class _Shown(reprlib.Repr):
    """Bounded in depth, length and time, whatever it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxdict, self.maxlist, self.maxtuple = 3, 4, 6, 6
        self.maxstring = self.maxother = 60
        self.maxlong = 40

    def repr_int(self, x: int, level: int) -> str:
        return f"an integer of {x.bit_length()} bits" if x.bit_length() > 200 else repr(x)


def shown(value: Any) -> str:
    """`value` for a message: one short line."""
    return printable(_Shown().repr(value), 100)


def printable(text: str, longest: int | None = None, keep: str = "") -> str:
    r"""`text` for a terminal: what is no printable character (control codes, lone bytes) is shown as ``\x1b``, ``\udcff``.

    Args:
        text: may be from a file, or the name of one.
        longest: cut to so many characters; None: not cut.
        keep: characters to leave as they are, such as newlines.
    """
    plain = text if text.isprintable() else "".join(_shown_character(c, keep) for c in text)
    return plain if longest is None or len(plain) <= longest else plain[: longest - 3] + "..."


def _shown_character(c: str, keep: str) -> str:
    if c.isprintable() or c in keep:
        return c
    return f"\\x{ord(c):02x}" if ord(c) < 128 else c.encode("ascii", "backslashreplace").decode()


def repeated(items: Iterable[Hashable]) -> Any:
    """The first item that was there before, or None."""
    seen: set[Hashable] = set()
    for item in items:
        if item in seen:
            return item
        seen.add(item)
    return None


def nearest(name: object, valid: Iterable[str]) -> str:
    """Return `` (did you mean 'x'?)`` for the closest valid name, or an empty string when nothing is close."""
    if not isinstance(name, str) or len(name) > 200:
        return ""
    close = difflib.get_close_matches(name, [v for v in valid if isinstance(v, str)], n=1, cutoff=0.5)
    return f" (did you mean '{close[0]}'?)" if close else ""
