"""Losses of autoencoders that are put together of terms: each term by hand, and what the sum of them does."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from calopipe.config import validate
from calopipe.config.parts import MODELS
from calopipe.errors import ConfigError
from calopipe.geometry import load_geometry
from calopipe.models.autoencoders.shower_vae import ShowerVAE, ShowerVAEConfig
from calopipe.models.autoencoders.terms.composed import Compared, ComposedLoss
from calopipe.models.base import Inputs, Now
from calopipe.models.building import draw, surrounded
from calopipe.models.losses import (
    activity_loss,
    centroid_loss,
    centroids,
    continuous_bernoulli_mean,
    decoder_width_loss,
    log_normaliser,
    mae,
    mse,
    pole_map,
    smeared,
)
from calopipe.preprocessing import Layout

SHAPES = ((1, 3), (6, 4), (10, 3))
SIZES = [3, 24, 30]
POLAR = Inputs(57, ("incident_energy", "u_0", "u_1", "u_2"), SHAPES, torch.randn(57, 3), (True,) * 3, 0.1)
X = torch.tensor([[0.5, 0.25, 0.25, 0.0], [0.0, 0.5, 0.5, 0.0]])
X_HAT = torch.tensor([[0.5, 0.0, 0.5, 0.0], [0.25, 0.25, 0.5, 0.0]])
FLAT = Inputs(4, ("incident_energy", "u_0"), ((2, 2),), None, (False,), 0.1)
MEV = torch.tensor([[10.0], [20.0]])


def composed(*terms: dict, inputs: Inputs = FLAT) -> ComposedLoss:
    losses = validate(ShowerVAEConfig, {"losses": list(terms)}, "shower_vae").losses
    return ComposedLoss(losses, inputs)


def compared(log_var: Tensor | None = None) -> Compared:
    return Compared(X, X_HAT, lambda: MEV, log_var)


def neighbour(first: tuple[int, int], second: tuple[int, int], cells: int) -> bool:
    """Whether two cells (angle, ring) touch, by their angles in units of cells; the innermost ring touches across the centre."""
    turn = (first[0] - second[0]) % cells
    near, across = turn in (0, 1, cells - 1), (turn + cells // 2) % cells in (0, 1, cells - 1)
    rings = abs(first[1] - second[1])
    return first != second and ((rings <= 1 and near) or (first[1] == second[1] == 0 and across))


def test_a_layer_is_surrounded_by_its_seam_and_its_opposite_cells() -> None:
    x = torch.arange(8.0).view(1, 4, 2)
    expected = [[2, 6, 7, 0], [4, 0, 1, 0], [6, 2, 3, 0], [0, 4, 5, 0], [2, 6, 7, 0], [4, 0, 1, 0]]
    assert surrounded(x, True)[0].tolist() == expected
    flat = surrounded(x, False)[0]
    assert torch.equal(flat[1:-1, 1:-1], x[0]) and flat.sum() == x.sum()
    assert surrounded(x[:, :1], True)[0].tolist() == [[0, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]


def test_smearing_by_hand() -> None:
    """Every column of the matrix: 0.6 itself, 0.05 for 8 neighbours (5 at the rim), 2 in r where there is one angle."""
    matrix, start = smeared(torch.eye(57), POLAR), 0
    for angles, rings in SHAPES:
        cells = [(i, j) for i in range(angles) for j in range(rings)]
        part = matrix[start : start + len(cells), start : start + len(cells)]
        for a, first in enumerate(cells):
            for b, second in enumerate(cells):
                touch = abs(first[1] - second[1]) == 1 if angles == 1 else neighbour(first, second, angles)
                assert part[a, b].item() == pytest.approx(0.6 if a == b else 0.05 * touch), (angles, first, second)
        start += len(cells)
    counts = ((matrix - 0.05).abs() < 1e-6).sum(1).tolist()
    assert counts[:3] == [1, 2, 1] and counts[3:7] == [8, 8, 8, 5] and counts[27:30] == [8, 8, 5]
    assert (matrix != 0).sum() == sum(counts) + 57  # nothing from layer to layer
    corner = smeared(torch.eye(4), FLAT, own=0.5, neighbours=0.1)
    torch.testing.assert_close(corner, 0.1 + 0.4 * torch.eye(4))


def test_errors_by_hand() -> None:
    a, b = torch.tensor([[1.0, -2.0]]), torch.tensor([[0.0, 1.0]])
    assert mse(a, b) == 5.0 and mae(a, b) == 2.0


def test_activity_by_hand() -> None:
    """v = 0.1 and 0.14 MeV: t, and two s t above it; 5 MeV counts 1, 0 counts 1 / (1 + e^5)."""
    x, x_hat = torch.tensor([[0.1, 0.14]]), torch.tensor([[5.0, 0.0]])
    soft = [(0.5 + 1 / (1 + math.exp(-2))) / 2, (1 + 1 / (1 + math.exp(5))) / 2]
    assert activity_loss(x, x_hat).item() == pytest.approx((soft[0] - soft[1]) ** 2, rel=1e-5)
    assert activity_loss(x, x_hat, threshold=10.0, softness=0.01).item() == pytest.approx(0, abs=1e-9)


def test_centroids_by_hand() -> None:
    centres = torch.tensor([[0.0, 1.0, 5.0], [0.0, 3.0, 5.0], [9.0, -2.0, 4.0]])
    inputs = Inputs(3, layer_shapes=((1, 2), (1, 1)), centres=centres, periodic=(False, False))
    x, x_hat = torch.tensor([[0.25, 0.75, 0.0]]), torch.tensor([[1.0, 0.0, 0.5]])
    assert centroids(x, inputs).tolist() == [[[2.5, 5.0], [0.0, 0.0]]]
    assert centroid_loss(x, x_hat, inputs).item() == pytest.approx((1.5**2 + 0 + 2**2 + 4**2) / 4)


def test_decoder_width_by_hand() -> None:
    x, mean, log_var = torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, math.log(4.0)]])
    assert decoder_width_loss(x, mean, log_var).item() == pytest.approx((1 + math.log(4)) / 2)


@pytest.mark.parametrize("mean", [1e-4, 0.02, 0.449, 0.451, 0.4999, 0.5, 0.51, 0.549, 0.551, 0.9, 0.9999])
def test_continuous_bernoulli_is_normalised_and_has_its_mean(mean: float) -> None:
    """By integration in float64, on both sides of the joints of series and closed form."""
    x = (np.arange(200_000) + 0.5) / 200_000
    density = mean**x * (1 - mean) ** (1 - x)
    value = torch.tensor([mean], dtype=torch.float64)
    assert log_normaliser(value).exp().item() * density.mean() == pytest.approx(1, rel=1e-6)
    assert continuous_bernoulli_mean(value).item() == pytest.approx((x * density).mean() / density.mean(), rel=1e-6)
    for function in (log_normaliser, continuous_bernoulli_mean):
        exact = function(value.float().double()).item()
        assert function(value.float()).item() == pytest.approx(exact, abs=1e-5)


def test_continuous_bernoulli_is_finite_at_the_ends() -> None:
    ends = torch.tensor([0.0, 1e-12, 0.5, 1.0], requires_grad=True)
    found = log_normaliser(ends)
    assert found[0] == found[1] and found[2].item() == pytest.approx(math.log(2))
    assert found[0].item() == pytest.approx(math.log(math.log((1 - 1e-5) / 1e-5) / (1 - 2e-5)), rel=1e-5)
    assert continuous_bernoulli_mean(ends)[0] == 0
    (found.sum() + continuous_bernoulli_mean(ends).sum()).backward()
    assert ends.grad is not None and torch.isfinite(ends.grad).all()


def test_data_loss_in_its_three_normalisations() -> None:
    x, x_hat = X * MEV, X_HAT * MEV
    plain = composed({"term": "data_mse"})(compared())
    assert plain["data_mse"].item() == pytest.approx((2 * 0.0625 + 2 * 0.0625) / 8)
    by_voxel = composed({"term": "data_mse", "by": "voxel_means", "floor": 0.1})
    by_voxel.fit(X, lambda: MEV)
    means = torch.tensor([2.5, 6.25, 6.25, 0.625])  # the last voxel is never hit: a tenth of the largest mean
    torch.testing.assert_close(by_voxel.voxel_means, means)
    expected = (((x - x_hat) / means) ** 2).mean()
    torch.testing.assert_close(by_voxel(compared())["data_mse"], expected)
    by_shower = composed({"term": "data_mse", "by": "shower_mean"})(compared())
    torch.testing.assert_close(by_shower["data_mse"], ((x - x_hat) ** 2 / torch.tensor([[2.5], [5.0]])).mean())


def test_smearing_is_of_both_arguments() -> None:
    smearing = {"own": 0.5, "neighbours": 0.1}
    found = composed({"term": "data_mse", "smearing": smearing}, {"term": "logit_mae", "smearing": smearing})(
        compared()
    )
    matrix = 0.1 + 0.4 * torch.eye(4)
    torch.testing.assert_close(found["data_mse"], mse(X @ matrix, X_HAT @ matrix))
    k = [1e-6 + (1 - 1e-6 - 0.1) * x.double() for x in (X, X_HAT)]
    logits = [(v / (1 - v)).log().float() for v in k]
    torch.testing.assert_close(found["logit_mae"], mae(logits[0] @ matrix, logits[1] @ matrix))
    plain = composed({"term": "logit_mse"}, {"term": "logit_mae"})(compared())
    torch.testing.assert_close(plain["logit_mse"], mse(*logits))
    torch.testing.assert_close(plain["logit_mae"], mae(*logits))


def test_map_with_poles_by_hand() -> None:
    """With alpha_0 = 0.2 and alpha_1 = 0.3, k of 0, 0.6 and 1 is 0.2, 0.5 and 0.7; f(1/2) = -3/2 + 10 log 2."""
    expected = [0.2 - 5 - 10 * math.log(0.8), -1.5 + 10 * math.log(2), 0.7 - 1 / 0.7 - 10 * math.log(0.3)]
    found = pole_map(torch.tensor([0.0, 0.6, 1.0, -3.0, 1.5]), 0.2, 0.3)
    assert found.tolist() == pytest.approx([*expected, expected[0], expected[2]], rel=1e-6)
    near = pole_map(torch.tensor([0.0, 1e-7, 1.0]), 1e-6, 1e-8)  # float32 knows no 1 - 1e-8
    assert near.tolist() == pytest.approx([-1e6, -1 / 1.1e-6, 80 * math.log(10)], rel=1e-5)
    x = torch.linspace(0, 1, 1001, dtype=torch.float64)
    assert (pole_map(x, 1e-3, 0.1).diff() > 0).all()


def test_pole_term_is_the_squared_error_of_the_map() -> None:
    """One voxel of two: k = 0.5 and 0.25, f = -1.5 + 10 log 2 and -3.75 - 10 log 0.75; the other is the same."""
    voxels = Compared(torch.tensor([[0.5, 0.0]]), torch.tensor([[0.0, 0.0]]), lambda: MEV)
    terms = composed({"term": "pole_mse", "alpha_0": 0.25, "alpha_1": 0.25, "weight": 4.0})
    found, f = terms(voxels), (-1.5 + 10 * math.log(2), -3.75 - 10 * math.log(0.75))
    assert found["pole_mse"].item() == pytest.approx((f[0] - f[1]) ** 2 / 2, rel=1e-5)
    assert found["loss"].item() == pytest.approx(0.5 * 4 * found["pole_mse"].item())


def test_gradient_of_the_pole_term_grows_where_that_of_the_squared_error_stands_still() -> None:
    """Figure 37 of Ernst 2023: predictions that are far too small, for a voxel with a tenth of the layer's energy."""
    slopes = {}
    for name in ("data_mse", "bce", "pole_mse"):
        x_hat = torch.tensor([[0.01], [0.02], [0.05]], requires_grad=True)
        term = {"alpha_0": 1e-4} if name == "pole_mse" else {}
        composed({"term": name, **term})(Compared(torch.full((3, 1), 0.1), x_hat, lambda: MEV))["loss"].backward()
        slopes[name] = (-x_hat.grad[:, 0]).tolist()
    assert slopes["data_mse"][0] / slopes["data_mse"][2] == pytest.approx(0.09 / 0.05)
    assert slopes["bce"][0] / slopes["bce"][2] == pytest.approx(0.09 / 0.05 * 0.05 * 0.95 / (0.01 * 0.99), rel=1e-4)
    assert slopes["pole_mse"][0] / slopes["pole_mse"][2] > 25 * 0.09 / 0.05
    assert all(a > b > c > 0 for a, b, c in slopes.values())


def test_activity_is_of_energies_and_the_sum_is_half_of_the_weighted_terms() -> None:
    found = composed({"term": "activity", "weight": 1e3, "threshold_MeV": 4.0}, {"term": "bce", "weight": 10.0})(
        compared()
    )
    torch.testing.assert_close(found["activity"], activity_loss(X * MEV, X_HAT * MEV, 4.0))
    torch.testing.assert_close(found["loss"], 0.5 * (1e3 * found["activity"] + 10 * found["bce"]))


def test_log_c_warms_up() -> None:
    """0 for 50 epochs, then linearly to 1 within 50; the epoch is part of the state, for validation and resumed trainings."""
    terms = composed({"term": "continuous_bce"})
    plain, log_c = composed({"term": "bce"})(compared())["bce"], log_normaliser(X_HAT).mean()
    assert log_c > 0.5
    for epoch, factor in ((0, 0), (50, 0), (75, 0.5), (100, 1), (500, 1)):
        terms.begin(epoch)
        torch.testing.assert_close(terms(compared())["continuous_bce"], plain - factor * log_c)
    terms.begin(75)
    other = composed({"term": "continuous_bce"})
    other.load_state_dict(terms.state_dict())
    assert other(compared())["continuous_bce"] == terms(compared())["continuous_bce"]


def test_data_loss_is_balanced_once_after_some_epochs() -> None:
    terms = composed({"term": "data_mse", "weight": 8.0, "balance_after": 2}, {"term": "logit_mae", "weight": 3.0})
    for epoch, data, logit in ((0, 1.0, 5.0), (0, 2.0, 6.0), (1, 1.0, 4.0)):
        terms.begin(epoch)
        assert terms.balance == 1
        terms.remember({"data_mse": torch.tensor(data), "logit_mae": torch.tensor(logit)})
    resumed = composed({"term": "data_mse", "weight": 8.0, "balance_after": 2}, {"term": "logit_mae", "weight": 3.0})
    resumed.load_state_dict(terms.state_dict())
    for which in (terms, resumed):
        for epoch in (2, 3):
            which.begin(epoch)
            which.remember({"data_mse": torch.tensor(100.0), "logit_mae": torch.tensor(1.0)})
            assert which.balance.item() == pytest.approx(3 * 15 / (8 * 4))
    found = terms(compared())
    expected = 0.5 * (8 * 45 / 32 * found["data_mse"] + 3 * found["logit_mae"])
    torch.testing.assert_close(found["loss"], expected)


def vae(name: str = "shower_vae", **settings) -> ShowerVAE:
    torch.manual_seed(0)
    config = validate(MODELS.config_class(name), {"hidden": [16, 8], "latent": 3, **settings}, name)
    return MODELS.get(name)(config, POLAR)


def showers(n: int = 64) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(n, 57, generator=generator).pow(6)
    x = torch.where(x < 0.01, torch.zeros_like(x), x)
    x = torch.cat([0.9 * part / part.sum(1, keepdim=True).clamp(min=1e-9) for part in x.split(SIZES, 1)], dim=1)
    return x, 0.1 + 0.8 * torch.rand(n, 4, generator=generator)


def test_loss_is_half_of_the_terms_and_beta_times_kl() -> None:
    model, (x, cond) = vae(beta=0.3), showers()
    model.fit_input(x, cond)
    torch.manual_seed(2)
    found = model.loss(x, cond)
    torch.manual_seed(2)
    mu, logvar = model.encode(x, cond)
    y = model.decode(draw(mu, logvar), cond)
    parts = zip(y.split(SIZES, 1), x.split(SIZES, 1), strict=True)
    y = torch.cat([a / a.sum(1, keepdim=True) * b.sum(1, keepdim=True) for a, b in parts], dim=1)
    logits = [torch.logit(1e-6 + (1 - 1e-6 - 0.1) * v.double()) for v in (x, y)]
    kl = -0.5 * (1 + logvar - mu**2 - logvar.exp()).sum(1).mean()
    expected = 0.5 * (1e4 * mse(x, y) + mae(*logits)) + 0.3 * kl
    assert found["loss"].item() == pytest.approx(expected.item(), rel=1e-4)
    assert set(found) == {"loss", "data_mse", "logit_mae", "kl"} and found["kl"].item() == pytest.approx(kl.item())


def test_learned_widths_are_clipped_and_used() -> None:
    model, (x, cond) = vae(losses=[{"term": "decoder_width", "weight": 1.0, "log_var_range": [-2, 3]}]), showers()
    model.fit_input(x, cond)
    mean, log_var = model.parameters_of(torch.randn(64, 3), cond)
    assert log_var is not None and mean.shape == log_var.shape == x.shape
    torch.nn.init.constant_(model.decoder[-1].bias[57:], -50.0)
    _, low = model.parameters_of(torch.zeros(64, 3), cond)
    assert low is not None and (low == -2).all()
    found = model.loss(x, cond)
    assert found["decoder_width"] > -2 + 1e-9  # the squared error over e^-2 is added to it


def test_continuous_bernoulli_decodes_to_the_mean_and_learns_the_parameter() -> None:
    model, (x, cond) = vae("bernoulli_vae", losses=[{"term": "continuous_bce", "start": 0, "rise": 1}]), showers()
    model.fit_input(x, cond)
    z = torch.randn(64, 3)
    parameter, _ = model.parameters_of(z, cond)
    torch.testing.assert_close(model.decode(z, cond), continuous_bernoulli_mean(parameter.clamp(max=1)))
    model.step("loss", x, cond, Now(9, 10, 0, 1, 64))
    torch.manual_seed(3)
    late = model.validate(x, cond)["continuous_bce"]
    model.step("loss", x, cond, Now(0, 10, 0, 1, 64))
    torch.manual_seed(3)
    early = model.validate(x, cond)["continuous_bce"]
    torch.manual_seed(3)
    mean, _ = model.parameters_of(draw(*model.encode(x, cond)), cond)
    torch.testing.assert_close(early - late, log_normaliser(mean).mean(), rtol=1e-4, atol=1e-5)


def test_a_resumed_training_keeps_the_balance() -> None:
    """Steps with and without a copy of the state between them end at the same weights."""
    losses = [{"term": "data_mse", "weight": 1.0, "balance_after": 1}, {"term": "logit_mae"}]
    x, cond = showers()

    def trained(again: bool) -> ShowerVAE:
        model = vae(losses=losses)
        model.fit_input(x, cond)
        for epoch in range(3):
            if again and epoch == 1:
                state = copy.deepcopy(model.state_dict())
                model = vae(losses=losses)
                model.load_state_dict(state)
            torch.manual_seed(epoch)
            model.zero_grad()
            model.step("loss", x, cond, Now(epoch, 3, epoch, 3, 64))["loss"].backward()
            with torch.no_grad():
                for p in model.parameters():
                    p.sub_(1e-3 * p.grad)
        return model

    straight, resumed = trained(False), trained(True)
    assert straight.terms.balance != 1
    assert all(
        torch.equal(a, b) for a, b in zip(straight.state_dict().values(), resumed.state_dict().values(), strict=True)
    )


def test_dropout_and_batch_norm_are_settings() -> None:
    assert not [m for m in vae().modules() if isinstance(m, torch.nn.BatchNorm1d)]
    norms = [m.num_features for m in vae(batch_norm=True).modules() if isinstance(m, torch.nn.BatchNorm1d)]
    assert norms == [16, 8, 8, 16]
    model, (x, cond) = vae(dropout=0.5), showers()
    model.fit_input(x, cond)
    assert not torch.equal(model.encode(x, cond)[0], model.encode(x, cond)[0])
    model.eval()
    assert torch.equal(model.encode(x, cond)[0], model.encode(x, cond)[0])


@pytest.mark.parametrize(
    ("losses", "message"),
    [
        ([], "losses: "),
        ([{"term": "logit"}], "losses.0: expected a term of the loss, {term: data_mse, logit_mae"),
        ([{"term": "bce"}, {"term": "bce"}], "losses: expected each term once, found 'bce' twice"),
        ([{"term": "bce"}, {"term": "continuous_bce"}], "without another distribution of the voxels, found bce"),
        ([{"term": "data_mse", "balance_after": 3}], "expected logit_mae or logit_mse beside a data_mse"),
        (
            [{"term": "activity", "treshold_MeV": 1.0}],
            "losses.0.treshold_MeV: unknown key (did you mean 'threshold_MeV'?)",
        ),
        ([{"term": "bce", "weight": -1.0}], "losses.0.weight: "),
    ],
)
def test_losses_that_cannot_be(losses: list[dict], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        validate(ShowerVAEConfig, {"losses": losses}, "")
    assert message in str(caught.value) and "\n" not in str(caught.value)


def conv_vae(**settings) -> ShowerVAE:
    return vae("conv_vae", **{"channels": [4, 4], "features": 5, **settings})


def test_convolutions_see_across_the_seam_and_the_centre_of_their_own_layer() -> None:
    """Two convolutions carry a voxel two cells on, angle 0 is next to the last and opposite to half a turn on; no further."""
    model = conv_vae()
    front = model.encoder[0].double()
    x = torch.rand(1, 61, dtype=torch.float64)
    with torch.no_grad():
        for p in front.parameters():
            p.abs_()  # no ReLU cuts anything
        plain = front(x)[0].split([5, 4 * 24, 4 * 30, 5])
        changed = x.clone()
        changed[0, 3 + 24] += 1.0  # angle 0, innermost ring, of the layer of 10 x 3 cells
        after = front(changed)[0].split([5, 4 * 24, 4 * 30, 5])
    for i in (0, 1, 3):
        assert torch.equal(plain[i], after[i])
    moved = (plain[2] != after[2]).view(4, 10, 3).any(0)
    cells = [(i, j) for i in range(10) for j in range(3)]
    near = [{b for b in cells if b == a or neighbour(a, b, 10)} for a in cells]
    expected = set().union(*(near[cells.index(b)] for b in near[0]))
    assert {cell for cell in cells if moved[cell]} == expected and 10 < len(expected) < 30


def test_decoders_of_layers_mirror_their_encoders() -> None:
    """By hand: sizes of all weights; with learned widths every layer gives two numbers per voxel."""
    count = {n: sum(p.numel() for p in part.parameters()) for n, part in conv_vae().named_children()}
    layer_nets = 2 * ((9 + 1) * 4 + (36 + 1) * 4)
    dense = (3 + 1) * 5 + (4 + 1) * 5
    features = 5 + 4 * 54 + 5
    assert count["encoder"] == layer_nets + dense + (features + 1) * 16 + 17 * 8 + 9 * 6
    back = 2 * ((36 + 1) * 4 + (36 + 1) * 1) + (5 + 1) * 3
    assert count["decoder"] == (3 + 4 + 1) * 8 + 9 * 16 + 17 * (features - 5) + back
    model, (x, cond) = conv_vae(losses=[{"term": "decoder_width"}]), showers()
    model.fit_input(x, cond)
    torch.nn.init.constant_(model.decoder[2].parts[0].bias[3:], -50.0)
    mean, log_var = model.parameters_of(torch.zeros(64, 3), cond)
    assert log_var is not None and (log_var[:, :3] == -10).all() and (log_var[:, 3:] > -10).all()
    assert mean.shape == x.shape


def test_layers_of_the_detector_have_their_neighbours() -> None:
    """Photons of the CaloChallenge: 8, 16 x 10, 19 x 10, 5 and 5 cells; a uniform layer keeps its inner cells."""
    layout = Layout.of(load_geometry("calochallenge1_photons"), 1e-3)
    inputs = Inputs(368, layer_shapes=layout.layer_shapes, periodic=layout.periodic)
    out = smeared(torch.ones(1, 368), inputs)[0].split(list(inputs.layer_sizes))
    assert out[0].tolist() == pytest.approx([0.65, *[0.7] * 6, 0.65])
    for part, rings in ((out[1], 16), (out[2], 19)):
        assert part.view(10, rings)[:, :-1].flatten().tolist() == pytest.approx([1.0] * 10 * (rings - 1))
        assert part.view(10, rings)[:, -1].tolist() == pytest.approx([0.85] * 10)
