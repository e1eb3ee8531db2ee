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

from calopipe.devices import flow_rows
from calopipe.models.building import DropoutReLU, mlp
from calopipe.models.flows import few_rows
from calopipe.models.flows.lattice import Lattice, LatticeTerm
from calopipe.models.flows.masks import blocks_columns
from calopipe.models.splines import cubic
from calopipe.models.splines.compiled import couple
from calopipe.models.splines.eager import Spline

_FIT_ROWS = 4096  # rows that ActNorms are started from


def subnet(
    inputs: int,
    hidden: Sequence[int],
    outputs: int,
    zero: bool = True,
    dropout: float = 0.0,
    batch_norm: bool = False,
    leaky: bool = False,
) -> nn.Sequential:
    """ReLU network; with ``zero`` its last layer starts at zero, so that a block starts as the identity.

    dropout: fraction of the hidden neurons that is dropped in training, after each hidden layer. batch_norm: of the hidden layers.
    leaky: LeakyReLU with slope 0.01 instead of ReLU.
    """
    return mlp([inputs, *hidden, outputs], partial(_activation, dropout, leaky), zero, batch_norm)


def _activation(dropout: float, leaky: bool) -> nn.Module:
    if not leaky:
        return DropoutReLU(dropout) if dropout > 0 else nn.ReLU(inplace=True)
    return nn.Sequential(nn.LeakyReLU(0.01), nn.Dropout(dropout)) if dropout > 0 else nn.LeakyReLU(0.01)


def only(given: Tensor | Sequence[Tensor]) -> Tensor:
    """The tensor of what FrEIA passes: a tensor, or a sequence of one."""
    return given if torch.is_tensor(given) else given[0]


class Block(InvertibleModule):
    """Base of FrEIA modules of one tensor: its contract, said once. Subclasses MUST define :meth:`mapped`."""

    def mapped(self, x: Tensor, c: Iterable[Tensor] | None, rev: bool) -> tuple[Tensor, Tensor]:
        """z (N, D) and the log-determinant (N,) of the direction computed; with `rev` x is z, and z is x."""
        raise NotImplementedError

    def forward(
        self, x_or_z: Tensor | Sequence[Tensor], c: Iterable[Tensor] | None = None, rev: bool = False, jac: bool = True
    ) -> tuple[tuple[Tensor], Tensor]:
        """FrEIA's contract: a 1-tuple of (N, D) and the log-determinant (N,) of the direction computed."""
        z, logdet = self.mapped(only(x_or_z), c, rev)
        return (z,), logdet

    def output_dims(self, input_dims: list[tuple[int]]) -> list[tuple[int]]:
        return input_dims


class Coupling(Block):
    """Base of the one-sided blocks; subclasses give `per_column` numbers to each transformed column.

    Args:
        dims_in, dims_c: FrEIA's shapes, ``[(D,)]`` and ``[(C,)]`` or none.
        active: the T columns to transform; D - T > 0 others are passed on.
        hidden, dropout, batch_norm, leaky: of the sub-network (:func:`subnet`). zero_init: start as the identity.
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
        batch_norm: bool = False,
        leaky: bool = False,
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
        self.net = subnet(inputs, hidden, per_column * len(chosen), zero_init, dropout, batch_norm, leaky)
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

    def mapped(self, x: Tensor, c: Iterable[Tensor] | None, rev: bool) -> tuple[Tensor, Tensor]:
        return self.transform(x, self.numbers(x, c), rev)


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
        hidden: Sequence[int] = (256, 256),
        bins: int = 10,
        bounds: float = 10.0,
        min_bin: float = 1e-3,
        min_derivative: float = 1e-3,
        heat: float | None = None,
        backend: str = "auto",
        **rest: Any,
    ) -> None:
        spline = Spline(bounds, min_bin, min_derivative, _heat(heat, hidden))
        spline.bins(3 * bins - 1)
        super().__init__(dims_in, dims_c, per_column=3 * bins - 1, hidden=hidden, **rest)
        self.spline, self.backend = spline, backend

    def transform(self, x: Tensor, numbers: Tensor, rev: bool) -> tuple[Tensor, Tensor]:
        return couple(x, numbers, self.active, self.spline, rev, self.backend)

    def extra_repr(self) -> str:
        return f"columns={len(self.active)}, bins={(self.per_column + 1) // 3}, {self.spline}"


def _heat(heat: float | None, hidden: Sequence[int]) -> float:
    if heat is not None:
        return heat
    return 1 / math.sqrt(hidden[-1]) if len(hidden) else 1.0


class CubicCoupling(Coupling):
    """Monotonic cubic splines (:mod:`calopipe.models.splines.cubic`) with ``bins`` bins on [-bounds, bounds], the identity outside."""

    def __init__(
        self,
        dims_in: Iterable[tuple[int]],
        dims_c: Iterable[tuple[int]] | None = None,
        *,
        hidden: Sequence[int] = (256, 256),
        bins: int = 10,
        bounds: float = 10.0,
        min_bin: float = 1e-3,
        heat: float | None = None,
        **rest: Any,
    ) -> None:
        spline = Spline(bounds, min_bin, heat=_heat(heat, hidden))
        cubic.bins_of(2 * bins + 2, spline)
        super().__init__(dims_in, dims_c, per_column=2 * bins + 2, hidden=hidden, **rest)
        self.spline = spline

    def transform(self, x: Tensor, numbers: Tensor, rev: bool) -> tuple[Tensor, Tensor]:
        u, params = x.index_select(1, self.active), numbers.transpose(1, 2).to(x.dtype)
        y, log_slope = (cubic.inverse if rev else cubic.forward)(u, params, self.spline)
        return x.index_copy(1, self.active, y), log_slope.sum(1)

    def extra_repr(self) -> str:
        return f"columns={len(self.active)}, bins={(self.per_column - 2) // 2}, {self.spline}"


class ActNorm(Block):
    """y = x exp(scale) + shift in each column, set from the first data that it sees to zero mean and unit variance, then learned.

    Source: Kingma 2018 (Glow), section 3.1.
    """

    def __init__(self, dims_in: Iterable[tuple[int]], dims_c: Iterable[tuple[int]] | None = None) -> None:
        super().__init__(dims_in, dims_c)
        dim = self.dims_in[0][0]
        self.scale, self.shift = nn.Parameter(torch.zeros(dim)), nn.Parameter(torch.zeros(dim))

    @torch.no_grad()
    def fit(self, x: Tensor) -> None:
        """Start from data x (N, D)."""
        scale = -x.double().std(0).clamp(min=1e-6).log()
        self.scale.copy_(scale)
        self.shift.copy_(-x.double().mean(0) * scale.exp())

    def mapped(self, x: Tensor, c: Iterable[Tensor] | None, rev: bool) -> tuple[Tensor, Tensor]:
        scale, shift = self.scale.to(x.dtype), self.shift.to(x.dtype)
        logdet = scale.sum().expand(x.shape[0])
        return (x - shift) * (-scale).exp() if rev else x * scale.exp() + shift, -logdet if rev else logdet


class AffineCoupling(Coupling):
    """x exp(s) + t with s = clamp tanh(raw / clamp), so that scales stay within exp(-clamp) and exp(clamp)."""

    def __init__(
        self,
        dims_in: Iterable[tuple[int]],
        dims_c: Iterable[tuple[int]] | None = None,
        *,
        clamp: float = 2.0,
        **rest: Any,
    ) -> None:
        super().__init__(dims_in, dims_c, per_column=2, **rest)
        self.clamp = clamp

    def transform(self, x: Tensor, numbers: Tensor, rev: bool) -> tuple[Tensor, Tensor]:
        s, t = self.clamp * torch.tanh(numbers[:, 0] / self.clamp), numbers[:, 1]
        u = x.index_select(1, self.active)
        y = (u - t) * torch.exp(-s) if rev else u * torch.exp(s) + t
        return x.to(y.dtype).index_copy(1, self.active, y), (-s if rev else s).sum(1)


class CouplingFlow(SequenceINN):
    """A sequence of coupling blocks from x (N, dim) given cond (N, cond_dim) to z, standard normal once trained.

    Without gradients, rows are processed ``chunk`` at a time and carried in float64 between blocks (the sub-networks
    keep their own type), so that rounding does not build up from block to block; inverses of a few rows are compiled
    (:mod:`calopipe.models.flows.few_rows`). A float64 ``x`` is answered in float64, also when the weights are float32: this is
    the way to an inverse that is exact to about 1e-10.
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
        x, cond = only(x_or_z), None if c is None else only(c)
        self._check(x, cond)
        if torch.is_grad_enabled():
            return super().forward(x, [cond], rev, jac)
        if rev and (found := few_rows.inverse(self, x, cond)) is not None:
            return found
        wide = torch.float64 if x.device.type in ("cpu", "cuda") else x.dtype
        out, logdet = torch.empty_like(x), x.new_empty(x.shape[0])
        rows = self.chunk or self.rows(x.device.type)
        for i in range(0, x.shape[0], rows):
            part = None if cond is None else [cond[i : i + rows]]
            z, j = super().forward(x[i : i + rows].to(wide), part, rev, jac)
            out[i : i + rows], logdet[i : i + rows] = z, j
        return out, logdet

    @property
    def blocks(self) -> list[Coupling]:
        """The coupling blocks, without what stands between them."""
        return [block for block in self if isinstance(block, Coupling)]

    @torch.no_grad()
    def fit(self, x: Tensor, cond: Tensor | None = None) -> None:
        """Start the ActNorms from data x (N, dim), in order; of large data some thousand rows."""
        if not any(isinstance(module, ActNorm) for module in self):
            return
        x, cond = x[:_FIT_ROWS], None if cond is None else cond[:_FIT_ROWS]
        mode = self.training
        self.eval()  # without dropout, and without touching the statistics of a batch normalisation
        for module, condition in zip(self.module_list, self.conditions, strict=True):
            if isinstance(module, ActNorm):
                module.fit(x)
            (x,), _ = module((x,), None if condition is None else (cond,))
        self.train(mode)

    def inverse(self, z: Tensor, cond: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """x (N, dim) and log|det dx/dz| (N,) of z (N, dim)."""
        return self(z, cond, rev=True)

    def log_prob(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        """log p(x | cond) in nats (N,), for a standard normal z."""
        z, logdet = self(x, cond)
        return logdet - 0.5 * z.square().sum(1) - 0.5 * self.dim * math.log(2 * math.pi)

    def rows(self, device: str) -> int:
        """Rows at once without gradients, where ``chunk`` is not given."""
        widest = max((block.per_column * len(block.active) for block in self.blocks), default=1)
        return flow_rows(widest, device)

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
    kind: Literal["rqs", "cubic", "affine"] = "rqs",
    seed: int = 0,
    masks: Literal["random", "alternate", "pairs", "lattice"] = "random",
    heat: float | None = None,
    backend: str = "auto",
    chunk: int | None = None,
    zero_init: bool = True,
    dropout: float = 0.0,
    actnorm: bool = False,
    batch_norm: bool = False,
    leaky: bool = False,
    shapes: Sequence[tuple[int, int]] = (),
    neighbours: int = 32,
) -> CouplingFlow:
    """A flow of ``blocks`` one-sided coupling blocks.

    seed: of the choice of columns (weights come from torch's generator). chunk: rows at a time without gradients, by
    default as many as keep the sub-networks' outputs in cache. heat: see `RQSCoupling`. zero_init False: last layers as
    nn.Linear starts them. dropout, batch_norm, leaky: of the sub-networks. actnorm: one before each block but the first. shapes, neighbours: for masks
    "lattice", cells of the layers whose voxels are the first columns, and the width of the networks that see neighbours.
    Raises ValueError on unknown kinds or masks.
    """
    flow = CouplingFlow(dim, cond_dim, chunk)
    spline: dict[str, Any] = {"bins": bins, "bounds": bounds, "heat": heat}
    kinds: dict[str, tuple[type[Coupling], dict[str, Any]]] = {
        "rqs": (RQSCoupling, {**spline, "backend": backend}), "cubic": (CubicCoupling, spline), "affine": (AffineCoupling, {}),
    }  # fmt: skip
    if kind not in kinds:
        raise ValueError(f"kind must be one of {', '.join(kinds)}, found {kind!r}")
    block, own = kinds[kind]
    nets = {"hidden": hidden, "zero_init": zero_init, "dropout": dropout, "batch_norm": batch_norm, "leaky": leaky}
    given = {"cond": 0, "cond_shape": (cond_dim,)} if cond_dim else {}
    for i, (active, lattice) in enumerate(blocks_columns(dim, blocks, masks, seed, shapes, neighbours)):
        if actnorm and i:
            flow.append(ActNorm)
        flow.append(block, active=active, lattice=lattice, **own, **nets, **given)
    return flow
