"""Invertible layers of neural spline flows, and their composition.

Each layer maps x (N, D), given cond (N, C), to z (N, D) and log|det dz/dx| (N,), and back.

Sources: Durkan 2019 (rational-quadratic coupling and autoregressive layers, LU linear layers); Oliva 2018 (LU);
Papamakarios 2017 (autoregressive layers).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from calopipe.devices import flow_rows
from calopipe.models.flows.residual import MaskedResidualNet, ResidualNet
from calopipe.models.splines.compiled import couple
from calopipe.models.splines.eager import Spline

Map = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
LEAST = 1e-3  # smallest number on the diagonal of U


class Layer(nn.Module):
    """Base of the layers."""

    def forward(self, x: Tensor, cond: Tensor) -> tuple[Tensor, Tensor]:
        """z (N, D) and log|det dz/dx| (N,)."""
        raise NotImplementedError

    def inverse(self, z: Tensor, cond: Tensor) -> tuple[Tensor, Tensor]:
        """x (N, D) and log|det dx/dz| (N,)."""
        raise NotImplementedError


class ResidualCoupling(Layer):
    """Splines on the columns `active`, whose numbers a :class:`ResidualNet` computes of the others and the condition."""

    active: Tensor
    passive: Tensor

    def __init__(
        self, dim: int, cond_dim: int, active: Tensor, width: int, blocks: int, bins: int, bounds: float
    ) -> None:
        super().__init__()
        keep = torch.ones(dim, dtype=torch.bool)
        keep[active] = False
        self.register_buffer("active", active)
        self.register_buffer("passive", keep.nonzero()[:, 0])
        self.per_column = 3 * bins - 1
        self.spline = Spline(bounds, heat=1 / math.sqrt(width))
        self.net = ResidualNet(dim - len(active), cond_dim, self.per_column * len(active), width, blocks)

    def _transform(self, x: Tensor, cond: Tensor, inverse: bool) -> tuple[Tensor, Tensor]:
        kind = self.net.last.weight.dtype
        numbers = self.net(x.index_select(1, self.passive).to(kind), cond.to(kind))
        return couple(x, numbers.view(len(x), self.per_column, len(self.active)), self.active, self.spline, inverse)

    def forward(self, x: Tensor, cond: Tensor) -> tuple[Tensor, Tensor]:
        return self._transform(x, cond, False)

    def inverse(self, z: Tensor, cond: Tensor) -> tuple[Tensor, Tensor]:
        return self._transform(z, cond, True)

    def extra_repr(self) -> str:
        return f"columns={len(self.active)}, bins={(self.per_column + 1) // 3}, {self.spline}"


class Autoregressive(Layer):
    """Splines on all columns, whose numbers a :class:`MaskedResidualNet` computes of the columns before and the condition.

    The inverse needs one pass of the network for each column.
    """

    every: Tensor

    def __init__(self, dim: int, cond_dim: int, width: int, blocks: int, bins: int, bounds: float) -> None:
        super().__init__()
        self.register_buffer("every", torch.arange(dim), persistent=False)
        self.per_column = 3 * bins - 1
        self.spline = Spline(bounds, heat=1 / math.sqrt(width))
        self.net = MaskedResidualNet(dim, cond_dim, self.per_column, width, blocks)

    def _numbers(self, x: Tensor, cond: Tensor) -> Tensor:
        kind = self.net.last.weight.dtype
        return self.net(x.to(kind), cond.to(kind)).view(len(x), self.per_column, len(self.every))

    def forward(self, x: Tensor, cond: Tensor) -> tuple[Tensor, Tensor]:
        return couple(x, self._numbers(x, cond), self.every, self.spline)

    def inverse(self, z: Tensor, cond: Tensor) -> tuple[Tensor, Tensor]:
        x, logdet = torch.zeros_like(z), z.new_zeros(len(z))
        for i in range(len(self.every)):
            numbers = self._numbers(x, cond)[:, :, i : i + 1]
            column, part = couple(z[:, i : i + 1], numbers, self.every[:1], self.spline, True)
            x, logdet = torch.cat([x[:, :i], column, x[:, i + 1 :]], dim=1), logdet + part
        return x, logdet

    def extra_repr(self) -> str:
        return f"bins={(self.per_column + 1) // 3}, {self.spline}"


class Permutation(Layer):
    """Columns in another order: z_i = x_order(i)."""

    order: Tensor

    def __init__(self, order: Tensor) -> None:
        super().__init__()
        self.register_buffer("order", order)

    def forward(self, x: Tensor, cond: Tensor) -> tuple[Tensor, Tensor]:
        return x[:, self.order], x.new_zeros(len(x))

    def inverse(self, z: Tensor, cond: Tensor) -> tuple[Tensor, Tensor]:
        return z[:, self.order.argsort()], z.new_zeros(len(z))


class LULinear(Layer):
    """z = L U x + b, L with ones on its diagonal, U with positive numbers; starts as the identity."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.lower = nn.Parameter(torch.zeros(dim * (dim - 1) // 2))
        self.upper = nn.Parameter(torch.zeros(dim * (dim - 1) // 2))
        self.diagonal = nn.Parameter(torch.full((dim,), math.log(math.expm1(1 - LEAST))))
        self.bias = nn.Parameter(torch.zeros(dim))

    def _matrices(self, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """L, U and the diagonal of U, in the type of `like`."""
        below = torch.tril_indices(self.dim, self.dim, -1, device=like.device)
        above = torch.triu_indices(self.dim, self.dim, 1, device=like.device)
        diagonal = nn.functional.softplus(self.diagonal.to(like.dtype)) + LEAST
        empty = like.new_zeros(self.dim, self.dim)
        lower = empty.index_put((below[0], below[1]), self.lower.to(like.dtype))
        upper = empty.index_put((above[0], above[1]), self.upper.to(like.dtype))
        return lower + torch.eye(self.dim, dtype=like.dtype, device=like.device), upper + diagonal.diag(), diagonal

    def forward(self, x: Tensor, cond: Tensor) -> tuple[Tensor, Tensor]:
        lower, upper, diagonal = self._matrices(x)
        return x @ (lower @ upper).T + self.bias.to(x.dtype), diagonal.log().sum().expand(len(x))

    def inverse(self, z: Tensor, cond: Tensor) -> tuple[Tensor, Tensor]:
        lower, upper, diagonal = self._matrices(z)
        y = torch.linalg.solve_triangular(lower, (z - self.bias.to(z.dtype)).T, upper=False, unitriangular=True)
        return torch.linalg.solve_triangular(upper, y, upper=True).T, -diagonal.log().sum().expand(len(z))

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class Composition(nn.Module):
    """x over a scale, then layers in order, to z, standard normal once trained.

    Without gradients, rows are processed in pieces and carried in float64 between layers (the networks keep their type), so
    that rounding does not build up from layer to layer.

    Args:
        dim: columns of x. layers: at least one. numbers: outputs of the widest network for one row.
    """

    scale: Tensor

    def __init__(self, dim: int, layers: Sequence[Layer], numbers: int) -> None:
        super().__init__()
        self.dim, self.layers = dim, nn.ModuleList(layers)
        self.numbers = numbers
        self.register_buffer("scale", torch.ones(()))

    def fit_scale(self, x: Tensor) -> None:
        """Make the largest magnitude of x (N, dim) 1."""
        self.scale.copy_(x.abs().max().clamp(min=1e-6))

    def forward(self, x: Tensor, cond: Tensor) -> tuple[Tensor, Tensor]:
        """z and log|det dz/dx| (N,)."""
        return self._in_pieces(self._forward, x, cond)

    def inverse(self, z: Tensor, cond: Tensor) -> tuple[Tensor, Tensor]:
        """x and log|det dx/dz| (N,)."""
        return self._in_pieces(self._inverse, z, cond)

    def log_prob(self, x: Tensor, cond: Tensor) -> Tensor:
        """log p(x | cond) in nats (N,), for a standard normal z."""
        z, logdet = self(x, cond)
        return logdet - 0.5 * z.square().sum(1) - 0.5 * self.dim * math.log(2 * math.pi)

    def _forward(self, x: Tensor, cond: Tensor) -> tuple[Tensor, Tensor]:
        z, logdet = x / self.scale, -self.dim * self.scale.log().to(x.dtype).expand(len(x))
        for layer in self.layers:
            z, part = layer(z, cond)
            logdet = logdet + part
        return z, logdet

    def _inverse(self, z: Tensor, cond: Tensor) -> tuple[Tensor, Tensor]:
        x, logdet = z, self.dim * self.scale.log().to(z.dtype).expand(len(z))
        for layer in reversed(cast(Sequence[Layer], self.layers)):
            x, part = layer.inverse(x, cond)
            logdet = logdet + part
        return x * self.scale, logdet

    def _in_pieces(self, function: Map, x: Tensor, cond: Tensor) -> tuple[Tensor, Tensor]:
        if torch.is_grad_enabled():
            return function(x, cond)
        wide = torch.float64 if x.device.type in ("cpu", "cuda") else x.dtype
        out, logdet = torch.empty_like(x), x.new_empty(len(x))
        rows = flow_rows(self.numbers, x.device.type)
        for i in range(0, len(x), rows):
            piece = slice(i, i + rows)
            out[piece], logdet[piece] = function(x[piece].to(wide), cond[piece])
        return out, logdet
