"""The histograms of the CaloChallenge's evaluation (arXiv:2410.21611, section 4.1): its observables in its fixed bins.

Unlike :mod:`calopipe.observables.binning`, whose bins suit any geometry, these are the challenge's own numbers for its
three sets, so that separation powers can be compared with the published table.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

import numpy as np

from calopipe.geometry import Geometry
from calopipe.observables.compute import compute
from calopipe.observables.spectrum import voxel_spectrum

ChallengeSet = Literal[1, 2, 3]

#: observable -> range in mm: of sets 2 and 3, of the wide layers of set 1, of its other layers
_RANGES: dict[str, tuple[tuple[float, float], tuple[float, float], tuple[float, float]]] = {
    "EC_eta": ((-30, 30), (-500, 500), (-100, 100)),
    "EC_phi": ((-30, 30), (-500, 500), (-100, 100)),
    "width_eta": ((0, 30), (0, 400), (0, 100)),
    "width_phi": ((0, 30), (0, 400), (0, 100)),
    "EC_r": ((0, 42), (0, 1500), (0, 500)),
    "width_r": ((0, 20), (0, 1500), (0, 500)),
}
_WIDE = {"EC_r": (12, 13, 14), "width_r": (12, 13, 14)}
_WIDE_TRANSVERSE = (12, 13)


def challenge_set(geometry: Geometry) -> ChallengeSet:
    """Which set's bins a geometry uses: layers of set 1 differ widely, those of sets 2 and 3 (same bins) do not."""
    return 2 if len({la.second_edges for la in geometry.layers}) == 1 else 1


def challenge_edges(name: str, layer: int, dataset: ChallengeSet) -> np.ndarray:
    """Edges (101,) of a centroid or width, in mm, of the layer with this id."""
    alike, wide, other = _RANGES[name]
    if dataset != 1:
        bounds = alike
    else:
        bounds = wide if layer in _WIDE.get(name, _WIDE_TRANSVERSE) else other
    return np.linspace(*bounds, 101)


def _log_edges(low: float, high: float, bins: int) -> np.ndarray:
    """Edges as the challenge's code rounds them: the largest value may lie an ulp above the last edge.

    A layer that the reference never fills above the readout gets bins that stay empty.
    """
    high = high if high > low else 2 * low
    return np.logspace(np.log10(low), np.log10(high), bins + 1)


def challenge_histograms(
    showers: np.ndarray,
    incident_energies: np.ndarray,
    geometry: Geometry,
    threshold_MeV: float,
    reference: tuple[np.ndarray, float] | None = None,
) -> tuple[dict[str, np.ndarray], tuple[np.ndarray, float]]:
    """Fill the challenge's histograms.

    Args:
        showers: (N, V) in MeV.
        incident_energies: (N,) or (N, 1) in MeV.
        geometry: a cylindrical geometry.
        threshold_MeV: the minimum readout: voxels below are zero, and logarithmic bins start there.
        reference: what the call for the reference returned second; None when these showers are the reference.

    Returns:
        counts by name (``E_ratio``, ``E_layer/<id>``, ``EC_eta/<id>``, ..., ``sparsity/<id>``, ``voxels``), and the
        largest energies of the reference: per layer (L,) and of a voxel, which end its logarithmic bins.
    """
    out = compute(showers, incident_energies, geometry, threshold_MeV, brightest=0)
    maxima = reference or (out["E_layer"].max(axis=0), float(showers.max()))
    filled = challenge_columns(out, geometry, threshold_MeV, maxima[0])
    counts = {name: np.histogram(values, edges)[0] for name, values, edges in filled}
    counts["voxels"] = voxel_spectrum(showers, voxel_edges(threshold_MeV, maxima[1]), threshold_MeV)
    return counts, maxima


def voxel_edges(threshold_MeV: float, largest: float) -> np.ndarray:
    """Edges (50,) of the challenge's voxel spectrum, up to the reference's `largest` voxel, in MeV."""
    return _log_edges(threshold_MeV, largest, 49)


def challenge_columns(
    observables: Mapping[str, np.ndarray], geometry: Geometry, threshold_MeV: float, maxima: np.ndarray
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """(name, values (N,), edges) of every histogram but the voxels', from what ``compute`` returned.

    `maxima` (L,) are the largest layer energies of the reference, in MeV.
    """
    dataset, sparsity = challenge_set(geometry), np.linspace(0, 1, 21)
    yield "E_ratio", observables["E_ratio"], np.linspace(0.5, 1.5, 101)
    for i, layer in enumerate(geometry.layer_ids):
        yield f"E_layer/{layer}", observables["E_layer"][:, i], _log_edges(threshold_MeV, float(maxima[i]), 39)
        yield f"sparsity/{layer}", observables["sparsity"][:, i], sparsity
        for name in ("EC_r", "width_r"):
            yield f"{name}/{layer}", observables[name][:, i], challenge_edges(name, layer, dataset)
    for i, index in enumerate(geometry.alpha_layers):
        layer = geometry.layer_ids[index]
        for name in ("EC_eta", "EC_phi", "width_eta", "width_phi"):
            yield f"{name}/{layer}", observables[name][:, i], challenge_edges(name, layer, dataset)
