"""Every plot of a report, and every number in it, leads to the files that it comes from."""

from __future__ import annotations

import hashlib
import json
import pickle
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from test_report import REASON, _run

from calopipe.plots.style import read_provenance
from calopipe.report import StudySummary, build_report
from calopipe.report.links import Links
from calopipe.report.sources import Origin, Origins, Source, Sourced, results_of
from calopipe.workflow.made import Making, record


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, StudySummary]:
    """A results folder with three runs, a report, and the record of one file."""
    results = tmp_path_factory.mktemp("results")
    runs = [_run(results, "eplus", "inn", seed, latent=False) for seed in (0, 1)]
    runs.append(_run(results, "eplus", "vae", 0, latent=True))
    summary = StudySummary("demo", tuple(runs), {"study": "demo"}, dpi=40, pdf=True)
    record(Making("judge_columns", {}, "code"), [runs[0].histograms])
    (results / "report/demo/plots").mkdir(parents=True)
    (results / "report/demo/plots/sources.json").write_text('{"format": 1, "plots": {"stale": {}}}')
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


def test_checksums_are_those_of_the_records(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    path.write_text("[]")
    assert Origins(tmp_path)[str(path)] == Origin("metrics.json", "metrics", _sha256(path))
    record(Making("judge_columns", {}, "code"), [path])
    made = _sha256(path)
    path.write_text("{}")
    found = Origins(tmp_path)[str(path)]
    assert found == Origin("metrics.json", "judge_columns", made), "not read again: it has the recorded size"
    path.write_text("[1]")
    assert Origins(tmp_path)[str(path)].sha256 == _sha256(path), "another size: no longer what was recorded"


def test_results_are_what_holds_the_folder_of_reports(tmp_path: Path) -> None:
    assert results_of(tmp_path / "results/report/demo") == tmp_path / "results"
    assert results_of(tmp_path / "results/report") == tmp_path / "results"
    assert results_of(tmp_path / "elsewhere") == tmp_path / "elsewhere"


# ---- numbers ------------------------------------------------------------------------------------------------------
class _Links(HTMLParser):
    """Every link of a page: address, title and text."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.found: list[tuple[str, str, str]] = []
        self._open: list[str] | None = None
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            found = dict(attributes)
            self._open = [found.get("href") or "", found.get("title") or "", ""]

    def handle_data(self, data: str) -> None:
        if self._open is not None:
            self._open[2] += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "a" and self._open is not None:
            self.found.append((self._open[0], self._open[1], self._open[2]))
            self._open = None

    def of(self, text: str) -> set[tuple[str, str]]:
        """Addresses and titles of the links with this text."""
        return {(href, title) for href, title, shown in self.found if shown == text}


@pytest.fixture(scope="module")
def links(study: tuple[Path, StudySummary]) -> _Links:
    return _Links(study[0] / "report/demo/index.html")


def test_every_link_of_the_page_leads_to_a_file(study: tuple[Path, StudySummary], links: _Links) -> None:
    folder = study[0] / "report/demo"
    addresses = {href for href, _, _ in links.found if not href.startswith("#")}
    assert len(addresses) > 50
    assert [href for href in addresses if Path(href).is_absolute() or not (folder / href).is_file()] == []


def test_numbers_lead_to_the_file_and_the_stage_that_they_come_from(links: _Links) -> None:
    def vae(name: str) -> str:
        return f"../../eplus/vae/0/{name}"

    metrics = (vae("metrics.json"), "metrics.json, made by rule metrics")
    assert links.of("0.00100 ± 0.00010") == {metrics}, "a score of one seed"
    assert links.of("0.800 ± 0.004") == {(vae("low.json"), "low.json")}, "in the table and on the card"
    assert metrics in links.of("0.0010"), "separation powers on the card"
    assert links.of("0.00020") == {("../../eplus/inn/0/metrics.json", metrics[1])}, "the floor of the first score"
    assert links.of(REASON) == {metrics}, "why there is no number; the other model has two files"
    assert (vae("timing.json"), "timing.json, made by rule timing") in links.of("1.80\N{EN DASH}2.50")
    assert any(text.startswith("2.0 ms per shower") and href == vae("timing.json") for href, _, text in links.found)
    assert {href for href, _ in links.of("2.1 min")} == {
        vae("autoencoder.csv"), vae("flow.csv"), "../../eplus/inn/0/flow.csv"
    }, "training times"  # fmt: skip


def test_means_over_seeds_lead_to_the_file_of_each_seed(links: _Links) -> None:
    assert links.of("0.555 ± 0.006") == set(), "of two files"
    for seed in (0, 1):
        found = links.of(f"s{seed}")
        assert (f"../../eplus/inn/{seed}/metrics.json", "metrics.json, made by rule metrics") in found
        assert (f"../../eplus/inn/{seed}/low.json", "low.json") in found
    assert links.of("s2") == set() and {href.split("/")[3] for href, _ in links.of("s0")} == {"inn"}


def test_captions_link_the_files_of_their_plots(study: tuple[Path, StudySummary], links: _Links) -> None:
    index = json.loads((study[0] / "report/demo/plots/sources.json").read_text(encoding="utf-8"))["plots"]
    for path in {i["path"] for entry in index.values() for i in entry["inputs"]}:
        shown = [href for href, _, text in links.found if text == path]
        assert set(shown) == {f"../../{path}"}
        assert len(shown) == sum(path in [i["path"] for i in entry["inputs"]] for entry in index.values())


def test_texts_without_a_file_stay_as_they_are(tmp_path: Path) -> None:
    shown = Links(tmp_path).number
    assert shown("a < b\nrank 1") == 'a &lt; b<br><span class="sub">rank 1</span>'
    assert shown(Sourced("", [Source("a.json", 0), Source("b.json", 1)])) == ""
    (tmp_path / "a.json").write_text("[]")
    assert shown(Sourced("1", [Source("", 0)])) == "1"
    assert (
        shown(Sourced("1", [Source(str(tmp_path / "a.json"))])) == '<a class="src" href="a.json" title="a.json">1</a>'
    )
    (tmp_path / "b #1?.json").write_text("[]")
    assert 'href="b%20%231%3F.json"' in shown(Sourced("1", [Source(str(tmp_path / "b #1?.json"))]))
    assert pickle.loads(pickle.dumps(Sourced("1", [Source("x", 2)]))).sources == (Source("x", 2),)
