"""Observables of data that are no showers: histograms, moments and FWHM of each column, overall and in slices of conditions.

Moments are those of the sample (sums over n, not n - 1): the mean m, the standard deviation s, the skewness <(x - m)^3> / s^3 and
the excess kurtosis <(x - m)^4> / s^4 - 3, which are 0 for a normal distribution. Central moments are taken about the mean, in
float64. The full width at half maximum is read off the histogram: between the places left and right of the highest bin where the
density, linear between the centres of the bins, falls below half of that bin's. It follows the bins: of few entries the highest bin is
one that fluctuated upward, which makes it too small. What is not defined is None: never 0, never NaN.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from calopipe.errors import DataError
from calopipe.observables.binning import central_edges
from calopipe.records.slices import Slice

#: bin edges by column and slice (None: all)
Edges = Mapping[tuple[str, Slice | None], np.ndarray]
#: relative rounding error of a central moment, generously
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Moments:
    """Moments of n values; None where they are not defined: without values, or the higher ones of equal values."""

    n: int
    mean: float | None = None
    std: float | None = None
    skewness: float | None = None
    kurtosis: float | None = None


@dataclass(frozen=True)
class ColumnSummary:
    """One column of one sample, overall (`part` None) or in a slice of it.

    Attributes:
        column: its name.
        part: the slice.
        edges, counts: (B + 1,) bin edges and (B,) entries inside the range.
        moments: of all values, inside the range or not; their number is `moments.n`.
        fwhm: full width at half maximum of the histogram, in the column's unit; None where it is not defined.
    """

    column: str
    part: Slice | None
    edges: np.ndarray
    counts: np.ndarray
    moments: Moments
    fwhm: float | None


def moments(values: np.ndarray) -> Moments:
    """Moments of values (N,); raises DataError when one is not finite."""
    values = np.asarray(values, dtype=np.float64).reshape(-1)
    if not np.isfinite(values).all():
        raise DataError(f"moments: {int((~np.isfinite(values)).sum())} of {len(values)} values are not finite")
    if not len(values):
        return Moments(0)
    mean = float(values.mean())
    away = values - mean
    std = float(np.sqrt(np.mean(away**2)))
    if std <= _ROUNDING * np.abs(values).max():
        return Moments(len(values), mean, 0.0)
    away /= std
    return Moments(len(values), mean, std, float(np.mean(away**3)), float(np.mean(away**4) - 3))


def fwhm(counts: np.ndarray, edges: np.ndarray) -> float | None:
    """Full width at half maximum of a histogram, in the unit of its edges.

    Args:
        counts: (B,) entries.
        edges: (B + 1,) increasing.

    Returns:
        None where there is no entry, or the density does not fall below half of its maximum within the range on both sides.
    """
    density = np.asarray(counts, dtype=np.float64) / np.diff(edges)
    centres = 0.5 * (edges[:-1] + edges[1:])
    peak = int(density.argmax())
    half = density[peak] / 2
    left, right = np.flatnonzero(density[:peak] < half), peak + np.flatnonzero(density[peak:] < half)
    if not half or not len(left) or not len(right):
        return None
    low = _crossing(centres, density, half, int(left[-1]))
    return _crossing(centres, density, half, int(right[0]) - 1) - low


def _crossing(centres: np.ndarray, density: np.ndarray, half: float, i: int) -> float:
    """Where the line between the centres of bins i and i + 1 has half the height."""
    share = (half - density[i]) / (density[i + 1] - density[i])
    return float(centres[i] + share * (centres[i + 1] - centres[i]))


def column_edges(
    reference: Mapping[str, np.ndarray],
    bins: int,
    conditions: Mapping[str, np.ndarray] | None = None,
    slices: Sequence[Slice] = (),
) -> Edges:
    """Bin edges of each column, overall and in slices: they follow the reference there, never a model.

    Args:
        reference: column name -> (N,), N > 0. conditions: name -> (N,), what slices are of.

    Returns:
        (column, slice or None) -> (bins + 1,) edges, without slices that hold no row of the reference.

    Raises:
        DataError: a slice is of a condition that is not there.
    """
    conditions = conditions or {}
    found = {}
    for part in (None, *slices):
        rows = _rows(part, conditions)
        for name, values in reference.items():
            chosen = np.asarray(values, dtype=np.float64)[rows]
            if len(chosen):
                found[name, part] = central_edges(chosen, bins)
    return found


def summarise_columns(
    values: Mapping[str, np.ndarray], conditions: Mapping[str, np.ndarray], edges: Edges
) -> Iterator[ColumnSummary]:
    """Columns overall and in slices, in the order of the edges.

    Args:
        values: column name -> (N,).
        conditions: name -> (N,): what slices are of.
        edges: (column, slice or None) -> bin edges, see :func:`column_edges`.

    Raises:
        DataError: a slice is of a condition that is not there, or a value is not finite.
    """
    for (name, part), bins in edges.items():
        chosen = values[name][_rows(part, conditions)]
        counts = np.histogram(chosen, bins)[0]
        yield ColumnSummary(name, part, bins, counts, moments(chosen), fwhm(counts, bins))


def _rows(part: Slice | None, conditions: Mapping[str, np.ndarray]) -> slice | np.ndarray:
    """Rows of a slice; of None all."""
    if part is None:
        return slice(None)
    if part.condition not in conditions:
        known = ", ".join(conditions) or "none"
        raise DataError(f"slices: no condition '{part.condition}'; there are {known}")
    return part.holds(np.asarray(conditions[part.condition], dtype=np.float64))
