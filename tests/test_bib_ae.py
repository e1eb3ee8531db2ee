"""The BIB-AE and its post-processor: what each network sees, the terms of the losses by hand, and both in one chain."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from calopipe.config import Generation, Model, validate
from calopipe.config.chains import Columns, showers
from calopipe.errors import ConfigError
from calopipe.geometry import load_geometry
from calopipe.io import Showers, read_showers, write_showers
from calopipe.models.adversarial.bib_ae.model import BIBAE
from calopipe.models.adversarial.bib_ae.settings import BIBAEConfig
from calopipe.models.base import Inputs, Now
from calopipe.models.discrepancies import gaussian_mmd, sorted_hit_mmd
from calopipe.models.refiners.post_processor import PostProcessor
from calopipe.models.refiners.settings import PostProcessorConfig
from calopipe.sampling import generate
from calopipe.sampling.whole import train_model
from calopipe.training import TrainingJob

NOW = Now(epoch=0, epochs=1, step=0, steps=1, n_train=10)
GRID = (4, 8, 7)
SMALL = {"channels": 2, "dense": [16, 12], "latent": 3, "padded": 8, "critic_channels": 4, "critic_features": 6,
         "critic_hidden": [12], "latent_critic": [8]}  # fmt: skip


def inputs(grid: tuple[int, int, int] = GRID) -> Inputs:
    return Inputs(dim=math.prod(grid), layer_shapes=(grid[1:],) * grid[0])


def bib_ae(grid: tuple[int, int, int] = GRID, **settings: Any) -> BIBAE:
    torch.manual_seed(0)
    return BIBAE(validate(BIBAEConfig, {**SMALL, **settings}, "bib_ae"), inputs(grid))


def data(n: int = 6, grid: tuple[int, int, int] = GRID) -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    x = 3 * torch.rand(n, math.prod(grid)).pow(4)
    return torch.where(x < 0.1, 0, x), torch.linspace(-1, 1, n)[:, None]


def seen_by(network: nn.Module) -> list[Tensor]:
    """What a network is given from now on, its first argument."""
    found: list[Tensor] = []
    network.register_forward_pre_hook(lambda _, arguments: found.append(arguments[0].detach()))
    return found


# -- discrepancies --------------------------------------------------------------------------------------------------------
def mean_of(k: Callable[[float], float], a: list[float], b: list[float]) -> float:
    return sum(k(p - q) for p, q in product(a, b)) / (len(a) * len(b))


def test_discrepancy_of_rows_by_hand() -> None:
    x, y = [0.0, 1.0], [2.0, 2.5, 4.0]

    def k(d: float) -> float:
        return math.exp(-0.5 * d * d) + math.exp(-0.1 * d * d)

    expected = mean_of(k, x, x) + mean_of(k, y, y) - 2 * mean_of(k, x, y)
    found = gaussian_mmd(torch.tensor(x)[:, None], torch.tensor(y)[:, None], [0.5, 0.1])
    assert found.item() == pytest.approx(expected, rel=1e-5)
    many = torch.randn(20, 5)
    assert gaussian_mmd(many, many[torch.randperm(20)], [1.0, 0.01]).item() == pytest.approx(0, abs=1e-6)
    one = gaussian_mmd(torch.tensor([[1.0, 2.0]]), torch.tensor([[4.0, 6.0]]), [0.02])  # a distance of 5
    assert one.item() == pytest.approx(2 - 2 * math.exp(-0.5), rel=1e-5)


def test_discrepancy_of_sorted_hits_by_hand() -> None:
    """Windows of 3 at the largest voxels, from the second on, and (shorter) from the fourth on; none starts at 6 or later."""
    x, y = torch.tensor([[0.1, 0.9, 0.3, 0.0, 0.5]]), torch.tensor([[0.6, 0.0, 0.2, 1.0, 0.2]])
    above, below = [0.9, 0.5, 0.3, 0.1, 0.0], [1.0, 0.6, 0.2, 0.2, 0.0]

    def k(d: float) -> float:
        return math.exp(-20 * d * d)

    def window(start: int) -> float:
        a, b = above[start : start + 3], below[start : start + 3]
        return mean_of(k, a, a) + mean_of(k, b, b) - 2 * mean_of(k, a, b)

    found = sorted_hit_mmd(x, y, kernel=3, stride=2, first=6, alpha=20.0)
    assert found.item() == pytest.approx((window(0) + window(2) + window(4)) / 3, rel=1e-5)
    assert sorted_hit_mmd(x, y, kernel=3, stride=2, first=2, alpha=20.0).item() == pytest.approx(window(0), rel=1e-5)
    both = sorted_hit_mmd(torch.cat([x, x]), torch.cat([y, x]), kernel=3, stride=2, first=2, alpha=20.0)
    assert both.item() == pytest.approx(window(0) / 2, rel=1e-5)  # a mean over showers, each with its own partner


def test_hits_count_wherever_they_are_and_by_rank() -> None:
    x, _ = data()
    settings: dict[str, Any] = {"kernel": 20, "stride": 5, "first": 60, "alpha": 200.0}
    assert sorted_hit_mmd(x, x[:, torch.randperm(x.shape[1])], **settings).item() == pytest.approx(0, abs=1e-6)
    largest = x.max()
    assert sorted_hit_mmd(x, torch.where(x == largest, 2 * x, x), **settings) > 0
    y = (1.1 * x).requires_grad_()
    sorted_hit_mmd(x, y, **settings).backward()
    assert y.grad is not None and y.grad.abs().sum() > 0


# -- the autoencoder ------------------------------------------------------------------------------------------------------
def test_pure_noise_stands_behind_the_latents() -> None:
    model, (x, cond) = bib_ae((1, 2, 2)), data(4000, (1, 2, 2))
    codes = []
    for row in (x, x.roll(1, 0)):
        torch.manual_seed(2)
        codes.append(model.code(model._images(row), cond))
    first, other = (code.z for code in codes)
    assert first.shape == (4000, 8) and torch.equal(first[:, 3:], other[:, 3:])  # nothing of the shower is in it
    assert not torch.equal(first[:, :3], other[:, :3])
    assert first[:, 3:].mean().item() == pytest.approx(0, abs=0.03) and first[:, 3:].std().item() == pytest.approx(
        1, abs=0.03
    )
    drawn = (first[:, :3] - codes[0].mu) / (0.5 * codes[0].logvar).exp()
    assert drawn.std().item() == pytest.approx(1, abs=0.03)


def test_decoding_draws_the_noise_and_the_decoder_uses_it() -> None:
    model, (x, cond) = bib_ae(), data()
    z, _ = model.encode(x, cond)
    torch.manual_seed(3)
    noise = torch.cat([z, torch.empty(len(z), 5).normal_()], dim=1)
    torch.manual_seed(3)
    assert torch.equal(model.decode(z, cond), model.draw(noise, cond))
    assert not torch.equal(model.decode(z, cond), model.decode(z, cond))
    noise = noise.detach().requires_grad_()
    model.draw(noise, cond).sum().backward()
    assert noise.grad is not None and (noise.grad.abs().sum(0) > 0).all()


def test_images_are_those_of_the_grid_and_positive() -> None:
    model, (x, cond) = bib_ae(unit=2.0), data()
    assert torch.equal(model._images(x)[2, 0, 3, 5, 6], x[2, 3 * 56 + 5 * 7 + 6] / 2)
    made = model.draw(torch.randn(6, 8), cond)
    assert made.shape == x.shape and (made >= 0).all() and (made == 0).any() and (made > 0).any()


@pytest.mark.parametrize("part", ["encoder", "decoder", "image_critic"])
def test_conditions_reach_every_network(part: str) -> None:
    model, (x, cond) = bib_ae(), data()
    image = model._images(x)
    made: dict[str, Callable[[Tensor], Tensor]] = {
        "encoder": lambda c: model.encode(x, c)[0],
        "decoder": lambda c: model.draw(torch.ones(6, 8), c),
        "image_critic": lambda c: model.image_critic(torch.cat([image, image], dim=1), model.conditions(c)),
    }
    assert not torch.allclose(made[part](cond), made[part](cond.flip(0)))
    before = made[part](cond)
    model.conditions.set(torch.tensor([10.0]), torch.tensor([100.0]))
    torch.testing.assert_close(made[part](10 + 100 * cond), before, rtol=1e-3, atol=1e-5)


def test_the_image_critic_sees_both_streams_and_the_difference() -> None:
    """Data are paired with themselves: their difference image is 0; that of what was made is what was made less the input."""
    model, (x, cond) = bib_ae(), data()
    critic = model.image_critic
    linear, log, difference = (seen_by(part) for part in (critic.linear, critic.logarithmic, critic.difference))
    model.step("image_critic", x, cond, NOW)
    image = model._images(x)
    _, of_data, of_made = difference  # the first are the points of the penalty
    assert torch.equal(linear[1], image) and torch.allclose(log[1], (image + 1).log(), atol=1e-6) and not of_data.any()
    assert (
        of_made.any()
        and torch.equal(of_made, linear[2] - image)
        and torch.allclose(log[2], (linear[2] + 1).log(), atol=1e-6)
    )


def test_the_penalty_is_that_of_pairs() -> None:
    """A critic 3 a + 4 b of images a and b has a gradient of 5 sqrt(cells), whatever the images."""

    class Linear(nn.Module):
        def forward(self, pair: Tensor, cond: Tensor) -> Tensor:
            return 3 * pair[:, 0].flatten(1).sum(1) + 4 * pair[:, 1].flatten(1).sum(1)

    model, (x, cond) = bib_ae(), data()
    model.image_critic = Linear()  # type: ignore[assignment]
    losses = model.step("image_critic", x, cond, NOW)
    assert losses["penalty"].item() == pytest.approx(10 * (5 * math.sqrt(4 * 8 * 7) - 1) ** 2, rel=1e-4)
    assert losses["loss"].item() == pytest.approx((losses["penalty"] - losses["wasserstein"]).item(), rel=1e-5)


def test_the_latent_critic_judges_each_number_alone() -> None:
    model, z = bib_ae(), torch.randn(5, 8)
    logits = model.judge_latents(z)
    assert logits.shape == z.shape and logits.std() > 0
    assert torch.allclose(model.judge_latents(z.flip(0, 1)), logits.flip(0, 1))  # the same function of every number
    z[2, 3] = 7.0
    assert (model.judge_latents(z) != logits).nonzero().tolist() == [[2, 3]]


@pytest.mark.parametrize(("terms", "numbers"), [("all", 8), ("encoded", 3)])
def test_what_the_latent_terms_see(terms: str, numbers: int) -> None:
    model, (x, cond) = bib_ae(latent_terms=terms), data()
    found = seen_by(model.latent_critic)
    losses = model.step("latent_critic", x, cond, NOW)
    assert all(z.shape == (6, numbers, 1) for z in found) and len(found) == 3
    assert {"loss", "latent_penalty", "latent_wasserstein"} == set(losses)
    z = found[2].squeeze(-1)  # samples are what the encoder gives, data are normal numbers
    torch.manual_seed(5)
    mmd = gaussian_mmd(z, torch.randn_like(z), [1.0, 0.01])
    assert mmd > 0
    mu, logvar = model.encode(x, cond)
    kl = 0.5 * (mu.square() + logvar.exp() - 1 - logvar).sum(1).mean()
    assert model.validate(x, cond)["kl"].item() == pytest.approx(kl.item(), rel=1e-5)


def test_the_loss_of_the_autoencoder_has_its_weights() -> None:
    weights = {"adversarial": 2.0, "latent_adversarial": 30.0, "beta": 0.5, "mmd": 7.0}
    model, (x, cond) = bib_ae(**weights), data()
    found = {name: value.item() for name, value in model.step("autoencoder", x, cond, NOW).items()}
    assert set(found) == {"loss", "game", "latent_game", "kl", "mmd"}
    expected = 2 * found["game"] + 30 * found["latent_game"] + 0.5 * found["kl"] + 7 * found["mmd"]
    assert found["loss"] == pytest.approx(expected, rel=1e-5)
    published = validate(BIBAEConfig, {}, "bib_ae")
    assert (published.adversarial, published.latent_adversarial, published.beta, published.mmd) == (1, 100, 0.05, 100)
    assert published.mmd_alphas == [1.0, 0.01] and published.penalty_weight == 10 and published.n_critic == 5


def test_each_objective_moves_its_own_networks() -> None:
    model, (x, cond) = bib_ae(), data(32)
    parts = {
        "image_critic": {"image_critic"},
        "latent_critic": {"latent_critic"},
        "autoencoder": {"encoder", "decoder"},
    }
    for name, objective in model.objectives().items():
        assert {id(p) for p in objective.parameters} == {
            id(p) for part in parts[name] for p in model.get_submodule(part).parameters()
        }
        assert objective.every == (5 if name == "autoencoder" else 1)
        model.zero_grad()
        model.step(name, x, cond, NOW)["loss"].backward()
        moved = {n for n, p in model.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
        own = {n for n, _ in model.named_parameters() if n.split(".")[0] in parts[name]}
        assert len(own - moved) <= (name != "autoencoder"), (
            own - moved
        )  # the last bias of a critic without labels cancels
        assert name == "autoencoder" or moved <= own


def test_critics_learn_to_tell_and_the_autoencoder_to_please_them() -> None:
    torch.manual_seed(0)
    model, (x, cond) = bib_ae(), data(32)
    moves = {name: torch.optim.Adam(o.parameters, 3e-3, (0.5, 0.9)) for name, o in model.objectives().items()}

    def train(names: list[str], steps: int) -> dict[str, float]:
        for _ in range(steps):
            for name in names:
                moves[name].zero_grad()
                model.step(name, x, cond, NOW)["loss"].backward()
                moves[name].step()
        torch.manual_seed(9)
        with torch.no_grad():
            return {name: value.item() for name, value in model.validate(x, cond).items()}

    start, told = train([], 0), train(["image_critic", "latent_critic"], 40)
    assert told["wasserstein"] > max(0.1, 2 * start["wasserstein"]) and told["latent_wasserstein"] > 0
    pleased = train(["autoencoder"], 40)
    assert pleased["wasserstein"] < 0.5 * told["wasserstein"]


def test_gradients_of_the_penalty_are_those_of_float64() -> None:
    """Gradients of gradients of the convolutions, which no check before a training sees."""
    grid = (15, 8, 3)
    single = bib_ae(grid)
    double = copy.deepcopy(single).double()
    x, cond = data(4, grid)
    found = []
    for model, kind in ((single, torch.float32), (double, torch.float64)):
        image = model._images(x.to(kind))
        pair = torch.cat([image, 0.5 * image.roll(1, 0)], dim=1).requires_grad_()
        (gradient,) = torch.autograd.grad(model.image_critic(pair, cond.to(kind)).sum(), pair, create_graph=True)
        (gradient.flatten(1).norm(dim=1) - 1).square().mean().backward()
        grads = [
            p.grad for n, p in model.image_critic.named_parameters() if n.endswith("weight") and p.grad is not None
        ]
        found.append([g.double() for g in grads])
    for mine, exact in zip(*found, strict=True):
        torch.testing.assert_close(mine, exact, rtol=2e-3, atol=2e-4 * exact.abs().max().item())


def test_published_networks_have_the_published_sizes() -> None:
    model = BIBAE(validate(BIBAEConfig, {}, "bib_ae"), inputs((30, 30, 30)))
    norms = {part: [m.normalized_shape for m in model.get_submodule(part).modules() if isinstance(m, nn.LayerNorm)]
             for part in ("encoder", "decoder", "image_critic")}  # fmt: skip
    assert norms["encoder"] == [(n,) * 3 for n in (16, 9, 5, 5)]
    assert norms["decoder"] == [(n,) * 3 for n in (30, 60, 30, 30, 30, 30)]
    assert norms["image_critic"] == [(n,) * 3 for n in (14, 6, 14, 6)]
    count = {part: sum(p.numel() for p in model.get_submodule(part).parameters())
             for part in ("encoder", "decoder", "image_critic", "latent_critic")}  # fmt: skip
    dense = 8001 * 4000 + 4000 + 4000 * 768 + 768 + 768 * 48 + 48
    up = 513 * 768 + 768 + 768 * 4000 + 4000 + 4000 * 8000 + 8000
    assert (
        count["encoder"] == dense + 8 * 64 + 128 * 64 + 512 * 64 + 2048 * 27 + 2 * (4096 + 729 + 2 * 125) - 4000 + 4000
    )
    convolutions = 64 * 27 + 128 * 27 + 128 * 8 + (128 + 512 + 512 + 16) * 27
    assert count["decoder"] == up + convolutions + 2 * (5 * 27000 + 216000)
    stream = 128 * 27 + 2 * 128 * 128 * 27 + 2 * (2744 + 216) + 8192 * 64 + 64
    judge = 27000 * 64 + 64 + 2 * 64 + 256 * 257 * 3 + 257
    assert count["image_critic"] == 2 * stream + judge
    assert count["latent_critic"] == 100 + 51 * 100 + 101 * 50 + 51


@pytest.mark.parametrize("grid", [(1, 10, 10), (30, 5, 5), (2, 3, 3), (5, 7, 15), (1, 1, 2), (3, 6, 14)])
def test_other_grids_work_too(grid: tuple[int, int, int]) -> None:
    model, (x, cond) = bib_ae(grid), data(3, grid)
    assert model.draw(torch.randn(3, 8), cond).shape == x.shape
    for name in model.objectives():
        assert torch.isfinite(model.step(name, x, cond, NOW)["loss"])


def test_what_cannot_work_is_refused() -> None:
    for config in (validate(BIBAEConfig, {}, "bib_ae"), validate(PostProcessorConfig, {}, "post_processor")):
        config.takes(showers([(30, 30)] * 30, 0.1))
        with pytest.raises(ValueError, match="no regular grid: its layers have 3 x 3, 3 x 4 cells"):
            config.takes(showers([(3, 3), (3, 4)], 0.1))
        with pytest.raises(ValueError, match="needs voxels that are not negative"):
            config.takes(showers([(3, 3)], 0.1).mapped())
        with pytest.raises(ValueError, match="needs voxels alone, found 10 columns of 9 voxels"):
            config.takes(Columns(((3, 3),), 0.1, 10))
        with pytest.raises(ValueError, match="needs images of several cells"):
            config.takes(showers([(1, 1)], 0.1))
    with pytest.raises(ConfigError, match=r"padded: expected at least the number of latents \(24\), found 20"):
        validate(BIBAEConfig, {"padded": 20}, "bib_ae")


# -- the post-processor ---------------------------------------------------------------------------------------------------
def post(**settings: Any) -> PostProcessor:
    torch.manual_seed(0)
    small = {"channels": 8, "features": 4, "kernel": 20, "stride": 10, "first": 60, "identity_epochs": 2, **settings}
    return PostProcessor(validate(PostProcessorConfig, small, "post_processor"), inputs())


def test_the_loss_is_the_change_first_and_then_the_hits_too() -> None:
    model, (x, cond) = post(hits=4.0), data()
    given = 0.8 * x
    both = torch.cat([cond, given], dim=1)
    refined = model.refine(given, cond)
    change = (refined - given).square().mean().item()
    hits = sorted_hit_mmd(x, refined, kernel=20, stride=10, first=60, alpha=200.0).item()
    for epoch, expected in ((0, change), (1, change), (2, change + 4 * hits), (9, change + 4 * hits)):
        found = model.step("loss", x, both, Now(epoch, 10, 0, 10, 6))
        assert found["loss"].item() == pytest.approx(expected, rel=1e-5) and ("hits" in found) == (epoch >= 2)
    assert model.validate(x, both)["loss"].item() == pytest.approx(change + 4 * hits, rel=1e-5)
    published = validate(PostProcessorConfig, {}, "post_processor")
    assert (published.hits, published.kernel, published.stride, published.first, published.alpha) == (
        5,
        100,
        25,
        2000,
        200,
    )


def test_convolutions_see_one_voxel_at_a_time() -> None:
    """Before training, when normalisation has the same scale and shift everywhere, moved voxels are moved and nothing more."""
    model, (x, cond) = post(), data()
    order = torch.randperm(x.shape[1])
    torch.testing.assert_close(model.refine(x[:, order], cond), model.refine(x, cond)[:, order], rtol=1e-4, atol=1e-5)


def test_sum_and_conditions_tell_the_scale_that_normalisation_takes_away() -> None:
    model, (x, cond) = post(features=16), data()
    model.fit_input(x, torch.cat([cond, x], dim=1))
    assert model.scales.mean[0].item() == pytest.approx(x.sum(1).mean().item(), rel=1e-5)
    assert not torch.allclose(model.refine(x, cond), model.refine(2 * x, cond), rtol=1e-2)
    assert not torch.allclose(model.refine(x, cond), model.refine(x, cond + 5), rtol=1e-2)
    with torch.no_grad():
        model.given.weight.zero_()
    torch.testing.assert_close(model.refine(x, cond), model.refine(2 * x, cond), rtol=2e-2, atol=2e-3)


def test_the_unit_is_that_of_the_kernel() -> None:
    """Showers in keV with a unit of a thousand are those in MeV."""
    (x, cond), first, other = data(), post(), post(unit=1000.0)
    first.fit_input(x, torch.cat([cond, x], dim=1))
    other.fit_input(1000 * x, torch.cat([cond, 1000 * x], dim=1))
    torch.testing.assert_close(1000 * first.refine(x, cond), other.refine(1000 * x, cond), rtol=1e-4, atol=1e-2)


def test_published_post_processor_has_its_size() -> None:
    model = PostProcessor(validate(PostProcessorConfig, {}, "post_processor"), inputs((30, 30, 30)))
    told = 2 * 64 + 64 + 2 * 65 * 64
    assert sum(p.numel() for p in model.parameters()) == (
        told + 2 * 128 + (192 + 1) * 128 + 3 * 129 * 128 + 128 + 4 * 2 * 27000
    )


def test_a_post_processor_learns_to_change_nothing_and_then_the_hits() -> None:
    """Of showers whose hits are too small: first they stay what they are, then the spectrum moves to the true one."""
    model, (x, cond) = post(hits=20.0, alpha=20.0), data(64)
    given = (0.7 * x).detach()
    both = torch.cat([cond, given], dim=1)
    model.fit_input(x, both)
    move = torch.optim.Adam(model.parameters(), 1e-2)
    found = []
    for epoch in (0, 5):
        for _ in range(150):
            move.zero_grad()
            model.step("loss", x, both, Now(epoch, 10, 0, 10, 64))["loss"].backward()
            move.step()
        with torch.no_grad():
            found.append({name: value.item() for name, value in model.validate(x, both).items()})
    assert found[0]["change"] < 0.05 * given.var().item()
    assert found[1]["hits"] < 0.7 * found[0]["hits"]


# -- both in one chain ----------------------------------------------------------------------------------------------------
DETECTOR = """
kind: cartesian
layers:
  - {id: 0, repeat: 3, z: [0, 30], x_edges: {start: -20, stop: 20, bins: 4}, y_edges: {start: -20, stop: 20, bins: 5}}
"""


def test_a_chain_of_both_is_trained_and_sampled(tmp_path: Path) -> None:
    (tmp_path / "detector.yaml").write_text(DETECTOR)
    geometry = load_geometry(str(tmp_path / "detector.yaml"))
    rng = np.random.default_rng(0)
    for name, n in (("train", 64), ("val", 16), ("test", 20)):
        incident = rng.uniform(1e3, 2e4, (n, 1))
        x = rng.exponential(1, (n, geometry.n_voxels)) * (rng.random((n, geometry.n_voxels)) < 0.4) * incident / 1e4
        write_showers(tmp_path / f"{name}.hdf5", Showers(incident, x), geometry)
    training = {"epochs": 2, "batch_size": 16, "weights": "last", "schedule": "exponential"}
    networks = {
        "autoencoder": {"learns": "showers", "model": {"name": "bib_ae", **SMALL, "n_critic": 2},
                        "training": {**training, "objectives": {"latent_critic": {"lr": 2e-3}}}},
        "post": {"learns": "showers", "given": ["autoencoder"],
                 "model": {"name": "post_processor", "channels": 6, "features": 4, "identity_epochs": 1, "first": 30},
                 "training": training},
    }  # fmt: skip
    unused = tmp_path / "unused"
    job = TrainingJob(tmp_path / "train.hdf5", tmp_path / "val.hdf5", str(tmp_path / "detector.yaml"), unused, unused, unused,
                      seed=1, threads=1, threshold_MeV=0.01)  # fmt: skip
    paths = train_model(validate(Model, {"networks": networks}, "m"), job, tmp_path)
    rows = torch.load(paths["autoencoder"], weights_only=True)["history"]
    named = {
        "train_penalty",
        "train_latent_penalty",
        "train_game",
        "train_mmd",
        "val_wasserstein",
        "val_latent_wasserstein",
    }
    assert named <= rows[-1].keys() and "val_loss" not in rows[-1]
    rates = [row["lr_latent_critic"] for row in rows]  # after the epoch's last step
    assert rates == pytest.approx([0.95 * 2e-3, 0.95**2 * 2e-3], rel=1e-6)
    drawn = []
    for chosen in (["autoencoder"], ["autoencoder", "post"]):
        files = [paths[name] for name in chosen]
        generate(files, tmp_path / "test.hdf5", tmp_path / "g.hdf5", validate(Generation, {"device": "cpu"}, "g"), 1)
        drawn.append(read_showers(tmp_path / "g.hdf5", geometry=geometry).showers)
    assert drawn[0].shape == drawn[1].shape == (20, 60) and not np.array_equal(*drawn)
    assert all((x >= 0).all() and not ((x > 0) & (x < 0.01)).any() for x in drawn)
