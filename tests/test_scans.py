"""Scans of settings: points against models written by hand, their names, what is refused, and what the report says of them."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from test_columns_study import toys
from test_config import PRESETS, changed, problem
from test_workflow import copy_tree, planned, snakemake, write_config

from calopipe.config import load_study
from calopipe.config.evaluation import HistogramConfig
from calopipe.config.scans import point_name, short_names, value_text, with_settings
from calopipe.config.scores import CLASSIFIER_SCORES, COLUMN_SCORES
from calopipe.errors import ConfigError
from calopipe.evaluation.classifier import FLOORS
from calopipe.evaluation.columns import evaluate_columns
from calopipe.io import write_columns
from calopipe.plots.scans import ScanDot, scan_figure
from calopipe.plots.scores import Dot
from calopipe.records.scores import Score, load_scores, save_scores
from calopipe.report.artifacts import RunArtifacts, StudySummary
from calopipe.report.data import load_study_data
from calopipe.report.page import build_report
from calopipe.report.scans import scan_tables, scan_tasks, scans_of
from calopipe.workflow import Plan
from calopipe.workflow.stages import STAGES

GAN = {
    "learns": "columns",
    "preprocessing": ["standardise"],
    "model": {"name": "gan", "loss": "gan_dp", "generator": [8], "critic": [8], "noise": 1},
    "training": {"epochs": 1, "batch_size": 50, "weights": "last"},
}
TOY = {
    "study": "scans",
    "datasets": {
        "normal": {
            "kind": "columns",
            "columns": ["x"],
            "source": {"kind": "made", "made": {"recipe": "gaussian", "rows": 300}},
        }
    },
    "models": {"toy": {"description": "a toy", "networks": {"gan": GAN}}},
    "evaluations": {
        "default": {
            "histograms": {"bins": 10},
            "classifiers": {"trees": None, "low_log": None},
            "timing": {"batch_sizes": [10], "repeats": 1},
        }
    },
    "runs": [{"dataset": "normal", "model": "toy", "seeds": [0, 3]}],
    "plots": {"dpi": 50, "pdf": False},
}
LR, PENALTY = "gan.training.lr", "gan.model.penalty"
GRID = {LR: [1e-4, 1e-3], PENALTY: [0.1, 0.5, 1.0]}


def scanned(scan, **further) -> dict:
    study = copy.deepcopy(TOY)
    study["models"]["toy"]["scan"] = scan
    return study | further


# ---- points --------------------------------------------------------------------------------------------------------
def test_every_combination_is_a_model_and_has_the_runs():
    study = load_study(scanned(GRID), PRESETS)
    names = [f"toy-lr_{lr}-penalty_{penalty}" for lr in ("1e-4", "1e-3") for penalty in ("0.1", "0.5", "1")]
    assert list(study.models) == names == [run.model for run in study.runs]
    assert all(run.seeds == [0, 3] and run.evaluation == "default" for run in study.runs)
    model = study.models[names[4]]
    assert model.networks["gan"].training.lr == 1e-3 and model.networks["gan"].model.settings.penalty == 0.5
    assert model.point.scan == "toy" and model.point.settings == {LR: 1e-3, PENALTY: 0.5} and not model.scan
    plan = Plan(study)
    assert len(plan.runs) == 12 and plan.artifacts(plan.runs[0])["scan"] == {
        "scan": "toy",
        "settings": {LR: 1e-4, PENALTY: 0.1},
        "by": "wasserstein/x",
    }


def test_other_models_and_runs_stay_in_their_place():
    study = scanned({"training.lr": [0.1, 0.2]})
    study["models"] = {"a": {"networks": {"gan": GAN}}, **study["models"], "b": {"networks": {"gan": GAN}}}
    study["runs"] = [{"dataset": "normal", "model": name} for name in ("b", "toy", "a")]
    made = load_study(study, PRESETS)
    assert list(made.models) == ["a", "toy-lr_0.1", "toy-lr_0.2", "b"]
    assert [run.model for run in made.runs] == ["b", "toy-lr_0.1", "toy-lr_0.2", "a"]
    assert "scan" not in Plan(made).artifacts(Plan(made).runs[0])


@pytest.mark.parametrize(
    ("scan", "name", "place", "value"),
    [
        ({"training.lr": [0.01]}, "toy-lr_0.01", ("training", "lr"), 0.01),
        ({"gan.model.loss": ["wgan_gp"]}, "toy-loss_wgan_gp", ("model", "loss"), "wgan_gp"),
        ({"model.n_critic": [7]}, "toy-n_critic_7", ("model", "n_critic"), 7),
        ({"training.ema_decay": [None]}, "toy-ema_decay_null", ("training", "ema_decay"), None),
        (
            {"training.objectives.critic.lr": [2e-4]},
            "toy-lr_2e-4",
            ("training", "objectives"),
            {"critic": {"lr": 2e-4}},
        ),
        ({"preprocessing.0": ["min_max"]}, "toy-preprocessing_0_min_max", ("preprocessing",), ["min_max"]),
    ],
)
def test_results_of_a_point_are_those_of_the_model_written_by_hand(scan, name, place, value):
    """All that jobs depend on: settings, code and files of every stage, and the folder that a training goes on in."""
    by_hand = copy.deepcopy(TOY)
    model = by_hand["models"][name] = by_hand["models"].pop("toy")
    inner = model["networks"]["gan"]
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    by_hand["runs"][0]["model"] = name
    one, other = (Plan(load_study(study, PRESETS)) for study in (scanned(scan), by_hand))
    run = {"dataset": "normal", "model": name, "seed": "3"}
    for stage in ("train", "generate", "judge_columns", "timing"):
        assert stage in STAGES
        keys = {**run, **({"network": "gan"} if stage == "train" else {})}
        assert one.making(stage, **keys) == other.making(stage, **keys), stage
    assert one.rolling(network="gan", **run) == other.rolling(network="gan", **run)
    base = Plan(load_study(TOY, PRESETS)).settings("train", **{**run, "model": "toy", "network": "gan"})
    assert (one.settings("train", network="gan", **run) != base) == (value is not None), "the value is in it"


def test_several_settings_take_the_same_value():
    study = load_study(scanned({"gan.model.generator, model.critic": [[16], [32, 32]]}), PRESETS)
    assert list(study.models) == ["toy-generator_critic_16", "toy-generator_critic_32x32"]
    settings = study.models["toy-generator_critic_32x32"].networks["gan"].model.settings
    assert settings.generator == settings.critic == [32, 32]


def test_the_complete_settings_give_the_same_plan_and_say_the_truth():
    plan = Plan(load_study(scanned(GRID), PRESETS))
    resolved = plan.configuration()
    assert json.loads(json.dumps(resolved)) == resolved
    assert Plan(load_study(resolved, PRESETS)).configuration() == resolved
    resolved["models"]["toy-lr_1e-4-penalty_0.1"]["networks"]["gan"]["training"]["lr"] = 0.5
    assert "point.settings.gan.training.lr: expected the value that stands in the networks, found 0.0001" in problem(
        resolved
    )
    resolved["models"]["toy-lr_1e-4-penalty_0.1"]["point"]["settings"] = {"gan.training.rate": 1}
    assert "point.settings.gan.training.rate: gan.training.rate: unknown key" in problem(resolved)


def test_what_was_read_stays_as_it_was():
    networks = {"gan": copy.deepcopy(GAN)}
    made = with_settings(
        networks, {"model.generator": [1], "preprocessing.0.columns": "all"}, ["model", "preprocessing"]
    )
    assert networks == {"gan": GAN} and made["gan"]["model"]["generator"] == [1]
    assert made["gan"]["preprocessing"] == [{"step": "standardise", "columns": "all"}]


@pytest.mark.parametrize(
    ("value", "text"),
    [(1e-4, "1e-4"), (8.0e-3, "8e-3"), (2.5e-5, "2.5e-5"), (0.01, "0.01"), (0.5, "0.5"), (1.0, "1"), (256, "256"),
     (100000, "1e5"), (0.0, "0"), (-2.5, "-2.5"), (0.30000000000000004, "0.30000000000000004"), (True, "true"),
     (None, "null"), ([256, 128], "256x128"), ([], "empty"), ("wgan_gp", "wgan_gp")],
)  # fmt: skip
def test_values_are_written_shortly_and_exactly(value, text):
    assert value_text(value) == text
    if isinstance(value, float):
        assert float(text) == value


def test_names_tell_the_settings_and_are_names():
    assert short_names(["energies.training.lr", "flow.training.lr"]) == {
        "energies.training.lr": "energies_lr",
        "flow.training.lr": "flow_lr",
    }
    assert list(short_names(["a.training.lr", "a.training.objectives.critic.lr"]).values()) == [
        "a_training_lr",
        "a_training_objectives_critic_lr",
    ]
    assert point_name("m", {"a.model.x": "b c/d"}) == "m-x_b_c_d"
    long = [point_name("m", {"a.model.hidden": [width] * 30}) for width in (100, 200)]
    assert all(len(name) <= 64 and name.startswith("m-hidden_") for name in long) and long[0] != long[1]
    assert point_name("m", {"a.model.x": "y.pt"}).startswith("m-x_y.pt-"), "no name ends like a file"


# ---- what is refused -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("scan", "message"),
    [
        ({"gan.training.lrr": [0.1]}, "models.toy.scan: networks.gan.training.lrr: unknown key (did you mean 'lr'?)"),
        ({"gan.model.penalti": [0.1]}, "models.toy.scan: networks.gan.model.penalti: unknown key (did you mean 'penalty'?)"),
        ({"gann.training.lr": [0.1]}, "'gann.training.lr' begins with no network or its setting (did you mean 'gan'?)"),
        ({"trainin.lr": [0.1]}, "(did you mean 'training'?)"),
        ({"training.lr": []}, "models.toy.scan.training.lr: list should have at least 1 item"),
        ({"training.lr": 0.1}, "models.toy.scan.training.lr: input should be a valid list"),
        ({"training.lr": [0.1, 0.0]}, "models.toy.scan: networks.gan.training.lr: input should be greater than 0 (found 0.0)"),
        ({"training.lr": [0.1, 0.10]}, "expected each value once, found '0.1' twice"),
        ({"training.lr": ["1e-3"]}, "write 1.0e-03 without quotes"),
        ({"training.lr": [{"a": 1}]}, "expected numbers, texts, true, false, null or lists of them"),
        ({"training.lr.x": [1]}, "models.toy.scan: networks.gan.training.lr: input should be a valid number"),
        ({"training.epochs.x": [1]}, "gan.training.epochs.x: gan.training.epochs is 1 and has no settings"),
        ({"preprocessing.7.x": [1]}, "gan.preprocessing.7: expected a number from 0 to 0, found '7'"),
        ({"gan": [1]}, "expected the path of a setting, such as gan.training.lr, found 'gan'"),
        ({"training.lr": [0.1], "gan.training.lr": [0.2]}, "the setting gan.training.lr is in it twice"),
        ({"training.lr": [k / 1000 for k in range(1, 102)], "model.n_critic": [1, 2]}, "at most 200 combinations, found 101 x 2 = 202"),
    ],
)  # fmt: skip
def test_mistakes_are_named_in_one_line(scan, message):
    assert message in problem(scanned(scan))


def test_a_point_cannot_be_called_like_another_model():
    study = scanned({"training.lr": [0.1]})
    study["models"]["toy-lr_0.1"] = {"networks": {"gan": GAN}}
    assert "one of its points is called 'toy-lr_0.1', and so is another model" in problem(study)


def test_two_hundred_points_are_allowed():
    scan = {"training.lr": [k / 1000 for k in range(1, 101)], "model.n_critic": [1, 2]}
    assert len(load_study(scanned(scan), PRESETS).models) == 200


def test_the_score_is_one_that_the_evaluation_gives():
    assert "evaluations.default.scan_by: no metric or regressor of the evaluation gives the score 'wasserstein/y'" in (
        problem(scanned(GRID, evaluations={"default": {"scan_by": "wasserstein/y"}}))
    )
    trees = load_study(scanned(GRID, evaluations={"default": {"scan_by": "classifier/trees/auc"}}), PRESETS)
    assert Plan(trees).artifacts(Plan(trees).runs[0])["scan"]["by"] == "classifier/trees/auc"
    chosen = {"default": {"epochs": {"select": "fwhm_difference/x"}}}
    other = Plan(load_study(scanned(GRID, evaluations=chosen), PRESETS))
    assert other.artifacts(other.runs[0])["scan"]["by"] == "fwhm_difference/x"
    showers = changed("models", "inn", "scan", value={"flow.training.lr": [1e-3, 1e-4]})
    plan = Plan(load_study(showers, PRESETS))
    assert [plan.artifacts(run).get("scan", {}).get("by") for run in plan.runs] == ["fidelity", "fidelity", None]
    showers["models"]["inn"]["networks"]["flow"]["training"].pop("keep_every")
    assert "evaluations.default.scan_by: no metric or regressor of the evaluation gives the score 'fidelity'" in (
        problem(showers)
    )
    showers["evaluations"]["default"]["scan_by"] = "separation_power/E_ratio"
    load_study(showers, PRESETS)


def test_scores_that_points_can_be_compared_by_are_those_that_are_written(tmp_path):
    for name, seed in (("a", 1), ("b", 2)):
        write_columns(tmp_path / f"{name}.hdf5", toys(400, seed))
    evaluate_columns(
        tmp_path / "a.hdf5", tmp_path / "b.hdf5", config=HistogramConfig(bins=5), classifier=None, seed=1,
        histograms=tmp_path / "h.npz", scores=tmp_path / "s.json",
    )  # fmt: skip
    written = {s.name for s in load_scores(tmp_path / "s.json")}
    assert written == {f"{kind}/{column}" for kind in COLUMN_SCORES for column in ("residual", "share")}
    assert tuple(FLOORS) == CLASSIFIER_SCORES


# ---- report --------------------------------------------------------------------------------------------------------
def runs_of(folder: Path, values: dict[tuple[float, float], list[float | None]], error: float | None = 0.1):
    """Runs of points (lr, penalty) with a score for each seed."""
    found = []
    for (lr, penalty), seeds in values.items():
        settings = {LR: lr, PENALTY: penalty}
        for seed, value in enumerate(seeds):
            path = folder / f"{point_name('toy', settings)}-{seed}.json"
            own = Score.absent("w", 900, "no rows") if value is None else Score("w", value, error, 900, floor=0.02)
            save_scores(path, [own, Score("other", 0.0, 0.1, 900)])
            scan = {"scan": "toy", "settings": settings, "by": "w"}
            found.append(RunArtifacts("normal", point_name("toy", settings), seed, None, metrics=str(path), scan=scan))
    return tuple(found)


VALUES: dict[tuple[float, float], list[float | None]] = {
    (1e-4, 0.1): [1.0, 1.0],
    (1e-4, 1.0): [0.40, 0.48],
    (1e-3, 0.1): [0.25, 0.35],
    (1e-3, 1.0): [0.1, None],
}


def test_best_point_and_those_within_errors(tmp_path):
    (data,) = load_study_data(StudySummary("s", runs_of(tmp_path, VALUES)))
    (scan,) = scans_of(data)
    # 0.30 +- sqrt(0.1^2 + 0.05^2) and 0.44 +- sqrt(0.1^2 + 0.04^2): 0.14 apart, sqrt(0.0125 + 0.0116) = 0.155 within errors
    assert [p.best for p in scan.points] == [False, True, True, False]
    (table,) = scan_tables(data)
    assert table.columns == ("Point", LR, PENALTY, "w", "n", "Seeds")
    assert [row[1:3] for row in table.rows] == [("1e-3", "0.1"), ("1e-4", "1"), ("1e-4", "0.1"), ("1e-3", "1")]
    assert table.rows[0][3] == "0.30 ± 0.11" and table.marked == {0, 1}
    assert table.rows[3][3] == "1 of 2 seeds have no value: no rows", "the lowest value of one seed does not win"
    assert (
        "Best: toy-lr_1e-3-penalty_0.1 (0.30 ± 0.11); as good within errors: toy-lr_1e-4-penalty_1 (0.44 ± 0.11)."
        in (table.note)
    )
    assert "1 of 4 points have no score" in table.note and "best kept epoch" not in table.note
    apart = {**VALUES, (1e-4, 1.0): [0.47, 0.55]}  # 0.21 apart
    (data,) = load_study_data(StudySummary("s", runs_of(tmp_path, apart)))
    (table,) = scan_tables(data)
    assert table.marked == {0} and "as good within errors: none." in table.note


def test_points_without_errors_are_not_ranked(tmp_path):
    (data,) = load_study_data(StudySummary("s", runs_of(tmp_path, VALUES, error=None)))
    singles = [replace_seeds(model) for model in data.models]
    data.models[:] = singles
    (table,) = scan_tables(data)
    assert not table.marked and "No point is the best" in table.note


def replace_seeds(model):
    model.seeds = model.seeds[:1]
    return model


def test_scores_of_the_best_kept_epoch_stand_in(tmp_path):
    made = []
    for lr, values in ((1e-4, [0.5, 0.2]), (1e-3, [0.9, 0.8])):
        path = tmp_path / f"{lr}.json"
        epochs = [
            {
                "epoch": k + 1,
                "scores": [{"name": "fidelity", "value": v, "error": 0.01, "n": 50, "sample": f"epoch {k + 1}"}],
            }
            for k, v in enumerate(values)
        ]
        path.write_text(json.dumps({"epochs": epochs, "best": {"score": "fidelity", "epoch": 2}}))
        scan = {"scan": "inn", "settings": {"flow.training.lr": lr}, "by": "fidelity"}
        made.append(RunArtifacts("eplus", point_name("inn", {"lr": lr}), 0, "calogan", epochs=str(path), scan=scan))
    (data,) = load_study_data(StudySummary("s", tuple(made)))
    (table,) = scan_tables(data)
    assert [row[2] for row in table.rows] == ["0.200 ± 0.010", "0.800 ± 0.010"] and table.marked == {0}
    assert "best kept epoch, on validation data" in table.note
    (task,) = scan_tasks(data)
    assert set(task.sources) == {run.epochs for run in made}


def test_the_page_has_table_and_figures_with_their_files(tmp_path):
    runs = runs_of(tmp_path, {key: [v or 0.1 for v in values] for key, values in VALUES.items()})
    summary = StudySummary("s", runs, dpi=40, pdf=False)
    page = build_report(summary, tmp_path / "report").read_text(encoding="utf-8")
    assert ">Scan<" in page and "as good within errors" in page
    for name in ("lr", "penalty"):
        assert (tmp_path / f"report/plots/normal_scan_toy_{name}.png").stat().st_size > 1000
    plain = build_report(StudySummary("s", tuple(RunArtifacts("normal", r.model, r.seed, None, metrics=r.metrics) for r in runs), dpi=40, pdf=False), tmp_path / "other")  # fmt: skip
    assert ">Scan<" not in plain.read_text(encoding="utf-8")


def drawn(values: dict[tuple, float], keys=(LR, PENALTY), setting=LR):
    points = []
    for settings, value in values.items():
        numbers = {k: v for k, v in zip(keys, settings, strict=True) if not isinstance(v, tuple)}
        texts = {k: value_text(v) for k, v in zip(keys, settings, strict=True)}
        points.append(ScanDot(texts, numbers, Dot(value, 0.01), value == min(values.values())))
    return scan_figure(points, setting, short_names(keys), "w", 0.02, "toy").axes[0]


def test_axis_is_logarithmic_from_a_decade_on():
    wide = drawn({(lr, p): lr + p for lr in (1e-4, 1e-3) for p in (0.1, 0.9)})
    assert wide.get_xscale() == "log" and [t.get_text() for t in wide.get_xticklabels()] == ["1e-4", "1e-3"]
    np.testing.assert_allclose(wide.get_xticks(), [1e-4, 1e-3])
    narrow = drawn({(lr, p): lr + p for lr in (1e-4, 9e-4) for p in (0.1, 0.9)})
    assert narrow.get_xscale() == "linear"
    lists = drawn({((8,), 0.1): 1.0, ((16, 16), 0.1): 2.0}, setting=LR)
    assert [t.get_text() for t in lists.get_xticklabels()] == ["8", "16x16"] and lists.get_xscale() == "linear"


def test_points_are_told_apart_and_joined_where_nothing_else_differs():
    keys = (LR, PENALTY, "gan.model.n_critic")
    values = {(lr, p, n): lr * 100 + p + n for lr in (1e-3, 1e-2, 1e-1) for p in (0.1, 0.5) for n in (1, 5)}
    axes = drawn(values, keys)
    curves = [c[0] for c in axes.containers]
    assert len(curves) == 4 and all(len(c.get_xdata()) == 3 for c in curves)
    looks = {(mpl.colors.to_hex(c.get_color()), c.get_marker()) for c in curves}
    assert len(looks) == 4 and len({color for color, _ in looks}) == 2 and len({marker for _, marker in looks}) == 2
    heights = sorted(tuple(np.round(np.asarray(c.get_ydata(), float), 6)) for c in curves)
    assert heights[0] == (1.2, 2.1, 11.1), "one curve is lr at penalty 0.1 and n_critic 1"
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["penalty = 0.1", "penalty = 0.5", "n_critic = 1", "n_critic = 5", "best", "floor"]


# ---- a study -------------------------------------------------------------------------------------------------------
@pytest.mark.slow
def test_a_scan_goes_through_all_stages(tmp_path):
    folder = copy_tree(tmp_path / "tree")
    study = scanned({LR: [1e-3, 1e-1]})
    study["runs"][0]["seeds"] = [0]
    write_config(folder, study)
    done = snakemake(folder, "all")
    assert done.returncode == 0, done.stdout[-6000:]
    page = (folder / "results/report/scans/index.html").read_text(encoding="utf-8")
    assert "toy: 2 points" in page and "Best: toy-lr_" in page
    scores = [load_scores(folder / f"results/normal/toy-lr_{lr}/seed0/metrics.json") for lr in ("1e-3", "0.1")]
    values = [next(s.value for s in found if s.name == "wasserstein/x") for found in scores]
    assert page.index(f"Best: toy-lr_{('1e-3', '0.1')[int(np.argmin(values))]}") > 0
    assert (folder / "results/report/scans/plots/normal_scan_toy_lr.png").is_file() and not planned(folder)
    study["models"]["toy-lr_0.1"] = {**study["models"].pop("toy"), "scan": {}}
    study["models"]["toy-lr_0.1"]["networks"]["gan"]["training"]["lr"] = 0.1
    study["runs"][0]["model"] = "toy-lr_0.1"
    write_config(folder, study)
    assert set(planned(folder)) <= {"report", "all"}, "the model written by hand takes over the results of the point"


def test_scans_are_of_models_that_are_trained_here():
    study = changed("models", "files", value={"external": {"generated": ["x.hdf5"]}, "scan": {"a.training.lr": [1]}})
    with pytest.raises(ConfigError, match="scan: of a model that is trained here"):
        load_study(study, PRESETS)
