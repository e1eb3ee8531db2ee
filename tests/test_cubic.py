"""Cubic splines after Steffen, ActNorm and batch normalisation of flows, and the published cards that are made of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from calopipe.config.load import load_study
from calopipe.models.base import Inputs
from calopipe.models.flows.coupling import ActNorm, CubicCoupling, make_flow
from calopipe.models.flows.inn import INN
from calopipe.models.flows.settings import INNConfig
from calopipe.models.splines import cubic
from calopipe.models.splines.eager import Spline, knots
from calopipe.training.checkpoint import build_network
from calopipe.training.facts import DataFacts
from calopipe.workflow import Plan

PRESETS = Path(__file__).parents[1] / "presets"
SPLINE = Spline(bounds=3.0, min_bin=1e-3)


def logits(n: int, bins: int, size: float, seed: int = 0) -> torch.Tensor:
    return size * torch.randn(n, 2 * bins + 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_slopes_at_knots_by_hand():
    widths, slopes = torch.tensor([1.0, 3.0, 2.0]), torch.tensor([2.0, 0.5, 4.0])
    found = cubic.slopes_at_knots(widths, slopes, torch.tensor([0.0, 50.0]))
    first = min((2.0 * 3 + 0.5 * 1) / 4, 2 * 0.5)  # the parabola is too steep: twice the smaller slope
    second = min((0.5 * 2 + 4.0 * 3) / 5, 2 * 0.5)
    torch.testing.assert_close(found, torch.tensor([2.0, first, second, 3 * 4.0 * (1 - 1e-3)]), rtol=1e-5, atol=1e-5)
    gentle = cubic.slopes_at_knots(torch.tensor([1.0, 3.0]), torch.tensor([1.0, 1.5]), torch.zeros(2))
    assert float(gentle[1]) == pytest.approx((1.0 * 3 + 1.5 * 1) / 4)  # the parabola's own


def test_zero_logits_are_the_identity():
    x = torch.linspace(-4, 4, 101, dtype=torch.float64)
    y, log_slope = cubic.forward(x, torch.zeros(101, 12, dtype=torch.float64), SPLINE)
    torch.testing.assert_close(y, x)
    torch.testing.assert_close(log_slope, torch.zeros_like(x), atol=1e-12, rtol=0)


@pytest.mark.parametrize("bins", [1, 2, 10])
@pytest.mark.parametrize("size", [0.1, 1.0, 5.0, 30.0])
def test_curves_rise_through_their_knots_and_are_smooth(bins, size):
    params = logits(40, bins, size)
    x_knots, y_knots = knots(params[:, :bins], SPLINE), knots(params[:, bins : 2 * bins], SPLINE)
    for k in range(bins + 1):
        y, _ = cubic.forward(x_knots[:, k], params, SPLINE)
        torch.testing.assert_close(y, y_knots[:, k], rtol=1e-9, atol=1e-9)
    x = torch.linspace(-3, 3, 2001, dtype=torch.float64)
    y, log_slope = cubic.forward(x.expand(40, -1), params[:, None].expand(-1, 2001, -1), SPLINE)
    assert (y.diff(dim=1) > 0).all() and log_slope.isfinite().all()
    eps = 1e-7
    for k in range(1, bins if size <= 1 else 1):  # no step of the slope at inner knots
        sides = [cubic.forward(x_knots[:, k] + side * eps, params, SPLINE)[1] for side in (-1, 1)]
        torch.testing.assert_close(*sides, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 2e-5), (torch.float64, 1e-9)])
@pytest.mark.parametrize("size", [0.5, 3.0, 10.0])
def test_the_inverse_is_one_also_at_knots_ends_and_in_tiny_bins(dtype, tolerance, size):
    params = logits(3000, 10, size).to(dtype)
    x = torch.linspace(-3.5, 3.5, 3000).to(dtype)
    x[:300] = knots(params[:300, :10], SPLINE)[:, 4]
    x[300:310], x[310:320] = -3.0, 3.0
    y, log_slope = cubic.forward(x, params, SPLINE)
    back, log_back = cubic.inverse(y, params, SPLINE)
    # where the curve is flat y determines x no better than rounding over its slope
    allowed = tolerance * (1 + (-log_slope).clamp(min=0).exp())
    assert ((back - x).abs() <= allowed).all()
    again, _ = cubic.forward(back, params, SPLINE)
    assert (again - y).abs().max() <= 4 * tolerance
    assert y.isfinite().all() and back.isfinite().all() and log_back.isfinite().all()
    outside = x.abs() > 3
    assert (y[outside] == x[outside]).all() and not log_slope[outside].any()


def test_the_inverse_has_gradients():
    params = logits(20, 4, 1.0).requires_grad_()
    y = torch.linspace(-2.9, 2.9, 20, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda v, p: cubic.inverse(v, p, SPLINE)[0], (y, params), eps=1e-6, atol=1e-4)
    assert torch.autograd.gradcheck(lambda v, p: cubic.forward(v, p, SPLINE), (y, params), eps=1e-6, atol=1e-4)


def flow_of(**settings):
    torch.manual_seed(0)
    flow = make_flow(7, 1, 3, hidden=(16,), zero_init=False, **settings).double()
    generator = torch.Generator().manual_seed(1)
    x = 2 + 3 * torch.randn(300, 7, generator=generator, dtype=torch.float64)
    return flow, x, torch.rand(300, 1, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("kind", ["rqs", "cubic", "affine"])
def test_actnorm_starts_from_data_and_its_log_det_counts(kind):
    flow, x, cond = flow_of(kind=kind, actnorm=True)
    norms = [module for module in flow if isinstance(module, ActNorm)]
    assert len(norms) == 2 and not isinstance(flow[0], ActNorm)
    flow.fit(x, cond)
    (first,), _ = flow[0]((x,), (cond,))
    (normed,), _ = flow[1]((first,))
    torch.testing.assert_close(normed.mean(0), torch.zeros(7, dtype=torch.float64), atol=1e-5, rtol=0)
    torch.testing.assert_close(normed.std(0), torch.ones(7, dtype=torch.float64), atol=1e-5, rtol=0)
    z, logdet = flow(x[:4], cond[:4])
    back, logdet_back = flow.inverse(z, cond[:4])
    assert (back - x[:4]).abs().max() <= 1e-8 and (logdet + logdet_back).abs().max() <= 1e-8
    for i in range(4):
        jacobian = torch.autograd.functional.jacobian(lambda v, i=i: flow(v, cond[i : i + 1])[0], x[i : i + 1])
        assert abs(torch.linalg.slogdet(jacobian.reshape(7, 7))[1] - logdet[i]) <= 1e-6


def test_the_inn_starts_its_actnorms_before_training():
    model = INN(INNConfig(blocks=3, hidden=[8], coupling="cubic", actnorm=True), Inputs(dim=6))
    x = 5 + 0.1 * torch.randn(500, 6)
    model.fit_input(x, torch.rand(500, 1))
    assert model.training
    scales = [module.scale for module in model.flow if isinstance(module, ActNorm)]
    torch.testing.assert_close(scales[0].detach(), torch.full((6,), 10.0).log(), atol=0.2, rtol=0)
    assert isinstance(model.flow.blocks[0], CubicCoupling)


def test_batch_normalisation_is_of_the_batch_in_training_and_fixed_after_it():
    flow, x, cond = flow_of(kind="rqs", batch_norm=True, leaky=True)
    norm = next(m for m in flow.modules() if isinstance(m, torch.nn.BatchNorm1d))
    flow.train()
    flow(x, cond)
    assert norm.num_batches_tracked == 1
    flow.eval()
    z, _ = flow(x, cond)
    alone = torch.cat([flow(x[i : i + 1], cond[i : i + 1])[0] for i in range(5)])
    torch.testing.assert_close(alone, z[:5])
    torch.testing.assert_close(flow.inverse(z, cond)[0], x, atol=1e-8, rtol=1e-8)
    assert any(isinstance(m, torch.nn.LeakyReLU) for m in flow.modules())


@pytest.mark.parametrize(
    ("preset", "dataset", "published"),
    [
        ("inn_photons", "calochallenge1_photons", 18_821_350),
        ("inn_pions", "calochallenge1_pions", 26_592_624),
        ("inn_set2", "calochallenge2", 270_999_370),
    ],
)
def test_published_parameter_counts(preset, dataset, published):
    runs = [{"dataset": dataset, "model": preset}]
    plan = Plan(load_study({"presets": [preset], "evaluations": {"default": {}}, "runs": runs}, PRESETS))
    settings, geometry = plan.model(preset), plan.geometry(dataset)
    network = build_network(
        settings.chain["flow"], settings.networks["flow"].network, DataFacts.of(geometry, None), dim=geometry.n_voxels, seed=0,
        n_train=1,
    )  # fmt: skip
    assert sum(p.numel() for p in network.model.parameters()) == published
    norms = [module for module in network.model.flow if isinstance(module, ActNorm)]
    assert len(norms) == len(network.model.flow.blocks) - 1
