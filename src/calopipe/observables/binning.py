"""Bins of the observables' histograms. They follow the configuration and the reference sample, never a model."""

from __future__ import annotations

import numpy as np

from calopipe.config.evaluation import HistogramConfig
from calopipe.observables.specs import Column

#: fraction of the reference left out at an open end of the range of centroids and widths (their tails are long)
TAIL = 1e-3
#: range in MeV of logarithmic bins of what the reference does not have at all
EVERYTHING = (1e-9, 1e9)


def bin_edges(column: Column, reference: np.ndarray, config: HistogramConfig) -> np.ndarray:
    """Bin edges of one column.

    Args:
        column: which observable; its spec says how the range is chosen.
        reference: (N,) values of the reference sample, N > 0.
        config: numbers of bins, and the range of E_tot / E_inc.

    Returns:
        (B + 1,) increasing float64 edges:
        ``energy_ratio`` from the configuration; ``extremes`` and ``layer_ratio`` between the reference's extremes;
        ``positive`` from 0 and ``central`` from the 0.1 % quantile to the 99.9 % quantile; ``log`` equal in the
        logarithm between the extremes of the positive values; ``unit`` [0, 1]; ``levels`` (fractions of n voxels) the
        same number of possible values in every bin, at most `config.bins` bins.
    """
    kind, bins = column.spec.range, config.bins
    if kind == "energy_ratio":
        return np.linspace(*config.energy_ratio_range, bins + 1)
    if kind == "unit":
        return np.linspace(0, 1, bins + 1)
    if kind == "levels":
        step = -(-(column.voxels + 1) // bins)
        return (np.arange(0, column.voxels + 1 + step, step) - 0.5) / column.voxels
    if kind == "log":
        positive = reference[reference > 0]
        return log_edges(positive.min(initial=np.inf), positive.max(initial=0), bins)
    if kind in ("extremes", "layer_ratio"):
        low, high = reference.min(), reference.max()
        bins = config.layer_ratio_bins if kind == "layer_ratio" else bins
    elif kind == "positive":
        low, high = 0.0, np.quantile(reference, 1 - TAIL)
    else:
        return central_edges(reference, bins)
    return _linear(float(low), float(high), bins)


def central_edges(reference: np.ndarray, bins: int) -> np.ndarray:
    """(bins + 1,) equal bins from the 0.1 % quantile of the reference (N,) to the 99.9 % quantile."""
    low, high = np.quantile(reference, [TAIL, 1 - TAIL])
    return _linear(float(low), float(high), bins)


def log_edges(low: float, high: float, bins: int) -> np.ndarray:
    """(bins + 1,) edges equal in the logarithm; a range of one value is widened.

    An empty one becomes so wide that whatever another sample has there is inside.
    """
    if not 0 < low <= high < np.inf:
        low, high = EVERYTHING
    if high <= low * (1 + 1e-6):
        low, high = low / 1.1, high * 1.1
    edges = np.geomspace(low, high, bins + 1)
    edges[0], edges[-1] = low, high
    return edges


def ratio_edges(reference: np.ndarray, bins: int) -> np.ndarray:
    """Edges (bins + 1,) of E_tot / E_inc at one incident energy.

    The range follows the reference, because resolutions differ by an order of magnitude between low and high energies:
    from the 0.1 % to the 99.9 % quantile, and a fifth of that more at both ends.
    """
    low, high = np.quantile(reference, [TAIL, 1 - TAIL])
    margin = 0.2 * (high - low)
    return _linear(max(0.0, float(low - margin)), float(high + margin), bins)


def _linear(low: float, high: float, bins: int) -> np.ndarray:
    if high - low <= 1e-9 * max(abs(low), abs(high)):  # one value: a range around it
        reach = 0.1 * max(abs(low), abs(high)) or 0.5
        low, high = low - reach, high + reach
    edges = np.linspace(low, high, bins + 1)
    edges[-1] = high
    return edges
