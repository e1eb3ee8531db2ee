"""Pool showers of cartesian geometries to a coarser grid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from calopipe.geometry import Geometry


def pool_showers(
    showers: NDArray[np.floating],
    geometry: Geometry,
    kernel: Sequence[int],
    reduce: Literal["mean", "sum"] = "mean",
) -> NDArray[np.floating]:
    """Pool each layer with `kernel` and strides equal to it; the result lives in ``geometry.pooled(kernel)``.

    Average pooling (thesis on INN/VAE showers, section 4.2.3: kernels (2, 1) and (1, 2) applied in turn to CaloGAN's
    layers) divides the energy of every pooled layer by the number of cells merged, so a total energy is smaller than
    that of the shower; "sum" keeps it. An axis that the kernel does not divide stays as it is, see `Geometry.pooled`.

    Args:
        showers: (N, V) in MeV.
        geometry: cartesian geometry of the V voxels.
        kernel: cells merged along the first and the second index.
        reduce: "mean" or "sum" over the merged cells.

    Returns:
        (N, V') in the dtype of `showers`.

    Raises:
        GeometryError: not cartesian, V does not match, or a kernel that fits no layer.
    """
    pooled = geometry.pooled(kernel)
    layers = []
    for i in range(geometry.n_layers):
        rows, columns = pooled.layer_shape(i)
        cells = geometry.reshape_layer(showers, i)
        blocks = cells.reshape(len(cells), rows, cells.shape[1] // rows, columns, cells.shape[2] // columns)
        merged = blocks.mean(axis=(2, 4)) if reduce == "mean" else blocks.sum(axis=(2, 4))
        layers.append(merged.reshape(len(cells), rows * columns))
    return np.concatenate(layers, axis=1)
