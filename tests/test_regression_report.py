"""Plots and report of energy regression and of scores by epoch; the choice of the best epoch."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from calopipe.config import EpochsConfig, HistogramConfig, RegressionConfig
from calopipe.errors import DataError
from calopipe.evaluation.epochs import best_epoch, score_epochs
from calopipe.evaluation.inputs import Readout
from calopipe.geometry import load_geometry
from calopipe.io import Showers, read_showers, write_showers
from calopipe.io.stored import read_json
from calopipe.plots.epochs import EpochScores, epochs_figure
from calopipe.plots.regression import linearity_figure, resolution_figure
from calopipe.plots.scores import Dot
from calopipe.plots.style import LineStyle
from calopipe.records.files import write_json, write_npz
from calopipe.records.scores import Score, save_scores
from calopipe.report import RunArtifacts, StudySummary
from calopipe.report.data import load_study_data
from calopipe.report.deposits import deposit_tasks
from calopipe.report.figures import dataset_tasks
from calopipe.report.regression import epoch_tables, epoch_tasks


def curves(scale: float = 1.0) -> dict[str, np.ndarray]:
    energy = np.array([2e3, 5e3, np.nan, 2e4])
    one = np.where(np.isfinite(energy), 1.0, np.nan)
    return {
        "energy": energy,
        "linearity": scale * one,
        "linearity_error": 0.01 * one,
        "resolution": scale * 0.2 * one,
        "resolution_error": 0.02 * one,
    }


def epoch(number: int, value: float | None, error: float = 0.1, **extra) -> dict:
    score = Score(
        "fidelity",
        value,
        error,
        100,
        seed=0,
        sample=f"epoch {number}",
        floor=0.1,
        missing=None if value else "too few",
        extra=extra,
    )
    return {"epoch": number, "scores": [asdict(score)]}


def test_best_epoch_and_those_as_good():
    rows = [epoch(10, 0.9), epoch(20, 0.35), epoch(30, 0.3), epoch(40, 0.6)]
    assert best_epoch(rows, "fidelity") == {"score": "fidelity", "epoch": 30, "as_good": [20, 30]}
    half = [epoch(1, 0.9, target=0.5), epoch(2, 0.45, 0.01, target=0.5), epoch(3, 0.3, 0.01, target=0.5)]
    assert best_epoch(half, "fidelity")["epoch"] == 2
    assert best_epoch(rows, "auc") == {"score": "auc", "missing": "no score called 'auc'"}
    assert best_epoch([epoch(1, None)], "fidelity") == {"score": "fidelity", "missing": "too few"}


def test_no_kept_epochs_is_an_error(tmp_path: Path):
    settings = {"config": EpochsConfig(), "histograms": HistogramConfig(), "regression": RegressionConfig()}
    settings |= {"regressors": {}, "seed": 0, "out": tmp_path / "s.json"}
    with pytest.raises(DataError, match="no kept epochs"):
        score_epochs(tmp_path, None, tmp_path, Readout.of("calogan"), **settings)
    (tmp_path / "epoch-00002.pt").touch()
    empty = tmp_path / "val.hdf5"
    write_showers(empty, Showers(np.zeros((0, 1), "f4"), np.zeros((0, 504), "f4")), load_geometry("calogan"))
    with pytest.raises(DataError, match="no validation showers"):
        score_epochs(tmp_path, None, empty, Readout.of("calogan"), **settings)


def test_epochs_in_which_an_image_jumps_are_seen(tmp_path: Path) -> None:
    """Average images to one side and to the other of the reference's, and one in its place, which is the best epoch."""
    data, images = (
        Path(__file__).parents[1] / "resources" / "electron_gun_sample.hdf5",
        load_geometry("electron_gun_32"),
    )
    first, second = (read_showers(data, slice(i * 200, (i + 1) * 200)) for i in range(2))
    base, kept = tmp_path / "val.hdf5", {}
    write_showers(base, first, images)
    for number, step in ((10, 2), (20, -2), (30, 0)):  # cells along eta
        moved = np.roll(second.showers.reshape(-1, 32, 32), step, axis=1 + images.eta_axis).reshape(
            second.showers.shape
        )
        kept[number] = tmp_path / f"{number}.hdf5"
        write_showers(kept[number], Showers(second.incident_energies, moved), images)
    score_epochs(
        kept, (), base, Readout.of(images),
        config=EpochsConfig(metrics=["image_moments"], select="image_moments/row_mean/eta"), histograms=HistogramConfig(),
        regression=RegressionConfig(), regressors={}, seed=0, out=tmp_path / "s.json", kept_histograms=tmp_path / "h.npz",
    )  # fmt: skip
    found = read_json(tmp_path / "s.json")
    values = {row["epoch"]: {s["name"]: s for s in row["scores"]} for row in found["epochs"]}
    along = {number: scores["image_moments/row_mean/eta"] for number, scores in values.items()}
    assert found["best"]["epoch"] == 30 and found["best"]["as_good"] == [30]
    for number in (10, 20):
        assert along[number]["value"] > 5 * along[number]["floor"] > 0
        assert values[number]["image_moments/pixel_energy"]["value"] == pytest.approx(
            values[30]["image_moments/pixel_energy"]["value"], abs=0.02
        )
    assert along[30]["value"] < 3 * along[30]["floor"]
    run = RunArtifacts(
        "d", "inn", 0, "electron_gun_32", epochs=str(tmp_path / "s.json"), epoch_histograms=str(tmp_path / "h.npz")
    )
    tasks = epoch_tasks(load_study_data(StudySummary("s", (run,)))[0])
    (task,) = (t for t in tasks if t.caption == "d: average showers of inn by epoch")
    panels = [axes for axes in task.function(*task.args, **task.kwargs).axes if axes.get_title()]
    assert [axes.get_title() for axes in panels] == ["Geant4", "epoch 10", "epoch 20", "epoch 30"]
    means = task.args[2]
    np.testing.assert_allclose(
        np.roll(means["epoch 30"].reshape(32, 32), 2, axis=images.eta_axis).ravel(), means["epoch 10"], rtol=1e-5
    )


def test_figures_show_every_known_point():
    style = LineStyle("inn", "#0072B2")
    top, bottom = linearity_figure(curves(), [(style, curves(1.1))], "Regressor").axes
    lines = {c.get_label(): c.lines[0].get_xydata() for c in top.containers}
    assert lines["Geant4"][:, 0].tolist() == [2, 5, 20]
    assert np.allclose(lines["inn"][:, 1], [2.2, 5.5, 22]) and "GeV" in bottom.get_xlabel()
    _, bottom = resolution_figure(curves(), [(style, curves(1.5))]).axes
    assert np.allclose(bottom.containers[1].lines[0].get_ydata(), 1.5)
    dots = {10: Dot(0.5, 0.1), 20: Dot(0.01, 0.002)}
    axes = epochs_figure([EpochScores(style, dots, floor=0.01, best=20)], "fidelity").axes[0]
    assert axes.get_yscale() == "log" and axes.get_xlabel() == "Epoch"
    assert [t.get_text() for t in axes.get_legend().get_texts()] == ["inn", "best epoch", "floor"]
    other = EpochScores(style, dots, best=20, chosen_by="frd/net")
    axes = epochs_figure([other], "fidelity").axes[0]
    assert [t.get_text() for t in axes.get_legend().get_texts()] == ["inn", "best epoch by frd/net"]


@pytest.mark.parametrize(
    ("sampled", "expected"),
    [("final", "final checkpoint"), ("best", "epoch 20, the best"), (10, "epoch 10")],
)
def test_report_says_which_epoch_was_used(tmp_path: Path, sampled, expected: str):
    best = {"score": "fidelity", "epoch": 20, "as_good": [10, 20]}
    write_json(tmp_path / "e.json", {"epochs": [epoch(10, 0.35), epoch(20, 0.3)], "best": best})
    run = RunArtifacts("d", "inn", 3, "calogan", epochs=str(tmp_path / "e.json"), sampled_epoch=sampled)
    table = next(iter(epoch_tables(load_study_data(StudySummary("s", (run,)))[0])))
    assert table.rows == (("inn", "fidelity", expected, "3", "20", "10", "100"),)


def test_scores_that_are_drawn_against_the_epoch(tmp_path: Path):
    """Of showers totals, average images and what chooses; of columns five scores each, not in slices."""
    drawn = [
        "fidelity", "kl_average/shower", "image_moments/pixel_energy", "image_moments/row_width/eta", "frd/net", "wasserstein/x", "kl/x",
        "mean_difference/x", "fwhm_difference/x", "kurtosis_difference/x", "separation_power/E_tot",
    ]  # fmt: skip
    others = [
        "kl_average/layer/0",
        "image_moments/row_mean/eta/layer/1",
        "separation_power/E_ratio",
        "skewness_difference/x",
        "kl/x/mu=4-6",
    ]
    scores = [asdict(Score(name, 0.5, 0.1, 50)) for name in (*drawn, *others)]
    best = {"score": "separation_power/E_tot", "epoch": 20, "as_good": [20]}
    write_json(tmp_path / "e.json", {"epochs": [{"epoch": e, "scores": scores} for e in (10, 20)], "best": best})
    run = RunArtifacts("d", "inn", 0, "calogan", epochs=str(tmp_path / "e.json"))
    captions = [task.caption for task in epoch_tasks(load_study_data(StudySummary("s", (run,)))[0])]
    assert sorted(captions) == sorted(f"d: {name} against the epoch" for name in drawn)


def test_mean_deposits_are_drawn(tmp_path: Path):
    """From the scores, at the values that have one: both means, and their ratio to the reference's."""

    def score(at: float, a: float, b: float) -> Score:
        both = {k: {"mean_MeV": v, "error_MeV": 0.1 * v} for k, v in (("reference", a), ("generated", b))}
        return Score(
            f"mean_deposit/{at:g}MeV", b / a - 1, 0.1, 50, extra={"condition": "incident_energies", "at": at, **both}
        )

    sliced = replace(score(100, 7, 7), name="mean_deposit/100MeV/1-2MeV", extra={"slice": {}})
    lost = Score.absent("mean_deposit/1800MeV", 0, "none")
    save_scores(tmp_path / "m.json", [score(800, 120, 150), score(100, 20, 18), sliced, lost])
    run = RunArtifacts("d", "inn", 0, "calogan", metrics=str(tmp_path / "m.json"))
    (task,) = deposit_tasks(load_study_data(StudySummary("s", (run,)))[0])
    top, bottom = task.function(*task.args, **task.kwargs).axes
    points = {c.get_label(): c.lines[0].get_ydata().tolist() for c in top.containers}
    assert points == {"Geant4": [20, 120], "inn": [18, 150]} and top.get_yscale() == "linear"
    assert bottom.containers[1].lines[0].get_ydata() == pytest.approx([0.9, 1.25])
    assert [t.get_text() for t in bottom.get_xticklabels()] == ["100", "800"]


def test_report_has_the_figures_of_regression_and_epochs(tmp_path: Path):
    stored = {f"{s}/{k}": v for s in ("reference", "generated") for k, v in curves().items()}
    write_npz(tmp_path / "r.npz", stored)
    save_scores(tmp_path / "r.json", [Score("frd/net", 1.0, 0.1, 50, seed=0, floor=0.9)])
    best = {"score": "fidelity", "epoch": 20, "as_good": [20]}
    write_json(tmp_path / "e.json", {"epochs": [epoch(10, 0.9), epoch(20, 0.3)], "best": best})
    (tmp_path / "h.csv").write_text("epoch,step,train_loss,val_loss,lr\n0,9,2,1.5,0.1\n1,19,1,1.2,0.1\n")
    files = {"scores": "r.json", "curves": "r.npz", "loss": "h.csv"}
    regression = {"net": {k: str(tmp_path / name) for k, name in files.items()}}
    run = RunArtifacts("d", "inn", 0, "calogan", regression=regression, epochs=str(tmp_path / "e.json"))
    data = load_study_data(StudySummary("s", (run,)))[0]
    tasks = {task.name: task for task in dataset_tasks(data)}
    assert set(tasks) == {"d_net_linearity", "d_net_resolution", "d_epochs_fidelity", "d_regressor_net_training"}
    for task in tasks.values():
        assert task.function(*task.args, **task.kwargs).axes
    assert data.score_columns()["inn", "generated"][0][0].name == "frd/net" and not data.notes
