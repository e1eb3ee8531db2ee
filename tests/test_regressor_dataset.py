"""Energy regressors that have learned another dataset than the one they judge: settings, checks, a study."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_workflow import ROOT, TINY, copy_tree, planned, snakemake, write_config

from calopipe.errors import ConfigError
from calopipe.io import Showers, read_showers, write_showers
from calopipe.workflow import Plan
from calopipe.workflow.made import read_record

SAMPLE = ROOT / "resources" / "calogan_eplus_sample.hdf5"
LIMIT = 10_000  # MeV: showers that are judged have less, those that are learned up to twice as much
WILDCARDS = {"dataset": "low", "model": "theirs", "seed": "0", "regressor": "net"}


def study(**regressor: Any) -> dict[str, Any]:
    """The tiny study with an external sample of low energies, and a dataset of all energies that no run uses."""
    found = copy.deepcopy(TINY)
    everything = found["datasets"].pop("eplus")
    found["datasets"] = {"every": everything, "low": {**everything, "energies_MeV": {"low": 1000, "high": LIMIT}}}
    found["models"] = {"theirs": {"external": {"generated": ["theirs.hdf5"], "epochs": {10: "theirs.hdf5"}}}}
    found["runs"] = [{"dataset": "low", "model": "theirs"}]
    found["regressors"]["net"] |= {"dataset": "every", **regressor}
    for key in ("calomplification", "multiclass"):
        found["evaluations"]["default"].pop(key)
    found["evaluations"]["default"] |= {"metrics": ["kl_average"], "classifiers": dict.fromkeys(("trees", "low_log"))}
    return found


def plan(**regressor: Any) -> Plan:
    return Plan.load(study(**regressor), ROOT / "presets")


def test_a_regressor_is_trained_on_its_own_dataset() -> None:
    theirs, own = plan(), plan(dataset=None)
    assert theirs.datasets() == ["low", "every"] and own.datasets() == ["low"]
    assert theirs.regressor_file(**WILDCARDS) == "results/data/every/regressors/net/model.pt"
    assert own.regressor_file(**WILDCARDS) == "results/data/low/regressors/net/model.pt"
    files = [p.artifacts(p.runs[0])["regression"]["net"] for p in (theirs, own)]
    assert [f["loss"] for f in files] == [f"results/data/{d}/regressors/net/history.csv" for d in ("every", "low")]
    assert files[0]["scores"] == files[1]["scores"] == "results/low/theirs/seed0/regression/net.json"
    for stage in ("regression", "epochs_of_files"):
        before, after = (p.settings(stage, **WILDCARDS) for p in (own, theirs))
        assert after == {**before, "trained_on": {"net": "every"}}
    with pytest.raises(ConfigError, match=r"regressors.net.dataset: it learns showers of 'every', not of 'low'"):
        theirs.settings("train_regressor", dataset="low", regressor="net")
    named = plan(dataset="low")  # of the run itself: nothing else is made
    assert named.settings("regression", **WILDCARDS) == own.settings("regression", **WILDCARDS)


def test_the_dataset_that_is_learned_is_checked() -> None:
    with pytest.raises(ConfigError, match=r"^regressors.net.dataset: no dataset 'evry' \(did you mean 'every'\?\)"):
        plan(dataset="evry")
    other = study()
    other["datasets"]["every"]["layers"] = [1, 2]
    expected = (
        r"regressors.net.dataset: expected showers in the cells of dataset 'low', which it judges \(504 voxels, geometry 'calogan'\), "
        r"found 'every' \(216 voxels, geometry 'calogan_layers1-2'\)"
    )
    with pytest.raises(ConfigError, match=expected):
        Plan.load(other, ROOT / "presets")
    other["datasets"]["every"] = {**TINY["datasets"]["eplus"], "geometry": "electron_gun_32"}  # not that of its files
    with pytest.raises(
        ConfigError, match=r"datasets.every.geometry: 'electron_gun_32' has 1024 voxels, but the showers"
    ):
        Plan.load(other, ROOT / "presets")
    other["datasets"]["every"] = {"kind": "columns", "source": {"kind": "local", "paths": ["x.hdf5"]}, "columns": ["y"]}
    with pytest.raises(
        ConfigError, match=r"regressors.net.dataset: .*dataset of showers, found the columns of 'every'"
    ):
        Plan.load(other, ROOT / "presets")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = copy_tree(tmp_path_factory.mktemp("regressors"))
    found = read_showers(SAMPLE, slice(1000, 1400))
    low = found.incident_energies[:, 0] < LIMIT
    write_showers(folder / "theirs.hdf5", Showers(found.incident_energies[low], found.showers[low]), "calogan")
    write_config(folder, study())
    done = snakemake(folder, "all")
    assert done.returncode == 0, done.stdout[-6000:]
    return folder


def test_showers_of_one_dataset_are_read_by_what_has_learned_another(finished: Path) -> None:
    checkpoint = finished / "results/data/every/regressors/net/model.pt"
    learned = read_record(checkpoint)
    assert learned is not None and learned["wildcards"]["dataset"] == "every"
    assert torch.load(checkpoint, weights_only=True)["trained"]["high"] > 1.5 * LIMIT
    assert not (finished / "results/data/low/regressors").exists()
    for name in ("regression/net.json", "scores_by_epoch.json"):
        made = read_record(finished / "results/low/theirs/seed0" / name)
        assert made is not None and learned["output"]["sha256"] in made["inputs"].values(), name
    with np.load(finished / "results/low/theirs/seed0/regression/net.npz") as curves:
        assert curves["edges"].max() <= LIMIT
    page = (finished / "results/report/tiny/index.html").read_text()
    assert (
        "resolution of the regressor net, trained on every" in page and "training of the regressor net on every" in page
    )


def test_another_dataset_retrains_the_regressor_alone(finished: Path) -> None:
    assert not planned(finished)
    write_config(finished, study(dataset=None))
    assert planned(finished) == {"train_regressor": 1, "regression": 1, "epochs_of_files": 1, "report": 1}
    write_config(finished, study())
