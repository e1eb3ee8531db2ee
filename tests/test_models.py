"""Models: published parameter counts, what the losses mean. What all have in common: test_contract.py."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from calopipe.config import Model, validate
from calopipe.config.links import Link
from calopipe.config.load import read_yaml
from calopipe.config.networks import NetworkSettings
from calopipe.config.parts import MODELS
from calopipe.geometry import Geometry, load_geometry
from calopipe.geometry.layer import Layer
from calopipe.models.base import Autoencoder, Inputs
from calopipe.models.building import draw
from calopipe.models.latent_target import LatentTarget
from calopipe.training.checkpoint import Network, build_network, load_network, save_network
from calopipe.training.facts import DataFacts

ROOT = Path(__file__).parents[1]
SMALL = {
    "inn": {"blocks": 2, "hidden": [8], "bins": 4},
    "bernoulli_vae": {"hidden": [16, 8], "latent": 3},
    "hurdle_vae": {"hidden": [16, 8], "latent": 3},  # its groups, mixtures and numbers of hits: test_neighbourhood.py
}


def build(name: str, dim: int = 10, cond_dim: int = 3):
    torch.manual_seed(0)
    return MODELS.get(name)(validate(MODELS.config_class(name), SMALL[name], name), inputs_of(dim, cond_dim))


def inputs_of(dim: int, cond_dim: int) -> Inputs:
    return Inputs(dim, ("incident_energy", *(f"condition_{i}" for i in range(1, cond_dim))))


def inputs(n: int = 200) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(n, 10, generator=generator).pow(3)
    return torch.where(x < 0.01, torch.zeros_like(x), x), 0.1 + 0.8 * torch.rand(n, 3, generator=generator)


def small(threshold: float, conditions: tuple[str, ...] = ()) -> DataFacts:
    """Showers of two layers of 2 x 3 and 2 x 2 cells."""
    layers = tuple(Layer(i, (0, 1, 2), tuple(range(n + 1))) for i, n in enumerate((3, 2)))
    return DataFacts.of(Geometry("small", "cartesian", layers), threshold, conditions)


@pytest.mark.parametrize(
    ("preset", "model", "detector", "expected"),
    [
        ("vae_inn_photons", "vae_inn_photons", "calochallenge1_photons", 15_747_908),  # published
        ("vae_inn_pions", "vae_inn_pions", "calochallenge1_pions", 17_426_875),  # published
        ("photons_continuous_bernoulli", "photons_continuous_bernoulli", "calochallenge1_photons", 15_747_908),
        ("calogan_vae_thesis", "calogan_vae_initial", "calogan", 1_769_542),
        ("calogan_vae_thesis", "calogan_vae_thesis", "calogan", 14_817_642),
        ("photons_vae_thesis", "photons_vae_noise", "calochallenge1_photons", 71_471_908),
        ("photons_vae_thesis", "photons_vae_width", "calochallenge1_photons", 75_152_276),
        ("photons_conv_vae", "photons_conv_vae", "calochallenge1_photons", 69_174_616),
    ],
)
def test_parameter_counts_of_presets(preset: str, model: str, detector: str, expected: int) -> None:
    settings = validate(Model, read_yaml(ROOT / "presets" / f"{preset}.yaml")["models"][model], model)
    geometry = load_geometry(detector)
    data = DataFacts.of(geometry, 1e-3)

    def built(name: str, dim: int) -> Network:
        stage = settings.networks[name]
        return build_network(settings.chain[name], stage.network, data, dim=dim, seed=0, n_train=1)

    vae = built("autoencoder", geometry.n_voxels)
    assert isinstance(vae.model, Autoencoder)
    target = LatentTarget(settings.networks["flow"].latents, vae.model.latent_dim)
    flow = built("flow", target.columns(geometry.n_layers))
    assert sum(p.numel() for n in (vae, flow) for p in n.model.parameters()) == expected


def test_cards_of_the_gaussian_vaes() -> None:
    """Table 2 (Ernst 2023): 450-300-150 and 4500-1000-150 mirrored, 504 voxels, E_inc and three u, latent 50."""
    models = read_yaml(ROOT / "presets" / "calogan_vae_thesis.yaml")["models"]
    for name, hidden, losses, beta in (
        ("calogan_vae_initial", [450, 300, 150], {"data_mse": 1.0}, 1e-9),
        ("calogan_vae_thesis", [4500, 1000, 150], {"data_mse": 1e4, "logit_mae": 1.0}, 1e-5),
    ):
        settings = validate(Model, models[name], name)
        network = settings.networks["autoencoder"].network
        config, link = network.model.settings, settings.chain["autoencoder"]
        data = DataFacts.of(load_geometry("calogan"), 0.01)
        vae = build_network(link, network, data, dim=504, seed=0, n_train=1).model
        widths = [
            [(m.in_features, m.out_features) for m in part if hasattr(m, "in_features")]
            for part in (vae.encoder, vae.decoder)
        ]
        inner, outer = [508, *hidden, 100], [54, *reversed(hidden), 504]
        assert widths == [list(zip(w[:-1], w[1:], strict=True)) for w in (inner, outer)]
        assert {term.term: term.weight for term in config.losses} == losses
        assert (config.beta, config.alpha, config.latent, network.training.lr) == (beta, 1e-6, 50, 5e-4)
        assert (network.training.epochs, network.training.batch_size) == (500, 256)


def fitted_vae(steps: list[dict], threshold: float) -> tuple[Network, torch.Tensor, torch.Tensor]:
    """A small Bernoulli VAE behind its preprocessing, with showers of two layers (MeV) and their incident energies."""
    x, _ = inputs()
    incident = 10 * x.sum(1, keepdim=True).clamp(min=0.1)
    torch.manual_seed(0)
    settings = {"preprocessing": steps, "model": {"name": "bernoulli_vae", **SMALL["bernoulli_vae"]}}
    link = Link("vae", "showers", contract="Autoencoder")
    network = build_network(link, NetworkSettings(**settings), small(threshold), dim=10, seed=0, n_train=len(x))
    with torch.no_grad():
        network.chain.fit(x, incident)
        network.model.fit_input(*network.chain(x, incident)[:2])
    return network, x, incident


@pytest.mark.parametrize("steps", [[], [{"step": "log_condition"}]])
def test_bernoulli_loss_is_of_the_shower_that_comes_out(steps: list[dict]) -> None:
    """By hand: scaled to the layer energies, cut, normalised to 0.9 again, binary cross entropy with the shower's 0.9."""
    normalise = {"step": "layer_normalise", "extras": "condition", "scale": 0.9, "ratio_scale": 0.05}
    network, x, incident = fitted_vae([normalise, *steps], 0.05)
    model = network.model
    assert isinstance(model, Autoencoder)
    seen, cond, _ = network.chain(x, incident)
    torch.manual_seed(5)
    loss = model.loss(seen, cond)
    torch.manual_seed(5)
    out = model.decode(draw(*model.encode(seen, cond)), cond).double()
    expected, cut = 0.0, 0
    for part in (slice(0, 6), slice(6, 10)):
        energy = x[:, part].double().sum(1, keepdim=True)
        shower = out[:, part] / out[:, part].sum(1, keepdim=True) * energy
        shower, cut = torch.where(shower < 0.05, 0, shower), cut + (shower < 0.05).sum()
        p = 0.9 * shower / (shower.sum(1, keepdim=True) + 1e-10)
        t = 0.9 * x[:, part].double() / (energy + 1e-10)
        expected += -(t * p.clamp(min=1e-30).log() + (1 - t) * (1 - p).log()).sum()
    assert cut > 100
    assert loss["bce"].item() == pytest.approx(expected.item() / x.numel(), rel=1e-4)
    assert loss["loss"].item() == pytest.approx(0.5e4 * loss["bce"].item() + 1e-5 * loss["kl"].item(), rel=1e-5)


@pytest.mark.parametrize("redraw", [True, False])
def test_an_exact_reconstruction_as_a_shower_has_another_draw_of_noise(redraw: bool) -> None:
    """Why compared: thresholded is refused behind noise: (r - r')^2 of two uniform numbers is 1/6 of the width's square on average."""
    noise = {"step": "noise", "width": 1e-3, "redraw": redraw}
    network, x, incident = fitted_vae([{"step": "layer_normalise", "extras": "condition"}, noise], 0.0)
    assert isinstance(network.model, Autoencoder)
    seen, cond, _ = network.chain(x, incident)
    again = network.model.as_shower(seen, cond)
    assert (seen - again)[x == 0].square().mean().item() == pytest.approx(1e-6 / 6, rel=0.15)


@pytest.mark.parametrize("steps", [[], [{"step": "log_condition"}]])
def test_losses_know_the_energies_of_the_layers(steps: list[dict]) -> None:
    network, x, incident = fitted_vae(
        [{"step": "layer_normalise", "extras": "condition", "ratio_scale": 0.05}, *steps], 0.0
    )
    assert isinstance(network.model, Autoencoder)
    energies = network.model.layer_energies(network.chain(x, incident)[1])
    torch.testing.assert_close(energies, torch.stack([x[:, :6].sum(1), x[:, 6:].sum(1)], dim=1), rtol=1e-4, atol=1e-5)


def test_bernoulli_gradients_are_finite_where_everything_is_cut() -> None:
    network, x, incident = fitted_vae([{"step": "layer_normalise", "extras": "condition", "ratio_scale": 0.05}], 1e3)
    network.model.loss(*network.chain(x, incident)[:2])["loss"].backward()
    assert all(torch.isfinite(p.grad).all() for p in network.model.parameters())


def test_bernoulli_conditions_go_through_the_logit() -> None:
    """Largest value 4 -> 1 / 1.15; the encoder's are standardised, the decoder's are not; a signed one is only scaled."""
    model = build("bernoulli_vae")
    x, cond = inputs(4)
    cond[:, 0], cond[:, 2] = torch.tensor([1.0, 2.0, 3.0, 4.0]), torch.tensor([-1.0, 0.0, 0.5, 0.2])
    model.fit_input(x, cond)
    seen: list[torch.Tensor] = []
    for part in (model.encoder, model.decoder):
        part.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    with torch.no_grad():
        model.decode(model.encode(x, cond)[0], cond)
    first = np.array([1, 2, 3, 4]) / 4.6
    np.testing.assert_allclose(seen[1][:, 3], np.log(first / (1 - first)), rtol=1e-4)
    np.testing.assert_allclose(seen[1][:, 5], cond[:, 2] / 1.15, rtol=1e-6)
    np.testing.assert_allclose(seen[0].mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(seen[0][:, 10:].std(0), 1, rtol=1e-5)


def test_inn_density_integrates_to_one() -> None:
    torch.manual_seed(0)
    config = validate(MODELS.config_class("inn"), SMALL["inn"], "inn")
    model = MODELS.get("inn")(config, inputs_of(2, 1))
    for p in model.parameters():
        p.data += 0.3 * torch.randn_like(p)
    axis = torch.linspace(-9, 9, 601)
    grid = torch.cartesian_prod(axis, axis)
    with torch.no_grad():
        p = model.log_prob(grid, torch.zeros(len(grid), 1)).double().exp()
    assert p.sum() * (18 / 600) ** 2 == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("coupling", ["rqs", "affine"])
def test_dropout_acts_in_training_only(coupling: str) -> None:
    """Half of the hidden neurons: another loss at each call in training, one loss in evaluation, that without dropout."""

    def inn(**settings):
        torch.manual_seed(0)
        config = validate(MODELS.config_class("inn"), {**SMALL["inn"], "coupling": coupling, **settings}, "inn")
        model = MODELS.get("inn")(config, inputs_of(10, 3))
        torch.manual_seed(1)
        for p in model.parameters():
            p.data += 0.3 * torch.randn_like(p)
        return model

    x, cond = inputs()
    plain, never, half = inn(), inn(dropout=0.0), inn(dropout=0.5)
    assert plain.state_dict().keys() == never.state_dict().keys() == half.state_dict().keys()
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), half.parameters(), strict=True))
    assert half.loss(x, cond)["loss"] != half.loss(x, cond)["loss"]
    expected = plain.loss(x, cond)["loss"]
    assert never.loss(x, cond)["loss"] == expected
    half.eval()
    assert half.loss(x, cond)["loss"] == half.loss(x, cond)["loss"] == expected
    torch.manual_seed(2)
    drawn = half.sample(cond)
    torch.manual_seed(2)
    assert torch.equal(drawn, plain.eval().sample(cond))


def test_thesis_card_has_its_dropout_and_its_size() -> None:
    """Table 1: 5 %, 12 blocks, three linear layers of 256; of 504 voxels and 3 ratios each block transforms 253."""
    stage = read_yaml(ROOT / "presets" / "calogan_inn_thesis.yaml")["models"]["calogan_inn_thesis"]["networks"]["flow"]
    assert stage["model"]["dropout"] == 0.05
    config = {k: v for k, v in stage["model"].items() if k != "name"}
    model = MODELS.get("inn")(validate(MODELS.config_class("inn"), config, "inn"), inputs_of(507, 1))
    transformed, passed = 253, 254
    block = (passed + 1 + 1) * 256 + 257 * 256 + 257 * 29 * transformed
    assert sum(p.numel() for p in model.parameters()) == 12 * block


def test_hurdle_decoder_reproduces_occupancy() -> None:
    model, (x, cond) = build("hurdle_vae"), inputs(2000)
    model.fit_input(x, cond)
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    for _ in range(150):
        optimizer.zero_grad()
        model.loss(x, cond)["loss"].backward()
        optimizer.step()
    with torch.no_grad():
        y = model.decode(torch.randn(2000, 3), cond)
    assert ((y > 0).float().mean(0) - (x > 0).float().mean(0)).abs().max() < 0.08


@pytest.mark.parametrize("mode", ["mu_sigma", "mean", "resample", "once"])
def test_latent_target(mode: str) -> None:
    target = LatentTarget(mode, 3)
    mu, logvar, extras = torch.randn(5, 3), torch.full((5, 3), -18.0), torch.rand(5, 2)
    x = target.assemble(mu, logvar, extras)
    assert x.shape[1] == target.columns(2)
    z, u = target.take_apart(x)
    torch.testing.assert_close(z, mu, atol=1e-3, rtol=0)
    assert torch.equal(u, extras)


def test_network_saves_and_loads(tmp_path: Path) -> None:
    settings = {"preprocessing": [{"step": "standardise"}], "model": {"name": "inn", **SMALL["inn"]}}
    network = build_network(
        Link("flow", "showers"), NetworkSettings(**settings), small(0.1, ("a", "b")), dim=10, seed=7, n_train=5
    )
    x, cond = inputs()
    network.chain.fit(x, cond)
    save_network(tmp_path / "m.pt", network, [{"epoch": 0, "loss": 1.0}])
    loaded = load_network(tmp_path / "m.pt", "GenerativeModel")
    assert torch.equal(loaded.chain(x, cond)[0], network.chain(x, cond)[0])
    assert torch.equal(loaded.model.log_prob(x, cond), network.model.log_prob(x, cond))
    assert loaded.layout == network.layout and loaded.seed == 7 and loaded.data == network.data


def test_hurdle_vae_smooths_cells_with_few_hits():
    """Two hits of 0.5 in cell 0, one of 0.25 in cell 1, none in cell 2: logits 0, 0 and -ln 3, mean -ln 3 / 3."""
    x, cond = torch.tensor([[0.5, 0.25, 0.0], [0.5, 0.0, 0.0]]), torch.rand(2, 2)

    def fitted(prior: float):
        model = MODELS.get("hurdle_vae")(
            validate(MODELS.config_class("hurdle_vae"), {"hidden": [4], "latent": 2, "cell_prior": prior}, "m"),
            inputs_of(3, 2),
        )
        model.fit_input(x, cond)
        return model.voxels.mean.double().numpy(), model.voxels.std.double().numpy()

    average, variance = -np.log(3) / 3, 2 * np.log(3) ** 2 / 9
    mean, std = fitted(0.0)
    assert np.allclose(mean, [0, -np.log(3), 0], atol=1e-4) and np.allclose(std, 0.1)
    mean, std = fitted(4.0)
    assert np.allclose(mean, [4 * average / 6, (4 * average - np.log(3)) / 5, average], atol=1e-4)
    squares = [2 * mean[0] ** 2, (mean[1] + np.log(3)) ** 2, 0]
    assert np.allclose(
        std, np.sqrt([(s + 4 * variance) / n for s, n in zip(squares, (6, 5, 4), strict=True)]), atol=1e-4
    )
