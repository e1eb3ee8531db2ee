"""Observables of showers: energies, centroids, widths, brightest voxels and occupancies, layer by layer.

Definitions are those of the CaloChallenge's evaluation (arXiv:2410.21611, section 4.1) and of Ernst 2023,
section 3.4.2. Voxels below the threshold are zero before anything else. A denominator carries + 1e-16, so that an
observable of an empty layer is 0; a quotient by an empty layer is 0 too. A width is sqrt(<x^2> - <x>^2).

That difference cancels: taken of coordinates as they are, a layer with one voxel, or a shower with one hit, has a width of
1e-7 of its radius instead of none, and a metric that scales features by their magnitude takes this noise for a signal. So
moments are taken about the middle of each layer, where they are exactly 0 in a layer of one ring or column, over the
layer's energy without the 1e-16, and a variance that is within rounding of its two terms is 0 (a width below 3e-7 of the
distance from the middle). Elsewhere widths agree with the challenge's to rounding. All sums of a layer are one matrix
product of its voxels with the weights (1, eta, phi, r, eta^2, phi^2, r^2), accumulated in float64, over as many showers as
stay in the cache.
"""

from __future__ import annotations

import numpy as np

from calopipe.errors import DataError
from calopipe.geometry import Geometry
from calopipe.observables.specs import layer_pairs

#: added to the denominator of every ratio of energies, in MeV (the challenge's value)
EPSILON_MEV = 1e-16
#: showers summed at once: a layer of set 2 then takes 0.4 MB in float64 and stays in the cache
_ROWS = 384
#: relative rounding error of a sum over the voxels of a layer, generously
ROUNDING = 1e-13


def compute(
    showers: np.ndarray,
    incident_energies: np.ndarray,
    geometry: Geometry,
    threshold_MeV: float | None = None,
    brightest: int = 3,
) -> dict[str, np.ndarray]:
    """Compute all observables of N showers with V voxels in L layers, A of them resolved in two dimensions.

    Args:
        showers: (N, V) voxel energies in MeV.
        incident_energies: (N,) or (N, 1) in MeV.
        geometry: the voxels' layers and centres.
        threshold_MeV: voxels below are zero; None: the geometry's threshold.
        brightest: how many of the brightest voxels of each layer to return; 0 leaves these observables out.

    Returns:
        float64 arrays by name; names, axes, units and labels are listed in :data:`calopipe.observables.specs.SPECS`.
        ``brightest`` is (N, L, k), brightest first, in MeV (as Ernst 2023), ``brightest_fraction`` the same
        over the layer's energy; layers with fewer than k voxels are padded with 0. ``sparsity`` is 1 - ``activity``.

    Raises:
        DataError: shapes that do not fit, incident energies that are not positive, or voxels that are not finite.
    """
    showers, incident = _checked(showers, incident_energies, geometry)
    threshold = geometry.threshold_MeV if threshold_MeV is None else threshold_MeV
    moments, activity, bright = _sums(showers, geometry, threshold, brightest)
    if not np.isfinite(moments[..., 0]).all():
        raise DataError(f"row {int(np.argmax(~np.isfinite(moments[..., 0]).all(axis=1)))}: a voxel is not finite")
    out = _energies(moments[..., 0], incident, geometry)
    out |= _shapes(moments, geometry)
    out |= {"activity": activity, "sparsity": 1 - activity}
    if brightest:
        out |= {"brightest": bright, "brightest_fraction": bright / (moments[..., :1] + EPSILON_MEV)}
    return out


def _checked(showers: np.ndarray, incident: np.ndarray, geometry: Geometry) -> tuple[np.ndarray, np.ndarray]:
    showers = np.asarray(showers)
    incident = np.asarray(incident, dtype=np.float64).reshape(-1)
    if showers.ndim != 2 or showers.shape[1] != geometry.n_voxels:
        raise DataError(
            f"geometry '{geometry.name}' has {geometry.n_voxels} voxels; showers have shape {showers.shape}"
        )
    if len(showers) != len(incident):
        raise DataError(f"{len(showers)} showers, but {len(incident)} incident energies")
    if len(incident) and not incident.min() > 0:
        raise DataError("incident energies must be positive")
    return showers, incident


def _sums(
    showers: np.ndarray, geometry: Geometry, threshold: float, brightest: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Moments (N, L, 7) in the order of :func:`_weights`, activity (N, L) and brightest voxels (N, L, k)."""
    n, layers = len(showers), geometry.n_layers
    weights = [_weights(geometry, s)[0] for s in geometry.layer_slices]
    ones = [np.ones(w.shape[0], dtype=np.float32) for w in weights]
    moments, activity = np.empty((7, n, layers)).transpose(1, 2, 0), np.empty((n, layers))  # one plane per moment
    bright = np.zeros((n, layers, brightest))
    cut = np.float32(max(threshold, 0))
    for start in range(0, n, _ROWS):
        rows = slice(start, start + _ROWS)
        for i, s in enumerate(geometry.layer_slices):
            part = showers[rows, s]
            active = np.empty(part.shape, dtype=np.float32)
            (np.greater_equal if threshold > 0 else np.greater)(part, cut, out=active, casting="unsafe")
            kept = np.multiply(part, active, out=np.empty(part.shape))
            moments[rows, i] = kept @ weights[i]
            activity[rows, i] = active @ ones[i]
            if brightest:
                top = _largest(part * active, brightest)
                bright[rows, i, : top.shape[1]] = top
    activity /= np.array([len(o) for o in ones])
    return moments, activity, bright


def _weights(geometry: Geometry, s: slice) -> tuple[np.ndarray, np.ndarray]:
    """(voxels of the layer, 7): 1, x, x^2 for x = eta, phi, r of the voxel centres about the layer's middle; the middle (3,)."""
    position = np.stack([geometry.eta[s], geometry.phi[s], geometry.r[s]], axis=1)
    low, high, rounding = position.min(axis=0), position.max(axis=0), ROUNDING * np.abs(position).max()
    middle = np.where(np.abs(low + high) > rounding, 0.5 * (low + high), 0)  # cos(pi / 2) is not 0 on computers
    position = np.where(high - low > rounding, position - middle, 0)
    return np.concatenate([np.ones((len(position), 1)), position, position**2], axis=1), middle


def _largest(voxels: np.ndarray, k: int) -> np.ndarray:
    """The min(k, voxels) largest of each row, largest first; `voxels` (>= 0) is overwritten.

    A few rounds of taking the maximum away are several times faster than a partial sort of some hundred voxels.
    """
    k = min(k, voxels.shape[1])
    if k > 8:
        return np.sort(np.partition(voxels, voxels.shape[1] - k, axis=1)[:, -k:], axis=1)[:, ::-1]
    top = np.empty((len(voxels), k), dtype=voxels.dtype)
    every = np.arange(len(voxels))
    for rank in range(k):
        at = voxels.argmax(axis=1)
        top[:, rank] = voxels[every, at]
        voxels[every, at] = 0
    return top


def _energies(layer: np.ndarray, incident: np.ndarray, geometry: Geometry) -> dict[str, np.ndarray]:
    total = layer.sum(axis=1)
    first, second = layer_pairs(range(geometry.n_layers))
    out = {
        "E_tot": total,
        "E_ratio": total / incident,
        "E_layer": layer,
        "layer_ratio": layer / incident[:, None],
        "layer_fraction": layer / (total[:, None] + EPSILON_MEV),
        "layer_quotient": np.divide(
            layer[:, first], layer[:, second], out=np.zeros((len(layer), len(first))), where=layer[:, second] > 0
        ),
    }
    if geometry.z is not None:
        middle = 0.5 * (geometry.z.min() + geometry.z.max())
        sums = np.stack([layer @ (geometry.z - middle) ** k for k in range(3)], axis=-1)
        mean, width = _mean_and_width(sums[..., 0], sums[..., 1], sums[..., 2], middle)
        out |= {"depth": mean, "depth_width": width}
    return out


def _shapes(moments: np.ndarray, geometry: Geometry) -> dict[str, np.ndarray]:
    middle = np.stack([_weights(geometry, s)[1] for s in geometry.layer_slices])
    mean, width = _mean_and_width(moments[..., :1], moments[..., 1:4], moments[..., 4:], middle)
    two_dimensional = np.asarray(geometry.alpha_layers, dtype=int)
    first, second = layer_pairs(range(len(two_dimensional)))
    out: dict[str, np.ndarray] = {}
    if len(two_dimensional):
        for i, axis in enumerate(("eta", "phi")):
            for name, values in ((f"EC_{axis}", mean[..., i]), (f"width_{axis}", width[..., i])):
                out[name] = values[:, two_dimensional]
                out[f"{name}_difference"] = out[name][:, first] - out[name][:, second]
            if len(two_dimensional) > 1:
                out[f"centre_{axis}"] = _centre(moments[:, two_dimensional], middle[two_dimensional], i)
    if geometry.kind == "cylindrical":
        out |= {"EC_r": mean[..., 2], "width_r": width[..., 2]}
        if geometry.n_layers > 1:
            out["centre_r"] = _centre(moments, middle, 2)
    return out


def _centre(moments: np.ndarray, middle: np.ndarray, axis: int) -> np.ndarray:
    """Mean (N,) of a coordinate of the energy of several layers together, of moments (N, L, 7) about the middles (L, 3); 0 of none."""
    energy = moments[..., 0]
    return (moments[..., 1 + axis] + energy * middle[:, axis]).sum(1) / (energy.sum(1) + EPSILON_MEV)


def _mean_and_width(
    energy: np.ndarray, first: np.ndarray, second: np.ndarray, middle: np.ndarray | float
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and width of a coordinate, from sums of E, E (x - middle) and E (x - middle)^2; 0 where there is no energy."""
    filled = np.where(energy > 0, energy, 1)
    mean, square = first / filled, second / filled
    variance = square - mean**2
    width = np.sqrt(np.where(variance > ROUNDING * square, variance, 0))
    return (middle + mean) * (energy / (energy + EPSILON_MEV)), width
