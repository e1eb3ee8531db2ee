"""Fidelity score: weighted sum of Jensen-Shannon divergences of the observables' histograms, as one number.

JSD(P || Q) = KL(P || M)/2 + KL(Q || M)/2 with M = (P + Q)/2 (Werther 2022, "Fidelity Score"), here in bits, so that 0
are equal and 1 disjoint histograms. The weights are normalised to one. An observable that has a histogram per layer
counts once, with the mean over its layers. What lies outside a histogram's range is one bin more: a sample cannot gain by
leaving the range.

The source names neither its observables nor its weights. The default are the quantities of "Getting High"
(arXiv:2005.05334), equally weighted: cell energies, number of hits, visible energy, depth, longitudinal profile,
centres of gravity and lateral widths. State the weights with the score.

Showers are resampled as a whole, so the error knows that layers and voxels of a shower go together. Two samples of one
distribution do not give 0: the floor is the score of two random halves of the reference, brought to the sizes of the
samples by the leading term of the bias, which is proportional to 1/N + 1/M.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from calopipe.config.parts import METRICS, Observable
from calopipe.errors import MetricUnavailable
from calopipe.metrics.base import Sample
from calopipe.metrics.defaults import FIDELITY
from calopipe.metrics.settings import FidelityConfig
from calopipe.records.scores import Score

#: fewest showers per sample
MIN_SHOWERS = 20

#: counts (B + 1,) by histogram, the last bin for what is outside the range
Counts = Mapping[str, np.ndarray]


def jensen_shannon(p: np.ndarray, q: np.ndarray) -> float:
    """Jensen-Shannon divergence in bits of two histograms with the same bins, in [0, 1].

    Args:
        p, q: (B,) counts or any multiple of them, not negative.

    Raises:
        MetricUnavailable: a histogram is empty, has a negative entry, or they have different numbers of bins.
    """
    p, q = np.asarray(p, dtype=np.float64), np.asarray(q, dtype=np.float64)
    if p.shape != q.shape or p.ndim != 1:
        raise MetricUnavailable(f"histograms of shapes {p.shape} and {q.shape} cannot be compared")
    if p.size and min(p.min(), q.min()) < 0:
        raise MetricUnavailable("a histogram has negative entries")
    if not (p.sum() > 0 and q.sum() > 0):
        raise MetricUnavailable("a histogram has no entries")
    p, q = p / p.sum(), q / q.sum()
    middle = 0.5 * (p + q)
    return float(0.5 * sum(_kl(x, middle) for x in (p, q)))


def _kl(p: np.ndarray, q: np.ndarray) -> float:
    filled = p > 0
    return float((p[filled] * np.log2(p[filled] / q[filled])).sum())


@METRICS.register("fidelity", config=FidelityConfig)
def fidelity(reference: Sample, generated: Sample, rng: np.random.Generator, config: FidelityConfig) -> list[Score]:
    """The score ``fidelity`` and its parts ``fidelity/<observable>``, each with error and floor.

    Raises:
        MetricUnavailable: an observable that is weighted has no histogram, no weight is positive, or there are fewer
            than MIN_SHOWERS showers.
    """
    if min(reference.n, generated.n) < MIN_SHOWERS:
        raise MetricUnavailable(f"fidelity needs {MIN_SHOWERS} showers, found {reference.n} and {generated.n}")
    weights = _weights(config.weights, reference)
    pair = [_Binned(s, weights) for s in (reference, generated)]
    value = _scores(pair[0].counts(), pair[1].counts(), weights)
    sizes = reference.n, generated.n
    drawn = []
    for _ in range(config.bootstrap):
        p, q = (b.counts(np.bincount(rng.integers(0, n, n), minlength=n)) for b, n in zip(pair, sizes, strict=True))
        drawn.append(_scores(p, q, weights))
    error = np.std([list(d.values()) for d in drawn], axis=0, ddof=1)
    scale = (1 / reference.n + 1 / generated.n) / (4 / reference.n)
    floor = scale * np.mean([list(_halves(pair[0], weights, rng).values()) for _ in range(config.splits)], axis=0)
    facts = {"weights": weights}
    return [
        Score(name, v, float(e), min(sizes), floor=float(f), extra=facts if name == "fidelity" else {})
        for (name, v), e, f in zip(value.items(), error, floor, strict=True)
    ]


def _weights(weights: Mapping[Observable, float] | None, reference: Sample) -> dict[str, float]:
    """Normalised weights by observable."""
    families = {name.split("/")[0] for name in [*reference.shower_bins, "voxels"] if name in reference.histograms}
    if weights is None:
        weights = {name: 1.0 for name in FIDELITY if name in families}
    missing = sorted(name for name in weights if name not in families)
    if missing:
        raise MetricUnavailable(f"no histograms of {', '.join(missing)}; there are {', '.join(sorted(families))}")
    total = sum(weights.values())
    return {name: w / total for name, w in weights.items() if w > 0}


class _Binned:
    """Bins of every shower of a sample, for the histograms of the weighted observables."""

    def __init__(self, sample: Sample, weights: Mapping[str, float]) -> None:
        bins = sample.shower_bins
        self.bins = {k: v for k, v in bins.items() if k.split("/")[0] in weights}
        self.sizes = {k: len(sample.histograms[k].counts) for k in self.bins}
        self.voxels = sample.voxel_counts.astype(np.float64) if "voxels" in weights else None
        self.n = sample.n

    def counts(self, times: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """Histograms, each shower counted `times` (n,) times (once by default); entry -1 of a bin index is the last."""
        times = np.ones(self.n) if times is None else times.astype(np.float64)
        out: dict[str, np.ndarray] = {}
        for name, index in self.bins.items():
            size = self.sizes[name]
            out[name] = np.bincount(np.where(index < 0, size, index), weights=times, minlength=size + 1)
        if self.voxels is not None:
            out["voxels"] = times @ self.voxels
        return out


def _scores(p: Counts, q: Counts, weights: Mapping[str, float]) -> dict[str, float]:
    """``fidelity`` and ``fidelity/<observable>``."""
    parts = {}
    for family in weights:
        names = [name for name in p if name.split("/")[0] == family]
        parts[f"fidelity/{family}"] = float(np.mean([_divergence(p[name], q[name]) for name in names]))
    total = sum(weight * parts[f"fidelity/{family}"] for family, weight in weights.items())
    return {"fidelity": float(total), **parts}


def _divergence(p: np.ndarray, q: np.ndarray) -> float:
    """Divergence of two histograms; 1 where one sample has no entry at all (no voxel above the threshold), 0 where both."""
    if p.sum() > 0 and q.sum() > 0:
        return jensen_shannon(p, q)
    return float((p.sum() > 0) != (q.sum() > 0))


def _halves(binned: _Binned, weights: Mapping[str, float], rng: np.random.Generator) -> dict[str, float]:
    """Scores of two random halves of a sample."""
    first = np.zeros(binned.n)
    first[rng.permutation(binned.n)[: binned.n // 2]] = 1
    return _scores(binned.counts(first), binned.counts(1 - first), weights)
