"""Every plot of a report, and every number in it, leads to the files that it comes from."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
from test_report import _run

from calopipe.plots.style import read_provenance
from calopipe.report import StudySummary, build_report
from calopipe.report import sources as report_sources
from calopipe.report.sources import Origins, results_of


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, StudySummary]:
    """A results folder with three runs, a report, and the record of one file."""
    results = tmp_path_factory.mktemp("results")
    runs = [_run(results, "eplus", "inn", seed, latent=False) for seed in (0, 1)]
    runs.append(_run(results, "eplus", "vae", 0, latent=True))
    summary = StudySummary("demo", tuple(runs), {"study": "demo"}, dpi=40, pdf=True)
    made = {"stage": "judge_columns", "output": {"bytes": Path(runs[0].histograms).stat().st_size}}
    made["output"]["sha256"] = _sha256(Path(runs[0].histograms))
    (results / "report/demo/plots").mkdir(parents=True)
    (results / "report/demo/plots/sources.json").write_text('{"format": 1, "plots": {"stale": {}}}')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report_sources, "read_record", lambda path: made if path == runs[0].histograms else None)
        build_report(summary, results / "report/demo")
    return results, summary


def test_the_index_names_what_each_plot_was_drawn_from(study: tuple[Path, StudySummary]) -> None:
    results, _ = study
    plots = results / "report/demo/plots"
    index = json.loads((plots / "sources.json").read_text(encoding="utf-8"))
    assert index["format"] == 1 and set(index["plots"]) == {p.stem for p in plots.glob("*.png")}
    for name, entry in index["plots"].items():
        assert entry["caption"] and entry["section"] and entry["inputs"], name
        assert entry["files"] == {kind: _sha256(plots / f"{name}.{kind}") for kind in ("png", "pdf")}
        for item in entry["inputs"]:
            assert item["sha256"] == _sha256(results / item["path"]), "relative to the results folder"
    inputs = {name: [i["path"] for i in entry["inputs"]] for name, entry in index["plots"].items()}
    inn = [f"eplus/inn/{seed}" for seed in (0, 1)]
    expected = {
        "eplus_energies_E_ratio": [*(f"{run}/histograms.npz" for run in inn), "eplus/vae/0/histograms.npz"],
        "eplus_inn_flow_training": [f"{run}/flow.csv" for run in inn],
        "eplus_vae_reconstruction_1": ["eplus/vae/0/histograms.npz"],
        "eplus_event_inn": ["eplus/inn/0/histograms.npz"],
        "eplus_timing": ["eplus/inn/0/timing.json", "eplus/vae/0/timing.json"],
        "eplus_inn_weights_low": [f"{run}/low.npz" for run in inn],
        "eplus_inn_extreme_weights_low_1": [f"{run}/weights.npz" for run in inn],
        "eplus_separation": [*(f"{run}/metrics.json" for run in inn), "eplus/vae/0/metrics.json"],
    }
    assert {name: inputs[name] for name in expected} == expected
    roc = [f"eplus/{run}/low.{end}" for run in ("inn/0", "inn/1", "vae/0") for end in ("json", "npz")]
    assert sorted(inputs["eplus_roc_low"]) == sorted(roc), "the curves, and the AUCs in the legend"


def test_the_stage_of_a_file_is_its_record_s_or_that_of_its_name(study: tuple[Path, StudySummary]) -> None:
    index = json.loads((study[0] / "report/demo/plots/sources.json").read_text(encoding="utf-8"))
    rules = [i["rule"] for i in index["plots"]["eplus_energies_E_ratio"]["inputs"]]
    assert rules == ["judge_columns", "observables", "observables"]
    assert {i["rule"] for i in index["plots"]["eplus_inn_weights_low"]["inputs"]} == {""}, "low.npz is no rule's"


def test_pictures_carry_the_same_files_as_the_index(study: tuple[Path, StudySummary]) -> None:
    plots = study[0] / "report/demo/plots"
    for name, entry in json.loads((plots / "sources.json").read_text(encoding="utf-8"))["plots"].items():
        rules = [f" ({i['rule']})" if i["rule"] else "" for i in entry["inputs"]]
        texts = [f"{i['path']} sha256:{i['sha256'][:16]}{r}" for i, r in zip(entry["inputs"], rules, strict=True)]
        assert read_provenance(plots / f"{name}.png")["inputs"] == "; ".join(texts)


def test_the_same_files_give_the_same_index(study: tuple[Path, StudySummary], tmp_path: Path) -> None:
    results, summary = study
    small = replace(summary, runs=summary.runs[:1], pdf=False)
    texts = []
    for workers, name in ((1, "a"), (2, "b")):
        build_report(small, results / "report" / name, workers)
        texts.append((results / "report" / name / "plots/sources.json").read_bytes())
    assert texts[0] == texts[1]
    assert all(set(e["files"]) == {"png"} for e in json.loads(texts[0])["plots"].values())


def test_checksums_are_those_of_the_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "metrics.json"
    path.write_text("[]")
    assert Origins(tmp_path)[str(path)] == report_sources.Origin("metrics.json", "metrics", _sha256(path))
    made = {"stage": "judge_columns", "output": {"bytes": 2, "sha256": "as recorded"}}
    monkeypatch.setattr(report_sources, "read_record", lambda path: made)
    assert Origins(tmp_path)[str(path)] == report_sources.Origin("metrics.json", "judge_columns", "as recorded")
    path.write_text("[1]")
    assert Origins(tmp_path)[str(path)].sha256 == _sha256(path), "another size: no longer what was recorded"


def test_results_are_what_holds_the_folder_of_reports(tmp_path: Path) -> None:
    assert results_of(tmp_path / "results/report/demo") == tmp_path / "results"
    assert results_of(tmp_path / "results/report") == tmp_path / "results"
    assert results_of(tmp_path / "elsewhere") == tmp_path / "elsewhere"
