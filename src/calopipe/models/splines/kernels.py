"""numba kernels of the rational-quadratic spline: forward, inverse and gradient, each in one pass over the rows.

Source: Durkan et al., "Neural Spline Flows", arXiv:1906.04032, section 3.1 and appendix A.

Layout. ``params`` is (N, 3K-1, T): for each row K width logits, K height logits and K-1 derivative logits, the T
transformed dimensions fastest. Neighbouring lanes of a vector register then hold neighbouring dimensions, and every
loop below is a plain loop over ``LANES`` independent elements that LLVM turns into vector code. Elements are
processed in tiles of ``LANES`` that fit the first-level cache, whatever T is (a tile may span rows).

Precision. Softmax and knots are computed in the type of ``params``, by the same instructions in both directions, so
the knots of an inverse are bit for bit those of the forward pass; everything local to the selected bin is float64.
Exponential, logarithm and selection are those of :mod:`calopipe.models.splines.lanes`.

Nothing here raises, whatever the numbers are. The compiled entry points are in :mod:`calopipe.models.splines.jobs`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from calopipe.models.splines.lanes import exp, log, real, where

LANES = 64
MAX_LOGIT = 1e5  # derivative logits are capped here: squares of slopes stay finite in float32
_OPT: dict[str, Any] = {"error_model": "numpy", "nogil": True}

# Where the rows of the two scratch arrays start, LANES wide each. F has the type of the logits, A is float64.
_MAX, _SW, _SH, _BIN, _V0, _V1, _XF, _LOG, _LOGIT = (LANES * row for row in range(9))
_X, _RAW, _XL, _W, _YL, _H, _D0, _D1, _OUT, _SLOPE, _GY, _GL, _GXL, _GW, _GYL, _GH, _GD0, _GD1 = (
    LANES * row for row in range(18)
)
ROWS_F, ROWS_A = 8, 18  # F has 5K + 2 further rows: 3K for logits, 2K + 2 for knots


@njit(**_OPT)
def load(F, params, row, first, count, K, T):
    """Copy the logits of ``count`` elements, from dimension ``first`` of ``row`` on, into the tile."""
    i = 0
    while i < count:
        size = min(count - i, T - first)
        for j in range(3 * K - 1):
            src, dst = (row * (3 * K - 1) + j) * T + first, _LOGIT + j * LANES + i
            for q in range(size):
                F[dst + q] = params[src + q]
        i, row, first = i + size, row + 1, 0


@njit(**_OPT)
def _store(F, params, row, first, count, K, T):
    """The reverse of `load`."""
    i = 0
    while i < count:
        size = min(count - i, T - first)
        for j in range(3 * K - 1):
            dst, src = (row * (3 * K - 1) + j) * T + first, _LOGIT + j * LANES + i
            for q in range(size):
                params[dst + q] = F[src + q]
        i, row, first = i + size, row + 1, 0


@njit(**_OPT)
def _knots(n, F, logit, scale, knot, K, bound, min_bin, heat):
    """Softmax of K rows from ``logit`` (left unnormalised, 1/sum in row ``scale``) and the K + 1 knots at ``knot``."""
    warm, low = real(F, heat), real(F, -bound)
    step, rest = real(F, 2 * bound * min_bin), real(F, 2 * bound * (1 - K * min_bin))
    for i in range(n):
        F[_MAX + i] = F[logit + i]
        F[scale + i] = real(F, 0)
        F[knot + i] = low
    for k in range(1, K):
        for i in range(n):
            a, b = F[_MAX + i], F[logit + k * LANES + i]
            F[_MAX + i] = where(a > b, a, b)
    for k in range(K):
        for i in range(n):
            e = exp(warm * (F[logit + k * LANES + i] - F[_MAX + i]))
            F[logit + k * LANES + i] = e
            F[scale + i] += e
    for i in range(n):
        F[scale + i] = real(F, 1) / F[scale + i]
    for k in range(K - 1):
        for i in range(n):
            size = step + rest * (F[logit + k * LANES + i] * F[scale + i])
            F[knot + (k + 1) * LANES + i] = F[knot + k * LANES + i] + size
    for i in range(n):
        F[knot + K * LANES + i] = real(F, bound)


@njit(**_OPT)
def _select(n, F, A, K, by):
    """Find each element's bin by the knots at ``by`` and copy what is needed of it to A (float64)."""
    one, zero = real(F, 1), real(F, 0)
    for i in range(n):
        F[_BIN + i] = zero
    for k in range(1, K):
        for i in range(n):
            F[_BIN + i] += where(F[_XF + i] >= F[by + k * LANES + i], one, zero)
    x_knot, y_knot = _LOGIT + 3 * K * LANES, _LOGIT + (4 * K + 1) * LANES
    for i in range(n):
        b = int(F[_BIN + i])
        at = x_knot + b * LANES + i
        A[_XL + i] = F[at]
        A[_W + i] = np.float64(F[at + LANES]) - np.float64(F[at])
        at = y_knot + b * LANES + i
        A[_YL + i] = F[at]
        A[_H + i] = np.float64(F[at + LANES]) - np.float64(F[at])
        at = _LOGIT + (2 * K + b) * LANES + i
        F[_V0 + i] = F[at - LANES]
        F[_V1 + i] = F[at]


@njit(**_OPT)
def _derivatives(n, F, A, K, min_derivative, shift):
    """Slopes at both ends of the bin; V0 and V1 become their gradient with respect to the logit."""
    one, zero, cap, last = real(F, 1), real(F, 0), real(F, MAX_LOGIT), real(F, K - 1)
    low, move = real(F, min_derivative), real(F, shift)
    for side in range(2):
        edge = last if side else zero
        for i in range(n):
            v = F[_V0 + side * LANES + i] + move
            e = exp(-abs(v))
            inverse = one / (one + e)
            soft = where(v < zero, zero, v) + log(one + e)
            grad = where(soft < cap, where(v > zero, inverse, e * inverse), zero)
            at_edge = F[_BIN + i] == edge
            A[_D0 + side * LANES + i] = np.float64(where(at_edge, one, low + where(soft > cap, cap, soft)))
            F[_V0 + side * LANES + i] = where(at_edge, zero, grad)


@njit(**_OPT)
def _prepare(n, F, A, K, con, inverse):
    """Everything up to the selected bin: knots, bin, slopes. A[_RAW] holds x, or y for the inverse."""
    x_knot, y_knot = _LOGIT + 3 * K * LANES, _LOGIT + (4 * K + 1) * LANES
    _knots(n, F, _LOGIT, _SW, x_knot, K, con[0], con[1], con[4])
    _knots(n, F, _LOGIT + K * LANES, _SH, y_knot, K, con[0], con[1], con[4])
    bound = con[0]
    for i in range(n):
        x = A[_RAW + i]
        x = where(x > -bound, x, -bound)
        x = where(x < bound, x, bound)
        A[_X + i] = x
        F[_XF + i] = real(F, x)
    _select(n, F, A, K, y_knot if inverse else x_knot)
    _derivatives(n, F, A, K, con[2], con[3])


@njit(**_OPT)
def _forward(n, A):
    """y and dy/dx at x inside the selected bin (eq. 4 and 5 of the paper)."""
    for i in range(n):
        w, h, d0, d1 = A[_W + i], A[_H + i], A[_D0 + i], A[_D1 + i]
        s, xi = h / w, (A[_X + i] - A[_XL + i]) / w
        om = 1.0 - xi
        t = xi * om
        q = 1.0 / (s + (d0 + d1 - 2.0 * s) * t)
        A[_OUT + i] = A[_YL + i] + h * (s * xi * xi + d0 * t) * q
        A[_SLOPE + i] = s * s * (d1 * xi * xi + 2.0 * s * t + d0 * om * om) * (q * q)


@njit(**_OPT)
def _inverse(n, A):
    """x at y inside the selected bin, by the root that does not cancel (eq. 6 to 8), and dy/dx there."""
    for i in range(n):
        w, h, d0, d1 = A[_W + i], A[_H + i], A[_D0 + i], A[_D1 + i]
        s, y = h / w, A[_X + i] - A[_YL + i]
        delta = d0 + d1 - 2.0 * s
        b = h * d0 - y * delta
        disc = b * b + 4.0 * (h * (s - d0) + y * delta) * s * y
        root = b + math.sqrt(where(disc > 0.0, disc, 0.0))
        xi = 2.0 * s * y / root
        om = 1.0 - xi
        t = xi * om
        q = 1.0 / (s + delta * t)
        A[_OUT + i] = A[_XL + i] + xi * w
        A[_SLOPE + i] = s * s * (d1 * xi * xi + 2.0 * s * t + d0 * om * om) * (q * q)


@njit(**_OPT)
def _gradient(n, A, inverse):
    """Gradient of GY * y + GL * log(dy/dx) for x and the six numbers of the bin; of the inverse map if asked."""
    for i in range(n):
        w, h, d0, d1 = A[_W + i], A[_H + i], A[_D0 + i], A[_D1 + i]
        rw = 1.0 / w
        s, xi = h * rw, (A[_X + i] - A[_XL + i]) * rw
        om = 1.0 - xi
        t, turn, delta = xi * om, 1.0 - 2.0 * xi, d0 + d1 - 2.0 * s
        num, p, rq = s * xi * xi + d0 * t, d1 * xi * xi + 2.0 * s * t + d0 * om * om, 1.0 / (s + delta * t)
        y, rp, slope = num * rq, 1.0 / p, s * s * p * rq * rq
        log_xi = 2.0 * ((d1 * xi + s * turn - d0 * om) * rp - delta * turn * rq)
        gy, gl = A[_GY + i], A[_GL + i]
        # the inverse: dx = (dy - y_theta dtheta) / slope, and the log-det is that of the forward map, negated
        gy, gl = where(inverse, (gl * log_xi * rw - gy) / slope, gy), where(inverse, -gl, gl)
        g_xi = gy * w * slope + gl * log_xi
        g_s = gy * h * (xi * xi - y * (1.0 - 2.0 * t)) * rq + 2.0 * gl * (1.0 / s + t * rp - (1.0 - 2.0 * t) * rq)
        A[_GD0 + i] = gy * h * t * (1.0 - y) * rq + gl * (om * om * rp - 2.0 * t * rq)
        A[_GD1 + i] = gl * (xi * xi * rp - 2.0 * t * rq) - gy * h * t * y * rq
        A[_GH + i] = gy * y + g_s * rw
        A[_GW + i] = -(g_s * s + g_xi * xi) * rw
        A[_GXL + i] = -g_xi * rw
        A[_GYL + i] = gy
        A[_OUT + i] = where(inverse, -gy, g_xi * rw)


@njit(**_OPT)
def _softmax_gradient(n, F, A, logit, scale, low, size, g_low, g_size, K, con):
    """Turn K rows of exponentials into the gradient of their logits, from that of the bin's lower knot and size."""
    bound, step, rest = con[0], 2 * con[0] * con[1], 2 * con[0] * (1 - K * con[1])
    factor, zero = real(F, rest * con[4]), real(F, 0)
    for i in range(n):
        below = A[low + i] + bound - step * np.float64(F[_BIN + i])
        mean = (below * A[g_low + i] + (A[size + i] - step) * A[g_size + i]) / rest
        F[_MAX + i] = real(F, mean)
        F[scale + i] *= factor
    for i in range(n):
        F[_XF + i] = real(F, A[g_low + i])
        F[_LOG + i] = real(F, A[g_size + i])
    for k in range(K):
        here = real(F, k)
        for i in range(n):
            b, g_below, g_here = F[_BIN + i], F[_XF + i], F[_LOG + i]
            g = where(here < b, g_below, where(here == b, g_here, zero))
            F[logit + k * LANES + i] *= F[scale + i] * (g - F[_MAX + i])


@njit(**_OPT)
def _logit_gradient(n, F, A, K, con, inverse):
    """All 3K - 1 gradients of a tile, written over its logits; the gradient of x is left in A[_OUT]."""
    _gradient(n, A, inverse)
    bound, zero = con[0], real(F, 0)
    for i in range(n):
        inside = abs(A[_RAW + i]) <= bound
        A[_OUT + i] = where(inside, A[_OUT + i], A[_GY + i])
        F[_V0 + i] *= real(F, where(inside, A[_GD0 + i], 0.0))
        F[_V1 + i] *= real(F, where(inside, A[_GD1 + i], 0.0))
    for row in range(_GXL, _GD0, LANES):
        for i in range(n):
            A[row + i] = where(abs(A[_RAW + i]) <= bound, A[row + i], 0.0)
    _softmax_gradient(n, F, A, _LOGIT, _SW, _XL, _W, _GXL, _GW, K, con)
    _softmax_gradient(n, F, A, _LOGIT + K * LANES, _SH, _YL, _H, _GYL, _GH, K, con)
    for k in range(K - 1):
        left, right = real(F, k + 1), real(F, k)
        for i in range(n):
            b, g0, g1 = F[_BIN + i], F[_V0 + i], F[_V1 + i]
            F[_LOGIT + (2 * K + k) * LANES + i] = where(b == left, g0, where(b == right, g1, zero))
