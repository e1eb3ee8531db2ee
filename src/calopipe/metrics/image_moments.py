"""Mean voxel energy, and means and widths of the middle rows of average showers, relative to the reference's.

Albergo 2018 follows the average image over the epochs of a GAN's training: its mean pixel energy (figure 5.7) and the
"mean and standard deviation of the middle cross sections" (section 4.3, figures 4.12 and 4.18), which hop from mode to mode. There they are
curves, judged by eye; here each is one number:

- ``pixel_energy``: mean energy of a voxel over the reference's, less 1;
- ``row_mean/<axis>``: (m - m_ref) / w_ref of the rows along the axis, m the mean position and w the width of a row, as the root of the mean square,
  rows weighted with their energy in the reference: a shift of the whole image by half its width is 0.5;
- ``row_width/<axis>``: the same of (w - w_ref) / w_ref.

Positions are taken relative to the width because they are measured from an arbitrary zero. A reference row narrower than one cell (an even
spread over the finest cell has the width cell / sqrt(12)) counts as that wide. A row that only the sample leaves empty counts 1, so that it does
not look better for having no mean; rows empty in the reference do not count.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from calopipe.config.parts import METRICS
from calopipe.errors import MetricUnavailable
from calopipe.metrics.base import Sample
from calopipe.metrics.settings import ImageMomentsConfig
from calopipe.records.scores import Score

Moments = Callable[[np.ndarray], Mapping[tuple[int, str], Any]]
Differences = Callable[[np.ndarray, np.ndarray], dict[str, float]]


def pixel_energy(reference: np.ndarray, generated: np.ndarray) -> float:
    """Relative difference of the mean voxel energies of two mean showers (V,). Raises MetricUnavailable without energy."""
    if not reference.sum() > 0:
        raise MetricUnavailable("the reference's average shower has no energy")
    return float(generated.sum() / reference.sum() - 1)


def row_differences(reference: np.ndarray, generated: np.ndarray, moments: Moments) -> dict[str, float]:
    """Root mean square differences of row means and row widths, in widths of the reference's rows.

    Args:
        reference, generated: (V,) mean showers.
        moments: what :attr:`Sample.row_moments` is.

    Returns:
        ``row_mean/<axis>`` and ``row_width/<axis>`` of all layers, and ``.../layer/<id>`` of each; without those whose rows
        are all empty in the reference.
    """
    sums: dict[str, Any] = {}
    for (layer, axis), rows in moments(np.stack([reference, generated])).items():
        used = rows.energy[0] > 0
        scale = np.maximum(rows.width[0], rows.resolution)[used]
        for what, values in (("row_mean", rows.position), ("row_width", rows.width)):
            difference = (values[1] - values[0])[used] / scale
            difference[np.isnan(difference)] = 1.0  # no energy in the sample
            weight = rows.energy[0][used]
            part = np.array([(weight * difference**2).sum(), weight.sum()])
            for name in (f"{what}/{axis}", f"{what}/{axis}/layer/{layer}"):
                sums[name] = sums.get(name, 0.0) + part
    return {name: float(np.sqrt(square / weight)) for name, (square, weight) in sums.items() if weight > 0}


@METRICS.register("image_moments", config=ImageMomentsConfig)
def image_moments(
    reference: Sample, generated: Sample, rng: np.random.Generator, config: ImageMomentsConfig
) -> list[Score]:
    """``image_moments/pixel_energy``, ``/row_mean/<axis>`` and ``/row_width/<axis>``; errors by a jackknife over blocks of showers."""
    a, b, moments = reference.block_means, generated.block_means, reference.row_moments
    several, n = config.layers and len(reference.layers) > 1, min(reference.n, generated.n)

    def rows_of(p: np.ndarray, q: np.ndarray) -> dict[str, float]:
        found = row_differences(p, q, moments)
        return {name: value for name, value in found.items() if several or "/layer/" not in name}

    def both(p: np.ndarray, q: np.ndarray) -> dict[str, float]:
        return {"pixel_energy": pixel_energy(p, q), **rows_of(p, q)}

    values, errors = _with_errors(a, b, both)
    floors = {"pixel_energy": 0.0, **_floors(a, rows_of, reference.n, generated.n, config.splits, rng)}
    return [
        Score(f"image_moments/{name}", value, errors.get(name), n, floor=floors.get(name))
        for name, value in values.items()
    ]


def _with_errors(a: np.ndarray, b: np.ndarray, differences: Differences) -> tuple[dict[str, float], dict[str, float]]:
    """Values, and jackknife errors over the blocks (K, V) of both samples; none where a sample has a single block."""
    means = a.mean(axis=0), b.mean(axis=0)
    values = differences(*means)
    if min(len(a), len(b)) < 2:
        return values, {}
    variances = dict.fromkeys(values, 0.0)
    for blocks, first in ((a, True), (b, False)):
        k = len(blocks)
        left = (blocks.sum(axis=0) - blocks) / (k - 1)
        found = [differences(m, means[1]) if first else differences(means[0], m) for m in left]
        for name in variances:
            variances[name] += (k - 1) * float(np.var([f[name] for f in found if name in f]))
    return values, {name: float(np.sqrt(v)) for name, v in variances.items()}


def _floors(
    blocks: np.ndarray, differences: Differences, n: int, m: int, splits: int, rng: np.random.Generator
) -> dict[str, float]:
    """Expected differences of two samples of the reference of n and m showers: random halves of its blocks, as
    sqrt(1/n + 1/m), to leading order.
    """
    if len(blocks) < 2:
        return {}
    half = len(blocks) // 2
    squares: dict[str, list[float]] = {}
    for _ in range(splits):
        order = rng.permutation(len(blocks))
        parts = [blocks[rows].mean(axis=0) for rows in (order[:half], order[half:])]
        for name, value in differences(*parts).items():
            squares.setdefault(name, []).append(value**2)
    halves = 1 / half + 1 / (len(blocks) - half)
    factor = (1 / n + 1 / m) * n / (len(blocks) * halves)
    return {name: float(np.sqrt(np.mean(v) * factor)) for name, v in squares.items()}
