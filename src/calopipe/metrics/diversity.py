"""How much showers of one sample differ from one another, beside the reference's: a generator whose modes collapse makes less variety.

Showers are compared at nearly one incident energy, because the spread of energies would hide what is alike: both samples are sorted by it
and cut into groups of neighbours (those of equal energies in random order), and the mean distance of all pairs in a group is taken. Groups share
no shower, so that their scatter is the error. Distances are those of :mod:`calopipe.metrics.prdc`, between logarithms of voxels.

The mean distance of pairs hardly sees a few hundred showers that are repeated again and again; the distance to the nearest neighbour does.
"""

from __future__ import annotations

import numpy as np

from calopipe.config.parts import METRICS
from calopipe.errors import MetricUnavailable
from calopipe.metrics.base import Sample
from calopipe.metrics.prdc import shower_logarithms, squared_distances
from calopipe.metrics.settings import DiversityConfig
from calopipe.records.scores import Score

#: groups that are enough for the scatter between them to be an error
LEAST_GROUPS = 10
#: resamplings of the showers whose median is the error of a median
_RESAMPLINGS = 100


@METRICS.register("diversity", config=DiversityConfig)
def diversity(reference: Sample, generated: Sample, rng: np.random.Generator, config: DiversityConfig) -> list[Score]:
    """``diversity/spread`` and ``diversity/nearest``: distance of pairs at nearly one incident energy, and to the nearest neighbour of all,
    over the reference's, less 1. The floor is 0.
    """
    n = min(reference.n, generated.n, config.max_showers)
    least = LEAST_GROUPS * config.group
    if n < least:
        raise MetricUnavailable(f"needs {least} showers ({LEAST_GROUPS} groups of {config.group}), found {n}")
    points = [_points(sample, rng.permutation(sample.n)[:n], config.zero_MeV) for sample in (reference, generated)]
    pairs = [pair_distances(x, config.group) for x in points]
    near = [nearest_distances(x) for x in points]
    facts = {"group": config.group, "zero_MeV": config.zero_MeV}
    means, medians = ([float(f(x)) for x in each] for f, each in ((np.mean, pairs), (np.median, near)))
    scores = []
    if means[0] > 0:
        # groups of one number are of one energy, with which distances grow: what counts is the scatter about the common factor
        scatter = np.std(pairs[1] - pairs[0] * means[1] / means[0], ddof=1) / np.sqrt(len(pairs[0]))
        scores.append(_score("diversity/spread", means, float(scatter) / means[0], n, facts))
    else:
        scores.append(Score.absent("diversity/spread", n, "the showers of the reference do not differ"))
    if medians[0] > 0:
        da, db = (np.std([np.median(x[rng.integers(0, n, n)]) for _ in range(_RESAMPLINGS)], ddof=1) for x in near)
        error = float(np.hypot(db / medians[0], medians[1] * da / medians[0] ** 2))
        scores.append(_score("diversity/nearest", medians, error, n, facts))
    else:
        scores.append(Score.absent("diversity/nearest", n, "half of the reference's showers are repeated"))
    return scores


def _points(sample: Sample, rows: np.ndarray, zero_MeV: float) -> np.ndarray:
    """(n, V) logarithms of the showers in `rows` (n,), those of low incident energies first."""
    rows = rows[np.argsort(sample.incident_energies[rows], kind="stable")]
    order = np.argsort(rows)
    return shower_logarithms(sample.some_showers(rows[order]), zero_MeV)[np.argsort(order)]


def _score(name: str, pair: list[float], error: float, n: int, facts: dict[str, float]) -> Score:
    reference, generated = pair
    extra = {**facts, "reference": reference, "generated": generated}
    return Score(name, generated / reference - 1, error, n, floor=0.0, extra=extra)


def pair_distances(points: np.ndarray, group: int) -> np.ndarray:
    """(G,) mean distances of all pairs of points (N, D) in groups of neighbouring rows, which share no point."""
    count = len(points) // group
    out = np.empty(count)
    for k, part in enumerate(np.array_split(points, count)):
        ((_, squares),) = squared_distances(part, part)
        out[k] = np.sqrt(squares[np.triu_indices(len(part), 1)]).mean()
    return out


def nearest_distances(points: np.ndarray) -> np.ndarray:
    """(N,) distances of points (N, D) to the nearest other one."""
    out = np.empty(len(points))
    for rows, squares in squared_distances(points, points):
        squares[np.arange(len(squares)), np.arange(rows.start, rows.stop)] = np.inf
        out[rows] = np.sqrt(squares.min(axis=1))
    return out
