"""Cross sections of an average shower: rows of cells through the middle of one layer, and each row's mean and width.

Albergo 2018, section 4.3 and figures 4.4, 4.5, 5.3, 5.4: "mean and standard deviation of the middle cross sections" of
the average image, and the slices themselves. There an image has 32 or 64 rows of which the middle 12 are shown: the others
hold too little energy. In cylindrical layers the rows are diameters: the bins of one angle and of the opposite one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from calopipe.geometry import Geometry

Axis = Literal["eta", "phi", "r"]
#: rows on each axis, the middle ones
MAX_ROWS = 12


@dataclass(frozen=True)
class Rows:
    """Parallel rows of cells of one layer.

    Attributes:
        layer: index of the layer.
        axis: the coordinate along the rows: ``eta``, ``phi``, or ``r`` (a diameter; a radius where a layer has an odd
            number of angles).
        voxels: (R, B) indices of the voxels.
        edges: (B + 1,) bin edges along the row in mm; a diameter has negative radii on the side of the opposite angle.
        offsets: (R,) where the rows are: the other coordinate in mm, or the angle of the diameter in rad.
    """

    layer: int
    axis: Axis
    voxels: NDArray[np.int64]
    edges: NDArray[np.float64]
    offsets: NDArray[np.float64]


def central_rows(geometry: Geometry, at_most: int = MAX_ROWS) -> Iterator[Rows]:
    """The middle rows of every layer along eta and along phi, or the diameters of every cylindrical layer.

    Rows of a single cell are left out: they have no profile.
    """
    for layer, part in enumerate(geometry.layer_slices):
        first, second = geometry.edges(layer)
        grid = np.arange(part.start, part.stop).reshape(geometry.layer_shape(layer))
        if geometry.kind == "cylindrical":
            found = [_diameters(layer, grid, first, second)]
        else:
            along: tuple[Axis, Axis] = ("eta", "phi") if geometry.eta_axis == 0 else ("phi", "eta")
            found = [
                Rows(layer, along[0], grid.T, first, _middles(second)),
                Rows(layer, along[1], grid, second, _middles(first)),
            ]
        yield from (_cut(rows, at_most) for rows in found if rows.voxels.shape[1] > 1)


def _diameters(layer: int, grid: np.ndarray, alpha: np.ndarray, r: np.ndarray) -> Rows:
    """The second half of the angles (they start at -pi: those from 0 to pi), each joined with the opposite one."""
    n = len(grid)
    angles = _middles(alpha)
    if n % 2:
        return Rows(layer, "r", grid, r, angles)
    upper = np.arange(n // 2, n)
    opposite = (upper + n // 2) % n
    voxels = np.concatenate([grid[opposite][:, ::-1], grid[upper]], axis=1)
    edges = np.concatenate([-r[:0:-1], [0.0], r[1:]])  # the innermost bins reach the axis
    return Rows(layer, "r", voxels, edges, angles[upper])


def _middles(edges: np.ndarray) -> np.ndarray:
    return 0.5 * (edges[:-1] + edges[1:])


def _cut(rows: Rows, at_most: int) -> Rows:
    if len(rows.offsets) <= at_most:
        return rows
    start = (len(rows.offsets) - at_most) // 2
    kept = slice(start, start + at_most)
    return Rows(rows.layer, rows.axis, rows.voxels[kept], rows.edges, rows.offsets[kept])


def row_moments(mean: np.ndarray, edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean position and width of rows of an average shower, weighted by energy.

    Args:
        mean: (..., B) energies, not negative.
        edges: (B + 1,) bin edges in mm.

    Returns:
        sum x E / sum E and sqrt(sum (x - mean)^2 E / sum E), both (...), x the middle of a bin, in mm; NaN for a row
        without energy.
    """
    x = _middles(edges)
    total = np.asarray(mean, dtype=np.float64).sum(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        first = np.where(total > 0, (mean @ x) / total, np.nan)
        square = np.where(total > 0, (mean * (x - first[..., None]) ** 2).sum(axis=-1) / total, np.nan)
    return first, np.sqrt(square)


@dataclass(frozen=True)
class RowMoments:
    """Energy, mean position and width of parallel rows of average showers.

    Attributes:
        energy: (..., R) sum of the row's energies, in MeV.
        position, width: (..., R) what :func:`row_moments` gives, in mm; NaN for a row without energy.
        resolution: width of a row whose energy is spread evenly over its finest cell, in mm: what is narrower is not resolved.
    """

    energy: NDArray[np.float64]
    position: NDArray[np.float64]
    width: NDArray[np.float64]
    resolution: float


def middle_row_moments(mean: np.ndarray, geometry: Geometry) -> Mapping[tuple[int, Axis], RowMoments]:
    """Moments of the middle rows (:func:`central_rows`) of average showers (..., V), by layer id and axis."""
    found = {}
    for rows in central_rows(geometry):
        energies = np.asarray(mean, dtype=np.float64)[..., rows.voxels]
        finest = float(np.diff(rows.edges).min()) / np.sqrt(12)
        key = geometry.layer_ids[rows.layer], rows.axis
        found[key] = RowMoments(energies.sum(axis=-1), *row_moments(energies, rows.edges), finest)
    return found
