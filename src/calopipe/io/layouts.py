"""The HDF5 layouts of shower files, behind one interface: open, know N and V, read rows in MeV.

Two are recognised; for any other one settings say what stands where (:class:`calopipe.config.layouts.Layout`).

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

from calopipe.config.layouts import Column, Layout, VoxelArray
from calopipe.errors import DataError, GeometryError, shown
from calopipe.geometry import Geometry
from calopipe.io.column import StoredColumn
from calopipe.io.hdf5 import at, attributes, dataset, listed, names, open_hdf5
from calopipe.io.points import PointArray
from calopipe.io.showers import Showers, as_arrays, check_condition, checked, checked_conditions
from calopipe.io.voxels import FlatArray, MappedArray, key_of

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
        layout: "calochallenge" or "calogan"; else the name of the layout that was given.
        points: the point clouds, where the file holds such; else None.
        n_showers: number of rows N.
        n_voxels: number of voxels V.
        attributes: the file's attributes as plain Python values.
        chunk_rows: rows that HDF5 stores, and unpacks, together.
    """

    points: PointArray | None = None
    _parts: Sequence[FlatArray | PointArray]

    def __init__(
        self, path: Path, file: h5py.File, layout: Layout | None = None, geometry: Geometry | None = None
    ) -> None:
        self.path, self._file = path, file
        self._conditions: dict[str, NDArray[np.float32]] = {}
        self._places = {} if layout is None else layout.conditions
        self.attributes = attributes(file, path)
        if layout is None:
            self._recognise()
        else:
            self.layout, self._energy = layout.name, StoredColumn(file, path, layout.energies)
            if layout.points is not None:
                self.points = PointArray(file, path, layout.points, geometry)
            self._parts = [self.points or MappedArray(file, path, _voxels(layout))]
        with at(path):
            self._check_sizes()
        for part in (self._energy, *self._parts):
            part.check_stored()

    def _recognise(self) -> None:
        """Energies and voxels of a file in the CaloChallenge's layout, or in CaloGAN's."""
        found = names(self._file, self.path)
        if {"energy", "layer_0"} <= set(found):
            self.layout = "calogan"
            self._energy = StoredColumn(self._file, self.path, Column(key="energy", unit="GeV"))
            parts = _layers(self._file, self.path, found)
        else:
            self.layout = "calochallenge"
            for key in ("incident_energies", "showers"):
                if key in found:
                    continue
                raise DataError(
                    f"{self.path}: dataset '{key}' is missing; expected incident_energies and showers "
                    f"(or CaloGAN's energy and layer_0, layer_1, ...), found {listed(found)}"
                )
            self._energy = StoredColumn(self._file, self.path, Column(key="incident_energies"))
            parts = [dataset(self._file, self.path, "showers")]
        with at(self.path):
            for part in parts:
                self._check_shape(part)
        self._parts = [FlatArray(part, self.path) for part in parts]

    def _check_shape(self, part: h5py.Dataset) -> None:
        key, wanted = key_of(part), 2 if self.layout == "calochallenge" else 3
        axes = "(N, V)" if wanted == 2 else "(N, first, second)"
        found = part.shape[:-1] if wanted == 3 and part.ndim == 4 and part.shape[-1] == 1 else part.shape
        if len(found) != wanted or 0 in found[1:]:
            raise DataError(f"{self.path}: {key} must have shape {axes}, found {part.shape}")

    def _check_sizes(self) -> None:
        self.n_showers = self._energy.n_rows
        for part in self._parts:
            if part.n_rows != self.n_showers:
                found = f"{self.n_showers} incident energies but {part.n_rows} rows of {part.key}"
                raise DataError(f"{self.path}: {found}")
        self.n_voxels = sum(part.n_voxels for part in self._parts)
        self.chunk_rows = max(part.chunk_rows for part in self._parts)
        if self.n_showers > MAX_SHOWERS or self.n_voxels > MAX_VOXELS:
            limit = f"at most {MAX_SHOWERS} showers of {MAX_VOXELS} voxels"
            raise DataError(f"{self.path}: expected {limit}, found {self.n_showers} of {self.n_voxels}")

    def check_geometry(self, geometry: Geometry) -> None:
        """Raise GeometryError where number or arrangement of the voxels are not those of `geometry`."""
        for part in self._parts:
            part.check_geometry(geometry)
        if self.n_voxels != geometry.n_voxels:
            expected = f"geometry '{geometry.name}' has {geometry.n_voxels}"
            raise GeometryError(f"{self.path}: {self.n_voxels} voxels per shower, but {expected}")
        written = self.attributes.get("geometry_hash")
        if written is not None and written != geometry.hash:
            name = self.attributes.get("geometry", "?")
            raise GeometryError(
                f"{self.path}: written with geometry {shown(name)} (hash {shown(written)}), "
                f"but '{geometry.name}' has hash {geometry.hash}"
            )

    def check_conditions(self, conditions: Sequence[str]) -> None:
        """Raise DataError where a condition is missing, or has another number of rows; none is read."""
        for key in conditions:
            self._column(key)

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

    def _column(self, key: str) -> StoredColumn:
        check_condition(key, str(self.path))
        place = self._places[key] if key in self._places else Column(key=key)
        return StoredColumn(self._file, self.path, place, self.n_showers)

    def _condition(self, key: str) -> NDArray[np.float32]:
        """A condition (N,) of all rows, float32, unchecked; it is read once."""
        if key not in self._conditions:
            column = self._column(key)
            column.check_stored()
            self._conditions[key] = column.load()
        return self._conditions[key]

    def read_energies(self) -> NDArray[np.float32]:
        """All incident energies (N, 1) in MeV, without the showers. Raises DataError like :meth:`read`."""
        energies = self._energy.load()
        return checked(energies, np.zeros_like(energies)[:, None], str(self.path))[0]

    def _read_range(self, rows: slice) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        layers = [part.load(rows) for part in self._parts]
        return self._energy.load(rows)[:, None], _side_by_side(layers)

    def read_stored(self, rows: slice) -> tuple[NDArray[Any], NDArray[Any]]:
        """Like :meth:`read`, in the type of the file (float64 where it is neither float32 nor float64), and unchecked."""
        layers = [part.stored(rows) for part in self._parts]
        return self._energy.load(rows, None)[:, None], _side_by_side(layers)

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


def _side_by_side(layers: list[NDArray[Any]]) -> NDArray[Any]:
    return layers[0] if len(layers) == 1 else np.concatenate(layers, axis=1)


def _voxels(layout: Layout) -> VoxelArray:
    assert layout.showers is not None  # settings have one of showers and points
    return layout.showers


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
def open_showers(
    path: str | Path, layout: Layout | None = None, geometry: Geometry | None = None
) -> Iterator[ShowerFile]:
    """Open a shower file for reading.

    Args:
        path: the file.
        layout: how it is laid out; None: the CaloChallenge's layout or CaloGAN's, whichever is found.
        geometry: what point clouds are projected onto; without it they cannot be read.

    Raises:
        DataError: missing, a directory, not HDF5, truncated or damaged; a dataset missing, of the wrong shape, not
            completely written, or (partly) in places where it is not looked for.
    """
    with open_hdf5(path) as file:
        yield ShowerFile(Path(path), file, layout, geometry)
