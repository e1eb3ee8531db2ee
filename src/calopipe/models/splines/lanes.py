"""Arithmetic of numba kernels that LLVM turns into vector code: no branches, no calls out of the loop.

The float32 exponential and logarithm are polynomials (about one ulp; coefficients of Cephes' expf and logf, S. Moshier)
because numba's wheel has no vector library; float64 uses the C library.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic as numba_intrinsic
from numba.extending import overload

#: numba's own types count the typing context among the arguments of the caller
intrinsic: Any = numba_intrinsic

_LOG2E, _MAGIC = np.float32(1.4426950408889634), np.float32(12582912.0)
_LN2_HI, _LN2_LO = np.float32(0.693359375), np.float32(-2.12194440e-4)
_E0, _E1, _E2 = np.float32(1.9875691500e-4), np.float32(1.3981999507e-3), np.float32(8.3334519073e-3)
_E3, _E4, _E5 = np.float32(4.1665795894e-2), np.float32(1.6666665459e-1), np.float32(5.0000001201e-1)
_L = tuple(
    np.float32(v)
    for v in (
        7.0376836292e-2,
        -1.1514610310e-1,
        1.1676998740e-1,
        -1.2420140846e-1,
        1.4249322787e-1,
        -1.6668057665e-1,
        2.0000714765e-1,
        -2.4999993993e-1,
        3.3333331174e-1,
    )
)
_L0, _L1, _L2, _L3, _L4, _L5, _L6, _L7, _L8 = _L
_ONE, _HALF, _TINY = np.float32(1.0), np.float32(0.5), np.float32(-87.0)


@intrinsic
def _fma(typingctx, a, b, c):
    """``a * b + c``, fused where the processor can."""

    def codegen(context, builder, signature, args):
        kind = args[0].type
        fn = builder.module.declare_intrinsic("llvm.fmuladd", [kind], ir.FunctionType(kind, [kind] * 3))
        return builder.call(fn, args)

    return a(a, a, a), codegen


@intrinsic
def _bits(typingctx, v):
    """The 32 bits of a float32 as int32."""
    return types.int32(types.float32), lambda ctx, builder, sig, args: builder.bitcast(args[0], ir.IntType(32))


@intrinsic
def _from_bits(typingctx, v):
    """The float32 with these 32 bits."""
    return types.float32(types.int32), lambda ctx, builder, sig, args: builder.bitcast(args[0], ir.FloatType())


@intrinsic
def real(typingctx, pointer, value):
    """``value`` as a number of the type that ``pointer`` points to."""
    kind = pointer.dtype

    def codegen(context, builder, signature, args):
        return context.cast(builder, args[1], signature.args[1], kind)

    return kind(pointer, value), codegen


@intrinsic
def where(typingctx, condition, a, b):
    """``a`` if ``condition`` else ``b``, both computed: no branch in the loop."""
    return a(types.boolean, a, a), lambda ctx, builder, sig, args: builder.select(*args)


def exp(v):
    """Exponential of ``v <= 88`` (or NaN); underflows to about 1e-38."""
    return math.exp(v)


def log(v):
    """Logarithm of a positive normal number (or NaN)."""
    return math.log(v)


@overload(exp)
def _exp_typed(v):
    if v != types.float32:
        return lambda v: math.exp(v)

    def fast(v):
        v = where(v < _TINY, _TINY, v)  # NaN stays
        t = _fma(v, _LOG2E, _MAGIC)
        n = t - _MAGIC
        r = _fma(-n, _LN2_LO, _fma(-n, _LN2_HI, v))
        p = _fma(_fma(_fma(_fma(_fma(_E0, r, _E1), r, _E2), r, _E3), r, _E4), r, _E5)
        p = _fma(p, r * r, r) + _ONE
        return _from_bits(np.int32(_bits(p) + np.int32(_bits(t) << np.int32(23))))

    return fast


@overload(log)
def _log_typed(v):
    if v != types.float32:
        return lambda v: math.log(v)

    def fast(v):
        b = _bits(v)
        e = np.int32((b - np.int32(0x3F3504F3)) >> np.int32(23))
        f = _from_bits(np.int32(b - np.int32(e << np.int32(23)))) - _ONE
        n = np.float32(e)
        z = f * f
        p = _fma(_fma(_fma(_fma(_L0, f, _L1), f, _L2), f, _L3), f, _L4)
        p = _fma(_fma(_fma(_fma(p, f, _L5), f, _L6), f, _L7), f, _L8)
        p = _fma(p * f, z, _fma(n, _LN2_LO, -_HALF * z))
        return where(v == v, _fma(n, _LN2_HI, f + p), v)  # NaN stays

    return fast
