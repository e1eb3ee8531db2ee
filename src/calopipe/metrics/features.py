"""Inputs of the classifier test: what of a shower a network is shown, and on which scale.

The definitions are those of the CaloChallenge's evaluation (arXiv:2410.21611, section 4.2): nothing is standardised,
only divided by physical scales. Voxels below the threshold are zero before anything else. The challenge's script
multiplies voxels / E_inc by 100; pass ``scale=100`` to reproduce it (the write-up states the plain ratio).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from calopipe.errors import DataError, MetricUnavailable
from calopipe.geometry import Geometry

#: added to layer and total energies (MeV) before their logarithm is taken
LOG_OFFSET_MEV = 1e-8


def _checked(showers: np.ndarray, incident_energies: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    showers = np.asarray(showers)
    incident = np.asarray(incident_energies).reshape(-1)
    if showers.ndim != 2 or len(showers) != len(incident):
        raise DataError(f"showers {showers.shape} and incident energies {incident.shape} do not fit together")
    if len(incident) and not incident.min() > 0:
        raise DataError("incident energies must be positive")
    return showers, incident[:, None]


def _above(showers: np.ndarray, threshold_MeV: float) -> np.ndarray:
    """Showers with voxels below the threshold set to zero, float32 (a new array)."""
    return np.where(showers >= threshold_MeV, showers, 0).astype(np.float32, copy=False)


def features_low(
    showers: np.ndarray, incident_energies: np.ndarray, threshold_MeV: float = 0.0, scale: float = 1.0
) -> np.ndarray:
    """log10 of the incident energy in MeV and ``scale`` x voxel / incident energy.

    Args:
        showers: (N, V) voxel energies in MeV.
        incident_energies: (N,) or (N, 1) in MeV.
        threshold_MeV: voxels below are zero.

    Returns:
        (N, 1 + V) float32.

    Raises:
        DataError: shapes do not fit or an incident energy is not positive.
    """
    showers, incident = _checked(showers, incident_energies)
    voxels = _above(showers, threshold_MeV)
    voxels *= (scale / incident).astype(np.float32)
    return np.concatenate([np.log10(incident).astype(np.float32), voxels], axis=1)


def features_low_raw(
    showers: np.ndarray, incident_energies: np.ndarray, threshold_MeV: float = 0.0, scale: float = 1.0
) -> np.ndarray:
    """Like :func:`features_low` with voxels in GeV: the thesis's classifier before normalisation (section 4.3.2)."""
    showers, incident = _checked(showers, incident_energies)
    voxels = _above(showers, threshold_MeV) * np.float32(scale / 1e3)
    return np.concatenate([np.log10(incident).astype(np.float32), voxels], axis=1)


def features_low_normed(
    showers: np.ndarray, incident_energies: np.ndarray, layer_slices: Sequence[slice], threshold_MeV: float = 0.0
) -> np.ndarray:
    """log10 E_inc, voxels / energy of their layer, log10 of the layer energies in MeV: (N, 1 + V + L) float32."""
    showers, incident = _checked(showers, incident_energies)
    voxels = _above(showers, threshold_MeV)
    layers = np.stack([voxels[:, s].sum(axis=1, dtype=np.float64) for s in layer_slices], axis=1)
    for i, s in enumerate(layer_slices):
        voxels[:, s] /= (layers[:, i : i + 1] + 1e-16).astype(np.float32)
    columns = [np.log10(incident), voxels, np.log10(layers + LOG_OFFSET_MEV)]
    return np.concatenate([c.astype(np.float32, copy=False) for c in columns], axis=1)


def features_high(observables: Mapping[str, np.ndarray], incident_energies: np.ndarray) -> np.ndarray:
    """The challenge's high-level features, from what ``calopipe.observables.compute`` returns.

    log10 E_inc, log10 E_layer, centroids / 100 mm, widths / 100 mm (eta and phi, layers binned in both), log10 E_tot,
    sparsity, and, for cylindrical layers, radial centroid and width / 100 mm.

    Returns:
        (N, F) float32; observables that the geometry does not have are left out.
    """
    incident = np.asarray(incident_energies, dtype=np.float64).reshape(-1, 1)
    columns = [np.log10(incident), np.log10(observables["E_layer"] + LOG_OFFSET_MEV)]
    columns += [observables[k] / 100 for k in ("EC_eta", "EC_phi", "width_eta", "width_phi") if k in observables]
    columns += [np.log10(observables["E_tot"][:, None] + LOG_OFFSET_MEV), observables["sparsity"]]
    columns += [observables[k] / 100 for k in ("EC_r", "width_r") if k in observables]
    return np.concatenate([c.astype(np.float32) for c in columns], axis=1)


def regular_grid(geometry: Geometry) -> tuple[int, int, int]:
    """(layers, alpha, r) of the voxels of a cylindrical geometry whose layers all have the same bins.

    Raises:
        MetricUnavailable: the geometry is cartesian, or its layers differ.
    """
    shapes = dict.fromkeys(geometry.layer_shape(i) for i in range(geometry.n_layers))
    if geometry.kind == "cylindrical" and len(shapes) == 1:
        return (geometry.n_layers, *next(iter(shapes)))
    found = f"'{geometry.name}' is {geometry.kind}"
    if len(shapes) > 1:
        found += f" with layers of {', '.join(f'{a} x {b}' for a, b in shapes)} bins"
    raise MetricUnavailable(
        f"a convolutional classifier needs a cylindrical geometry with the same (alpha, r) bins in every layer; {found}"
    )
