"""A study of data that are no showers, through every stage: conditional Gaussians beside a Beta distribution."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import pytest
from test_workflow import ROOT, copy_tree, planned, snakemake, write_config

from calopipe.config.evaluation import ClassifierConfig, EpochsConfig, HistogramConfig
from calopipe.errors import ConfigError
from calopipe.evaluation import epochs
from calopipe.evaluation.columns import compare_columns, evaluate_columns
from calopipe.io import Columns, column_attributes, read_columns, write_columns
from calopipe.metrics.column_distortions import COLUMN_DISTORTIONS
from calopipe.metrics.columns import kl_score
from calopipe.records.histograms import load_histograms
from calopipe.records.scores import load_scores
from calopipe.training.job import Learned
from calopipe.workflow import Plan

STUDY = {
    "study": "toys",
    "datasets": {
        "toys": {
            "kind": "columns",
            "source": {"kind": "local", "paths": ["toys.hdf5"]},
            "columns": ["residual", "share"],
            "conditions": ["mu"],
        }
    },
    "models": {
        "flow": {
            "networks": {
                "flow": {
                    "learns": "columns",
                    "preprocessing": ["standardise", "standardise_condition"],
                    "model": {"name": "inn", "blocks": 4, "hidden": [16], "bins": 4, "masks": "alternate"},
                    "training": {"epochs": 20, "batch_size": 100, "lr": 3e-3, "keep_every": 10},
                }
            }
        }
    },
    "evaluations": {
        "default": {
            "generation": {"draws": 4, "factor": 4},
            "histograms": {"bins": 20, "slices": {"mu": [[4, 6]]}},
            "classifiers": {"trees": {"epochs": 20, "folds": 3, "repeats": 1}},
            "timing": {"batch_sizes": [100], "repeats": 2, "max_seconds": 2},
        }
    },
    "runs": [{"dataset": "toys", "model": "flow", "seeds": [0, 1]}, {"dataset": "toys", "model": "bayesian"}],
    "plots": {"dpi": 60, "pdf": False},
}
_BAYESIAN = copy.deepcopy(STUDY["models"]["flow"])
_BAYESIAN["networks"]["flow"]["model"] |= {"name": "bayesian_inn", "bayesian": "all", "log_variance": -4}
_BAYESIAN["networks"]["flow"]["training"] |= {"epochs": 4, "keep_every": None}
STUDY["models"]["bayesian"] = _BAYESIAN
RUN = "results/toys/flow/seed0"


def toys(n: int, seed: int = 0, shift: float = 0.0) -> Columns:
    rng = np.random.default_rng(seed)
    mu = rng.choice([0.0, 5.0, 10.0], n)
    return Columns({"residual": rng.normal(mu + shift, 1), "share": rng.beta(2, 5, n)}, {"mu": mu})


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = copy_tree(tmp_path_factory.mktemp("columns"))
    write_columns(folder / "toys.hdf5", toys(2000))
    write_config(folder, STUDY)
    done = snakemake(folder, "all")
    assert done.returncode == 0, done.stdout[-6000:]
    return folder


def test_columns_go_through_all_stages(finished):
    names = ("flow/model.pt", "generated.hdf5", "histograms.npz", "metrics.json", "timing.json", "scores_by_epoch.json")
    for name in names:
        assert (finished / RUN / name).is_file(), name
    page = (finished / "results/report/toys/index.html").read_text()
    assert "residual" in page and "wasserstein" in page
    assert "metrics.json, made by rule judge_columns" in page and "made by rule metrics" not in page
    assert not planned(finished)
    scores = {s.name: s for s in load_scores(finished / RUN / "metrics.json")}
    assert (
        abs(scores["mean_difference/residual/mu=4-6"].value) < 0.5 and scores["fwhm_difference/share"].value is not None
    )


def test_epochs_of_columns_are_scored(finished):
    """Distances, moments and widths of each column at the kept epochs; the first column's distance chooses."""
    found = json.loads((finished / RUN / "scores_by_epoch.json").read_text())
    assert [row["epoch"] for row in found["epochs"]] == [10, 20]
    names = {s["name"] for s in found["epochs"][0]["scores"]}
    for score in (
        "wasserstein/residual",
        "mean_difference/share",
        "fwhm_difference/residual",
        "kurtosis_difference/share",
    ):
        assert score in names
    assert "wasserstein/residual/mu=4-6" in names
    assert found["best"]["score"] == "wasserstein/residual" and found["best"]["epoch"] in (10, 20)
    (first, *_) = load_histograms(finished / RUN / "histograms_by_epoch.npz")[0]
    assert (
        set(first.counts) == {"reference", "epoch 10", "epoch 20"}
        and first.totals["epoch 20"] == first.totals["reference"]
    )
    page = (finished / "results/report/toys/index.html").read_text()
    assert "Scores by epoch" in page and "against the epoch" in page


def test_epochs_of_columns_are_compared_with_the_rows_that_were_learned(finished, tmp_path, monkeypatch):
    """Of the training's own block, `factor` rows for each; of validation rows without it."""
    sizes, train = [], read_columns(finished / "results/data/toys/train.hdf5")

    def seen(base, sample, *rest):
        sizes.append((len(base), len(sample)))
        np.testing.assert_array_equal(sample.conditions["mu"], np.repeat(base.conditions["mu"], 3))
        assert set(base.values["share"]) <= set(train.values["share"][300:600])
        return compare_columns(base, sample, *rest)

    monkeypatch.setattr(epochs, "compare_columns", seen)
    epochs.score_epochs_of_columns(
        finished / RUN / "flow/epochs", [], finished / "results/data/toys/train.hdf5",
        config=EpochsConfig(showers=200, factor=3, reference="training"), histograms=HistogramConfig(bins=20), device="cpu", seed=0,
        out=tmp_path / "s.json", learned=Learned(1, 300),
    )  # fmt: skip
    assert sizes == [(200, 600)] * 2


def test_scores_of_columns_see_a_shift_and_nothing_else(tmp_path):
    write_columns(tmp_path / "a.hdf5", toys(3000, 1))
    found = {}
    for name, shift in (("same", 0.0), ("moved", 0.6)):
        write_columns(tmp_path / f"{name}.hdf5", toys(3000, 2, shift))
        evaluate_columns(
            tmp_path / "a.hdf5", tmp_path / f"{name}.hdf5", config=HistogramConfig(bins=20, slices={"mu": [(4, 6)]}),
            classifier=None, seed=1, histograms=tmp_path / "h.npz", scores=tmp_path / "s.json",
        )  # fmt: skip
        found[name] = {s.name: s for s in load_scores(tmp_path / "s.json")}
    one, other = (found[k]["mean_difference/residual/mu=4-6"] for k in ("same", "moved"))
    assert abs(one.value) < 4 * one.error and other.value == pytest.approx(0.6, abs=4 * other.error)
    for name in ("separation_power/residual/mu=4-6", "wasserstein/residual/mu=4-6"):
        assert found["moved"][name].value > 4 * found["moved"][name].floor > 0
        assert found["same"][name].value < 4 * found["same"][name].floor
    kl = found["moved"]["kl/residual/mu=4-6"]  # of normal distributions 0.6 widths apart 0.18, and its floor on top
    assert kl.value - kl.floor == pytest.approx(0.18, abs=0.06) and found["same"][kl.name].value < 2 * kl.floor
    share = found["moved"]["wasserstein/share"]
    assert share.value < 3 * share.floor
    kept = load_histograms(tmp_path / "h.npz")[0]
    assert {(h.name, str(h.part)) for h in kept} == {(c, p) for c in ("residual", "share") for p in ("None", "mu=4-6")}
    assert all(h.totals["generated"] >= h.counts["generated"].sum() > 0 for h in kept)


def test_draws_of_the_weights_have_a_band(finished):
    """Rows are dealt to the draws in turn; each draw has the counts of its rows, in slices too; an ensemble stands beside."""
    run = finished / "results/toys/bayesian/seed0"
    assert column_attributes(run / "generated.hdf5")["draws"] == 4
    sample = read_columns(run / "generated.hdf5")
    for h in load_histograms(run / "histograms.npz")[0]:
        rows = np.ones(len(sample), bool) if h.part is None else np.abs(sample.conditions["mu"] - 5) < 1
        of_second = sample.values[h.name][rows & (np.arange(len(sample)) % 4 == 1)]
        assert (h.draws["generated"][1] == np.histogram(of_second, h.edges)[0]).all()
        assert (
            h.draw_totals["generated"][1] == len(of_second)
            and (h.draws["generated"].sum(0) == h.counts["generated"]).all()
        )
    means = [sample.values["residual"][k::4].mean() for k in range(4)]
    assert np.std(means) > 3 * sample.values["residual"].std() / np.sqrt(
        len(sample) / 4
    )  # these networks know little yet
    assert "draws" not in column_attributes(finished / RUN / "generated.hdf5")
    scores = {s.name: s for s in load_scores(finished / "results/compare/toys/bands/default.json")}
    assert scores["bands/covered"].value is not None and "bands/width_ratio/residual" in scores
    page = (finished / "results/report/toys/index.html").read_text()
    assert "Bands of Bayesian networks and of ensembles" in page and "of the weights" in page


def test_kl_divergence_of_columns() -> None:
    """Of normal distributions half a width apart 1/8; near its floor for two samples of one; what lies outside counts."""
    rng = np.random.default_rng(0)
    a, same, moved = rng.normal(0, 1, 20_000), rng.normal(0, 1, 20_000), rng.normal(0.5, 1, 20_000)
    found = kl_score("kl", a, moved, rng)
    assert found.value == pytest.approx(0.125, abs=0.015) and 0 < found.error < 0.02
    equal = kl_score("kl", a, same, rng)
    assert equal.value == pytest.approx(equal.floor, rel=0.25) and equal.floor < 0.02
    away = kl_score("kl", rng.uniform(0, 1, 5000), rng.uniform(2, 3, 5000), rng)
    assert away.value > 5
    assert kl_score("kl", np.ones(50), a, rng).value is None


@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        (("models", "flow", "networks", "flow", "learns"), "showers", "dataset 'toys' holds columns; expected columns"),
        (("evaluations", "default", "calomplification"), {}, "calomplification: only of showers"),
        (("evaluations", "default", "epochs"), {"select": "kl/sahre"}, "epochs.select: .*did you mean 'kl/share'"),
        (
            ("evaluations", "default", "epochs"),
            {"select_from": 21},
            "epochs.select_from: expected at most 20, the last kept",
        ),
        (("evaluations", "default", "histograms", "slices"), {"eta": [[0, 1]]}, "'eta' is not among the conditions"),
        (
            ("models", "flow"),
            {"external": {"generated": ["x.hdf5"]}},
            "models.flow.external: expected a dataset of showers",
        ),
    ],
)
def test_what_needs_a_calorimeter_is_refused(tmp_path, monkeypatch, keys, value, message):
    monkeypatch.chdir(tmp_path)
    write_columns(tmp_path / "toys.hdf5", toys(200))
    study = copy.deepcopy(STUDY)
    Plan.load(study, ROOT / "presets")
    inner = study
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    with pytest.raises(ConfigError, match=message):
        Plan.load(study, ROOT / "presets")


@pytest.mark.parametrize("select", ["kl/share", "wasserstein/residual/mu=4-6"])
def test_any_score_of_columns_can_choose_the_epoch(tmp_path, monkeypatch, select):
    monkeypatch.chdir(tmp_path)
    write_columns(tmp_path / "toys.hdf5", toys(200))
    study = copy.deepcopy(STUDY)
    study["evaluations"]["default"] |= {"epochs": {"select": select}, "generation": {"epoch": "best"}}
    study["runs"] = study["runs"][:1]  # the other keeps no epochs
    Plan.load(study, ROOT / "presets")


def test_power_of_the_test_of_columns_is_stated(tmp_path):
    for name, seed in (("reference", 1), ("generated", 2), ("others", 3)):
        write_columns(tmp_path / f"{name}.hdf5", toys(4000, seed))
    evaluate_columns(
        tmp_path / "reference.hdf5", tmp_path / "generated.hdf5", config=HistogramConfig(bins=20),
        classifier=ClassifierConfig(preset="trees"), others=tmp_path / "others.hdf5", seed=1,
        histograms=tmp_path / "h.npz", scores=tmp_path / "s.json",
    )  # fmt: skip
    score = next(s for s in load_scores(tmp_path / "s.json") if s.name == "classifier/trees/auc")
    power = score.extra["power"]
    assert power["n_distorted"] == 4000 and not power["floor"]["seen"]
    assert power["distortions"]["conditions"]["seen"] and power["distortions"]["conditions"]["auc"] > 0.515
    assert set(power["distortions"]) == {"shift", "width", "conditions"}


def test_power_where_the_reference_has_conditions_of_its_own(tmp_path):
    """Other data at other conditions are told apart whatever is done to them: only halves of the reference say something."""
    there = toys(9000, 1)
    at_five = there.select(np.flatnonzero(there.conditions["mu"] == 5))
    for name, columns in (("reference", at_five), ("generated", at_five), ("others", toys(1500, 3))):
        write_columns(tmp_path / f"{name}.hdf5", columns)
    found = {}
    for halved in (False, True):
        evaluate_columns(
            tmp_path / "reference.hdf5", tmp_path / "generated.hdf5", config=HistogramConfig(bins=20),
            classifier=ClassifierConfig(preset="trees", repeats=1, folds=3, epochs=20), others=tmp_path / "others.hdf5",
            halved=halved, seed=1, histograms=tmp_path / "h.npz", scores=tmp_path / "s.json",
        )  # fmt: skip
        score = next(s for s in load_scores(tmp_path / "s.json") if s.name == "classifier/trees/auc")
        found[halved] = score.extra["power"]
    assert found[False]["floor"]["auc"] > 0.7, found
    assert not found[True]["floor"]["seen"], found
    assert found[True]["n_reference"] == found[True]["n_distorted"] == len(at_five) // 2


def test_a_reference_of_its_own_is_halved_for_the_power():
    def halved(**more):
        study = copy.deepcopy(STUDY)
        study["datasets"]["toys"] |= more
        plan = Plan.load(study, ROOT / "presets", files=False)
        return plan.settings("judge_columns", dataset="toys", model="flow", seed="0").get("halved")

    assert halved() is None
    assert halved(reference={"kind": "local", "paths": ["others.hdf5"]}, split={"train": 0.8, "val": 0.2, "test": 0})


def test_distortions_of_columns_are_as_large_as_they_say():
    rng = np.random.default_rng(0)
    values = rng.normal([1.0, -2.0], [1.0, 3.0], (50_000, 2))
    mean, std = values.mean(axis=0), values.std(axis=0)
    out = {key: d.apply(values, mean, std, rng) for key, d in COLUMN_DISTORTIONS.items()}
    assert out["shift"].mean(axis=0) == pytest.approx(mean + 0.05 * std)
    assert out["width"].std(axis=0) == pytest.approx(1.05 * std) and out["width"].mean(axis=0) == pytest.approx(mean)
    assert np.mean((out["conditions"] != values).any(axis=1)) == pytest.approx(0.1, abs=0.001)
    assert np.sort(out["conditions"], axis=0) == pytest.approx(np.sort(values, axis=0))


def test_too_few_rows_for_the_power_are_said_and_the_test_stays(tmp_path):
    for name, n in (("reference", 400), ("generated", 400), ("others", 2)):
        write_columns(tmp_path / f"{name}.hdf5", toys(n))
    evaluate_columns(
        tmp_path / "reference.hdf5", tmp_path / "generated.hdf5", config=HistogramConfig(bins=20),
        classifier=ClassifierConfig(preset="trees", repeats=1), others=tmp_path / "others.hdf5", seed=1,
        histograms=tmp_path / "h.npz", scores=tmp_path / "s.json",
    )  # fmt: skip
    score = next(s for s in load_scores(tmp_path / "s.json") if s.name == "classifier/trees/auc")
    assert score.value is not None and score.extra["power"]["missing"]
