"""Rational-quadratic splines: inverse, log-det, gradients, eager against compiled, and hostile input."""

import os

import numpy as np
import pytest
import torch

from calopipe.errors import NumericsError
from calopipe.models.splines import compiled, eager

BACKENDS = ["eager", "compiled"]
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12}


@pytest.fixture(autouse=True)
def one_thread():
    """Small problems: waiting for a second thread on a shared machine costs more than it gives."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def draw(shape, dtype, seed=0, spread=1.0, bins=10):
    generator = torch.Generator().manual_seed(seed)
    x = 5 * torch.randn(shape, generator=generator, dtype=torch.float64)
    params = spread * torch.randn((*shape, 3 * bins - 1), generator=generator, dtype=torch.float64)
    return x.to(dtype), params.to(dtype)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_inverse_undoes_forward(backend, dtype):
    x, params = draw((300, 7), dtype)
    y, log_slope = compiled.transform(x, params, backend=backend)
    back, log_back = compiled.transform(y, params, inverse=True, backend=backend)
    rounding = log_slope.exp().clamp(max=1)  # y is rounded: on x that weighs 1 / slope
    assert ((back - x).abs() * rounding).max() <= TOLERANCE[dtype]
    assert ((log_slope + log_back).abs() * rounding).max() <= 10 * TOLERANCE[dtype]
    outside = x.abs() > 10
    assert outside.any() and torch.equal(y[outside], x[outside]) and not log_slope[outside].any()


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_nan_comes_out_as_nan(backend, dtype, inverse):
    """It is in no bin: neither the bound nor any other number may take its place, in its element or in those beside it."""
    x, params = draw((30, 7), dtype)
    expected, _ = compiled.transform(x, params, inverse=inverse, backend=backend)
    x[4, 2], params[9, 3] = torch.nan, torch.nan
    x[9, 3] = 0.5
    x.requires_grad_()
    y, log_slope = compiled.transform(x, params, inverse=inverse, backend=backend)
    bad = torch.zeros_like(x, dtype=torch.bool)
    bad[4, 2] = bad[9, 3] = True
    assert torch.equal(y.isnan(), bad) and torch.equal(y[~bad], expected[~bad])
    assert log_slope[~bad].isfinite().all() and log_slope[9, 3].isnan()
    (slope,) = torch.autograd.grad(y.sum(), x)
    assert slope[~bad].isfinite().all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_log_slope_is_the_derivative(backend):
    x, params = draw((50, 4), torch.float64, seed=1)
    x.requires_grad_()
    y, log_slope = compiled.transform(x, params, backend=backend)
    (slope,) = torch.autograd.grad(y.sum(), x)
    assert (slope.log() - log_slope).abs().max() <= 1e-10


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_zero_logits_are_the_identity(backend, dtype):
    x, params = draw((20, 5), dtype)
    y, log_slope = compiled.transform(x, torch.zeros_like(params), backend=backend)
    assert torch.allclose(y, x, atol=1e-5) and log_slope.abs().max() <= 1e-5


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 2e-3), (torch.float64, 1e-10)])
def test_compiled_agrees_with_eager(dtype, tolerance, inverse):
    x, params = draw((41, 9), dtype, seed=2)
    weight = torch.linspace(-1, 1, x.numel(), dtype=dtype).reshape(x.shape)
    found = []
    for backend in BACKENDS:
        x1, p1 = x.clone().requires_grad_(), params.clone().requires_grad_()
        y, log_slope = compiled.transform(
            x1, p1, 10.0, min_bin=2e-3, min_derivative=3e-3, heat=0.7, inverse=inverse, backend=backend
        )
        grads = torch.autograd.grad((weight * y + weight.flip(0) * log_slope).sum(), (x1, p1))
        found.append((y, log_slope, *grads))
    for a, b in zip(*found, strict=True):
        assert ((a - b).abs() / (1 + a.abs())).max() <= tolerance


def test_couple_reads_both_layouts_and_mixed_types():
    generator = torch.Generator().manual_seed(3)
    x = 3 * torch.randn(70, 11, generator=generator)
    params = torch.randn(70, 14, 4, generator=generator)
    active, spline = torch.tensor([1, 4, 5, 9]), eager.Spline(6.0)
    for kind in (torch.float32, torch.float64):
        expected = compiled.couple(x.to(kind), params, active, spline, backend="eager")
        for layout in (params, params.transpose(1, 2).contiguous().transpose(1, 2)):
            z, logdet = compiled.couple(x.to(kind), layout, active, spline, backend="compiled")
            assert z.dtype == logdet.dtype == kind
            assert torch.allclose(z, expected[0], atol=1e-4) and torch.allclose(logdet, expected[1], atol=1e-3)
    passive = [0, 2, 3, 6, 7, 8, 10]
    assert torch.equal(z[:, passive], x[:, passive].double())
    back, _ = compiled.couple(z, params, active, spline, True, "compiled")
    assert (back - x).abs().max() <= 1e-11  # float64 rows with float32 logits: knots agree bit for bit


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_any_finite_input_gives_finite_output(backend, dtype):
    rng = np.random.default_rng(5)
    n, bins = 4000, 10
    size = 10.0 ** rng.uniform(-3, 4, (n, 1))
    params = torch.tensor(np.clip(rng.standard_normal((n, 3 * bins - 1)) * size, -1e4, 1e4), dtype=dtype)
    params[:3] = torch.tensor([1e4, -1e4, 0.0], dtype=dtype)[:, None]
    x = torch.tensor(rng.uniform(-11, 11, n), dtype=dtype)
    knots = eager.knots(params[:, :bins], eager.Spline())
    heights = eager.knots(params[:, bins : 2 * bins], eager.Spline())
    pick = torch.tensor(rng.integers(0, bins + 1, n))[:, None]
    special = torch.tensor([10.0, -10.0, 1e30, -1e30, 0.0, 10.000001, -1e-30], dtype=dtype)
    inputs = [x, special.repeat(n // 7 + 1)[:n], knots.gather(1, pick)[:, 0], heights.gather(1, pick)[:, 0]]
    for inverse in (False, True):
        for value in inputs:
            v, p = value.clone().requires_grad_(), params.clone().requires_grad_()
            y, log_slope = compiled.transform(v, p, inverse=inverse, backend=backend)
            assert y.isfinite().all() and log_slope.isfinite().all()
            assert (y[value.abs() <= 10].abs() <= 10 * (1 + 1e-6)).all()
            if not inverse:
                grads = torch.autograd.grad((y + log_slope).sum(), (v, p))
                assert all(g.isfinite().all() for g in grads)


@pytest.mark.parametrize("openmp", [True, False])
def test_threads_give_the_same_bits(openmp, monkeypatch):
    x, params = draw((500, 8), torch.float32, seed=8)
    alone = compiled.transform(x, params, backend="compiled")
    from calopipe.models.splines import jobs

    if not openmp:
        monkeypatch.setattr(jobs, "openmp", lambda: None)
    torch.set_num_threads(3)
    together = compiled.transform(x, params, backend="compiled")
    assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))


def test_child_of_a_fork_works():
    x, params = draw((600, 8), torch.float32, seed=9)
    torch.set_num_threads(2)
    y, _ = compiled.transform(x, params, backend="compiled")
    read, write = os.pipe()
    if not (child := os.fork()):
        same = torch.equal(compiled.transform(x, params, backend="compiled")[0], y)
        os.write(write, b"y" if same else b"n")
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read, 1) == b"y"


def test_monotonic_on_a_fine_grid():
    _, params = draw((200,), torch.float64, seed=6, spread=3.0)
    x = torch.linspace(-12, 12, 2001, dtype=torch.float64).expand(200, -1)
    y, _ = compiled.transform(x, params[:, None].expand(200, 2001, 29))
    assert (y.diff(dim=1) > 0).all()


def test_second_derivatives_and_torch_func():
    x, params = draw((3, 2), torch.float64, seed=7, bins=4)
    x, params = (0.3 * x).requires_grad_(), params.requires_grad_()
    assert torch.autograd.gradcheck(compiled.transform, (x, params))
    assert torch.autograd.gradgradcheck(compiled.transform, (x, params))
    slopes = torch.func.vmap(torch.func.grad(lambda a, b: compiled.transform(a, b)[0]))(x[:, 0], params[:, 0])
    assert torch.allclose(slopes.log(), compiled.transform(x[:, 0], params[:, 0])[1])


def test_wrong_use_is_named(monkeypatch):
    x, params = draw((4, 2), torch.float32)
    with pytest.raises(ValueError, match="3K - 1"):
        eager.forward(x, params[..., :-1])
    with pytest.raises(ValueError, match="backend"):
        compiled.transform(x, params, backend="fast")
    with pytest.raises(NumericsError, match="float16"):
        compiled.transform(x.half(), params.half(), backend="compiled")
    with pytest.raises(ValueError, match="bounds"):
        eager.Spline(bounds=0.0)
    monkeypatch.setenv("CALOPIPE_RQS_BACKEND", "eager")
    assert not compiled.uses_compiled(x, params)
