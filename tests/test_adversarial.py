"""Generators and critics: the three games by hand, who learns from what, and networks that fit images."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import Tensor

from calopipe.config import validate
from calopipe.config.chains import showers
from calopipe.convolutions import check_gradients
from calopipe.errors import ConfigError
from calopipe.models.adversarial.dcgan import DCGAN
from calopipe.models.adversarial.game import Game, data_penalty, gradient_penalty
from calopipe.models.adversarial.gan import GAN
from calopipe.models.adversarial.local import LocallyConnected2d, MinibatchDiscrimination
from calopipe.models.adversarial.settings import DCGANConfig, GANConfig, VAEGANConfig
from calopipe.models.adversarial.vae_gan import VAEGAN
from calopipe.models.base import Inputs, Now

NOW = Now(epoch=0, epochs=1, step=0, steps=1, n_train=10)


def logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def test_gradient_penalty_by_hand() -> None:
    """A critic 3 x + 4 y has a gradient of 5 everywhere; one of x^2 / 2 has |x|, here between 2 and 4."""
    x, fake = torch.full((1000, 2), 2.0), torch.full((1000, 2), 4.0)
    slope = torch.tensor([3.0, 4.0], requires_grad=True)
    penalty = gradient_penalty(lambda at: at @ slope, x, fake)
    assert penalty.item() == pytest.approx(16.0)
    penalty.backward()
    assert slope.grad is not None and slope.grad.tolist() == pytest.approx([2 * 4 * 0.6, 2 * 4 * 0.8])
    torch.manual_seed(0)
    found = gradient_penalty(lambda at: 0.5 * at[:, 0].square(), x, fake).item()
    assert found == pytest.approx((27 - 1) / 3 / 2, rel=0.1)  # mean of (x - 1)^2 for x uniform in [2, 4]


def test_penalty_at_data_by_hand() -> None:
    """Half of |grad|^2, where the data are and nowhere else; images count with all their pixels."""
    logits, penalty = data_penalty(lambda at: 0.5 * at[:, 0].square(), torch.full((10, 2), 3.0))
    assert logits.tolist() == pytest.approx([4.5] * 10)
    assert penalty.item() == pytest.approx(4.5)
    _, penalty = data_penalty(lambda at: 2 * at.sum((1, 2, 3)), torch.zeros(4, 1, 3, 3))
    assert penalty.item() == pytest.approx(0.5 * 4 * 9)
    slope = torch.tensor([3.0, 4.0], requires_grad=True)
    data_penalty(lambda at: at @ slope, torch.zeros(5, 2))[1].backward()
    assert slope.grad is not None and slope.grad.tolist() == pytest.approx([3.0, 4.0])


@pytest.mark.parametrize("way", ["gan", "gan_dp", "wgan_gp"])
def test_losses_of_the_three_games(way: str) -> None:
    """A critic with logit 2 x, data at 1 and samples at -0.5: logits 2 and -1, gradient 2."""
    game = Game(validate(GANConfig, {"loss": way, "penalty": 3.0}, "gan"))
    found = game.critic(lambda at: 2 * at[:, 0], torch.ones(8, 1), torch.full((8, 1), -0.5))
    cross_entropy = -math.log(logistic(2)) - math.log(1 - logistic(-1))
    expected = {
        "gan": cross_entropy,
        "gan_dp": cross_entropy + 3.0 * 0.5 * 2**2,  # of the logit: that of the logistic function would be smaller
        "wgan_gp": -1 - 2 + 3.0 * (2 - 1) ** 2,
    }
    assert found["loss"].item() == pytest.approx(expected[way], rel=1e-5)
    mine = game.generator(torch.tensor([-1.0, -1.0])).item()
    assert mine == pytest.approx(1.0 if way == "wgan_gp" else -math.log(logistic(-1)), rel=1e-6)


def test_penalties_have_their_published_weights_unless_set() -> None:
    weights = {way: validate(GANConfig, {"loss": way}, "gan").penalty_weight for way in ("gan", "gan_dp", "wgan_gp")}
    assert weights == {"gan": 0.0, "gan_dp": 1.0, "wgan_gp": 10.0}
    assert validate(GANConfig, {"loss": "wgan_gp", "penalty": 0.0}, "gan").penalty_weight == 0


def test_smooth_labels() -> None:
    game = Game(validate(GANConfig, {"loss": "gan", "label_smoothing": 0.1}, "gan"))
    found = game.critic(lambda at: at[:, 0], torch.full((4, 1), 2.0), torch.full((4, 1), -1.0))["loss"].item()
    p, q = logistic(2), logistic(-1)
    expected = -(0.9 * math.log(p) + 0.1 * math.log(1 - p)) - (0.1 * math.log(q) + 0.9 * math.log(1 - q))
    assert found == pytest.approx(expected, rel=1e-5)


def test_what_is_told_of_a_game() -> None:
    gan, wgan = (Game(validate(GANConfig, {"loss": way}, "gan")) for way in ("gan", "wgan_gp"))
    logits = torch.tensor([1.0, 3.0, -1.0, 2.0]), torch.tensor([-1.0, -2.0, -3.0, 1.0])
    assert gan.outcome(*logits)["critic_accuracy"].item() == pytest.approx(0.75)
    assert wgan.outcome(*logits)["wasserstein"].item() == pytest.approx(1.25 + 1.25)


@pytest.mark.parametrize("way", ["gan", "gan_dp", "wgan_gp"])
@pytest.mark.parametrize("kind", ["gan", "dcgan"])
def test_each_learns_from_its_own_loss_and_the_critic_sees_conditions(way: str, kind: str) -> None:
    torch.manual_seed(0)
    model, x = made(kind, way)
    cond = torch.tensor([[1.0], [2.0]]).repeat(len(x) // 2, 1)
    model.fit_input(x, cond)
    own = {name: set(map(id, objective.parameters)) for name, objective in model.objectives().items()}
    assert not own["critic"] & own["generator"]
    assert own["critic"] | own["generator"] == set(map(id, model.parameters()))
    for name in ("critic", "generator"):
        model.zero_grad()
        losses = model.step(name, x, cond, NOW)
        assert all(torch.isfinite(value) for value in losses.values())
        losses["loss"].backward()
        moved = {id(p) for p in model.parameters() if p.grad is not None and p.grad.abs().sum() > 0}
        assert len(own[name] - moved) <= (way == "wgan_gp"), name  # the last bias of a critic without labels cancels
        if name == "critic":
            assert not moved & own["generator"]  # samples come without a gradient
    model.eval()
    assert not torch.allclose(model.judge(x, cond), model.judge(x, cond.flip(0)))
    noise = torch.randn(len(x), model.noise_dim)
    assert model.draw(noise, cond).shape == x.shape
    assert not torch.allclose(model.draw(noise, cond), model.draw(noise, cond.flip(0)))


def test_critics_judge_in_validation_as_they_do_in_training() -> None:
    """Data and samples come in batches of their own: with averages over both they were all judged alike."""
    torch.manual_seed(0)
    model, x = made("dcgan", "gan_dp")
    cond = torch.ones(len(x), 1)
    model.fit_input(x, cond)
    for _ in range(3):
        model.step("critic", 5 * x, cond, NOW)
    learning = model.judge(x, cond)
    model.eval()
    assert torch.allclose(model.judge(x, cond), learning, atol=1e-5)


def made(kind: str, way: str) -> tuple[GAN | DCGAN, Tensor]:
    if kind == "gan":
        config = validate(GANConfig, {"loss": way, "generator": [16], "critic": [16], "noise": 3}, "gan")
        return GAN(config, Inputs(dim=4)), torch.randn(12, 4)
    settings = {
        "loss": way,
        "noise": 5,
        "generator": [[8, 4, 1, 0], [6, 4, 2, 1], [2, 4, 2, 1]],
        "critic": [[6, 4, 2, 1], [8, 4, 2, 1], [1, 4, 1, 0]],
    }
    inputs = Inputs(dim=2 * 256, layer_shapes=((16, 16), (16, 16)))
    return DCGAN(validate(DCGANConfig, settings, "dcgan"), inputs), torch.rand(12, 512)


def test_gans_of_toys_learn_them() -> None:
    """A generator finds mean and width of a normal distribution that it does not start with."""
    torch.manual_seed(1)
    config = validate(
        GANConfig, {"loss": "gan_dp", "generator": [32], "critic": [32], "noise": 1, "n_critic": 1}, "gan"
    )
    model = GAN(config, Inputs(dim=1, conditions=()))
    moves = {name: torch.optim.Adam(o.parameters, 5e-3, (0.5, 0.99)) for name, o in model.objectives().items()}
    cond = torch.zeros(256, 0)
    for _ in range(600):
        x = 2 + 0.5 * torch.randn(256, 1)
        for name, optimiser in moves.items():
            optimiser.zero_grad()
            model.step(name, x, cond, NOW)["loss"].backward()
            optimiser.step()
    found = model.sample(torch.zeros(4000, 0))
    assert found.mean().item() == pytest.approx(2.0, abs=0.15) and found.std().item() == pytest.approx(0.5, abs=0.15)


def test_published_images_fit_the_default_and_others_are_refused() -> None:
    validate(DCGANConfig, {}, "dcgan").takes(showers([(64, 64)], 0.0))
    with pytest.raises(
        ValueError, match="generator that ends at 64x64 and a critic that ends at -1x-1|needs convolutions"
    ):
        validate(DCGANConfig, {}, "dcgan").takes(showers([(32, 32)], 0.0))
    with pytest.raises(ValueError, match=r"needs 2 channels \(layers\)"):
        validate(DCGANConfig, {}, "dcgan").takes(showers([(64, 64)] * 2, 0.0))
    with pytest.raises(ValueError, match="needs voxels alone"):
        validate(DCGANConfig, {}, "dcgan").takes(showers([(64, 64)], 0.0).__class__(((64, 64),), 0.0, 10))
    with pytest.raises(ConfigError, match=r"generator\.0.*expected channels, kernel, stride, padding, found 5 numbers"):
        validate(DCGANConfig, {"generator": [[1, 2, 3, 4, 5]]}, "dcgan")


def test_the_dcgan_starts_as_published_without_biases() -> None:
    torch.manual_seed(0)
    model = DCGAN(validate(DCGANConfig, {}, "dcgan"), Inputs(dim=4096, conditions=(), layer_shapes=((64, 64),)))
    weights = [p for name, p in model.named_parameters() if p.dim() == 4]
    assert all(w.std().item() == pytest.approx(0.02, rel=0.1) and abs(w.mean().item()) < 2e-3 for w in weights)
    assert not [
        name for name, _ in model.named_parameters() if name.endswith("bias") and model.get_parameter(name).any()
    ]
    count = {part: sum(p.numel() for p in getattr(model, part).parameters()) for part in ("generator", "critic")}
    up = 100 * 512 * 16 + 512 * 256 * 16 + 256 * 128 * 16 + 128 * 64 * 16 + 64 * 16 + 2 * (512 + 256 + 128 + 64)
    down = 64 * 16 + 64 * 128 * 16 + 128 * 256 * 16 + 256 * 512 * 16 + 512 * 16 + 2 * (128 + 256 + 512)
    assert count == {"generator": up, "critic": down}
    image = model.sample(torch.zeros(3, 0))
    assert image.shape == (3, 4096) and image.min() > 0 and image.max() < 1
    wasserstein = DCGAN(
        validate(DCGANConfig, {"loss": "wgan_gp"}, "dcgan"), Inputs(dim=4096, conditions=(), layer_shapes=((64, 64),))
    )
    assert not [m for m in wasserstein.critic if isinstance(m, torch.nn.BatchNorm2d)]


def vae_gan(cells: tuple[int, int] = (10, 10), **settings: object) -> VAEGAN:
    inputs = Inputs(dim=cells[0] * cells[1], layer_shapes=(cells,))
    config = {"encoder": (4, 6, 8), "dense": 8, "upper": 6, "local": 3, "critic": 6, "critic_local": 3, **settings}
    return VAEGAN(validate(VAEGANConfig, config, "vae_gan"), inputs)


@pytest.mark.parametrize("cells", [(10, 10), (6, 9), (32, 32), (13, 8)])
def test_vae_gans_make_images_of_any_size(cells: tuple[int, int]) -> None:
    torch.manual_seed(0)
    model, x, cond = vae_gan(cells), torch.rand(4, cells[0] * cells[1]), torch.rand(4, 1)
    assert model.draw(torch.randn(4, 24), cond).shape == x.shape and model.judge(x, cond).shape == (4,)
    assert model.encode(x, cond)[0].shape == (4, 24)


def test_gradients_of_spectrally_normalised_convolutions_are_checked() -> None:
    model, x, cond = vae_gan(), torch.rand(4, 100), torch.rand(4, 1)
    before = copy.deepcopy(model.state_dict())
    check_gradients(model, lambda: model.validate(x, cond))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_the_critic_sees_differences_of_reconstructions_alone() -> None:
    """Data have no difference; that of reconstructions is image minus reconstruction, and both networks learn from it."""
    torch.manual_seed(0)
    model, x, cond = vae_gan(), torch.rand(12, 100), torch.rand(12, 1)
    seen: list[Tensor] = []
    judge = model.critic.forward
    model.critic.forward = lambda image, difference, given: (  # type: ignore[method-assign]
        seen.append(difference), judge(image, difference, given)
    )[1]  # fmt: skip
    model.step("critic", x, cond, NOW)
    assert not seen[0].any() and seen[1].any()
    assert (seen[1] <= x + 1e-6).all()  # pixels of the generator are not negative
    model.eval()
    assert not torch.allclose(model.judge(x, cond), model.judge(x, cond, torch.ones_like(x)))


def test_a_vae_gan_pulls_its_latents_to_the_prior() -> None:
    torch.manual_seed(0)
    model, x, cond = vae_gan(beta=2.5), torch.rand(12, 100), torch.rand(12, 1)
    losses = model.step("generator", x, cond, NOW)
    assert losses["loss"].item() == pytest.approx(losses["game"].item() + 2.5 * losses["kl"].item(), rel=1e-6)
    own = {name: set(map(id, o.parameters)) for name, o in model.objectives().items()}
    assert own["critic"] | own["generator"] == set(map(id, model.parameters())) and not own["critic"] & own["generator"]
    losses["loss"].backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.encoder.parameters())
    assert model.objectives()["generator"].every == 2
    assert set(model.validate(x, cond)) == {"critic_accuracy", "kl", "squared_error"}


def test_weights_of_locally_connected_layers_differ_from_place_to_place() -> None:
    """With the same weights everywhere it is a convolution; by hand where they differ."""
    torch.manual_seed(0)
    layer = LocallyConnected2d((5, 4), 2, 3, (3, 2), stride=1, padding=1)
    kernel = torch.randn(3, 2, 3, 2)
    with torch.no_grad():
        layer.weight.copy_(kernel.flatten(1)[:, None].expand_as(layer.weight))
        layer.bias.zero_()
    x = torch.randn(2, 2, 5, 4)
    torch.testing.assert_close(layer(x), torch.nn.functional.conv2d(x, kernel, padding=1))
    by_hand = LocallyConnected2d((2, 2), 1, 1, (1, 2), bias=False)
    with torch.no_grad():
        by_hand.weight.copy_(torch.tensor([[[1.0, 2.0], [10.0, 20.0]]]))
    assert by_hand(torch.tensor([[[[1.0, 1.0], [2.0, 3.0]]]])).flatten().tolist() == [3.0, 80.0]


def test_minibatch_discrimination_by_hand() -> None:
    layer = MinibatchDiscrimination(1, 1, 2)
    with torch.no_grad():
        layer.tensor.copy_(torch.tensor([[1.0, 2.0]]))
    found = layer(torch.tensor([[0.0], [0.1], [1.0]])).flatten().tolist()
    close, far, further = math.exp(-0.3), math.exp(-3.0), math.exp(-2.7)
    assert found == pytest.approx([close + far, close + further, far + further], rel=1e-5)


def test_vae_gans_need_one_layer() -> None:
    validate(VAEGANConfig, {}, "vae_gan").takes(showers([(10, 10)], 0.0))
    with pytest.raises(ValueError, match="needs images alone, one layer of 6x6 cells or more"):
        validate(VAEGANConfig, {}, "vae_gan").takes(showers([(10, 10)] * 2, 0.0))
