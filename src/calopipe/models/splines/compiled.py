"""Rational-quadratic splines by compiled code, with gradients, on CPUs (numba) and GPUs (Triton); eager PyTorch elsewhere.

:func:`couple` is the step of a coupling block, :func:`transform` the same for plain tensors. ``backend`` chooses:
``"auto"`` compiled code for float32 and float64 tensors, eager for other devices and types, under ``torch.func``,
forward-mode differentiation, ``torch.compile`` and where the compiler does not work; ``"eager"`` and ``"compiled"`` force
one (the latter raises NumericsError where it cannot be had). The environment variable CALOPIPE_RQS_BACKEND overrides
"auto". Second derivatives (``create_graph=True``) of compiled results are taken through the eager code.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import astuple
from functools import lru_cache
from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd import forward_ad

from calopipe.errors import NumericsError
from calopipe.models.splines import eager
from calopipe.models.splines.eager import Spline

log = logging.getLogger(__name__)
BACKENDS = ("auto", "eager", "compiled")


#: what runs compiled jobs on each kind of device
_JOBS = {"cpu": "calopipe.models.splines.jobs", "cuda": "calopipe.models.splines.gpu_kernels"}


@lru_cache(maxsize=2)
def _runner(device: str) -> Callable[..., None] | None:
    """The function that runs compiled jobs on a kind of device, or None (logged once) where that does not work on this machine."""
    try:
        run: Callable[..., None] = import_module(_JOBS[device]).run_job
        x, params = torch.zeros(1, 1, device=device), torch.zeros(1, 5, 1, device=device)
        active, logdet = x.new_zeros(1, dtype=torch.int64), x.new_zeros(1).double()
        run(x, params, active, x.clone(), logdet, np.ones(5) * 0.1, inverse=False)
    except Exception as reason:  # numba or Triton missing, no C compiler, no place to compile, unsupported processor
        log.warning("compiled splines are not available (%s: %s); using eager PyTorch", type(reason).__name__, reason)
        return None
    return run


def _transformed() -> bool:
    """Whether torch.func, forward-mode differentiation or a compiler is tracing the call."""
    functorch = getattr(torch._C, "_are_functorch_transforms_active", lambda: False)
    return functorch() or getattr(forward_ad, "_current_level", -1) >= 0 or torch.compiler.is_compiling()


def uses_compiled(x: Tensor, params: Tensor, backend: str = "auto") -> bool:
    """Whether this call runs the compiled code; raises NumericsError when it was asked for and cannot."""
    if backend not in BACKENDS:
        raise ValueError(f"backend must be one of {', '.join(BACKENDS)}, found {backend!r}")
    if backend == "auto":
        backend = os.environ.get("CALOPIPE_RQS_BACKEND", "auto")
    if backend == "eager":
        return False
    floats = (torch.float32, torch.float64)
    fits = (
        x.device == params.device
        and x.device.type in _JOBS
        and x.dtype in floats
        and params.dtype in floats
        and x.numel() > 0
        and not _transformed()
    )
    usable = fits and _runner(x.device.type) is not None
    if backend == "compiled" and not usable:
        raise NumericsError(
            f"compiled splines were asked for but cannot run here: {x.dtype} on {x.device}, "
            f"logits {params.dtype} on {params.device}, compiler usable: {fits and usable}"
        )
    return usable


@lru_cache(maxsize=32)
def _constants(spline: Spline) -> np.ndarray:
    return np.array([spline.bounds, spline.min_bin, spline.min_derivative, spline.shift, spline.heat])


class _Couple(torch.autograd.Function):
    """Compiled coupling step with its gradient; keeps only x (or, for the inverse, its result) and the logits."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, params: Tensor, active: Tensor, spline: Spline, inverse: bool
    ) -> tuple[Tensor, Tensor]:
        z, logdet = torch.empty_like(x), x.new_zeros(x.shape[0], dtype=torch.float64)
        run = _runner(x.device.type)
        assert run is not None
        run(x, params, active, z, logdet, _constants(spline), inverse=inverse)
        ctx.spline, ctx.inverse = spline, inverse
        ctx.save_for_backward(x, params, active, *([z] if inverse else []))
        return z, logdet.to(x.dtype)

    @staticmethod
    def backward(ctx: Any, gz: Tensor, glogdet: Tensor) -> tuple[Tensor | None, ...]:
        x, params, active, *z = ctx.saved_tensors
        if torch.is_grad_enabled():
            return (*_eager_gradient(x, params, active, ctx.spline, ctx.inverse, gz, glogdet), None, None, None)
        gx, gparams, glogdet = torch.empty_like(x), torch.empty_like(params), glogdet.double().contiguous()
        run = _runner(x.device.type)
        assert run is not None
        run(
            z[0] if z else x,
            params,
            active,
            gx,
            glogdet,
            _constants(ctx.spline),
            inverse=ctx.inverse,
            gradient=(gz.contiguous(), gparams),
        )
        return gx, gparams, None, None, None


def _eager_gradient(
    x: Tensor, params: Tensor, active: Tensor, spline: Spline, inverse: bool, gz: Tensor, glogdet: Tensor
) -> tuple[Tensor | None, ...]:
    """Gradients that can be differentiated again."""
    inputs = [v for v in (x, params) if v.requires_grad]
    grads = iter(
        torch.autograd.grad(
            _couple_eager(x, params, active, spline, inverse),
            inputs,
            (gz, glogdet),
            create_graph=True,
            allow_unused=True,
        )
    )
    return tuple(next(grads) if v.requires_grad else None for v in (x, params))


def _couple_eager(x: Tensor, params: Tensor, active: Tensor, spline: Spline, inverse: bool) -> tuple[Tensor, Tensor]:
    function = eager.inverse if inverse else eager.forward
    y, log_slope = function(x[:, active], params.transpose(1, 2), *astuple(spline))
    return x.to(y.dtype).index_copy(1, active, y), log_slope.sum(1)


def couple(
    x: Tensor, params: Tensor, active: Tensor, spline: Spline, inverse: bool = False, backend: str = "auto"
) -> tuple[Tensor, Tensor]:
    """Transform the columns ``active`` of x by splines, and copy the others.

    x: (N, D). params: logits (N, 3K-1, T), the T transformed dimensions fastest. active: (T,) int64 column numbers.
    Returns z (N, D) and the log-determinant (N,) of the direction computed. x may be float64 with float32 logits: z is
    then float64, exact to the knots that the logits define. Raises ValueError on shapes that do not fit.
    """
    spline.bins(params.shape[1])
    if params.shape[0] != x.shape[0] or params.shape[2] != active.shape[0]:
        raise ValueError(f"logits {tuple(params.shape)} do not fit {tuple(x.shape)} rows and {len(active)} columns")
    if params.dtype == torch.float64:
        x = x.to(torch.float64)
    if not uses_compiled(x, params, backend):
        return _couple_eager(x, params, active, spline, inverse)
    return _Couple.apply(x.contiguous(), params.contiguous(), active.contiguous(), spline, inverse)


def transform(
    x: Tensor,
    params: Tensor,
    bounds: float = 10.0,
    *,
    min_bin: float = 1e-3,
    min_derivative: float = 1e-3,
    heat: float = 1.0,
    inverse: bool = False,
    backend: str = "auto",
) -> tuple[Tensor, Tensor]:
    """y and log|dy/dx| (...) of x (...) with logits (..., 3K-1): `eager.forward` or `inverse` by either backend."""
    if not uses_compiled(x, params, backend):
        return (eager.inverse if inverse else eager.forward)(x, params, bounds, min_bin, min_derivative, heat)
    flat = params.expand(*x.shape, params.shape[-1]).reshape(x.numel(), -1, 1)
    active, spline = x.new_zeros(1, dtype=torch.int64), Spline(bounds, min_bin, min_derivative, heat)
    y, log_slope = couple(x.reshape(-1, 1), flat, active, spline, inverse, backend)
    return y.reshape(x.shape), log_slope.reshape(x.shape)
