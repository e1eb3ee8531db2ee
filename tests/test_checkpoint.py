"""Checkpoints: whatever is wrong with a file is one line that names it; nothing damaged or forged is used unnoticed."""

from __future__ import annotations

import dataclasses
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.utils.parametrizations import spectral_norm

sys.path.insert(0, str(Path(__file__).parent / "fuzz"))
import checkpoints as fuzz

from calopipe.config import Model, validate
from calopipe.errors import CheckpointError, DataError
from calopipe.models.splines.jobs import run_job
from calopipe.sampling import Generator, encode
from calopipe.training import TrainingJob, train_network
from calopipe.training.checkpoint import load_network, save_network
from calopipe.training.schema import at_most
from calopipe.training.sealed import read_sealed, write_sealed

STEPS = [{"step": "layer_normalise", "extras": "condition"}, {"step": "log_condition"}]
TRAINING = {"epochs": 1, "batch_size": 32}
LATENT = {
    "autoencoder": {
        "learns": "showers",
        "preprocessing": STEPS,
        "model": {"name": "bernoulli_vae", "hidden": [16], "latent": 4},
        "training": TRAINING,
    },
    "flow": {
        "learns": "autoencoder",
        "preprocessing": [{"step": "standardise"}, {"step": "log_condition"}],
        "model": {"name": "inn", "blocks": 2, "hidden": [8], "bins": 4},
        "training": TRAINING,
    },
}


@pytest.fixture(scope="module")
def flow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fuzz.small_flow(tmp_path_factory.mktemp("flow"))


@pytest.fixture
def content(flow: Path) -> dict:
    return torch.load(flow, weights_only=True)


def refusal(path: Path, content: dict | None = None) -> str:
    """The message with which a checkpoint of this content is refused; it names the file and is one line."""
    if content is not None:
        write_sealed(path, content)
    with pytest.raises(CheckpointError) as error:
        Generator.load([path], device="cpu")
    message = str(error.value)
    assert message.startswith(f"{path}: ") and "\n" not in message
    return message.removeprefix(f"{path}: ")


def test_a_sealed_copy_is_the_checkpoint(flow, content, tmp_path):
    write_sealed(tmp_path / "copy.pt", content)
    assert (tmp_path / "copy.pt").read_bytes() == flow.read_bytes()
    assert load_network(tmp_path / "copy.pt", "GenerativeModel").digest() == load_network(flow).digest()


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("dim", None, "dim: input should be a valid integer (found None)"),
        ("data.threshold_MeV", float("nan"), "data.threshold_MeV: input should be a finite number (found nan)"),
        ("data.threshold_MeV", -1.0, "data.threshold_MeV: input should be greater than or equal to 0 (found -1.0)"),
        ("data.geometry", {"name": "calogan"}, "data.geometry: not the content of a geometry: 'layers'"),
        (
            "data.geometry.layers",
            [{"id": 0, "first_edges": [0, 1], "second_edges": [0, 1], "z": None}],
            "dim: expected 1, the ",
        ),
        ("data.conditions", [5], "data.conditions.0: input should be a valid string (found 5)"),
        ("link.contract", "vae", "link.contract: input should be 'GenerativeModel', 'Autoencoder', 'Refiner' or "),
        ("link.contract", "EnergyRegressor", "model 'inn' is no EnergyRegressor, but is used as regressor"),
        ("link.learns", "autoencoder", "latent_dim: expected of a network that learns latents"),
        ("latent_dim", 4, "latent_dim: expected of a network that learns latents, and of no other, found 4"),
        ("format", 2, "expected a calopipe checkpoint of format 3, found 2; train it again"),
        ("more", 1, "more: unknown key"),
        ("chain", {}, "chain: 'steps.3.mean' is missing; weights do not fit the settings"),
    ],
)
def test_keys_of_a_checkpoint_are_checked(content, tmp_path, key, value, message):
    *path, last = key.split(".")
    inner = content
    for name in path:
        inner = inner[name]
    inner[last] = value
    assert message in refusal(tmp_path / "m.pt", content)


def test_every_missing_key_is_named(content, tmp_path):
    for key in content:
        if key != "format":
            found = refusal(tmp_path / "m.pt", {k: v for k, v in content.items() if k != key})
            assert f"{key}: required key is missing" in found


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("part", ["chain", "model"])
def test_weights_that_are_not_finite_are_refused(flow, content, tmp_path, part, bad):
    key = next(k for k, v in content[part].items() if v.is_floating_point())
    content[part][key].view(-1)[0] = bad
    assert f"{part}: weights are not finite: 1 of " in refusal(tmp_path / "m.pt", content)
    network = load_network(flow)
    with torch.no_grad():
        network.parts[part].state_dict()[key].view(-1)[0] = bad
    with pytest.raises(CheckpointError, match="not written: .*weights are not finite"):
        save_network(tmp_path / "other.pt", network, [])
    assert not (tmp_path / "other.pt").exists()


@pytest.mark.parametrize("bad", [-1, 507, 600, 2**40, -(10**12)])
@pytest.mark.parametrize("name", ["active", "passive"])
def test_indices_from_a_file_never_reach_compiled_code(content, tmp_path, name, bad):
    key = next(k for k in content["model"] if k.endswith(name))
    content["model"][key][-1] = bad
    assert f"'{key}': indices that do not follow from the settings and the seed" in refusal(tmp_path / "m.pt", content)


def test_another_seed_is_another_choice_of_columns(content, tmp_path):
    content["seed"] += 1
    assert "indices that do not follow" in refusal(tmp_path / "m.pt", content)


@pytest.mark.parametrize("active", [[-1], [3], [2**40]])
def test_compiled_code_refuses_columns_that_are_not_there(active):
    x, params, columns = torch.zeros(2, 3), torch.zeros(2, 5, 1), torch.tensor(active)
    with pytest.raises(IndexError, match="columns to transform must be int64 from 0 to 2"):
        run_job(x, params, columns, x.clone(), torch.zeros(2).double(), np.full(5, 0.1), inverse=False)


def test_settings_that_ask_for_more_than_is_stored_use_no_memory(content, tmp_path):
    content["settings"]["model"]["hidden"] = [2000, 2000]
    assert "ask for far more than the" in refusal(tmp_path / "m.pt", content)


def test_what_is_set_again_counts_once() -> None:
    """A spectral normalisation sets its vectors again for each of its first steps."""
    with at_most(200_000):
        spectral_norm(torch.nn.Linear(100_000, 1))
    with pytest.raises(CheckpointError, match="far more"), at_most(200_000):
        spectral_norm(torch.nn.Linear(300_000, 1))


def test_every_flipped_bit_is_noticed(flow, tmp_path):
    data = flow.read_bytes()
    for at in np.random.default_rng(0).integers(len(data), size=40):
        (tmp_path / "m.pt").write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        refusal(tmp_path / "m.pt")


def test_files_that_are_no_checkpoint_are_told_in_words(content, tmp_path):
    path = tmp_path / "bad.pt"
    path.write_bytes(b"This is not a checkpoint.\n" * 30)
    assert refusal(path) == (
        "not a checkpoint that can be read (not a zip archive as torch.save writes it: cut, damaged, or something else)"
    )
    path.write_bytes(b"")
    assert "the file is empty" in refusal(path)
    path.write_bytes(fuzz.unsealed(content))
    assert "carries no checksum" in refusal(path)
    with pytest.raises(CheckpointError, match="expected the folder of a run"):
        Generator.load(tmp_path)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.pt")
        assert "not a regular file" in refusal(tmp_path / "pipe.pt")


def test_code_in_a_checkpoint_is_not_run(content, tmp_path):
    content["history"] = [fuzz.Runs(tmp_path / "ran")]
    assert "can run code and are not loaded" in refusal(tmp_path / "m.pt", content)
    assert not (tmp_path / "ran").exists()


def test_another_version_is_used_with_a_warning(content, tmp_path, caplog):
    write_sealed(tmp_path / "m.pt", {**content, "calopipe_version": "99.0"})
    with caplog.at_level("WARNING", "calopipe"):
        load_network(tmp_path / "m.pt")
    assert "was written by calopipe 99.0" in caplog.text


def test_a_full_disk_leaves_the_earlier_file(content, tmp_path):
    resource = pytest.importorskip("resource")
    path = tmp_path / "m.pt"
    write_sealed(path, content)
    before, limits = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    import signal

    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))
    try:
        with pytest.raises(DataError, match="m.pt: cannot be written"):
            write_sealed(path, {**content, "seed": 3})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["m.pt"]


def test_damaged_checkpoints_are_refused_by_a_process_that_lives(flow, tmp_path):
    counts, wrong = fuzz.run(flow, 28, tmp_path, seed=1)
    assert not wrong and counts["refused"] >= 25


# -- networks that belong together -------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def latent(flow: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two seeds of an autoencoder, latents by both, and a flow of those of the first."""
    folder = tmp_path_factory.mktemp("latent")
    showers, settings = flow.parent / "showers.hdf5", validate(Model, {"networks": LATENT}, "model")

    def job(name: str, train: Path, val: Path, seed: int = 0) -> TrainingJob:
        outputs = (folder / f"{name}.pt", folder / f"{name}.csv", folder / "rolling")
        return TrainingJob(train, val, "calogan", *outputs, seed, threads=1)

    for seed in (0, 1):
        train_network(
            settings.networks["autoencoder"], settings.chain["autoencoder"], job(f"ae{seed}", showers, showers, seed)
        )
        encode(folder / f"ae{seed}.pt", showers, folder / f"latents{seed}.hdf5")
    flow = settings.networks["flow"], settings.chain["flow"]
    train_network(*flow, job("flow", folder / "latents0.hdf5", folder / "latents0.hdf5"))
    with pytest.raises(DataError, match="latents of different autoencoders"):
        train_network(*flow, job("mixed", folder / "latents0.hdf5", folder / "latents1.hdf5"))
    return folder


def test_a_latent_flow_knows_its_autoencoder(latent, flow):
    drawn = Generator.load([latent / "flow.pt", latent / "ae0.pt"], "cpu").sample(np.full(2, 5e3, np.float32))
    assert drawn.shape == (2, 504)
    with pytest.raises(CheckpointError, match=r"flow.pt: learned the output of another training .*ae1.pt"):
        Generator.load([latent / "flow.pt", latent / "ae1.pt"], "cpu")
    with pytest.raises(CheckpointError, match="expected one network that makes showers .*, found flow, autoencoder"):
        Generator.load([flow, latent / "ae0.pt"], "cpu")


def test_damage_of_a_latent_models_networks_is_refused(latent, tmp_path):
    worker = fuzz.Worker()
    for name in ("flow", "ae0"):
        content, _ = read_sealed(latent / f"{name}.pt")
        for i, (what, data) in enumerate(fuzz.damages(content, 7, tmp_path / "ran", seed=3)):
            path = tmp_path / f"{name}-{i}.pt"
            path.write_bytes(data)
            pair = (path, latent / "ae0.pt") if name == "flow" else (latent / "flow.pt", path)
            assert fuzz.judge(what, *worker(*pair), path) in ("refused", "forged")
    worker.close()
    assert not (tmp_path / "ran").exists()


def test_digest_of_a_network_is_that_of_what_it_computes(flow: Path) -> None:
    network = load_network(flow)
    before, settings = network.digest(), network.settings
    training = settings.model_copy(update={"training": None})
    assert dataclasses.replace(network, settings=training).digest() == before
    other = settings.model_copy(update={"preprocessing": []})
    assert dataclasses.replace(network, settings=other).digest() != before
    first = next(network.model.parameters())
    first.data[0] += 1
    assert network.digest() != before
