"""Interrupted trainings: damaged, planted and cut states, a full disk, kills; each ends at the weights it would have had."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent / "fuzz"))
import kills
from checkpoints import Runs, sealed, small_flow, unsealed

from calopipe.config import Model, validate
from calopipe.errors import DataError, TrainingError
from calopipe.training import TrainingJob, train_network
from calopipe.training import fit as fit_module

FLOW = {
    "learns": "showers",
    "preprocessing": [{"step": "layer_normalise"}, {"step": "standardise"}, {"step": "log_condition"}],
    "model": {"name": "inn", "blocks": 2, "hidden": [8], "bins": 4},
    "training": {"epochs": 5, "batch_size": 32, "ema_decay": 0.9, "keep_every": 2, "lr": 3e-2},
}
FILES = ["best.ckpt", "kept-00002.ckpt", "last.ckpt"]


@pytest.fixture(scope="module")
def showers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_flow(tmp_path_factory.mktemp("showers")).parent / "showers.hdf5"


def train(showers: Path, out: Path) -> Path:
    outputs = (out / "m.pt", out / "m.csv", out / "rolling")
    job = TrainingJob(showers, showers, "calogan", *outputs, threads=1, epochs=out / "epochs")
    model = validate(Model, {"networks": {"flow": FLOW}}, "model")
    train_network(model.networks["flow"], model.chain["flow"], job)
    assert not list(out.glob("rolling/*"))
    return out / "m.pt"


@pytest.fixture(scope="module")
def whole(showers: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(showers, tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def stopped(showers: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training that stopped in its fourth epoch."""

    class Stop(fit_module.History):
        def on_train_batch_start(self, trainer, *args) -> None:
            if trainer.current_epoch == 3:
                raise KeyboardInterrupt

    out = tmp_path_factory.mktemp("stopped")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit_module, "History", Stop)
        with pytest.raises((TrainingError, KeyboardInterrupt, SystemExit)):
            train(showers, out)
    (folder,) = out.glob("rolling/*")
    assert sorted(p.name for p in folder.iterdir()) == FILES
    return out


@pytest.fixture
def rolling(stopped: Path, tmp_path: Path) -> Path:
    shutil.copytree(stopped / "rolling", tmp_path / "rolling")
    return next(tmp_path.glob("rolling/*"))


@pytest.mark.parametrize("damage", ["cut", "empty", "bit", "unsealed", "text", "other", "not finite"])
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_state_is_put_aside_and_the_training_ends_alike(
    showers, whole, rolling, tmp_path, caplog, name, damage
):
    path = rolling / name
    data, state = path.read_bytes(), torch.load(path, weights_only=True)
    odd = {k: v * float("nan") if v.is_floating_point() else v for k, v in state["state_dict"].items()}
    path.write_bytes(
        {
            "cut": data[: len(data) // 2],
            "empty": b"",
            "bit": data[:5000] + bytes([data[5000] ^ 4]) + data[5001:],
            "unsealed": unsealed(state),
            "text": b"of another training",
            "other": sealed({"a": 1}),
            "not finite": sealed({**state, "state_dict": odd}),
        }[damage]
    )
    with caplog.at_level("WARNING", "calopipe"):
        trained = train(showers, tmp_path)
    assert f"put aside as {name}.damaged" in caplog.text
    assert kills.same(trained, whole)
    assert kills.same(tmp_path / "epochs/epoch-00004.pt", whole.parent / "epochs/epoch-00004.pt")


def test_a_planted_state_is_not_executed(showers, whole, rolling, tmp_path, caplog):
    marker = tmp_path / "ran"
    for name in FILES:
        (rolling / name).write_bytes(unsealed(Runs(marker), _use_new_zipfile_serialization=False))
    (rolling / "hpc_ckpt_1.ckpt").write_bytes(sealed({"state_dict": Runs(marker)}))
    with caplog.at_level("WARNING", "calopipe"):
        assert kills.same(train(showers, tmp_path), whole)
    assert not marker.exists() and "holds no state to continue from; training starts anew" in caplog.text


def test_a_full_disk_is_one_error_and_the_training_goes_on_later(showers, whole, rolling, tmp_path):
    resource = pytest.importorskip("resource")
    before = {p.name: p.read_bytes() for p in rolling.iterdir()}
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before["last.ckpt"]) // 2, limits[1]))
    try:
        with pytest.raises(DataError, match="ckpt: cannot be written"):
            train(showers, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert {p.name: p.read_bytes() for p in rolling.iterdir()} == before
    assert not (tmp_path / "m.pt").exists()
    assert kills.same(train(showers, tmp_path), whole)


def test_nothing_goes_through_tmpdir(showers, tmp_path, monkeypatch):
    scratch = tmp_path / "scratch"
    scratch.mkdir(mode=0o500)
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    opened: list[str] = []
    watching = True
    sys.addaudithook(lambda event, args: opened.append(str(args[0])) if watching and event == "open" else None)
    train(showers, tmp_path)
    watching = False  # an audit hook cannot be removed
    assert opened and not [path for path in opened if path.startswith(str(scratch))]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_kills_across_file_systems():
    results = Path("/dev/shm")
    if not results.is_dir() or os.stat(results).st_dev == os.stat(tempfile.gettempdir()).st_dev:
        pytest.skip("no second file system: /dev/shm is none, or holds TMPDIR too")
    counts, wrong = kills.run(6, results, seed=1, kinds=("gan", "autoencoder"))
    assert not wrong and counts["kills"] >= 3
