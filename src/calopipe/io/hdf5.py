"""The one way in which HDF5 files are opened for reading.

A shower file may be damaged, and it may be somebody's who wants to know what else lies on this disk. So every exception of
the HDF5 library becomes a DataError that names file and place, and nothing outside the file is followed without being
asked for: no external links, no raw data in other files; virtual datasets only as :mod:`calopipe.io.storage` allows.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from calopipe.errors import DataError
from calopipe.io.heaps import check_heaps
from calopipe.io.stored import reading

if TYPE_CHECKING:
    import h5py

#: links of links that are followed before they count as a loop
_MAX_LINKS = 16
#: names that a message lists
_LISTED = 12
#: larger attributes are not metadata
_ATTRIBUTE_BYTES = 2**24


@contextmanager
def open_hdf5(path: str | Path) -> Iterator[h5py.File]:
    """Open a file for reading; what the body raises passes unchanged.

    Raises:
        DataError: missing, no plain file, not HDF5, truncated or damaged.
    """
    import h5py

    path = Path(path)
    with reading(path, "cannot be opened"):
        if not path.is_file():
            found = "is a directory" if path.is_dir() else "is no plain file" if path.exists() else "no such file"
            raise DataError(f"{path}: {found}")
        if not h5py.is_hdf5(path):
            with open(path, "rb") as raw:
                start = raw.read(16)
            raise DataError(f"{path}: not an HDF5 file ({f'it begins with {start!r}' if start else 'it is empty'})")
    with at(path):
        # the real path: HDF5 looks for the sources of virtual datasets beside the name it was given
        real = os.path.realpath(path)
        check_heaps(real)
        file = h5py.File(real, "r")
    try:
        yield file
    finally:
        with suppress(Exception):
            file.close()


@contextmanager
def at(path: str | Path, place: str = "") -> Iterator[None]:
    """Turn any exception of the HDF5 library into one line that names the file and the place in it."""
    where = f"{path}: {place}" if place else str(path)
    try:
        with reading(where):
            yield
    except DataError as error:
        cause = str(error.__cause__)
        if isinstance(error.__cause__, OSError) and ("truncated" in cause or "read data" in cause):
            reason = " ".join(cause.split())
            raise DataError(f"{where}: truncated or damaged HDF5 file ({reason})") from error.__cause__
        raise


def attributes(file: h5py.File, path: Path) -> dict[str, Any]:
    """The attributes of the file as plain Python values; DataError names the one that cannot be read."""
    import h5py

    with at(path, "its attributes"):
        keys = list(file.attrs)
    found = {}
    for raw in keys:
        key = os.fsdecode(raw)
        with at(path, f"attribute '{key}'"):
            stored = h5py.h5a.open(file.id, os.fsencode(key))
            size = stored.get_space().get_simple_extent_npoints() * stored.get_type().get_size()
            if size > _ATTRIBUTE_BYTES:
                raise DataError(f"{path}: attribute '{key}' has {size} bytes, more than {_ATTRIBUTE_BYTES}")
            found[key] = _plain(file.attrs[raw])
    return found


def _plain(value: Any) -> Any:
    """What HDF5 gives for an attribute, as a plain Python value; what has none is described in words."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, np.generic | np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def names(file: h5py.File, path: Path) -> list[str]:
    """Names in the root group, sorted; their objects are not opened."""
    with at(path, "its names"):
        return sorted(os.fsdecode(name) for name in file)


def listed(found: list[str]) -> str:
    """Names for a message, the first ones of many."""
    more = f", ... ({len(found)} in all)" if len(found) > _LISTED else ""
    return ", ".join(found[:_LISTED]) + more if found else "none"


def dataset(file: h5py.File, path: Path, key: str) -> h5py.Dataset:
    """The dataset `key` of an open file, without leaving the file.

    Raises:
        DataError: no such dataset; a link that leads nowhere, in a loop or out of the file; no dataset; not numbers.
    """
    opened = _opened(file, path, key)
    if opened.dtype.kind not in "fiu":
        raise DataError(f"{path}: dataset '{key}' must hold numbers, found dtype {opened.dtype}")
    return opened


def sequences(file: h5py.File, path: Path, key: str) -> h5py.Dataset:
    """The dataset `key` (N,) of number sequences of variable length, see :mod:`calopipe.io.sequences`.

    Raises:
        DataError: as :func:`dataset`; another shape, or no sequences of numbers.
    """
    import h5py

    opened = _opened(file, path, key)
    inner = h5py.check_vlen_dtype(opened.dtype)
    if not isinstance(inner, np.dtype) or inner.kind not in "fiu" or opened.ndim != 1:
        found = f"dtype {opened.dtype} and shape {opened.shape}"
        raise DataError(f"{path}: dataset '{key}' must hold N sequences of numbers of variable length, found {found}")
    return opened


def _opened(file: h5py.File, path: Path, key: str) -> h5py.Dataset:
    import h5py

    with at(path, f"dataset '{key}'"):
        found = _follow(file, path, key, h5py.h5g.open(file.id, b"/"), os.fsencode(key), 0)
        if not isinstance(found, h5py.h5d.DatasetID):
            what = "a group" if isinstance(found, h5py.h5g.GroupID) else "no dataset"
            raise DataError(f"{path}: '{key}' must be a dataset, found {what}")
        opened = h5py.Dataset(found)
        if opened.shape is None:
            raise DataError(f"{path}: dataset '{key}' holds nothing (a null dataspace)")
        _ = opened.dtype  # raises where it is none that numpy knows
    return opened


def _follow(file: h5py.File, path: Path, key: str, here: Any, name: bytes, depth: int) -> Any:
    """The object called `name` as seen from `here`; links are looked at before they are followed."""
    import h5py

    shown = os.fsdecode(name)
    if depth > _MAX_LINKS:
        raise DataError(f"{path}: '{key}' is a link that leads in a loop")
    for part in (part for part in name.split(b"/") if part not in (b"", b".")):
        if not isinstance(here, h5py.h5g.GroupID) or not here.links.exists(part):
            if depth == 0:
                raise DataError(f"{path}: dataset '{key}' is missing, found {listed(names(file, path))}")
            raise DataError(f"{path}: '{key}' is a link to '{shown}', which the file does not have")
        kind = here.links.get_info(part).type
        if kind == h5py.h5l.TYPE_SOFT:
            target = here.links.get_val(part)
            start = h5py.h5g.open(file.id, b"/") if target.startswith(b"/") else here
            here = _follow(file, path, key, start, target, depth + 1)
        elif kind == h5py.h5l.TYPE_HARD:
            here = h5py.h5o.open(here, part)
        elif kind == h5py.h5l.TYPE_EXTERNAL:
            other, inside = (os.fsdecode(text) for text in here.links.get_val(part))
            raise DataError(
                f"{path}: '{key}' is an external link to '{inside}' of {other}; links out of a file are not followed, "
                "copy the data into one file (h5copy)"
            )
        else:
            raise DataError(f"{path}: '{key}' is a link of unknown kind {kind}")
    return here
