"""Which columns each coupling block of a flow transforms."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from calopipe.models.flows.lattice import Lattice, lattice_columns


def choose_columns(dim: int, blocks: int, masks: str = "random", seed: int = 0) -> list[Tensor]:
    """The floor(dim/2) columns that each block transforms.

    "random": drawn afresh for each block. "alternate": one random order, of which each block takes the next
    floor(dim/2), around and around, so that ceil(dim / floor(dim/2)) blocks in a row reach every column. "pairs": a new
    random order for every two blocks, which take its two halves (an odd column is left out of both).
    """
    if dim < 2:
        raise ValueError(f"a coupling flow needs at least 2 columns, found {dim}")
    size, generator = dim // 2, torch.Generator().manual_seed(seed)
    if masks == "random":
        return [torch.randperm(dim, generator=generator)[:size].sort().values for _ in range(blocks)]
    if masks == "alternate":
        order = torch.randperm(dim, generator=generator)
        return [order[(torch.arange(size) + i * size) % dim].sort().values for i in range(blocks)]
    if masks == "pairs":
        orders = [torch.randperm(dim, generator=generator) for _ in range((blocks + 1) // 2)]
        return [orders[i // 2][(i % 2) * size : (i % 2 + 1) * size].sort().values for i in range(blocks)]
    raise ValueError(f"masks must be 'random', 'alternate' or 'pairs', found {masks!r}")


def blocks_columns(
    dim: int, blocks: int, masks: str, seed: int, shapes: Sequence[tuple[int, int]], neighbours: int
) -> list[tuple[Tensor, Lattice | None]]:
    """Columns that each block transforms, and its lattice; ``lattice`` and ``pairs`` take turns, two blocks each."""
    if masks != "lattice":
        return [(active, None) for active in choose_columns(dim, blocks, masks, seed)]
    if not shapes:
        raise ValueError("masks: lattice needs the shapes of the layers, which the columns of latents do not have")
    paired = choose_columns(dim, blocks, "pairs", seed)
    chosen: list[tuple[Tensor, Lattice | None]] = []
    for i in range(blocks):
        if i % 4 < 2:
            halves = lattice_columns(dim, shapes, seed + i // 4)
            chosen.append((halves[i % 2], Lattice(tuple(shapes), i % 2, neighbours)))
        else:
            chosen.append((paired[i], None))
    return chosen
