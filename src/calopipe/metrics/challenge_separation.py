"""Separation powers in the CaloChallenge's own histograms, as its table of submissions quotes them (arXiv:2410.21611).

The histograms are those of :mod:`calopipe.observables.challenge`; the number is that of
:mod:`calopipe.metrics.separation_power`. The table's columns are ``E_ratio`` ("E total"), ``voxels`` ("cell") and the
means over layers of ``E_layer``, ``EC_eta``, ``EC_phi``, ``EC_r``, of ``width_eta``, ``width_phi``, ``width_r``
(" std") and of ``sparsity``.

Errors come from a bootstrap over blocks of showers that all histograms share, so that the correlations of voxels within
a shower, and of layers within a mean, are in them. Floors come from random halves of the reference, scaled with
1/n + 1/m to the sizes of the samples.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from pydantic import Field

from calopipe.config.base import Section
from calopipe.config.bounds import Resamplings
from calopipe.config.parts import METRICS
from calopipe.errors import MetricUnavailable
from calopipe.metrics.base import BinnedCounts, Measurement, Sample
from calopipe.metrics.separation_power import separation_power, separations

#: halvings of the reference whose mean is the floor
HALVINGS = 20


class ChallengeSeparationConfig(Section):
    """Separation powers in the CaloChallenge's histograms (cylindrical geometries only)."""

    bootstrap: Resamplings = Field(200, description="resamplings of blocks of showers for the errors")


@METRICS.register("challenge_separation", config=ChallengeSeparationConfig)
def challenge_separation(
    reference: Sample, generated: Sample, rng: np.random.Generator, config: ChallengeSeparationConfig
) -> list[Measurement]:
    """``challenge_separation/<histogram>``, and ``challenge_separation/mean_layers/<observable>`` of those with layers.

    Raises:
        MetricUnavailable: the geometry is not cylindrical, or has no readout threshold.
    """
    a, b = reference.challenge_histograms, generated.challenge_histograms
    weights = [rng.poisson(1.0, (config.bootstrap, len(_blocks(h)))) for h in (a, b)]
    halves = _halvings(len(_blocks(a)), rng)
    scale = (1 / reference.n + 1 / generated.n) / (4 / reference.n)
    n, out = min(reference.n, generated.n), []
    draws: dict[str, np.ndarray] = {}
    for name, h in a.items():
        full = f"challenge_separation/{name}"
        try:
            value = separation_power(h.counts, b[name].counts)
        except MetricUnavailable as problem:
            out.append(Measurement(full, None, None, n, missing=str(problem)))
            continue
        draws[name] = _separations(weights[0] @ h.blocks, weights[1] @ b[name].blocks)
        floor = float(np.nanmean(_separations(halves @ h.blocks, (1 - halves) @ h.blocks))) * scale
        out.append(Measurement(full, value, _spread(draws[name]), n, floor if np.isfinite(floor) else None))
    return out + _means(out, draws)


def _blocks(histograms: Mapping[str, BinnedCounts]) -> np.ndarray:
    found = histograms["E_ratio"].blocks
    if found is None:
        raise MetricUnavailable("the challenge's histograms were filled without blocks of showers")
    return found


def _halvings(blocks: int, rng: np.random.Generator) -> np.ndarray:
    """(HALVINGS, K) 1 for the blocks of the first half, 0 for those of the second."""
    chosen = np.zeros((HALVINGS, blocks), dtype=np.int64)
    chosen[:, : blocks // 2] = 1
    return rng.permuted(chosen, axis=1)


def _separations(h1: np.ndarray, h2: np.ndarray) -> np.ndarray:
    """Separation powers of rows of counts (R, B); NaN where a row is empty."""
    filled = (h1.sum(axis=1) > 0) & (h2.sum(axis=1) > 0)
    out = np.full(len(h1), np.nan)
    out[filled] = separations(h1[filled], h2[filled])
    return out


def _spread(draws: np.ndarray) -> float | None:
    known = draws[np.isfinite(draws)]
    return float(known.std(ddof=1)) if len(known) > 1 else None


def _means(each: list[Measurement], draws: Mapping[str, np.ndarray]) -> list[Measurement]:
    """Means over layers; the layers of one resampling belong together."""
    families: dict[str, list[Measurement]] = {}
    for m in each:
        parts = m.name.split("/")
        if len(parts) == 3:
            families.setdefault(parts[1], []).append(m)
    out = []
    for family, members in families.items():
        name = f"challenge_separation/mean_layers/{family}"
        known = [m for m in members if m.value is not None]
        if not known:
            out.append(Measurement(name, None, None, members[0].n, missing="no layer has entries inside the range"))
            continue
        value = float(np.mean([m.value for m in known]))
        error = _spread(np.mean([draws[m.name.split("/", 1)[1]] for m in known], axis=0))
        floors = [m.floor for m in known if m.floor is not None]
        floor = float(np.mean(floors)) if len(floors) == len(known) else None
        extra = {"histograms": len(known), "without_entries": len(members) - len(known)}
        out.append(Measurement(name, value, error, known[0].n, floor, extra))
    return out
