"""Point clouds, projected onto the voxels of a geometry.

A shower is a sequence of points (x in mm, y in mm, number of the layer, energy, ...), as the package showerdata writes them:
HDF5 sequences of variable length. Each energy goes to the voxel that holds the point: the first index of a cartesian layer
runs along x and the second along y; of a cylindrical one alpha = atan2(y, x) and r = sqrt(x^2 + y^2). The lower edge of a
bin belongs to it, also the outermost upper edge of alpha, whose bins close a circle. The number of the layer counts from 0;
it is a float in those files, and floor(number + 0.1) is taken, as their package does.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from calopipe.config.layouts import UNITS, PointClouds
from calopipe.errors import DataError
from calopipe.geometry import Geometry
from calopipe.io.hdf5 import at, dataset
from calopipe.io.sequences import Sequences
from calopipe.io.storage import check_stored

if TYPE_CHECKING:
    import h5py

#: added to the number of a layer before it is rounded down
_LAYER_MARGIN = 0.1


class PointArray:
    """The point clouds of an open file as voxels of `geometry`; without one only their number is known.

    Attributes:
        key: name of the dataset.
        n_rows, n_voxels: number of showers N, and of voxels V (0 without a geometry).
        read_MeV, outside_MeV: energy of all points read so far, and of those that lie outside the geometry.
    """

    chunk_rows = 1

    def __init__(self, file: h5py.File, path: Path, layout: PointClouds, geometry: Geometry | None) -> None:
        self.key, self.path, self._geometry, self._unit = layout.key, path, geometry, UNITS[layout.unit]
        self._found = Sequences(file, path, layout.key)
        shape = dataset(file, path, layout.shape)
        check_stored(shape, path, layout.shape)
        with at(path, f"dataset '{layout.shape}'"):
            sizes = np.asarray(shape[()], dtype=np.int64).ravel().tolist()
        if len(sizes) != 3 or sizes[0] != self._found.n_rows or not 4 <= sizes[2] <= 100:
            wanted = f"({self._found.n_rows}, points, 4 or more)"
            raise DataError(f"{path}: {layout.shape} must hold the shape {wanted}, found {tuple(sizes)}")
        self.n_rows, self._features = self._found.n_rows, int(sizes[2])
        self.n_voxels = 0 if geometry is None else geometry.n_voxels
        self.read_MeV = self.outside_MeV = 0.0
        self._numbers = None if layout.numbers is None else self._counts(file, layout.numbers)

    def _counts(self, file: h5py.File, key: str) -> NDArray[np.int64]:
        found = dataset(file, self.path, key)
        if found.shape != (self.n_rows,):
            raise DataError(f"{self.path}: {key} must have shape ({self.n_rows},), found {found.shape}")
        check_stored(found, self.path, key)
        with at(self.path, f"dataset '{key}'"):
            return np.asarray(found[()], dtype=np.int64)

    def check_stored(self) -> None:
        """Raise DataError unless every sequence has been written."""
        self._found.check_stored()

    def check_geometry(self, geometry: Geometry) -> None:
        """Every geometry can be filled."""

    def load(self, rows: slice) -> NDArray[np.float32]:
        """(n, V) float32 in MeV of a slice. Raises DataError: unreadable, sequences of wrong length, values not finite."""
        if self._geometry is None:
            raise DataError(
                f"{self.path}: {self.key} holds point clouds: name the geometry that they are projected onto"
            )
        clouds = self._found.load(rows)
        numbers = range(*rows.indices(self.n_rows))
        counts = np.array(
            [self._points(cloud, row) for cloud, row in zip(clouds, numbers, strict=True)], dtype=np.int64
        )
        if not counts.sum():
            return np.zeros((len(counts), self.n_voxels), dtype=np.float32)
        with np.errstate(invalid="ignore"):  # signalling NaN: found below
            numbers_of = [np.asarray(cloud, dtype=np.float64) for cloud in clouds]
        points = np.concatenate(numbers_of).reshape(-1, self._features)
        shower = np.repeat(np.arange(len(counts)), counts)
        bad = ~np.isfinite(points[:, :4]).all(axis=1)
        if bad.any():
            row = numbers[int(shower[bad.argmax()])]
            raise DataError(f"{self.path}: {self.key}: row {row} has a point that is not finite")
        return self._projected(points, shower, len(counts))

    def stored(self, rows: slice) -> NDArray[np.float32]:
        """The same: sums over points are calopipe's own numbers."""
        return self.load(rows)

    def _points(self, cloud: NDArray[np.float32], row: int) -> int:
        """Number of points of a shower. Raises DataError when the sequence is not as long as the file says."""
        n, rest = divmod(len(cloud), self._features)
        if rest:
            raise DataError(
                f"{self.path}: {self.key}: row {row} has {len(cloud)} numbers, no multiple of {self._features} per point"
            )
        if self._numbers is not None and n != self._numbers[row]:
            raise DataError(
                f"{self.path}: {self.key}: row {row} has {n} points, but the file says {self._numbers[row]} (never written?)"
            )
        return n

    def _projected(self, points: NDArray[np.float64], shower: NDArray[np.int64], n: int) -> NDArray[np.float32]:
        assert self._geometry is not None
        energies = points[:, 3] * self._unit
        voxel = voxels_of(points[:, 0], points[:, 1], np.floor(points[:, 2] + _LAYER_MARGIN), self._geometry)
        inside = voxel >= 0
        self.read_MeV += float(energies.sum())
        self.outside_MeV += float(energies[~inside].sum())
        places = shower[inside] * self.n_voxels + voxel[inside]
        filled = np.bincount(places, energies[inside], minlength=n * self.n_voxels)
        with np.errstate(over="ignore"):  # infinite: found later
            return filled.reshape(n, self.n_voxels).astype(np.float32)


def voxels_of(
    x: NDArray[np.float64], y: NDArray[np.float64], layer: NDArray[np.float64], geometry: Geometry
) -> NDArray[np.int64]:
    """Number of the voxel that holds each point (n,); -1 where none does.

    Args:
        x, y: transverse coordinates (n,) in mm.
        layer: number of the layer (n,), from 0.
        geometry: the voxels.
    """
    found = np.full(len(x), -1, dtype=np.int64)
    first, second = (np.arctan2(y, x), np.hypot(x, y)) if geometry.kind == "cylindrical" else (x, y)
    for i, part in enumerate(geometry.layer_slices):
        mine = np.flatnonzero(layer == i)
        edges = geometry.edges(i)
        a, b = (np.searchsorted(e, v[mine], side="right") - 1 for e, v in zip(edges, (first, second), strict=True))
        n_first, n_second = geometry.layer_shape(i)
        if geometry.kind == "cylindrical":
            a = np.clip(a, 0, n_first - 1)
        inside = (a >= 0) & (a < n_first) & (b >= 0) & (b < n_second)
        found[mine[inside]] = part.start + a[inside] * n_second + b[inside]
    return found
