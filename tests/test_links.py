"""Chains of networks: what fits together, what is refused and how it is said, and in what order networks are trained."""

from __future__ import annotations

import pytest

from calopipe.config import Model, validate
from calopipe.config.links import Link, chain_of
from calopipe.errors import ConfigError

ENERGIES = Link("energies", "layer_energies")
VAE = Link("vae", "showers", contract="Autoencoder")
FLOW = Link("flow", "showers")
LATENT = Link("latent", "vae")
POST = Link("post", "showers", ("vae",), "Refiner")


def given(link: Link, *names: str) -> Link:
    return Link(link.name, link.learns, names, link.contract)


@pytest.mark.parametrize(
    ("links", "maker", "latents", "last"),
    [
        ([FLOW], "flow", None, "flow"),
        ([VAE], "vae", None, "vae"),
        ([VAE, LATENT], "vae", "latent", "latent"),
        ([ENERGIES, given(FLOW, "layer_energies")], "flow", None, "flow"),
        ([ENERGIES, given(VAE, "layer_energies"), given(LATENT, "layer_energies")], "vae", "latent", "latent"),
        ([VAE, POST], "vae", None, "post"),
        ([VAE, LATENT, POST, Link("fine", "showers", ("post",), "Refiner")], "vae", "latent", "fine"),
    ],
)
def test_chains_that_make_showers(links, maker, latents, last):
    chain = chain_of(links)
    assert (chain.maker.name, chain.latents and chain.latents.name, chain.last.name) == (maker, latents, last)
    assert chain.links == tuple(links) and chain[last].name == last


@pytest.mark.parametrize(
    ("links", "message"),
    [
        ([ENERGIES], "expected one network that makes showers .*, found none"),
        ([FLOW, Link("other", "showers")], "makes showers .*, found flow, other"),
        ([FLOW, VAE], "makes showers .*, found flow, vae"),
        ([LATENT, VAE], r"latent.learns: .* or an autoencoder before it \(none\), found 'vae'"),
        ([VAE, Link("latent", "vea")], r"latent.learns: .*before it \(vae\), found 'vea' \(did you mean 'vae'"),
        ([ENERGIES, FLOW], "energies: the layer energies that it learns are given to no network"),
        (
            [given(FLOW, "layer_energies")],
            "flow.given: expected any of none, found 'layer_energies' .*before it that learns",
        ),
        ([VAE, given(LATENT, "vae")], "latent.given: expected any of none, found 'vae'"),
        ([VAE, LATENT, Link("twice", "vae")], "twice.learns: 'vae' is learned by 'latent' already"),
        ([VAE, Link("post", "showers", (), "Refiner")], "post.given: a refiner needs the network .*; there are vae"),
        ([VAE, POST, Link("fine", "showers", ("vae",), "Refiner")], "fine.given: expected 'post', .*found 'vae'"),
        ([Link("e", "layer_energies", contract="Autoencoder")], "e.model.name: 'layer_energies' are learned by"),
        (
            [VAE, Link("latent", "vae", contract="Autoencoder")],
            "latent.model.name: 'vae' are learned by a GenerativeModel",
        ),
        ([Link("showers", "showers")], "showers: this name says what a network can learn"),
        ([ENERGIES, given(ENERGIES, "layer_energies")], "energies.given: a network that learns layer_energies"),
    ],
)
def test_chains_that_do_not_are_refused(links, message):
    with pytest.raises(ValueError, match=message):
        chain_of(links)


def test_what_is_trained_before():
    fine = Link("fine", "showers", ("post",), "Refiner")
    chain = chain_of([ENERGIES, given(VAE, "layer_energies"), LATENT, POST, fine])
    names = {link.name: [other.name for other in chain.before(link)] for link in chain.links}
    assert names == {"energies": [], "vae": [], "latent": ["vae"], "post": ["vae"], "fine": ["vae", "post"]}
    assert [link.role for link in chain.links] == ["layer_energies", "autoencoder", "latent_flow", "refiner", "refiner"]


NETWORK = {"learns": "showers", "model": {"name": "inn"}, "training": {"epochs": 1}}


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            {"flow": NETWORK},
            r"m.networks: every network stands under 'networks' .* networks: \{flow: \{learns: showers, ...\}\}, found flow",
        ),
        (
            {"autoencoder": {}, "flow": {}},
            r"networks: \{autoencoder: \{learns: showers, ...\}, flow: \{learns: autoencoder, ...\}\}",
        ),
        ({"networks": {}}, "m.networks: a model has networks, or is external; found neither"),
        ({"networks": {"flow": NETWORK}, "external": {"generated": ["a"]}}, "found both"),
        ({"networks": {"flow": {**NETWORK, "learns": "shower"}}}, r"m.networks.flow.learns: .*did you mean 'showers'"),
        (
            {"networks": {"flow": {**NETWORK, "latents": "once"}}},
            "m.networks.flow.latents: only of a network that learns",
        ),
        (
            {"networks": {"flow": {**NETWORK, "training": {"epochs": 1, "objectives": {"critic": {"lr": 0.1}}}}}},
            "m.networks.flow.training.objectives.critic: model 'inn' has the objectives loss",
        ),
    ],
)
def test_settings_of_models_are_checked(model, message):
    with pytest.raises(ConfigError, match=message):
        validate(Model, model, "m")
