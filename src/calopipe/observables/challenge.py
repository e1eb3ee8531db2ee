"""The histograms of the CaloChallenge's evaluation (arXiv:2410.21611, section 4.1): its observables in its fixed bins.

Unlike :mod:`calopipe.observables.binning`, whose bins suit any geometry, these are the challenge's own numbers for its
three sets, so that separation powers can be compared with the published table.

Observables are rounded as by the challenge's script, which computes in the type of the file: sums of energies in float32 of
a float32 file, centroids and widths as float64 sums over them. A shower whose one hit is at the edge of a bin, and the
largest energy, at which the logarithmic bins end, fall on the same side only so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

import numpy as np

from calopipe.geometry import Geometry
from calopipe.observables.binning import EVERYTHING
from calopipe.observables.compute import EPSILON_MEV
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


def shape_edges(name: str, layer: int, dataset: ChallengeSet) -> np.ndarray:
    """Edges (101,) of a centroid or width, in mm, of the layer with this id."""
    alike, wide, other = _RANGES[name]
    of_layer = wide if layer in _WIDE.get(name, _WIDE_TRANSVERSE) else other
    return np.linspace(*(of_layer if dataset == 1 else alike), 101)


def _log_edges(low: float, high: np.floating, bins: int) -> np.ndarray:
    """Edges as the challenge's code rounds them, from `high` in the file's type: the largest value may lie above the last.

    A layer that the reference never fills above the readout gets bins up to all energies: what a generator has there is inside.
    """
    end = np.log10(high) if high > low else np.log10(max(EVERYTHING[1], 2 * low))
    return np.logspace(np.log10(low), end, bins + 1)


def challenge_histograms(
    showers: np.ndarray,
    incident_energies: np.ndarray,
    geometry: Geometry,
    threshold_MeV: float,
    reference: tuple[np.ndarray, np.floating] | None = None,
) -> tuple[dict[str, np.ndarray], tuple[np.ndarray, np.floating]]:
    """Fill the challenge's histograms.

    Args:
        showers: (N, V) in MeV, in the type (float32 or float64) of their file.
        incident_energies: (N,) or (N, 1) in MeV.
        geometry: a cylindrical geometry.
        threshold_MeV: the minimum readout: voxels below are zero, and logarithmic bins start there.
        reference: what the call for the reference returned second; None when these showers are the reference.

    Returns:
        counts by name (``E_ratio``, ``E_layer/<id>``, ``EC_eta/<id>``, ..., ``sparsity/<id>``, ``voxels``), and the
        largest energies of the reference: per layer (L,) and of a voxel, which end its logarithmic bins.
    """
    values = challenge_values(showers, incident_energies, geometry, threshold_MeV)
    maxima = reference or (layer_maxima(values, geometry), showers.max())
    counts = {k: np.histogram(values[k], edges)[0] for k, edges in challenge_edges(geometry, threshold_MeV, maxima[0])}
    counts["voxels"] = voxel_spectrum(showers, voxel_edges(threshold_MeV, maxima[1]), threshold_MeV)
    return counts, maxima


def voxel_edges(threshold_MeV: float, largest: np.floating) -> np.ndarray:
    """Edges (50,) of the challenge's voxel spectrum, up to the reference's `largest` voxel, in MeV."""
    return _log_edges(threshold_MeV, largest, 49)


def layer_maxima(values: Mapping[str, np.ndarray], geometry: Geometry) -> np.ndarray:
    """(L,) largest layer energies in MeV of what :func:`challenge_values` returned."""
    return np.array([values[f"E_layer/{layer}"].max() for layer in geometry.layer_ids])


def challenge_edges(geometry: Geometry, threshold_MeV: float, maxima: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """(name, edges) of every histogram but the voxels'; `maxima` (L,) are the reference's largest layer energies in MeV."""
    dataset = challenge_set(geometry)
    yield "E_ratio", np.linspace(0.5, 1.5, 101)
    for i, layer in enumerate(geometry.layer_ids):
        yield f"E_layer/{layer}", _log_edges(threshold_MeV, maxima[i], 39)
        yield f"sparsity/{layer}", np.linspace(0, 1, 21)
        for name in ("EC_r", "width_r"):
            yield f"{name}/{layer}", shape_edges(name, layer, dataset)
    for index in geometry.alpha_layers:
        layer = geometry.layer_ids[index]
        for name in ("EC_eta", "EC_phi", "width_eta", "width_phi"):
            yield f"{name}/{layer}", shape_edges(name, layer, dataset)


def challenge_values(
    showers: np.ndarray, incident_energies: np.ndarray, geometry: Geometry, threshold_MeV: float
) -> dict[str, np.ndarray]:
    """(N,) values for each of :func:`challenge_edges`, in the types in which the challenge's script has them.

    Arguments as in :func:`challenge_histograms`. A row's values do not depend on the rows beside it.
    """
    kept = np.where(showers >= showers.dtype.type(threshold_MeV), showers, showers.dtype.type(0))
    out = {"E_ratio": kept.sum(axis=-1) / incident_energies.reshape(-1)}
    for i, (layer, part) in enumerate(zip(geometry.layer_ids, geometry.layer_slices, strict=True)):
        voxels = kept[:, part]
        energy = voxels.sum(axis=-1)
        out[f"E_layer/{layer}"] = energy
        out[f"sparsity/{layer}"] = 1.0 - (voxels > 0).mean(axis=-1)
        positions = {"r": geometry.r[part]}
        if i in geometry.alpha_layers:
            positions |= {"eta": geometry.eta[part], "phi": geometry.phi[part]}
        for axis, x in positions.items():
            mean, square = ((w * voxels).sum(axis=-1) / (energy + energy.dtype.type(EPSILON_MEV)) for w in (x, x * x))
            out[f"EC_{axis}/{layer}"] = mean
            out[f"width_{axis}/{layer}"] = np.sqrt((square - mean**2).clip(min=0.0))
    return out
