"""How much the numbers of a column differ from one another at equal conditions, beside the reference's.

A generator of columns collapses to a constant, to a few values, or to a width that is too small, for all conditions or for some. So rows are
compared in groups of nearly equal conditions (:func:`condition_groups`), the same cells and as many rows of both samples. What a linear function of the
conditions explains within a group is no variety: a generator that ignores its noise and follows the conditions has none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from calopipe.errors import MetricUnavailable
from calopipe.records.scores import Score

#: rows of a group, and groups that are enough
SIZE, LEAST_GROUPS = 100, 10
#: part of the reference's spread, and of its distance to the nearest value, below which the variety of a group is lost
LOST_SPREAD, LOST_NEAREST = 0.5, 0.25
#: part of the reference's values that may be repeated where distances to the nearest value are compared
MOST_REPEATED = 0.25
#: part of the values of a group that is left out at either end
TRIMMED = 0.1
#: resamplings of groups or rows whose medians are the error of a median
_RESAMPLINGS = 100
#: error of the median of normal values over that of their mean; of few groups the resampled error may be too small
_OF_MEDIAN = 1.25
NAMES = ("spread", "nearest", "lost")


@dataclass(frozen=True, eq=False)
class Groups:
    """Rows (K, SIZE) of K groups of either sample, and the conditions (K, SIZE, C) of these rows."""

    rows: tuple[np.ndarray, np.ndarray]
    conditions: tuple[np.ndarray, np.ndarray]


def condition_groups(reference: np.ndarray, generated: np.ndarray, rng: np.random.Generator) -> Groups:
    """Groups of rows of nearly equal conditions (N, C) and (M, C), of both samples from the same cells.

    Cells are halved at the median of the condition in which they are widest, in ranks of the reference, as long as both halves have a group of
    either sample. Rows of one cell are dealt at random. There may be no conditions (C = 0).

    Raises:
        MetricUnavailable: too few rows.
    """
    order = [np.sort(column) for column in reference.T]
    ranks = [_ranks(x, order) for x in (reference, generated)]
    cells = _cells(ranks, [np.arange(len(x)) for x in ranks])
    dealt = []
    for pair in cells:
        count = min(map(len, pair)) // SIZE
        dealt.append([rng.permutation(rows)[: count * SIZE].reshape(count, SIZE) for rows in pair])
    a, b = (np.concatenate(each) for each in zip(*dealt, strict=True))
    if len(a) < LEAST_GROUPS:
        found = min(len(reference), len(generated))
        raise MetricUnavailable(
            f"needs {LEAST_GROUPS} groups of {SIZE} rows of equal conditions in both samples, found {len(a)} (of {found} rows)"
        )
    return Groups((a, b), (reference[a].astype(np.float64), generated[b].astype(np.float64)))


def _ranks(conditions: np.ndarray, order: list[np.ndarray]) -> np.ndarray:
    """(N, C) shares of the reference's rows that are below."""
    found = [np.searchsorted(o, c) / len(o) for o, c in zip(order, conditions.T, strict=True)]
    return np.column_stack([np.empty((len(conditions), 0)), *found])


def _cells(ranks: list[np.ndarray], rows: list[np.ndarray]) -> Iterator[list[np.ndarray]]:
    """Rows of both samples in each cell."""
    reference = ranks[0][rows[0]]
    for axis in np.argsort(-np.ptp(reference, axis=0)) if len(reference) else ():
        middle = np.median(reference[:, axis])
        for above in (np.greater, np.greater_equal):
            high = [above(r[part, axis], middle) for r, part in zip(ranks, rows, strict=True)]
            if all(SIZE <= h.sum() <= len(h) - SIZE for h in high):
                yield from _cells(ranks, [part[~h] for part, h in zip(rows, high, strict=True)])
                yield from _cells(ranks, [part[h] for part, h in zip(rows, high, strict=True)])
                return
    yield rows


def diversity_scores(
    name: str, reference: np.ndarray, generated: np.ndarray, groups: Groups, rng: np.random.Generator
) -> Iterator[Score]:
    """Three scores of the values (N,) and (M,) of a column, called ``diversity/spread/<name>``, ...

    ``spread``: median over groups of the mean distance of pairs, less what is linear in the conditions, over the reference's, less 1. ``nearest``: median
    distance to the nearest other value of all rows over the reference's, less 1. ``lost``: share of groups whose spread is below a half, or
    whose distance to the nearest value is below a quarter, of the reference's; floor: of halves of the reference's groups.
    """
    values = [v.astype(np.float64)[rows] for v, rows in zip((reference, generated), groups.rows, strict=True)]
    spreads = [mean_distances(residuals(v, c)) for v, c in zip(values, groups.conditions, strict=True)]
    n = values[0].size
    if np.median(spreads[0]) == 0:
        for kind in NAMES:
            yield Score.absent(f"diversity/{kind}/{name}", n, "the reference hardly varies at equal conditions")
        return
    facts = {"groups": len(spreads[0]), "group": SIZE}
    yield _median_score(f"diversity/spread/{name}", _ratios(*spreads), n, rng, facts)
    yield _nearest_score(f"diversity/nearest/{name}", values, rng)
    lost = _lost(values, groups.conditions)
    halves = [[x[:, k::2] for k in range(2)] for x in (values[0], groups.conditions[0])]
    floor = float(np.mean([_lost(*(pair[::step] for pair in halves)) for step in (1, -1)]))
    share, error = float(lost.mean()), float(np.sqrt(max(lost.mean() * (1 - lost.mean()), 1 / len(lost)) / len(lost)))
    yield Score(f"diversity/lost/{name}", share, error, n, floor=floor, extra=facts)


def _ratios(reference: np.ndarray, generated: np.ndarray) -> np.ndarray:
    """(K,) ratios of spreads, at most 100; 1 where neither sample varies. Groups in which the reference does not vary by chance are not left
    out: of the others, too few of the generated ones would vary.
    """
    some = np.divide(generated, reference, out=np.where(generated > 0, np.inf, 1.0), where=reference > 0)
    return np.minimum(some, 100.0)


def _median_score(name: str, ratios: np.ndarray, n: int, rng: np.random.Generator, facts: dict[str, int]) -> Score:
    drawn = [np.median(rng.choice(ratios, len(ratios))) for _ in range(_RESAMPLINGS)]
    error = max(float(np.std(drawn, ddof=1)), _OF_MEDIAN * float(np.std(ratios, ddof=1)) / np.sqrt(len(ratios)))
    return Score(name, float(np.median(ratios)) - 1, error, n, floor=0.0, extra=facts)


def _nearest_score(name: str, values: list[np.ndarray], rng: np.random.Generator) -> Score:
    a, b = (nearest_values(v.reshape(1, -1))[0] for v in values)
    middle = [float(np.median(x)) for x in (a, b)]
    if np.mean(a == 0) > MOST_REPEATED:
        return Score.absent(name, len(a), f"{np.mean(a == 0):.0%} of the reference's values are repeated")
    drawn = np.array([[np.median(rng.choice(x, len(x))) for x in (a, b)] for _ in range(_RESAMPLINGS)])
    da, db = drawn.std(axis=0, ddof=1)
    error = float(np.hypot(db / middle[0], middle[1] * da / middle[0] ** 2))
    facts = {"reference": middle[0], "generated": middle[1]}
    return Score(name, middle[1] / middle[0] - 1, error, len(a), floor=0.0, extra=facts)


def _lost(values: Sequence[np.ndarray], conditions: Sequence[np.ndarray]) -> np.ndarray:
    """(K,) whether the variety of each group is lost, from values (K, n) and conditions (K, n, C) of the reference and the sample."""
    rest = [residuals(v, c) for v, c in zip(values, conditions, strict=True)]
    spread = [mean_distances(x) for x in rest]
    found = spread[1] < LOST_SPREAD * spread[0]
    for pair in (values, rest):
        near = [np.median(nearest_values(x), axis=1) for x in pair]
        found |= near[1] < LOST_NEAREST * near[0]
    return found


def residuals(values: np.ndarray, conditions: np.ndarray) -> np.ndarray:
    """Values (K, n) less their own linear function of the conditions (K, n, C) in each of K groups.

    With more than n / 5 conditions, which would explain chance, only the mean is taken off.
    """
    values = values - values.mean(axis=1, keepdims=True)
    if not 0 < conditions.shape[2] <= values.shape[1] // 5:
        return values
    x = conditions - conditions.mean(axis=1, keepdims=True)
    largest = np.abs(x).max(axis=1, keepdims=True)
    x = np.divide(x, largest, out=np.zeros_like(x), where=largest > 0)
    return values - (x @ (np.linalg.pinv(x) @ values[:, :, None]))[:, :, 0]


def mean_distances(values: np.ndarray) -> np.ndarray:
    """(K,) mean distance of all pairs of values in each row of (K, n), without the lowest and highest tenth: tails say little of most values."""
    cut = int(values.shape[1] * TRIMMED)
    kept = np.sort(values, axis=1)[:, cut : values.shape[1] - cut]
    n = kept.shape[1]
    return np.maximum(kept @ ((2 * np.arange(n) - n + 1) * 2 / (n * (n - 1))), 0)


def nearest_values(values: np.ndarray) -> np.ndarray:
    """(K, n) distances to the nearest other value of the same row of (K, n), in ascending order of the values."""
    gaps = np.diff(np.sort(values, axis=1), axis=1)
    ends = np.full((len(values), 1), np.inf)
    return np.minimum(np.hstack([ends, gaps]), np.hstack([gaps, ends]))
