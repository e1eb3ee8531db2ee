"""Precision, recall, density and coverage with k nearest neighbours (arXiv:1904.06991; arXiv:2002.09797, eqs. 2-5).

Each shower of a sample has a ball that reaches to its k-th nearest neighbour in its own sample. Precision is the fraction
of generated showers inside the ball of any reference shower, recall the fraction of reference showers inside the ball of
any generated one, density the mean number of reference balls a generated shower is in, divided by k, and coverage the
fraction of reference balls with a generated shower in them. Distances are Euclidean, strictly inside counts.

As in the CaloChallenge (arXiv:2410.21611) a shower is the log10 of its voxels in MeV, with zeros set to 0.1 MeV.
All four depend on the number of showers: compare at equal numbers, and with the floor.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from calopipe.config.parts import METRICS
from calopipe.errors import MetricUnavailable
from calopipe.metrics.base import Sample
from calopipe.metrics.settings import PrdcConfig
from calopipe.records.scores import Score

NAMES = ("precision", "recall", "density", "coverage")
#: showers whose distances to all others are held at once
_ROWS = 512


def shower_logarithms(showers: np.ndarray, zero_MeV: float = 0.1) -> np.ndarray:
    """log10(E / zero_MeV) of voxel energies (N, V) in MeV, zeros set to `zero_MeV` first: (N, V) float32.

    The constant shift changes no distance and makes empty voxels exactly 0.
    """
    out = np.where(showers > 0, showers, np.float32(zero_MeV)).astype(np.float32, copy=False)
    out /= np.float32(zero_MeV)
    return np.log10(out, out=out)


def precision_recall_density_coverage(reference: np.ndarray, generated: np.ndarray, k: int = 5) -> dict[str, float]:
    """The four scores of two samples of points.

    Args:
        reference, generated: (N, D) and (M, D); memory on top of them: about 512 max(N, M) distances in float64.
        k: neighbours that a ball reaches to.

    Raises:
        MetricUnavailable: a sample has no more than k points, or different dimensions.
    """
    if reference.ndim != 2 or generated.ndim != 2 or reference.shape[1] != generated.shape[1]:
        raise MetricUnavailable(f"points {reference.shape} and {generated.shape} do not match")
    if min(len(reference), len(generated)) <= k:
        raise MetricUnavailable(f"k = {k} needs more showers, found {len(reference)} and {len(generated)}")
    return _scores(reference, generated, _balls(reference, k), _balls(generated, k), k)


def expected_of_same_distribution(points: np.ndarray, k: int = 5) -> dict[str, float]:
    """The four scores to expect of another sample of the distribution that `points` (N, D) are from, of N points too.

    Density and coverage follow from N and k (arXiv:2002.09797, section 3.2). Precision and recall, equal then, are the
    fraction of points that are inside a ball of the others when the balls are drawn without the point: it is as good as
    a new point, so no part of the sample has to be kept back, whose smaller size would change the scores.

    Raises:
        MetricUnavailable: no more than k points.
    """
    if len(points) <= k:
        raise MetricUnavailable(f"k = {k} needs more showers, found {len(points)}")
    return _expected(_balls(points, k), k)


@dataclass(frozen=True)
class _Balls:
    """(N,) squared distances to the k-th neighbour, and in how many balls of others a point is that had no part in them."""

    squared_radii: np.ndarray
    holding: np.ndarray


def _balls(points: np.ndarray, k: int) -> _Balls:
    radii, holding = np.empty(len(points)), np.zeros(len(points), dtype=np.int64)
    for rows, squares in squared_distances(points, points):
        squares[np.arange(len(squares)), np.arange(rows.start, rows.start + len(squares))] = np.inf
        nearest = np.argpartition(squares, k, axis=1)[:, : k + 1]
        distances = np.take_along_axis(squares, nearest, axis=1)
        order = np.argsort(distances, axis=1)
        nearest, distances = (np.take_along_axis(z, order, axis=1) for z in (nearest, distances))
        radii[rows] = distances[:, k - 1]
        # without one of its k neighbours a ball reaches to the next one, and holds the one left out
        holding += np.bincount(nearest[:, :k][distances[:, :k] < distances[:, k:]], minlength=len(points))
    return _Balls(radii, holding)


def _scores(
    reference: np.ndarray, generated: np.ndarray, of_reference: _Balls, of_generated: _Balls, k: int
) -> dict[str, float]:
    holding, covered, recalled = np.zeros(len(generated), dtype=np.int64), 0, 0
    for rows, squares in squared_distances(reference, generated):
        inside = squares < of_reference.squared_radii[rows, None]
        holding += inside.sum(axis=0)
        covered += int(inside.any(axis=1).sum())
        recalled += int((squares < of_generated.squared_radii).any(axis=1).sum())
    return {
        "precision": float((holding > 0).mean()),
        "recall": recalled / len(reference),
        "density": float(holding.mean()) / k,
        "coverage": covered / len(reference),
    }


def _expected(balls: _Balls, k: int) -> dict[str, float]:
    n, inside = len(balls.holding), float((balls.holding > 0).mean())
    j = np.arange(1, k + 1)
    filled = float((balls.squared_radii > 0).mean())  # a ball among copies has no inside
    coverage = filled * (1 - float(np.prod((n - j) / (2 * n - j))))
    return {"precision": inside, "recall": inside, "density": float(balls.holding.mean()) / k, "coverage": coverage}


def squared_distances(x: np.ndarray, y: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Rows of x and their squared distances (rows, M) to all of y, in float64, piece by piece.

    What is below the rounding of the sums is 0: equal points are at distance 0.
    """
    norms = [np.einsum("ij,ij->i", z, z, dtype=np.float64) for z in (x, y)]
    out = np.empty((min(_ROWS, len(x)), len(y)))
    for start in range(0, len(x), _ROWS):
        rows = slice(start, min(start + _ROWS, len(x)))
        part = x[rows].astype(np.float64)
        squares = out[: len(part)]
        for first in range(0, len(y), _ROWS):
            columns = slice(first, first + _ROWS)
            squares[:, columns] = part @ y[columns].astype(np.float64).T
        squares *= -2
        scale = norms[0][rows, None] + norms[1]
        squares += scale
        squares[squares < 1e-13 * scale] = 0
        yield rows, squares


@METRICS.register("prdc", config=PrdcConfig)
def prdc(reference: Sample, generated: Sample, rng: np.random.Generator, config: PrdcConfig) -> list[Score]:
    """``prdc/precision``, ``/recall``, ``/density``, ``/coverage``, of equally many showers of both samples.

    The floor, which is also the target because Geant4 itself does not reach 1, is what as many other showers of the
    reference are expected to give. The error is the spread over disjoint blocks, over the square root of their number.
    """
    n = min(reference.n, generated.n, config.max_showers)
    if n <= config.k:
        raise MetricUnavailable(f"k = {config.k} needs more showers, found {n}")
    a, b = (_points(s, rng.permutation(s.n)[:n], config) for s in (reference, generated))
    balls = _balls(a, config.k)
    scores = _scores(a, b, balls, _balls(b, config.k), config.k)
    errors, floors = _errors(a, b, config), _expected(balls, config.k)
    facts = {"k": config.k, "zero_MeV": config.zero_MeV}
    return [
        Score(f"prdc/{k}", scores[k], errors.get(k), n, floor=floors[k], extra={**facts, "target": floors[k]})
        for k in NAMES
    ]


def _points(sample: Sample, rows: np.ndarray, config: PrdcConfig) -> np.ndarray:
    """(n, V) logarithms of the showers in `rows` (n,), in that order."""
    order = np.argsort(rows)
    return shower_logarithms(sample.some_showers(rows[order]), config.zero_MeV)[np.argsort(order)]


def _errors(a: np.ndarray, b: np.ndarray, config: PrdcConfig) -> dict[str, float]:
    """Standard deviation over blocks, over the square root of their number; nothing when blocks would be too small."""
    count = min(config.blocks, len(a) // (4 * config.k))
    if count < 2:
        return {}
    each = [
        precision_recall_density_coverage(x, y, config.k)
        for x, y in zip(np.array_split(a, count), np.array_split(b, count), strict=True)
    ]
    return {k: float(np.std([e[k] for e in each], ddof=1) / np.sqrt(count)) for k in NAMES}
