"""Which voxels touch within a layer (used to smear showers and to build local losses)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Neighbours(NamedTuple):
    """Neighbour lists of V voxels in compressed sparse rows.

    Attributes:
        indptr: (V + 1,) int64; the neighbours of voxel v are ``indices[indptr[v]:indptr[v + 1]]``.
        indices: (E,) int64 voxel indices, ascending within each voxel.
    """

    indptr: NDArray[np.int64]
    indices: NDArray[np.int64]

    def of(self, voxel: int) -> NDArray[np.int64]:
        """Indices of the neighbours of one voxel, ascending."""
        return self.indices[self.indptr[voxel] : self.indptr[voxel + 1]]

    @classmethod
    def from_pairs(cls, pairs: NDArray[np.int64], n_voxels: int) -> Neighbours:
        """Build from (2, E) pairs (voxel, neighbour); repeated pairs and pairs of a voxel with itself are dropped."""
        keys = np.unique(pairs[0] * n_voxels + pairs[1])
        rows, columns = np.divmod(keys, n_voxels)
        keep = rows != columns
        rows, columns = rows[keep], columns[keep]
        indptr = np.concatenate(([0], np.cumsum(np.bincount(rows, minlength=n_voxels))))
        for array in (indptr, columns):
            array.setflags(write=False)
        return cls(indptr, columns)


def layer_pairs(shape: tuple[int, int], through_axis: bool, periodic: bool) -> NDArray[np.int64]:
    """Pairs (voxel, neighbour) of the 8-neighbourhood of one layer, shape (2, E), voxels counted within the layer.

    Args:
        shape: (n_alpha, n_r) or (n_x, n_y).
        through_axis: innermost cells touch the cells opposite of them (layers whose first radius is 0).
        periodic: the first axis closes on itself (alpha).
    """
    n_first, n_second = shape
    a, b = (grid.ravel() for grid in np.meshgrid(np.arange(n_first), np.arange(n_second), indexing="ij"))
    # with an odd number of alpha bins the opposite point is the edge between two cells: both count
    opposite = {n_first // 2, n_first - n_first // 2} if n_first > 1 else {0}
    pairs = []
    for da in (-1, 0, 1):
        for db in (-1, 0, 1):
            inside = (b + db >= 0) & (b + db < n_second)
            if not periodic:
                inside &= (a + da >= 0) & (a + da < n_first)
            pairs.append(_pairs(a, b, (a + da) % n_first, b + db, inside, n_second))
        if through_axis:
            for shift in opposite:
                pairs.append(_pairs(a, b, (a + shift + da) % n_first, b, b == 0, n_second))
    return np.concatenate(pairs, axis=1)


def _pairs(
    a: NDArray[np.int64],
    b: NDArray[np.int64],
    to_a: NDArray[np.int64],
    to_b: NDArray[np.int64],
    keep: NDArray[np.bool_],
    n_second: int,
) -> NDArray[np.int64]:
    return np.stack([a * n_second + b, to_a * n_second + to_b])[:, keep]
