"""Classical density estimators that a generator is compared with: kernels and histograms (Calomplification,
arXiv:2202.07352, section 4, "Density estimation").

Both are fitted to the training showers' observables and then sampled as often as a generator would be.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.neighbors import KernelDensity

from calopipe.errors import MetricUnavailable

#: bandwidths of the grid search, in standard deviations of the training values
BANDWIDTHS = np.geomspace(0.01, 1.0, 21)
#: numbers of bins per dimension that are tried
BINS = np.unique(np.round(np.geomspace(1, 100, 30)).astype(int))


@dataclass(frozen=True, eq=False)
class Estimator:
    """A fitted density: `draw(m, rng)` gives (m, D) values; `settings` are what the cross-validation chose."""

    kind: str
    settings: dict[str, float | list[int]]
    parts: tuple[np.ndarray, ...]

    def draw(self, m: int, rng: np.random.Generator) -> np.ndarray:
        """(m, D) values of the fitted density."""
        if self.kind == "kde":
            values, width = self.parts
            return values[rng.integers(len(values), size=m)] + width * rng.normal(size=(m, values.shape[1]))
        low, step, bins, cells, probability = self.parts
        picked = rng.choice(len(probability), size=m, p=probability)
        corner = cells[np.minimum(picked, len(cells) - 1)].astype(np.float64)
        anywhere = picked == len(cells)  # the one shower that is spread over all bins
        corner[anywhere] = rng.integers(bins, size=(int(anywhere.sum()), len(bins)))
        return low + (corner + rng.random((m, len(bins)))) * step


def fit_kde(values: np.ndarray, rng: np.random.Generator) -> Estimator:
    """Gaussian kernels of one bandwidth on standardised values, chosen by a 5-fold grid search of the likelihood.

    Args:
        values: (N, D) training values, N >= 10.

    Raises:
        MetricUnavailable: too few values, or a column that has one value only.
    """
    values, scale = _checked(values)
    folds = KFold(5, shuffle=True, random_state=int(rng.integers(2**31)))
    search = GridSearchCV(KernelDensity(kernel="gaussian", rtol=1e-4), {"bandwidth": BANDWIDTHS}, cv=folds)
    search.fit((values - values.mean(axis=0)) / scale)
    bandwidth = float(search.best_params_["bandwidth"])
    return Estimator("kde", {"bandwidth": bandwidth}, (values, bandwidth * scale))


def fit_histogram(values: np.ndarray, rng: np.random.Generator | None = None) -> Estimator:
    """A histogram between the extremes, with the numbers of bins that maximise the leave-one-out likelihood.

    Each bin holds its values and an equal share of one more, so that a value left out of its bin keeps a finite
    likelihood (the paper does not say how it treats empty bins; it leaves out 1 in 500 at a time). Of several
    dimensions the numbers of bins are improved in turn until none changes. Arguments and errors as :func:`fit_kde`.
    """
    values, _ = _checked(values)
    low, high = values.min(axis=0), values.max(axis=0)
    unit = (values - low) / (high - low)
    bins = np.full(values.shape[1], 5)
    for _ in range(10):
        before = bins.copy()
        for axis in range(len(bins)):
            trials = [np.where(np.arange(len(bins)) == axis, b, bins) for b in BINS]
            bins = trials[int(np.argmax([_left_out(unit, t) for t in trials]))]
        if (bins == before).all():
            break
    cells, counts = np.unique(_cell(unit, bins), axis=0, return_counts=True)
    probability = np.append(counts, 1) / (counts.sum() + 1)
    return Estimator("histogram", {"bins": bins.tolist()}, (low, (high - low) / bins, bins, cells, probability))


def _cell(unit: np.ndarray, bins: np.ndarray) -> np.ndarray:
    return np.minimum((unit * bins).astype(np.int64), bins - 1)


def _left_out(unit: np.ndarray, bins: np.ndarray) -> float:
    """Mean log-density (on the unit cube) of each value in the histogram of all others."""
    flat = np.ravel_multi_index(_cell(unit, bins).T, bins)
    counts = np.unique(flat, return_counts=True)[1]
    total = float(np.prod(bins, dtype=np.float64))
    n = len(unit)
    return float((counts * np.log((counts - 1 + 1 / total) * total / n)).sum() / n)


def _checked(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values (N, D) in float64 and the standard deviation of each column."""
    values = np.asarray(values, dtype=np.float64)
    values = values[:, None] if values.ndim == 1 else values
    if len(values) < 10 or not np.isfinite(values).all():
        raise MetricUnavailable(f"a density estimate needs 10 finite values, found {len(values)}")
    scale = values.std(axis=0)
    if not (scale > 0).all():
        raise MetricUnavailable(f"a density estimate needs values that differ (column {int(np.argmin(scale))})")
    return values, scale


FITS = {"kde": fit_kde, "histogram": fit_histogram}
