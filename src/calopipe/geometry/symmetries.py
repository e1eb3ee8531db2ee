"""Reflections and rotations of the cells of a detector about the beam axis, as permutations of its voxels.

Showers of a beam along the axis are as likely reflected or rotated as they are, where detector and beam have the symmetry; a network
that learns them so sees up to 8 (square cells) or 2 n (n cells around the axis) times as many.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from calopipe.errors import GeometryError
from calopipe.geometry.core import Geometry

Grid = NDArray[np.int64]
#: of a layer's voxel numbers on its grid: those of the voxels that come to stand there
Move = Callable[[Grid], Grid]


def symmetries(geometry: Geometry, *, reflections: bool, rotations: bool) -> NDArray[np.int64]:
    """Permutations (P, V) of the voxels, the identity first, each different: x[:, permutation] are showers as likely as x.

    Reflections: of cartesian cells along either index, or of alpha. Rotations: of cartesian cells by quarter turns; around the axis by the
    smallest angle that moves every layer by whole cells, and its multiples.

    Raises:
        GeometryError: rotations of cartesian cells that are not square, or not as many along both indices.
    """
    mirrors = _mirrors(geometry) if reflections else [np.array]
    turns = _turns(geometry) if rotations else [np.array]
    found = np.stack([_permutation(geometry, turn, mirror) for turn in turns for mirror in mirrors])
    return found[np.sort(np.unique(found, axis=0, return_index=True)[1])]


def _mirrors(geometry: Geometry) -> list[Move]:
    axes: tuple[tuple[int, ...], ...] = ((), (0,), (1,), (0, 1)) if geometry.kind == "cartesian" else ((), (0,))
    return [partial(np.flip, axis=chosen) for chosen in axes]


def _turns(geometry: Geometry) -> list[Move]:
    if geometry.kind == "cartesian":
        _check_square(geometry)
        return [partial(np.rot90, k=k) for k in range(4)]
    n = math.gcd(*(cells for cells, _ in geometry.layer_shapes if cells > 1)) or 1
    return [partial(_turned, part=k / n) for k in range(n)]


def _turned(grid: Grid, part: float) -> Grid:
    """A layer rotated by a part of a whole turn."""
    return np.roll(grid, round(part * len(grid)), axis=0)


def _check_square(geometry: Geometry) -> None:
    for layer in geometry.layers:
        first, second = (np.diff(edges) for edges in (layer.first_edges, layer.second_edges))
        if layer.shape[0] != layer.shape[1] or not np.allclose([first, second], first[0], rtol=1e-6):
            raise GeometryError(
                f"geometry '{geometry.name}': rotations need square cells, as many along both indices; found {layer.shape[0]} x "
                f"{layer.shape[1]} cells of {first[0]:g} x {second[0]:g} mm in layer {layer.id}"
            )


def _permutation(geometry: Geometry, turn: Move, mirror: Move) -> NDArray[np.int64]:
    grids = [
        np.arange(part.start, part.stop).reshape(geometry.layer_shape(layer))
        for layer, part in enumerate(geometry.layer_slices)
    ]
    return np.concatenate([turn(mirror(grid)).ravel() for grid in grids])
