"""Records of what made an output: written last, and what of them differs from what a stage would make now."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import yaml

from calopipe.workflow import Plan
from calopipe.workflow.made import forget, read_record, record, record_of, why_stale

SETTINGS = {"model": {"name": "inn", "blocks": 2}, "seed": 1}


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A folder with two stages: `a.txt`, made from a raw file; `later/b.txt` and the folder `later/c`, made from it."""
    (tmp_path / "raw.bin").write_bytes(b"raw")
    folder = tmp_path / "results"
    (folder / "later/c").mkdir(parents=True)
    (folder / "a.txt").write_text("a")
    record("first", [folder / "a.txt"], SETTINGS, "code1", raw=[tmp_path / "raw.bin"])
    (folder / "later/b.txt").write_text("b")
    (folder / "later/c/1.txt").write_text("c")
    record("second", [folder / "later/b.txt", folder / "later/c"], {}, "code2", [folder / "a.txt"])
    return folder


def first(folder: Path, settings: dict = SETTINGS, code: str = "code1", raw: str = "raw.bin") -> str | None:
    reason = why_stale("first", [folder / "a.txt"], settings, code, [folder.parent / raw])
    return reason and reason.removeprefix(f"{folder}/")


def second(folder: Path) -> str | None:
    reason = why_stale("second", [folder / "later/b.txt", folder / "later/c"], {}, "code2")
    return reason and reason.removeprefix(f"{folder}/")


def test_what_is_made_alike_is_not_stale_wherever_it_lies(made, tmp_path):
    assert first(made) is None and second(made) is None
    shutil.copytree(made, tmp_path / "copy")
    assert first(tmp_path / "copy") is None and second(tmp_path / "copy") is None
    assert read_record(made / "a.txt")["settings"] == SETTINGS


def test_settings_code_and_stage(made):
    other = {"model": {"name": "inn", "blocks": 3}, "seed": 1, "new": None, "more": [1]}
    assert first(made, other) == "a.txt: made with other settings (model.blocks, more)"
    assert first(made, code="code9") == "a.txt: made by other code"
    assert "made by first" in why_stale("third", [made / "a.txt"], SETTINGS, "code1")


def test_raw_files_count_by_content_not_by_age(made, tmp_path):
    raw = tmp_path / "raw.bin"
    os.utime(raw, (2e9, 2e9))
    assert first(made) is None
    raw.write_bytes(b"RAW")
    os.utime(raw, (1, 1))
    assert first(made) == f"a.txt: made from another content of {raw}"
    raw.write_bytes(b"raw")
    assert first(made) is None
    raw.rename(tmp_path / "moved.bin")
    assert first(made, raw="moved.bin") is None
    assert first(made, raw="missing.bin") is None  # Snakemake says so itself


def test_a_raw_file_is_read_again_only_when_its_state_has_changed(made, tmp_path, monkeypatch):
    from calopipe.workflow import made as module

    read = []
    monkeypatch.setattr(module, "file_hash", lambda path: read.append(path) or "0")
    assert first(made) is None and not read
    os.utime(tmp_path / "raw.bin")
    assert first(made) is not None and len(read) == 1
    monkeypatch.undo()
    assert first(made) is None
    monkeypatch.setattr(module, "file_hash", lambda path: read.append(path) or "0")
    assert first(made) is None and len(read) == 1  # noted in the record


def test_inputs_count_by_their_records(made):
    (made / "a.txt").write_text("A")
    assert first(made) is None and second(made) is None  # nothing is read; --verify is for that
    (made / "a.txt").write_text("longer")
    assert first(made) == "a.txt: changed after it was made"
    record("first", [made / "a.txt"], SETTINGS, "code1", raw=[made.parent / "raw.bin"])
    assert first(made) is None
    assert second(made) == f"later/b.txt: made from another {made / 'a.txt'}"


def test_a_folder_of_outputs(made):
    (made / "later/c/2.txt").write_text("more")
    assert second(made) == "later/c: changed after it was made"


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"format": 1}', "[" * 100_000, None])
def test_an_output_without_a_readable_record_is_stale(made, text):
    path = record_of(made / "a.txt")
    path.unlink() if text is None else path.write_text(text)
    assert first(made) == "a.txt: nothing says what made it"


def test_an_output_that_is_made_anew_has_no_record_until_it_is_done(made):
    forget([made / "a.txt", made / "never.txt"])
    assert first(made) == "a.txt: nothing says what made it"
    (made / "a.txt").unlink()
    assert first(made) is None  # it will be made anyway


def test_records_hold_no_time_but_of_raw_files(made):
    before = record_of(made / "later/b.txt").read_bytes()
    record("second", [made / "later/b.txt", made / "later/c"], {}, "code2", [made / "a.txt"])
    assert record_of(made / "later/b.txt").read_bytes() == before
    assert set(json.loads(before)["inputs"]) == {"../a.txt"}


def test_files_from_outside_of_the_results_are_known_to_the_plan(repository, tmp_path):
    study = yaml.safe_load((repository / "tests/tiny.yaml").read_text())
    fid = {"metric": "fid", "inception": str(tmp_path / "network.pt")}
    study["evaluations"]["default"]["metrics"].append(fid)
    plan = Plan.load(study, repository / "presets")
    run = {"dataset": "eplus", "model": "inn", "seed": "0"}
    assert plan.files("metrics", **run) == [str(tmp_path / "network.pt")]
    assert plan.files("epochs", **run) == plan.files("generate", **run) == []
    (sample,) = plan.files("fetch", dataset="eplus", role="source")
    assert Path(sample).samefile(repository / "resources/calogan_eplus_sample.hdf5")


def test_a_geometry_counts_by_its_cells(repository):
    plan = Plan.load(yaml.safe_load((repository / "tests/tiny.yaml").read_text()), repository / "presets")
    geometry = plan.geometry("eplus")
    assert plan.where("eplus")["geometry_digest"] == geometry.hash[:12]
