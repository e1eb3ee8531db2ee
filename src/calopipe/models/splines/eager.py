"""Monotonic rational-quadratic splines in plain PyTorch: any device, any float type, differentiable to any order.

Source: Durkan et al., "Neural Spline Flows", arXiv:1906.04032, equations 4 to 8 and appendix A. This is the reference
that the compiled path (:mod:`calopipe.models.splines.compiled`) is tested against; both compute the same function.

Per element there are 3K - 1 logits: K widths, K heights, K - 1 derivatives at the inner knots. Outside [-B, B] the
map is the identity (linear tails of slope 1). Derivative logits are shifted so that logits of zero give slope 1: zero
logits are the identity map. Knots end exactly on B. Both directions build their knots by the same operations, and the
inverse takes the root of the quadratic that does not cancel, so no finite input gives NaN or an exception.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad, softplus

MAX_SLOPE = 1e5  # slopes at knots are capped here, so that their squares stay finite in float32


@dataclass(frozen=True)
class Spline:
    """Domain and regularity of a spline.

    bounds: half width B of the spline's domain (and codomain), in units of the data.
    min_bin: smallest width and height of a bin, as a fraction of 2B; min_derivative: smallest slope at a knot.
    heat: factor on width and height logits (the paper's own code uses 1/sqrt(width of the last hidden layer)).
    """

    bounds: float = 10.0
    min_bin: float = 1e-3
    min_derivative: float = 1e-3
    heat: float = 1.0

    def __post_init__(self) -> None:
        if not (self.bounds > 0 and math.isfinite(self.bounds)):
            raise ValueError(f"bounds must be positive and finite, found {self.bounds}")
        if not 0 < self.min_bin < 1:
            raise ValueError(f"min_bin must lie in (0, 1), found {self.min_bin}")
        if not self.heat > 0:
            raise ValueError(f"heat must be positive, found {self.heat}")
        if not 0 < self.min_derivative < 1:
            raise ValueError(f"min_derivative must lie in (0, 1), found {self.min_derivative}")

    @property
    def shift(self) -> float:
        """What is added to a derivative logit, so that a logit of zero gives slope 1."""
        return math.log(math.expm1(1.0 - self.min_derivative))

    def bins(self, logits: int) -> int:
        """Number of bins K for a last dimension of 3K - 1; raises ValueError when it does not fit."""
        bins = (logits + 1) // 3
        if logits != 3 * bins - 1 or bins < 1 or bins * self.min_bin >= 1:
            raise ValueError(f"{logits} logits per element are not 3K - 1 with K < 1 / min_bin = {1 / self.min_bin:g}")
        return bins


def knots(logits: Tensor, spline: Spline) -> Tensor:
    """(..., K) logits to (..., K + 1) increasing knots from -B to B exactly."""
    bins = logits.shape[-1]
    scaled = logits if spline.heat == 1 else spline.heat * logits
    share = spline.min_bin + (1 - bins * spline.min_bin) * torch.softmax(scaled, -1)
    inner = torch.cumsum(2 * spline.bounds * share[..., :-1], -1) - spline.bounds
    return pad(pad(inner, (1, 0), value=-spline.bounds), (0, 1), value=spline.bounds)


def take(values: Tensor, index: Tensor) -> Tensor:
    """values (..., K) at index (...)."""
    return values.gather(-1, index.unsqueeze(-1)).squeeze(-1)


def _select(x: Tensor, params: Tensor, spline: Spline, inverse: bool) -> tuple[Tensor, ...]:
    """Left knot and size of the bin in x and y, and the slopes at its ends, each of the shape of ``x``."""
    bins = spline.bins(params.shape[-1])
    x_knots, y_knots = knots(params[..., :bins], spline), knots(params[..., bins : 2 * bins], spline)
    by = y_knots if inverse else x_knots
    b = (x.unsqueeze(-1) >= by[..., 1:-1]).sum(-1)
    raw = pad(params[..., 2 * bins :], (1, 1))
    ends = []
    for side in (0, 1):
        slope = (spline.min_derivative + softplus(take(raw, b + side) + spline.shift)).clamp(max=MAX_SLOPE)
        ends.append(torch.where(b == (bins - 1) * side, torch.ones_like(slope), slope))
    x_low, y_low = take(x_knots, b), take(y_knots, b)
    return x_low, take(x_knots, b + 1) - x_low, y_low, take(y_knots, b + 1) - y_low, ends[0], ends[1]


def _log_slope(xi: Tensor, s: Tensor, d0: Tensor, d1: Tensor) -> Tensor:
    """log dy/dx at the relative position ``xi`` in the bin (eq. 5)."""
    t = xi * (1 - xi)
    top = d1 * xi.square() + 2 * s * t + d0 * (1 - xi).square()
    return 2 * s.log() + top.log() - 2 * (s + (d0 + d1 - 2 * s) * t).log()


def forward(
    x: Tensor,
    params: Tensor,
    bounds: float = 10.0,
    min_bin: float = 1e-3,
    min_derivative: float = 1e-3,
    heat: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """y and log|dy/dx|, each (...), of x (...) under splines with logits ``params`` (..., 3K-1).

    Raises ValueError when the last dimension of ``params`` is not 3K - 1. Differentiable for both arguments.
    """
    spline = Spline(bounds, min_bin, min_derivative, heat)
    inside = x.abs() <= bounds
    u = torch.where(inside, x, torch.zeros_like(x))
    x_low, w, y_low, h, d0, d1 = _select(u, params, spline, False)
    s, xi = h / w, (u - x_low) / w
    t = xi * (1 - xi)
    y = y_low + h * (s * xi.square() + d0 * t) / (s + (d0 + d1 - 2 * s) * t)
    return torch.where(inside, y, x), torch.where(inside, _log_slope(xi, s, d0, d1), torch.zeros_like(xi))


def inverse(
    y: Tensor,
    params: Tensor,
    bounds: float = 10.0,
    min_bin: float = 1e-3,
    min_derivative: float = 1e-3,
    heat: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """x and log|dx/dy|, each (...), of y (...): the inverse of :func:`forward` with the same ``params``."""
    spline = Spline(bounds, min_bin, min_derivative, heat)
    inside = y.abs() <= bounds
    u = torch.where(inside, y, torch.zeros_like(y))
    x_low, w, y_low, h, d0, d1 = _select(u, params, spline, True)
    s, v = h / w, u - y_low
    delta = d0 + d1 - 2 * s
    b = h * d0 - v * delta
    disc = b.square() + 4 * (h * (s - d0) + v * delta) * s * v
    tiny = torch.finfo(disc.dtype).tiny
    xi = (2 * s * v / (b + disc.clamp(min=tiny).sqrt())).clamp(0, 1)
    return torch.where(inside, x_low + xi * w, y), torch.where(inside, -_log_slope(xi, s, d0, d1), torch.zeros_like(xi))
