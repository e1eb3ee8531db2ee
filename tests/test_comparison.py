"""Two studies compared: what counts as different, what is told apart, and what is no study."""

from __future__ import annotations

import copy
import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest

from calopipe.cli import main
from calopipe.errors import DataError
from calopipe.records.scores import Score, save_scores
from calopipe.report.comparison import AGREES, DIFFERS, EQUAL, NO_ERROR, ONLY_A, ONLY_B, UNDEFINED, compare_studies
from calopipe.report.comparison_text import comparison_json, comparison_text
from calopipe.report.studies import read_study
from calopipe.report.tables import combine
from calopipe.workflow.made import Making, code_table, record, record_of
from calopipe.workflow.stale import Absent, differing

CONFIG = {
    "study": "first",
    "results": "results",
    "models": {"inn": {"networks": {"flow": {"model": {"name": "inn", "blocks": 2}, "preprocessing": [{"step": "logit"}]}}}},
    "evaluations": {"default": {"seed": 0}},
}  # fmt: skip
#: of a model: (name, value, error)
SCORES = [("fpd", 1.0, 0.1), ("separation_power/E_tot", 0.02, 0.003), ("classifier/trees/auc", 0.6, 0.01)]


def scores(rows: list[tuple[str, float | None, float | None]], **more: Any) -> list[Score]:
    return [
        Score(name, value, error, 100, missing=None if value is not None else "too few", **more)
        for name, value, error in rows
    ]


def study(
    folder: Path,
    runs: dict[tuple[str, str, int], list[Score]],
    config: dict = CONFIG,
    reference: str = "test",
    **code: str,
) -> Path:
    """A finished study with these scores, as stages of the workflow leave it; the page is in results/report/<study>."""
    results, described = folder / "results", []
    for (dataset, model, seed), found in runs.items():
        run = f"{dataset}/{model}/seed{seed}"
        (results / run).mkdir(parents=True)
        save_scores(results / run / "metrics.json", found)
        record(Making("metrics", {}, code.get("metrics", "m")), [results / run / "metrics.json"])
        reference_file = results / f"data/{dataset}/test.hdf5"
        reference_file.parent.mkdir(parents=True, exist_ok=True)
        reference_file.write_text(reference)
        paths = {"metrics": f"results/{run}/metrics.json", "reference": f"results/data/{dataset}/test.hdf5"}
        described.append({"dataset": dataset, "model": model, "seed": seed, "geometry": None, **paths})
    page = results / "report" / config["study"] / "index.html"
    page.parent.mkdir(parents=True)
    page.write_text("<html>")
    settings = {"study": config["study"], "runs": described, "config": config, "presets": []}
    files = [folder / run[name] for run in described for name in ("metrics", "reference")]
    record(Making("report", settings, "r"), [page], list(dict.fromkeys(files)))
    return page


def edited(**changes: Any) -> dict:
    config = copy.deepcopy(CONFIG)
    config["models"]["inn"]["networks"]["flow"]["model"] |= changes
    return config


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """Two studies: other blocks, one score that differs by 5 errors and one that is equal."""
    other = [("fpd", 0.5, 0.0), ("separation_power/E_tot", 0.02, 0.001), ("classifier/trees/auc", 0.61, 0.01)]
    a = study(tmp_path / "a", {("eplus", "inn", 0): scores(SCORES)})
    b = study(tmp_path / "b", {("eplus", "inn", 0): scores(other)}, edited(blocks=4), metrics="m2")
    return a, b


def compare(a: Path, b: Path, z: float = 2.0):
    return compare_studies(read_study(a), read_study(b), z)


def test_a_difference_counts_in_combined_errors(pair):
    found = compare(*pair)
    assert found.settings == (("models.inn.networks.flow.model.blocks", 2, 4),)
    by_name = {s.name: s for s in found.scores}
    assert by_name["fpd"].verdict == DIFFERS and by_name["fpd"].errors == pytest.approx(5)
    assert by_name["fpd"].nearer == "B"
    auc = by_name["classifier/trees/auc"]
    assert auc.verdict == AGREES and auc.errors == pytest.approx(0.01 / math.hypot(0.01, 0.01)) and auc.nearer == "A"
    assert by_name["separation_power/E_tot"].verdict == EQUAL and by_name["separation_power/E_tot"].nearer == ""
    assert [s.name for s in found.scores] == ["fpd", "classifier/trees/auc", "separation_power/E_tot"]
    assert found.by_chance() == pytest.approx(2 * 0.0455, abs=1e-4)  # of two that are not equal, at 2 errors
    assert {s.verdict for s in compare(*pair, z=0.5).scores} == {DIFFERS, EQUAL}
    assert compare(*pair, z=5.1).of(DIFFERS) == []


def test_the_same_study_has_nothing_to_tell(pair):
    found = compare(pair[0], pair[0])
    assert not found.settings and not found.only_a and not found.made.other and not found.changed
    assert {s.verdict for s in found.scores} == {EQUAL} and found.by_chance() == 0
    assert "Settings: the same" in comparison_text(found)


def test_what_cannot_be_compared_is_listed(tmp_path):
    rows_a = [
        ("no_error", 1.0, None),
        ("zero_error", 1.0, 0.0),
        ("lost", None, None),
        ("only_a", 1.0, 0.1),
        ("same", 1.0, None),
    ]
    rows_b = [
        ("no_error", 2.0, 0.1),
        ("zero_error", 2.0, 0.0),
        ("lost", 1.0, 0.1),
        ("only_b", 1.0, 0.1),
        ("same", 1.0, None),
    ]
    a = study(tmp_path / "a", {("d", "m", 0): scores(rows_a)})
    found = compare(a, study(tmp_path / "b", {("d", "m", 0): scores(rows_b)}))
    verdicts = {s.name: s.verdict for s in found.scores}
    assert verdicts == {"no_error": NO_ERROR, "zero_error": NO_ERROR, "lost": UNDEFINED, "only_a": ONLY_A, "only_b": ONLY_B,
                        "same": EQUAL}  # fmt: skip
    text = comparison_text(found)
    for words in ("without an error, not equal: 2", "without a value: 1", "too few", "only in A: 1", "only in B: 1"):
        assert words in text
    assert "Scores with errors: none to compare" in text


def test_seeds_are_combined_as_in_the_report(tmp_path):
    seeds = [[("fpd", value, 0.1)] for value in (1.0, 1.4)]
    a = study(tmp_path / "a", {("d", "m", i): scores(rows) for i, rows in enumerate(seeds)})
    b = study(tmp_path / "b", {("d", "m", 1): scores(seeds[1]), ("d", "other", 0): scores(seeds[0])})
    found = compare(a, b)
    side = found.scores[0].a
    assert (side.value, side.error) == combine([s for rows in seeds for s in scores(rows)]) and side.seeds == 2
    assert found.only_a == ("d/m/0",) and found.only_b == ("d/other/0",)
    text = comparison_text(found)
    assert "only in A: d/m/0" in text and "0, 1" in text and "no scatter between trainings" in text


def test_runs_that_are_judged_together(tmp_path):
    """The posterior of one class of three is another one than that of one class of four."""
    found = [scores([("multiclass/log_posterior", value, 0.01)]) for value in (-1.1, -1.4)]
    a = study(tmp_path / "a", {("d", "m", 0): found[0]})
    b = study(tmp_path / "b", {("d", "m", 0): found[1], ("d", "other", 0): found[1]})
    assert "depend on which runs are judged together" in comparison_text(compare(a, b))
    assert "judged together" not in comparison_text(compare(a, study(tmp_path / "c", {("d", "m", 0): found[1]})))


def test_a_seed_without_a_value_is_not_left_out(tmp_path):
    runs = {("d", "m", 0): scores([("fpd", 1.0, 0.1)]), ("d", "m", 1): scores([("fpd", None, None)])}
    found = compare(study(tmp_path / "a", runs), study(tmp_path / "b", {("d", "m", 0): runs["d", "m", 0]}))
    assert found.scores[0].verdict == UNDEFINED and found.scores[0].a.missing == "1 of 2 seeds: too few"


def test_samples_are_told_apart(tmp_path):
    rows = [*scores([("fpd", 1.0, 0.1)]), *scores([("fpd", 3.0, 0.1)], sample="reconstructed")]
    other = [*scores([("fpd", 1.0, 0.1)]), *scores([("fpd", 4.0, 0.1)], sample="reconstructed")]
    found = compare(study(tmp_path / "a", {("d", "m", 0): rows}), study(tmp_path / "b", {("d", "m", 0): other}))
    assert [(s.sample, s.verdict) for s in found.scores] == [("reconstructed", DIFFERS), ("generated", EQUAL)]


def test_two_models_of_different_names(tmp_path):
    config = {**CONFIG, "models": {"wide": edited(blocks=9)["models"]["inn"]}}
    a = study(tmp_path / "a", {("eplus", "inn", 0): scores(SCORES)})
    b = study(tmp_path / "b", {("eplus", "wide", 0): scores(SCORES)}, config)
    found = compare(a, b)
    assert [m.label for m in found.matched] == ["eplus/inn | wide"] and not found.only_a and not found.only_b
    assert found.settings == (("models.inn | wide.networks.flow.model.blocks", 2, 9),)
    assert len(found.of(EQUAL)) == 3 and "none of the same name" in comparison_text(found)
    both = study(tmp_path / "c", {("eplus", name, 0): scores(SCORES) for name in ("x", "y")})
    none = compare(a, both)
    assert not none.matched and none.only_a == ("eplus/inn/0",) and none.only_b == ("eplus/x/0", "eplus/y/0")
    assert "no scores to compare" in comparison_text(none)


def test_the_reference_sample_is_compared(tmp_path, pair):
    assert compare(*pair).matched[0].same_reference is True
    assert "upper bounds" in comparison_text(compare(*pair))
    other = study(tmp_path / "c", {("eplus", "inn", 0): scores(SCORES[:1])}, reference="another test split")
    found = compare(other, pair[1])
    assert found.matched[0].same_reference is False and "different reference samples: eplus/inn" in comparison_text(
        found
    )


def test_a_study_is_found_wherever_it_was_moved(tmp_path, pair):
    before = json.loads(comparison_json(compare(*pair)))
    moved = tmp_path / "elsewhere" / "archive of b"
    moved.parent.mkdir()
    shutil.move(tmp_path / "b", moved)
    page = moved / "results/report/first/index.html"
    for place in (page, page.parent, moved / "results", moved):
        after = json.loads(comparison_json(compare(pair[0], place)))
        assert after["b"]["page"] == str(page)
        assert {k: v for k, v in after.items() if k != "b"} == {k: v for k, v in before.items() if k != "b"}


def test_code_and_versions_where_the_records_hold_them(pair):
    made = compare(*pair).made
    assert (made.other, made.same, made.modules, made.known) == (("metrics",), ("report",), (), False)
    for page, code, digest in zip(pair, ("m", "m2"), ("1", "2"), strict=True):
        table = code_table(page.parents[2], code)
        table.parent.mkdir(parents=True)
        table.write_text(
            json.dumps({"calopipe.metrics.fpd": digest, "calopipe.units": "u", f"calopipe.own{digest}": "o"})
        )
    assert compare(*pair).made.modules == ("calopipe.metrics.fpd",)
    assert "Modules that differ: calopipe.metrics.fpd\n" in comparison_text(compare(*pair))
    for page, version in zip(pair, ("2.1", "2.2"), strict=True):
        path = record_of(page)
        job = {"versions": {"torch": version, "numpy": "1"}}
        path.write_text(json.dumps({**json.loads(path.read_text()), "job": job}))
    found = compare(*pair)
    assert found.made.known and found.made.versions == {"torch": (("2.1",), ("2.2",))}
    assert "Version of torch: A 2.1; B 2.2" in comparison_text(found)


def test_scores_made_anew_after_the_report_are_told(pair):
    path = pair[1].parents[2] / "eplus/inn/seed0/metrics.json"
    save_scores(path, scores(SCORES))
    found = compare(*pair)
    assert found.changed == (str(path),) and "made anew after the report" in comparison_text(found).replace("\n", " ")


def test_long_lists_are_cut_unless_asked_for(tmp_path):
    names = [f"separation_power/o{i}" for i in range(30)]
    a = study(tmp_path / "a", {("d", "m", 0): scores([(name, 1.0, 0.1) for name in names])})
    b = study(tmp_path / "b", {("d", "m", 0): scores([(name, 2.0 + i, 0.1) for i, name in enumerate(names)])})
    found = compare(a, b)
    text, everything = comparison_text(found), comparison_text(found, all_rows=True)
    assert "and 10 more (--all)" in text and "o29 " in text and "o5 " not in text
    assert all(f"{name} " in everything for name in names) and "--all" not in everything
    assert len(json.loads(comparison_json(found))["scores"]) == 30


def test_long_values_are_shown_where_they_differ(tmp_path):
    paths = [f"/data/of/a/long/folder/with/many/names/{name}.hdf5" for name in ("first", "second")]
    pages = [study(tmp_path / p[-8], {("d", "m", 0): scores(SCORES)}, {**CONFIG, "source": p}) for p in paths]
    line = next(line for line in comparison_text(compare(*pages)).splitlines() if line.startswith("  source"))
    assert "first.hdf5" in line and "second.hdf5" in line and len(line) < 80


def test_differences_of_settings():
    before = {"a": 1, "steps": [{"s": "x", "w": 1}, {"s": "y"}], "widths": [1, 2], "gone": 0, "null": None}
    now = {"a": 1, "steps": [{"s": "x", "w": 2}, {"s": "y"}], "widths": [1, 3], "new": {"b": 1}}
    assert list(differing(before, now)) == [
        ("gone", 0, Absent), ("new", Absent, {"b": 1}), ("steps.0.w", 1, 2), ("widths", [1, 2], [1, 3])]  # fmt: skip
    assert list(differing({"steps": [{"s": 1}]}, {"steps": [{"s": 1}, {"s": 2}]})) == [
        ("steps", [{"s": 1}], [{"s": 1}, {"s": 2}])
    ]


# -- mistakes -----------------------------------------------------------------------------------------------------------
def _damaged_record(page: Path) -> None:
    record_of(page).write_text(record_of(page).read_text()[:100])


def _no_record(page: Path) -> None:
    record_of(page).unlink()


def _record_of_something_else(page: Path) -> None:
    record(Making("metrics", {}, "m"), [page])


def _no_runs(page: Path) -> None:
    record(Making("report", {"study": "first", "runs": [], "config": CONFIG}, "r"), [page])


def _runs_of_something_else(page: Path) -> None:
    record(Making("report", {"study": "first", "runs": [{"dataset": 1}], "config": CONFIG}, "r"), [page])


def _files_elsewhere(page: Path) -> None:
    run = {"dataset": "eplus", "model": "inn", "seed": 0, "geometry": None, "metrics": "results/../../secret.json"}
    record(Making("report", {"study": "first", "runs": [run], "config": CONFIG}, "r"), [page])


def _no_scores(page: Path) -> None:
    (page.parents[2] / "eplus/inn/seed0/metrics.json").unlink()


def _damaged_scores(page: Path) -> None:
    (page.parents[2] / "eplus/inn/seed0/metrics.json").write_text('[{"name": "fpd", "value"')


def _two_studies(page: Path) -> None:
    shutil.copytree(page.parent, page.parents[1] / "second")


def _nothing(page: Path) -> None:
    shutil.rmtree(page.parents[1])


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (_damaged_record, ".made/index.html.json: damaged"),
        (_no_record, "index.html: nothing says what made it"),
        (_record_of_something_else, "expected the report of a study, found what stage 'metrics' made"),
        (_no_runs, ".made/index.html.json: not the record of a study"),
        (_runs_of_something_else, ".made/index.html.json: not the record of a study"),
        (_files_elsewhere, "expected files below 'results', found 'results/../../secret.json'"),
        (_no_scores, "eplus/inn/seed0/metrics.json: no such file"),
        (_damaged_scores, "eplus/inn/seed0/metrics.json: not JSON"),
        (_two_studies, "expected one study, found 2: name one of results/report/first, results/report/second"),
        (_nothing, "no study"),
    ],
)
def test_what_is_no_study_is_one_line(damage, words, tmp_path, pair, capsys):
    damage(pair[1])
    assert main(["compare", str(pair[0]), str(tmp_path / "b")]) == 1
    out, err = capsys.readouterr()
    assert words in err and err.count("\n") == 1 and not out


def test_places_that_do_not_exist(tmp_path):
    with pytest.raises(DataError, match="nowhere: no such file or folder"):
        read_study(tmp_path / "nowhere")


def test_the_command(pair, tmp_path, capsys):
    assert main(["compare", str(pair[0]), str(tmp_path / "b")]) == 0
    text = capsys.readouterr().out
    assert "Scores that differ by more than 2 errors: 1 of 2 that are not equal (by chance about 0.091)" in text
    assert "models.inn.networks.flow.model.blocks  2  4" in text
    assert main(["compare", *map(str, pair), "--errors", "6", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["errors"] == 6 and found["models"][0]["scores"] == {"agrees": 2, "equal": 1}
    assert found["scores"][0]["a"] == {"value": 1.0, "error": 0.1, "n": 100, "seeds": 1, "missing": None}
    assert main(["compare", *map(str, pair), "--errors", "-1"]) == 2
    assert "--errors" in capsys.readouterr().err
