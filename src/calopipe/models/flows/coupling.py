"""Coupling blocks as FrEIA modules, and the flow made of them.

A block transforms floor(D/2) columns, element by element, with parameters that a sub-network computes from the other
columns and the condition. Which columns those are is an index buffer per block; the columns themselves are never
moved, which is the same family of maps as "permute, then transform the second half" without N x N matrices.

Sources: Dinh et al., arXiv:1605.08803 (affine coupling); Durkan et al., arXiv:1906.04032 (rational-quadratic
splines); FrEIA, ``modules/base.py`` (the contract of an InvertibleModule).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, Literal, cast

import torch
from FrEIA.framework import SequenceINN
from FrEIA.modules import InvertibleModule
from torch import Tensor, nn

from calopipe.models.building import DropoutReLU, mlp
from calopipe.models.flows.lattice import Lattice, LatticeTerm
from calopipe.models.flows.masks import blocks_columns
from calopipe.models.splines.compiled import couple
from calopipe.models.splines.eager import Spline

CHUNK_NUMBERS = 2**21  # sub-network outputs alive at once without gradients (8 MiB of float32: they stay in cache)


def subnet(inputs: int, hidden: Sequence[int], outputs: int, zero: bool = True, dropout: float = 0.0) -> nn.Sequential:
    """ReLU network; with ``zero`` its last layer starts at zero, so that a block starts as the identity.

    dropout: fraction of the hidden neurons that is dropped in training, after each hidden layer.
    """
    activation = partial(DropoutReLU, dropout) if dropout > 0 else partial(nn.ReLU, inplace=True)
    return mlp([inputs, *hidden, outputs], activation, zero)


class Coupling(InvertibleModule):
    """Base of the one-sided blocks; subclasses give `per_column` numbers to each transformed column.

    Args:
        dims_in, dims_c: FrEIA's shapes, ``[(D,)]`` and ``[(C,)]`` or none.
        active: the T columns to transform; D - T > 0 others are passed on.
        hidden: widths of the sub-network. zero_init: start as the identity. dropout: of its hidden neurons, in training.
        lattice: the term beside the sub-network that sees the neighbours of each voxel; None: there is none.
    """

    def __init__(
        self,
        dims_in: Iterable[tuple[int]],
        dims_c: Iterable[tuple[int]] | None = None,
        *,
        active: Sequence[int] | Tensor,
        per_column: int,
        hidden: Sequence[int] = (256, 256),
        zero_init: bool = True,
        dropout: float = 0.0,
        lattice: Lattice | None = None,
    ) -> None:
        super().__init__(dims_in, dims_c)
        dim = self.dims_in[0][0]
        chosen = torch.as_tensor(active, dtype=torch.int64).sort().values
        if (
            len(self.dims_in) != 1
            or len(self.dims_in[0]) != 1
            or not 0 < len(chosen) < dim
            or len(chosen.unique()) != len(chosen)
            or chosen[0] < 0
            or chosen[-1] >= dim
        ):
            raise ValueError(f"active must be some, not all, of the columns 0 to {dim - 1}, each once")
        keep = torch.ones(dim, dtype=torch.bool)
        keep[chosen] = False
        self.register_buffer("active", chosen)
        self.register_buffer("passive", keep.nonzero()[:, 0])
        inputs = dim - len(chosen) + sum(shape[0] for shape in self.dims_c)
        self.per_column = per_column
        self.net = subnet(inputs, hidden, per_column * len(chosen), zero_init, dropout)
        self.near = None
        if lattice is not None:
            self.near = LatticeTerm(lattice.shapes, lattice.colour, chosen, per_column, lattice.width)

    def numbers(self, x: Tensor, c: Iterable[Tensor] | None) -> Tensor:
        """The sub-network's output (N, per_column, T) for the columns of x that are passed on, and the condition."""
        kind = cast(nn.Linear, self.net[-1]).weight.dtype
        given = [x.index_select(1, self.passive).to(kind), *(part.to(kind) for part in c or ())]
        out = self.net(torch.cat(given, 1) if len(given) > 1 else given[0])
        out = out if out.dtype == torch.float64 else out.float()
        out = out.view(x.shape[0], self.per_column, len(self.active))
        return out if self.near is None else self.near(x.to(kind), out)

    def transform(self, x: Tensor, numbers: Tensor, rev: bool) -> tuple[Tensor, Tensor]:
        """z (N, D) and the log-determinant (N,) of the direction computed."""
        raise NotImplementedError

    def forward(
        self, x_or_z: Tensor | Sequence[Tensor], c: Iterable[Tensor] | None = None, rev: bool = False, jac: bool = True
    ) -> tuple[tuple[Tensor], Tensor]:
        """FrEIA's contract: a 1-tuple of (N, D) and the log-determinant (N,) of the direction computed."""
        x = x_or_z if torch.is_tensor(x_or_z) else x_or_z[0]
        z, logdet = self.transform(x, self.numbers(x, c), rev)
        return (z,), logdet

    def output_dims(self, input_dims: list[tuple[int]]) -> list[tuple[int]]:
        return input_dims


class RQSCoupling(Coupling):
    """Rational-quadratic splines with ``bins`` bins on [-bounds, bounds], the identity outside.

    heat: factor on width and height logits; None is 1/sqrt(hidden[-1]), as in the paper's own code. It keeps the map
    well conditioned for ordinary weights: with 1, twelve blocks with weights 1.5 times those that nn.Linear starts from
    amplify rounding until no float64 inverse exists. 1 learns faster in the first few hundred steps at small rates.
    backend: "auto", "eager" or "compiled", see :mod:`calopipe.models.splines.compiled`.
    """

    def __init__(
        self,
        dims_in: Iterable[tuple[int]],
        dims_c: Iterable[tuple[int]] | None = None,
        *,
        active: Sequence[int] | Tensor,
        hidden: Sequence[int] = (256, 256),
        bins: int = 10,
        bounds: float = 10.0,
        min_bin: float = 1e-3,
        min_derivative: float = 1e-3,
        heat: float | None = None,
        backend: str = "auto",
        zero_init: bool = True,
        dropout: float = 0.0,
        lattice: Lattice | None = None,
    ) -> None:
        if heat is None:
            heat = 1 / math.sqrt(hidden[-1]) if len(hidden) else 1.0
        spline = Spline(bounds, min_bin, min_derivative, heat)
        spline.bins(3 * bins - 1)
        rest: dict[str, Any] = {"hidden": hidden, "zero_init": zero_init, "dropout": dropout, "lattice": lattice}
        super().__init__(dims_in, dims_c, active=active, per_column=3 * bins - 1, **rest)
        self.spline, self.backend = spline, backend

    def transform(self, x: Tensor, numbers: Tensor, rev: bool) -> tuple[Tensor, Tensor]:
        return couple(x, numbers, self.active, self.spline, rev, self.backend)

    def extra_repr(self) -> str:
        return f"columns={len(self.active)}, bins={(self.per_column + 1) // 3}, {self.spline}"


class AffineCoupling(Coupling):
    """x exp(s) + t with s = clamp tanh(raw / clamp), so that scales stay within exp(-clamp) and exp(clamp)."""

    def __init__(
        self,
        dims_in: Iterable[tuple[int]],
        dims_c: Iterable[tuple[int]] | None = None,
        *,
        active: Sequence[int] | Tensor,
        hidden: Sequence[int] = (256, 256),
        clamp: float = 2.0,
        zero_init: bool = True,
        dropout: float = 0.0,
        lattice: Lattice | None = None,
    ) -> None:
        rest: dict[str, Any] = {"hidden": hidden, "zero_init": zero_init, "dropout": dropout, "lattice": lattice}
        super().__init__(dims_in, dims_c, active=active, per_column=2, **rest)
        self.clamp = clamp

    def transform(self, x: Tensor, numbers: Tensor, rev: bool) -> tuple[Tensor, Tensor]:
        s, t = self.clamp * torch.tanh(numbers[:, 0] / self.clamp), numbers[:, 1]
        u = x.index_select(1, self.active)
        y = (u - t) * torch.exp(-s) if rev else u * torch.exp(s) + t
        return x.to(y.dtype).index_copy(1, self.active, y), (-s if rev else s).sum(1)


class CouplingFlow(SequenceINN):
    """A sequence of coupling blocks from x (N, dim) given cond (N, cond_dim) to z, standard normal once trained.

    Without gradients, rows are processed ``chunk`` at a time and carried in float64 between blocks (the sub-networks
    keep their own type), so that rounding does not build up from block to block. A float64 ``x`` is answered in
    float64, also when the weights are float32: this is the way to an inverse that is exact to about 1e-10.
    """

    def __init__(self, dim: int, cond_dim: int, chunk: int | None = None) -> None:
        super().__init__(dim)
        self.dim, self.cond_dim, self.chunk = dim, cond_dim, chunk

    def forward(
        self, x_or_z: Tensor, c: Tensor | Sequence[Tensor] | None = None, rev: bool = False, jac: bool = True
    ) -> tuple[Tensor, Tensor]:
        """z and log|det dz/dx| (N,); with ``rev`` x and log|det dx/dz|. ``c``: cond, or a list of one, or None.

        Raises ValueError when x or the condition has the wrong number of columns or rows.
        """
        x = x_or_z if torch.is_tensor(x_or_z) else x_or_z[0]
        cond = c if c is None or torch.is_tensor(c) else c[0]
        self._check(x, cond)
        if torch.is_grad_enabled():
            return super().forward(x, [cond], rev, jac)
        wide = torch.float64 if x.device.type in ("cpu", "cuda") else x.dtype
        out, logdet = torch.empty_like(x), x.new_empty(x.shape[0])
        rows = self.chunk or self._rows()
        for i in range(0, x.shape[0], rows):
            part = None if cond is None else [cond[i : i + rows]]
            z, j = super().forward(x[i : i + rows].to(wide), part, rev, jac)
            out[i : i + rows], logdet[i : i + rows] = z, j
        return out, logdet

    def inverse(self, z: Tensor, cond: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """x (N, dim) and log|det dx/dz| (N,) of z (N, dim)."""
        return self(z, cond, rev=True)

    def log_prob(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        """log p(x | cond) in nats (N,), for a standard normal z."""
        z, logdet = self(x, cond)
        return logdet - 0.5 * z.square().sum(1) - 0.5 * self.dim * math.log(2 * math.pi)

    def _rows(self) -> int:
        widest = max((block.per_column * len(block.active) for block in self), default=1)
        return max(64, CHUNK_NUMBERS // widest)

    def _check(self, x: Tensor, cond: Tensor | None) -> None:
        if x.ndim != 2 or x.shape[1] != self.dim:
            raise ValueError(f"x must be (N, {self.dim}), found {tuple(x.shape)}")
        found = None if cond is None else tuple(cond.shape)
        if self.cond_dim and found != (x.shape[0], self.cond_dim):
            raise ValueError(f"the condition must be ({x.shape[0]}, {self.cond_dim}), found {found}")


def make_flow(
    dim: int,
    cond_dim: int,
    blocks: int,
    *,
    hidden: Sequence[int] = (256, 256),
    bins: int = 10,
    bounds: float = 10.0,
    kind: Literal["rqs", "affine"] = "rqs",
    seed: int = 0,
    masks: Literal["random", "alternate", "pairs", "lattice"] = "random",
    heat: float | None = None,
    backend: str = "auto",
    chunk: int | None = None,
    zero_init: bool = True,
    dropout: float = 0.0,
    shapes: Sequence[tuple[int, int]] = (),
    neighbours: int = 32,
) -> CouplingFlow:
    """A flow of ``blocks`` one-sided coupling blocks.

    seed: of the choice of columns (weights come from torch's generator). chunk: rows at a time without gradients, by
    default as many as keep the sub-networks' outputs in cache. heat: see `RQSCoupling`. zero_init False: last layers as
    nn.Linear starts them. dropout: of the sub-networks' hidden neurons, in training. shapes, neighbours: for masks
    "lattice", cells of the layers whose voxels are the first columns, and the width of the networks that see neighbours.
    Raises ValueError on unknown kinds or masks.
    """
    flow = CouplingFlow(dim, cond_dim, chunk)
    if kind not in ("rqs", "affine"):
        raise ValueError(f"kind must be 'rqs' or 'affine', found {kind!r}")
    for active, lattice in blocks_columns(dim, blocks, masks, seed, shapes, neighbours):
        given = {"active": active, "hidden": hidden, "zero_init": zero_init, "dropout": dropout, "lattice": lattice}
        given |= {"cond": 0, "cond_shape": (cond_dim,)} if cond_dim else {}
        if kind == "rqs":
            flow.append(RQSCoupling, bins=bins, bounds=bounds, heat=heat, backend=backend, **given)
        else:
            flow.append(AffineCoupling, **given)
    return flow
