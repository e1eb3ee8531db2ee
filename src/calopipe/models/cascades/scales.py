"""Cells and energy scales that the parts of a cascade share."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


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
        return 0.2 * torch.log1p(energy / max(self.threshold, 1e-3))

    def free(self, energy: Tensor, n: Tensor) -> Tensor:
        """What n hits of this energy have above their thresholds; never nothing."""
        return torch.maximum(energy - n * self.threshold, 1e-5 * energy + 1e-9)

    def cells(self, x: Tensor) -> Tensor:
        """(N, L, R, A) of voxels (N, L A R), of which the ring runs fastest."""
        return x.view(len(x), self.layers, self.angles, self.rings).transpose(2, 3)

    def voxels(self, cells: Tensor) -> Tensor:
        """The inverse of :meth:`cells`."""
        return cells.transpose(2, 3).reshape(len(cells), self.layers * self.rings * self.angles)


def shifted(x: Tensor, by: int) -> Tensor:
    """x (N, L, ...) with what layer l - by has in layer l, and 0 where there is none."""
    moved = torch.zeros_like(x)
    if by > 0:
        moved[:, by:] = x[:, :-by]
    else:
        moved[:, :by] = x[:, -by:]
    return moved
