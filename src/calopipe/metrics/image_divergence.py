"""How far images are from those of a reference: the mean Jensen-Shannon divergence of five observables.

Bieringer 2022 (section 2) chooses the epoch of a VAE-GAN by it: E_vis, E_peak, E_pixel, CG_x and CG_y, "histograms of 96000 generated images", "100 bins
and constant ranges", which are not stated. Here the bins lie between the reference's smallest and largest value, so they are the same for all that is
compared with it; those of E_pixel, over decades, are logarithmic. Two more bins hold what lies below and above: a sample cannot
look better for leaving the range.
"""

from __future__ import annotations

import numpy as np

from calopipe.config.parts import METRICS
from calopipe.errors import MetricUnavailable
from calopipe.metrics.base import Images, Sample
from calopipe.metrics.defaults import IMAGE
from calopipe.metrics.quantiles import jensen_shannon
from calopipe.metrics.separation_power import halves_of
from calopipe.metrics.settings import ImageDivergenceConfig
from calopipe.records.scores import Score

#: random blocks of showers, for errors and floor
BLOCKS = 20


def edges_of(values: np.ndarray, bins: int, logarithmic: bool) -> np.ndarray:
    """(bins + 1,) edges of equal bins between the smallest and the largest of values (N,); raises MetricUnavailable without values."""
    if not len(values):
        raise MetricUnavailable("the reference has no values")
    return (np.geomspace if logarithmic else np.linspace)(values.min(), values.max(), bins + 1)


def bins_of(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """(N,) bin of each value, from 1 on; 0 below and B + 1 above all; a value at the last edge is inside."""
    found = np.searchsorted(edges, values, side="right")
    found[values == edges[-1]] = len(edges) - 1
    return found


@METRICS.register("image_divergence", config=ImageDivergenceConfig)
def image_divergence(
    reference: Sample, generated: Sample, rng: np.random.Generator, config: ImageDivergenceConfig
) -> list[Score]:
    """``image_divergence``, the mean over the observables, and ``image_divergence/<observable>``; from 0 to ln 2.

    Raises:
        MetricUnavailable: showers of this geometry make no images, or a sample has fewer than two, or no pixel above the cut.
    """
    if min(reference.n, generated.n) < 2:
        raise MetricUnavailable(f"needs two showers or more, found {reference.n} and {generated.n}")
    images = [sample.images(config) for sample in (reference, generated)]
    counts: list[list[np.ndarray]] = [[], []]
    owners = [rng.permutation(found.n) % min(BLOCKS, found.n) for found in images]
    for name in IMAGE:
        edges = edges_of(images[0].values([name])[:, 0], config.bins, name == "E_pixel")
        for part, found, owner in zip(counts, images, owners, strict=True):
            part.append(_blocks(found, name, edges, owner))
    a, b = (np.stack(part) for part in counts)  # (observables, blocks, bins)
    values, n = _divergences(a.sum(axis=1), b.sum(axis=1)), min(reference.n, generated.n)
    errors, floors = _errors(a, b), _floors(a, rng, config.splits, reference.n, generated.n)
    names = ["image_divergence", *(f"image_divergence/{name}" for name in IMAGE)]
    return [
        Score(name, float(v), float(e), n, floor=float(f))
        for name, v, e, f in zip(names, values, errors, floors, strict=True)
    ]


def _blocks(images: Images, name: str, edges: np.ndarray, owner: np.ndarray) -> np.ndarray:
    """(K, B + 2) counts of an observable in blocks of showers; `owner` (N,) is the block of each shower."""
    size, blocks = len(edges) + 1, int(owner.max()) + 1
    of_values = np.repeat(owner, np.diff(images.starts([name])))
    index = of_values * size + bins_of(images.values([name])[:, 0], edges)
    return np.bincount(index, minlength=blocks * size).reshape(blocks, size)


def _divergences(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(1 + O,) mean, and each, of the divergences of histograms (O, B) of O observables."""
    found = jensen_shannon(b, a)
    return np.concatenate([[found.mean()], found])


def _errors(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(1 + O,) jackknife over the blocks of both samples."""
    whole, variance = (a.sum(axis=1), b.sum(axis=1)), np.zeros(1 + len(a))
    for counts, first in ((a, True), (b, False)):
        k = counts.shape[1]
        left = [counts.sum(axis=1) - counts[:, i] for i in range(k)]
        found = [_divergences(part, whole[1]) if first else _divergences(whole[0], part) for part in left]
        variance += (k - 1) * np.var(found, axis=0)
    return np.sqrt(variance)


def _floors(a: np.ndarray, rng: np.random.Generator, splits: int, n: int, m: int) -> np.ndarray:
    """(1 + O,) expected divergences of two samples of the reference of n and m showers: random halves of its blocks, as
    1/n + 1/m, to leading order.
    """
    k = a.shape[1]
    halves = halves_of(k, rng, splits)
    found = [_divergences(np.tensordot(h, a, (0, 1)), np.tensordot(1 - h, a, (0, 1))) for h in halves]
    each = n / k
    return np.mean(found, axis=0) * (1 / n + 1 / m) / (1 / (k // 2 * each) + 1 / ((k - k // 2) * each))
