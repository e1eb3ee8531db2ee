"""Flows of residual spline layers: inverses and log-dets, alternating masks, the autoregressive order, the condition in each
block, and that data are scaled to where the splines act.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from calopipe.config import validate
from calopipe.config.chains import Columns
from calopipe.config.parts import MODELS
from calopipe.models.base import Inputs
from calopipe.models.flows.layers import Autoregressive, LULinear, Permutation, ResidualCoupling
from calopipe.models.flows.neural_splines import ResidualSplineFlow
from calopipe.models.flows.residual import MaskedResidualNet, ResidualNet

FLOWS = ("coupling_rqs", "autoregressive_rqs")


def flow(name: str, dim: int = 5, cond_dim: int = 2, shaken: float = 0.3, **settings: object) -> ResidualSplineFlow:
    """A small flow in float64 with weights that are far from the start; x are of order ten."""
    torch.manual_seed(0)
    cls = MODELS.config_class(name)
    config = validate(cls, {"layers": 3, "width": 16, "bins": 4, **settings}, "m")
    names = ("incident_energy", "energy_0", "energy_1")[:cond_dim]
    found = MODELS.get(name)(config, Inputs(dim, names, n_train=64, seed=3)).double()
    found.fit_input(10 * torch.randn(64, dim).double(), torch.zeros(64, cond_dim).double())
    return shake(found, shaken)


def shake(module: nn.Module, by: float) -> nn.Module:
    for parameter in module.parameters():
        parameter.data += by * torch.randn_like(parameter)
    return module


def data(dim: int = 5, cond_dim: int = 2, n: int = 40) -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    return 10 * torch.randn(n, dim).double(), torch.randn(n, cond_dim).double()


def jacobian(function, x: Tensor, cond: Tensor) -> Tensor:
    """(N, D, D) of a function that treats rows alone."""
    found = torch.autograd.functional.jacobian(lambda v: function(v, cond)[0].sum(0), x)
    return found.permute(1, 0, 2)


@pytest.mark.parametrize("settings", [{}, {"bounds": 0.3}, {"layers": 2, "bounds": 3.0}], ids=str)
@pytest.mark.parametrize("name", FLOWS)
def test_inverse_and_log_det(name: str, settings: dict) -> None:
    model, (x, cond) = flow(name, **settings), data()
    z, logdet = model.flow(x, cond)
    back, logdet_back = model.flow.inverse(z, cond)
    torch.testing.assert_close(back, x, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(logdet_back, -logdet, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(logdet, jacobian(model.flow, x, cond).slogdet()[1], rtol=1e-8, atol=1e-8)
    assert (z - x).abs().max() > 0.1


@pytest.mark.parametrize("name", FLOWS)
def test_inverse_with_float32_weights_is_as_exact(name: str) -> None:
    model, (x, cond) = flow(name).float(), data()
    with torch.no_grad():
        z, _ = model.flow(x, cond.float())
        torch.testing.assert_close(model.flow.inverse(z, cond.float())[0], x, rtol=1e-8, atol=1e-8)
        model.flow.rows = 7
        torch.testing.assert_close(model.flow(x, cond.float())[0], z, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", FLOWS)
def test_density_is_normalised(name: str) -> None:
    model = flow(name, dim=2, cond_dim=1, shaken=0.1)
    model.flow.scale.fill_(2)
    line = torch.linspace(-16, 16, 641).double()
    grid = torch.cartesian_prod(line, line)
    with torch.no_grad():
        total = model.log_prob(grid, torch.ones(len(grid), 1).double()).exp().sum() * (line[1] - line[0]) ** 2
    assert total.item() == pytest.approx(1, abs=3e-3)


def test_lu_linear_starts_as_the_identity_and_counts_its_log_det() -> None:
    torch.manual_seed(0)
    layer, x, cond = LULinear(4).double(), *data(4)
    z, logdet = layer(x, cond)
    torch.testing.assert_close(z, x)
    torch.testing.assert_close(logdet, torch.zeros(40).double())
    shake(layer, 0.7)
    z, logdet = layer(x, cond)
    matrix = jacobian(layer, x[:1], cond[:1])[0]
    assert (matrix.abs() > 1e-3).all() and logdet.abs().min() > 0.01
    torch.testing.assert_close(logdet, matrix.slogdet()[1].expand(40))
    torch.testing.assert_close(layer.inverse(z, cond)[0], x)
    torch.testing.assert_close(layer.inverse(z, cond)[1], -logdet)


def test_coupling_masks_alternate_with_linear_maps_between() -> None:
    layers = list(flow("coupling_rqs", layers=4).flow.layers)
    assert [type(layer) for layer in layers] == [ResidualCoupling, Permutation, LULinear] * 4
    actives = [layer.active.tolist() for layer in layers[::3]]
    assert actives == [[1, 3], [0, 2, 4], [1, 3], [0, 2, 4]]
    orders = [tuple(layer.order.tolist()) for layer in layers[1::3]]
    assert all(sorted(order) == list(range(5)) for order in orders) and len(set(orders)) > 1
    plain = flow("coupling_rqs", layers=2, linear=False)
    assert [type(layer) for layer in plain.flow.layers] == [ResidualCoupling] * 2
    x, cond = data()
    inside = 0.01 * x  # within the bounds, where splines move every column
    moved = (plain.flow(inside, cond)[0] * plain.flow.scale - inside).abs().amax(0)
    assert (moved > 1e-3).all()


@pytest.mark.parametrize("columns", [[0, 2], [1]])
def test_coupling_passes_the_other_columns_on(columns: list[int]) -> None:
    torch.manual_seed(0)
    layer = shake(ResidualCoupling(3, 2, torch.tensor(columns), 16, 3, 4, 10.0).double(), 0.3)
    x, cond = data(3)
    x = 0.1 * x
    z, _ = layer(x, cond)
    rest = [i for i in range(3) if i not in columns]
    assert torch.equal(z[:, rest], x[:, rest]) and (z[:, columns] != x[:, columns]).all()
    seen = jacobian(layer, x, cond)[:, columns][:, :, rest].abs().amax(0)
    assert (seen > 0).all()


def test_autoregressive_layers_are_triangular_and_their_order_reverses() -> None:
    torch.manual_seed(0)
    layer = shake(Autoregressive(5, 2, 24, 3, 4, 40.0).double(), 0.5)
    x, cond = data()
    matrices = jacobian(layer, x, cond)
    assert (matrices.triu(1) == 0).all()
    assert (matrices.abs().amax(0).tril() + torch.ones(5, 5).triu(1) > 1e-6).all()  # every column sees all before it
    assert (layer(0.1 * x, cond)[0] != layer(0.1 * x, cond + 1)[0]).all()  # the first column too
    diagonal = matrices.diagonal(dim1=1, dim2=2)
    torch.testing.assert_close(layer(x, cond)[1], diagonal.log().sum(1), rtol=1e-8, atol=1e-8)
    layers = list(flow("autoregressive_rqs", layers=3).flow.layers)
    assert [type(part) for part in layers] == [Autoregressive, Permutation] * 2 + [Autoregressive, LULinear]
    assert all(part.order.tolist() == [4, 3, 2, 1, 0] for part in layers[1:5:2])
    two = flow("autoregressive_rqs", layers=2, shaken=0.5, bounds=4.0)
    assert (jacobian(two.flow, x, cond).abs().amax(0) > 0).all()


@pytest.mark.parametrize("block", range(3))
@pytest.mark.parametrize("masked", [False, True])
def test_every_block_sees_the_condition(masked: bool, block: int) -> None:
    """With the condition taken out everywhere but in one block, outputs still follow it."""
    torch.manual_seed(0)
    net = MaskedResidualNet(4, 2, 5, 16, 3) if masked else ResidualNet(4, 2, 20, 16, 3)
    shake(net, 0.3)
    with torch.no_grad():
        if masked:
            net.condition.weight.zero_()
        else:
            net.first.weight[:, 4:] = 0
        for i, part in enumerate(net.blocks):
            if i != block:
                part.gate.weight.zero_()
        x = torch.randn(8, 4)
        first, second = net(x, torch.zeros(8, 2)), net(x, torch.ones(8, 2))
        assert (first - second).abs().min() > 0
        net.blocks[block].gate.weight.zero_()
        assert torch.equal(net(x, torch.zeros(8, 2)), net(x, torch.ones(8, 2)))


@pytest.mark.parametrize("name", FLOWS)
def test_data_are_scaled_to_the_splines(name: str) -> None:
    model, (x, cond) = flow(name, shaken=0.0), data()
    model.fit_input(x, cond)
    assert model.flow.scale == x.abs().max()
    seen: list[Tensor] = []
    model.flow.layers[0].register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    model.log_prob(x, cond)
    assert seen[0].abs().max() == 1
    plain = flow(name, scale_data=False)
    assert plain.flow.scale == 1


def test_sizes_are_those_of_the_published_networks() -> None:
    """3 residual blocks, not 3 linear layers, of the width; 8 bins; weights that are counted by hand."""

    def residual(inputs: int, cond: int, outputs: int, width: int) -> int:
        block = 2 * (width * width + width) + cond * width + width
        return (inputs + cond) * width + width + 3 * block + width * outputs + outputs

    def count(name: str, dim: int, cond: int, **settings: int) -> int:
        config = validate(MODELS.config_class(name), settings, "m")
        names = ("incident_energy", *(f"energy_{i}" for i in range(cond - 1)))
        return sum(p.numel() for p in MODELS.get(name)(config, Inputs(dim, names, n_train=9)).parameters())

    lu = 20 * 19 + 40
    assert count("coupling_rqs", 20, 1, width=256) == 4 * (residual(10, 1, 10 * 23, 256) + lu)
    first = residual(7, 1, 7 * 23, 128) + 128  # the condition has a layer of its own
    assert count("autoregressive_rqs", 7, 1) == 8 * first + 7 * 6 + 2 * 7


def test_settings_fit_their_columns() -> None:
    one = Columns(((1, 1),), 0.0, 1)
    with pytest.raises(ValueError, match="needs 2 columns or more, found 1"):
        validate(MODELS.config_class("coupling_rqs"), {}, "m").takes(one)
    validate(MODELS.config_class("autoregressive_rqs"), {}, "m").takes(one)
    model = flow("autoregressive_rqs", dim=1, cond_dim=1)
    line = torch.linspace(-400, 400, 800_001).double()[:, None]
    with torch.no_grad():
        total = model.log_prob(line, torch.ones(len(line), 1).double()).exp().sum() * 0.001
    assert total.item() == pytest.approx(1, abs=1e-3) and math.isfinite(total)


@pytest.mark.parametrize("name", FLOWS)
def test_data_scaled_to_the_bounds_are_learned(name: str) -> None:
    """Normal data: drawn ones have their width, and none lie far outside of what was learned."""
    torch.manual_seed(0)
    model = flow(name, dim=2, cond_dim=1, shaken=0.0, layers=2, width=32, residual_blocks=1, bins=16).float()
    x, cond = 3 * torch.randn(4000, 2), torch.ones(4000, 1)
    model.fit_input(x, cond)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(600):
        rows = torch.randint(4000, (256,))
        optimizer.zero_grad()
        model.loss(x[rows], cond[rows])["loss"].backward()
        optimizer.step()
    with torch.no_grad():
        drawn = model.sample(cond)
    torch.testing.assert_close(drawn.std(0) / x.std(0), torch.ones(2), rtol=0, atol=0.15)
    assert (drawn.abs().amax(0) < 2 * x.abs().amax(0)).all()
