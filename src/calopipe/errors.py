"""Exceptions of calopipe. Each message names the file or key, what was expected and what was found."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


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


def nearest(name: str, valid: Iterable[str]) -> str:
    """Return `` (did you mean 'x'?)`` for the closest valid name, or an empty string when nothing is close."""
    close = difflib.get_close_matches(name, list(valid), n=1, cutoff=0.5)
    return f" (did you mean '{close[0]}'?)" if close else ""
