"""Whether a dataset has been written: HDF5 reads what was never stored as its fill value, mostly zero, without a word.

Compared are sizes and addresses, which takes milliseconds; no data are read. What remains unseen: rows of a chunk (or of
a contiguous dataset) that was allocated but only partly written. Those look like empty showers.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from calopipe.errors import DataError
from calopipe.io.hdf5 import at

if TYPE_CHECKING:
    import h5py

#: a compressed chunk is unpacked as a whole; more than this is not opened
MAX_CHUNK_BYTES = 2**30


def check_stored(found: h5py.Dataset, path: Path, key: str, depth: int = 0) -> set[float]:
    """Raise DataError unless every value of a dataset is stored in this file, or in files beside it that are there.

    Args:
        found: from :func:`calopipe.io.hdf5.dataset`.
        path, key: file and dataset, for messages.
        depth: how many virtual datasets led here.

    Returns:
        The fill values of all places where values are stored.

    Raises:
        DataError: raw data in other files; rows that were never written; sizes that do not fit what is stored; virtual
            datasets whose sources are missing, too small, incomplete or elsewhere.
    """
    import h5py

    from calopipe.io.views import check_view  # which checks the sources of a view with this function

    place = f"dataset '{key}'"
    with at(path, place):
        plist = found.id.get_create_plist()
        # an invalid combination is an error here; to ask for the value itself would then crash HDF5
        filled = plist.fill_value_defined() == h5py.h5d.FILL_VALUE_USER_DEFINED
        if plist.get_external_count():
            raise DataError(f"{path}: {place} stores its data in other files, which are not read")
        layout = plist.get_layout()
        if layout == h5py.h5d.VIRTUAL:
            return check_view(found, path, key, depth)
        if found.size:
            if layout == h5py.h5d.CHUNKED:
                _check_chunks(found, path, place)
            else:
                _check_whole(found, path, place, layout == h5py.h5d.COMPACT)
        return {float(found.fillvalue) if filled else 0.0} if found.dtype.kind in "fiu" else set()


def _check_whole(found: h5py.Dataset, path: Path, place: str, compact: bool) -> None:
    """Contiguous and compact layouts: all or nothing."""
    stored, needed = found.id.get_storage_size(), n_values(found.shape) * found.id.get_type().get_size()
    start = 0 if compact else found.id.get_offset()
    if stored == 0 or start is None:
        raise DataError(f"{path}: {place} was never written: {unwritten([(0, found.shape[0])], found)}")
    if stored != needed:
        raise DataError(f"{path}: {place} declares {needed} bytes for its shape {found.shape}, but stores {stored}")
    _check_end(start + stored, path, place)


def _check_chunks(found: h5py.Dataset, path: Path, place: str) -> None:
    chunk, filters = np.array(found.chunks, dtype=np.int64), found.id.get_create_plist()
    codes = [filters.get_filter(i)[0] for i in range(filters.get_nfilters())]
    unpacked = n_values(found.chunks) * found.id.get_type().get_size()
    if len(set(codes)) != len(codes):
        raise DataError(f"{path}: {place} is compressed twice by the same filter")
    if codes and unpacked > MAX_CHUNK_BYTES:
        wanted = f"chunks of at most {MAX_CHUNK_BYTES} bytes"
        raise DataError(f"{path}: {place} has chunks of {unpacked} bytes; rewrite it with {wanted} (h5repack)")
    stored: list[tuple[int, ...]] = []
    found.id.chunk_iter(lambda info: stored.append((*info.chunk_offset, info.byte_offset, info.size)))
    table = np.array(stored, dtype=np.uint64).reshape(-1, found.ndim + 2)
    _check_addresses(table[:, -2], table[:, -1], path, place)
    grid = -(-np.array(found.shape, dtype=np.int64) // chunk)
    places = table[:, :-2].astype(np.int64)
    if (places % chunk).any() or (places // chunk >= grid).any() or (places < 0).any():
        raise DataError(f"{path}: {place} stores more than its shape {found.shape} declares")
    missing = _gaps(places // chunk, grid)
    if missing:
        rows = [(first * int(chunk[0]), min(last * int(chunk[0]), found.shape[0])) for first, last in missing]
        raise DataError(f"{path}: {place} is incomplete: {unwritten(rows, found)}")


def _check_addresses(starts: NDArray[np.uint64], sizes: NDArray[np.uint64], path: Path, place: str) -> None:
    """No two chunks lie in the same bytes, and none beyond the end of the file."""
    order = np.argsort(starts, kind="stable")
    ends = (starts + sizes)[order]
    if (ends[:-1] > starts[order][1:]).any() or (ends < starts[order]).any():
        raise DataError(f"{path}: {place} is damaged: two of its chunks lie in the same bytes of the file")
    if len(ends):
        _check_end(int(ends.max()), path, place)


def _check_end(end: int, path: Path, place: str) -> None:
    size = path.stat().st_size
    if end > size:
        raise DataError(f"{path}: {place}: truncated or damaged HDF5 file (data up to byte {end}, but it has {size})")


def _gaps(places: NDArray[np.int64], grid: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Ranges (first, end) along the first axis in which not all chunks are there; `places` (k, axes) counts in chunks."""
    rows, counts = np.unique(np.unique(places, axis=0)[:, 0], return_counts=True)
    full = rows[counts == n_values(grid[1:])]
    edges = np.concatenate([[-1], full, [grid[0]]])
    return [(int(a) + 1, int(b)) for a, b in zip(edges[:-1], edges[1:], strict=True) if b - a > 1]


def unwritten(rows: list[tuple[int, int]], found: h5py.Dataset) -> str:
    """Which ranges (first, end) of rows are not there, in words."""
    shown = [f"{first}" if end - first == 1 else f"{first} to {end - 1}" for first, end in rows[:5]]
    more = f" and {len(rows) - 5} more ranges" if len(rows) > 5 else ""
    total = sum(end - first for first, end in rows)
    return (
        f"{total} of {found.shape[0]} rows were never written (rows {', '.join(shown)}{more}); "
        f"HDF5 would read them as {f'{found.fillvalue:g}' if found.dtype.kind in 'fiu' else 'empty'}"
    )


def n_values(shape: Any) -> int:
    """Number of values of a shape, in integers that do not overflow."""
    product = 1
    for n in shape:
        product *= int(n)
    return product
