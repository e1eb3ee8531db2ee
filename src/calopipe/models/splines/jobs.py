"""Compiled jobs on the rows of a coupling block; the threads that run them are in :mod:`calopipe.models.splines.threads`.

A job is an int64 array: an atomic task counter, sizes, and addresses of the tensors' memory. Any number of threads may
run the same job at once; each takes the next few rows until none are left, so a core that is busy elsewhere does not
hold up the others.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from llvmlite import ir
from numba import cfunc, njit, types

from calopipe.models.splines import kernels, lanes
from calopipe.models.splines.kernels import LANES, ROWS_A, ROWS_F
from calopipe.models.splines.lanes import intrinsic
from calopipe.models.splines.threads import Process, openmp, run_threads

log = logging.getLogger(__name__)
_OPT: dict[str, Any] = {"error_model": "numpy", "nogil": True}
RAW, OUT, _SLOPE, _GY, _GL, _V0 = kernels._RAW, kernels._OUT, kernels._SLOPE, kernels._GY, kernels._GL, kernels._V0
# The words of a job: two atomic counters (tasks, threads), sizes, addresses.
(
    _NEXT,
    _SLOT,
    _TASKS,
    _ROWS,
    _N,
    _D,
    _T,
    _K,
    _INVERSE,
    _WIDE,
    _IN,
    _PARAMS,
    _ACTIVE,
    _RESULT,
    _LOGDET,
    _GOUT,
    _GPARAMS,
    _CONSTANTS,
    _SCRATCH,
    _SCRATCH_SIZE,
) = range(20)


@intrinsic
def _take(typingctx, job):
    """Add one to ``job[0]`` atomically and return the value before."""

    def codegen(context, builder, signature, args):
        return builder.atomic_rmw("add", args[0], ir.Constant(ir.IntType(64), 1), "monotonic")

    return types.int64(types.CPointer(types.int64)), codegen


@intrinsic
def _pointer(typingctx, value, kind):
    """An integer as a pointer to ``kind``: indexing it has no checks that keep LLVM from making vector code."""
    pointer = types.CPointer(kind.dtype)

    def codegen(context, builder, signature, args):
        return builder.inttoptr(args[0], context.get_value_type(pointer))

    return pointer(value, kind), codegen


@intrinsic
def _after(typingctx, pointer, count):
    """The pointer ``count`` entries on."""

    def codegen(context, builder, signature, args):
        return builder.gep(args[0], [args[1]])

    return pointer(pointer, types.int64), codegen


@njit(**_OPT)
def gather(A, at, x, active, row, col, count, D, T):
    """Copy the active entries of (N, D) ``x`` for one tile to A."""
    for i in range(count):
        A[at + i] = x[row * D + active[col]]
        col += 1
        if col == T:
            row, col = row + 1, 0


@njit(**_OPT)
def scatter(A, at, x, active, row, col, count, D, T):
    """The reverse of `gather`."""
    for i in range(count):
        x[row * D + active[col]] = A[at + i]
        col += 1
        if col == T:
            row, col = row + 1, 0


@njit(**_OPT)
def transform_tile(F, A, logdet, con, row, col, count, K, T, inverse):
    """Spline of one tile: A[RAW] to A[OUT], log-slopes added to the log-dets of their rows."""
    n = (count + 7) // 8 * 8
    kernels._prepare(n, F, A, K, con, inverse)
    if inverse:
        kernels._inverse(n, A)
    else:
        kernels._forward(n, A)
    sign, bound = (-1.0 if inverse else 1.0), con[0]
    for i in range(n):
        inside = abs(A[RAW + i]) <= bound  # not true of NaN, which is left as it is
        F[_V0 + i] = lanes.log(lanes.real(F, lanes.where(inside, A[_SLOPE + i], 1.0)))
        A[OUT + i] = lanes.where(inside, A[OUT + i], A[RAW + i])
    total = 0.0
    for i in range(count):
        total += F[_V0 + i]
        col += 1
        if col == T or i == count - 1:
            logdet[row] += sign * total
            row, col, total = row + 1, 0, 0.0


@njit(**_OPT)
def _differentiate(F, A, glogdet, con, row, col, count, K, T, inverse):
    """Gradients of one tile: A[RAW] is x, A[_GY] the gradient of y; A[OUT] becomes that of x, F that of logits."""
    for i in range(count):
        A[_GL + i] = glogdet[row]
        col += 1
        if col == T:
            row, col = row + 1, 0
    n = (count + 7) // 8 * 8
    kernels._prepare(n, F, A, K, con, False)
    kernels._logit_gradient(n, F, A, K, con, inverse)


@cache
def _entry(backward: bool, number: type) -> tuple[int, Callable[[int], Any], Any]:
    """Address and caller of the compiled ``bool(int64*)`` for logits of type ``number``; x may be of either type."""
    sources = b"".join(Path(str(module.__file__)).read_bytes() for module in (kernels, lanes))
    digest = hashlib.sha256(sources).hexdigest()  # cached code follows the kernels' sources

    def run(words):
        n, D, T, K, wide = words[_N], words[_D], words[_T], words[_K], words[_WIDE] != 0
        x4, x8 = _pointer(words[_IN], np.float32), _pointer(words[_IN], np.float64)
        z4, z8 = _pointer(words[_RESULT], np.float32), _pointer(words[_RESULT], np.float64)
        g4, g8 = _pointer(words[_GOUT], np.float32), _pointer(words[_GOUT], np.float64)
        params, gparams = _pointer(words[_PARAMS], number), _pointer(words[_GPARAMS], number)
        active, logdet = _pointer(words[_ACTIVE], np.int64), _pointer(words[_LOGDET], np.float64)
        con = _pointer(words[_CONSTANTS], np.float64)
        scratch = words[_SCRATCH] + _take(_after(words, _SLOT)) * words[_SCRATCH_SIZE]
        A, F = _pointer(scratch, np.float64), _pointer(scratch + 8 * LANES * ROWS_A, number)
        task = _take(words)
        while task < words[_TASKS]:
            first, stop = task * words[_ROWS], min((task + 1) * words[_ROWS], n)
            for i in range(first * D, stop * D):
                if wide:
                    z8[i] = g8[i]
                else:
                    z4[i] = g4[i]
            for e in range(0, (stop - first) * T, LANES):
                row, col, count = first + e // T, e % T, min(LANES, (stop - first) * T - e)
                kernels.load(F, params, row, col, count, K, T)
                if wide:
                    gather(A, RAW, x8, active, row, col, count, D, T)
                else:
                    gather(A, RAW, x4, active, row, col, count, D, T)
                if backward:
                    if wide:
                        gather(A, _GY, g8, active, row, col, count, D, T)
                    else:
                        gather(A, _GY, g4, active, row, col, count, D, T)
                    _differentiate(F, A, logdet, con, row, col, count, K, T, words[_INVERSE] != 0)
                    kernels._store(F, gparams, row, col, count, K, T)
                else:
                    transform_tile(F, A, logdet, con, row, col, count, K, T, words[_INVERSE] != 0)
                if wide:
                    scatter(A, OUT, z8, active, row, col, count, D, T)
                else:
                    scatter(A, OUT, z4, active, row, col, count, D, T)
            task = _take(words)
        return digest == ""

    signature = types.boolean(types.CPointer(types.int64))
    compiled: Any
    try:
        compiled = cfunc(signature, cache=True, **_OPT)(run)
    except RuntimeError:  # nowhere to write a cache
        compiled = cfunc(signature, **_OPT)(run)
    address = int(compiled.address)
    return address, ctypes.CFUNCTYPE(ctypes.c_bool, ctypes.c_void_p)(address), compiled


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
    """Fill ``result`` (and ``logdet``, or the logits' gradient) for a coupling of (N, D) rows; all tensors contiguous.

    ``gradient`` None: result (N, D) and logdet (N,) are outputs. ``gradient`` (gz, gparams): logdet holds the gradient
    of the log-dets, result becomes that of x, gparams (N, 3K-1, T) that of the logits.

    Raises ValueError on empty tensors and IndexError on columns that x does not have: compiled code checks no bounds.
    """
    (n, dim), (_, logits, transformed) = x.shape, params.shape
    if n == 0 or transformed == 0:
        raise ValueError("run_job needs at least one row and one transformed dimension")
    low, high = active.aminmax()
    if active.dtype != torch.int64 or int(low) < 0 or int(high) >= dim:
        raise IndexError(f"columns to transform must be int64 from 0 to {dim - 1}, found {int(low)} to {int(high)}")
    threads = 1 if Process.forked else min(torch.get_num_threads(), max(1, n * transformed // 512))
    rows = max(1, -(-n // (8 * threads)))
    code, call, _ = _entry(gradient is not None, np.float32 if params.dtype == torch.float32 else np.float64)
    gz, gparams = gradient if gradient is not None else (x, params)
    bins = (logits + 1) // 3
    size = 8 * LANES * (ROWS_A + ROWS_F + 5 * bins + 2)
    scratch = np.zeros(threads * size // 8)
    job = np.array(
        [
            0,
            0,
            -(-n // rows),
            rows,
            n,
            dim,
            transformed,
            bins,
            inverse,
            x.dtype == torch.float64,
            x.data_ptr(),
            params.data_ptr(),
            active.data_ptr(),
            result.data_ptr(),
            logdet.data_ptr(),
            gz.data_ptr(),
            gparams.data_ptr(),
            constants.ctypes.data,
            scratch.ctypes.data,
            size,
        ],
        np.int64,
    )
    address, fork = job.ctypes.data, openmp()
    if threads == 1:
        call(address)
    elif fork is not None:
        fork(code, address, threads, 0)
    else:
        run_threads(call, address, threads)
