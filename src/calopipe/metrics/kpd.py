"""Kernel physics distance, KPD (arXiv:2211.10295, section III; quoted by the CaloChallenge, arXiv:2410.21611).

The squared maximum mean discrepancy of two samples of F features, with the polynomial kernel
k(x, y) = (x.y / F + 1)^4 and without the pairs of a shower with itself:
MMD^2 = mean_{i != j} k(x_i, x_j) + mean_{i != j} k(y_i, y_j) - 2 mean_{i, j} k(x_i, y_j).
It is the median over batches, and the error half the distance of their 16th and 84th percentiles, as in the package
jetnet; with the same settings the same batches are drawn. It can be negative.
"""

from __future__ import annotations

import numpy as np

from calopipe.config.parts import METRICS
from calopipe.metrics.base import Sample
from calopipe.metrics.fpd import few, floor_of_halves, prepared
from calopipe.metrics.settings import KpdConfig
from calopipe.records.scores import Score

#: showers whose kernel with a whole batch is held at once (80 MB for batches of 10 000)
_ROWS = 1000


def kernel_physics_distance(
    reference: np.ndarray,
    generated: np.ndarray,
    *,
    num_batches: int = 10,
    batch_size: int = 5_000,
    normalise: bool = True,
    seed: int = 42,
) -> tuple[float, float]:
    """KPD with jetnet's settings, defaults and draws; the settings are used as they are, whatever the sample sizes.

    Args:
        reference, generated: (N, F) and (M, F) features.
        num_batches: batches of which the median is taken.
        batch_size: showers of each sample in a batch, drawn with replacement.
        normalise: divide each feature by its largest magnitude in the reference.
        seed: batch i is drawn by numpy's default_rng(seed + 1000 i).

    Returns:
        Median over batches and half the distance of the 16.275th and 83.725th percentiles.

    Raises:
        MetricUnavailable: fewer than 30 showers, different features, or features that are not finite.
    """
    x, y = prepared(reference, generated, normalise)
    values = []
    for i in range(num_batches):
        rng = np.random.default_rng(seed + 1000 * i)
        rows = rng.choice(len(x), size=batch_size), rng.choice(len(y), size=batch_size)
        values.append(_discrepancy(x[rows[0]], y[rows[1]]))
    low, high = np.percentile(values, [16.275, 83.725])
    return float(np.median(values)), float(high - low) / 2


def _discrepancy(x: np.ndarray, y: np.ndarray) -> float:
    """Squared maximum mean discrepancy of two batches (n, F), without the pairs of a shower with itself."""
    n = len(x)
    within = sum(_kernel_sum(z, z) - _powers((z * z).sum(axis=1), z.shape[1]).sum() for z in (x, y))
    return float(within / (n * (n - 1)) - 2 * _kernel_sum(x, y) / n**2)


def _kernel_sum(x: np.ndarray, y: np.ndarray) -> float:
    """Sum of the kernel over all pairs, some rows at a time."""
    return float(sum(_powers(x[i : i + _ROWS] @ y.T, x.shape[1]).sum() for i in range(0, len(x), _ROWS)))


def _powers(products: np.ndarray, features: int) -> np.ndarray:
    """(products / features + 1)^4, in place."""
    products /= features
    products += 1
    np.square(products, out=products)
    return np.square(products, out=products)


@METRICS.register("kpd", config=KpdConfig)
def kpd(reference: Sample, generated: Sample, rng: np.random.Generator, config: KpdConfig) -> Score:
    """KPD on the high-level features. Tables quote it times 1000 (``extra["times_1000"]``).

    Of samples smaller than `batch_size` batches of their size are drawn; ``extra`` then says so.
    """
    n = min(reference.n, generated.n)
    settings = {k: getattr(config, k) for k in ("num_batches", "normalise", "seed")}

    def estimate(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
        size = min(config.batch_size, len(a), len(b))
        return kernel_physics_distance(a, b, batch_size=size, **{**settings, "normalise": False})

    x, y = prepared(reference.high_features, generated.high_features, config.normalise)
    value, error = estimate(x, y)
    floor = floor_of_halves(x, generated.n, estimate, rng) if config.floor else {}
    batch = min(config.batch_size, n)
    extra = {"times_1000": [1e3 * value, 1e3 * error], "batch_size": batch, **settings, **floor}
    if batch < config.batch_size:
        extra["note"] = few("kpd", n, config.batch_size, str(batch))
    return Score("kpd", value, error, n, floor=extra.pop("floor", None), extra=extra)
