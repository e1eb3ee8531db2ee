"""The voxel spectrum: how often a voxel holds how much energy, over all voxels of all showers."""

from __future__ import annotations

import numpy as np

LABEL = r"$E_\mathrm{voxel}$ [MeV]"


def voxel_spectrum(showers: np.ndarray, edges: np.ndarray, threshold_MeV: float = 0.0) -> np.ndarray:
    """Count the voxels in bins of energy; the bins must be equal in the logarithm.

    Equal to ``np.histogram(showers[showers >= threshold_MeV], edges)[0]``, and several times faster: the bin follows
    from the logarithm and is then corrected where rounding put a value on the wrong side of an edge.

    Args:
        showers: (N, V) voxel energies in MeV.
        edges: (B + 1,) in MeV, positive, equal in the logarithm.
        threshold_MeV: voxels below count as zero, and zeros are not counted.

    Returns:
        (B,) int64.
    """
    values = showers[showers >= _cut(threshold_MeV, showers.dtype)].astype(np.float64)
    values = values[(values >= edges[0]) & (values <= edges[-1])]
    return np.bincount(_bins(values, edges), minlength=len(edges) - 1)


def voxel_counts(showers: np.ndarray, edges: np.ndarray, threshold_MeV: float = 0.0) -> np.ndarray:
    """The spectrum of each shower: (N, B + 1) int32 counts, the last column those outside the range.

    Arguments as in :func:`voxel_spectrum`, whose result is the sum over showers without the last column.
    """
    rows, voxels = np.nonzero(showers >= _cut(threshold_MeV, showers.dtype))
    values = showers[rows, voxels].astype(np.float64)
    inside = (values >= edges[0]) & (values <= edges[-1])
    index = np.full(len(values), len(edges) - 1)
    index[inside] = _bins(values[inside], edges)
    flat = np.bincount(rows * len(edges) + index, minlength=len(showers) * len(edges))
    return flat.reshape(len(showers), len(edges)).astype(np.int32)


def _cut(threshold_MeV: float, dtype: np.dtype) -> np.floating:
    """Least voxel energy that counts, in the showers' type: the threshold, or just above zero."""
    return max(dtype.type(threshold_MeV), np.nextafter(dtype.type(0), dtype.type(1)))


def _bins(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Bin of each value inside the range of edges that are equal in the logarithm."""
    bins = len(edges) - 1
    scale = bins / np.log(edges[-1] / edges[0])
    index = np.clip((np.log(values / edges[0]) * scale).astype(np.int64), 0, bins - 1)
    index -= values < edges[index]
    index += (values >= edges[index + 1]) & (index < bins - 1)
    return index
