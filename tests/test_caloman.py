"""The presets of CaloMan: preprocessing, sizes and settings as published; autoencoders with one width per shower, or without
conditions.
"""

from __future__ import annotations

import math
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from calopipe.config import Study, load_study, validate
from calopipe.config.parts import MODELS
from calopipe.geometry import load_geometry
from calopipe.models.base import Autoencoder, Inputs
from calopipe.models.latent_target import LatentTarget
from calopipe.training.checkpoint import Network, build_network
from calopipe.training.facts import DataFacts
from calopipe.workflow import Plan

ROOT = Path(__file__).parents[1]
#: preset -> dataset, evaluation
PUBLISHED = {
    "caloman_photons_1": ("calochallenge1_photons", "caloman_best_epoch"),
    "caloman_photons_2a": ("calochallenge1_photons", "caloman"),
    "caloman_photons_2b": ("calochallenge1_photons", "caloman_true_energies"),
    "caloman_pions": ("calochallenge1_pions", "caloman"),
}
TWO_STEPS = [name for name in PUBLISHED if name != "caloman_photons_1"]


@cache
def study(preset: str) -> Study:
    dataset, evaluation = PUBLISHED[preset]
    runs = [{"dataset": dataset, "model": preset, "evaluation": evaluation}]
    return load_study({"study": "s", "presets": [preset], "runs": runs}, ROOT / "presets")


@cache
def networks(preset: str) -> dict[str, Network]:
    """The networks of a preset with fresh weights."""
    model, geometry = study(preset).models[preset], load_geometry(PUBLISHED[preset][0])
    found: dict[str, Network] = {}
    for name, stage in model.networks.items():
        link, dim = stage.link(name), {"showers": geometry.n_voxels, "layer_energies": geometry.n_layers}
        latent = model.networks[link.learns].latent_dim if link.learns_latents else None
        n = dim[link.learns] if latent is None else LatentTarget(stage.latents, latent).columns(0)
        data = DataFacts.of(geometry, 2e-3)
        found[name] = build_network(link, stage.network, data, dim=n, seed=0, n_train=10, latent_dim=latent)
    return found


def parameters(preset: str) -> int:
    return sum(p.numel() for network in networks(preset).values() for p in network.model.parameters())


@pytest.mark.parametrize("preset", PUBLISHED)
def test_presets_are_valid_on_their_data(preset: str) -> None:
    plan = Plan(study(preset))
    assert plan.model(preset).chain.latents.name == "flow"


@pytest.mark.parametrize("preset", PUBLISHED)
def test_documented_sizes_are_counted(preset: str) -> None:
    row = re.search(rf"^\| `{preset}` \|.*\| ([\d ]+) \|", (ROOT / "docs" / "models.md").read_text(), re.MULTILINE)
    assert row is not None and int(row[1].replace(" ", "")) == parameters(preset)


@pytest.mark.parametrize(("preset", "f"), [(p, 7.0 if "pions" in p else 3.1) for p in TWO_STEPS])
def test_total_energies_are_over_f_times_the_incident_energy(preset: str, f: float) -> None:
    network = networks(preset)["energies"]
    incident = torch.tensor([[33.3e3], [333e3]])
    energies = torch.zeros(2, network.dim)
    energies[:, 0] = f * incident[:, 0]
    u, cond, _ = network.chain(energies, incident)
    assert u[:, 0].tolist() == pytest.approx([math.log((1 - 1e-6) / 1e-6)] * 2, rel=1e-2)
    assert network.chain(energies / 2, incident)[0][:, 0].abs().max() < 1e-5
    assert cond[:, 0].tolist() == pytest.approx([0, 1], abs=1e-6)


def test_voxels_of_the_first_attempt_are_over_f_times_the_incident_energy() -> None:
    chain = networks("caloman_photons_1")["autoencoder"].chain
    incident = torch.tensor([[256.0], [4_194_304.0]])
    x, cond, _ = chain(3.1 * incident.expand(2, 368), incident)
    torch.testing.assert_close(x, torch.ones(2, 368))
    torch.testing.assert_close(cond, torch.tensor([[0.0], [1.0]]))
    flow = networks("caloman_photons_1")["flow"]
    torch.testing.assert_close(flow.chain.condition(incident), cond)


@pytest.mark.parametrize("preset", TWO_STEPS)
def test_latents_are_learned_given_both_energies(preset: str) -> None:
    network = networks(preset)["flow"]
    assert (
        network.inputs.conditions[0] == "incident_energy"
        and network.inputs.cond_dim == 1 + networks(preset)["energies"].dim
    )
    given = torch.tensor([[33.3e3, 1e5, *([0.0] * (network.inputs.cond_dim - 2))]])
    cond = network.chain.condition(given)[0]
    assert cond.tolist() == pytest.approx([0.0, 0.0, *([-8.0] * (len(cond) - 2))], abs=1e-6)
    x = torch.zeros(1, networks(preset)["autoencoder"].dim)
    x[0, :2] = torch.tensor([3e4, 1e4])
    given = torch.cat([given[:, :1], networks(preset)["autoencoder"].layout.energies(x)], dim=1)
    y, _, _ = networks(preset)["autoencoder"].chain(x, given)
    expected = torch.tensor([0.75, 0.25]) if "pions" in preset else torch.tensor([3.0, 1 / 3]).log()
    torch.testing.assert_close(y[0, :2], expected, rtol=1e-5, atol=1e-5)


def card(preset: str) -> dict[str, Any]:
    """What the slides print, of each network."""
    found: dict[str, Any] = {}
    for name, stage in study(preset).models[preset].networks.items():
        model, training = stage.model.settings, stage.training
        if stage.model.name in ("ae", "gaussian_vae"):
            size: tuple[Any, ...] = (stage.model.name, model.hidden, model.latent)
        else:
            size = (stage.model.name, model.layers, model.width, model.residual_blocks, model.bins, model.bounds)
        found[name] = (*size, training.lr, training.epochs, training.patience)
    return found


CARDS: dict[str, dict[str, Any]] = {
    "caloman_photons_1": {
        "autoencoder": ("gaussian_vae", [512] * 3, 20, 1e-3, 200, None),
        "flow": ("coupling_rqs", 4, 256, 3, 8, 1.0, 1e-3, 200, 20),
    },
    "caloman_photons_2a": {
        "energies": ("coupling_rqs", 4, 128, 3, 8, 1.0, 1e-3, 200, 20),
        "autoencoder": ("ae", [512] * 3, 30, 1e-3, 200, None),
        "flow": ("coupling_rqs", 4, 128, 3, 8, 1.0, 1e-3, 200, 20),
    },
    "caloman_photons_2b": {
        "energies": ("coupling_rqs", 4, 128, 3, 8, 1.0, 1e-3, 200, 20),
        "autoencoder": ("ae", [256] * 3, 80, 1e-3, 200, None),
        "flow": ("coupling_rqs", 4, 256, 3, 8, 1.0, 1e-3, 1000, 20),
    },
    "caloman_pions": {
        "energies": ("autoregressive_rqs", 8, 128, 3, 8, 1.0, 1e-4, 200, 20),
        "autoencoder": ("ae", [512] * 3, 20, 1e-3, 200, 20),
        "flow": ("coupling_rqs", 4, 64, 3, 8, 1.0, 1e-3, 200, 20),
    },
}


@pytest.mark.parametrize("preset", PUBLISHED)
def test_cards_are_the_published_ones(preset: str) -> None:
    assert card(preset) == CARDS[preset]
    for stage in study(preset).models[preset].networks.values():
        assert stage.training.gradient_clip == 10 and stage.training.monitor == "loss"
    evaluation = study(preset).evaluations[PUBLISHED[preset][1]]
    assert (evaluation.generation.layer_energies == "true") == (preset == "caloman_photons_2b")
    assert (evaluation.generation.epoch == "best") == (preset == "caloman_photons_1")


def autoencoder(name: str, **settings: object) -> Autoencoder:
    torch.manual_seed(0)
    config = validate(MODELS.config_class(name), {"hidden": [8], "latent": 3, **settings}, "m")
    return MODELS.get(name)(config, Inputs(5, ("incident_energy", "energy_0"), n_train=10))


@pytest.mark.parametrize(("width", "in_shower", "between"), [("each", 5, 4), ("shower", 1, 4), ("one", 1, 1)])
def test_widths_of_the_decoder(width: str, in_shower: int, between: int) -> None:
    """Numbers of different widths within a shower, and of one column between showers."""
    model = autoencoder("gaussian_vae", width=width)
    mean, log_var = model.distribution(torch.randn(4, 3), torch.randn(4, 2))
    assert mean.shape == log_var.shape == (4, 5)
    assert len(set(log_var[0].tolist())) == in_shower and len(set(log_var[:, 0].tolist())) == between
    loss = model.loss(torch.randn(4, 5), torch.randn(4, 2))["loss"]
    loss.backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in model.parameters())


@pytest.mark.parametrize("name", ["ae", "gaussian_vae"])
def test_autoencoders_without_conditions_do_not_see_them(name: str) -> None:
    settings = {} if name == "ae" else {"decoded": "mean"}
    x, z, first, second = torch.randn(4, 5), torch.randn(4, 3), torch.zeros(4, 2), torch.ones(4, 2)
    for conditioned in (True, False):
        model = autoencoder(name, conditioned=conditioned, **settings)
        same = torch.equal(model.encode(x, first)[0], model.encode(x, second)[0])
        assert same != conditioned
        assert torch.equal(model.decode(z, first), model.decode(z, second)) != conditioned


def test_hidden_layers_have_the_activation_of_the_settings() -> None:
    assert "ReLU" in str(autoencoder("ae", activation="relu")) and "SiLU" in str(autoencoder("ae"))


def test_means_are_learned_alone() -> None:
    mu, logvar, extras = torch.randn(4, 3), torch.zeros(4, 3), torch.rand(4, 2)
    target = LatentTarget("mean", 3)
    assert torch.equal(target.assemble(mu, logvar, extras), torch.cat([mu, extras], dim=1)) and target.columns(2) == 5
