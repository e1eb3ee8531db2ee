"""Checksums of files and folders."""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from calopipe.errors import DataError

#: file by which Snakemake dates a folder that is an output; it is none of the results
FOLDER_STAMP = ".snakemake_timestamp"


def file_hash(path: str | Path, algorithm: str = "sha256") -> str:
    """Return the hexadecimal digest of a file, read in pieces. Raises DataError when it cannot be read.

    A file that has not changed (size, times of its content and of its entry) is read once per process.
    """
    try:
        state = os.stat(path)
        return _file_hash(os.path.abspath(path), algorithm, state.st_size, state.st_mtime_ns, state.st_ctime_ns)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from error


@functools.lru_cache(maxsize=1024)
def _file_hash(path: str, algorithm: str, *_state: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def content_hash(path: str | Path) -> tuple[str, int]:
    """SHA-256 and bytes of a file, or of all files of a folder with their names. Raises DataError."""
    path = Path(path)
    if not path.is_dir():
        return file_hash(path), path.stat().st_size
    files = sorted(file for file in path.rglob("*") if file.is_file() and file.name != FOLDER_STAMP)
    parts = [f"{file.relative_to(path).as_posix()} {file_hash(file)}\n" for file in files]
    return hashlib.sha256("".join(parts).encode()).hexdigest(), size(path)


def size(path: str | Path) -> int:
    """Bytes of a file, or of all files of a folder; OSError where there is none."""
    path = Path(path)
    if not path.is_dir():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def repeated(paths: Sequence[str | Path]) -> str | None:
    """Say which file is listed twice: by name, by a link, or as a copy with the same contents; None where none is.

    Contents are read only of files of equal size.
    """
    seen: dict[Any, str | Path] = {}
    known = [path for path in paths if Path(path).is_file()]  # reading the others says that they are missing
    sizes = [Path(path).stat().st_size for path in known]
    for path, size in zip(known, sizes, strict=True):
        status = Path(path).stat()
        keys: list[Any] = [(status.st_dev, status.st_ino)]
        if sizes.count(size) > 1:
            keys.append((size, file_hash(path)))
        for key in keys:
            if key in seen:
                how = "listed twice" if str(seen[key]) == str(path) else f"the same file as {seen[key]}"
                return f"{path}: {how}: its showers would be counted twice"
        seen |= dict.fromkeys(keys, path)
    return None
