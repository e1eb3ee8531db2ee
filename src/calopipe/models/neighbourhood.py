"""Voxels drawn in groups, each knowing its neighbours of earlier groups: small networks shared by all places of a layer.

Neighbouring cells are hit together far more often than a latent vector of the whole shower can say, and a dense network
does not find out from some thousand showers which of its inputs are neighbours. The networks here see nothing but the
neighbourhood, are the same for every cell of all layers of one shape, and correct what a decoder said of the cell.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from calopipe.models.building import mlp

#: by number of groups: how far the colours of a layer's cells are shifted from one row to the next
_SHIFT = {1: 0, 2: 1, 4: 2, 8: 3}


class Places(nn.Module):
    """Voxels (n,) and of each the neighbours that are seen (n, k), kept where the networks are; nothing of a checkpoint."""

    voxels: Tensor
    neighbours: Tensor

    def __init__(self, voxels: Tensor, neighbours: Tensor) -> None:
        super().__init__()
        self.register_buffer("voxels", voxels, persistent=False)
        self.register_buffer("neighbours", neighbours, persistent=False)


class Neighbourhood(nn.Module):
    """Corrections of the `numbers` that a decoder gives each voxel, from the voxels of earlier groups.

    Cell (i, j) of a layer has the colour (j + s i) mod groups, with s such that neighbours (for 8 also next neighbours)
    differ in colour. Groups come in the order of the reversed bits of the colour: coarse grids first, then the cells
    between them.

    Args:
        shapes: cells of each layer along its first and second index; voxels in file order, the second running fastest.
        groups: 1, 2, 4 or 8. numbers: numbers per voxel. features: known of each voxel that has been drawn.
        reach: cells to each side, along the first and second index, that are seen.
        hidden: width of the networks. They start as no correction.
    """

    def __init__(
        self,
        shapes: Sequence[tuple[int, int]],
        groups: int,
        numbers: int,
        features: int,
        reach: tuple[int, int] = (1, 3),
        hidden: int = 32,
    ) -> None:
        super().__init__()
        self.groups, self.numbers, self.features = groups, numbers, features
        self.nets = nn.ModuleDict()
        self.parts = nn.ModuleList()  # of each group, voxels and neighbours by the name of their network
        turn = _turns(groups)
        for group in range(groups):
            parts = nn.ModuleDict()
            for shape in dict.fromkeys(shapes):
                voxels, neighbours = places(shapes, shape, turn, group, reach)
                if not len(voxels):
                    continue
                name = f"{shape[0]}x{shape[1]}_{group}"
                if group:
                    inputs = features * neighbours.shape[1] + numbers + 1
                    self.nets[name] = mlp([inputs, hidden, hidden, numbers], nn.SiLU, zero=True)
                parts[name] = Places(voxels, neighbours)
            self.parts.append(parts)

    @property
    def columns(self) -> list[Tensor]:
        """The voxels of each group."""
        every = [[part.voxels for _, part in self.parts_of(group)] for group in range(self.groups)]
        return [torch.cat(some) if some else torch.zeros(0, dtype=torch.int64) for some in every]

    def parts_of(self, group: int) -> Iterable[tuple[str, Places]]:
        """Voxels and neighbours of a group, by the name of their network."""
        return cast("Iterable[tuple[str, Places]]", cast(nn.ModuleDict, self.parts[group]).items())

    def forward(self, group: int, base: Tensor, known: Tensor, rate: Tensor) -> Tensor:
        """The numbers (N, numbers, G) of the voxels of a group, in the order of ``columns[group]``.

        Args:
            group: number of the group.
            base: (N, numbers, V) what the decoder said of all voxels.
            known: (N, features, V) of voxels of earlier groups; what it says of others is not looked at.
            rate: (N, V) hits per voxel that are left for the voxel's layer beyond those that `base` expects.
        """
        out, padded = [], nn.functional.pad(known, (0, 1))
        for name, part in self.parts_of(group):
            own = base[:, :, part.voxels]
            if group:
                seen = padded[:, :, part.neighbours.reshape(-1)].view(len(base), self.features, *part.neighbours.shape)
                seen = seen.permute(0, 2, 1, 3).flatten(2)
                given = torch.cat([seen, own.transpose(1, 2), rate[:, part.voxels, None]], dim=2)
                own = own + self.nets[name](given).transpose(1, 2)
            out.append(own)
        return torch.cat(out, dim=2) if out else base[:, :, :0]


def _turns(groups: int) -> list[int]:
    """The group of each colour: the colour with its bits reversed."""
    bits = groups.bit_length() - 1
    return [int(f"{colour:0{bits}b}"[::-1], 2) if bits else 0 for colour in range(groups)]


def places(
    shapes: Sequence[tuple[int, int]], shape: tuple[int, int], turn: list[int], group: int, reach: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Voxels (n,) of a group in the layers of one shape, and of each the neighbours (n, k) of earlier groups (V: none)."""
    groups, total = len(turn), sum(a * b for a, b in shapes)
    colour = turn.index(group)
    offsets = [
        (di, dj)
        for di in range(-reach[0], reach[0] + 1)
        for dj in range(-reach[1], reach[1] + 1)
        if turn[(colour + dj + _SHIFT[groups] * di) % groups] < group
    ]
    voxels, neighbours, start = [], [], 0
    for rows, cells in shapes:
        for i in range(rows if (rows, cells) == shape else 0):
            for j in range(cells):
                if (j + _SHIFT[groups] * i) % groups != colour:
                    continue
                voxels.append(start + i * cells + j)
                near = [(i + di, j + dj) for di, dj in offsets]
                neighbours.append(
                    [start + a * cells + b if 0 <= a < rows and 0 <= b < cells else total for a, b in near]
                )
        start += rows * cells
    return torch.tensor(voxels, dtype=torch.int64), torch.tensor(neighbours, dtype=torch.int64).view(
        len(voxels), len(offsets)
    )
