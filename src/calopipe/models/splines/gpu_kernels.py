"""Triton kernels of the rational-quadratic spline for GPUs: forward, inverse and gradient, one thread for each element.

The arithmetic is that of :mod:`calopipe.models.splines.kernels`, in the same precision: softmax and knots in the type of the
logits, everything local to the selected bin in float64. The logits of a bin are read where they lie, (N, 3K-1, T) with the T
transformed dimensions fastest, so that neighbouring threads read neighbouring numbers; nothing but y and log dy/dx is
written. Both directions build their knots by the same operations, without fused multiply-adds that a compiler could place
differently in each. Triton comes with PyTorch's builds for CUDA; importing this module without it raises ImportError.

Source: Durkan et al., "Neural Spline Flows", arXiv:1906.04032, section 3.1 and appendix A.
"""

from __future__ import annotations

import contextlib
import weakref

import numpy as np
import torch
import triton
import triton.language as tl

from calopipe.models.splines.eager import MAX_SLOPE

BLOCK, WARPS = 128, 4
_CAP = tl.constexpr(MAX_SLOPE)
#: columns that were checked already: reading them back for each call would make the GPU wait
_checked: weakref.WeakValueDictionary[int, torch.Tensor] = weakref.WeakValueDictionary()


@triton.jit
def _softmax_scale(at, T, inside, K: tl.constexpr, heat):
    """Largest of K logits from ``at`` on, T apart, and 1 / the sum of exp(heat (logit - largest))."""
    largest = tl.load(at, mask=inside, other=0.0)
    for k in tl.static_range(1, K):
        largest = tl.maximum(largest, tl.load(at + k * T, mask=inside, other=0.0))
    total = largest * 0.0
    for k in tl.static_range(K):
        total += tl.exp(heat * (tl.load(at + k * T, mask=inside, other=0.0) - largest))
    return largest, 1.0 / total


@triton.jit
def _walk(at, T, inside, K: tl.constexpr, largest, scale, bound, step, rest, heat, value, chosen, FIND: tl.constexpr):
    """The bin with its lower and upper knot: that of ``value`` (FIND), or number ``bin``."""
    left = -bound
    low, high = left, left
    for k in tl.static_range(K):
        if k == K - 1:
            right = bound
        else:
            size = tl.exp(heat * (tl.load(at + k * T, mask=inside, other=0.0) - largest)) * scale
            right = left + (step + rest * size)
        if FIND:
            here = (value >= left) | (k == 0)
            chosen = tl.where(here, k, chosen)
        else:
            here = chosen == k
        low, high = tl.where(here, left, low), tl.where(here, right, high)
        left = right
    return chosen, low, high


@triton.jit
def _end_slope(at, T, inside, chosen, edge, last, shift, least, F: tl.constexpr):
    """Slope at one end of the bin, and its gradient with respect to the logit: 1 and 0 at the spline's edge."""
    at_edge = chosen == last
    v = tl.load(at + edge.to(tl.int64) * T, mask=inside & (at_edge == 0), other=0.0) + shift
    e = tl.exp(-tl.abs(v))
    inverse = 1.0 / (1.0 + e)
    soft = tl.where(v < 0, 0.0, v) + tl.log(1.0 + e)
    grad = tl.where(soft < _CAP, tl.where(v > 0, inverse, e * inverse), 0.0)
    slope = tl.where(at_edge, 1.0, least + tl.where(soft > _CAP, _CAP, soft)).to(F)
    return slope.to(tl.float64), tl.where(at_edge, 0.0, grad).to(F)


@triton.jit
def _bin(at, T, inside, x, K: tl.constexpr, constants, F: tl.constexpr, INVERSE: tl.constexpr):
    """Everything up to the selected bin of x (float64, within the bounds), or of y for the inverse."""
    zero = x.to(F) * 0.0
    bound, min_bin, heat = zero + tl.load(constants).to(F), tl.load(constants + 1), zero + tl.load(constants + 4).to(F)
    wide = tl.load(constants)
    step, rest = zero + (2 * wide * min_bin).to(F), zero + (2 * wide * (1 - K * min_bin)).to(F)
    w_max, w_scale = _softmax_scale(at, T, inside, K, heat)
    h_max, h_scale = _softmax_scale(at + K * T, T, inside, K, heat)
    none = (zero).to(tl.int32)
    value = x.to(F)
    if INVERSE:
        chosen, y_low, y_high = _walk(
            at + K * T, T, inside, K, h_max, h_scale, bound, step, rest, heat, value, none, True
        )
        chosen, x_low, x_high = _walk(at, T, inside, K, w_max, w_scale, bound, step, rest, heat, value, chosen, False)
    else:
        chosen, x_low, x_high = _walk(at, T, inside, K, w_max, w_scale, bound, step, rest, heat, value, none, True)
        chosen, y_low, y_high = _walk(
            at + K * T, T, inside, K, h_max, h_scale, bound, step, rest, heat, value, chosen, False
        )
    least, shift = tl.load(constants + 2).to(F), tl.load(constants + 3).to(F)
    ends = at + 2 * K * T
    d0, g0 = _end_slope(ends, T, inside, chosen, chosen - 1, 0, shift, least, F)
    d1, g1 = _end_slope(ends, T, inside, chosen, chosen, K - 1, shift, least, F)
    x_low, y_low = x_low.to(tl.float64), y_low.to(tl.float64)
    w, h = x_high.to(tl.float64) - x_low, y_high.to(tl.float64) - y_low
    return chosen, x_low, w, y_low, h, d0, d1, g0, g1, w_max, w_scale, h_max, h_scale


@triton.jit
def _element(active, count, D, T, BLOCK: tl.constexpr):
    """Row, transformed dimension, place in (N, D) and whether there is such an element, of each thread."""
    e = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = e < count
    row = e // T
    column = e - row * T
    place = row * D + tl.load(active + column, mask=inside, other=0)
    return e, row, column, place, inside


@triton.jit
def _argument(at, inside, constants):
    """The argument of the spline as it is, and within the bounds, and where it is not within them, as NaN never is."""
    raw, bound = tl.load(at, mask=inside, other=0.0).to(tl.float64), tl.load(constants)
    return raw, tl.minimum(tl.where(raw > -bound, raw, -bound), bound), (tl.abs(raw) <= bound) == 0


@triton.jit(do_not_specialize=["count", "D", "T"])
def _transform(
    x_ptr, logits, active, constants, result, log_slopes, count, D, T,
    K: tl.constexpr, F: tl.constexpr, INVERSE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    e, row, column, place, inside = _element(active, count, D, T, BLOCK)
    raw, x, outside = _argument(x_ptr + place, inside, constants)
    at = logits + row * (3 * K - 1) * T + column
    _, x_low, w, y_low, h, d0, d1, _, _, _, _, _, _ = _bin(at, T, inside, x, K, constants, F, INVERSE)
    s = h / w
    delta = d0 + d1 - 2.0 * s
    if INVERSE:
        y = x - y_low
        b = h * d0 - y * delta
        disc = b * b + 4.0 * (h * (s - d0) + y * delta) * s * y
        xi = 2.0 * s * y / (b + tl.sqrt(tl.where(disc > 0.0, disc, 0.0)))
    else:
        xi = (x - x_low) / w
    om = 1.0 - xi
    t = xi * om
    q = 1.0 / (s + delta * t)
    slope = s * s * (d1 * xi * xi + 2.0 * s * t + d0 * om * om) * (q * q)
    log_slope = tl.log(tl.where(outside, 1.0, slope).to(F))
    if INVERSE:
        out, log_slope = x_low + xi * w, -log_slope
    else:
        out = y_low + h * (s * xi * xi + d0 * t) * q
    tl.store(result + place, tl.where(outside, raw, out), mask=inside)
    tl.store(log_slopes + e, log_slope, mask=inside)


@triton.jit
def _softmax_gradient(at, out, T, inside, chosen, low, size, g_low, g_size, largest, scale, K: tl.constexpr, constants, F: tl.constexpr):  # fmt: skip
    """Gradient of K logits from that of the lower knot and the size of the bin."""
    bound, min_bin, heat = tl.load(constants), tl.load(constants + 1), tl.load(constants + 4)
    step, rest = 2 * bound * min_bin, 2 * bound * (1 - K * min_bin)
    below = low + bound - step * chosen.to(tl.float64)
    mean = ((below * g_low + (size - step) * g_size) / rest).to(F)
    g_low, g_size = g_low.to(F), g_size.to(F)
    factor, warm = scale * (rest * heat).to(F), heat.to(F)
    for k in tl.static_range(K):
        g = tl.where(k < chosen, g_low, tl.where(k == chosen, g_size, g_low * 0.0))
        e = tl.exp(warm * (tl.load(at + k * T, mask=inside, other=0.0) - largest))
        tl.store(out + k * T, e * factor * (g - mean), mask=inside)


@triton.jit(do_not_specialize=["count", "D", "T"])
def _differentiate(
    x_ptr, logits, active, constants, result, g_logdet, g_logits, count, D, T,
    K: tl.constexpr, F: tl.constexpr, INVERSE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Gradients at x (for the inverse: of the inverse map, at the x that it gave); ``result`` holds that of y and becomes that of x."""
    _, row, column, place, inside = _element(active, count, D, T, BLOCK)
    _, x, outside = _argument(x_ptr + place, inside, constants)
    first = row * (3 * K - 1) * T + column
    chosen, x_low, w, y_low, h, d0, d1, v0, v1, w_max, w_scale, h_max, h_scale = _bin(
        logits + first, T, inside, x, K, constants, F, False
    )
    rw = 1.0 / w
    s, xi = h * rw, (x - x_low) * rw
    om = 1.0 - xi
    t, turn, delta = xi * om, 1.0 - 2.0 * xi, d0 + d1 - 2.0 * s
    num, p, rq = s * xi * xi + d0 * t, d1 * xi * xi + 2.0 * s * t + d0 * om * om, 1.0 / (s + delta * t)
    y, rp, slope = num * rq, 1.0 / p, s * s * p * rq * rq
    log_xi = 2.0 * ((d1 * xi + s * turn - d0 * om) * rp - delta * turn * rq)
    g_out = tl.load(result + place, mask=inside, other=0.0).to(tl.float64)
    gy, gl = g_out, tl.load(g_logdet + row, mask=inside, other=0.0)
    if INVERSE:  # dx = (dy - y_theta dtheta) / slope, and the log-determinant is that of the forward map, negated
        gy, gl = (gl * log_xi * rw - gy) / slope, -gl
    g_xi = gy * w * slope + gl * log_xi
    g_s = gy * h * (xi * xi - y * (1.0 - 2.0 * t)) * rq + 2.0 * gl * (1.0 / s + t * rp - (1.0 - 2.0 * t) * rq)
    gx = -gy if INVERSE else g_xi * rw
    tl.store(result + place, tl.where(outside, g_out, gx), mask=inside)
    g0 = v0 * tl.where(outside, 0.0, gy * h * t * (1.0 - y) * rq + gl * (om * om * rp - 2.0 * t * rq)).to(F)
    g1 = v1 * tl.where(outside, 0.0, gl * (xi * xi * rp - 2.0 * t * rq) - gy * h * t * y * rq).to(F)
    gw, gh = tl.where(outside, 0.0, -(g_s * s + g_xi * xi) * rw), tl.where(outside, 0.0, gy * y + g_s * rw)
    gxl, gyl = tl.where(outside, 0.0, -g_xi * rw), tl.where(outside, 0.0, gy)
    at, out = logits + first, g_logits + first
    _softmax_gradient(at, out, T, inside, chosen, x_low, w, gxl, gw, w_max, w_scale, K, constants, F)
    _softmax_gradient(at + K * T, out + K * T, T, inside, chosen, y_low, h, gyl, gh, h_max, h_scale, K, constants, F)
    for k in tl.static_range(K - 1):
        tl.store(out + (2 * K + k) * T, tl.where(chosen == k + 1, g0, tl.where(chosen == k, g1, g0 * 0.0)), mask=inside)


def run_job(
    x: torch.Tensor,
    params: torch.Tensor,
    active: torch.Tensor,
    result: torch.Tensor,
    logdet: torch.Tensor,
    constants: np.ndarray,
    *,
    inverse: bool,
    gradient: tuple[torch.Tensor, torch.Tensor] | None = None,
) -> None:
    """As :func:`calopipe.models.splines.jobs.run_job`, for tensors of one GPU."""
    (n, dim), (_, logits, transformed) = x.shape, params.shape
    if n == 0 or transformed == 0:
        raise ValueError("run_job needs at least one row and one transformed dimension")
    _check(active, dim)
    count = n * transformed
    numbers = _on(constants.tobytes(), x.device)
    kind = tl.float32 if params.dtype == torch.float32 else tl.float64
    sizes = {"K": (logits + 1) // 3, "F": kind, "INVERSE": inverse, "BLOCK": BLOCK}
    options = {"num_warps": WARPS, "enable_fp_fusion": False}
    grid = (triton.cdiv(count, BLOCK),)
    with torch.cuda.device(x.device) if x.is_cuda else contextlib.nullcontext():
        if gradient is None:
            result.copy_(x)
            log_slopes = params.new_empty(n, transformed)
            _transform[grid](
                x, params, active, numbers, result, log_slopes, count, dim, transformed, **sizes, **options
            )
            logdet += log_slopes.sum(1, dtype=torch.float64)
        else:
            gz, gparams = gradient
            result.copy_(gz)
            _differentiate[grid](
                x, params, active, numbers, result, logdet, gparams, count, dim, transformed, **sizes, **options
            )


_constants: dict[tuple[bytes, torch.device], torch.Tensor] = {}


def _on(constants: bytes, device: torch.device) -> torch.Tensor:
    """The spline's constants as a float64 tensor on a device, copied there once: a kernel's own arguments are float32."""
    key = constants, device
    if key not in _constants:
        _constants[key] = torch.frombuffer(bytearray(constants), dtype=torch.float64).to(device)
    return _constants[key]


def _check(active: torch.Tensor, dim: int) -> None:
    """Raise IndexError on columns that x does not have."""
    if _checked.get(id(active)) is active:
        return
    low, high = active.aminmax()
    if active.dtype != torch.int64 or int(low) < 0 or int(high) >= dim:
        raise IndexError(f"columns to transform must be int64 from 0 to {dim - 1}, found {int(low)} to {int(high)}")
    _checked[id(active)] = active
