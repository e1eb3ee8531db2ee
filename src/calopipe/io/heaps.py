"""Global heaps of HDF5 files: where texts of variable length (most attributes) are stored.

The HDF5 library (2.0, and earlier ones) walks through a heap from object to object and never ends where a damaged size leads
it to an object of size zero; no exception is raised, and no Python code runs meanwhile. So heaps are walked through here before.
Layout: HDF5 File Format Specification 3.0, section III.E.
"""

from __future__ import annotations

import functools
import mmap
import os
import struct
from collections.abc import Iterator

#: signature, version 1, three reserved bytes
_MAGIC = b"GCOL\x01\x00\x00\x00"
_HEADER, _ALIGN = 16, 8
#: bytes at both ends of a file that are searched; what is written before or after the data lies there
_SEARCHED = 2**26


def check_heaps(path: str) -> None:
    """Raise ValueError when an object of a global heap does not fit into it."""
    status = os.stat(path)
    complaint = _complaint(path, status.st_ino, status.st_size, status.st_mtime_ns)
    if complaint:
        raise ValueError(complaint)


@functools.lru_cache(maxsize=256)
def _complaint(path: str, inode: int, size: int, changed: int) -> str:
    """What is wrong with the heaps of a file; the other arguments tell whether it is still the same file."""
    if not size:
        return ""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        for start, end in ((0, min(size, _SEARCHED)), (max(size - _SEARCHED, _SEARCHED), size)):
            place = data.find(_MAGIC, start, end)
            while place >= 0:
                if not _walks(data, place):
                    return f"damaged global heap at byte {place}"
                place = data.find(_MAGIC, place + len(_MAGIC), end)
    return ""


def _walks(data: mmap.mmap, heap: int) -> bool:
    """Whether the objects of the heap that begins at `heap` lead to its end."""
    try:
        for _ in heap_objects(data, heap):
            pass
    except ValueError:
        return False
    return True


def heap_objects(data: mmap.mmap, heap: int) -> Iterator[tuple[int, int, int]]:
    """Index, first byte and length of every object of the heap that begins at `heap`.

    Raises:
        ValueError: there is no heap, or its objects do not lead to its end.
    """
    complaint = ValueError(f"damaged global heap at byte {heap}")
    if not 0 <= heap <= len(data) - _HEADER or data[heap : heap + len(_MAGIC)] != _MAGIC:
        raise complaint
    end, place = heap + struct.unpack_from("<Q", data, heap + 8)[0], heap + _HEADER
    if end > len(data):
        raise complaint
    while place + _HEADER <= end:
        index, _, length = struct.unpack_from("<HH4xQ", data, place)
        # object 0 is the free space, with its header; others are padded
        step = length if index == 0 else _HEADER + -(-length // _ALIGN) * _ALIGN
        if step < _HEADER or place + step > end:
            raise complaint
        if index:
            yield index, place + _HEADER, length
        place += step
