"""Monotonic cubic splines in plain PyTorch, with knots as in :mod:`calopipe.models.splines.eager` and slopes after Steffen.

Sources: Durkan et al., arXiv:1906.02145; Steffen 1990; Ernst 2023, section 3.3.5. Per element there are 2K + 2 logits: K
widths, K heights, and the slopes at the two ends, each a sigmoid times three times the slope of its bin. Slopes at inner
knots are min(p, 2 min(s, s')), s and s' those of the bins on either side and p that of the parabola through the three knots,
so that the curve is monotonic. Outside [-B, B] the map is the identity. Logits of zero are the identity everywhere.

The inverse is found by Newton steps inside a bracket, which never leaves it, in float64: for a curve that rises it cannot
fail, where the closed form loses the root among rounding when leading coefficients are small.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from calopipe.models.splines.eager import Spline, knots, take

_STEPS = 60
#: smallest and largest share of three times a bin's slope at the ends
_SHARE = 1e-3


def bins_of(logits: int, spline: Spline) -> int:
    """Number of bins K for a last dimension of 2K + 2. Raises ValueError when it does not fit."""
    bins = (logits - 2) // 2
    if logits != 2 * bins + 2 or bins < 1 or bins * spline.min_bin >= 1:
        raise ValueError(f"{logits} logits per element are not 2K + 2 with K < 1 / min_bin = {1 / spline.min_bin:g}")
    return bins


def slopes_at_knots(widths: Tensor, slopes: Tensor, ends: Tensor) -> Tensor:
    """(..., K + 1) slopes at knots, of widths and slopes of the bins (..., K) and logits of the ends (..., 2)."""
    w, v, s, t = widths[..., :-1], widths[..., 1:], slopes[..., :-1], slopes[..., 1:]
    parabola = (s * v + t * w) / (w + v)
    inner = torch.minimum(parabola, 2 * torch.minimum(s, t))
    share = _SHARE + (1 - 2 * _SHARE) * torch.sigmoid(ends + _SHIFT)
    outer = 3 * share * torch.stack([slopes[..., 0], slopes[..., -1]], dim=-1)
    return torch.cat([outer[..., :1], inner, outer[..., 1:]], dim=-1)


#: what makes a logit of zero the slope of its bin
_SHIFT = math.log((1 / 3 - _SHARE) / (1 - 2 * _SHARE)) - math.log1p(-(1 / 3 - _SHARE) / (1 - 2 * _SHARE))


def _select(x: Tensor, params: Tensor, spline: Spline, inverse: bool) -> tuple[Tensor, ...]:
    """Left knot and size of the bin in x and y, and the coefficients of its cubic: y = y_low + h (a r^3 + b r^2 + c r)."""
    bins = bins_of(params.shape[-1], spline)
    x_knots, y_knots = knots(params[..., :bins], spline), knots(params[..., bins : 2 * bins], spline)
    widths, heights = x_knots.diff(dim=-1), y_knots.diff(dim=-1)
    slopes = heights / widths
    ends = slopes_at_knots(widths, slopes, params[..., 2 * bins :])
    i = (x.unsqueeze(-1) >= (y_knots if inverse else x_knots)[..., 1:-1]).sum(-1)
    w, h, s = take(widths, i), take(heights, i), take(slopes, i)
    first, last = take(ends, i) / s, take(ends, i + 1) / s  # of r = (x - x_low) / w, in units of h
    return take(x_knots, i), w, take(y_knots, i), h, first + last - 2, 3 - 2 * first - last, first


def forward(x: Tensor, params: Tensor, spline: Spline) -> tuple[Tensor, Tensor]:
    """y and log|dy/dx|, each (...), of x (...) under splines with logits ``params`` (..., 2K + 2)."""
    inside = x.abs() <= spline.bounds
    x_low, w, y_low, h, a, b, c = _select(torch.where(inside, x, torch.zeros_like(x)), params, spline, False)
    r = ((x - x_low) / w).clamp(0, 1)
    y = y_low + h * r * (c + r * (b + r * a))
    return torch.where(inside, y, x), torch.where(inside, _log_slope(r, w, h, a, b, c), torch.zeros_like(x))


def inverse(y: Tensor, params: Tensor, spline: Spline) -> tuple[Tensor, Tensor]:
    """x and log|dx/dy|, each (...), of y (...): the inverse of :func:`forward` with the same ``params``.

    Knots and slopes are those of :func:`forward`, in the type of ``params``; the root is found in float64.
    """
    inside = y.abs() <= spline.bounds
    chosen = _select(torch.where(inside, y, torch.zeros_like(y)), params, spline, True)
    x_low, w, y_low, h, a, b, c = (part.double() for part in chosen)
    value = ((y.double() - y_low) / h).clamp(0, 1)
    with torch.no_grad():
        r = _root(value, a, b, c)
    left = r * (c + r * (b + r * a)) - value
    r = (r - left / (c + r * (2 * b + 3 * a * r))).clamp(0, 1)  # one step with gradients: those of the root
    x = torch.where(inside, (x_low + w * r).to(y.dtype), y)
    return x, torch.where(inside, -_log_slope(r, w, h, a, b, c).to(y.dtype), torch.zeros_like(y))


def _log_slope(r: Tensor, w: Tensor, h: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    return (c + r * (2 * b + 3 * a * r)).clamp(min=1e-12).log() + (h / w).log()


def _root(value: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """r in [0, 1] with a r^3 + b r^2 + c r = value, for curves that rise from 0 to 1."""
    low, high, r = torch.zeros_like(value), torch.ones_like(value), value.clone()
    for _ in range(_STEPS):
        left = r * (c + r * (b + r * a)) - value
        low, high = torch.where(left <= 0, r, low), torch.where(left >= 0, r, high)
        step = r - left / (c + r * (2 * b + 3 * a * r)).clamp(min=1e-300)
        new = torch.where((step >= low) & (step <= high), step, 0.5 * (low + high))
        done = bool(((new - r).abs() <= 1e-15).all())
        r = new
        if done:
            break
    return r
