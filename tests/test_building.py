"""What networks are built from: helpers, terms of losses, and the description of their inputs, by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from calopipe.errors import GeometryError
from calopipe.geometry import load_geometry
from calopipe.models.base import Inputs
from calopipe.models.building import Standardisation, alpha_logit, alpha_sigmoid, draw, draw_mixture, mlp, wrap
from calopipe.models.losses import bernoulli_loss, gaussian_kl, gaussian_nll, mixture_log_likelihood
from calopipe.preprocessing import Layout


def test_mlp_has_activations_between_its_layers_and_can_start_at_zero() -> None:
    net = mlp([3, 4, 2], nn.SiLU)
    assert [type(layer) for layer in net] == [nn.Linear, nn.SiLU, nn.Linear]
    assert torch.equal(mlp([3, 4, 2], zero=True)(torch.randn(5, 3)), torch.zeros(5, 2))
    assert not torch.equal(net(torch.randn(5, 3)), torch.zeros(5, 2))


def test_wrapping_continues_an_angle() -> None:
    x = torch.arange(6.0).view(1, 3, 2)
    assert wrap(x, 1)[0, :, 0].tolist() == [4, 0, 2, 4, 0]
    assert wrap(x, -1, 2)[0, 0].tolist() == [0, 1, 0, 1, 0, 1]


def test_alpha_logit_and_back() -> None:
    x = torch.tensor([0.0, 0.25, 0.5, 1.0])
    y = alpha_logit(x, 0.1)  # of 0.1, 0.3, 0.5, 0.9
    torch.testing.assert_close(y, torch.tensor([-math.log(9), -math.log(7 / 3), 0.0, math.log(9)]))
    torch.testing.assert_close(alpha_sigmoid(y, 0.1), x)
    assert torch.equal(alpha_logit(torch.tensor([-3.0, 7.0]), 0.1), y[[0, 3]])


def test_standardisation_by_hand() -> None:
    scale, x = Standardisation(2), torch.tensor([[1.0, 5.0], [3.0, 5.0]])
    assert torch.equal(scale(x), x)
    scale.fit(x, floor=0.5)
    torch.testing.assert_close(scale(x), torch.tensor([[-1.0, 0.0], [1.0, 0.0]]) / math.sqrt(2))
    assert scale.std[1] == 0.5
    torch.testing.assert_close(scale.inverse(scale(x)), x)


def test_draws_have_their_mean_and_width() -> None:
    torch.manual_seed(0)
    mu, log_var = torch.full((20_000, 1), 3.0), torch.full((20_000, 1), math.log(4.0))
    z = draw(mu, log_var)
    assert abs(z.mean() - 3) < 0.05 and abs(z.std() - 2) < 0.05
    weights = torch.tensor([0.25, 0.75]).log().view(1, 2, 1).expand(20_000, 2, 1)
    mean = torch.tensor([-10.0, 10.0]).view(1, 2, 1).expand(20_000, 2, 1)
    y = draw_mixture(weights, mean, torch.zeros(20_000, 2, 1))
    assert abs((y < 0).float().mean() - 0.25) < 0.01 and abs(y[y > 0].mean() - 10) < 0.05


def test_kl_is_zero_for_the_prior_and_half_mu_squared_for_a_shift() -> None:
    zero = torch.zeros(2, 4)
    assert torch.equal(gaussian_kl(zero, zero), torch.zeros(2))
    torch.testing.assert_close(gaussian_kl(zero + 3, zero), torch.full((2,), 18.0))


def test_bernoulli_loss_by_hand() -> None:
    loss = bernoulli_loss(torch.tensor([[1.0, 0.0, 0.5]]), torch.tensor([[0.5, 0.25, 0.5]]))
    assert loss.item() == pytest.approx((2 * math.log(2) - math.log(0.75)) / 3)
    cut = torch.zeros(1, 1, requires_grad=True)
    loss = bernoulli_loss(torch.ones(1, 1), cut)
    loss.backward()
    assert 50 < loss.item() < 100 and cut.grad is not None and cut.grad.item() == 0


def test_gaussian_nll_by_hand() -> None:
    x, mean, log_var = torch.tensor([[1.0, 3.0]]), torch.tensor([[1.0, 1.0]]), torch.tensor([[0.0, math.log(4.0)]])
    expected = math.log(2 * math.pi) + 0.5 * (4 / 4 + math.log(4.0))
    assert gaussian_nll(x, mean, log_var).tolist() == pytest.approx([expected])
    normal = torch.distributions.Normal(mean, (0.5 * log_var).exp())
    torch.testing.assert_close(gaussian_nll(x, mean, log_var), -normal.log_prob(x).sum(1))


def test_mixture_log_likelihood_by_hand() -> None:
    x, mean, log_var = torch.tensor([[2.0]]), torch.tensor([[[0.0], [2.0]]]), torch.tensor([[[0.0], [math.log(4.0)]]])
    weights = torch.tensor([0.5, 0.5]).log().view(1, 2, 1)
    expected = math.log(0.5 * math.exp(-2.0) + 0.5 * 0.5)
    assert mixture_log_likelihood(x, weights, mean, log_var).item() == pytest.approx(expected)
    alone = mixture_log_likelihood(x, torch.zeros(1, 1, 1), mean[:, :1], log_var[:, :1])
    assert alone.item() == pytest.approx(-2.0)


def test_inputs_know_hits_and_grids() -> None:
    shapes = ((2, 3), (2, 3))
    names = ("incident_energy", "u_0", "u_1", "hits_0", "hits_1")
    inputs = Inputs(12, names, shapes)
    assert (inputs.cond_dim, inputs.n_voxels, inputs.layer_sizes, inputs.grid) == (5, 12, (6, 6), (2, 2, 3))
    assert inputs.hits_given and not Inputs(12, names[:3], shapes).hits_given and not Inputs(4).hits_given
    with pytest.raises(GeometryError, match="no regular grid: its layers have 1 x 4, 2 x 3 cells"):
        _ = Inputs(10, names, ((2, 3), (1, 4))).grid
    with pytest.raises(GeometryError, match="its layers have no cells"):
        _ = Inputs(10).grid


def test_centres_of_voxels_are_those_of_the_geometry() -> None:
    geometry = load_geometry("calochallenge2")
    layout = Layout.of(geometry, 0.5)
    assert layout.centres is not None and layout.centres.shape == (6480, 3) and layout.periodic == (True,) * 45
    assert layout.centres[144].tolist() == pytest.approx([5.1, geometry.eta[144], geometry.phi[144]])
    flat = Layout.of(load_geometry("calochallenge1_photons"), 0.1)  # the depths of its layers are not known
    assert flat.centres is not None and flat.centres[:, 0].unique().tolist() == [0, 1, 2, 3, 4]
    assert Layout.of(load_geometry("calogan"), 0.1).periodic == (False, False, False)
