"""What is known of the cells of a layer together: the sum of their energies and how many are hit.

Cells are expected one by one; what is told of their layer is known of all of them. Of independent cells whose energies add up to E, n of them hit, the densities
are those without that, times exp(lambda E_cell + mu hit), where to first order of what is missing (lambda, mu) are that over the covariances of the two sums (Gaussian
conditioning). Draws meet the sums too: hits are drawn systematically (Madow 1949), which keeps each cell's probability and the number, and energies take up what
is missing as much as they are uncertain.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from calopipe.models.matching.expectation import Posterior
from calopipe.models.matching.scale import Moments, Scale

#: energies of layers are told apart down to this part of the mean energy of a hit
_LEAST = 0.05
#: logarithms of odds change by at most this, and values by as many of their widths
_MOST = 3.0


class Sums(NamedTuple):
    """Of layers (N, L): logarithms of energies, in units of the mean energy of hits, and numbers of hits."""

    log_energy: Tensor
    hits: Tensor


class Energies(NamedTuple):
    """Of cells (N, L, A, R), in units of the mean energy of hits: probabilities (N, K, ...) of the ways of being hit, and moments of E in each."""

    rate: Tensor
    moments: Moments

    @classmethod
    def of(cls, cells: Posterior, scale: Scale) -> Energies:
        """Of cells whose values are on a scale where they are hit."""
        return cls(cells.rate, scale.moments(cells.mean, cells.width))

    def shown(self, told: Sums) -> Tensor:
        """(N, L, 2 + 2 R): ln of the energy and of the hits of each layer over those ``told``, energies and numbers of hits at each radius."""
        rings, hits = (self.rate * self.moments.first).sum((1, 3)), self.rate.sum((1, 3))
        energy = (rings.sum(2) + _LEAST).log() - (told.log_energy.exp() + _LEAST).log()
        number = (hits.sum(2) + 0.5).log() - (told.hits + 0.5).log()
        return torch.cat([energy[:, :, None], number[:, :, None], (rings + _LEAST).log(), hits.log1p()], dim=2)

    def tilt(self, told: Sums) -> tuple[Tensor, Tensor]:
        """By how much (N, K, L, A, R) log-odds of hits are higher, and their values, in units of their widths, where sums are as told."""
        first, second, hit = (
            (self.rate * of).sum(1) for of in (self.moments.first, self.moments.second, torch.ones_like(self.rate))
        )
        cells = (2, 3)
        energy = (second - first.square()).clamp(min=0).sum(cells) + 1e-4
        number = (hit * (1 - hit)).clamp(min=0).sum(cells) + 0.05
        both = (first * (1 - hit)).clamp(min=0).sum(cells)
        of_energy, of_number = told.log_energy.exp() - first.sum(cells), told.hits - hit.sum(cells)
        least = (energy * number - both.square()).clamp(min=0.01 * energy * number)
        per_energy = ((number * of_energy - both * of_number) / least)[:, None, :, None, None]
        per_hit = ((energy * of_number - both * of_energy) / least)[:, None, :, None, None]
        odds = per_energy * self.moments.first + per_hit
        return odds.clamp(-_MOST, _MOST), (per_energy * self.moments.slope).clamp(-_MOST, _MOST)


def drawn(cells: Posterior, told: Sums, scale: Scale) -> Tensor:
    """A draw of cells (N, L, A, R) on a scale, whose sums are nearly as told."""
    value, width = cells.values()
    hit = systematic(cells.rate.sum(1).flatten(2).clamp(0, 1)).view_as(value)
    energy, slope = (torch.where(hit, v, torch.zeros_like(v)) for v in (scale.energy(value), scale.slope(value)))
    lack = told.log_energy.exp() - energy.sum((2, 3))
    width = torch.minimum(width, 1 / scale.factor)
    pull = slope * width.square()
    part = lack / (pull * slope).sum((2, 3)).clamp(min=1e-6)
    change = (part[:, :, None, None] * pull * scale.factor).clamp(-1, 1) / scale.factor
    return torch.where(hit, value + change, cells.empty)


def systematic(rate: Tensor) -> Tensor:
    """Which of C are taken (N, L, C), with probabilities ``rate``, so that their number is the sum of these but for less than one."""
    order = torch.randperm(rate.shape[2], device=rate.device)
    ends = rate[:, :, order].double().cumsum(2) + torch.rand_like(rate[:, :, :1], dtype=torch.float64)
    steps = ends.floor()
    before = torch.cat([torch.zeros_like(steps[:, :, :1]), steps[:, :, :-1]], dim=2)
    taken = torch.empty_like(rate, dtype=torch.bool)
    taken[:, :, order] = steps > before
    return taken
