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
#: stands for the threshold in logarithms of voxels where there is none: 1 eV
SMALLEST_MEV = 1e-6


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
    """Like :func:`features_low` with voxels in GeV: the classifier of Ernst 2023, section 4.3.2, before normalisation."""
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


def features_low_log(showers: np.ndarray, incident_energies: np.ndarray, threshold_MeV: float = 0.0) -> np.ndarray:
    """log10 of the incident energy and of each voxel, in MeV; empty voxels lie a decade below the threshold.

    So a hit differs from no hit, and soft voxels count as much as bright ones. Without a threshold (0) it is
    :data:`SMALLEST_MEV` for this purpose, and voxels below that are raised to the value of empty ones.

    Returns:
        (N, 1 + V) float32.
    """
    showers, incident = _checked(showers, incident_energies)
    floor = np.float32(0.1 * (threshold_MeV if threshold_MeV > 0 else SMALLEST_MEV))
    voxels = _above(showers, threshold_MeV)
    np.log10(np.maximum(voxels, floor, out=voxels), out=voxels)
    return np.concatenate([np.log10(incident).astype(np.float32), voxels], axis=1)


def features_observables(
    observables: Mapping[str, np.ndarray], incident_energies: np.ndarray, alpha_layers: Sequence[int]
) -> np.ndarray:
    """:func:`features_high` and what trees would have to find out step by step, NaN where a layer is empty.

    Further columns: E_tot / E_inc, E_layer / E_tot, and (where the observables have them) the brightest voxels over the energy
    of their layer. Centroids, widths and brightest voxels of an empty layer are NaN, not 0.

    Args:
        observables, incident_energies: as for :func:`features_high`.
        alpha_layers: numbers of the layers that eta and phi are of.

    Returns:
        (N, F) float32.
    """
    defined = _defined(observables, alpha_layers)
    columns = [
        features_high(defined, incident_energies),
        observables["E_ratio"][:, None],
        observables["layer_fraction"],
    ]
    if "brightest_fraction" in defined:
        columns.append(defined["brightest_fraction"].reshape(len(columns[0]), -1))
    return np.concatenate([np.asarray(c, dtype=np.float32) for c in columns], axis=1)


def features_by_name(
    observables: Mapping[str, np.ndarray],
    incident_energies: np.ndarray,
    alpha_layers: Sequence[int],
    names: Sequence[str],
) -> np.ndarray:
    """log10 E_inc and some observables as they are, NaN where a layer is empty: (N, F) float32.

    For trees, to which scales do not matter. Other arguments are those of :func:`features_observables`.
    """
    incident = np.asarray(incident_energies, dtype=np.float64).reshape(-1, 1)
    defined = _defined(observables, alpha_layers)
    columns = [np.log10(incident), *(defined[name].reshape(len(incident), -1) for name in names)]
    return np.concatenate([np.asarray(c, dtype=np.float32) for c in columns], axis=1)


def _defined(observables: Mapping[str, np.ndarray], alpha_layers: Sequence[int]) -> dict[str, np.ndarray]:
    """Observables, with NaN for what an empty layer does not have."""
    empty = observables["E_layer"] <= 0
    of = {"EC_r": empty, "width_r": empty, "brightest_fraction": empty[..., None]}
    of |= dict.fromkeys(("EC_eta", "EC_phi", "width_eta", "width_phi"), empty[:, list(alpha_layers)])
    defined = dict(observables)
    defined |= {k: np.where(where, np.nan, observables[k]) for k, where in of.items() if k in observables}
    return defined


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
