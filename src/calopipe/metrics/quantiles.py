"""Quantiles of a truth sample in any number of dimensions, and the Jensen-Shannon divergence of a sample in them
(Calomplification, arXiv:2202.07352, section 3).

The truth sample is split at its median, each half at its own median, and so on; of several dimensions the splits take
turns. After k splits there are 2^k quantiles with equally many truth values each. Values that occur many times (empty
showers) cannot be split: the truth's own occupancies p_i are used, not 1 / 2^k, as in the paper.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from calopipe.errors import DataError, MetricUnavailable

#: a sample of n showers is judged in at most n / SHOWERS_PER_QUANTILE quantiles
SHOWERS_PER_QUANTILE = 10


def allowed_levels(n: int) -> int:
    """Largest k with 2^k <= n / 10: more quantiles than a tenth of the showers would leave some empty by chance."""
    return int(n // SHOWERS_PER_QUANTILE).bit_length() - 1 if n >= SHOWERS_PER_QUANTILE else 0


@dataclass(frozen=True, eq=False)
class QuantilePartition:
    """Quantiles of one truth sample; the quantile of a value at level k is its first k turns, low (0) or high (1).

    Attributes:
        edges: one array (2^k,) of medians for each level k = 0, 1, ...; infinite where the truth has no values.
        dimensions: columns D of the values; level k splits column k mod D.
        truth: (2^levels,) truth values in each of the finest quantiles.
    """

    edges: tuple[np.ndarray, ...]
    dimensions: int
    truth: np.ndarray

    @property
    def levels(self) -> int:
        """Number of splits: the finest partition has 2^levels quantiles."""
        return len(self.edges)

    @classmethod
    def fit(cls, values: np.ndarray, levels: int) -> QuantilePartition:
        """Split truth values `levels` times.

        Args:
            values: (N,) or (N, D), finite.
            levels: number of splits, >= 1; 2^levels must not exceed N / 10.

        Raises:
            DataError: wrong shape, or values that are not finite.
            MetricUnavailable: too few values for so many quantiles.
        """
        values = _checked(values)
        if levels < 1 or levels > allowed_levels(len(values)):
            raise MetricUnavailable(
                f"{2**levels} quantiles need {SHOWERS_PER_QUANTILE * 2 ** max(levels, 1)} truth values, "
                f"found {len(values)}"
            )
        cells, edges = np.zeros(len(values), dtype=np.int64), []
        for level in range(levels):
            column = values[:, level % values.shape[1]]
            edges.append(_medians(column, cells, 2**level))
            cells = 2 * cells + (column > edges[-1][cells])
        return cls(tuple(edges), values.shape[1], np.bincount(cells, minlength=2**levels))

    def cells(self, values: np.ndarray) -> np.ndarray:
        """(N,) finest quantile of each of N values (N,) or (N, D); a value equal to an edge is below it."""
        values = _checked(values)
        if values.shape[1] != self.dimensions:
            raise DataError(f"quantiles of {self.dimensions} dimensions cannot hold values of {values.shape[1]}")
        cells = np.zeros(len(values), dtype=np.int64)
        for level, edges in enumerate(self.edges):
            cells = 2 * cells + (values[:, level % self.dimensions] > edges[cells])
        return cells

    def counts(self, cells: np.ndarray) -> np.ndarray:
        """(2^levels,) how many of `cells` are in each of the finest quantiles."""
        return np.bincount(cells, minlength=2**self.levels)

    def curve(self, counts: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Jensen-Shannon divergence to the truth against the number of quantiles.

        Args:
            counts: (..., 2^levels) values of samples in the finest quantiles.
            n: showers of each sample: numbers of quantiles above n / 10 are left out.

        Returns:
            (K,) numbers of quantiles 2, 4, ..., and (..., K) divergences.

        Raises:
            MetricUnavailable: fewer than 20 showers, or a sample without values.
        """
        top = min(self.levels, allowed_levels(n))
        if top < 1:
            raise MetricUnavailable(f"2 quantiles need {2 * SHOWERS_PER_QUANTILE} showers, found {n}")
        values = [jensen_shannon(_coarse(counts, k), _coarse(self.truth, k)) for k in range(1, top + 1)]
        return 2 ** np.arange(1, top + 1), np.stack(values, axis=-1)


def jensen_shannon(g: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Jensen-Shannon divergence of histograms along the last axis (eq. 3.3), natural logarithm: from 0 to ln 2.

    1/2 sum_i g_i ln(g_i / m_i) + p_i ln(p_i / m_i), m_i = (g_i + p_i) / 2, of counts divided by their sum.

    Raises:
        MetricUnavailable: a histogram without entries, or different numbers of bins.
    """
    g, p = np.asarray(g, dtype=np.float64), np.asarray(p, dtype=np.float64)
    if g.shape[-1] != p.shape[-1]:
        raise MetricUnavailable(f"histograms of {g.shape[-1]} and {p.shape[-1]} bins cannot be compared")
    sums = [h.sum(axis=-1, keepdims=True) for h in (g, p)]
    if not all((s > 0).all() for s in sums):
        raise MetricUnavailable("a sample has no values")
    g, p = (h / s for h, s in zip((g, p), sums, strict=True))
    mean = 0.5 * (g + p)
    logs = [h * np.log(np.divide(h, mean, out=np.ones_like(mean), where=h > 0)) for h in np.broadcast_arrays(g, p)]
    return np.maximum(0.5 * (logs[0] + logs[1]).sum(axis=-1), 0)


def expected_divergence(quantiles: np.ndarray | int, n: float, n_truth: float = np.inf) -> np.ndarray:
    """What n true showers give, with quantiles from n_truth others: (q - 1)/8 (1/n + 1/n_truth), to leading order.

    To second order D_JS = 1/8 sum_i (g_i - p_i)^2 / p_i, and both samples scatter as multinomials. For one value per
    shower.
    """
    return (np.asarray(quantiles, dtype=np.float64) - 1) / 8 * (1 / n + 1 / n_truth)


def jackknife_error(partition: QuantilePartition, blocks: np.ndarray, n: int) -> np.ndarray:
    """(K,) standard error of :meth:`QuantilePartition.curve` of one sample from leaving out blocks of its showers.

    Args:
        blocks: (B, 2^levels) counts of B blocks of equally many showers; values of one shower stay together.
        n: showers of all blocks.
    """
    _, values = partition.curve(blocks.sum(axis=0) - blocks, n)
    return np.sqrt((len(blocks) - 1) * values.var(axis=0))


def _coarse(counts: np.ndarray, level: int) -> np.ndarray:
    """Counts of 2^level quantiles from those of finer ones."""
    return counts.reshape(*counts.shape[:-1], 2**level, -1).sum(axis=-1)


def _checked(values: np.ndarray) -> np.ndarray:
    values = np.asarray(values)
    values = values[:, None] if values.ndim == 1 else values
    if values.ndim != 2 or not values.shape[1]:
        raise DataError(f"quantiles need values of shape (N,) or (N, D), found {values.shape}")
    if not np.isfinite(values).all():
        raise DataError(f"quantiles need finite values; row {int(np.argmin(np.isfinite(values).all(axis=1)))} is not")
    return values


def _medians(column: np.ndarray, cells: np.ndarray, n_cells: int) -> np.ndarray:
    """(n_cells,) median of the values in each cell; infinite where there are none."""
    order = np.lexsort((column, cells))
    counts = np.bincount(cells, minlength=n_cells)
    first = np.concatenate([[0], np.cumsum(counts)[:-1]])
    filled = counts > 0
    low, high = (column[order[(first + half)[filled]]].astype(np.float64) for half in ((counts - 1) // 2, counts // 2))
    medians = np.full(n_cells, np.inf)
    medians[filled] = 0.5 * low + 0.5 * high
    return medians
