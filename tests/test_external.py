"""Samples of generators that are not trained here: taken over, judged, and reported like any other run."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml
from test_workflow import ROOT, TINY, copy_tree, planned, snakemake, write_config

from calopipe.errors import ConfigError, DataError, GeometryError
from calopipe.geometry import load_geometry
from calopipe.io import Showers, read_showers, write_showers
from calopipe.sampling.external import take_over
from calopipe.workflow import Plan

SAMPLE = ROOT / "resources" / "calogan_eplus_sample.hdf5"
RUN = "results/eplus/theirs/seed0"


def part(path: Path, rows: slice, factor: float = 1.0) -> Path:
    """Some of the bundled showers, their energies scaled, as somebody else's sample."""
    showers = read_showers(SAMPLE, rows)
    write_showers(path, Showers(showers.incident_energies, factor * showers.showers), "calogan")
    return path


def study(folder: Path) -> dict:
    """The tiny study with nothing but external samples; that of epoch 10 is the worse one."""
    part(folder / "a.hdf5", slice(1000, 1080)), part(folder / "b.hdf5", slice(1080, 1160))
    part(folder / "10.hdf5", slice(1200, 1300), 0.5), part(folder / "20.hdf5", slice(1300, 1400))
    found = copy.deepcopy(TINY)
    external = {"generated": ["a.hdf5", "b.hdf5"], "epochs": {20: "20.hdf5", 10: "10.hdf5"}}
    found["models"] = {"theirs": {"description": "somebody else's", "external": external}}
    found["runs"] = [{"dataset": "eplus", "model": "theirs"}]
    evaluation = found["evaluations"]["default"]
    for key in ("calomplification", "regression", "multiclass"):
        evaluation.pop(key)
    return found


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = copy_tree(tmp_path_factory.mktemp("external"))
    write_config(folder, study(folder))
    done = snakemake(folder, "all")
    assert done.returncode == 0, done.stdout[-6000:]
    return folder


def test_an_external_sample_is_judged_like_a_generator(finished):
    with h5py.File(finished / RUN / "generated.hdf5") as file:
        assert file["showers"].shape == (160, 504) and file.attrs["source"] == "external sample"
        assert not ((file["showers"][:] > 0) & (file["showers"][:] < np.float32(0.01))).any()
    for name in ("histograms.npz", "metrics.json", "health.json", "classifiers/trees.json"):
        assert (finished / RUN / name).is_file(), name
    assert not (finished / RUN / "timing.json").exists()
    page = (finished / "results/report/tiny/index.html").read_text()
    assert "somebody else" in page and "theirs" in page
    assert not planned(finished)


def test_epochs_of_an_external_sample_are_scored_and_the_best_can_be_taken(finished):
    scores = json.loads((finished / RUN / "scores_by_epoch.json").read_text())
    assert [row["epoch"] for row in scores["epochs"]] == [10, 20] and scores["best"]["epoch"] == 20
    best = study(finished)
    best["evaluations"]["default"]["generation"]["epoch"] = "best"
    write_config(finished, best)
    done = snakemake(finished, f"{RUN}/generated.hdf5")
    assert done.returncode == 0, done.stdout[-3000:]
    with h5py.File(finished / RUN / "generated.hdf5") as file:
        assert file["showers"].shape == (100, 504) and "epoch 20, the best by fidelity" in file.attrs["source"]


def test_another_content_of_an_external_file_is_taken_over_again(finished):
    write_config(finished, study(finished))
    snakemake(finished, f"{RUN}/generated.hdf5")
    part(finished / "a.hdf5", slice(2000, 2050))
    assert planned(finished, f"{RUN}/generated.hdf5") == {"take_over": 1}


def test_what_cannot_be_judged_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = study(tmp_path)
    write_showers(tmp_path / "b.hdf5", Showers(np.ones((3, 1)), np.ones((3, 6480))), "calochallenge2")
    with pytest.raises(
        ConfigError, match=r"models.theirs.external.generated: expected showers of 504 .* found 6480 in b"
    ):
        Plan.load(found, ROOT / "presets")
    with pytest.raises((DataError, GeometryError), match=r"b\.hdf5"):
        take_over([tmp_path / "a.hdf5", tmp_path / "b.hdf5"], tmp_path / "out.hdf5", load_geometry("calogan"), 0.01)
    assert not (tmp_path / "out.hdf5").exists()
    found = study(tmp_path)
    found["evaluations"]["default"]["generation"]["epoch"] = 30
    with pytest.raises(ConfigError, match=r"'30' needs a kept epoch of model 'theirs', but its training keeps 10, 20"):
        Plan.load(found, ROOT / "presets")


def test_the_configuration_that_results_keep_is_the_study(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    study = {
        **TINY,
        "models": {**TINY["models"], "theirs": {"external": {"generated": ["a.hdf5"], "epochs": {20: "b.hdf5"}}}},
    }
    study["runs"] = [{"dataset": "eplus", "model": "theirs"}]
    plan = Plan.load(study, ROOT / "presets", files=False)
    again = Plan.load(yaml.safe_load(yaml.safe_dump(plan.configuration())), ROOT / "presets", files=False)
    assert again.study == plan.study and again.configuration() == plan.configuration()
    with pytest.raises(ConfigError, match="an epoch is given twice"):
        study["models"]["theirs"]["external"]["epochs"] = {20: "b.hdf5", "20": "c.hdf5"}
        Plan.load(study, ROOT / "presets", files=False)
