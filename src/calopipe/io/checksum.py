"""Checksums of files."""

from __future__ import annotations

import hashlib
from pathlib import Path

from calopipe.errors import DataError


def file_hash(path: str | Path, algorithm: str = "sha256") -> str:
    """Return the hexadecimal digest of a file, read in pieces. Raises DataError when it cannot be read."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, algorithm).hexdigest()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from error
