"""Checksums of files."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from calopipe.errors import DataError


def file_hash(path: str | Path, algorithm: str = "sha256") -> str:
    """Return the hexadecimal digest of a file, read in pieces. Raises DataError when it cannot be read."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, algorithm).hexdigest()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from error


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
