"""How far samples of real numbers are from a reference: separation powers, distances and moments, column by column.

For data that are no showers: toys, the smearing of a detector. FWHM, mean and kurtosis are what Albergo 2018, section 3.3,
compares a smeared spectrum by.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from scipy.stats import wasserstein_distance

from calopipe.metrics.kl_average import kl_of_means
from calopipe.metrics.separation_power import separation_error, separation_floor, separation_power
from calopipe.records.scores import Score

#: resamplings of both samples for the errors of differences
RESAMPLINGS = 100
#: of KL divergences: rows of a sample, bins between the reference's extremes
KL_ROWS, KL_BINS = 10_000, 100

Statistic = Callable[[np.ndarray], float | None]


def separation_score(
    name: str, reference: np.ndarray, generated: np.ndarray, sizes: tuple[int, int], rng: np.random.Generator
) -> Score:
    """Separation power of counts (B,) in the same bins, of samples of these sizes, with its floor."""
    n = int(min(reference.sum(), generated.sum()))
    if not (reference.sum() > 0 or generated.sum() > 0):
        return Score.absent(name, n, "both histograms have no entries inside their range")
    value, floor = separation_power(reference, generated), separation_floor(reference, generated, rng, sizes)
    return Score(name, value, separation_error(reference, generated, rng), n, floor=floor)


def distance_score(name: str, reference: np.ndarray, generated: np.ndarray, rng: np.random.Generator) -> Score:
    """Wasserstein-1 distance of values (N,) and (M,), in the column's unit; floor: of two random parts of the reference of
    these sizes, drawn with replacement.
    """
    n, m = len(reference), len(generated)
    if not min(n, m):
        return Score.absent(name, 0, "no rows")
    drawn = [(rng.choice(reference, n), rng.choice(generated, m)) for _ in range(RESAMPLINGS)]
    error = float(np.std([wasserstein_distance(a, b) for a, b in drawn], ddof=1))
    floor = float(np.mean([wasserstein_distance(a, rng.choice(reference, m)) for a, _ in drawn]))
    return Score(name, float(wasserstein_distance(reference, generated)), error, min(n, m), floor=floor)


def kl_score(name: str, reference: np.ndarray, generated: np.ndarray, rng: np.random.Generator) -> Score:
    """KL divergence of histograms of 10 000 rows each: mean and standard deviation over 100 pairs of samples, drawn with replacement.

    100 bins between the reference's extremes, and one on each side for what lies outside; 1e-5 is added to each probability
    (Albergo 2018, table 2.2, whose bins are not stated). Floor: the same of two samples of the reference of these sizes, themselves drawn
    with replacement.
    """
    n, m = len(reference), len(generated)
    if min(n, m) < 2 or reference.min() == reference.max():
        return Score.absent(name, min(n, m), "needs two rows or more, and a reference that is not a single number")
    edges = np.linspace(reference.min(), reference.max(), KL_BINS + 1)
    edges[-1] = np.nextafter(edges[-1], np.inf)

    def divergences(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        counts = [[_counts(rng.choice(x, KL_ROWS), edges) for x in (a, b)] for _ in range(RESAMPLINGS)]
        return np.array([kl_of_means(p, q) for p, q in counts])

    found = divergences(reference, generated)
    floor = float(divergences(rng.choice(reference, n), rng.choice(reference, m)).mean())
    return Score(name, float(found.mean()), float(found.std(ddof=1)), min(n, m), floor=floor)


def _counts(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """(B + 2,) entries per bin, with those below and above."""
    return np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1).astype(np.float64)


def difference_score(
    name: str, statistic: Statistic, reference: np.ndarray, generated: np.ndarray, rng: np.random.Generator
) -> Score:
    """Difference generated - reference of a statistic of values, with the error of both samples; both values in ``extra``."""
    n, values = min(len(reference), len(generated)), [statistic(reference), statistic(generated)]
    if values[0] is None or values[1] is None:
        return Score.absent(name, n, "not defined in " + " and ".join(_undefined(values)))
    a, b = (_error(statistic, sample, rng) for sample in (reference, generated))
    facts = {"reference": values[0], "generated": values[1]}
    return Score(name, values[1] - values[0], float(np.hypot(a, b)), n, extra=facts)


def _undefined(values: list[float | None]) -> Iterator[str]:
    return (name for name, value in zip(("the reference", "the sample"), values, strict=True) if value is None)


def _error(statistic: Statistic, sample: np.ndarray, rng: np.random.Generator) -> float:
    """Standard deviation of a statistic under resampling; 0 where it is never defined."""
    drawn = [statistic(rng.choice(sample, len(sample))) for _ in range(RESAMPLINGS)]
    known = [value for value in drawn if value is not None]
    return float(np.std(known, ddof=1)) if len(known) > 1 else 0.0
