"""``calopipe provenance``: from a result back to raw files, what of it is no longer right, and how it is made again."""

from __future__ import annotations

import json
import shutil
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from calopipe.cli import main
from calopipe.errors import DataError
from calopipe.io.checksum import file_hash
from calopipe.provenance.chain import chain_of
from calopipe.provenance.graph import graph_svg
from calopipe.provenance.rerun import rerun_command
from calopipe.provenance.text import as_data, as_text
from calopipe.provenance.verify import nodes_below, verify
from calopipe.workflow.made import Making, configuration, record, record_of

JOB = {
    "study": "toy", "configuration": "0" * 12, "results": "results", "start": "2026-01-02T03:04:05+00:00",
    "end": "2026-01-02T03:04:07+00:00", "device": "cpu", "threads": 2, "version": "0.1.0+gabcdefg",
    "commit": {"commit": "a" * 40, "dirty": True, "changes": "123456789abc"}, "versions": {"python": "3.13.0"},
    "machine": {"cpu": "Some CPU", "system": "Linux"},
}  # fmt: skip


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Raw file -> manifest -> showers -> scores -> a report with one plot; the working folder is the study's."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "raw.hdf5").write_bytes(b"raw")
    manifest, showers, scores = (
        Path("results") / p for p in ("raw.json", "showers.hdf5", "toy/inn/seed0/metrics.json")
    )
    scores.parent.mkdir(parents=True)
    raw = {"path": "raw.hdf5", "sha256": file_hash("raw.hdf5"), "url": None}
    manifest.write_text(json.dumps({"kind": "local", "files": [raw]}))
    record(
        Making("fetch", {}, "c1", {"h5py": "3.1"}, ["raw.hdf5"], {"dataset": "toy", "role": "source"}),
        [manifest],
        (),
        JOB,
    )
    showers.write_bytes(b"showers")
    record(Making("prepare", {"split": {"seed": 3}}, "c2", {}, (), {"dataset": "toy"}), [showers], [manifest], JOB)
    scores.write_text('{"auc": 0.61}')
    wildcards = {"dataset": "toy", "model": "inn", "seed": "0"}
    record(Making("metrics", {"seed": 5}, "c3", {"numpy": "2.1"}, (), wildcards), [scores], [showers], JOB)
    page, plots = Path("results/report/toy/index.html"), Path("results/report/toy/plots")
    plots.mkdir(parents=True)
    page.write_text("<html>")
    (plots / "roc.png").write_bytes(b"picture")
    source = {"path": "toy/inn/seed0/metrics.json", "rule": "metrics", "sha256": file_hash(scores)}
    entry = {
        "caption": "ROC",
        "section": "classifiers",
        "files": {"png": file_hash(plots / "roc.png")},
        "inputs": [source],
    }
    (plots / "sources.json").write_text(json.dumps({"format": 1, "plots": {"roc": entry}}))
    record(Making("report", {"config": {}, "dpi": 60}, "c4"), [page, plots], [scores], JOB)
    return tmp_path


SCORES = Path("results/toy/inn/seed0/metrics.json")
PLOT = Path("results/report/toy/plots/roc.png")


def test_the_chain_goes_back_to_the_raw_file(study):
    chain = chain_of(SCORES)
    assert [node.stage for node in chain.nodes.values()] == ["metrics", "prepare", "fetch", ""]
    (raw,) = chain.raw
    assert raw.path == "raw.hdf5" and raw.sha256 == file_hash("raw.hdf5") and raw.note == "local file"
    text = as_text(chain)
    for part in (
        "metrics dataset=toy model=inn seed=0", "2026-01-02 03:04:05 to 03:04:07 UTC (2 s)", "device cpu, 2 threads, Some CPU",
        f"commit {'a' * 40} with changes 123456789abc", "numpy 2.1", "split: {seed: 3}", raw.sha256, "Python 3.13.0",
    ):  # fmt: skip
        assert part in text, part
    data = as_data(chain)
    assert data["jobs"]["prepare dataset=toy"]["settings"] == {"split": {"seed": 3}}
    assert data["files"]["results/showers.hdf5"]["inputs"] == {"results/raw.json": file_hash("results/raw.json")}
    json.dumps(data)


def test_a_plot_comes_from_the_files_it_was_drawn_from(study):
    chain = chain_of(PLOT)
    assert chain.result.note == "ROC" and list(chain.nodes)[1] == str(SCORES)
    assert chain_of(PLOT.parent).result.stage == "report"


@pytest.mark.parametrize("path", [SCORES, PLOT, Path("results/showers.hdf5")])
def test_a_copy_is_known_by_its_contents(study, tmp_path, path):
    copied = tmp_path / f"elsewhere{path.suffix}"
    shutil.copy(path, copied)
    chain = chain_of(copied)
    assert chain.result.path == str(path) and "by its contents" in chain.found
    copied.write_bytes(b"something else")
    with pytest.raises(DataError, match=r"nothing says what made it: .*no record below results has its contents"):
        chain_of(copied)
    with pytest.raises(DataError, match="no such file"):
        chain_of(tmp_path / "missing")


def test_the_drawing_is_one_of_all_files(study):
    chain = chain_of(SCORES)
    tree = ElementTree.fromstring(graph_svg(chain, {"results/showers.hdf5": "changed"}))
    groups = [g.get("class") for g in tree.iter("{http://www.w3.org/2000/svg}g")]
    assert sorted(groups) == ["", "raw", "result", "wrong"]
    assert len(list(tree.iter("{http://www.w3.org/2000/svg}path"))) == 3


def whats(report) -> dict[str, str]:
    return {f.path: f.what.partition(" (")[0] for f in report.findings}


def test_untouched_files_are_right(study):
    report = verify(nodes_below(Path("results")))
    assert not report.findings and report.checked == 7
    assert any("no configuration is at hand" in note for note in report.notes)
    Path("raw.hdf5").rename("moved.hdf5")
    report = verify(nodes_below(Path("results")))
    assert not report.findings and any("raw.hdf5: not on this machine" in note for note in report.notes)


def test_whatever_was_changed_is_named(study):
    SCORES.write_text('{"auc": 0.51}')
    PLOT.write_bytes(b"another plot")
    Path("results/showers.hdf5").unlink()
    Path("raw.hdf5").write_bytes(b"RAW")
    assert whats(verify(nodes_below(Path("results")))) == {
        str(SCORES): "changed after it was made",
        str(PLOT.parent): "changed after it was made",
        str(PLOT): "changed after it was made",
        "results/showers.hdf5": "missing",
        "results/raw.json": "made from another raw.hdf5",
        "raw.hdf5": "another content",
    }


def test_what_was_made_of_something_else_is_named(study):
    showers = Path("results/showers.hdf5")
    showers.write_bytes(b"swapped, with its record")
    record(
        Making("prepare", {"split": {"seed": 3}}, "c2", {}, (), {"dataset": "toy"}),
        [showers],
        ["results/raw.json"],
        JOB,
    )
    assert whats(verify(chain_of(SCORES).nodes.values())) == {str(SCORES): f"made from another {showers}"}
    record_of(showers).unlink()
    found = whats(verify(chain_of(SCORES).nodes.values()))
    assert found == {str(SCORES): f"made from another {showers}", str(showers): "another content"}


def test_a_result_is_made_again_by_a_command(study, monkeypatch, tmp_path):
    with pytest.raises(DataError, match="the configuration that it was made with is missing"):
        rerun_command(chain_of(SCORES))
    kept = configuration("results", "0" * 12)
    kept.parent.mkdir(parents=True)
    kept.write_text("study: toy\n")
    (tmp_path / "workflow").mkdir()
    (tmp_path / "workflow/Snakefile").touch()
    wanted = f"snakemake --configfile {kept} --cores all --force"
    assert rerun_command(chain_of(SCORES)) == f"{wanted} {SCORES}"
    assert rerun_command(chain_of(PLOT)) == f"{wanted} {PLOT.parent}"
    monkeypatch.chdir(tmp_path / "results")
    assert rerun_command(chain_of(Path("toy/inn/seed0/metrics.json"))) == f"cd .. && {wanted} {SCORES}"


def test_the_command(study, capsys):
    assert main(["provenance", str(SCORES)]) == 0 and "raw.hdf5" in capsys.readouterr().out
    assert main(["provenance", "results", "--verify"]) == 0
    assert "7 files are what their records say" in capsys.readouterr().out
    assert main(["provenance", str(PLOT), "--json", "--verify", "--graph", "chain.svg"]) == 0
    assert json.loads(capsys.readouterr().out)["verified"]["findings"] == [] and Path("chain.svg").is_file()
    SCORES.write_text('{"auc": 0.51}')
    assert main(["provenance", str(PLOT), "--verify"]) == 1
    out, err = capsys.readouterr()
    assert f"{SCORES}: changed after it was made" in out and "1 of 5 files are not what they should be" in err
    assert main(["provenance", "missing.json"]) == 1
    Path("empty").mkdir()
    assert main(["provenance", "empty", "--verify"]) == 1
    assert main(["provenance", "results", "--verify", "--rerun"]) == 1
    assert "for one file" in capsys.readouterr().err
