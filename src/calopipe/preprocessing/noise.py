"""Noise on voxels and its removal, and the filling of empty voxels below the readout threshold."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from calopipe.config.parts import STEPS
from calopipe.preprocessing.base import Layout, Step
from calopipe.preprocessing.settings import FillEmptyConfig, NoiseConfig


@STEPS.register("noise", config=NoiseConfig)
class Noise(Step):
    """Add uniform noise [0, width) (Ernst 2023, section 4.1); put it before or after normalisation.

    It is drawn anew in every batch, or with ``redraw: false`` once per shower: then it is a hash of the shower, so that nothing has
    to be kept. The inverse removes it; with ``restore_total`` each shower then gets back the total that it had before the removal, less
    the mean of the noise: behind a normalisation that is its u_1 E_inc (Ernst 2023, section 4.3.2).
    """

    def forward(self, x: Tensor, cond: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        noise = torch.rand_like(x) if self.config.redraw else hashed_uniform(x)
        return x + self.config.width * noise, cond, x.new_zeros(x.shape[0])

    def inverse(self, x: Tensor, cond: Tensor) -> tuple[Tensor, Tensor]:
        if self.config.removal == "none":
            return x, cond
        cut = self.config.width if self.config.threshold is None else self.config.threshold
        shift = self.config.width / 2 if self.config.removal == "subtract_mean" else 0.0
        clean = torch.where(x < cut, torch.zeros_like(x), (x - shift).clamp(min=0))
        return self._restored(clean, x) if self.config.restore_total else clean, cond

    def _restored(self, clean: Tensor, noisy: Tensor) -> Tensor:
        total, left = noisy.sum(1) - 0.5 * self.config.width * noisy.shape[1], clean.sum(1)
        factor = torch.where((total > 0) & (left > 0), total / left.clamp(min=1e-30), torch.ones_like(left))
        return clean * factor[:, None]


def below_density(energy: Tensor, cut: float, gap: float, decades: float) -> Tensor:
    """log of the density, in 1 / MeV, of cut * 10^(-|gap + decades g|), g standard normal, at energies below the cut."""
    energy = energy.clamp(max=cut * (1 - 1e-7))
    depth = (cut / energy).log10()
    g = (torch.stack([depth, -depth]) - gap) / decades
    log_q = (-0.5 * g.square()).logsumexp(0) - 0.5 * math.log(2 * math.pi)
    return log_q - math.log(decades * math.log(10)) - energy.log()


def hashed_uniform(x: Tensor) -> Tensor:
    """Numbers in [0, 1), the same for the same row of x (N, D): bits of its values, mixed as by SplitMix64 (Steele 2014)."""
    bits = x.float().contiguous().view(torch.int32).long()
    columns = torch.arange(1, x.shape[1] + 1, device=x.device)
    rows = (_mixed(bits + columns * _GOLDEN) * columns).sum(1, keepdim=True)  # whole numbers wrap around
    return ((_mixed(rows + columns * _GOLDEN) >> 11) & (2**53 - 1)).to(x.dtype).mul_(2.0**-53).clamp_(max=1 - 2.0**-24)


_GOLDEN = -7046029254386353131  # 2^64 over the golden ratio, as a signed number


def _mixed(z: Tensor) -> Tensor:
    for shift, factor in ((30, -4658895280553007687), (27, -7723592293110705685)):
        z = (z ^ ((z >> shift) & (2 ** (64 - shift) - 1))) * factor
    return z ^ ((z >> 31) & (2**33 - 1))


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
        cut = layout.threshold_MeV if config.threshold is None else config.threshold
        self.cut = float(np.float32(cut))  # files are thresholded in float32
        if self.cut <= 0:
            raise ValueError("fill_empty needs a readout threshold above 0")

    def forward(self, x: Tensor, cond: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        depth = torch.randn_like(x).mul_(self.config.decades).add_(self.config.gap).abs_()
        fill = depth.mul_(-math.log(10)).exp_().mul_(self.cut * (1 - 1e-6))
        return torch.where(x < self.cut, fill, x), cond, x.new_zeros(x.shape[0])

    def volume_of(self, x: Tensor, cond: Tensor, after: Tensor, logdet: Tensor) -> Tensor:
        """Minus log of the density of what was filled in, in 1 / MeV."""
        return -(below_density(after, self.cut, self.config.gap, self.config.decades) * (x < self.cut)).sum(1)

    def inverse(self, x: Tensor, cond: Tensor) -> tuple[Tensor, Tensor]:
        return torch.where(x < self.cut, torch.zeros_like(x), x), cond
