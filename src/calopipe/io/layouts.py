"""The HDF5 layouts of shower files, behind one interface: open, know N and V, read rows in MeV.

``calochallenge``: ``incident_energies`` (N, 1) and ``showers`` (N, V), MeV.
``calogan``: ``energy`` (N, 1) in GeV, ``layer_0``, ``layer_1``, ... (N, a, b) or (N, a, b, 1) in MeV; what else is there
(``overflow``, ``layer_energies``, ...) is not read. The layers are flattened row-major, one after the other, which is the
voxel order of the "calogan" geometry. Where the first three have CaloGAN's shapes, they are all.

Beside them any dataset of numbers (N,) or (N, 1) may stand that the showers depend on, ``incident_theta`` for example; such
conditions are read by name, when they are asked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from calopipe.errors import DataError
from calopipe.io.hdf5 import at, attributes, dataset, listed, names, open_hdf5
from calopipe.io.showers import Showers, as_arrays, check_condition, checked, checked_conditions
from calopipe.io.storage import check_stored, n_values
from calopipe.units import GeV

if TYPE_CHECKING:
    import h5py

#: rows that are read at once when single rows are picked
_BLOCK_BYTES = 32 * 2**20
#: what a file may declare: permutations of all rows, and single showers, are held in memory
MAX_SHOWERS, MAX_VOXELS = 10**8, 10**8
#: cells of CaloGAN's three layers
_CALOGAN = ((3, 96), (12, 12), (12, 6))


class ShowerFile:
    """An open shower file of any layout; use :func:`open_showers`.

    Attributes:
        layout: "calochallenge" or "calogan".
        n_showers: number of rows N.
        n_voxels: number of voxels V.
        attributes: the file's attributes as plain Python values.
        chunk_rows: rows that HDF5 stores, and unpacks, together.
    """

    def __init__(self, path: Path, file: h5py.File) -> None:
        self.path, self._file = path, file
        self._conditions: dict[str, NDArray[np.float32]] = {}
        self.attributes = attributes(file, path)
        found = names(file, path)
        if {"energy", "layer_0"} <= set(found):
            self.layout, self._unit = "calogan", np.float32(GeV)
            self._energy, self._parts = dataset(file, path, "energy"), _layers(file, path, found)
        else:
            self.layout, self._unit = "calochallenge", np.float32(1)
            for key in ("incident_energies", "showers"):
                if key in found:
                    continue
                raise DataError(
                    f"{path}: dataset '{key}' is missing; expected incident_energies and showers "
                    f"(or CaloGAN's energy and layer_0, layer_1, ...), found {listed(found)}"
                )
            self._energy, self._parts = dataset(file, path, "incident_energies"), [dataset(file, path, "showers")]
        with at(path):
            self._check_shapes()
        check_stored(self._energy, path, _key(self._energy))
        self._fills = [check_stored(part, path, _key(part)) - {0.0} for part in self._parts]

    def _check_shapes(self) -> None:
        shape = self._energy.shape
        if len(shape) not in (1, 2) or (len(shape) == 2 and shape[1] != 1):
            raise DataError(f"{self.path}: {_key(self._energy)} must have shape (N, 1), found {shape}")
        for part in self._parts:
            key, wanted = _key(part), 2 if self.layout == "calochallenge" else 3
            axes = "(N, V)" if wanted == 2 else "(N, first, second)"
            found = part.shape[:-1] if wanted == 3 and part.ndim == 4 and part.shape[-1] == 1 else part.shape
            if len(found) != wanted or 0 in found[1:]:
                raise DataError(f"{self.path}: {key} must have shape {axes}, found {part.shape}")
            if part.shape[0] != shape[0]:
                found = f"{shape[0]} incident energies but {part.shape[0]} rows of {key}"
                raise DataError(f"{self.path}: {found}")
        self.n_showers = int(shape[0])
        self.n_voxels = sum(n_values(part.shape[1:]) for part in self._parts)
        self.chunk_rows = max(part.chunks[0] if part.chunks else 1 for part in self._parts)
        if self.n_showers > MAX_SHOWERS or self.n_voxels > MAX_VOXELS:
            limit = f"at most {MAX_SHOWERS} showers of {MAX_VOXELS} voxels"
            raise DataError(f"{self.path}: expected {limit}, found {self.n_showers} of {self.n_voxels}")

    def read(self, rows: slice | NDArray[np.int64], validate: bool = True, conditions: Sequence[str] = ()) -> Showers:
        """The showers of a slice, or of row numbers in any order, with the `conditions` of these names.

        Raises DataError on unreadable data, rows out of range and (with `validate`) on values that are not energies, or
        conditions that are not finite.
        """
        if isinstance(rows, slice):
            numbers = np.arange(*rows.indices(self.n_showers))
            energies, showers = self._read_range(rows)
        else:
            numbers = rows
            energies, showers = self._read_picked(rows)
        name = str(self.path)
        columns = {key: self._condition(key)[numbers] for key in conditions}
        if not validate:
            return Showers.unchecked(*as_arrays(energies, showers, name), name, columns)
        arrays = checked(energies, showers, name, numbers)
        return Showers.unchecked(*arrays, name, checked_conditions(columns, name, numbers))

    def read_conditions(self, conditions: Sequence[str] = ()) -> NDArray[np.float32]:
        """(N, 1 + number of `conditions`): all incident energies in MeV, then these columns. Raises like :meth:`read`."""
        columns = checked_conditions({key: self._condition(key) for key in conditions}, str(self.path))
        return np.column_stack([self.read_energies(), *columns.values()])

    def _condition(self, key: str) -> NDArray[np.float32]:
        """A condition (N,) of all rows, float32, unchecked; it is read once."""
        if key not in self._conditions:
            check_condition(key, str(self.path))
            found = dataset(self._file, self.path, key)
            if found.shape not in ((self.n_showers,), (self.n_showers, 1)):
                n = self.n_showers
                raise DataError(f"{self.path}: '{key}' must have shape ({n},) or ({n}, 1), found {found.shape}")
            check_stored(found, self.path, key)
            with at(self.path, f"dataset '{key}'"), np.errstate(over="ignore"):  # infinite: found later
                self._conditions[key] = np.asarray(found[()], dtype=np.float32).reshape(-1)
        return self._conditions[key]

    def read_energies(self) -> NDArray[np.float32]:
        """All incident energies (N, 1) in MeV, without the showers. Raises DataError like :meth:`read`."""
        energies = self._energies(slice(None))
        return checked(energies, np.zeros_like(energies), str(self.path))[0]

    def _energies(self, rows: slice) -> NDArray[np.float32]:
        with at(self.path, f"dataset '{_key(self._energy)}'"), np.errstate(over="ignore"):  # infinite: found later
            return np.asarray(self._energy[rows], dtype=np.float32).reshape(-1, 1) * self._unit

    def _read_range(self, rows: slice) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        energies, layers = self._energies(rows), []
        for part, fills in zip(self._parts, self._fills, strict=True):
            with at(self.path, f"dataset '{_key(part)}'"), np.errstate(over="ignore"):
                values = np.asarray(part[rows], dtype=np.float32).reshape(len(energies), n_values(part.shape[1:]))
            for fill in fills:  # a shower of one and the same energy in all voxels is none
                filled = (values == np.float32(fill)).all(axis=1)
                if filled.any():
                    row = range(*rows.indices(self.n_showers))[int(filled.argmax())]
                    raise DataError(
                        f"{self.path}: dataset '{_key(part)}': row {row} holds the fill value {fill:g} in every voxel: "
                        f"it was never written ({int(filled.sum())} such rows of {len(values)} read)"
                    )
            layers.append(values)
        return energies, layers[0] if len(layers) == 1 else np.concatenate(layers, axis=1)

    def read_stored(self, rows: slice) -> tuple[NDArray[Any], NDArray[Any]]:
        """Like :meth:`read`, in the type of the file (float64 where it is neither float32 nor float64), and unchecked."""
        arrays = []
        for part in (self._energy, *self._parts):
            with at(self.path, f"dataset '{_key(part)}'"):
                own = part.dtype.kind == "f" and part.dtype.itemsize in (4, 8)
                values = part[rows].astype(part.dtype.newbyteorder("=") if own else np.float64, copy=False)
                arrays.append(values.reshape(len(values), n_values(part.shape[1:])))
        energies, *layers = arrays
        return energies * energies.dtype.type(self._unit), layers[0] if len(layers) == 1 else np.concatenate(
            layers, axis=1
        )

    def _read_picked(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Pick rows in any order by reading contiguous pieces, much faster than HDF5's own point selection."""
        energies = np.empty((len(rows), 1), dtype=np.float32)
        showers = np.empty((len(rows), self.n_voxels), dtype=np.float32)
        order = np.argsort(rows, kind="stable")
        step = max(1, _BLOCK_BYTES // (4 * self.n_voxels))
        blocks = rows[order] // step
        for positions in np.split(order, np.flatnonzero(np.diff(blocks)) + 1) if len(rows) else ():
            wanted = rows[positions]
            first = int(wanted[0])
            piece = self._read_range(slice(first, int(wanted[-1]) + 1))
            energies[positions], showers[positions] = piece[0][wanted - first], piece[1][wanted - first]
        return energies, showers

    def row_selection(self, rows: Any) -> slice | NDArray[np.int64]:
        """Turn None, a slice or a sequence of integers into a selection of this file; DataError when out of range."""
        if rows is None:
            return slice(0, self.n_showers)
        if isinstance(rows, slice):
            start, stop, step = rows.indices(self.n_showers)
            return slice(start, max(start, stop), step) if step > 0 else np.arange(start, stop, step)
        numbers = np.asarray(rows)
        if numbers.ndim != 1 or (numbers.dtype.kind not in "iu" and numbers.size):
            raise DataError(f"{self.path}: rows must be a slice or a list of integers, found {rows!r}")
        if numbers.size and (numbers.min() < 0 or numbers.max() >= self.n_showers):
            found = f"{numbers.min()} .. {numbers.max()}"
            raise DataError(f"{self.path}: rows must lie in 0 .. {self.n_showers - 1}, found {found}")
        return numbers.astype(np.int64)


def _key(found: h5py.Dataset) -> str:
    return str(found.name).lstrip("/")


def _layers(file: h5py.File, path: Path, found: list[str]) -> list[h5py.Dataset]:
    """The datasets layer_0, layer_1, ... of CaloGAN's layout."""
    numbers = sorted(int(key[6:]) for key in found if re.fullmatch(r"layer_(0|[1-9]\d{0,3})", key))
    layers: list[h5py.Dataset] = []
    for i in range(numbers[-1] + 1):
        if i == 3 and all(tuple(x.shape[1:3]) == s for x, s in zip(layers, _CALOGAN, strict=True)):
            break
        if i not in numbers:
            raise DataError(f"{path}: dataset 'layer_{i}' is missing, but there is layer_{numbers[-1]}")
        layers.append(dataset(file, path, f"layer_{i}"))
    return layers


@contextmanager
def open_showers(path: str | Path) -> Iterator[ShowerFile]:
    """Open a shower file of any known layout for reading.

    Raises:
        DataError: missing, a directory, not HDF5, truncated or damaged; a dataset missing, of the wrong shape, not
            completely written, or (partly) in places where it is not looked for.
    """
    with open_hdf5(path) as file:
        yield ShowerFile(Path(path), file)
