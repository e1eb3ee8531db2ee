"""Residual networks that compute the numbers of splines, each block with the condition in it; plain and masked.

The networks of Durkan 2019 (section 4): blocks after He 2015, activation first, the condition a gate of each block's
output. Masked ones keep an order: outputs for column i depend on the columns before i alone (MADE, Germain 2015).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class MaskedLinear(nn.Linear):
    """A linear layer whose neurons see only inputs of certain degrees.

    Args:
        degrees_in, degrees_out: (I,) and (O,) integers. strict: an output sees inputs of a lower degree; otherwise also those
            of its own.
    """

    mask: Tensor

    def __init__(self, degrees_in: Tensor, degrees_out: Tensor, strict: bool = False) -> None:
        super().__init__(len(degrees_in), len(degrees_out))
        seen = degrees_out[:, None] > degrees_in if strict else degrees_out[:, None] >= degrees_in
        self.register_buffer("mask", seen, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.weight * self.mask, self.bias)


class ResidualBlock(nn.Module):
    """h + F(h) * sigmoid(C(cond)), F = ReLU, linear, ReLU, linear; without condition there is no gate.

    degrees: (width,) of the neurons of a masked network; None: every neuron sees every other.
    """

    def __init__(self, width: int, cond_dim: int, degrees: Tensor | None = None) -> None:
        super().__init__()
        if degrees is None:
            self.first, self.second = nn.Linear(width, width), nn.Linear(width, width)
        else:
            self.first, self.second = MaskedLinear(degrees, degrees), MaskedLinear(degrees, degrees)
        for parameter in (self.second.weight, self.second.bias):
            nn.init.uniform_(parameter, -1e-3, 1e-3)
        self.gate = nn.Linear(cond_dim, width) if cond_dim else None

    def forward(self, h: Tensor, cond: Tensor) -> Tensor:
        out = self.second(torch.relu(self.first(torch.relu(h))))
        return h + (out if self.gate is None else out * torch.sigmoid(self.gate(cond)))


class ResidualNet(nn.Module):
    """(N, inputs) and cond (N, cond_dim) to (N, outputs): a linear layer of both, residual blocks, a linear layer."""

    def __init__(self, inputs: int, cond_dim: int, outputs: int, width: int, blocks: int) -> None:
        super().__init__()
        self.first = nn.Linear(inputs + cond_dim, width)
        self.blocks = nn.ModuleList([ResidualBlock(width, cond_dim) for _ in range(blocks)])
        self.last = nn.Linear(width, outputs)

    def forward(self, x: Tensor, cond: Tensor) -> Tensor:
        h = self.first(torch.cat([x, cond], dim=1))
        for block in self.blocks:
            h = block(h, cond)
        return self.last(h)


class MaskedResidualNet(nn.Module):
    """(N, dim) and cond (N, cond_dim) to (N, per_column * dim), columns fastest: those of column i see columns 0 to i - 1.

    Degrees of inputs are 1 to dim, of neurons 0 to dim - 1 in turn. Those of degree 0 see the condition alone: numbers of the first
    column are theirs.
    """

    def __init__(self, dim: int, cond_dim: int, per_column: int, width: int, blocks: int) -> None:
        super().__init__()
        columns = torch.arange(1, dim + 1)
        degrees = torch.arange(width) % dim
        self.first = MaskedLinear(columns, degrees)
        self.condition = nn.Linear(cond_dim, width) if cond_dim else None
        self.blocks = nn.ModuleList([ResidualBlock(width, cond_dim, degrees) for _ in range(blocks)])
        self.last = MaskedLinear(degrees, columns.repeat(per_column), strict=True)

    def forward(self, x: Tensor, cond: Tensor) -> Tensor:
        h = self.first(x)
        if self.condition is not None:
            h = h + self.condition(cond)
        for block in self.blocks:
            h = block(h, cond)
        return self.last(h)
