"""Two bands of one histogram compared: of a Bayesian network's draws, and of an ensemble of trainings (Ernst 2023, section 4.2.4).

Of each bin the K histograms of a band, normalised to all their entries, have a mean m and a standard deviation s. In s are
what differs from one network to the next and the counts: with N entries a share p has the counting variance
c = p (1 - p) / N. Everything is told twice, with counting errors as they are and without them: then c is subtracted from
s^2, and c_B / K_B + c_E / K_E from (m_B - m_E)^2, and what is below zero is zero.

- A bin is covered where |m_B - m_E| + s_E <= :data:`BAND` s_B: the band of BAND standard deviations of the Bayesian network
  holds the whole band of one standard deviation of the ensemble. The score is the covered fraction of the bins.
- The width of a band is sqrt(mean over bins of s^2 / r), r the reference's share: each bin counts in units of its counting
  error. The ratio of widths is that of the Bayesian network over that of the ensemble.

Used bins have :data:`MIN_REFERENCE` entries of the reference or more. Showers of all draws and seeds are made for the same conditions, so that
counts that follow from the incident energy scatter less than c: without counting errors bands are then too narrow, with them too
wide, and the truth is between. Voxel energies, of which one shower has many that belong together, have no such c and are left out.
Errors are the scatter between :data:`HALVES` random halves of the draws and of the trainings (jackknife that leaves half out; one that leaves
out one is wrong for fractions).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from calopipe.errors import MetricUnavailable

Array = NDArray[np.float64]
Rows = NDArray[np.int64]
#: a bin is covered by so many standard deviations of the Bayesian network
BAND = 2.0
#: entries of the reference that a bin must have, as in ratio panels
MIN_REFERENCE = 4
#: halves whose scatter is the error
HALVES = 100


@dataclass(frozen=True)
class Band:
    """Counts (K, B) of K histograms, of draws or of trainings, and all entries (K,) of each, inside of the range or not."""

    counts: Array
    totals: Array

    def __post_init__(self) -> None:
        if len(self.counts) < 2 or not (np.asarray(self.totals) > 0).all():
            raise MetricUnavailable(
                f"a band needs two histograms with entries or more, found {int((np.asarray(self.totals) > 0).sum())}"
            )

    @property
    def mean(self) -> Array:
        """(B,) mean share of entries in each bin."""
        return self._shares.mean(axis=0)

    def variance(self, counting: bool) -> Array:
        """(B,) variance between histograms, that of counts included or subtracted (then perhaps below zero)."""
        found = self._shares.var(axis=0, ddof=1)
        return found if counting else found - self.counting

    @property
    def counting(self) -> Array:
        """(B,) mean variance of one histogram's share that its counts alone give."""
        p = self._shares
        # p (1 - p) / (N - 1) is without bias where the share itself is from the counts
        return (p * (1 - p) / np.maximum(np.asarray(self.totals)[:, None] - 1, 1)).mean(axis=0)

    @property
    def _shares(self) -> Array:
        return np.asarray(self.counts, dtype=np.float64) / np.asarray(self.totals, dtype=np.float64)[:, None]

    def of(self, rows: Rows) -> Band:
        """The band of some of its histograms."""
        return Band(np.asarray(self.counts)[rows], np.asarray(self.totals)[rows])


class Panel(NamedTuple):
    """One histogram: shares (B,) of the reference, its counts (B,), and both bands."""

    reference: Array
    counts: Array
    bayesian: Band
    ensemble: Band

    @property
    def used(self) -> NDArray[np.bool_]:
        """(B,) which bins are used."""
        return np.asarray(self.counts) >= MIN_REFERENCE


class Estimate(NamedTuple):
    """A value and its error; None where a band has fewer than four histograms, whose halves are no bands."""

    value: float
    error: float | None


@dataclass(frozen=True)
class Comparison:
    """Two bands over the used bins of all panels, with counting errors or without."""

    covered: Estimate
    ratio: Estimate
    bins: int


def covered(panel: Panel, counting: bool) -> NDArray[np.bool_]:
    """(B,) which bins the band of the Bayesian network covers the ensemble's in, see the head of this module."""
    b, e = panel.bayesian, panel.ensemble
    apart = (b.mean - e.mean) ** 2
    if not counting:
        apart = apart - b.counting / len(b.counts) - e.counting / len(e.counts)
    s_b, s_e, d = (np.sqrt(np.maximum(v, 0)) for v in (b.variance(counting), e.variance(counting), apart))
    return d + s_e <= BAND * s_b


def width(panels: Sequence[tuple[Band, Array]], counting: bool) -> float:
    """Width of a band over panels, each with the reference's shares (B,) of its used bins and NaN in others; in sqrt(share)."""
    values = np.concatenate([band.variance(counting) / reference for band, reference in panels])
    return float(np.sqrt(max(np.nanmean(values), 0.0))) if np.isfinite(values).any() else np.nan


def compare_bands(panels: Sequence[Panel], counting: bool, rng: np.random.Generator) -> Comparison:
    """Covered fraction and ratio of widths over all used bins of the panels.

    Raises:
        MetricUnavailable: no used bins; or, without counting errors, an ensemble whose width is not above that of counts.
    """
    bins = sum(int(p.used.sum()) for p in panels)
    if not bins:
        raise MetricUnavailable(f"no bin with {MIN_REFERENCE} reference entries or more")

    def fraction(these: Sequence[Panel]) -> float:
        return float(np.concatenate([covered(p, counting)[p.used] for p in these]).mean())

    def ratio(these: Sequence[Panel]) -> float:
        shares = [np.where(p.used, p.reference, np.nan) for p in these]
        kinds = ([p.bayesian for p in these], [p.ensemble for p in these])
        wide, narrow = (width(list(zip(bands, shares, strict=True)), counting) for bands in kinds)
        return wide / narrow if narrow > 0 else np.inf

    return Comparison(_estimate(panels, fraction, rng), _estimate(panels, ratio, rng), bins)


def _estimate(
    panels: Sequence[Panel], statistic: Callable[[Sequence[Panel]], float], rng: np.random.Generator
) -> Estimate:
    """The statistic, and its error: of halves of the draws and of the trainings, the same of all panels."""
    sizes = {name: min(len(getattr(p, name).counts) for p in panels) for name in ("bayesian", "ensemble")}

    def of_half(rows: Mapping[str, Rows]) -> float:
        return statistic([p._replace(**{k: getattr(p, k).of(r) for k, r in rows.items()}) for p in panels])

    return Estimate(statistic(panels), _scatter(of_half, sizes, rng))


def width_inside(
    inside: Sequence[tuple[Band, Array]],
    outside: Sequence[tuple[Band, Array]],
    counting: bool,
    rng: np.random.Generator,
) -> Estimate:
    """Width of a band over some panels over its width over others, of the same draws: a hole in the training data, and beside it.

    Panels as those of :func:`width`. Infinite where the band outside is no wider than its counting errors.
    """

    def ratio(rows: Rows | None) -> float:
        def of(panels: Sequence[tuple[Band, Array]]) -> float:
            return width([(band if rows is None else band.of(rows), reference) for band, reference in panels], counting)

        below = of(outside)
        return of(inside) / below if below > 0 else np.inf

    n = min(len(band.counts) for band, _ in (*inside, *outside))
    return Estimate(ratio(None), _scatter(lambda rows: ratio(rows["draws"]), {"draws": n}, rng))


def _scatter(
    of_half: Callable[[Mapping[str, Rows]], float], sizes: Mapping[str, int], rng: np.random.Generator
) -> float | None:
    """Standard deviation of a statistic between halves of each kind of histograms; None where a half is no band."""
    if min(sizes.values()) < 4:
        return None
    values = [of_half({kind: rng.permutation(n)[: n // 2] for kind, n in sizes.items()}) for _ in range(HALVES)]
    return float(np.std(values)) if np.isfinite(values).all() else None


def by_chance(panels: Sequence[Panel], counting: bool, rng: np.random.Generator) -> float:
    """The covered fraction of networks that do not differ: counts drawn anew from the mean share of both bands (binomial)."""
    drawn = []
    for p in panels:
        share = 0.5 * (p.bayesian.mean + p.ensemble.mean)
        bands = [
            Band(rng.binomial(np.asarray(b.totals, dtype=np.int64)[:, None], share).astype(np.float64), b.totals)
            for b in (p.bayesian, p.ensemble)
        ]
        drawn.append(p._replace(bayesian=bands[0], ensemble=bands[1]))
    return float(np.concatenate([covered(p, counting)[p.used] for p in drawn]).mean())
