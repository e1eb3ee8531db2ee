"""Files of tensors that are written whole, read without running anything, and notice every changed byte.

The file is what ``torch.save`` writes, a zip archive, with a comment at its end: the SHA-256 of all bytes before it.
``torch.load(..., weights_only=True)`` reads it like any other. The seal tells damage, not forgery: whoever can write the
file can seal it anew, so what is read is still checked by those who use it.
"""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import torch

from calopipe.errors import CheckpointError
from calopipe.io.output import replacing, writing

_ZIP = b"PK\x03\x04"
_MARK = b"calopipe sha256:"
_SEAL = len(_MARK) + 64
UNSEALED = "it carries no checksum, so it was not written by this version of calopipe, or was cut or changed since"


def write_sealed(path: Path, content: Any) -> None:
    """Write tensors and plain values: in memory first, then beside `path`, to the disk, and renamed.

    Raises DataError where that is impossible (disk full, quota, permissions); then `path` is as it was before.
    """
    buffer = io.BytesIO()
    torch.save(content, buffer)
    # the last two bytes of a zip archive are the length of the comment that follows
    body = buffer.getvalue()[:-2] + struct.pack("<H", _SEAL)
    with replacing(path) as temporary, writing(path), open(temporary, "wb") as file:
        file.write(body)
        file.write(_MARK + hashlib.sha256(body).hexdigest().encode())
        file.flush()
        os.fsync(file.fileno())


def read_sealed(path: Path) -> tuple[Any, bool]:
    """The content of a file (tensors on the CPU, and plain values), and whether it is sealed.

    A file without a seal is read all the same, so that its user can say what else is wrong with it, and refuse it then.

    Raises:
        CheckpointError: no file, not written by torch, its bytes do not match its seal, or it holds other objects.
    """
    try:
        if not path.is_file():
            raise CheckpointError(f"{path}: {'not a regular file' if path.exists() else 'no such checkpoint'}")
        with open(path, "rb") as file:
            start = file.read(4)
            data = start + (file.read() if start == _ZIP else b"")  # whatever else it is may be large
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from error
    sealed = data[-_SEAL:].startswith(_MARK)
    if sealed and data[-64:] != hashlib.sha256(data[:-_SEAL]).hexdigest().encode():
        raise CheckpointError(
            f"{path}: not a checkpoint that can be used: damaged, its bytes do not match its checksum"
        )
    try:
        _check_archive(data)
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True), sealed
    except Exception as error:  # a broken file can make the readers raise anything
        raise CheckpointError(f"{path}: not a checkpoint that can be read ({_words(data, error)})") from error


def _check_archive(data: bytes) -> None:
    """Refuse archives that unpack to more than they are; torch stores without compression."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = archive.infolist()
        if any(e.compress_type != zipfile.ZIP_STORED for e in entries) or sum(e.file_size for e in entries) > len(data):
            raise zipfile.BadZipFile("compressed or overlapping entries")


def _words(data: bytes, error: Exception) -> str:
    if not data:
        return "the file is empty"
    if not data.startswith(_ZIP):
        return "not a zip archive as torch.save writes it: cut, damaged, or something else"
    if isinstance(error, pickle.UnpicklingError) and "unsupported" in str(error).lower():
        return "it holds Python objects besides tensors and plain values; these can run code and are not loaded"
    if isinstance(error, zipfile.BadZipFile):
        return f"a damaged or cut zip archive: {error}"
    return "damaged or cut: its parts do not fit together"
