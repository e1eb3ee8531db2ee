"""Frechet physics distance, FPD (arXiv:2211.10295, section III; quoted by the CaloChallenge, arXiv:2410.21611).

Both samples of features are taken for Gaussians; the squared Frechet (2-Wasserstein) distance of two Gaussians is
|mu1 - mu2|^2 + Tr(C1 + C2 - 2 (C1 C2)^(1/2)). Its estimate from n showers is too large by about c/n, so it is measured
on batches of several sizes and extrapolated linearly in 1/n to n = infinity. This is the estimator of the package
jetnet, and with the same settings it draws the same batches: with replacement, from numpy's default_rng(seed), after
every feature was divided by its largest magnitude in the reference.

Because batches are drawn with replacement from N showers, the bias of the N showers themselves is not extrapolated
away. Compare scores at the same N only, and with the floor.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np

from calopipe.config.parts import METRICS
from calopipe.errors import MetricUnavailable
from calopipe.metrics.base import Sample
from calopipe.metrics.frechet import frechet_distance
from calopipe.metrics.settings import FpdConfig
from calopipe.records.scores import Score

log = logging.getLogger("calopipe")

#: fewer showers than this are not judged
MIN_SHOWERS = 30
#: a feature that makes more than this part of a distance is told, where less than this part of the reference has it
_MOST_OF_IT, _RARE = 0.5, 0.01

Estimate = Callable[[np.ndarray, np.ndarray], tuple[float, float]]


def frechet_physics_distance(
    reference: np.ndarray,
    generated: np.ndarray,
    *,
    min_samples: int = 20_000,
    max_samples: int = 50_000,
    num_batches: int = 20,
    num_points: int = 10,
    normalise: bool = True,
    seed: int = 42,
) -> tuple[float, float]:
    """FPD with jetnet's settings, defaults and draws; the settings are used as they are, whatever the sample sizes.

    Args:
        reference, generated: (N, F) and (M, F) features.
        min_samples, max_samples: smallest and largest batch; num_points sizes equally spaced in 1/n lie between.
        num_batches: batches of each size, averaged.
        normalise: divide each feature by its largest magnitude in the reference.
        seed: seed of the batches.

    Returns:
        Intercept of the linear fit in 1/n (not below 0, nor is the slope) and its standard error. The error is that
        of the draws; that of the samples is not in it.

    Raises:
        MetricUnavailable: fewer than 30 showers, different features, or features that are not finite.
    """
    x, y = prepared(reference, generated, normalise)
    x, y = x - x.mean(axis=0), y - x.mean(axis=0)  # the distance does not change, its rounding becomes smaller
    sizes = (1 / np.linspace(1 / min_samples, 1 / max_samples, num_points)).astype("int32")
    rng = np.random.default_rng(seed)
    values = []
    for size in sizes:
        batches = [(rng.choice(len(x), size=size), rng.choice(len(y), size=size)) for _ in range(num_batches)]
        values.append(np.mean([frechet_distance(*_moments(x[i]), *_moments(y[j])) for i, j in batches]))
    return _intercept(1 / sizes, np.array(values))


def prepared(reference: np.ndarray, generated: np.ndarray, normalise: bool) -> tuple[np.ndarray, np.ndarray]:
    """Both samples of features in float64, checked, and divided by the largest magnitudes in the reference."""
    x, y = (np.asarray(f, dtype=np.float64) for f in (reference, generated))
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1]:
        raise MetricUnavailable(f"features {x.shape} and {y.shape} do not match")
    if min(len(x), len(y)) < MIN_SHOWERS:
        raise MetricUnavailable(f"needs {MIN_SHOWERS} showers of each sample, found {len(x)} and {len(y)}")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise MetricUnavailable("features are not finite")
    if normalise:
        largest = np.abs(x).max(axis=0)
        largest[largest == 0] = 1
        x, y = x / largest, y / largest
    return x, y


def one_feature(x: np.ndarray, y: np.ndarray) -> str | None:
    """Which of the features (N, F) and (M, F) makes most of the distance, if one does that hardly any shower of the reference has.

    Each feature is divided by its largest magnitude in the reference. Where one shower of the reference makes it, another of the generated ones
    can be far outside, and the distance is that of this feature alone.
    """
    apart = (x.mean(axis=0) - y.mean(axis=0)) ** 2 + (x.std(axis=0) - y.std(axis=0)) ** 2
    largest = int(apart.argmax())
    filled = int((x[:, largest] != 0).sum())
    if apart[largest] <= _MOST_OF_IT * apart.sum() or filled >= _RARE * len(x):
        return None
    return (
        f"{apart[largest] / apart.sum():.0%} of it is one of {x.shape[1]} features, which is not 0 in "
        f"{filled} of {len(x)} showers of the reference"
    )


def _moments(batch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mean = batch.mean(axis=0)
    centred = batch - mean  # a column that is constant has exactly no variance
    return mean, centred.T @ centred / (len(batch) - 1)


def _intercept(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Intercept and its standard error of the line closest to y (n,) at x (n,), n > 2, with intercept and slope not below 0.

    The exact least squares, by hand and of scaled values, so that it is as exact at 1e-20 as at 1e20. The package jetnet
    iterates from intercept and slope 1 to an absolute tolerance: that stops a few percent of the error away, and far from
    1 it does not move at all. The standard error is that of a line without bounds, with the residuals of this one.
    """
    scale = float(np.abs(y).max())
    if scale == 0:
        return 0.0, 0.0
    u, v, n = x / np.abs(x).max(), y / scale, len(x)
    spread = float(((u - u.mean()) ** 2).sum())
    slope = float(((u - u.mean()) * (v - v.mean())).sum()) / spread if spread > 0 else 0.0
    lines = [(float(v.mean()) - slope * float(u.mean()), slope)]
    if min(lines[0]) < 0:  # the best on either bound: flat, or through the origin
        lines = [(max(float(v.mean()), 0.0), 0.0), (0.0, max(float((u * v).sum() / (u * u).sum()), 0.0))]
    squares = [float(((a + b * u - v) ** 2).sum()) for a, b in lines]
    best = int(np.argmin(squares))
    variance = squares[best] / (n - 2) * (1 / n + (float(u.mean()) ** 2 / spread if spread > 0 else 0.0))
    return scale * lines[best][0], scale * float(np.sqrt(variance))


def floor_of_halves(reference: np.ndarray, n: int, estimate: Estimate, rng: np.random.Generator) -> dict[str, float]:
    """What two disjoint random halves of the reference give, scaled to samples of N and n showers.

    The features are given as they enter the distance, divided by the largest magnitudes of the whole reference: one half
    may miss the few showers that make a feature (the width of the last layer), and its own magnitude be rounding.

    The bias of these estimators is proportional to 1/N + 1/n to leading order.

    Returns:
        ``floor``, its ``error`` and the halves' ``value``; nothing when the reference is too small to be halved.
    """
    size = len(reference) // 2
    if size < MIN_SHOWERS:
        return {}
    order = rng.permutation(len(reference))
    value, error = estimate(reference[order[:size]], reference[order[size : 2 * size]])
    scale = (1 / len(reference) + 1 / n) / (2 / size)
    return {"floor": value * scale, "floor_error": error * scale, "halves": value}


@METRICS.register("fpd", config=FpdConfig)
def fpd(reference: Sample, generated: Sample, rng: np.random.Generator, config: FpdConfig) -> Score:
    """FPD on the high-level features. Tables quote it times 1000 (``extra["times_1000"]``).

    Samples smaller than `max_samples` are drawn in batches from a third of their size (or `min_samples`, if that is
    less) to all of it, so that no batch is larger than the sample; ``extra`` then says so.
    """
    n = min(reference.n, generated.n)
    settings = {k: getattr(config, k) for k in ("num_batches", "num_points", "normalise", "seed")}

    def estimate(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
        low, high = batch_range(min(len(a), len(b)), config)
        return frechet_physics_distance(a, b, min_samples=low, max_samples=high, **{**settings, "normalise": False})

    x, y = prepared(reference.high_features, generated.high_features, config.normalise)
    value, error = estimate(x, y)
    floor = floor_of_halves(x, generated.n, estimate, rng) if config.floor else {}
    low, high = batch_range(n, config)
    extra = {"times_1000": [1e3 * value, 1e3 * error], "min_samples": low, "max_samples": high, **settings, **floor}
    if (low, high) != (config.min_samples, config.max_samples):
        extra["note"] = few("fpd", n, config.max_samples, f"{low} to {high}")
    if alone := one_feature(x, y):
        extra["one_feature"] = alone
        log.warning("fpd: %s", alone)
    return Score("fpd", value, error, n, floor=extra.pop("floor", None), extra=extra)


def few(name: str, n: int, wanted: int, batches: str) -> str:
    """That samples of n showers are smaller than the batches that are published, which is logged too."""
    text = (
        f"{n} showers are fewer than {wanted}: batches of {batches}; "
        "the value is not comparable with published ones, the bias of the sample size is part of it (see floor)"
    )
    log.warning("%s: %s", name, text)
    return text


def batch_range(n: int, config: FpdConfig) -> tuple[int, int]:
    """Smallest and largest batch for samples of n showers."""
    if n >= config.max_samples:
        return config.min_samples, config.max_samples
    return min(config.min_samples, max(n // 3, 2)), n
