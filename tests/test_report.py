"""The report: every part is there, works offline, and says what is missing and why."""

from __future__ import annotations

import dataclasses
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from PIL import ExifTags, Image

from calopipe.errors import ConfigError, DataError
from calopipe.evaluation.averages import Sums, average_showers, cross_sections
from calopipe.geometry import load_geometry
from calopipe.observables import SPECS
from calopipe.plots.style import read_provenance
from calopipe.records.files import write_json, write_npz
from calopipe.records.histograms import Examples, Histogram, save_histograms
from calopipe.records.scores import Score, save_scores
from calopipe.records.slices import Slice
from calopipe.report import RunArtifacts, StudySummary, build_report, figures
from calopipe.report.classifiers import verdict_tasks
from calopipe.report.data import load_study_data
from calopipe.report.figures import dataset_tasks
from calopipe.report.histograms import series_of
from calopipe.report.numbers import format_bytes, format_measurement, format_value
from calopipe.report.pictures import cross_section_tasks, reconstruction_tasks
from calopipe.report.published import published_table
from calopipe.report.sources import Source
from calopipe.report.standing import standing_tables, standing_tasks
from calopipe.report.strongest import in_words
from calopipe.report.summary import verdicts
from calopipe.report.tables import (
    SINGLE,
    Table,
    combine,
    main_groups,
    score_groups,
    small_sample_note,
)
from calopipe.report.timing import timing_rows, timing_tables

REASON = "needs at least 10 000 showers per sample, found 500"


def _run(folder: Path, dataset: str, model: str, seed: int, latent: bool, geometry: str = "calogan") -> RunArtifacts:
    """Write small files of one run and describe them."""
    folder = folder / dataset / model / str(seed)
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    samples = ["reference", "generated", *(["reconstructed"] if latent else [])]
    layout = load_geometry(geometry)
    histograms = [
        Histogram(
            name,
            group,
            "$x$ [MeV]",
            np.linspace(0, 1, 6),
            {s: rng.poisson(50, 5) for s in samples},
            dict.fromkeys(samples, 260),
        )
        for name, group in [("E_ratio", "energies"), ("E_layer/0", "energies"), ("activity/0", "activity")]
    ]
    sums = {s: Sums(layout.n_voxels, 5) for s in samples}
    for s in samples:
        sums[s].add(rng.exponential(1.0, (12, layout.n_voxels)))
    rows, incident = np.array([3, 1]), np.array([2e3, 9e3])
    showers = {s: rng.exponential(1.0, (2, layout.n_voxels)).astype(np.float32) for s in samples}
    examples = Examples(dict.fromkeys(samples, rows), dict.fromkeys(samples, incident), showers)
    pictures = ([average_showers(sums, None)], cross_sections(sums, layout), examples)
    save_histograms(folder / "histograms.npz", histograms, *pictures)
    scores = [
        Score(f"separation_power/{h.name}", 1e-3 * (seed + 1), 1e-4, 5000, seed=0, floor=2e-4) for h in histograms
    ]
    scores.append(Score.absent("kpd", 500, REASON, seed=0))
    save_scores(folder / "metrics.json", scores)
    auc = 0.8 if latent else 0.55 + 0.01 * seed
    save_scores(folder / "low.json", [Score("classifier/low/auc", auc, 0.004, 500, seed=0, floor=0.5)])
    grid = np.linspace(0, 1, 11)
    weights = {f"weights_{k}": rng.lognormal(size=(2, 50)) for k in ("reference", "generated")}
    write_npz(folder / "low.npz", {"fpr": grid, "tpr": np.stack([grid**0.9, grid**0.8]), **weights})
    extreme = ("lowest 10 % of weights", "highest 10 % of weights")
    save_histograms(
        folder / "weights.npz",
        [
            dataclasses.replace(
                h,
                counts=h.counts | {s: rng.poisson(9, 5) for s in extreme},
                totals=h.totals | dict.fromkeys(extreme, 50),
            )
            for h in histograms
        ],
    )
    results = [{"batch_size": 100, "median_ms": 2.0, "low_ms": 1.8, "high_ms": 2.5, "n_repeats": 5}]
    timing = {"device": "AMD", "threads": 2, "results": results, "geant4_ms": 100.0, "peak_memory_MiB": 512.0}
    write_json(folder / "timing.json", timing)
    networks = []
    for name in ("autoencoder", "flow") if latent else ("flow",):
        log = folder / f"{name}.csv"
        log.write_text("epoch,step,train_loss,val_loss,lr,grad_norm,seconds\n0,9,2,1.5,0.1,3,60\n1,19,1,1.2,0.1,2,65\n")
        facts = {"learns": "autoencoder" if latent and name == "flow" else "showers", "given": [], "role": name}
        files = {"checkpoint": str(folder / "nothing.pt"), "history": str(log)}
        networks.append({"name": name, "model": "inn" if name == "flow" else "bernoulli_vae", **facts, **files})
    (folder / "generated.hdf5").write_bytes(b"0" * 2000)
    return RunArtifacts(
        dataset, model, seed, geometry, f"about {model} <b>",
        histograms=str(folder / "histograms.npz"), metrics=str(folder / "metrics.json"),
        classifiers={"low": {"scores": str(folder / "low.json"), "curves": str(folder / "low.npz"),
                             "weights": str(folder / "weights.npz")}},
        timing=str(folder / "timing.json"), networks=networks, generated=str(folder / "generated.hdf5"),
    )  # fmt: skip


class _Page(HTMLParser):
    """Collects addresses, texts and ids; complains about tags that do not match."""

    void = frozenset({"meta", "img", "br", "wbr", "link", "input", "hr"})

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.sources: list[str] = []
        self.ids: list[str] = []
        self.stack: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = dict(attributes)
        self.links += [found["href"] or ""] if "href" in found else []
        self.sources += [found["src"] or ""] if "src" in found else []
        self.ids += [found["id"] or ""] if "id" in found else []
        if tag not in self.void:
            self.stack.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag, f"</{tag}> does not match"

    def handle_data(self, data: str) -> None:
        if self.stack and self.stack[-1] != "style":
            self.text += data


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, StudySummary]:
    folder = tmp_path_factory.mktemp("study")
    runs = [_run(folder, "eplus", "inn", seed, latent=False) for seed in (0, 1)]
    runs.append(_run(folder, "eplus", "vae", 0, latent=True))
    summary = StudySummary("demo", tuple(runs), {"study": "demo", "lr": 1e-3}, ("published",), dpi=50, pdf=False)
    (folder / "report" / "plots").mkdir(parents=True)
    (folder / "report" / "plots" / "stale.png").write_bytes(b"")
    (folder / "report" / "plots" / "thumbnails").mkdir()
    (folder / "report" / "plots" / "thumbnails" / "stale.webp").write_bytes(b"")
    build_report(summary, folder / "report")
    return folder, summary


@pytest.fixture(scope="module")
def page(study: tuple[Path, StudySummary]) -> _Page:
    parser = _Page()
    parser.feed((study[0] / "report" / "index.html").read_text(encoding="utf-8"))
    assert not parser.stack
    return parser


def test_all_sections_are_there(page: _Page) -> None:
    for heading in (
        "What was run", "Table of scores", "Scores", "Energies", "Activity", "Average showers", "Cross sections",
        "Single showers", "Reconstructions", "Networks and their training", "Classifier tests", "Generation time", "Files", "Provenance", "Configuration",
    ):  # fmt: skip
        assert heading in page.text, heading
    assert "published" in page.text and "lr: 0.001" in page.text and "numpy" in page.text
    assert "about vae <b>" in page.text, "descriptions are escaped, not interpreted"


def test_works_offline_and_every_link_leads_somewhere(study: tuple[Path, StudySummary], page: _Page) -> None:
    text = (study[0] / "report" / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"https?://|//cdn|<script|<link|@import|url\(", text)
    assert len(set(page.sources)) > 8  # those of the summary are shown again in their sections
    for source in page.sources:
        assert (study[0] / "report" / source).stat().st_size < 200_000, source
    for link in page.links:
        if link.startswith("#"):
            assert link[1:] in page.ids, link
        else:
            assert not Path(link).is_absolute() and (study[0] / "report" / link).is_file(), link
    assert any(link.endswith("generated.hdf5") for link in page.links)
    assert str(study[0]) not in text, "no absolute paths"


def test_readable_on_a_phone_and_on_paper(study: tuple[Path, StudySummary]) -> None:
    text = (study[0] / "report" / "index.html").read_text(encoding="utf-8")
    assert 'name="viewport"' in text and "@media print" in text and "@media (max-width" in text
    assert text.count("<table") == text.count('<div class="scroll"><table')


def test_pictures_load_late_keep_their_place_and_say_what_they_are(study: tuple[Path, StudySummary]) -> None:
    text = (study[0] / "report" / "index.html").read_text(encoding="utf-8")
    pictures = re.findall(r"<img [^>]*>", text)
    assert len(text) < 100_000 and len(pictures) > 8
    for picture in pictures:
        assert 'loading="lazy"' in picture and re.search(r'alt="Plot\. eplus[^"]{5,}"', picture)
        width, height = (int(x) for x in re.search(r'width="(\d+)" height="(\d+)"', picture).groups())
        source = re.search(r'src="([^"]+)"', picture)[1]
        with Image.open(study[0] / "report" / source) as image:
            assert image.size == (width, height)


def test_scores_have_errors_reasons_and_warnings(page: _Page) -> None:
    assert "0.80 ± 0.004" in page.text or "0.800 ± 0.004" in page.text
    assert "0.555 ± 0.006" in page.text, "mean of two seeds: 0.004 of each and 0.007 / √2 between them"
    assert REASON in page.text
    assert "⚠" in page.text and "fewer than 2000 showers" in page.text
    assert "0.006 s0 s1 ★" in page.text, "the inn is better than the vae by more than the errors"
    assert "1/√" not in page.text and "n = 500 here" in page.text and "4.5 %" in page.text
    assert "not found" in page.text, "a missing checkpoint is said to be missing"
    assert "50" in page.text and "ms per shower" in page.text


def test_plots_carry_provenance_and_stale_ones_are_gone(study: tuple[Path, StudySummary]) -> None:
    pictures = sorted((study[0] / "report" / "plots").glob("*.png"))
    assert len(pictures) > 8 and "stale.png" not in [p.name for p in pictures]
    record = read_provenance(pictures[0])
    assert record["run"] == "demo: eplus" and len(record["config_digest"]) == 12 and "sha256:" in record["inputs"]
    thumbnails = sorted((study[0] / "report" / "plots" / "thumbnails").iterdir())
    assert [p.stem for p in thumbnails] == [p.stem for p in pictures]
    with Image.open(thumbnails[0]) as image:
        found = json.loads(image.getexif()[ExifTags.Base.ImageDescription])
    assert found == {k: v for k, v in record.items() if k != "inputs"} | {"picture": pictures[0].name}


def test_summary_survives_json(study: tuple[Path, StudySummary]) -> None:
    assert StudySummary.from_dict(json.loads(json.dumps(study[1].to_dict()))) == study[1]
    with pytest.raises(ConfigError, match="histogrms.*did you mean 'histograms'"):
        StudySummary.from_dict({"study": "x", "runs": [{"dataset": "a", "model": "b", "seed": 0, "histogrms": "c"}]})
    with pytest.raises(ConfigError, match="runs"):
        StudySummary.from_dict({"study": "x"})


def test_unreadable_files_become_notes(study: tuple[Path, StudySummary], tmp_path: Path) -> None:
    (tmp_path / "broken.npz").write_bytes(b"no")
    run = dataclasses.replace(
        study[1].runs[0],
        histograms=str(tmp_path / "broken.npz"),
        timing=str(tmp_path / "none.json"),
        geometry="nowhere",
    )
    data = load_study_data(StudySummary("x", (run,)))[0]
    assert data.geometry is None and len(data.notes) == 3
    assert "broken.npz" in " ".join(data.notes) and "none.json" in " ".join(data.notes)
    assert {task.section for task in dataset_tasks(data)} == {"scores", "training", "classifiers"}


def test_no_report_without_all_of_its_files(study: tuple[Path, StudySummary], tmp_path: Path) -> None:
    broken = tmp_path / "histograms.npz"
    broken.write_bytes(Path(study[1].runs[0].histograms).read_bytes()[:-100])
    run = dataclasses.replace(study[1].runs[0], histograms=str(broken), timing=str(tmp_path / "timing.json"))
    summary = StudySummary("x", (run,), dpi=40, pdf=False)
    with pytest.raises(DataError, match=r"histograms\.npz.*stage observables writes it anew \(and 1 more files\)"):
        build_report(summary, tmp_path / "report")
    assert not (tmp_path / "report" / "index.html").exists()
    page = build_report(summary, tmp_path / "report", incomplete=True).read_text(encoding="utf-8")
    assert "histograms.npz: not a histogram file" in page and "timing.json: no such file" in page


def test_a_cut_history_is_noticed(study: tuple[Path, StudySummary], tmp_path: Path) -> None:
    whole = Path(study[1].runs[0].networks[-1]["history"]).read_text()
    path = tmp_path / "flow" / "history.csv"
    path.parent.mkdir()
    lines = whole.splitlines(keepends=True)
    training = {"epochs": len(lines) - 1, "patience": None}
    config = {"models": {study[1].runs[0].model: {"networks": {"flow": {"training": training}}}}}
    run = study[1].runs[0]
    run = dataclasses.replace(run, networks=[{**run.networks[-1], "history": str(path)}])
    for text, words in [
        (whole, None),
        (whole[:-1], "ends in the middle of a line"),
        (whole[: len(whole) // 2].rstrip("\n"), "ends in the middle of a line"),
        ("".join(lines[:-1]), "one per epoch"),
        ("".join(lines[:2]) + "3,4\n", "number of columns"),
        ("", "it is empty"),
    ]:
        path.write_text(text)
        notes = load_study_data(StudySummary("x", (run,), config=config))[0].notes
        if words is None:
            assert notes == []
        else:
            assert len(notes) == 1 and words in notes[0] and "stage train writes it anew" in notes[0]


def test_no_runs_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no runs"):
        build_report(StudySummary("empty", ()), tmp_path)


def test_models_and_samples_are_overlaid(study: tuple[Path, StudySummary]) -> None:
    data = load_study_data(study[1])[0]
    series = series_of(data, ("E_ratio", None))
    assert [s.style.label for s in series] == ["inn (2 seeds)", "vae", "vae, reconstructed"]
    assert len(series[0].histograms) == 2 and series[1].style.color == series[2].style.color
    assert series[2].style.dash != "-"


def test_what_classifiers_reveal_is_drawn(tmp_path: Path) -> None:
    scores = [
        Score("multiclass/log_posterior", v, 0.01, 500, seed=0, sample=n)
        for n, v in (("reference", -1.0), ("inn", -1.2))
    ]
    save_scores(tmp_path / "compare.json", scores)
    names = np.array(["reference", "inn", "vae"])
    write_npz(tmp_path / "compare.npz", {"names": names, "confusion": np.ones((2, 3, 3)), "log_posterior": names})
    files = {"comparison": str(tmp_path / "compare.json"), "confusion": str(tmp_path / "compare.npz")}
    runs = [_run(tmp_path, "eplus", model, 0, latent=False) for model in ("inn", "vae")]
    runs = [dataclasses.replace(run, **files, compared_as=run.model) for run in runs]
    data = load_study_data(StudySummary("x", tuple(runs)))[0]
    tasks = {task.name: task for task in verdict_tasks(data)}
    assert {"eplus_inn_extreme_weights_low_1", "eplus_vae_extreme_weights_low_1", "eplus_ranking"} <= set(tasks)
    assert [name for name in tasks if "confusion" in name] == ["eplus_confusion"], "one for both runs"
    series = tasks["eplus_inn_extreme_weights_low_1"].args[0][0]
    assert [s.style.label for s in series] == ["inn", "lowest 10 % of weights", "highest 10 % of weights"]
    assert [entry.label for entry in tasks["eplus_ranking"].args[0]] == ["Geant4", "inn"]
    assert all(task.function(*task.args) for task in tasks.values())
    columns = data.score_columns()
    assert [s.value for s in columns["inn", "generated"][0] if s.name == "multiclass/log_posterior"] == [-1.2]


def test_classifier_without_curves_is_left_out(study: tuple[Path, StudySummary], tmp_path: Path) -> None:
    nothing = np.empty((0, 0))
    curves = {
        "fpr": np.linspace(0, 1, 5),
        "tpr": np.empty((0, 5)),
        "weights_reference": nothing,
        "weights_generated": nothing,
    }
    write_npz(tmp_path / "low.npz", curves)
    paths = {"low": {"scores": study[1].runs[0].classifiers["low"]["scores"], "curves": str(tmp_path / "low.npz")}}
    run = dataclasses.replace(study[1].runs[0], classifiers=paths)
    assert "classifiers" not in {t.section for t in dataset_tasks(load_study_data(StudySummary("x", (run,)))[0])}


def test_a_section_is_one_line(
    study: tuple[Path, StudySummary], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = Table(
        ("Submission", "FPD"), (("ours & theirs", "1.0"), ("x", "")), caption="Set 2", note="why", marked=frozenset({0})
    )
    mine = figures.Section("place", "Place", lambda data: (), lambda data: [table])
    monkeypatch.setattr("calopipe.report.page.SECTIONS", (mine,))
    monkeypatch.setattr(figures, "SECTIONS", (mine,))
    build_report(StudySummary("x", study[1].runs[:1]), tmp_path)
    text = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert 'href="#d1-place">Place</a>' in text and "Set 2" in text and 'class="note">why' in text
    assert re.search(r'<tr class="marked"><th scope=row>ours &amp; theirs</th><td class="num">1.0</td></tr>', text)
    assert not list((tmp_path / "plots").glob("*.png"))


def test_single_energies_share_a_page_and_slices_have_their_own(tmp_path: Path) -> None:
    run = _run(tmp_path, "ds1", "inn", 0, latent=False)
    counts, totals = {k: np.ones(2) for k in ("reference", "generated")}, {"reference": 2, "generated": 2}
    slices = [None, *map(Slice.of_energies, (256.0, 512.0, 1e3), (256.0, 512.0, 2e3))]
    found = [Histogram("E_ratio", "energies", "x", np.arange(3.0), counts, totals, part=s) for s in slices]
    save_histograms(Path(run.histograms or ""), found)
    tasks = [t for t in dataset_tasks(load_study_data(StudySummary("x", (run,)))[0]) if t.section == "energies"]
    assert [t.wide for t in tasks] == [False, True, False], "a page of one panel is a single figure"
    assert len(tasks[1].args[0]) == 2 and "single incident energies" in tasks[1].caption
    assert "1–2 GeV" in tasks[2].caption


def test_scores_of_slices_have_groups_of_their_own() -> None:
    low, theta = Slice.of_energies(1e3, 5e3), Slice("incident_theta", 0.5, 1.0)
    scores = [
        Score(f"{metric}{end}", 0.1, 0.01, 5000, extra={} if part is None else {"slice": dataclasses.asdict(part)})
        for part in (low, theta, None)
        for metric in ("energy_response/mean_difference", "energy_response/width_difference", "fpd")
        for end in ["" if part is None else f"/{part}"]
    ]
    groups = score_groups({("m", "generated"): [scores]})
    labels = {g.name: [r.label for r in g.rows] for g in groups}
    both = ["mean_difference", "width_difference"]
    assert labels == {
        "energy_response": both,
        SINGLE: ["fpd/1000-5000MeV", "fpd/incident_theta=0.5-1", "fpd"],
        "energy_response, 1\N{EN DASH}5 GeV": both,
        "energy_response, \N{GREEK SMALL LETTER THETA} 0.5\N{EN DASH}1 rad": both,
    }


def test_errors_of_cross_sections_are_statistical_for_one_seed_and_the_spread_for_several(
    study: tuple[Path, StudySummary],
) -> None:
    data = load_study_data(study[1])[0]
    task = next(t for t in cross_section_tasks(data) if "cross_sections" in t.name)
    panel = task.args[0][1]  # rows of layer 0 along eta
    (two, inn), (_, vae), (_, again) = panel.samples
    assert two.label == "inn (2 seeds)" and len(panel.edges) == 97
    seeds = [s.cross_sections[0, "eta"] for s in data.models[0].seeds]
    rows = np.stack([c.mean["generated"][1] for c in seeds])
    np.testing.assert_allclose(inn.mean, rows.mean(axis=0))
    np.testing.assert_allclose(inn.error, np.abs(rows[1] - rows[0]) / np.sqrt(2))
    np.testing.assert_allclose(vae.error, vae.std / np.sqrt(12))
    assert not np.allclose(vae.mean, again.mean)


def test_reconstructions_need_the_rows_they_are_of(study: tuple[Path, StudySummary]) -> None:
    data = load_study_data(study[1])[0]
    assert [t.name for t in reconstruction_tasks(data)] == ["eplus_vae_reconstruction_1"]
    examples = data.models[1].seeds[0].examples
    other = dataclasses.replace(examples, rows={**examples.rows, "reconstructed": examples.rows["reference"] + 1})
    data.models[1].seeds[0].examples = other
    assert not list(reconstruction_tasks(data))


def test_many_layers_are_thinned(tmp_path: Path) -> None:
    run = _run(tmp_path, "ds2", "inn", 0, latent=False, geometry="calochallenge2")
    names = [f"E_layer/{i}" for i in range(45)]
    counts = {"reference": np.ones(2), "generated": np.ones(2)}
    totals = {"reference": 2, "generated": 2}
    found = [Histogram(n, "energies", "x", np.arange(3.0), counts, totals) for n in names]
    save_histograms(Path(run.histograms or ""), found)
    save_scores(Path(run.metrics or ""), [Score(f"separation_power/{n}", 1e-3, 1e-4, 5000) for n in names])
    tasks = dataset_tasks(load_study_data(StudySummary("x", (run,)))[0])
    assert len([t for t in tasks if t.section == "energies" and not t.wide]) == 6
    assert [t.name for t in tasks if t.section == "scores"] == ["ds2_separation_layers"]


# ---- numbers and tables -------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (0.57034, 0.00412, "0.570 ± 0.004"),
        (0.57034, 0.0123, "0.570 ± 0.012"),
        (0.827, 0.119, "0.83 ± 0.12"),
        (0.827, 0.367, "0.8 ± 0.4"),
        (0.5, 0.0967, "0.50 ± 0.10"),
        (0.5, 0.00996, "0.500 ± 0.010"),
        (12345.0, 2345.0, "12300 ± 2300"),
        (1.523e-5, 1.31e-6, "(1.52 ± 0.13) × 10⁻⁵"),
        (123456.0, 2345.0, "(1.235 ± 0.023) × 10⁵"),
        (-0.034, 0.0021, "−0.0340 ± 0.0021"),
        (3.2, None, "3.20"),
        (0.0, 0.0, "0"),
    ],
)
def test_values_are_rounded_to_their_errors(value: float, error: float | None, text: str) -> None:
    assert format_measurement(value, error) == text


def test_other_numbers() -> None:
    assert [format_value(x) for x in (105, 0.09996, 1.2e-5)] == ["105", "0.100", "1.20 × 10⁻⁵"]
    assert [format_bytes(x) for x in (999, 5_600_000)] == ["999 B", "5.6 MB"]


def _table(*values: tuple[float, float | None], name: str = "fpd") -> str:
    columns = {(f"m{i}", "generated"): [[Score(name, v, e, 5000)]] for i, (v, e) in enumerate(values)}
    columns["m0", "reconstructed"] = [[Score(name, 0.0, 0.1, 5000, sample="reconstructed")]]
    cells = score_groups(columns)[0].rows[0].cells
    return "".join("*" if cell.best else "+" if cell.tied else "-" for cell in cells)


def test_best_of_a_row_is_marked_alone_or_with_its_equals() -> None:
    assert _table((0.1, 0.01), (0.3, 0.01), (0.105, 0.01)) == "+-+-", "two share the first place"
    assert _table((0.1, 0.01), (0.3, 0.01), (0.12, 0.01)) == "*---"
    assert _table((0.1, 0.01), (0.114, 0.01)) == "++-", "1.4 errors of one, but within the combined one"
    assert _table((0.6, 0.001), (0.45, 0.001), name="classifier/low/auc") == "-*-"
    assert _table((0.6, 0.001)) == "--", "one model alone is not the best"
    assert _table((0.1, 0.01), (0.3, None)) == "---", "nothing is claimed without an error"
    assert Score("x", 1.0, None, 5, extra={"target": 2.0}).target == 2.0


def test_metrics_of_one_score_share_a_group() -> None:
    names = ("fidelity/E_tot", "fidelity/depth", "fpd", "kpd", "classifier/low/auc")
    groups = score_groups({("m", "generated"): [[Score(name, 0.5, 0.1, 5000) for name in names]]})
    found = [(g.name, [r.name for r in g.rows]) for g in groups]
    assert found == [("classifier", ["classifier/low/auc"]), ("fidelity", list(names[:2])), (SINGLE, ["fpd", "kpd"])]


def test_small_samples_say_what_their_size_means() -> None:
    note = small_sample_note([Score("fpd", 1.0, 0.1, 400), Score("fpd", 1.0, 0.1, 900)])
    assert "n = 400" in note and "5 % of the spread" in note and "to 50 %" in note and "AUC" not in note
    auc = Score("classifier/low/auc", 0.6, 0.1, 500, extra={"n_test": 100})
    assert "100 showers of each, scatters by ±0.041" in small_sample_note([auc])
    rng = np.random.default_rng(0)
    scatter = [np.mean(rng.random(100)[:, None] > rng.random(100)) for _ in range(500)]
    assert np.std(scatter) == pytest.approx(0.041, rel=0.1)
    assert small_sample_note([Score("fpd", 1.0, 0.1, 5000), Score.absent("kpd", 5, "why")]) == ""


def test_unequal_and_small_samples_are_flagged() -> None:
    columns = {
        ("a", "generated"): [[Score("fpd", 1.0, 0.1, 100)]],
        ("b", "generated"): [[Score("fpd", 1.0, 0.1, 5000)]],
    }
    row = score_groups(columns)[0].rows[0]
    assert row.small and row.unequal and "100" in row.n


def test_seeds_are_combined_and_long_groups_shortened() -> None:
    assert combine([Score("a", 1.0, 0.5, 9), Score("a", 3.0, 0.5, 9)]) == (2.0, pytest.approx(np.sqrt(0.25 + 2 / 2)))
    assert combine([Score("a", 1.0, 0.5, 9), Score("a", 1.0, 0.3, 9)]) == (1.0, 0.4)
    assert combine([Score.absent("a", 9, "why")]) is None
    scores = [Score(f"separation_power/{n}", 1.0, 0.1, 5000) for n in ["E_ratio", *(f"EC_eta/{i}" for i in range(20))]]
    group = main_groups(score_groups({("a", "generated"): [scores]}))[0]
    assert [r.name for r in group.rows] == ["separation_power/E_ratio"] and group.rest == 20


def test_timing_rows_give_the_ratio_to_geant4() -> None:
    result = {"batch_size": 10, "median_ms": 2.0, "low_ms": 1.0, "high_ms": 3.0, "n_repeats": 5}
    chain = {**result, "networks_ms": {"flow": 1.25, "vae": 0.5}}
    rows = timing_rows(
        [("inn", {"results": [result], "geant4_ms": 100.0}), ("vae", {"results": [chain], "geant4_ms": None})]
    )
    assert [r.networks for r in rows] == ["", "flow 1.2, vae 0.50"]
    assert [r.ratio for r in rows] == ["50", ""] and rows[0].time == "2.00"


def test_the_table_of_times_has_a_row_of_geant4() -> None:
    result = {"batch_size": 1, "median_ms": 2.0, "low_ms": 1.0, "high_ms": 3.0, "n_repeats": 5}

    def table(**known: Any) -> Table:
        record = {"results": [result], "device": "AMD", "threads": 2, **known}
        seed = SimpleNamespace(timing=record, source=Source)
        model = SimpleNamespace(name="inn", timed=seed)
        wording = SimpleNamespace(one="shower")
        (found,) = timing_tables(cast(Any, SimpleNamespace(models=[model], geometry=object(), wording=wording)))
        assert {len(row) for row in found.rows} == {len(found.columns)}
        return found

    found = table(geant4_ms=791.0, geant4_source="a paper, table 6.1")
    at = [found.columns.index(name) for name in ("Model", "Device", "ms per shower", "Geant4 / model")]
    assert [[row[k] for k in at] for row in found.rows] == [
        ["inn", "AMD, 2 threads", "2.00", "396"], ["Geant4", "a paper, table 6.1", "791", ""],
    ]  # fmt: skip
    assert "a paper, table 6.1" in found.note
    assert len(table().rows) == 1 and "not known" in table().note


def test_precision_is_best_at_what_two_reference_samples_give() -> None:
    floor = {"extra": {"target": 0.70}, "floor": 0.70}
    columns = {
        ("sharp", "generated"): [[Score("prdc/precision", 0.95, 0.01, 5000, **floor)]],
        ("right", "generated"): [[Score("prdc/precision", 0.72, 0.01, 5000, **floor)]],
        ("broad", "generated"): [[Score("prdc/precision", 0.60, 0.01, 5000, **floor)]],
    }
    row = score_groups(columns)[0].rows[0]
    assert [c.best for c in row.cells] == [False, True, False]
    assert row.floor == "0.70"


def test_a_distance_below_its_floor_is_no_worse_than_at_it() -> None:
    columns = {
        (f"m{value}", "generated"): [[Score("fpd", value, 0.001, 5000, floor=0.10)]] for value in (0.09, 0.11, 0.20)
    }
    assert [c.best for c in score_groups(columns)[0].rows[0].cells] == [True, False, False]


def test_latent_size_stands_beside_the_dimension() -> None:
    columns = {
        ("latent", "generated"): [
            [Score("intrinsic_dimension/raw", 9.0, 0.1, 5000, seed=s, extra={"latent_size": 24, "target": 10.0})]
            for s in range(2)
        ],
        ("voxels", "generated"): [[Score("intrinsic_dimension/raw", 8.0, 0.1, 5000, extra={"latent_size": None})]],
    }
    assert [c.remark for c in score_groups(columns)[0].rows[0].cells] == ["latent size 24", ""]


def _challenge_scores(run: RunArtifacts, auc: float) -> None:
    seed = run.seed
    scores = [
        Score("fpd", 3e-3 + 1e-4 * seed, 1e-4, 9000, seed=seed),
        Score("challenge_separation/voxels", 1e-3, 1e-4, 9000, seed=seed),
        Score("prdc/precision", 0.70, 0.01, 9000, seed=seed, extra={"target": 0.7}),
    ]
    save_scores(Path(run.metrics), scores)
    extra = {"calibrated": [auc + 0.01 * seed]}
    save_scores(
        Path(run.classifiers["low"]["scores"]), [Score("classifier/low/auc", 0.9, 0.01, 9000, seed=seed, extra=extra)]
    )


def test_datasets_of_the_challenge_are_placed_among_its_submissions(tmp_path: Path) -> None:
    geometry = "calochallenge1_photons"
    runs = [_run(tmp_path, "photons", "inn", seed, False, geometry) for seed in range(2)]
    runs.append(_run(tmp_path, "photons", "other", 0, False, geometry))
    for run in runs:
        _challenge_scores(run, 0.55 if run.model == "inn" else 0.99)
    data = load_study_data(StudySummary("s", runs))[0]
    (table,) = standing_tables(data)
    assert table.columns == ("Score", "inn", "other", "best published", "GEANT4")
    cells = {row[0]: row[1:] for row in table.rows}
    assert cells["AUC low"][0].startswith("0.555 ± 0.011\N{DAGGER}\nrank "), "calibrated AUCs of both seeds"
    rank = {name: int(re.search(r"rank (\d+) of", cells[name][0])[1]) for name in ("AUC low", "FPD x 1e3", "precision")}
    published = published_table("1-photons").submissions
    better = [s for s in published if abs(s.values.get("binary cls low", (9, None))[0] - 0.5) < 0.055]
    assert rank["AUC low"] == 1 + len(better)
    assert rank["precision"] == 1, "nearest to Geant4's own 0.704"
    assert "\N{DAGGER}" in table.note and "other" not in cells["AUC low"][2]
    qualities = ("classifier_low", "fpd", "challenge_separation_voxels")
    assert [task.name for task in standing_tasks(data)] == [f"photons_quality_speed_{q}" for q in qualities]
    tests = [run.classifiers["low"]["scores"] for run in runs]
    assert [s.path for s in cells["AUC low"][0].sources] == tests[:2], "the files of both seeds"
    assert not hasattr(cells["AUC low"][2], "sources"), "published numbers are in no file of the study"
    (drawn,) = (task.sources for task in standing_tasks(data) if task.name.endswith("classifier_low"))
    assert set(drawn) == {*tests, runs[0].timing, runs[2].timing}
    contenders = next(iter(standing_tasks(data))).kwargs["contenders"]
    assert [(c.name, c.other_data) for c in contenders if c.own] == [("inn", True), ("other", True)]


def test_other_calorimeters_have_no_place_in_the_challenge(study: tuple[Path, StudySummary]) -> None:
    for data in load_study_data(study[1]):
        assert not list(standing_tasks(data)) and not list(standing_tables(data))


# ---- the summary at the top -----------------------------------------------------------------------------------------
def _power(hits_seen: bool) -> dict:
    entry = {"text": "10 % more hits in layer 2", "auc": 0.6 if hits_seen else 0.503, "error": 0.01, "seen": hits_seen}
    floor = {"text": "two samples", "auc": 0.498, "error": 0.01, "seen": False}
    return {"n_reference": 500, "n_distorted": 500, "floor": floor, "distortions": {"hits": entry}}


def test_the_summary_names_the_strongest_test_what_is_far_and_what_is_not_seen(tmp_path: Path) -> None:
    runs = [_run(tmp_path, "eplus", "inn", 0, False)]
    folder = Path(runs[0].metrics).parent
    tests = {
        "low": Score("classifier/low/auc", 0.49, 0.02, 500, seed=0, floor=0.5, extra={"power": _power(False)}),
        "trees": Score("classifier/trees/auc", 0.8, 0.01, 500, seed=0, floor=0.5,
                       extra={"power": _power(True), "resolves": 0.036}),
        "noisy": Score("classifier/noisy/auc", 0.85, 0.2, 500, seed=0, floor=0.5),
    }  # fmt: skip
    for name, score in tests.items():
        save_scores(folder / f"{name}.json", [score])
        runs[0].classifiers[name] = {"scores": str(folder / f"{name}.json")}
    separations = [Score(f"separation_power/{n}", s, 0.01, 500, seed=0, floor=0.005)
                   for n, s in (("E_ratio", 0.3), ("E_layer/0", 0.1), ("activity/0", 0.006))]  # fmt: skip
    alone = Score("fpd", 1.6, 0.4, 500, seed=0, floor=0.3, extra={"one_feature": "90% of it is one of 362 features"})
    save_scores(Path(runs[0].metrics), [*separations, alone])
    (data,) = load_study_data(StudySummary("s", runs))
    (verdict,) = verdicts(data, [])
    assert (verdict.test, verdict.auc, verdict.floor) == ("trees", "0.800 ± 0.010", "0.498 ± 0.010")
    assert "80 of 100" in verdict.reading and "0.600 ± 0.010" in verdict.sees and not verdict.blind
    assert [(f.name, f.clear) for f in verdict.far] == [
        ("E_ratio", True),
        ("E_layer/0", True),
        ("activity/0", False),
    ], "activity is at its floor"
    assert verdict.far[1].text == "energy, layer 0" and verdict.far[0].errors == "29 errors from Geant4"
    assert verdict.far[2].errors == "0.10 errors from Geant4: may be chance"
    assert any("within 0.04 of 0.5" in w for w in verdict.warnings)
    rows = {r.name: r for g in score_groups(data.score_columns()) for r in g.rows}
    assert rows["classifier/low/auc"].note == "blind to: 10 % more hits in layer 2 (0.503 ± 0.010)"
    assert rows["classifier/noisy/auc"].note == "what it is blind to was not measured"
    assert rows["fpd"].note == "90% of it is one of 362 features"
    assert rows["classifier/trees/auc"].note == "" and rows["classifier/trees/auc"].floor == "0.498 ± 0.010"


def test_every_observable_has_a_name_in_words() -> None:
    assert not [name for name in SPECS if not name.startswith("brightest") and in_words(name) == name.replace("_", " ")]


def test_a_test_that_sees_nothing_crowns_nobody() -> None:
    def columns(seen: bool) -> dict:
        aucs = {"a": 0.5, "b": 0.7}
        return {(m, "generated"): [[Score("classifier/low/auc", v, 0.01, 9000, extra={"power": _power(seen)})]]
                for m, v in aucs.items()}  # fmt: skip

    for seen in (True, False):
        cells = score_groups(columns(seen))[0].rows[0].cells
        assert [c.best for c in cells] == [seen, False]


def test_an_auc_clearly_below_one_half_is_a_warning_and_a_missing_test_says_why(tmp_path: Path) -> None:
    runs = [_run(tmp_path, "eplus", "inn", 0, False)]
    score = Score("classifier/low/auc", 0.4, 0.01, 500, seed=0, floor=0.5)
    save_scores(Path(runs[0].classifiers["low"]["scores"]), [score])
    missing = Path(runs[0].metrics).parent / "trees.json"
    save_scores(missing, [Score.absent("classifier/trees/auc", 12, "needs 20 showers")])
    runs[0].classifiers["trees"] = {"scores": str(missing)}
    health = missing.with_name("health.json")
    health.write_text('{"findings": [{"check": "empty", "sample": "generated", "text": "generated: half is empty"}]}')
    runs[0] = replace(runs[0], health=str(health))
    (data,) = load_study_data(StudySummary("s", runs))
    warnings = verdicts(data, [])[0].warnings
    assert warnings[0] == "generated: half is empty", "the health check comes first"
    assert any("not independent" in w for w in warnings) and any("needs 20 showers" in w for w in warnings)


def test_the_summary_says_which_seed_is_unusual_and_what_scores_do_not_see(tmp_path: Path) -> None:
    runs = [_run(tmp_path, "eplus", "inn", seed, False) for seed in (0, 1)]
    for i, lines in enumerate((["half is empty", "copies"], ["half is empty"])):
        path = Path(runs[i].metrics).parent / "health.json"
        found = [{"check": "x", "sample": "generated", "text": line} for line in lines]
        path.write_text(json.dumps({"findings": found, "samples": {}}))
        runs[i] = replace(runs[i], health=str(path))
    extra = {"outside_reference": 0.0, "outside_generated": 0.5}
    extra |= {"inside_per_shower_reference": 1.0, "inside_per_shower_generated": 0.5}
    save_scores(Path(runs[0].metrics), [Score("separation_power/E_ratio", 0.01, 0.01, 500, seed=0, extra=extra)])
    (data,) = load_study_data(StudySummary("s", runs))
    warnings = verdicts(data, [])[0].warnings
    assert warnings[:2] == ("half is empty", "seed 0: copies")
    assert warnings[2].startswith("seed 0: separation_power/E_ratio: these scores do not see")


def test_a_seed_without_a_value_does_not_improve_the_mean() -> None:
    good, bad = Score("fpd", 0.1, 0.01, 500), Score.absent("fpd", 500, "features are not finite")
    cell = score_groups({("inn", "generated"): [[good], [bad], [good]]})[0].rows[0].cells[0]
    assert cell.value is None and cell.reason == "1 of 3 seeds have no value: features are not finite"
    assert score_groups({("inn", "generated"): [[good], [good]]})[0].rows[0].cells[0].value == pytest.approx(0.1)
