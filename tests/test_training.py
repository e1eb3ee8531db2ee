"""Training: determinism, continuing after an interruption, schedules, weights kept, clear errors."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from calopipe.config import Model, Training, parts, validate
from calopipe.config.parts import MODELS
from calopipe.errors import CheckpointError, ConfigError, DataError, TrainingError
from calopipe.geometry import load_geometry
from calopipe.io import Showers, read_showers, write_showers
from calopipe.io.conditions import TrainedRange
from calopipe.sampling import Generator, encode, generate, reconstruct
from calopipe.sampling.stages import sample_to_file
from calopipe.training import TrainingJob, train_network
from calopipe.training import fit as fit_module
from calopipe.training.module import make_schedule

TRAINING = {"epochs": 4, "batch_size": 32, "optimizer": "adamw", "lr": 1e-3, "schedule": "cosine", "warmup": 0.1}
DIRECT = {
    "flow": {
        "learns": "showers",
        "preprocessing": [
            {"step": "fill_empty"},
            {"step": "layer_normalise", "ratio_scale": 0.9},
            {"step": "logit"},
            {"step": "standardise"},
            {"step": "log_condition"},
        ],
        "model": {"name": "inn", "blocks": 2, "hidden": [8], "bins": 4, "dropout": 0.1},
        "training": {**TRAINING, "ema_decay": 0.9, "gradient_clip": 5.0, "reflections": True, "weights": "last"},
    }
}
LATENT = {
    "autoencoder": {
        "learns": "showers",
        "preprocessing": [{"step": "layer_normalise", "extras": "condition", "ratio_scale": 0.9}, "log_condition"],
        "model": {"name": "hurdle_vae", "hidden": [32], "latent": 4},
        "training": TRAINING,
    },
    "flow": {
        "learns": "autoencoder",
        "latents": "mu_sigma",
        "preprocessing": [{"step": "logit", "columns": "extras"}, {"step": "standardise"}, "log_condition"],
        "model": {"name": "inn", "blocks": 2, "hidden": [8], "bins": 4},
        "training": TRAINING,
    },
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    paths = {}
    for name, n in (("train", 160), ("val", 64), ("test", 50)):
        incident = rng.uniform(1e3, 2e4, (n, 1)).astype(np.float32)
        x = rng.random((n, 504)) ** 6
        x[x < 0.01] = 0
        x = (0.98 * incident * x / x.sum(1, keepdims=True)).astype(np.float32)
        paths[name] = folder / f"{name}.hdf5"
        write_showers(paths[name], Showers(incident, x), "calogan")
    return paths


def model(networks: dict) -> Model:
    return validate(Model, {"networks": networks}, "model")


def train(settings: Model, network: str, job: TrainingJob) -> None:
    """Train a network of a model."""
    train_network(settings.networks[network], settings.chain[network], job)


def job(train: Path, val: Path, out: Path, seed: int = 1, name: str = "m", epochs: Path | None = None) -> TrainingJob:
    outputs = (out / f"{name}.pt", out / f"{name}.csv", out / "roll")
    return TrainingJob(train, val, "calogan", *outputs, seed, threads=1, epochs=epochs)


def run_flow(files: dict[str, Path], out: Path, seed: int = 1, settings: dict = DIRECT) -> dict[str, torch.Tensor]:
    train(model(settings), "flow", job(files["train"], files["val"], out, seed))
    return torch.load(out / "m.pt", weights_only=True)["model"]


@pytest.mark.parametrize("latents", ["mu_sigma", "once"])
def test_seeds_learn_blocks_of_their_own_in_all_networks(files, tmp_path, latents, monkeypatch):
    """Both networks of a latent model see the rows of the seed's block, preprocessing too, and no others."""
    from calopipe.training import stages

    seen = []

    def kept(link, settings, data, job, material):
        seen.append((link.role, material.train.conditions[:, 0], material.val.conditions[:, 0], len(material.train)))

    settings = model({**LATENT, "flow": {**LATENT["flow"], "latents": latents}})
    jobs = [replace(job(files["train"], files["val"], tmp_path, seed), showers=50) for seed in (0, 2)]
    train(settings, "autoencoder", replace(jobs[0], checkpoint=tmp_path / "ae.pt"))
    for split in ("train", "val"):
        encode(tmp_path / "ae.pt", files[split], tmp_path / f"{split}.latents")
    monkeypatch.setattr(stages, "_train", kept)
    incident = torch.from_numpy(read_showers(files["train"]).incident_energies[:, 0])
    for one in jobs:
        train(model(DIRECT), "flow", one)
        train(settings, "autoencoder", one)
        train(settings, "flow", replace(one, train=tmp_path / "train.latents", val=tmp_path / "val.latents"))
        rows = slice(50 * one.seed, 50 * one.seed + 50)
        for _kind, learned, validated, n in seen[-3:]:
            assert torch.equal(learned, incident[rows]) and n == 50 and len(validated) == 64
    assert [kind for kind, *_ in seen] == 2 * ["flow", "autoencoder", "latent_flow"]
    beyond = replace(jobs[0], seed=3)  # 160 showers: three blocks of 50
    with pytest.raises(ConfigError, match="160 showers, 3 blocks of 50; seed 3 needs block 3"):
        train(model(DIRECT), "flow", beyond)
    with pytest.raises(ConfigError, match="seed 3 needs block 3"):
        train(settings, "flow", replace(beyond, train=tmp_path / "train.latents", val=tmp_path / "val.latents"))


def test_training_on_a_block_is_training_on_its_showers(files, tmp_path):
    whole = read_showers(files["train"])
    own = Showers(whole.incident_energies[60:120], whole.showers[60:120])
    write_showers(tmp_path / "own.hdf5", own, "calogan")
    for name, path, showers in (("block", files["train"], 60), ("own", tmp_path / "own.hdf5", None)):
        train(model(DIRECT), "flow", replace(job(path, files["val"], tmp_path, 1, name), showers=showers))
    block, alone = (torch.load(tmp_path / f"{name}.pt", weights_only=True) for name in ("block", "own"))
    assert_same(block["model"], alone["model"])
    assert_same(block["chain"], alone["chain"])


def assert_same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    for key, value in a.items():
        torch.testing.assert_close(value, b[key], rtol=1e-6, atol=1e-7)


@pytest.fixture(scope="module")
def whole(files: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, torch.Tensor]]:
    out = tmp_path_factory.mktemp("whole")
    return out, run_flow(files, out)


def test_same_seed_same_model_other_seed_other_model(files, whole, tmp_path: Path) -> None:
    assert_same(whole[1], run_flow(files, tmp_path))
    other = run_flow(files, tmp_path / "other", seed=2)
    assert any(not torch.allclose(other[k], v) for k, v in whole[1].items() if v.is_floating_point())


@pytest.mark.parametrize("stop_at", [1, 3])
def test_interrupted_training_ends_at_the_same_model(files, whole, tmp_path: Path, monkeypatch, stop_at: int) -> None:
    class Stop(fit_module.History):
        def on_train_batch_start(self, trainer, *args) -> None:
            if trainer.current_epoch == stop_at:
                raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(fit_module, "History", Stop)
        with pytest.raises((TrainingError, KeyboardInterrupt, SystemExit)):
            run_flow(files, tmp_path)
    assert not (tmp_path / "m.pt").exists() and list(tmp_path.glob("roll/*/last.ckpt"))
    assert_same(whole[1], run_flow(files, tmp_path))
    assert not list(tmp_path.glob("roll/*"))
    with (tmp_path / "m.csv").open() as stream:
        assert [int(row["epoch"]) for row in csv.DictReader(stream)] == [0, 1, 2, 3]


def test_training_from_disk_interrupted_in_an_epoch_ends_at_the_same_model(files, tmp_path: Path, monkeypatch) -> None:
    """Windows of 50 of 160 showers; training stops in the third step of the second epoch."""
    flow = DIRECT["flow"]
    settings = {"flow": {**flow, "training": {**flow["training"], "window_MB": 0.1}}}

    class Stop(fit_module.History):
        def on_train_batch_start(self, trainer, module, batch, batch_idx) -> None:
            if (trainer.current_epoch, batch_idx) == (1, 2):
                raise KeyboardInterrupt

    straight = run_flow(files, tmp_path / "straight", settings=settings)
    with monkeypatch.context() as patch:
        patch.setattr(fit_module, "History", Stop)
        with pytest.raises((TrainingError, KeyboardInterrupt, SystemExit)):
            run_flow(files, tmp_path / "stopped", settings=settings)
    assert_same(straight, run_flow(files, tmp_path / "stopped", settings=settings))
    whole = run_flow(files, tmp_path / "whole")
    assert any(not torch.allclose(whole[k], v) for k, v in straight.items() if v.is_floating_point())


@pytest.mark.parametrize("stop_at", [1, 3])
def test_interrupted_training_keeps_the_course_of_its_loss(files, tmp_path: Path, monkeypatch, stop_at: int) -> None:
    """The data term is balanced after two epochs, by sums over both; the training stops before and after that."""
    losses = [{"term": "data_mse", "balance_after": 2}, {"term": "logit_mae"}]
    settings = {
        **LATENT["autoencoder"],
        "model": {"name": "shower_vae", "hidden": [16], "latent": 4, "losses": losses},
        "training": {**TRAINING, "weights": "last"},
    }

    def run(out: Path) -> dict[str, torch.Tensor]:
        train(model({"autoencoder": settings}), "autoencoder", job(files["train"], files["val"], out))
        return torch.load(out / "m.pt", weights_only=True)["model"]

    class Stop(fit_module.History):
        def on_train_batch_start(self, trainer, *args) -> None:
            if trainer.current_epoch == stop_at:
                raise KeyboardInterrupt

    straight = run(tmp_path / "straight")
    assert straight["terms.balance"] > 0 and straight["terms.balance"] != 1 and straight["terms.epoch"] == 3
    with monkeypatch.context() as patch:
        patch.setattr(fit_module, "History", Stop)
        with pytest.raises((TrainingError, KeyboardInterrupt, SystemExit)):
            run(tmp_path / "stopped")
    assert_same(straight, run(tmp_path / "stopped"))


@pytest.mark.parametrize("ema", [0.9, None])
def test_kept_epochs_are_what_training_would_have_ended_with(files, tmp_path: Path, ema: float | None) -> None:
    settings = {**DIRECT["flow"], "training": {**DIRECT["flow"]["training"], "ema_decay": ema, "keep_every": 2}}
    train(model({"flow": settings}), "flow", job(files["train"], files["val"], tmp_path, epochs=tmp_path / "epochs"))
    kept = sorted((tmp_path / "epochs").glob("*"))
    assert [p.name for p in kept] == ["epoch-00002.pt", "epoch-00004.pt"]
    last, final = (torch.load(p, weights_only=True) for p in (kept[1], tmp_path / "m.pt"))
    assert_same(final["model"], last["model"])
    earlier = torch.load(kept[0], weights_only=True)
    assert len(earlier["history"]) == 2 and not list(tmp_path.glob("roll/*"))
    assert any(not torch.equal(earlier["model"][k], v) for k, v in final["model"].items())
    assert Generator.load([kept[0]], device="cpu").sample(np.array([5e3], dtype=np.float32)).shape == (1, 504)


def test_generation_from_a_kept_epoch(files, tmp_path: Path) -> None:
    settings = {**DIRECT["flow"], "training": {**DIRECT["flow"]["training"], "keep_every": 2}}
    folder, scores = tmp_path / "epochs", tmp_path / "scores_by_epoch.json"
    train(model({"flow": settings}), "flow", job(files["train"], files["val"], tmp_path, epochs=folder))

    def drawn(epoch, flow: Path, best: dict | None = None) -> tuple[np.ndarray, str]:
        if best is not None:
            scores.write_text(json.dumps({"epochs": [], "best": {"score": "fidelity", **best}}))
        out = tmp_path / "g.hdf5"
        generate([flow], files["test"], out, _generation(epoch=epoch), 1, [] if best is None else [scores])
        with h5py.File(out) as file:
            return file["showers"][:], file.attrs["source"]

    final, source = drawn("final", tmp_path / "m.pt")
    assert source == "generated"
    second, source = drawn(2, folder)
    assert source == "generated from epoch 2" and not np.array_equal(second, final)
    best, source = drawn("best", folder, {"epoch": 2, "as_good": [2, 4]})
    assert source == "generated from epoch 2, the best by fidelity" and np.array_equal(best, second)
    assert np.array_equal(drawn("best", folder, {"epoch": 4, "as_good": [4]})[0], final)  # weights: last
    with pytest.raises(DataError, match="epoch 3 was not kept; found 2, 4"):
        drawn(3, folder)
    with pytest.raises(DataError, match="no epoch is the best by 'fidelity': too few"):
        drawn("best", folder, {"missing": "too few"})


def test_other_settings_do_not_continue_from_an_old_rolling_checkpoint(files, tmp_path: Path) -> None:
    (tmp_path / "roll" / "0123").mkdir(parents=True)
    (tmp_path / "roll" / "0123" / "last.ckpt").write_bytes(b"of another training")
    run_flow(files, tmp_path)


def test_latent_pipeline(files, tmp_path: Path) -> None:
    m, ae = model(LATENT), tmp_path / "ae.pt"
    train(m, "autoencoder", job(files["train"], files["val"], tmp_path, name="ae"))
    for part in ("train", "val"):
        encode(ae, files[part], tmp_path / f"{part}.h5")
    flow = tmp_path / "flow.pt"
    train(m, "flow", job(tmp_path / "train.h5", tmp_path / "val.h5", tmp_path, name="flow"))
    evaluation = _generation()
    generate([ae, flow], files["test"], tmp_path / "gen.hdf5", evaluation, 1)
    reconstruct(ae, files["test"], tmp_path / "rec.hdf5", evaluation, 1)
    truth = read_showers(files["test"])
    for name in ("gen", "rec"):
        showers = read_showers(tmp_path / f"{name}.hdf5", geometry=load_geometry("calogan"))
        assert np.array_equal(showers.incident_energies, truth.incident_energies)
        assert not ((showers.showers > 0) & (showers.showers < 0.01)).any()
    ratio = read_showers(tmp_path / "rec.hdf5").showers.sum(1) / truth.showers.sum(1)
    assert np.allclose(ratio, 1, atol=1e-3)
    with pytest.raises(CheckpointError, match="flow.pt: these checkpoints make no generator: .* found 'autoencoder'"):
        Generator.load([flow])
    with pytest.raises(CheckpointError, match="condition holds u_0, ... of the showers cannot generate alone"):
        Generator.load([ae])


def test_generation_is_repeatable_and_checks_energies(files, whole, tmp_path: Path) -> None:
    generator = Generator.load([whole[0] / "m.pt"], device="cpu")
    energies = np.array([1e3, 5e3, 2e4], dtype=np.float32)
    torch.manual_seed(5)
    first = generator.sample(energies)
    torch.manual_seed(5)
    assert np.array_equal(first, generator.sample(energies[:, None])) and first.shape == (3, 504)
    with pytest.raises(DataError, match="finite and > 0"):
        generator.sample(np.array([1e3, -1.0]))
    generate([whole[0] / "m.pt"], files["test"], tmp_path / "g.hdf5", _generation(factor=2), 1)
    assert len(read_showers(tmp_path / "g.hdf5")) == 100


def test_broken_checkpoints_are_named(tmp_path: Path, whole) -> None:
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        Generator.load(tmp_path / "none.pt")
    (tmp_path / "junk.pt").write_bytes(b"junk")
    with pytest.raises(CheckpointError, match="junk.pt: not a checkpoint"):
        Generator.load(tmp_path / "junk.pt")
    data = (whole[0] / "m.pt").read_bytes()
    (tmp_path / "half.pt").write_bytes(data[: len(data) // 2])
    with pytest.raises(CheckpointError, match="half.pt: not a checkpoint"):
        Generator.load(tmp_path / "half.pt")


def test_non_finite_loss_stops_with_a_message(files, tmp_path: Path, monkeypatch) -> None:
    m, kind = model(LATENT), MODELS.get(LATENT["autoencoder"]["model"]["name"])
    loss = kind.loss
    monkeypatch.setattr(kind, "loss", lambda *given: {k: v * float("inf") for k, v in loss(*given).items()})
    with pytest.raises(TrainingError, match=r"loss is (nan|inf).*epoch"):
        train(m, "autoencoder", job(files["train"], files["val"], tmp_path))
    assert not (tmp_path / "m.pt").exists()


@pytest.mark.parametrize(
    ("stage", "steps", "message"),
    [
        (
            "autoencoder",
            ["affine"],
            r"model.networks.autoencoder.preprocessing: .*'affine' .* likelihood only; .* \(.*\binn\), found 'hurdle_vae'",
        ),
        (
            "flow",
            ["affine", "layer_normalise"],
            r"model.networks.flow.preprocessing: .*'affine'.* \(affine, .*\); found 'layer_normalise' after it",
        ),
        ("flow", ["affine", "standardise", {"step": "logit", "columns": "extras"}], "found 'logit' after it"),
    ],
)
def test_learnable_steps_only_where_their_log_det_belongs(files, tmp_path: Path, stage: str, steps, message) -> None:
    settings = {**LATENT, stage: {**LATENT[stage], "preprocessing": steps}}
    with pytest.raises(ConfigError, match=message):
        model(settings)
    whole, networks = (
        model(LATENT if stage == "autoencoder" else DIRECT),
        {"preprocessing": parts.steps(steps)},
    )
    bypassed = whole.networks[stage].model_copy(update=networks)
    with pytest.raises(ConfigError, match="is learned through its log-det"):
        train_network(bypassed, whole.chain[stage], job(files["train"], files["val"], tmp_path))
    assert not (tmp_path / "m.pt").exists()


def test_learnable_step_of_a_flow_is_trained(files, tmp_path: Path) -> None:
    steps = ["layer_normalise", "logit", "affine", "log_condition"]
    settings = {"flow": {**DIRECT["flow"], "preprocessing": ["fill_empty", *steps]}}
    run_flow(files, tmp_path, settings=settings)
    content = torch.load(tmp_path / "m.pt", weights_only=True)
    assert content["chain"]["steps.3.log_scale"].std() > 0
    losses = [row["val_loss"] for row in content["history"]]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("schedule", ["constant", "one_cycle", "cosine"])
def test_schedules_peak_at_the_learning_rate(schedule: str) -> None:
    training = validate(Training, {"epochs": 1, "lr": 0.5, "schedule": schedule, "warmup": 0.2}, "t")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    scheduler = make_schedule(optimizer, training, 50)
    rates = []
    for _ in range(50):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
    assert max(rates) == pytest.approx(0.5, rel=0.05) and 5 <= int(np.argmax(rates)) <= 15
    assert rates[-1] == pytest.approx(0.5 if schedule == "constant" else 0, abs=0.01)


@pytest.mark.parametrize("every", [1, 5])
def test_exponential_rates_fall_after_each_epoch(every: int) -> None:
    """4 epochs of 10 batches; an optimiser that moves with every fifth of them makes 2 steps in each."""
    training = validate(Training, {"epochs": 4, "lr": 0.5, "schedule": "exponential", "decay": 0.8}, "t")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    scheduler = make_schedule(optimizer, training, 40 // every)
    assert scheduler is not None
    rates = []
    for _ in range(40 // every):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    expected = [0.5 * 0.8**epoch for epoch in range(4) for _ in range(10 // every)]
    assert rates == pytest.approx(expected, rel=1e-6)


def _generation(**settings):
    from calopipe.config import Generation

    return validate(Generation, {"batch_size": 30, "device": "cpu", **settings}, "generation")


def test_energies_outside_the_trained_range_are_noticed(files, whole, tmp_path: Path, caplog) -> None:
    content = torch.load(whole[0] / "m.pt", weights_only=True)["trained"]
    energies = read_showers(files["train"]).incident_energies
    assert (content["low"], content["high"], content["n"]) == (energies.min(), energies.max(), len(energies))
    flow, out = whole[0] / "m.pt", tmp_path / "g.hdf5"
    generate([flow], files["test"], out, _generation(), 1)
    assert "trained on" not in caplog.text
    with h5py.File(out) as file:
        assert TrainedRange.from_attributes(file.attrs) == TrainedRange(**content)
    sample_to_file(Generator.load([flow], device="cpu"), np.linspace(1, 100, 20, dtype="f4")[:, None], out, 20, 0)
    assert "20 of 20 incident energies (1 to 100 MeV) are outside" in caplog.text and "are they in GeV?" in caplog.text


def test_a_trained_range_tells_chance_from_extrapolation() -> None:
    rng = np.random.default_rng(0)
    trained = TrainedRange.of(rng.uniform(1e3, 1e5, 5000))
    for size in (1, 50, 5000, 100_000):
        assert trained.complaint(rng.uniform(1e3, 1e5, size)) is None
    assert "1 of 1 incident" in trained.complaint([1.2e5])
    assert " of 5001 " in trained.complaint([*rng.uniform(1e3, 1e5, 5000), 3e5])
    beams = TrainedRange.of(np.repeat([256.0, 512.0], 100))
    assert beams.complaint(np.repeat(np.float32(512.0004), 50)) is None and "TeV" not in beams.complaint([0.5])
    assert TrainedRange.from_attributes({}) is None
    for bad in ([1.0], [5.0, 1.0], "x", [np.nan, 1.0]):
        assert TrainedRange.from_attributes({"trained_energies_MeV": bad, "trained_showers": 5}) is None
