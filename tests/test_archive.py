"""``calopipe archive``: a study as one folder or ZIP file; here one that has only begun, with raw files from elsewhere."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from pathlib import Path

import h5py
import pytest
import ro_crate
import yaml

from calopipe.archive import folder as writing
from calopipe.archive.check import check_archive
from calopipe.archive.contents import contents_of
from calopipe.archive.crate import METADATA
from calopipe.archive.moves import Moves
from calopipe.cli import main
from calopipe.errors import DataError
from calopipe.io.prepare import prepare
from calopipe.origin import HOME
from calopipe.provenance.chain import chain_of
from calopipe.provenance.verify import nodes_below, verify
from calopipe.records.files import write_json
from calopipe.scripting import configuration_text
from calopipe.sources import fetch, read_manifest
from calopipe.workflow import Plan
from calopipe.workflow.made import code_table, configuration, keep, read_record, record

ROOT = Path(__file__).resolve().parents[1]
SAMPLE = ROOT / "resources/calogan_eplus_sample.hdf5"
TINY = yaml.safe_load((ROOT / "tests/tiny.yaml").read_text(encoding="utf-8"))
MANIFEST = Path("results/data/eplus/raw/source.json")
TRAIN = Path("results/data/eplus/train.hdf5")


def begin(study: dict, results: str = "results") -> Plan:
    """Run the first two stages of a study in the working folder, as their scripts do."""
    Path("mine.yaml").write_text(yaml.safe_dump({**study, "results": results}), encoding="utf-8")
    plan = Plan.load({**study, "results": results}, HOME / "presets", files=False)
    resolved = plan.configuration()
    job = {"study": "tiny", "configuration": "c" * 12, "results": results, "start": "2026-01-02T03:04:05+00:00",
           "end": "2026-01-02T03:04:07+00:00", "versions": {"snakemake": "9.0"}}  # fmt: skip
    keep(configuration(results, "c" * 12), lambda: configuration_text(resolved))
    manifest = plan.path("manifest", dataset="eplus", role="source")
    fetch(plan.settings("fetch", dataset="eplus", role="source")["source"], manifest)
    making = plan.making("fetch", dataset="eplus", role="source")
    record(making, [manifest], (), job)
    outputs = {split: Path(plan.path("prepared", dataset="eplus", split=split)) for split in ("train", "val")}
    outputs["test"] = Path(plan.path("reference", dataset="eplus"))
    settings = plan.settings("prepare", dataset="eplus")
    others = ("kind", "split", "geometry_digest", "sources")
    found = prepare(
        read_manifest(manifest), outputs, fractions=(0.7, 0.1, 0.2), seed=0,
        **{key: value for key, value in settings.items() if key not in others},
    )  # fmt: skip
    summary = Path(plan.path("summary", dataset="eplus"))
    write_json(summary, found)
    made = plan.making("prepare", dataset="eplus")
    record(made, [*outputs.values(), summary], [manifest], job)
    keep(code_table(results, made.code), lambda: "{}")
    return plan


@pytest.fixture
def elsewhere(tmp_path, monkeypatch) -> Path:
    """The working folder of a study whose raw file and geometry lie elsewhere on the disk."""
    away, here = tmp_path / "away", tmp_path / "here"
    away.mkdir()
    here.mkdir()
    with h5py.File(SAMPLE) as full, h5py.File(away / "showers.hdf5", "w") as some:
        for key in ("incident_energies", "showers"):
            some[key] = full[key][:600]
    shutil.copy(ROOT / "src/calopipe/geometries/calogan.yaml", away / "calogan.yaml")
    monkeypatch.chdir(here)
    return away


def study_of(away: Path) -> dict:
    source = {"kind": "local", "paths": [str(away / "showers.hdf5")]}
    dataset = {**TINY["datasets"]["eplus"], "source": source, "geometry": "../away/calogan.yaml"}
    return {**TINY, "datasets": {"eplus": dataset}}


def test_names_follow_what_is_taken_into_the_archive(tmp_path):
    here = tmp_path / "a" / "b"
    here.mkdir(parents=True)
    (tmp_path / "mine").mkdir()
    named = [
        "/data/x.hdf5",
        "../../y/x.hdf5",
        "own/z.hdf5",
        f"{here}/own/w.hdf5",
        f"{HOME}/resources/r.hdf5",
        "../../mine",
    ]
    moves = Moves.of(named, here, "/scratch/results")
    assert [moves.text(name) for name in named] == [
        "raw/x.hdf5", "raw/2/x.hdf5", "own/z.hdf5", "own/w.hdf5", "resources/r.hdf5", "extensions/mine",
    ]  # fmt: skip
    assert moves.data(
        {"a": ["/scratch/results/data/x.json", "/scratch/results2", 3], "geometry": "/data/x.hdf5:photon"}
    ) == {
        "a": ["results/data/x.json", "/scratch/results2", 3],
        "geometry": "raw/x.hdf5:photon",
    }
    assert Moves.of(["own/z.hdf5"], here, "results").nothing


def test_a_study_with_presets_is_the_same_from_its_own_text():
    plan = Plan.load(yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8")), HOME / "presets", files=False)
    again = Plan.load(yaml.safe_load(configuration_text(plan.configuration())), HOME / "presets", files=False)
    assert plan.study.presets and again.study == plan.study
    assert again.settings("report") == plan.settings("report")


@pytest.mark.parametrize("results", ["results", "absolute"])
def test_an_archive_of_files_from_elsewhere_is_a_study_of_its_own(elsewhere, tmp_path, monkeypatch, results):
    begin(study_of(elsewhere), results if results == "results" else str(tmp_path / "scratch"))
    assert (
        main(["archive", "mine.yaml", "--out", str(tmp_path / "handed/on"), "--author", "A. Physicist (A University)"])
        == 0
    )
    shutil.rmtree(elsewhere)
    monkeypatch.chdir(tmp_path / "handed/on")
    shutil.rmtree(tmp_path / "here")
    data = yaml.safe_load(Path("config.yaml").read_text(encoding="utf-8"))
    assert data["datasets"]["eplus"]["source"]["paths"] == ["raw/showers.hdf5"] and data["results"] == "results"
    assert data["datasets"]["eplus"]["geometry"] == "raw/calogan.yaml"
    assert [str(path) for path in read_manifest(MANIFEST)] == ["raw/showers.hdf5"]
    plan = Plan.load(data, HOME / "presets")
    for output in (MANIFEST, TRAIN):
        made = read_record(output)
        assert plan.stale(made["stage"], [str(output)], **made["wildcards"]) is None
        assert str(elsewhere / "showers.hdf5") in made["job"]["moved"]
    found = verify(nodes_below(Path("results")))
    assert not found.findings and found.checked == 6
    assert chain_of(TRAIN).raw[0].path == "raw/showers.hdf5"
    assert check_archive(Path()) == (check_archive(Path())[0], [])
    assert ro_crate.issues(Path(), tmp_path / "cache") == set()


def test_extensions_come_along(elsewhere, tmp_path, monkeypatch):
    (elsewhere / "mine/__pycache__").mkdir(parents=True)
    (elsewhere / "mine/parts.py").write_text("# nothing yet\n")
    (elsewhere / "mine/__pycache__/parts.pyc").write_bytes(b"")
    begin({**study_of(elsewhere), "extensions": ["../away/mine"]})
    assert main(["archive", "mine.yaml", "--out", str(tmp_path / "handed")]) == 0
    shutil.rmtree(elsewhere)
    monkeypatch.chdir(tmp_path / "handed")
    data = yaml.safe_load(Path("config.yaml").read_text(encoding="utf-8"))
    assert data["extensions"] == ["extensions/mine"] and Path("extensions/mine/parts.py").is_file()
    assert not Path("extensions/mine/__pycache__").exists()
    Plan.load(data, HOME / "presets", files=False)
    assert not verify(nodes_below(Path("results"))).findings


def test_raw_files_may_stay_where_they_are(elsewhere, tmp_path, monkeypatch):
    begin(study_of(elsewhere))
    assert main(["archive", "mine.yaml", "--out", "handed.zip", "--without-raw"]) == 0
    with zipfile.ZipFile("handed.zip") as archive:
        names = archive.namelist()
        archive.extractall(tmp_path / "other")
    assert METADATA in names and not any("showers.hdf5" in name for name in names)
    assert str(elsewhere / "showers.hdf5") in (tmp_path / "other/README.md").read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path / "other")
    assert not verify(nodes_below(Path("results"))).findings


def test_what_is_wrong_is_named_and_nothing_is_written(elsewhere, tmp_path, capsys):
    begin({**TINY})
    with h5py.File(TRAIN, "r+") as file:
        file["showers"][0, 0] += 1
    assert main(["archive", "mine.yaml", "--out", "handed.zip"]) == 1
    said = capsys.readouterr()
    assert "1 of 6 files are stale or not what they were" in said.err and not Path("handed.zip").exists()
    assert main(["archive", "mine.yaml", "--out", "handed.zip", "--as-it-is"]) == 0
    assert main(["archive", "handed.zip", "--check"]) == 0
    assert main(["archive", "nothing.yaml"]) == 1
    Path("full").mkdir()
    for arguments, reason in (
        (["mine.yaml", "--out", "full"], "is there already"),
        (["full"], "no study"),
        (["mine.yaml", "--check"], "mine.yaml"),
    ):
        capsys.readouterr()
        assert main(["archive", *arguments, *([] if "--check" in arguments else ["--as-it-is"])]) == 1
        assert reason in capsys.readouterr().err


def test_a_disk_that_fills_leaves_nothing(elsewhere, tmp_path, monkeypatch):
    begin({**TINY})
    contents = contents_of(Path("mine.yaml"))
    about = writing.About("2026-01-02T03:04:05+00:00")

    def full(*_):
        raise OSError(28, os.strerror(28))

    before = sorted(os.listdir())
    for name, target in (("_copy", "handed"), ("_zip", "handed.zip")):
        with monkeypatch.context() as patch, pytest.raises(DataError, match=rf"{target}: .*No space left on device"):
            patch.setattr(writing, name, full)
            writing.write_archive(contents, Path(target), about)
        assert sorted(os.listdir()) == before


def test_a_changed_archive_is_told_from_a_used_one(elsewhere, tmp_path, capsys):
    begin({**TINY})
    assert main(["archive", "mine.yaml", "--out", "handed"]) == 0
    handed = Path("handed")
    for used in (".venv/bin/python", ".snakemake/log/x.log", "src/calopipe/__pycache__/x.pyc"):
        (handed / used).parent.mkdir(parents=True, exist_ok=True)
        (handed / used).write_text("used")
    assert main(["archive", "handed", "--check"]) == 0
    (handed / "results/another.json").write_text("{}")
    (handed / "LICENSE").write_text("none")
    (handed / TRAIN).unlink()
    capsys.readouterr()
    assert main(["archive", "handed", "--check"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert sorted(line.partition(" (")[0] for line in lines) == [
        "LICENSE: changed", "results/another.json: not of this archive", f"{TRAIN}: missing",
    ]  # fmt: skip


def test_the_validator_sees_what_is_missing(elsewhere, tmp_path):
    """The check by which archives are accepted is one that can fail."""
    begin({**TINY})
    assert main(["archive", "mine.yaml", "--out", "handed"]) == 0
    path = Path("handed") / METADATA
    content = json.loads(path.read_text(encoding="utf-8"))
    for entity in content["@graph"]:
        for key in {"./": ["mainEntity"], "#run": ["instrument"]}.get(entity["@id"], []):
            del entity[key]
    path.write_text(json.dumps(content), encoding="utf-8")
    found = {check for check, _ in ro_crate.issues(Path("handed"), tmp_path / "cache")}
    assert {"process-run-crate-0.5_1.1", "workflow-ro-crate-1.0_3.1"} <= found
