"""Noise on voxels and its removal, and the filling of empty voxels below the readout threshold."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from calopipe.config.parts import STEPS
from calopipe.preprocessing.base import Layout, Step
from calopipe.preprocessing.settings import FillEmptyConfig, NoiseConfig


@STEPS.register("noise", config=NoiseConfig)
class Noise(Step):
    """Add uniform noise [0, width), drawn anew in every batch (Ernst 2023, section 4.1); put it before or after
    normalisation.
    """

    def forward(self, x: Tensor, cond: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return x + self.config.width * torch.rand_like(x), cond, x.new_zeros(x.shape[0])

    def inverse(self, x: Tensor, cond: Tensor) -> tuple[Tensor, Tensor]:
        if self.config.removal == "none":
            return x, cond
        cut = self.config.width if self.config.threshold is None else self.config.threshold
        shift = self.config.width / 2 if self.config.removal == "subtract_mean" else 0.0
        return torch.where(x < cut, torch.zeros_like(x), (x - shift).clamp(min=0)), cond


@STEPS.register("fill_empty", config=FillEmptyConfig)
class FillEmpty(Step):
    """Give voxels below the readout threshold t an energy t * 10^(-|gap + decades g|), g standard normal, drawn in every
    batch.

    With gap 0 a voxel's distribution in log E is unbroken, half a normal below t: nothing to imitate but an edge, yet
    what smears over that edge becomes a hit. With a gap of several standard deviations the empty voxels are a normal of
    their own, and samples that fall between it and t are empty too. Energies above t are untouched, so the inverse (zero
    below t) is exact.
    """

    def __init__(self, config: FillEmptyConfig, layout: Layout, dim: int, cond_dim: int) -> None:
        super().__init__(config, layout, dim, cond_dim)
        self.cut = layout.threshold_MeV if config.threshold is None else config.threshold
        if self.cut <= 0:
            raise ValueError("fill_empty needs a readout threshold above 0")

    def forward(self, x: Tensor, cond: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        depth = torch.randn_like(x).mul_(self.config.decades).add_(self.config.gap).abs_()
        fill = depth.mul_(-math.log(10)).exp_().mul_(self.cut * (1 - 1e-6))
        return torch.where(x < self.cut, fill, x), cond, x.new_zeros(x.shape[0])

    def inverse(self, x: Tensor, cond: Tensor) -> tuple[Tensor, Tensor]:
        return torch.where(x < self.cut, torch.zeros_like(x), x), cond
