"""Voxel energies of an open file as rows (n, V) in calopipe's order and in MeV, however their array is arranged."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from calopipe.config.layouts import UNITS, VoxelArray
from calopipe.errors import DataError, GeometryError
from calopipe.geometry import Geometry
from calopipe.io.hdf5 import at, dataset
from calopipe.io.storage import check_stored, n_values

if TYPE_CHECKING:
    import h5py


def key_of(found: h5py.Dataset) -> str:
    """What a dataset is called in messages."""
    return str(found.name).lstrip("/")


class FlatArray:
    """One dataset (N, ...) whose axes are in calopipe's order: flattened row-major.

    Attributes:
        key: its name.
        n_rows, n_voxels: number of rows N and voxels V.
        chunk_rows: rows that HDF5 stores, and unpacks, together.
    """

    def __init__(self, found: h5py.Dataset, path: Path, unit: float = 1.0) -> None:
        self.key, self.path, self._found, self._unit = key_of(found), path, found, unit
        self.n_rows, self.n_voxels = int(found.shape[0]), n_values(found.shape[1:])
        self.chunk_rows = int(found.chunks[0]) if found.chunks else 1
        self._fills: set[float] = set()

    def check_stored(self) -> None:
        """Raise DataError unless every value has been written, see :mod:`calopipe.io.storage`."""
        self._fills = check_stored(self._found, self.path, self.key) - {0.0}

    def load(self, rows: slice) -> NDArray[np.float32]:
        """(n, V) float32 of a slice. Raises DataError: unreadable, or rows that were never written."""
        return self._arranged(self._load(rows, np.float32), rows)

    def stored(self, rows: slice) -> NDArray[Any]:
        """Like :meth:`load`, in the type of the file (float64 where it is neither float32 nor float64), and unchecked."""
        return self._arranged(self._load(rows, None), rows)

    def _load(self, rows: slice, dtype: type[np.float32] | None) -> NDArray[Any]:
        n = len(range(*rows.indices(self.n_rows)))
        with at(self.path, f"dataset '{self.key}'"), np.errstate(over="ignore"):  # infinite: found later
            own: np.dtype[Any] = own_type(self._found) if dtype is None else np.dtype(dtype)
            values = np.asarray(self._found[rows], dtype=own).reshape(n, n_values(self._found.shape[1:]))
            if dtype is not None:
                self._check_fills(values, rows)
            return values if self._unit == 1 else values * np.asarray(self._unit, dtype=own)

    def _check_fills(self, values: NDArray[np.float32], rows: slice) -> None:
        """A shower of one and the same energy in all voxels is none."""
        for fill in self._fills:
            filled = (values == np.float32(fill)).all(axis=1)
            if filled.any():
                row = range(*rows.indices(self.n_rows))[int(filled.argmax())]
                raise DataError(
                    f"{self.path}: dataset '{self.key}': row {row} holds the fill value {fill:g} in every voxel: "
                    f"it was never written ({int(filled.sum())} such rows of {len(values)} read)"
                )

    def _arranged(self, values: NDArray[Any], rows: slice) -> NDArray[Any]:
        return values

    def check_geometry(self, geometry: Geometry) -> None:
        """Raise GeometryError where the arrangement is not that of `geometry`; of a flat array nothing is known."""


class MappedArray(FlatArray):
    """A dataset whose axes a layout names: in another order, in another unit, or with layers padded to equal length.

    Raises:
        DataError: missing, or of another shape than the layout says.
    """

    def __init__(self, file: h5py.File, path: Path, layout: VoxelArray) -> None:
        found = dataset(file, path, layout.key)
        axes, shape = [str(axis) for axis in layout.axes], found.shape[1:]
        if len(shape) != len(axes) or 0 in shape:
            wanted = f"(N, {', '.join(axes)})"
            raise DataError(f"{path}: {layout.key} must have shape {wanted}, found {found.shape}")
        if layout.shape is not None and tuple(layout.shape) != shape:
            lengths = ", ".join(f"{axis} {n}" for axis, n in zip(axes, layout.shape, strict=True))
            raise DataError(f"{path}: {layout.key} must have shape (N, {lengths}), found {found.shape}")
        super().__init__(found, path, UNITS[layout.unit])
        self._order, self._shape = layout.order, shape
        self._turn = [0, *(1 + axes.index(axis) for axis in layout.order)]
        self.lengths = tuple(shape[axes.index(axis)] for axis in layout.order)
        self._kept = None if layout.cells is None else self._cells(layout.cells)
        if self._kept is not None:
            self.n_voxels = int(self._kept.sum())

    def _cells(self, cells: list[int]) -> NDArray[np.bool_]:
        """Which of the values of a shower are cells of a layer, and no padding."""
        layers, widest = self.lengths
        if len(cells) != layers or max(cells) > widest:
            expected = f"{layers} layers of at most {widest} cells"
            found = f"{len(cells)} numbers of cells, up to {max(cells)}"
            raise DataError(f"{self.path}: {self.key} has {expected}, but the layout's cells are {found}")
        return (np.arange(widest) < np.array(cells)[:, None]).ravel()

    def _arranged(self, values: NDArray[Any], rows: slice) -> NDArray[Any]:
        turned = values.reshape(len(values), *self._shape).transpose(self._turn).reshape(values.shape)
        if self._kept is None:
            return turned
        padding = np.flatnonzero(turned[:, ~self._kept].any(axis=1))
        if len(padding):
            row = range(*rows.indices(self.n_rows))[int(padding[0])]
            raise DataError(f"{self.path}: {self.key}: row {row} has energy in the padding after the cells of a layer")
        return turned[:, self._kept]

    def check_geometry(self, geometry: Geometry) -> None:
        """Raise GeometryError where kind, or lengths of the axes, are not those of `geometry`."""
        where = f"{self.path}: {self.key}"
        kinds = {"r": "cylindrical", "y": "cartesian"}
        kind = kinds.get(self._order[-1], geometry.kind)
        if kind != geometry.kind:
            raise GeometryError(
                f"{where} has the axes {', '.join(self._order)}, but geometry '{geometry.name}' is {geometry.kind}"
            )
        if self._order == ("layer", "cell"):
            found = self._layer_sizes()
            if found != geometry.layer_sizes:
                raise GeometryError(_differ(where, "cells in each layer", found, geometry.name, geometry.layer_sizes))
        elif self._order != ("voxel",):
            expected = geometry.grid[-len(self._order) :]
            if self.lengths != expected or (len(expected) == 2 and geometry.n_layers > 1):
                raise GeometryError(_differ(where, ", ".join(self._order), self.lengths, geometry.name, geometry.grid))

    def _layer_sizes(self) -> tuple[int, ...]:
        layers, widest = self.lengths
        kept = np.ones(layers * widest, dtype=bool) if self._kept is None else self._kept
        return tuple(kept.reshape(layers, widest).sum(axis=1).tolist())


def own_type(found: h5py.Dataset) -> np.dtype[Any]:
    """The type of a dataset in the machine's byte order; float64 where it is neither float32 nor float64."""
    own = found.dtype.kind == "f" and found.dtype.itemsize in (4, 8)
    return found.dtype.newbyteorder("=") if own else np.dtype(np.float64)


def _differ(where: str, what: str, found: tuple[int, ...], name: str, expected: tuple[int, ...]) -> str:
    """One line on two shapes; of long ones the first entry that differs."""
    if len(found) == len(expected) > 4:
        i = next(i for i, (a, b) in enumerate(zip(found, expected, strict=True)) if a != b)
        return f"{where} has {what} other than geometry '{name}': layer {i} has {found[i]}, expected {expected[i]}"
    if len(expected) > 4:
        return f"{where} has {len(found)} layers, but geometry '{name}' has {len(expected)}"
    shapes = (" x ".join(map(str, shape)) for shape in (found, expected))
    return (
        f"{where} has {what} = {next(shapes)}, but geometry '{name}' has {next(shapes)} (are the axes in this order?)"
    )
