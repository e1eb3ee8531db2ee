"""Whatever goes wrong with a file that may be cut, damaged or somebody else's becomes one line that names it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from calopipe.errors import CalopipeError, DataError
from calopipe.records.paths import rule_of


def remedy(path: str | Path) -> str:
    """What to do about a damaged file of a study, naming the stage that writes it; empty for other files."""
    stage = rule_of(path)
    return f"delete it and start the study again: stage {stage} writes it anew" if stage else ""


@contextmanager
def reading(path: str | Path, what: str = "cannot be read") -> Iterator[None]:
    """Turn any exception of the body into a DataError ``<path>: <what> (<reason>)[; <remedy>]``; our own errors pass.

    Libraries that parse damaged files raise nearly everything: OSError, KeyError, RuntimeError, BadZipFile, EOFError,
    MemoryError (of a size that the file declares), RecursionError, ...
    """
    try:
        yield
    except CalopipeError:
        raise
    except Exception as error:
        raise DataError(f"{path}: {what} ({reason_of(error)}){_and(remedy(path))}") from error


def _and(text: str) -> str:
    return f"; {text}" if text else ""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an OSError into a DataError that names `path`."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or " ".join(str(error).split())
        raise DataError(f"{path}: cannot be written ({reason})") from error


def reason_of(error: BaseException) -> str:
    """Why something failed, in one line."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, KeyError) and error.args:
        return f"no entry {error.args[0]!r}" if str(error.args[0]).isidentifier() else str(error.args[0])
    return " ".join(str(error).split()) or type(error).__name__


def read_json(path: str | Path, what: str = "not JSON") -> Any:
    """Parse a JSON file. Raises DataError when it is missing, cut or no JSON; NaN and infinities are refused too."""
    with reading(path, what):
        _is_file(path)
        return json.loads(Path(path).read_text(encoding="utf-8"), parse_constant=_no_number)


def read_npz(path: str | Path, keys: Sequence[str] = (), what: str = "not an NPZ file") -> dict[str, np.ndarray]:
    """All arrays of an NPZ file; pickled objects are never loaded.

    Raises:
        DataError: missing, cut or damaged (every array is read, so its checksum is compared), or one of `keys` is not there.
    """
    with reading(path, what):
        _is_file(path)
        with open(path, "rb") as file:
            start = file.read(2)
            if start != b"PK":
                raise ValueError("it is empty" if not start else f"it begins with {start!r}")
            file.seek(0)
            with np.load(file, allow_pickle=False) as data:
                arrays = {name: data[name] for name in data.files}
        missing = [key for key in keys if key not in arrays]
        if missing:
            raise ValueError(f"no array '{missing[0]}'")
        return arrays


def _is_file(path: str | Path) -> None:
    if not Path(path).is_file():
        found = (
            "is a directory" if Path(path).is_dir() else "is no plain file" if Path(path).exists() else "no such file"
        )
        raise DataError(f"{path}: {found}{_and(remedy(path))}")


def _no_number(text: str) -> Any:
    raise ValueError(f"'{text}' is no number")
