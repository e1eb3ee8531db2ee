"""Kullback-Leibler divergence of average showers (Albergo 2018, tables 4.4 and 5.1).

The mean shower of each sample, divided by its sum, is a distribution over voxels: KL = sum_i P_i ln(P_i / Q_i),
P the reference. As there (section 5, footnote 3) a small epsilon is added to every probability so that a voxel
that a sample never fills does not make the divergence infinite; the distributions are normalised again afterwards.
"""

from __future__ import annotations

import numpy as np

from calopipe.config.parts import METRICS
from calopipe.errors import MetricUnavailable
from calopipe.metrics.base import Sample
from calopipe.metrics.settings import KlAverageConfig
from calopipe.records.scores import Score


def kl_of_means(reference: np.ndarray, generated: np.ndarray, epsilon: float = 1e-5) -> float:
    """KL divergence of two mean showers.

    Args:
        reference, generated: (V,) mean energies, not negative, any scale.
        epsilon: added to each probability before they are normalised again.

    Raises:
        MetricUnavailable: a mean shower has no energy.
    """
    if not (reference.sum() > 0 and generated.sum() > 0):
        raise MetricUnavailable("an average shower has no energy")
    p, q = (m / m.sum() + epsilon for m in (reference, generated))
    p, q = p / p.sum(), q / q.sum()
    return float(np.sum(p * np.log(p / q)))


@METRICS.register("kl_average", config=KlAverageConfig)
def kl_average(reference: Sample, generated: Sample, rng: np.random.Generator, config: KlAverageConfig) -> list[Score]:
    """``kl_average/shower`` and by default ``kl_average/layer/<id>``; errors by a jackknife over blocks of showers."""
    everything = slice(0, reference.block_means.shape[1])
    parts = {"shower": everything}
    if config.layers and len(reference.layers) > 1:
        parts |= {f"layer/{i}": s for i, s in reference.layers.items()}
    n = min(reference.n, generated.n)
    out = []
    for name, part in parts.items():
        a, b = reference.block_means[:, part], generated.block_means[:, part]
        try:
            value, error = _with_error(a, b, config.epsilon)
        except MetricUnavailable as problem:
            out.append(Score.absent(f"kl_average/{name}", n, problem))
            continue
        floor = _floor(a, config.epsilon, reference.n, generated.n)
        out.append(Score(f"kl_average/{name}", value, error, n, floor=floor))
    return out


def _floor(blocks: np.ndarray, epsilon: float, n: int, m: int) -> float | None:
    """Expected divergence of two samples of the reference of n and m showers.

    To leading order it is proportional to 1/n + 1/m; two halves of the reference (n/2 showers each) give the factor.
    """
    if len(blocks) < 2:
        return None
    try:
        halves = kl_of_means(blocks[::2].mean(axis=0), blocks[1::2].mean(axis=0), epsilon)
    except MetricUnavailable:
        return None
    return halves * (1 / n + 1 / m) / (4 / n)


def _with_error(a: np.ndarray, b: np.ndarray, epsilon: float) -> tuple[float, float | None]:
    value = kl_of_means(a.mean(axis=0), b.mean(axis=0), epsilon)
    variance = 0.0
    for blocks, first in ((a, True), (b, False)):
        k = len(blocks)
        if k < 2:
            return value, None
        left = (blocks.sum(axis=0) - blocks) / (k - 1)
        other = (b if first else a).mean(axis=0)
        values = [kl_of_means(m, other, epsilon) if first else kl_of_means(other, m, epsilon) for m in left]
        variance += (k - 1) * float(np.var(values))
    return value, float(np.sqrt(variance))
