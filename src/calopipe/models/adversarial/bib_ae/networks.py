"""Encoder, decoder and image critic of the BIB-AE, for any regular grid of cells.

Published for 30 x 30 x 30 cells (Buhmann 2021, and code). Other grids have the same layers: the encoder makes n // 2 + 1
cells of n, the decoder starts with a third of the cells, rounded up, and its first transposed convolution is told how many
are wanted. In the critic axes of less than 15 cells, which two strides of 2 would use up, have strides of 1, and those of
less than 7 cells a padding of 1 besides.

Normalisation is that of each channel of each shower over its own cells (layer norm), with a learned scale and shift of each cell.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import partial

import torch
from torch import Tensor, nn

from calopipe.convolutions import Conv3d, ConvTranspose3d
from calopipe.models.adversarial.bib_ae.settings import BIBAEConfig
from calopipe.models.building import mlp

Grid = tuple[int, int, int]
_activation = partial(nn.LeakyReLU, 0.2)


class Encoder(nn.Module):
    """Image (N, 1, L, A, B) and conditions (N, C) to mean and log variance of the latents, (N, latent) each."""

    def __init__(self, config: BIBAEConfig, grid: Grid, cond_dim: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        size, width = grid, 1
        for channels in (config.channels, 2 * config.channels, 4 * config.channels):
            size = _each(size, lambda n: n // 2 + 1)
            layers += [Conv3d(width, channels, 4, 2, 2, bias=False), nn.LayerNorm(size), _activation()]
            width = channels
        layers += [Conv3d(width, 2 * width, 3, 1, 1, bias=False), nn.LayerNorm(size), _activation(), nn.Flatten()]
        self.convolutions = nn.Sequential(*layers)
        numbers = 2 * width * math.prod(size) + cond_dim
        self.dense = mlp([numbers, *config.dense, 2 * config.latent], _activation)

    def forward(self, image: Tensor, cond: Tensor) -> tuple[Tensor, Tensor]:
        mu, logvar = self.dense(torch.cat([self.convolutions(image), cond], dim=1)).chunk(2, dim=1)
        return mu, logvar


class Decoder(nn.Module):
    """Numbers (N, padded) and conditions (N, C) to an image (N, 1, L, A, B), 0 or more.

    From a third of the cells to all, to twice as many along each axis, and back to all; there the hits are made.
    """

    def __init__(self, config: BIBAEConfig, grid: Grid, cond_dim: int) -> None:
        super().__init__()
        c, start = config.channels, _each(grid, lambda n: -(-n // 3))
        rest = _each(grid, lambda n: (n - 1) % 3)  # cells beyond 3 (n' - 1) + 1 of the n' cells it starts with
        self.dense = mlp([config.padded + cond_dim, *reversed(config.dense), c * math.prod(start)], _activation)
        layers: list[nn.Module] = [
            _activation(),
            nn.Unflatten(1, (c, *start)),
            ConvTranspose3d(c, c, 3, 3, 1, output_padding=rest, bias=False),
            nn.LayerNorm(grid),
            _activation(),
            ConvTranspose3d(c, 2 * c, 3, 2, 1, output_padding=1, bias=False),
            nn.LayerNorm(_each(grid, lambda n: 2 * n)),
            _activation(),
            Conv3d(2 * c, c, 2, 2, bias=False),
        ]
        for a, b in ((c, 2 * c), (2 * c, 4 * c), (4 * c, 2 * c), (2 * c, 1)):
            layers += [nn.LayerNorm(grid), _activation(), Conv3d(a, b, 3, 1, 1, bias=False)]
        self.convolutions = nn.Sequential(*layers, nn.ReLU())

    def forward(self, z: Tensor, cond: Tensor) -> Tensor:
        return self.convolutions(self.dense(torch.cat([z, cond], dim=1)))


class ImageCritic(nn.Module):
    """Logits (N,) of pairs (N, 2, L, A, B), a shower and what was made of it, given conditions (N, C).

    It sees the second image, the logarithm of that image + 1, and the second less the first: 0 for data, which are paired with
    themselves.
    """

    def __init__(self, config: BIBAEConfig, grid: Grid, cond_dim: int) -> None:
        super().__init__()
        features = config.critic_features
        self.linear, self.logarithmic = (_stream(config, grid) for _ in range(2))
        self.difference = nn.Sequential(nn.Flatten(), nn.Linear(math.prod(grid), features), _activation())
        self.condition = nn.Sequential(nn.Linear(cond_dim, features), _activation())
        self.dense = mlp([4 * features, *config.critic_hidden, 1], _activation)

    def forward(self, pair: Tensor, cond: Tensor) -> Tensor:
        first, second = pair.split(1, dim=1)
        seen = [
            self.linear(second),
            self.logarithmic(second.log1p()),
            self.difference(second - first),
            self.condition(cond),
        ]
        return self.dense(torch.cat(seen, dim=1))[:, 0]


def _stream(config: BIBAEConfig, grid: Grid) -> nn.Sequential:
    """Three convolutions and a dense layer: image (N, 1, L, A, B) to features (N, F)."""
    layers: list[nn.Module] = []
    padding = _each(grid, lambda n: int(n < 7))
    size, width = grid, 1
    once, halved = (1, 1, 1), _each(grid, lambda n: 2 if n >= 15 else 1)
    for i, stride in enumerate((halved, halved, once)):
        size = _shape((n + 2 * p - 3) // s + 1 for n, p, s in zip(size, padding, stride, strict=True))
        layers.append(Conv3d(width, config.critic_channels, 3, stride, padding, bias=False))
        layers += [_activation()] if i == 2 else [nn.LayerNorm(size), _activation()]
        width = config.critic_channels
    return nn.Sequential(
        *layers, nn.Flatten(), nn.Linear(width * math.prod(size), config.critic_features), _activation()
    )


def _each(grid: Grid, of: Callable[[int], int]) -> Grid:
    return _shape(of(n) for n in grid)


def _shape(sizes: Iterable[int]) -> Grid:
    a, b, c = sizes
    return a, b, c
