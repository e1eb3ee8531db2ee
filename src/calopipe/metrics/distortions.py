"""Small distortions of showers, by which the power of a test is measured: what it finds where this much is wrong.

Each is a function of showers (N, V) in MeV, which it leaves as they are, and returns new ones of the same shape and type.
Voxels below the threshold count as empty before, and are empty after.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from calopipe.geometry import Geometry

#: a layer's widths are not scaled by moving more than this part of a voxel's energy
_MOST_MOVED = 0.5
#: more hits in a layer with less than this part of all hits would be next to none
_FEW_HITS = 0.03


def more_hits(
    showers: np.ndarray,
    geometry: Geometry,
    rng: np.random.Generator,
    threshold_MeV: float,
    strength: float = 0.1,
    layer: int | None = None,
) -> np.ndarray:
    """More hits in one layer, at unchanged energy of the layer in each shower.

    Of h hits of a shower, a binomial number (probability `strength`) gets a companion: an empty voxel of the layer, drawn in
    proportion to how often each voxel is hit in these showers, with an energy drawn from the softer half of the layer's hits
    in these showers. The energy is taken from the shower's brightest voxel of the layer; where that would fall below half of
    itself, there are no new hits.

    Args:
        layer: number of the layer; None: :func:`hit_layer`.
    """
    out = _kept(showers, threshold_MeV)
    layer = hit_layer(mean_hits(out, geometry)) if layer is None else layer
    part = out[:, geometry.layer_slices[layer]]
    hit = part > 0
    often, energies = hit.mean(axis=0), np.sort(part[hit])
    if not energies.size:
        return out
    wanted = rng.binomial(hit.sum(axis=1), strength)
    # the k largest of log(weight) + Gumbel noise are k draws without replacement in proportion to the weights
    with np.errstate(divide="ignore"):
        keys = np.where(hit, -np.inf, np.log(often) + rng.gumbel(size=hit.shape))
    order = np.argsort(-keys, axis=1)[:, : max(wanted.max(), 1)]
    new = (np.arange(order.shape[1]) < wanted[:, None]) & np.isfinite(np.take_along_axis(keys, order, axis=1))
    energy = np.where(new, rng.choice(energies[: -(-len(energies) // 2)], new.shape), 0).astype(out.dtype)
    rows, brightest = np.arange(len(part)), part.argmax(axis=1)
    energy[energy.sum(axis=1) > 0.5 * part[rows, brightest]] = 0
    filled = np.take_along_axis(part, order, axis=1)
    np.put_along_axis(part, order, np.where(energy > 0, energy, filled), axis=1)
    part[rows, brightest] -= energy.sum(axis=1)
    return _kept(out, threshold_MeV)


def wider(
    showers: np.ndarray,
    geometry: Geometry,
    rng: np.random.Generator,
    threshold_MeV: float,
    strength: float = 0.02,
    layer: int | None = None,
) -> np.ndarray:
    """Showers wider in every layer (or in one), at unchanged energy of each layer.

    With d the distance of a voxel from the energy-weighted centre of its layer and <...> energy-weighted means over the layer,
    each voxel is multiplied by 1 + a (d^2 / <d^2> - 1). The layer's energy stays, and <d^2> becomes (1 + strength)^2 <d^2>
    for a = ((1 + strength)^2 - 1) / (<d^4> / <d^2>^2 - 1); a is at most one half.
    """
    out = _kept(showers, threshold_MeV)
    for i, s in enumerate(geometry.layer_slices):
        if layer is not None and i != layer:
            continue
        part = out[:, s].astype(np.float64)
        energy = part.sum(axis=1, keepdims=True) + 1e-300
        square = np.zeros_like(part)
        for x in (geometry.eta[s], geometry.phi[s]):
            square += (x - (part @ x)[:, None] / energy) ** 2
        second, fourth = ((part * square**k).sum(axis=1, keepdims=True) / energy for k in (1, 2))
        scaled = np.divide(square, second, out=np.ones_like(square), where=second > 0)
        spread = np.divide(fourth, second**2, out=np.ones_like(fourth), where=second > 0) - 1
        wanted = (1 + strength) ** 2 - 1
        a = np.where(spread > 1e-9, np.minimum(wanted / np.maximum(spread, 1e-9), _MOST_MOVED), 0)
        out[:, s] = part * (1 + a * (scaled - 1))
    return _kept(out, threshold_MeV)


def more_energy(
    showers: np.ndarray,
    geometry: Geometry,
    rng: np.random.Generator,
    threshold_MeV: float,
    strength: float = 0.002,
    layer: int | None = None,
) -> np.ndarray:
    """Every voxel (or those of one layer) multiplied by 1 + `strength`."""
    out = _kept(showers, threshold_MeV)
    s = slice(None) if layer is None else geometry.layer_slices[layer]
    out[:, s] *= 1 + strength
    return out


@dataclass(frozen=True)
class Distortion:
    """A distortion at the strength by which the power of tests is stated.

    Attributes:
        apply: (showers, geometry, rng, threshold_MeV, strength, layer) -> showers.
        strength: see the functions.
        text: what it does; ``{layer}`` stands for the id of the layer.
        one_layer: whether it is applied to :func:`hit_layer` only.
    """

    apply: Callable[..., np.ndarray]
    strength: float
    text: str
    one_layer: bool = False


DISTORTIONS: dict[str, Distortion] = {
    "hits": Distortion(more_hits, 0.1, "10 % more hits in layer {layer}", one_layer=True),
    "widths": Distortion(wider, 0.02, "2 % wider showers"),
    "energy": Distortion(more_energy, 0.002, "0.2 % more energy"),
}


def mean_hits(showers: np.ndarray, geometry: Geometry) -> np.ndarray:
    """(L,) mean number of voxels above zero in each layer."""
    return np.array([(showers[:, s] > 0).sum(axis=1).mean() for s in geometry.layer_slices])


def hit_layer(hits: np.ndarray) -> int:
    """The last layer with a part of 3 % or more of all hits, given their mean numbers (L,): where they are soft and few, but not so few
    that a tenth of them is nothing; else the layer with most hits.
    """
    filled = np.flatnonzero(hits >= _FEW_HITS * hits.sum())
    return int(filled[-1]) if filled.size else int(np.argmax(hits))


def _kept(showers: np.ndarray, threshold_MeV: float) -> np.ndarray:
    return np.where(showers >= threshold_MeV, showers, 0).astype(np.asarray(showers).dtype, copy=False)
