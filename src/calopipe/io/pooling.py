"""Some layers of showers, and showers of cartesian geometries in a window, on a coarser grid, or as one image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from calopipe.geometry import Geometry
from calopipe.geometry.derived import window_of


def select_layers(showers: NDArray[np.floating], geometry: Geometry, numbers: Sequence[int]) -> NDArray[np.floating]:
    """The voxels of the layers `numbers` (from 0, increasing); the result lives in ``geometry.selected(numbers)``.

    Args:
        showers: (N, V) in MeV.
        geometry: geometry of the V voxels, of any kind.
        numbers: layers that are kept.

    Returns:
        (N, V') in the dtype of `showers`.

    Raises:
        GeometryError: V does not match, or see :meth:`calopipe.geometry.Geometry.selected`.
    """
    _ = geometry.selected(numbers)  # raises GeometryError where there are no such layers
    layers = [geometry.reshape_layer(showers, i).reshape(len(showers), -1) for i in numbers]
    return np.concatenate(layers, axis=1)


def pool_showers(
    showers: NDArray[np.floating],
    geometry: Geometry,
    kernel: Sequence[int],
    reduce: Literal["mean", "sum"] = "mean",
) -> NDArray[np.floating]:
    """Pool each layer with `kernel` and strides equal to it; the result lives in ``geometry.pooled(kernel)``.

    Average pooling (Ernst 2023, section 4.2.3: kernels (2, 1) and (1, 2) applied in turn to CaloGAN's
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


def crop_showers(
    showers: NDArray[np.floating], geometry: Geometry, window: Sequence[int], centre: Sequence[int] | None = None
) -> NDArray[np.floating]:
    """Keep a window of every layer; the result lives in ``geometry.cropped(window, centre)``. Energy outside is lost.

    Args:
        showers: (N, V) in MeV.
        geometry: cartesian geometry of the V voxels, with equal layers.
        window: cells kept along the first and the second index.
        centre: the cell in the middle of the window, see :meth:`calopipe.geometry.Geometry.cropped`; None: that of the layer.

    Returns:
        (N, V') in the dtype of `showers`.

    Raises:
        GeometryError: V does not match, or see :meth:`calopipe.geometry.Geometry.cropped`.
    """
    (a, b), (rows, columns) = window_of(geometry, window, centre)
    layers = []
    for i in range(geometry.n_layers):
        cells = geometry.reshape_layer(showers, i)
        layers.append(cells[:, a : a + rows, b : b + columns].reshape(len(cells), rows * columns))
    return np.concatenate(layers, axis=1)


def image_showers(showers: NDArray[np.floating], geometry: Geometry, kernel: Sequence[int]) -> NDArray[np.floating]:
    """Sum showers over their layers and the cells of each patch of `kernel`; the result lives in ``geometry.image(kernel)``.

    Source: Calomplification, arXiv:2202.07352, section 2.

    Args:
        showers: (N, V) in MeV.
        geometry: cartesian geometry of the V voxels, with layers behind one another.
        kernel: cells merged along the first and the second index.

    Returns:
        (N, pixels) in the dtype of `showers`.

    Raises:
        GeometryError: V does not match, or see :meth:`calopipe.geometry.Geometry.image`.
    """
    _ = geometry.image(kernel)  # raises GeometryError where the layers or the kernel do not fit
    return pool_showers(sum_showers(showers, geometry), geometry.summed(), kernel, reduce="sum")


def sum_showers(showers: NDArray[np.floating], geometry: Geometry) -> NDArray[np.floating]:
    """Sum showers over their layers, along the beam; the result lives in ``geometry.summed()``.

    Args:
        showers: (N, V) in MeV.
        geometry: cartesian geometry of the V voxels, with layers behind one another.

    Returns:
        (N, V / L) in the dtype of `showers`.

    Raises:
        GeometryError: V does not match, or see :meth:`calopipe.geometry.Geometry.summed`.
    """
    _ = geometry.summed()  # raises GeometryError where the layers do not fit
    layers = (geometry.reshape_layer(showers, i) for i in range(geometry.n_layers))
    cells = sum(layers, start=np.zeros((), dtype=showers.dtype))
    return cells.reshape(len(showers), -1)
