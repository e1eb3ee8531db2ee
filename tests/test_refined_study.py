"""What a chain makes before its refiners is judged beside what it makes: drawn, classified, measured and shown."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_workflow import ROOT, TINY, copy_code, copy_tree, planned, snakemake, write_config

from calopipe import seeds
from calopipe.config.load import load_study
from calopipe.config.parts import use_extensions
from calopipe.io import read_showers
from calopipe.sampling.generator import Generator
from calopipe.workflow import Plan

RUN = "results/eplus/refined/seed0"
STEPS = [{"step": "incident_fractions", "factor": 1.0}, "log_condition"]


def study() -> dict[str, Any]:
    """A VAE that is sampled from its prior, and a refiner whose first epoch was kept and is sampled."""
    given = copy.deepcopy(TINY)
    training = {"epochs": 2, "batch_size": 64}
    vae = {"learns": "showers", "preprocessing": STEPS, "training": training}
    vae["model"] = {"name": "hurdle_vae", "hidden": [32], "latent": 4}
    post = {"learns": "showers", "given": ["autoencoder"], "preprocessing": STEPS, "model": {"name": "own_refiner"}}
    post["training"] = {**training, "keep_every": 1}
    given["models"] = {"refined": {"networks": {"autoencoder": vae, "post": post}}}
    given["evaluations"] = {
        "default": {
            "generation": {"batch_size": 30, "epoch": 1},
            "classifiers": {"trees": {"epochs": 5, "folds": 3, "repeats": 1}, "low_log": None},
            "multiclass": None,
            "metrics": [{"metric": "separation_power", "bootstrap": 20}],
            "histograms": {"bins": 10, "brightest": 0},
            "epochs": {"showers": 30, "metrics": [{"metric": "fidelity", "bootstrap": 5, "splits": 2}]},
            "timing": {"batch_sizes": [1], "repeats": 1, "max_seconds": 1},
        }
    }
    given["runs"] = [{"dataset": "eplus", "model": "refined"}]
    return {**given, "regressors": {}, "extensions": ["own_parts"]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = copy_tree(tmp_path_factory.mktemp("refined"))
    copy_code(ROOT / "tests" / "own_parts", folder / "own_parts")
    write_config(folder, study())
    done = snakemake(folder, "all")
    assert done.returncode == 0, done.stdout[-6000:]
    return folder


def test_the_showers_before_refinement_are_drawn_and_judged(folder: Path) -> None:
    run = folder / RUN
    generated, unrefined, test = (
        read_showers(path)
        for path in (run / "generated.hdf5", run / "unrefined.hdf5", folder / "results/data/eplus/test.hdf5")
    )
    assert np.array_equal(unrefined.incident_energies, test.incident_energies)
    assert not np.array_equal(generated.showers, unrefined.showers)
    torch.manual_seed(seeds.derive(0, "generate"))
    first = Generator.load(run / "autoencoder" / "model.pt", "cpu").sample(test.incident_energies[:30], batch_size=30)
    np.testing.assert_array_equal(first, unrefined.showers[:30])
    scores = json.loads((run / "metrics.json").read_text())
    assert {score["sample"] for score in scores} == {"generated", "reconstructed", "unrefined"}
    for kind in ("", "reconstructed/", "unrefined/"):
        found = json.loads((run / f"classifiers/{kind}trees.json").read_text())
        assert {score["sample"] for score in found} == {kind.strip("/") or "generated"}
    with np.load(run / "histograms.npz") as histograms:
        assert any("unrefined" in name for name in histograms.files)
    assert not planned(folder)


def test_the_report_shows_them_beside_the_others(folder: Path) -> None:
    page = (folder / "results/report/tiny/index.html").read_text()
    assert {"refined, reconstructed", "refined, unrefined"} <= set(re.findall(r"refined, \w+", page))
    assert "unrefined.hdf5" in page and "showers before refinement" in page


def test_a_change_of_the_refiner_leaves_them_as_they_are(folder: Path) -> None:
    changed = study()
    changed["models"]["refined"]["networks"]["post"]["training"]["lr"] = 1e-4
    write_config(folder, changed)
    jobs = planned(folder)
    write_config(folder, study())
    assert {"train", "generate", "classify"} <= jobs.keys() and jobs["train"] == 1
    assert not {"generate_unrefined", "classify_unrefined", "reconstruct"} & jobs.keys()


def test_only_chains_with_refiners_have_them(monkeypatch: pytest.MonkeyPatch) -> None:
    given = study()
    del given["models"]["refined"]["networks"]["post"]
    given["evaluations"]["default"]["generation"] = {}
    for extensions, changed, wanted in (
        ([ROOT / "tests" / "own_parts"], study(), ["generated", "reconstructed", "unrefined"]),
        ([], {**given, "extensions": []}, ["generated", "reconstructed"]),
    ):
        use_extensions(extensions)
        plan = Plan(load_study({**changed, "extensions": [str(path) for path in extensions]}, ROOT / "presets"))
        assert plan.samples("refined") == wanted
    use_extensions([])
