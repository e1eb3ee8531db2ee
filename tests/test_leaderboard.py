"""Scores in the published table: the table itself, ranks by hand, marks, files of every kind."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from importlib import resources

import pytest

from calopipe.cli import main
from calopipe.errors import ConfigError, DataError
from calopipe.metrics.classifier_presets import challenge_classifier
from calopipe.plots.style import read_provenance
from calopipe.records.files import write_json
from calopipe.records.judgement import InputFile, Judgement, save_judgement
from calopipe.records.scores import Score, save_scores
from calopipe.report.leaderboard import OTHER_DATA, csv_rows, markdown_table, own_scores, place, terminal_table
from calopipe.report.placement import leaderboard_of, write_leaderboard
from calopipe.report.published import DATASETS, METRICS, parse_table, published_table
from calopipe.sources import REGISTERED, is_official_reference

FOLDER = resources.files("calopipe").joinpath("published")
SMALL = """submission,FPD * 1e3,FPD * 1e3 std,binary cls low,precision,time GPU 100,time GPU 100 std
GEANT4,0.1,0.05,0.499,0.70,,
Slow,2.0,0.1,0.52,0.80,500,1
Fast,10.0,0.5,0.47,0.69,0.5,0.01
Partial,2.0,0.2,,0.60,,
"""
TIMING = {
    "device": "some GPU",
    "accelerator_memory_MiB": 100.0,
    "results": [{"batch_size": 100, "median_ms": 2.0, "low_ms": 1.9, "high_ms": 2.3}],
}


def score(name, value, error=None, **more):
    return Score(name, value, error, 1000, seed=0, **more)


def judgement(dataset="1-photons", official=False, scores=()):
    file = InputFile("ref.hdf5", 1000, "0" * 64, "0" * 32)
    name = "calochallenge1_photons"
    return Judgement(dataset, name, "hash", 1.0, ("chi2",), 0, "mine", (file,), (file,), official, tuple(scores))


# ---- the published tables -------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("dataset", "n"), [("1-photons", 15), ("1-pions", 12), ("2", 17), ("3", 15)])
def test_published_tables_parse(dataset, n):
    table = published_table(dataset)
    assert len(table.submissions) == n
    expected = {m.key for m in METRICS} - ({"binary cls cnn"} if dataset.startswith("1") else set())
    assert {m.key for m in table.metrics} == expected
    quality = [m for m in table.metrics if m.group != "time"]
    assert all(m.key in table.simulation.values for m in quality)
    for submission in table.submissions:
        assert all(0.3 < v <= 1.0001 for k, (v, _) in submission.values.items() if k.startswith("binary"))


def test_published_values_are_those_of_the_paper():
    photons = {s.name: s.values for s in published_table("1-photons").submissions}
    assert photons["CaloDiffusion"]["binary cls low"] == (0.63459, pytest.approx(0.0027793704))
    assert photons["CaloDiffusion"]["sep EC r std"][1] is None  # "std" is the width, not an error
    assert photons["CaloDiffusion"]["time GPU 100"][0] == pytest.approx(75.2057)


def test_every_column_is_documented():
    text = FOLDER.joinpath("README.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"`([^`]+)`", text))
    assert "arXiv:2410.21611" in text
    for dataset in DATASETS:
        lines = FOLDER.joinpath(f"calochallenge_{dataset}.csv").read_text(encoding="utf-8").splitlines()
        for column in next(csv.reader(lines)):
            assert column in documented or (column.endswith(" std") and column[:-4] in documented), column


@pytest.mark.parametrize(("old", "new"), [("GEANT4", "Geant"), ("10.0", "ten"), ("10.0", "nan"), ("Fast", "Slow")])
def test_damaged_tables_are_refused(old, new):
    with pytest.raises(DataError, match="small.csv"):
        parse_table("2", SMALL.replace(old, new), "small.csv")


def test_unknown_table():
    with pytest.raises(ConfigError, match="1-photons"):
        published_table("photons")


# ---- ranks ----------------------------------------------------------------------------------------------------------
def test_ranks_by_hand():
    own = own_scores(
        "mine",
        [
            score("fpd", 0.005, 0.001),  # 5.0 in the table's unit: behind Slow and Partial, which share rank 1
            score("classifier/low/auc", 0.9, extra={"calibrated": [0.52, 0.53]}),  # 0.025 from 1/2; Fast has 0.03
            score("prdc/precision", 0.75),  # 0.05 from the simulation's 0.70; Fast 0.01, Slow and Partial 0.10
            score("fpd", 0.0, sample="reconstructed"),
        ],
        [TIMING],
    )
    board = place(parse_table("2", SMALL, "small.csv"), [own])
    ranks = {e.name: e.ranks for e in board.entries}
    fpd, low, precision, time = "FPD * 1e3", "binary cls low", "precision", "time GPU 100"
    assert ranks["GEANT4"] == {}
    assert ranks["Slow"] == {fpd: 1, low: 1, precision: 3, time: 3}
    assert ranks["Partial"] == {fpd: 1, precision: 3}
    assert ranks["Fast"] == {fpd: 4, low: 3, precision: 1, time: 1}
    assert ranks["mine"] == {fpd: 3, low: 2, precision: 2, time: 2}
    mine = board.own[0].values
    assert mine[fpd] == (5.0, 1.0) and mine[time] == (2.0, pytest.approx(0.2))
    assert mine[low] == (pytest.approx(0.525), pytest.approx(0.0070711, abs=1e-6))
    assert board.competitors(board.metrics[0]) == 3  # binary cls low: Partial has none


def test_a_time_on_a_cpu_is_not_one_on_a_gpu():
    own = own_scores("mine", [], [{**TIMING, "accelerator_memory_MiB": None}])
    assert set(own.values) == {"time CPU 100"}


def test_missing_scores_have_no_rank():
    own = own_scores("mine", [score("fpd", None, missing="too few showers"), score("unheard/of", 1.0)])
    assert own.values == {}
    board = place(parse_table("2", SMALL, "small.csv"), [own])
    assert board.own[0].ranks == {} and "no score" in terminal_table(board)


def test_other_data_is_marked_everywhere():
    table = parse_table("2", SMALL, "small.csv")
    scores = [score("fpd", 0.005)]
    for official in (False, True):
        board = place(table, [own_scores("mine", scores, [TIMING], official)])
        assert (OTHER_DATA in terminal_table(board)) is not official
        text = markdown_table(board)
        assert (f"5.00{OTHER_DATA} (3)" in text) is not official
        assert "| **▶ mine** |" in text and f"2.00 ± 0.20{OTHER_DATA}" not in text  # times do not depend on the data
        row = next(r for r in csv_rows(board) if r["submission"] == "mine")
        assert (row["own"], row["official_data"], row["FPD * 1e3"], row["FPD * 1e3 rank"]) == (1, official, 5.0, 3)


def test_official_references_are_known_by_their_checksums():
    for name, n in (("calochallenge1_photons", 1), ("calochallenge3", 2)):
        md5 = [f.checksum.removeprefix("md5:") for f in REGISTERED[name].of_role("reference")]
        assert len(md5) == n and is_official_reference(name, md5)
        assert not is_official_reference(name, [*md5, md5[0]]) and not is_official_reference(name, md5[1:])
        train = [f.checksum.removeprefix("md5:") for f in REGISTERED[name].of_role("train")]
        assert not is_official_reference(name, train[:n])


# ---- files ----------------------------------------------------------------------------------------------------------
@pytest.fixture
def run_folder(tmp_path):
    """A run of a study, as the workflow leaves it."""
    folder = tmp_path / "run"
    save_scores(folder / "metrics.json", [score("fpd", 0.002, 0.0001)])
    save_scores(folder / "classifiers" / "low.json", [score("classifier/low/auc", 0.7, extra={"calibrated": [0.69]})])
    write_json(folder / "timing.json", TIMING)
    return folder


def test_files_of_a_study_are_placed(run_folder):
    whole = leaderboard_of([run_folder], "1-photons", "mine")
    files = ["metrics.json", "classifiers/low.json", "timing.json"]
    assert leaderboard_of([run_folder / f for f in files], "1-photons", "mine") == whole
    own = whole.own[0]
    assert own.values["FPD * 1e3"] == (2.0, pytest.approx(0.1)) and own.values["binary cls low"] == (0.69, None)
    assert not own.official and "not recorded" in own.note


def test_evaluations_say_what_they_are_of(tmp_path):
    path = tmp_path / "scores.json"
    for official in (True, False):
        save_judgement(path, judgement(official=official, scores=[score("fpd", 0.002)]))
        board = leaderboard_of([path])
        assert board.dataset == "1-photons" and board.own[0].name == "mine" and board.own[0].official is official
    with pytest.raises(ConfigError, match="1-photons, not 2"):
        leaderboard_of([path], "2")
    save_judgement(path, judgement(dataset=None))
    with pytest.raises(ConfigError, match="no set of the challenge"):
        leaderboard_of([path], "2")


def test_changed_classifiers_are_told(tmp_path):
    config = challenge_classifier("low").model_dump(mode="json")
    for more, told in (({"repeats": 2, "device": "cpu"}, False), ({"epochs": 3}, True)):
        found = replace(judgement(scores=[score("fpd", 0.002)]), classifiers={"low": {**config, **more}})
        save_judgement(tmp_path / "scores.json", found)
        assert ("settings other than" in leaderboard_of([tmp_path]).own[0].note) is told


def test_fewer_neighbours_are_told(tmp_path):
    for n, told in ((1000, False), (500, True)):
        save_judgement(tmp_path / "scores.json", judgement(scores=[replace(score("prdc/recall", 0.5), n=n)]))
        assert ("of 500 showers" in leaderboard_of([tmp_path]).own[0].note) is told


def test_the_command_writes_tables_and_plots(tmp_path, capsys):
    scores = [score("fpd", 0.002, 0.0001), score("classifier/low/auc", 0.7)]
    save_judgement(tmp_path / "scores.json", judgement(scores=scores))
    write_json(tmp_path / "timing.json", TIMING)
    out = tmp_path / "board"
    files = [str(tmp_path / "scores.json"), str(tmp_path / "timing.json")]
    assert main(["leaderboard", *files, "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "mine" in printed and OTHER_DATA in printed and re.search(r"AUC low .* \d+ of 16", printed)
    rows = list(csv.DictReader((out / "leaderboard.csv").read_text().splitlines()))
    assert len(rows) == 17 and [r["submission"] for r in rows if r["own"] == "1"] == ["mine"]
    pictures = {p.name for p in out.glob("*.png")}
    assert pictures == {"quality_speed_classifier_low.png", "quality_speed_fpd.png"}
    assert "1-photons" in read_provenance(out / "quality_speed_fpd.png")["run"]
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file"),
        ("{", "not JSON"),
        ("{}", "neither scores nor timings"),
        ('[{"nome": 1}]', "neither scores nor timings"),
        ("3", "neither scores nor timings"),
        ('{"format": "calopipe evaluation 1", "scores": []}', "not a complete evaluation"),
        ("[]", "--dataset"),
    ],
)
def test_files_that_cannot_be_placed_are_refused(content, message, tmp_path, capsys):
    path = tmp_path / "scores.json"
    if content is not None:
        path.write_text(content)
    assert main(["leaderboard", str(path), "--out", str(tmp_path / "board")]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and message in lines[0]
    assert not (tmp_path / "board").exists()


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match="metrics.json"):
        leaderboard_of([tmp_path], "2")


def test_an_interrupted_leaderboard_leaves_nothing(tmp_path, monkeypatch):
    save_judgement(tmp_path / "scores.json", judgement(scores=[score("fpd", 0.002)]))
    board = leaderboard_of([tmp_path / "scores.json"])

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("calopipe.report.placement.write_table", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_leaderboard(board, tmp_path / "board")
    assert [p.name for p in tmp_path.iterdir()] == ["scores.json"]


def test_judgements_are_json(tmp_path):
    path = tmp_path / "scores.json"
    save_judgement(path, judgement(scores=[score("fpd", 0.002)]))
    assert json.loads(path.read_text())["scores"][0]["name"] == "fpd"
