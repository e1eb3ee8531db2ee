"""How many true showers would describe the truth as well as a sample does (Calomplification, arXiv:2202.07352, section 4).

The divergence of n true showers from a truth of N falls as 1/n + 1/N. Between samples of true showers of several sizes
the logarithm of the divergence is interpolated in the logarithm of 1/n + 1/N; beyond them it is taken to be proportional
to 1/n + 1/N. The size at which it equals the divergence of a generator's sample is the equivalent size; divided by the
number of showers that the generator was trained on it is the amplification factor.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from calopipe.errors import MetricUnavailable

#: parametric resamplings of the divergences for the error
RESAMPLINGS = 400


@dataclass(frozen=True)
class EquivalentSize:
    """An equivalent number of true showers.

    Attributes:
        n: the number; infinite where the divergence is below what the truth sample can resolve.
        error: half the central 68 % of n under the errors of all divergences; infinite where that range is.
        extrapolated: whether n lies outside the sizes that were measured.
    """

    n: float
    error: float
    extrapolated: bool


def equivalent_size(divergence: float, sizes: np.ndarray, divergences: np.ndarray, n_truth: int) -> float:
    """Number of true showers with this divergence.

    Args:
        divergence: of the sample.
        sizes: (S,) numbers of true showers, S >= 1, in any order.
        divergences: (S,) their mean divergences, > 0, at the same number of quantiles.
        n_truth: showers of the truth sample.

    Returns:
        n > 0, infinite when not even the truth's own size gives so small a divergence.

    Raises:
        MetricUnavailable: no sizes, or divergences that are not positive.
    """
    sizes, divergences = np.asarray(sizes, dtype=np.float64), np.asarray(divergences, dtype=np.float64)
    if not len(sizes):
        raise MetricUnavailable("no sample of true showers has enough showers for so many quantiles")
    if not (divergences > 0).all() or not divergence > 0:
        raise MetricUnavailable("a divergence is not positive")
    order = np.argsort(-sizes)
    x = np.log(1 / sizes[order] + 1 / n_truth)
    y = np.maximum.accumulate(np.log(divergences[order]))  # more showers are never worse, up to noise
    wanted = np.log(divergence)
    if wanted < y[0]:
        found = x[0] + wanted - y[0]
    elif wanted > y[-1]:
        found = x[-1] + wanted - y[-1]
    else:
        found = float(np.interp(wanted, y, x))
    rest = np.exp(found) - 1 / n_truth
    return float(1 / rest) if rest > 0 else np.inf


def equivalent_size_with_error(
    divergence: tuple[float, float],
    sizes: np.ndarray,
    divergences: np.ndarray,
    errors: np.ndarray,
    n_truth: int,
    rng: np.random.Generator,
) -> EquivalentSize:
    """Equivalent size with an error from those of the sample's (value, error) and of the true showers' divergences."""
    sizes, divergences = np.asarray(sizes, dtype=np.float64), np.asarray(divergences, dtype=np.float64)
    n = equivalent_size(divergence[0], sizes, divergences, n_truth)

    def drawn(value: np.ndarray | float, error: np.ndarray | float, shape: tuple[int, ...]) -> np.ndarray:
        return value * np.exp(rng.normal(size=shape) * np.asarray(error) / value)  # stays positive

    samples = drawn(divergence[0], divergence[1], (RESAMPLINGS,))
    truths = drawn(divergences, np.asarray(errors), (RESAMPLINGS, len(sizes)))
    found = [equivalent_size(s, sizes, t, n_truth) for s, t in zip(samples, truths, strict=True)]
    low, high = np.quantile(found, [0.16, 0.84], method="nearest")
    error = float((high - low) / 2) if np.isfinite(high) else np.inf
    return EquivalentSize(n, error, not sizes.min() <= n <= sizes.max())
