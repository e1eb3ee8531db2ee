"""Number sequences of variable length, read from the global heaps of an HDF5 file without the HDF5 library.

The library takes memory for as many values as a damaged length says, 16 GB for four bytes, and crashes on some damaged
addresses. The dataset itself is plain: 16 bytes for each sequence, its length, the address of a heap and the index of the
object there (HDF5 File Format Specification 3.0, sections III.E and IV.B.2.d). So these are followed here, within the file.
"""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from calopipe.errors import DataError
from calopipe.io.hdf5 import at, sequences
from calopipe.io.heaps import heap_objects
from calopipe.io.storage import check_stored

if TYPE_CHECKING:
    import h5py

#: of each sequence in the dataset
_REFERENCE = np.dtype([("length", "<u4"), ("heap", "<u8"), ("index", "<u4")])


class Sequences:
    """A dataset (N,) of sequences of numbers of an open file; `n_rows` is N.

    Raises:
        DataError: missing, of another shape, or no sequences of numbers.
    """

    def __init__(self, file: h5py.File, path: Path, key: str) -> None:
        self.path, self.key, self._base = path, key, file.userblock_size
        self._found = sequences(file, path, key)
        self.n_rows = int(self._found.shape[0])
        self._references: NDArray[Any] = np.empty(0, dtype=_REFERENCE)

    def check_stored(self) -> None:
        """Raise DataError unless every sequence has been written, and none claims more than the file has."""
        import h5py

        place, n = f"dataset '{self.key}'", self.n_rows
        check_stored(self._found, self.path, self.key)
        with at(self.path, place):
            self._type = h5py.check_vlen_dtype(self._found.dtype)
            stored = b"".join(self._stored())
            if len(stored) < n * _REFERENCE.itemsize:
                raise DataError(f"{self.path}: {place} is incomplete: {n} sequences are declared")
            self._references = np.frombuffer(stored, dtype=_REFERENCE, count=n)
        total = int(self._references["length"].sum(dtype=np.uint64)) * self._type.itemsize
        size = self.path.stat().st_size
        if total > size:
            raise DataError(
                f"{self.path}: {place} is damaged: its sequences have {total} bytes, but the file has {size}"
            )

    def _stored(self) -> list[bytes]:
        """The bytes of the dataset itself."""
        import h5py

        plist = self._found.id.get_create_plist()
        layout, size = plist.get_layout(), _REFERENCE.itemsize
        if layout == h5py.h5d.CONTIGUOUS:
            with open(self.path, "rb") as raw:
                raw.seek(self._found.id.get_offset() or 0)
                return [raw.read(size * self.n_rows)]
        if layout == h5py.h5d.CHUNKED and not plist.get_nfilters():
            rows = range(0, self.n_rows, self._found.chunks[0])
            return [self._found.id.read_direct_chunk((row,))[1][: size * (self.n_rows - row)] for row in rows]
        raise DataError(
            f"{self.path}: dataset '{self.key}': sequences are read of plain and of unpacked chunked datasets only"
        )

    def load(self, rows: slice) -> list[NDArray[Any]]:
        """The sequences of a slice. Raises DataError where one does not lead to as many numbers as it says."""
        if not self._references["length"].any():
            return [np.empty(0, dtype=self._type)] * len(self._references[rows])
        heaps: dict[int, dict[int, tuple[int, int]]] = {}
        with (
            at(self.path, f"dataset '{self.key}'"),
            open(self.path, "rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
        ):
            return [self._sequence(data, heaps, *reference) for reference in self._references[rows].tolist()]

    def _sequence(
        self, data: mmap.mmap, heaps: dict[int, dict[int, tuple[int, int]]], length: int, address: int, index: int
    ) -> NDArray[Any]:
        if length == 0:
            return np.empty(0, dtype=self._type)
        if address not in heaps:
            heaps[address] = {i: (start, n) for i, start, n in heap_objects(data, self._base + address)}
        start, n = heaps[address].get(index, (0, -1))
        if n != length * self._type.itemsize:
            raise ValueError(f"object {index} of the global heap at byte {address} is no sequence of {length} numbers")
        return np.frombuffer(data[start : start + n], dtype=self._type)
