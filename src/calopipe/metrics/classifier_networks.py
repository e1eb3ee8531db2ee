"""Networks of the classifier tests, chosen by ``ClassifierConfig.network``: (N, D) features -> (N, K) logits.

``mlp``: fully connected with LeakyReLU, the network of Ernst 2023, section 3.4.2, and of the CaloChallenge.

``cnn``: the CaloChallenge's ResNet-18 of 3D convolutions (arXiv:2410.21611 section 4.2, and its code): a stem (kernel 7,
stride 2; max-pool 3, stride 2), four stages of two basic residual blocks (32, 64, 64 and 128 channels; stages after the
first halve every axis), the mean over what is left, and a linear layer. What is not a voxel joins before that layer,
batch-normalised: log10 E_inc and, with ``low_normed``, the layer energies. Unlike the published network it is periodic
in alpha, where that one pads with zeros, and voxels are divided by their root mean square in the first batch, so that it
sees equally well whatever unit they come in (voxels / E_inc are of order 1e-4).

Strides are the published ones: rotating a shower by less than the product of all strides moves what the deeper layers
see, so that a generator that prefers a direction can be found out. Only the stem's stride leaves its image unchanged.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import nn

from calopipe.config.evaluation import ClassifierConfig
from calopipe.convolutions import Conv3d
from calopipe.errors import MetricUnavailable

#: (layers, alpha, r) of a regular cylindrical geometry, see :func:`calopipe.metrics.features.regular_grid`
Grid = tuple[int, int, int]

_STEM_KERNEL = 7


def build_network(n_features: int, config: ClassifierConfig, outputs: int = 1, grid: Grid | None = None) -> nn.Module:
    """The network that `config` names, freshly initialised from torch's global random state.

    Args:
        n_features: D. For ``cnn`` the first feature is a condition, then come the voxels, then further conditions.
        outputs: K logits per shower.
        grid: bins of the voxels; ``cnn`` needs it.

    Raises:
        MetricUnavailable: ``cnn`` without a grid, or with features that are not voxels on it.
    """
    if config.network == "mlp":
        return fully_connected(n_features, config, outputs)
    if grid is None:
        raise MetricUnavailable("a convolutional classifier needs to know the bins of the voxels")
    return ShowerResNet(n_features, grid, config.channels, outputs, config.dropout)


def fully_connected(n_features: int, config: ClassifierConfig, outputs: int = 1) -> nn.Sequential:
    """Linear layers with LeakyReLU and, where configured, dropout."""
    layers: list[nn.Module] = []
    width = n_features
    for hidden in config.hidden:
        layers += [nn.Linear(width, hidden), nn.LeakyReLU(config.negative_slope, inplace=True)]
        if config.dropout > 0:
            layers.append(nn.Dropout(config.dropout))
        width = hidden
    return nn.Sequential(*layers, nn.Linear(width, outputs))


def wrap_alpha(x: torch.Tensor, width: int) -> torch.Tensor:
    """Continue (..., alpha, r) periodically by `width` bins at either end of alpha."""
    return torch.cat([x[..., -width:, :], x, x[..., :width, :]], dim=-2) if width else x


class PeriodicConv3d(Conv3d):
    """Convolution of (N, C, layer, alpha, r): periodic in alpha; beyond the first and last layer and r there is nothing.

    With stride s an axis of n bins gives ceil(n / s).
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        reach = kernel // 2
        super().__init__(inputs, outputs, kernel, stride, padding=(reach, 0, reach), bias=False)
        self.reach = reach
        nn.init.kaiming_normal_(self.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(wrap_alpha(x, self.reach))


class ResidualBlock(nn.Module):
    """Basic block of ResNet-18 (arXiv:1512.03385) in three dimensions."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(
            PeriodicConv3d(inputs, outputs, 3, stride),
            nn.BatchNorm3d(outputs),
            nn.ReLU(inplace=True),
            PeriodicConv3d(outputs, outputs, 3),
            nn.BatchNorm3d(outputs),
        )
        same = inputs == outputs and stride == 1
        shortcut = [PeriodicConv3d(inputs, outputs, 1, stride), nn.BatchNorm3d(outputs)]
        self.shortcut = nn.Identity() if same else nn.Sequential(*shortcut)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu_(self.body(x) + self.shortcut(x))


class InputScale(nn.Module):
    """Divides by the root mean square of the first batch it is trained on."""

    scale: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.zeros(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training and self.scale == 0:
            self.scale.copy_(x.square().mean().sqrt())
        return x / torch.where(self.scale > 0, self.scale, 1.0)


class Stem(nn.Module):
    """First convolution and max-pooling: (N, 1, L, A, R) -> (N, C, L', A', R'), each axis a quarter, rounded up."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = InputScale()
        self.convolution = PeriodicConv3d(1, channels, _STEM_KERNEL, stride=2)
        self.norm = nn.BatchNorm3d(channels)
        self.pool = nn.MaxPool3d(3, stride=2, padding=(1, 0, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.pool(wrap_alpha(torch.relu_(self.norm(self.convolution(self.scale(x)))), 1))


class ShowerResNet(nn.Module):
    """3D ResNet on showers of a regular cylindrical geometry, see the module's text.

    Args:
        n_features: columns of the input: one condition, the voxels (layer, alpha, r; r fastest), further conditions.
        grid: (layers, alpha, r).
        channels: of each stage.
        outputs: logits per shower.
        dropout: before the last layer.

    Raises:
        MetricUnavailable: fewer features than voxels, or fewer bins in alpha than the stem's kernel wraps around.
    """

    def __init__(
        self, n_features: int, grid: Grid, channels: Sequence[int], outputs: int = 1, dropout: float = 0.0
    ) -> None:
        super().__init__()
        if n_features < 1 + prod(grid):
            needed = f"{prod(grid)} voxels {grid} and a condition"
            raise MetricUnavailable(f"a convolutional classifier expected {needed}, found {n_features} features")
        if grid[1] < _STEM_KERNEL // 2:
            raise MetricUnavailable(f"a convolutional classifier needs 3 bins or more in alpha, found {grid[1]}")
        self.grid = grid
        self.stem = Stem(channels[0])
        stages: list[nn.Module] = []
        inputs = channels[0]
        for i, width in enumerate(channels):
            stages += [ResidualBlock(inputs, width, 2 if i else 1), ResidualBlock(width, width)]
            inputs = width
        self.stages = nn.Sequential(*stages)
        n_conditions = n_features - prod(grid)
        self.condition_norm = nn.BatchNorm1d(n_conditions)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(inputs + n_conditions, outputs)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(N, D) -> (N, outputs)."""
        end = 1 + prod(self.grid)
        image = features[:, 1:end].reshape(-1, 1, *self.grid)
        conditions = torch.cat([features[:, :1], features[:, end:]], dim=1)
        seen = self.stages(self.stem(image)).mean(dim=(2, 3, 4))
        return self.head(self.dropout(torch.cat([seen, self.condition_norm(conditions)], dim=1)))
