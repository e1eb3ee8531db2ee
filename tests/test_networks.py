"""Chains of several networks, trained and sampled: layer energies, autoencoders alone and with what learns their latents."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from calopipe.config import Generation, Model, TimingConfig, validate
from calopipe.config.parts import use_extensions
from calopipe.errors import CheckpointError, ConfigError, DataError, TrainingError
from calopipe.evaluation.generation_time import time_generation
from calopipe.geometry import load_geometry
from calopipe.io import Columns, Showers, read_columns, read_showers, write_columns, write_showers
from calopipe.sampling import Generator, generate, reconstruct
from calopipe.sampling.stages import sample_to_file
from calopipe.sampling.whole import train_model
from calopipe.training import TrainingJob
from calopipe.training.checkpoint import load_network

TRAINING = {"epochs": 6, "batch_size": 32, "lr": 3e-3, "weights": "last"}
INN = {"name": "inn", "blocks": 2, "hidden": [16], "bins": 4}
ENERGIES = {
    "learns": "layer_energies",
    "preprocessing": [{"step": "energy_ratios", "ratio_scale": 0.9}, "logit", "standardise", "log_condition"],
    "model": INN,
    "training": TRAINING,
}
VAE = {
    "learns": "showers",
    "given": ["layer_energies"],
    "preprocessing": [{"step": "layer_normalise", "extras": "given", "ratio_scale": 0.9}, "log_condition"],
    "model": {"name": "hurdle_vae", "hidden": [32], "latent": 4},
    "training": TRAINING,
}
FLOW = {
    "learns": "autoencoder",
    "given": ["layer_energies"],
    "preprocessing": [{"step": "energy_ratios", "of": "condition", "ratio_scale": 0.9}, "standardise", "log_condition"],
    "model": INN,
    "training": TRAINING,
}
GEOMETRY = load_geometry("calogan")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Showers that depend on an angle: with it, energy moves from the first layer to the others."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    paths = {}
    for name, n in (("train", 256), ("val", 64), ("test", 50)):
        incident, theta = rng.uniform(1e3, 2e4, (n, 1)), rng.uniform(0, 1, n)
        x = rng.random((n, GEOMETRY.n_voxels)) ** 6
        x[x < 0.01] = 0
        x[:, GEOMETRY.layer_slices[0]] *= (1 - 0.9 * theta)[:, None]
        x = 0.98 * incident * x / x.sum(1, keepdims=True)
        paths[name] = folder / f"{name}.hdf5"
        write_showers(paths[name], Showers(incident, x, conditions={"incident_theta": theta}), GEOMETRY)
    return paths


def job(files: dict[str, Path], conditions: tuple[str, ...] = ()) -> TrainingJob:
    unused = Path("unused")
    return TrainingJob(files["train"], files["val"], "calogan", unused, unused, unused, seed=1, threads=1,
                       threshold_MeV=0.01, conditions=conditions)  # fmt: skip


def trained(files: dict[str, Path], folder: Path, networks: dict, conditions: tuple[str, ...] = ()) -> list[Path]:
    return list(train_model(validate(Model, {"networks": networks}, "m"), job(files, conditions), folder).values())


def drawn(networks: list[Path], files: dict[str, Path], out: Path, **settings: object) -> Showers:
    config = validate(Generation, {"device": "cpu", **settings}, "g")
    generate(networks, files["test"], out, config, 1)
    return read_showers(out, geometry=GEOMETRY)


def energies(showers: Showers) -> np.ndarray:
    return np.stack([showers.showers[:, part].sum(1) for part in GEOMETRY.layer_slices], axis=1)


@pytest.fixture(scope="module")
def caloman(files: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of layer energies, an autoencoder that is given them, and a flow of its latents."""
    folder = tmp_path_factory.mktemp("caloman")
    trained(files, folder, {"energies": ENERGIES, "autoencoder": VAE, "flow": FLOW})
    return folder


def test_a_chain_of_three_networks_makes_showers(files, caloman, tmp_path):
    networks = [caloman / name / "model.pt" for name in ("energies", "autoencoder", "flow")]
    showers, test = drawn(networks, files, tmp_path / "g.hdf5"), read_showers(files["test"])
    assert np.array_equal(showers.incident_energies, test.incident_energies)
    shares = [energies(s) / s.incident_energies for s in (showers, test)]
    assert np.abs(shares[0].mean(0) - shares[1].mean(0)).max() < 0.1
    content = torch.load(networks[2], weights_only=True)
    assert content["link"] == {"name": "flow", "learns": "autoencoder", "given": ["layer_energies"],
                               "contract": "GenerativeModel"}  # fmt: skip
    assert content["upstream"].keys() == {"autoencoder"} and content["latent_dim"] == 4
    assert load_network(networks[1]).inputs.conditions == ("incident_energy", "u_0", "u_1", "u_2")


def test_the_folder_of_a_run_is_its_networks_in_any_order(caloman):
    files = sorted(caloman.glob("*/model.pt"), reverse=True)
    found = Generator.load(caloman, "cpu")
    assert list(found.networks) == list(Generator.load(files, "cpu").networks) == ["energies", "autoencoder", "flow"]
    assert found.parameters == {k: sum(p.numel() for p in n.model.parameters()) for k, n in found.networks.items()}


def test_the_time_of_each_network_is_told(files, caloman, tmp_path):
    networks = [caloman / name / "model.pt" for name in ("energies", "autoencoder", "flow")]
    config = TimingConfig(batch_sizes=[50], repeats=3, device="cpu")
    time_generation(networks, files["test"], config=config, out=tmp_path / "timing.json")
    parts = json.loads((tmp_path / "timing.json").read_text())["results"][0]["networks_ms"]
    assert set(parts) == {"energies", "autoencoder", "flow"} and min(parts.values()) > 0
    test = files["test"]
    for geant4, wanted in (
        ({"geant4_ms": 791.0, "geant4_source": "a paper"}, (791.0, "a paper")),
        (
            {"geant4_ms_per_GeV": 10.0},
            (pytest.approx(read_showers(test).incident_energies.mean() / 100, rel=1e-5), None),
        ),
    ):
        time_generation(networks, test, config=config, out=tmp_path / "timing.json", **geant4)
        record = json.loads((tmp_path / "timing.json").read_text())
        assert (record["geant4_ms"], record["geant4_source"]) == wanted
    prior = tmp_path / "prior.json"
    time_generation(networks[:2], files["test"], config=config, out=prior)
    assert set(json.loads(prior.read_text())["results"][0]["networks_ms"]) == {"energies", "autoencoder"}


def test_true_layer_energies_can_be_given(files, caloman, tmp_path):
    networks, test = sorted(caloman.glob("*/model.pt")), read_showers(files["test"])
    showers = drawn(networks, files, tmp_path / "true.hdf5", layer_energies="true", factor=2)
    truth = np.repeat(energies(test), 2, axis=0)
    assert np.allclose(energies(showers), truth, rtol=0.02, atol=0.05)  # what the cut at the threshold takes away
    learned = drawn(networks, files, tmp_path / "learned.hdf5", factor=2)
    assert not np.allclose(energies(learned), truth, rtol=0.02, atol=0.05)


def test_reconstructions_have_the_layer_energies_that_were_given(files, caloman, tmp_path):
    reconstruct(caloman / "autoencoder/model.pt", files["test"], tmp_path / "r.hdf5", Generation(device="cpu"), 1)
    again = read_showers(tmp_path / "r.hdf5", geometry=GEOMETRY)
    assert np.allclose(energies(again), energies(read_showers(files["test"])), rtol=0.02, atol=0.05)


def test_an_autoencoder_that_nothing_learns_is_sampled_from_its_prior(files, caloman, tmp_path):
    networks = [caloman / name / "model.pt" for name in ("energies", "autoencoder")]
    generator = Generator.load(networks, "cpu")
    assert generator.chain.latents is None
    showers = drawn(networks, files, tmp_path / "g.hdf5")
    assert len(showers) == 50 and (showers.showers > 0).any()
    torch.manual_seed(0)
    first = generator.sample(np.full(4, 5e3))
    assert not np.array_equal(first[0], first[1])


def test_networks_that_are_missing_are_named(caloman):
    autoencoder, flow = caloman / "autoencoder/model.pt", caloman / "flow/model.pt"
    with pytest.raises(CheckpointError, match="'autoencoder' needs layer energies|given: expected any of none"):
        Generator.load([autoencoder, flow], "cpu")
    with pytest.raises(CheckpointError, match="a second checkpoint of network 'flow'"):
        Generator.load([flow, flow], "cpu")


def test_further_conditions_reach_all_networks_and_the_files(files, tmp_path):
    networks = {"energies": {**ENERGIES, "training": {**TRAINING, "epochs": 40}}, "autoencoder": VAE, "flow": FLOW}
    paths = trained(files, tmp_path, networks, ("incident_theta",))
    assert load_network(paths[2]).data.conditions == ("incident_energy", "incident_theta")
    with pytest.raises(DataError, match=r"incident_energy, incident_theta\) of shape \(N, 2\), found \(3, 1\)"):
        Generator.load(paths, "cpu").sample(np.full(3, 5e3))
    out = tmp_path / "g.hdf5"
    generate(paths, files["test"], out, Generation(device="cpu"), 1)
    with h5py.File(out) as file, h5py.File(files["test"]) as test:
        assert np.array_equal(file["incident_theta"][:].ravel(), test["incident_theta"][:].ravel())
    generator = Generator.load(paths, "cpu")
    torch.manual_seed(1)
    first = [generator.sample(np.column_stack([np.full(300, 1e4), np.full(300, theta)])) for theta in (0.05, 0.95)]
    shares = [x[:, GEOMETRY.layer_slices[0]].sum(1).mean() / 1e4 for x in first]
    assert shares[0] > shares[1] + 0.1  # 0.57 and 0.12 in the training showers


# -- a user's own networks ------------------------------------------------------------------------------------------------
OWN = Path(__file__).parent / "own_parts"
STEPS = [{"step": "layer_normalise", "ratio_scale": 0.9}, "logit", "standardise", "log_condition"]
GAN = {
    "learns": "showers",
    "preprocessing": STEPS,
    "model": {"name": "own_gan"},
    "training": {**TRAINING, "objectives": {"critic": {"lr": 1e-4}}, "schedule": "cosine", "gradient_clip": 1.0},
}
POST = {
    "learns": "showers",
    "given": ["generator"],
    "preprocessing": STEPS,
    "model": {"name": "own_refiner"},
    "training": TRAINING,
}


@pytest.fixture
def own() -> Iterator[None]:
    use_extensions([OWN])
    yield
    use_extensions([])


def test_a_gan_with_a_refiner_behind_it(own, files, tmp_path):
    paths = trained(files, tmp_path, {"generator": GAN, "post": POST})
    history = torch.load(paths[0], weights_only=True)["history"]
    named = {"train_critic_loss", "train_generator_loss", "val_gap", "lr_critic", "lr_generator", "grad_norm_critic"}
    assert named <= history[-1].keys() and "val_loss" not in history[-1]
    assert history[0]["lr_critic"] < 1e-4 < history[0]["lr_generator"] <= 3e-3
    plain, refined = (drawn(p, files, tmp_path / "g.hdf5") for p in (paths[:1], paths))
    assert np.array_equal(plain.incident_energies, refined.incident_energies)
    assert len(refined) == 50 and not np.array_equal(plain.showers, refined.showers)
    content = torch.load(paths[1], weights_only=True)
    assert content["upstream"] == {"generator": load_network(paths[0]).digest()}
    other = trained(files, tmp_path / "other", {"generator": {**GAN, "training": {**TRAINING, "epochs": 1}}})
    with pytest.raises(
        CheckpointError, match=r"post/model.pt: learned the output of another training .* of 'generator'"
    ):
        Generator.load([other[0], paths[1]], "cpu")


def test_a_refiner_learns_to_undo_what_was_done_to_the_showers(own, files, tmp_path):
    """Of an autoencoder whose reconstructions are pairs: the refined ones are nearer to the truth."""
    post = {**POST, "given": ["autoencoder"], "training": {**TRAINING, "epochs": 30}}
    vae = {**VAE, "model": {"name": "bernoulli_vae", "hidden": [32], "latent": 4}}
    paths = trained(files, tmp_path, {"energies": ENERGIES, "autoencoder": vae, "post": post})
    history = torch.load(paths[2], weights_only=True)["history"]
    assert history[-1]["val_loss"] < 0.8 * history[0]["val_loss"]
    with h5py.File(tmp_path / "post/learned/train.hdf5") as file:
        assert file.attrs["made_by"] == load_network(paths[1]).digest() and file["showers"].shape == (256, 504)


def test_early_stopping_and_figures_by_name(own, files, tmp_path):
    training = {**TRAINING, "epochs": 200, "monitor": "gap", "patience": 3, "weights": "best"}
    (path,) = trained(files, tmp_path, {"generator": {**GAN, "training": training}})
    history = torch.load(path, weights_only=True)["history"]
    gaps = [row["val_gap"] for row in history]
    best = int(np.argmin(gaps))
    assert len(gaps) == best + 1 + 3 < 200 and min(gaps[best + 1 :]) > gaps[best]
    wrong = {**training, "monitor": "wasserstein"}
    with pytest.raises(TrainingError, match="training.monitor: the validation has no figure 'wasserstein'; it has gap"):
        trained(files, tmp_path / "wrong", {"generator": {**GAN, "training": wrong}})


def test_own_parts_are_unknown_without_the_folder(files, tmp_path):
    with pytest.raises(ConfigError, match="unknown model 'own_gan'"):
        validate(Model, {"networks": {"generator": GAN}}, "m")


# -- data that are no showers ---------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """N(mu, 1), mu in {0, 5, 10}, beside a Beta distribution."""
    folder, rng, paths = tmp_path_factory.mktemp("toys"), np.random.default_rng(0), {}
    for name, n in (("train", 2000), ("val", 300), ("test", 600)):
        mu = rng.choice([0.0, 5.0, 10.0], n)
        values = {"residual": rng.normal(mu, 1), "share": rng.beta(2, 5, n)}
        paths[name] = folder / f"{name}.hdf5"
        write_columns(paths[name], Columns(values, {"mu": mu}))
    return paths


def test_columns_are_learned_and_drawn_at_their_conditions(toys, tmp_path, caplog):
    flow = {
        "learns": "columns",
        "preprocessing": ["standardise", "standardise_condition"],
        "model": {**INN, "blocks": 4, "masks": "alternate"},
        "training": {**TRAINING, "epochs": 40, "batch_size": 100},
    }
    names = {"columns": ("residual", "share"), "conditions": ("mu",), "geometry": None, "threshold_MeV": None}
    model = validate(Model, {"networks": {"flow": flow}}, "m")
    (path,) = train_model(model, replace(job(toys), **names), tmp_path).values()
    generate([path], toys["test"], tmp_path / "g.hdf5", Generation(device="cpu"), 1)
    drawn, test = read_columns(tmp_path / "g.hdf5"), read_columns(toys["test"])
    assert list(drawn.values) == ["residual", "share"] and np.array_equal(drawn.condition, test.condition)
    away = drawn.values["residual"] - drawn.conditions["mu"]
    assert abs(away.mean()) < 0.3 and abs(away.std() - 1) < 0.3
    assert abs(drawn.values["share"].mean() - 2 / 7) < 0.05
    with h5py.File(tmp_path / "g.hdf5") as file:
        assert list(file.attrs["trained_range_mu"]) == [0, 10]
    generator = Generator.load([path], "cpu")
    sample_to_file(generator, np.full((5, 1), 200, "f4"), tmp_path / "far.hdf5", None, 0)
    assert "5 of 5 values of mu (200 to 200) are outside those that the network was trained on (0 to 10)" in caplog.text


def test_columns_without_conditions(toys, tmp_path):
    flow = {"learns": "columns", "preprocessing": ["standardise"], "model": INN, "training": TRAINING}
    names = {"columns": ("share", "residual"), "geometry": None, "threshold_MeV": None}
    model = validate(Model, {"networks": {"flow": flow}}, "m")
    (path,) = train_model(model, replace(job(toys), **names), tmp_path).values()
    assert Generator.load([path], "cpu").sample(np.zeros((4, 0))).shape == (4, 2)
