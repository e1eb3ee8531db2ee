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

from calopipe.config.parts import METRICS
from calopipe.errors import MetricUnavailable
from calopipe.metrics.base import BinnedCounts, Sample
from calopipe.metrics.defaults import SIX
from calopipe.metrics.separation_power import (
    average_of,
    entries,
    floor_of_halves,
    halves_of,
    mean_of_layers,
    of_six,
    separation_power,
    separations,
    spread,
    too_few,
)
from calopipe.metrics.settings import ChallengeSeparationConfig
from calopipe.records.scores import Score


@METRICS.register("challenge_separation", config=ChallengeSeparationConfig)
def challenge_separation(
    reference: Sample, generated: Sample, rng: np.random.Generator, config: ChallengeSeparationConfig
) -> list[Score]:
    """``challenge_separation/<histogram>``, ``challenge_separation/mean_layers/<observable>`` of those with layers, and
    ``challenge_separation/average``: the mean of CaloMan's six observables (Reyes-González 2023).

    Raises:
        MetricUnavailable: the geometry is not cylindrical, or has no readout threshold.
    """
    a, b = reference.challenge_histograms, generated.challenge_histograms
    weights = [rng.poisson(1.0, (config.bootstrap, len(_blocks(h["E_ratio"])))) for h in (a, b)]
    halves = halves_of(len(_blocks(a["E_ratio"])), rng)
    n, out = min(reference.n, generated.n), []
    draws: dict[str, np.ndarray] = {}
    for name, h in a.items():
        full, extra = f"challenge_separation/{name}", entries(h, b[name], reference.n, generated.n)
        try:
            value = separation_power(h.counts, b[name].counts)
        except MetricUnavailable as problem:
            out.append(Score.absent(full, n, problem, extra=extra))
            continue
        draws[name] = separations(weights[0] @ _blocks(h), weights[1] @ _blocks(b[name]))
        floor = floor_of_halves(_blocks(h), halves, reference.n, generated.n)
        error = None if too_few(h.counts, b[name].counts) else spread(draws[name])
        out.append(Score(full, value, error, n, floor=floor, extra=extra))
    out += _means(out, draws, {name for name, h in a.items() if h.edges[0] > 0})
    six = of_six("challenge_separation", out)
    drawn = [np.mean(found, axis=0) for o in SIX if (found := [d for name, d in draws.items() if _of(name, o)])]
    error = spread(np.mean(drawn, axis=0)) if len(drawn) == len(SIX) else None
    return out + average_of("challenge_separation/average", six, error)


def _of(name: str, observable: str) -> bool:
    """Whether a histogram is one of an observable."""
    return name.split("/", maxsplit=1)[0] == observable


def _blocks(histogram: BinnedCounts) -> np.ndarray:
    found = histogram.blocks
    if found is None:
        raise MetricUnavailable("the challenge's histograms were filled without blocks of showers")
    return found


def _means(each: list[Score], draws: Mapping[str, np.ndarray], from_readout: set[str]) -> list[Score]:
    """Means over layers; the layers of one resampling belong together.

    Of the histograms `from_readout` on, one that is empty in both samples is that of a layer without energy in both.
    """
    families: dict[str, list[Score]] = {}
    for m in each:
        parts = m.name.split("/")
        if len(parts) == 3:
            families.setdefault(parts[1], []).append(m)
    out = []
    for family, members in families.items():
        names = [m.name.split("/", 1)[1] for m in members]
        drawn = [draws[name] for name in names if name in draws]
        error = spread(np.mean(drawn, axis=0)) if drawn else None
        equal = set(names) <= from_readout
        out.append(mean_of_layers(f"challenge_separation/mean_layers/{family}", members, error, equal))
    return out
