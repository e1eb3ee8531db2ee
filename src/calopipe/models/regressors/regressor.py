"""Networks that read the incident energy off a shower, by three-dimensional convolutions.

"Regressor" is the energy regressor of "Getting High" (arXiv:2005.05334), with which Werther 2022 defines the Frechet regression
distance. Its layer table is for 30 x 30 x 30 cells:

    16 x (3,3,3), stride 2, no bias     432 parameters
    layer norm (14,14,14)             5 488 (the table prints the weights, 2 744; its total counts the biases too)
    LeakyReLU 0.02
    32 x (3,3,3), stride 2, no bias  13 824
    layer norm (6,6,6)                  432
    LeakyReLU 0.02
    16 x (2,2,2), no bias             4 096
    100                             200 100
    LeakyReLU 0.02
    1                                   101
                                    224 473

"Regressor+" has "more layers and batch normalization"; its table is not in the source's text. Ours adds one convolution
of 3 x 3 x 3 with normalisation and LeakyReLU after each of the two strided ones, at the same resolution and width. The
two further variants of Werther 2022 are settings: ``regressor`` with ``norm: batch`` ("Regressor with Batch
Normalization") and with ``extra: 1`` ("Deeper Regressor").

A layer norm over a channel divides by the spread of that shower's own channel: the scale of the energies is lost, and
the network reads the energy from the shape of the shower and from how much of it stands above the threshold. Batch norm
keeps the scale, which is why its resolution is better.

Other regular grids (cylindrical layers of equal binning: layer, alpha, r) take the same layers; along an axis that is
shorter than a kernel, the kernel is as short as the axis.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from calopipe.config.parts import MODELS
from calopipe.convolutions import Conv3d
from calopipe.errors import CheckpointError
from calopipe.models.base import EnergyRegressor, Inputs
from calopipe.models.building import wrap
from calopipe.models.regressors.settings import RegressorConfig, RegressorPlusConfig

Grid = tuple[int, int, int]


@MODELS.register("regressor", config=RegressorConfig)
class Regressor(EnergyRegressor):
    """Incident energy of voxel energies (N, V) in MeV, as three-dimensional images.

    Voxel energies are divided by the training showers' mean energy per hit voxel, and the output is multiplied by their
    mean incident energy, so that all numbers in the network are of order one in any calorimeter. The loss is the mean
    absolute error (L1) over the mean incident energy.

    Raises:
        CheckpointError: the grid does not have as many cells as a shower has voxels, or no such window.
    """

    voxel_scale: Tensor
    energy_scale: Tensor

    def __init__(self, config: RegressorConfig, inputs: Inputs) -> None:
        super().__init__(config, inputs)
        self.grid: Grid = config.grid or inputs.grid
        if math.prod(self.grid) != inputs.dim:
            raise CheckpointError(f"regressor: a grid of {self.grid} cells cannot hold showers of {inputs.dim} voxels")
        self.window = _window(config, self.grid)
        blocks: list[nn.Module] = []
        size, width = self.grid if config.crop is None else config.crop.window, 1
        if config.periodic:
            size = (size[0], size[1] + 2, size[2])
        for channels in config.channels[:2]:
            block, size = _block(width, channels, size, config)
            blocks.append(block)
            width = channels
        kernel = _kernel(size, 2)
        blocks.append(Conv3d(width, config.channels[2], kernel, bias=False))
        size = _after(size, kernel, 1)
        self.convolutions = nn.Sequential(*blocks)
        self.hidden = nn.Linear(config.channels[2] * math.prod(size), config.features)
        self.output = nn.Linear(config.features, 1)
        self.register_buffer("voxel_scale", torch.ones(()))
        self.register_buffer("energy_scale", torch.ones(()))

    @torch.no_grad()
    def fit_input(self, x: Tensor, cond: Tensor) -> None:
        seen = self.image(x)
        self.voxel_scale.copy_(seen.sum(dtype=torch.float64) / (seen > 0).sum().clamp(min=1))
        self.energy_scale.copy_(cond.double().mean())

    def image(self, x: Tensor) -> Tensor:
        """The cells that the network sees, (N, 1, layers, first, second), of showers (N, V)."""
        layers, first, second = self.window
        return x.reshape(-1, 1, *self.grid)[:, :, layers, first, second]

    def features(self, x: Tensor) -> Tensor:
        image = self.image(x) / self.voxel_scale
        if self.config.periodic:
            image = wrap(image, -2)
        hidden = self.hidden(self.convolutions(image).flatten(1))
        return functional.leaky_relu(hidden, self.config.negative_slope)

    def energy(self, features: Tensor) -> Tensor:
        return self.output(features)[:, 0] * self.energy_scale

    def loss(self, x: Tensor, cond: Tensor) -> dict[str, Tensor]:
        error = (self.energy(self.features(x)) - cond[:, 0]).abs()
        return {"loss": error.mean() / self.energy_scale, "relative_error": (error / cond[:, 0]).mean()}


@MODELS.register("regressor_plus", config=RegressorPlusConfig)
class RegressorPlus(Regressor):
    """The Regressor with more convolutions and batch normalisation."""


def _window(config: RegressorConfig, grid: Grid) -> tuple[slice, slice, slice]:
    """The cells that the network sees, along each index."""
    if config.crop is None:
        return slice(None), slice(None), slice(None)
    try:
        starts = config.crop.starts(grid)
    except ValueError as error:
        raise CheckpointError(f"regressor: {error}") from None
    a, b, c = (slice(start, start + kept) for start, kept in zip(starts, config.crop.window, strict=True))
    return a, b, c


def _kernel(size: Grid, width: int) -> Grid:
    return min(width, size[0]), min(width, size[1]), min(width, size[2])


def _after(size: Grid, kernel: Grid, stride: int) -> Grid:
    """Size of an image after a convolution without padding."""
    a, b, c = ((n - k) // stride + 1 for n, k in zip(size, kernel, strict=True))
    return a, b, c


def _block(width: int, channels: int, size: Grid, config: RegressorConfig) -> tuple[nn.Sequential, Grid]:
    """A strided convolution, normalised and activated, and the extra ones; with the size of the result."""
    kernel = _kernel(size, 3)
    size = _after(size, kernel, 2)
    layers: list[nn.Module] = [Conv3d(width, channels, kernel, stride=2, bias=False)]
    layers += _normalised(channels, size, config)
    for _ in range(config.extra):
        layers.append(Conv3d(channels, channels, 3, padding=1, bias=False))
        layers += _normalised(channels, size, config)
    return nn.Sequential(*layers), size


def _normalised(channels: int, size: Grid, config: RegressorConfig) -> list[nn.Module]:
    norm = nn.LayerNorm(list(size)) if config.norm == "layer" else nn.BatchNorm3d(channels)
    return [norm, nn.LeakyReLU(config.negative_slope)]
