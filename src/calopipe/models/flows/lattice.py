"""Coupling blocks that see the neighbours of the voxels that they transform: ``masks: lattice`` of a flow on showers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from calopipe.models.building import start_at_zero
from calopipe.models.neighbourhood import Places, places


class Lattice(NamedTuple):
    """Which cells of a detector a coupling block transforms: shapes of the layers, the colour (i + j) mod 2 of the cells,
    and the width of the networks that see their neighbours (:class:`LatticeTerm`).
    """

    shapes: tuple[tuple[int, int], ...]
    colour: int
    width: int


class LatticeTerm(nn.Module):
    """What a coupling block's numbers get from the neighbours of each voxel that it transforms: see ``masks: lattice``.

    One small network for all cells of the layers of one shape sees the passive cells within `reach`. It starts as no
    contribution.

    Args:
        shapes: as in :class:`~calopipe.models.neighbourhood.Neighbourhood`; the columns of x start with these voxels.
        colour: 0 or 1, of the cells (i + j) mod 2 that the block transforms. active: its columns, ascending.
        per_column: numbers per transformed column. hidden: width of the networks.
    """

    def __init__(
        self,
        shapes: Sequence[tuple[int, int]],
        colour: int,
        active: Tensor,
        per_column: int,
        hidden: int,
        reach: tuple[int, int] = (1, 3),
    ) -> None:
        super().__init__()
        self.per_column = per_column
        self.voxels = sum(a * b for a, b in shapes)
        self.nets = nn.ModuleList()
        self.parts = nn.ModuleList()
        turn = [1, 0] if colour == 0 else [0, 1]
        for shape in dict.fromkeys(shapes):
            voxels, neighbours = places(shapes, shape, turn, 1, reach)
            if not len(voxels):
                continue
            last = start_at_zero(nn.Linear(hidden, per_column))
            self.nets.append(nn.Sequential(nn.Linear(neighbours.shape[1], hidden), nn.SiLU(), last))
            self.parts.append(Places(torch.searchsorted(active, voxels), neighbours))

    def forward(self, x: Tensor, numbers: Tensor) -> Tensor:
        """`numbers` (N, per_column, T) with the contributions of x (N, D) added."""
        padded = nn.functional.pad(x[:, : self.voxels], (0, 1))
        for net, part in zip(self.nets, cast("Iterable[Places]", self.parts), strict=True):
            seen = padded[:, part.neighbours.reshape(-1)].view(len(x), *part.neighbours.shape)
            numbers = numbers.index_add(2, part.voxels, net(seen).transpose(1, 2).to(numbers.dtype))
        return numbers


def lattice_columns(dim: int, shapes: Sequence[tuple[int, int]], seed: int) -> list[Tensor]:
    """The two halves of `dim` columns that a pair of blocks transforms: cells of either colour, other columns at random."""
    colours = [torch.arange(a)[:, None] + torch.arange(b) for a, b in shapes]
    colour = torch.cat([c.reshape(-1) % 2 for c in colours])
    rest = torch.randperm(dim - len(colour), generator=torch.Generator().manual_seed(seed)) % 2
    every = torch.cat([colour, rest])
    return [(every == c).nonzero()[:, 0] for c in (0, 1)]
