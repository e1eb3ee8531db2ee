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
    low = max(np.float32(threshold_MeV), np.nextafter(np.float32(0), np.float32(1)))
    values = showers[showers >= low].astype(np.float64)
    values = values[(values >= edges[0]) & (values <= edges[-1])]
    bins = len(edges) - 1
    scale = bins / np.log(edges[-1] / edges[0])
    index = np.clip((np.log(values / edges[0]) * scale).astype(np.int64), 0, bins - 1)
    index -= values < edges[index]
    index += (values >= edges[index + 1]) & (index < bins - 1)
    return np.bincount(index, minlength=bins)
