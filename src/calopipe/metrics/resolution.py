"""Linearity and resolution of reconstructed energies: mean and relative width of the central 90 % (mu_90, sigma_90).

The core of a distribution is the smallest interval that holds 90 % of the values; mu_90 is the mean and sigma_90 the
root mean square about it of the values inside (Particle Flow convention; Werther 2022; arXiv:2005.05334). For a
normal distribution sigma_90 is 0.7893 sigma.

Where incident energies are continuous, values are taken relative to the incident energy of each shower, so that the
width of an energy bin does not enter; at a single energy this is the plain definition.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from calopipe.errors import MetricUnavailable
from calopipe.metrics.base import MAX_ENERGIES

#: fewest values from which a core is taken
MIN_ROWS = 20
#: histograms of reconstructed energies: bins, and half their range in units of sigma_90 (4.7 sigma of a normal distribution)
BINS, WIDTHS = 30, 6.0


@dataclass(frozen=True)
class Response:
    """Reconstructed energies per bin of incident energy: linearity and resolution with bootstrap errors, (B,) each.

    Attributes:
        energy: mean incident energy of the bin's showers, in MeV.
        n: showers.
        linearity, linearity_error: mu_90 of reconstructed over incident energy (1: no bias).
        resolution, resolution_error: sigma_90 / mu_90.
        replicas: (R, 2, B) linearity and resolution of the bootstrap resamplings.
    """

    energy: np.ndarray
    n: np.ndarray
    linearity: np.ndarray
    linearity_error: np.ndarray
    resolution: np.ndarray
    resolution_error: np.ndarray
    replicas: np.ndarray


def core(values: np.ndarray, fraction: float = 0.9) -> tuple[np.ndarray, np.ndarray]:
    """Mean and root mean square of the smallest interval that holds `fraction` of the values, along the last axis.

    Args:
        values: (..., n).
        fraction: the interval holds ceil(fraction * n) values.

    Returns:
        mu and sigma, (...) each.

    Raises:
        MetricUnavailable: fewer than MIN_ROWS values.
    """
    values = np.sort(np.asarray(values, dtype=np.float64), axis=-1)
    n = values.shape[-1]
    if n < MIN_ROWS:
        raise MetricUnavailable(f"the core of a distribution needs {MIN_ROWS} values, found {n}")
    kept = min(n, int(np.ceil(fraction * n - 1e-9)))
    widths = values[..., kept - 1 :] - values[..., : n - kept + 1]
    start = np.argmin(widths, axis=-1)[..., None]
    inside = np.take_along_axis(values, start + np.arange(kept), axis=-1)
    return inside.mean(axis=-1), inside.std(axis=-1)


def core_edges(values: np.ndarray) -> np.ndarray:
    """Edges (BINS + 1,) of a histogram of values (n,), WIDTHS times sigma_90 to both sides of mu_90.

    Raises:
        MetricUnavailable: fewer than MIN_ROWS values.
    """
    mu, sigma = (float(x) for x in core(values))
    reach = WIDTHS * sigma or max(abs(mu), 1.0)  # of values that are all alike
    return np.linspace(mu - reach, mu + reach, BINS + 1)


def energy_bins(incident: np.ndarray, bins: int) -> np.ndarray:
    """Edges (B + 1,) of bins of incident energy in MeV: one per energy where they are discrete, else equally filled.

    The last edge lies just above the largest energy, so that all values are inside. Bins are dropped, last first, until
    each can hold MIN_ROWS values.

    Raises:
        MetricUnavailable: not even one bin can be filled.
    """
    incident = np.sort(np.asarray(incident, dtype=np.float64))
    bins = min(bins, len(incident) // MIN_ROWS)
    if bins < 1:
        raise MetricUnavailable(f"linearity and resolution need {MIN_ROWS} showers, found {len(incident)}")
    found = np.unique(incident)
    if len(found) <= MAX_ENERGIES:
        inner = 0.5 * (found[:-1] + found[1:])
    else:
        inner = np.unique(np.quantile(incident, np.arange(1, bins) / bins))
    return np.concatenate([[incident[0]], inner, [np.nextafter(incident[-1], np.inf)]])


def response(
    predicted: np.ndarray, incident: np.ndarray, edges: np.ndarray, rng: np.random.Generator, bootstrap: int = 100
) -> Response:
    """Linearity and resolution in bins of incident energy.

    Args:
        predicted, incident: (N,) reconstructed and incident energies in MeV.
        edges: (B + 1,) of :func:`energy_bins`. Bins with fewer than MIN_ROWS showers are NaN.
        bootstrap: resamplings of the showers of each bin for the errors.
    """
    n_bins = len(edges) - 1
    index = np.searchsorted(edges, incident, side="right") - 1
    ratio = predicted / incident
    counts = np.bincount(index[(index >= 0) & (index < n_bins)], minlength=n_bins)
    energy, replicas = np.full(n_bins, np.nan), np.full((bootstrap, 2, n_bins), np.nan)
    values = np.full((2, n_bins), np.nan)
    for b in np.flatnonzero(counts >= MIN_ROWS):
        inside = ratio[index == b]
        energy[b] = incident[index == b].mean()
        values[:, b] = _linearity_and_resolution(inside)
        drawn = inside[rng.integers(0, len(inside), (bootstrap, len(inside)))]
        replicas[:, 0, b], replicas[:, 1, b] = _linearity_and_resolution(drawn)
    errors = replicas.std(axis=0, ddof=1)
    return Response(energy, counts, values[0], errors[0], values[1], errors[1], replicas)


def _linearity_and_resolution(ratio: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mu, sigma = core(ratio)
    return mu, sigma / mu


def mean_differences(reference: Response, generated: Response) -> dict[str, tuple[float, float]]:
    """Relative differences (generated / reference - 1) of linearity and resolution, averaged over the bins.

    Returns:
        ``linearity`` and ``resolution`` -> (value, bootstrap error). A perfect generator gives 0 for both.

    Raises:
        MetricUnavailable: no bin of incident energy is filled in the reference, or one that is there is not in `generated`:
            the mean over the others would be of other showers.
    """
    filled = np.isfinite(reference.linearity)
    if not filled.any():
        raise MetricUnavailable("no bin of incident energy is filled in the reference")
    lost = filled & ~(np.isfinite(generated.linearity) & np.isfinite(generated.resolution))
    if lost.any():
        raise MetricUnavailable(
            f"{int(lost.sum())} of {int(filled.sum())} bins of incident energy that the reference fills have too few "
            "generated showers, or no response"
        )
    out = {}
    for i, name in enumerate(("linearity", "resolution")):
        value = (getattr(generated, name)[filled] / getattr(reference, name)[filled] - 1).mean()
        spread = (generated.replicas[:, i, filled] / reference.replicas[:, i, filled] - 1).mean(axis=1)
        out[name] = (float(value), float(spread.std(ddof=1)))
    return out
