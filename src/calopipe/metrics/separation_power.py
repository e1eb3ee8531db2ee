"""Separation power of histograms (CaloChallenge, arXiv:2410.21611 section 4.1; arXiv:2009.03796, eq. 15).

S = 1/2 sum_i (h1_i - h2_i)^2 / (h1_i + h2_i + 1e-16) of histograms normalised to one inside their range:
0 for equal histograms, 1 for disjoint ones. Two samples of n and m showers of one distribution give not 0 but, with
B filled bins, about (B - 1)/4 (1/n + 1/m), which is reported as the floor.
"""

from __future__ import annotations

import numpy as np
from pydantic import Field

from calopipe.config.base import Section
from calopipe.config.bounds import Resamplings
from calopipe.config.parts import METRICS
from calopipe.errors import MetricUnavailable
from calopipe.metrics.base import BinnedCounts, Measurement, Sample


class SeparationPowerConfig(Section):
    """Separation power of the observables' histograms (bins: see `histograms` of the evaluation)."""

    observables: list[str] | None = Field(
        None, description="observables to use, e.g. [E_ratio, layer_ratio]; null: all"
    )
    bootstrap: Resamplings = Field(200, description="Poisson resamplings for the error")


def separation_power(h1: np.ndarray, h2: np.ndarray) -> float:
    """Separation power of two histograms with the same bins.

    Args:
        h1, h2: (B,) counts or any multiple of them, not negative.

    Raises:
        MetricUnavailable: a histogram is empty, or they have different numbers of bins.
    """
    h1, h2 = np.asarray(h1, dtype=np.float64), np.asarray(h2, dtype=np.float64)
    if h1.shape != h2.shape or h1.ndim != 1:
        raise MetricUnavailable(f"histograms of shapes {h1.shape} and {h2.shape} cannot be compared")
    if not (h1.sum() > 0 and h2.sum() > 0):
        raise MetricUnavailable("a histogram has no entries inside its range")
    return float(separations(h1, h2))


def separations(h1: np.ndarray, h2: np.ndarray) -> np.ndarray:
    """Separation powers along the last axis of counts that are not all zero along it."""
    p, q = (h / h.sum(axis=-1, keepdims=True) for h in (h1, h2))
    return 0.5 * ((p - q) ** 2 / (p + q + 1e-16)).sum(axis=-1)


def separation_error(h1: np.ndarray, h2: np.ndarray, rng: np.random.Generator, n: int = 200) -> float:
    """Standard deviation of the separation power when all counts fluctuate (Poisson), from n resamplings."""
    a, b = (rng.poisson(h, size=(n, len(h))).astype(np.float64) for h in (h1, h2))
    filled = (a.sum(axis=1) > 0) & (b.sum(axis=1) > 0)
    return float(np.std(separations(a[filled], b[filled]), ddof=1)) if filled.sum() > 1 else 0.0


def separation_floor(h1: np.ndarray, h2: np.ndarray) -> float:
    """Expected separation power of two samples of one distribution with these numbers of entries."""
    filled = int(((h1 > 0) | (h2 > 0)).sum())
    return float(0.25 * max(filled - 1, 0) * (1 / h1.sum() + 1 / h2.sum()))


def separation_of_values(values1: np.ndarray, values2: np.ndarray, edges: np.ndarray) -> float:
    """Separation power of two samples of values (N,) and (M,) filled into bins with these edges (B + 1,)."""
    return separation_power(np.histogram(values1, edges)[0], np.histogram(values2, edges)[0])


@METRICS.register("separation_power", config=SeparationPowerConfig)
def separation_powers(
    reference: Sample, generated: Sample, rng: np.random.Generator, config: SeparationPowerConfig
) -> list[Measurement]:
    """Separation power of each histogram, and ``mean_layers/<observable>``: the mean over layers that tables quote.

    Raises:
        MetricUnavailable: there is no histogram of an observable that the configuration names.
    """
    found = reference.histograms
    families = {name.split("/")[0] for name in found}
    missing = sorted(set(config.observables or []) - families)
    if missing:
        raise MetricUnavailable(f"no histograms of {', '.join(missing)}; there are {', '.join(sorted(families))}")
    wanted = set(config.observables or families)
    names = [name for name in found if name.split("/")[0] in wanted and name in generated.histograms]
    each = [
        _measure(name, found[name], generated.histograms[name], rng, config, reference, generated) for name in names
    ]
    return each + _means(each)


def _measure(
    name: str,
    h1: BinnedCounts,
    h2: BinnedCounts,
    rng: np.random.Generator,
    config: SeparationPowerConfig,
    reference: Sample,
    generated: Sample,
) -> Measurement:
    n, full = min(reference.n, generated.n), f"separation_power/{name}"
    outside = {"outside_reference": 1 - h1.counts.sum() / h1.total, "outside_generated": 1 - h2.counts.sum() / h2.total}
    extra = {k: float(v) for k, v in outside.items()} if h1.total and h2.total else {}
    try:
        value = separation_power(h1.counts, h2.counts)
    except MetricUnavailable as error:
        return Measurement(full, None, None, n, extra=extra, missing=str(error))
    error = separation_error(h1.counts, h2.counts, rng, config.bootstrap)
    # voxels of one shower are correlated: the floor of independent entries would be too low
    floor = None if name == "voxels" else separation_floor(h1.counts, h2.counts)
    return Measurement(full, value, error, n, floor, extra)


def _means(each: list[Measurement]) -> list[Measurement]:
    """Mean over layers (and ranks) of each observable that has several histograms; layers taken as independent."""
    families: dict[str, list[Measurement]] = {}
    for m in each:
        families.setdefault(m.name.split("/")[1], []).append(m)
    out = []
    for family, members in families.items():
        known = [m for m in members if m.value is not None]
        if len(members) < 2 or not known:
            continue
        value, floor = (float(np.mean([getattr(m, key) for m in known])) for key in ("value", "floor"))
        error = float(np.sqrt(np.sum([(m.error or 0) ** 2 for m in known])) / len(known))
        name = f"separation_power/mean_layers/{family}"
        out.append(Measurement(name, value, error, known[0].n, floor, {"histograms": len(known)}))
    return out
