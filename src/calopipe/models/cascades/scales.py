"""What the parts of a cascade share: cells, energy scales, and the densities that they draw from."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

#: shares of the energy that is left are kept so far from 0 and 1
EDGE = 1e-6
#: numbers of order one are this times the logarithm of energies in units of the threshold
SCALE = 0.2
#: what hits have above their thresholds at least: so much of their energy, and in MeV
SMALLEST = (1e-5, 1e-9)


@dataclass(frozen=True)
class Grid:
    """Layers of rings of cells.

    Attributes:
        layers, rings, angles: of the detector; cells of a ring are neighbours along the angle.
        periodic: whether the last cell of a ring is a neighbour of the first.
        threshold: least energy of a hit, in MeV.
    """

    layers: int
    rings: int
    angles: int
    periodic: bool
    threshold: float

    def log(self, energy: Tensor) -> Tensor:
        """Energies in MeV as numbers of order one, 0 for none."""
        return SCALE * torch.log1p(energy / max(self.threshold, 1e-3))

    def free(self, energy: Tensor, n: Tensor) -> Tensor:
        """What n hits of this energy have above their thresholds; never nothing."""
        return torch.maximum(energy - n * self.threshold, SMALLEST[0] * energy + SMALLEST[1])

    def directions(self, like: Tensor) -> Tensor:
        """(2, A) cosine and sine of the angle of each cell of a ring; 0 where rings do not close."""
        angle = 2 * math.pi / self.angles * torch.arange(self.angles, dtype=like.dtype, device=like.device)
        return torch.stack([angle.cos(), angle.sin()]) * float(self.periodic)

    def moments(self, energy: Tensor, ring: Tensor) -> Tensor:
        """(..., 3) of the cells (..., A) of rings (...), counted from 0: energies times both coordinates, in widths of a ring, and energies."""
        total, radius = energy.sum(-1, keepdim=True), (ring + 0.5).to(energy.dtype)[..., None]
        return torch.cat([energy @ self.directions(energy).T * radius, total], dim=-1)

    def cells(self, x: Tensor) -> Tensor:
        """(N, L, R, A) of voxels (N, L A R), of which the ring runs fastest."""
        return x.view(len(x), self.layers, self.angles, self.rings).transpose(2, 3)

    def voxels(self, cells: Tensor) -> Tensor:
        """The inverse of :meth:`cells`."""
        return cells.transpose(2, 3).reshape(len(cells), self.layers * self.rings * self.angles)


def share_logit(part: Tensor, whole: Tensor) -> Tensor:
    """Logit (M, 1) of the share of an energy (M,), away from its ends: what the mixtures of shares are densities of."""
    return torch.logit((part / whole).clamp(EDGE, 1 - EDGE))[:, None]


def draw_number(log_p: Tensor) -> Tensor:
    """A number (N,) for each row of log probabilities (N, K) of 0 to K - 1."""
    return (log_p - torch.empty_like(log_p).exponential_().log()).argmax(-1)
