"""Exceptions of calopipe. Each message names the file or key, what was expected and what was found."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Iterable
from typing import Any


class CalopipeError(Exception):
    """Base class of every error that calopipe raises on purpose; the command line prints it without a traceback."""


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
    return printable(_Shown().repr(value))


def printable(text: str, longest: int = 100) -> str:
    """`text` without control characters, cut to `longest` characters."""
    plain = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)
    return plain if len(plain) <= longest else plain[: longest - 3] + "..."


def nearest(name: object, valid: Iterable[str]) -> str:
    """Return `` (did you mean 'x'?)`` for the closest valid name, or an empty string when nothing is close."""
    if not isinstance(name, str) or len(name) > 200:
        return ""
    close = difflib.get_close_matches(name, [v for v in valid if isinstance(v, str)], n=1, cutoff=0.5)
    return f" (did you mean '{close[0]}'?)" if close else ""
