"""Triton kernels of the splines: on a GPU where there is one; otherwise by Triton's interpreter, and compiled for a GPU but not run."""

import importlib.util
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from calopipe.models.splines import compiled
from calopipe.models.splines.eager import Spline

pytestmark = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-12}
COMPILES = """
import torch, triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.runtime import driver

class Driver:
    get_current_device = staticmethod(lambda: 0)
    get_current_stream = staticmethod(lambda device=None: 0)
    get_current_target = staticmethod(lambda: GPUTarget("cuda", 90, 32))

driver.set_active(Driver())
from calopipe.models.splines import gpu_kernels
x = torch.float32
for inverse in (False, True):
    sizes = dict(K=3, F=tl.float32, INVERSE=inverse, BLOCK=gpu_kernels.BLOCK, num_warps=gpu_kernels.WARPS, enable_fp_fusion=False)
    start = (x, x, torch.int64, torch.float64, x)
    made = [
        gpu_kernels._transform.warmup(*start, x, 1000, 368, 184, grid=(1,), **sizes),
        gpu_kernels._differentiate.warmup(*start, torch.float64, x, 1000, 368, 184, grid=(1,), **sizes),
    ]
    text = "".join(kernel.asm["ptx"] for kernel in made)
    assert "fma.rn.f32" not in text and "fma.rn.f64" not in text, "knots of both directions may differ"  # those of log are .ftz
"""


@pytest.fixture
def kernels(monkeypatch):
    """Compiled jobs run the kernels, wherever tensors lie."""
    from calopipe.models.splines import gpu_kernels

    monkeypatch.setattr(compiled, "_runner", lambda device: gpu_kernels.run_job)
    return gpu_kernels


def case(kind, logits, bins, rows=23):
    """x (N, 9), logits for four columns of it, and gradients of z and of the log-determinant."""
    generator = torch.Generator().manual_seed(bins)
    x, gz = (torch.randn(rows, 9, generator=generator).to(kind) for _ in range(2))
    params = 2 * torch.randn(rows, 3 * bins - 1, 4, generator=generator).to(logits)
    made = 6 * x, params, torch.tensor([0, 2, 3, 7]), gz, torch.randn(rows, generator=generator).to(kind)
    return [tensor.to(DEVICE) for tensor in made]


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("bins", [1, 2, 10])
@pytest.mark.parametrize("logits", [torch.float32, torch.float64])
def test_kernels_agree_with_eager(kernels, logits, bins, inverse):
    x, params, active, *given = case(torch.float64, logits, bins)
    found = []
    for backend in ("compiled", "eager"):
        leaves = x.clone().requires_grad_(), params.clone().requires_grad_()
        out = compiled.couple(*leaves, active, Spline(heat=0.5), inverse, backend)
        found.append([*out, *torch.autograd.grad(out, leaves, given)])
    for name, ours, theirs in zip(("z", "log-det", "dx", "dlogits"), *found, strict=True):
        assert ours.shape == theirs.shape and ours.dtype == theirs.dtype
        assert (ours - theirs).norm() <= TOLERANCE[logits] * theirs.norm() + 1e-13, name


def test_inverse_finds_the_knots_of_forward(kernels):
    """x in float64 with float32 logits comes back to far better than float32: knots are the same bit for bit."""
    x, params, active, *_ = case(torch.float64, torch.float32, 10, rows=60)
    z, logdet = compiled.couple(x, params, active, Spline(), False, "compiled")
    back, opposite = compiled.couple(z, params, active, Spline(), True, "compiled")
    assert (back - x).abs().max() < 1e-9 and torch.allclose(logdet, -opposite, atol=1e-4)
    others = [i for i in range(9) if i not in active.tolist()]
    assert torch.equal(z[:, others], x[:, others]) and (z[:, active] != x[:, active]).any()


def test_hostile_numbers_stay_finite(kernels):
    x, params, active, *_ = case(torch.float32, torch.float32, 10)
    x[0], x[1], params[2], params[3] = 10.0, -10.0, 1e4, -1e4
    for inverse in (False, True):
        assert all(v.isfinite().all() for v in compiled.couple(x, params, active, Spline(), inverse, "compiled"))


@pytest.mark.parametrize("inverse", [False, True])
def test_nan_comes_out_as_nan(kernels, inverse):
    x, params, active, *_ = case(torch.float32, torch.float32, 10)
    x[4, 2], x[9, 3], params[9, :, 2] = torch.nan, 0.5, torch.nan
    z, logdet = compiled.couple(x, params, active, Spline(), inverse, "compiled")
    bad = torch.zeros_like(z, dtype=torch.bool)
    bad[4, 2] = bad[9, 3] = True
    assert torch.equal(z.isnan(), bad) and torch.equal(logdet.isnan(), torch.arange(len(z), device=z.device) == 9)


def test_columns_that_are_not_there_are_refused(kernels):
    x, params, active, *_ = case(torch.float32, torch.float32, 2)
    with pytest.raises(IndexError, match="0 to 8"):
        compiled.couple(x, params, active + 2, Spline(), False, "compiled")


def test_no_kernels_without_a_working_triton(monkeypatch, caplog):
    def failing(*given, **options):
        raise RuntimeError("no C compiler")

    monkeypatch.setattr(compiled, "import_module", lambda name: SimpleNamespace(run_job=failing))
    assert compiled._runner.__wrapped__("cpu") is None and "no C compiler" in caplog.text


def test_kernels_compile_for_a_gpu(tmp_path):
    """Also the signatures, which the interpreter does not read."""
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    environment["TRITON_CACHE_DIR"] = str(tmp_path)
    done = subprocess.run([sys.executable, "-c", COMPILES], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
