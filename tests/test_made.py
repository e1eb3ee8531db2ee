"""Records of what made an output: written last, and what of them differs from what a stage would make now."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import yaml

from calopipe.workflow import Plan
from calopipe.workflow.made import FORMAT, Making, forget, read_record, record, record_of
from calopipe.workflow.stale import put_in_order, why_stale

PACKAGES = {"numpy": "2.0"}
SETTINGS = {"model": {"name": "inn", "blocks": 2}, "seed": 1}


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A folder with two stages: `a.txt`, made from a raw file; `later/b.txt` and the folder `later/c`, made from it."""
    (tmp_path / "raw.bin").write_bytes(b"raw")
    folder = tmp_path / "results"
    (folder / "later/c").mkdir(parents=True)
    (folder / "a.txt").write_text("a")
    record(Making("first", SETTINGS, "code1", PACKAGES, [tmp_path / "raw.bin"]), [folder / "a.txt"], job={"end": "now"})
    (folder / "later/b.txt").write_text("b")
    (folder / "later/c/1.txt").write_text("c")
    record(Making("second", {}, "code2"), [folder / "later/b.txt", folder / "later/c"], [folder / "a.txt"])
    return folder


def first(folder: Path, settings: dict = SETTINGS, code: str = "code1", raw: str = "raw.bin", **packages: str):
    making = Making("first", settings, code, {**PACKAGES, **packages}, [folder.parent / raw])
    return why_stale(making, folder / "a.txt")


def second(folder: Path, name: str = "b.txt") -> str | None:
    return why_stale(Making("second", {}, "code2"), folder / "later" / name)


def test_what_is_made_alike_is_not_stale_wherever_it_lies(made, tmp_path):
    assert first(made) is None and second(made) is None
    shutil.copytree(made, tmp_path / "copy")
    assert first(tmp_path / "copy") is None and second(tmp_path / "copy") is None
    assert read_record(made / "a.txt")["settings"] == SETTINGS


def test_settings_code_and_stage(made):
    other = {"model": {"name": "inn", "blocks": 3}, "seed": 1, "new": None, "more": [1]}
    assert first(made, other) == "made with other settings (model.blocks, more)"
    assert first(made, code="code9") == "made by other code"
    assert first(made, numpy="2.1") == "made with other packages (numpy 2.0, now 2.1)"
    assert first(made, torch="3.0") == "made with other packages (torch none, now 3.0)"
    assert why_stale(Making("third", SETTINGS, "code1"), made / "a.txt") == "made by first"


def test_raw_files_count_by_content_not_by_age(made, tmp_path):
    raw = tmp_path / "raw.bin"
    os.utime(raw, (2e9, 2e9))
    assert first(made) is None
    raw.write_bytes(b"RAW")
    os.utime(raw, (1, 1))
    assert first(made) == f"made from another content of {raw}"
    raw.write_bytes(b"raw")
    assert first(made) is None
    raw.rename(tmp_path / "moved.bin")
    assert first(made, raw="moved.bin") is None
    assert first(made, raw="missing.bin") is None  # Snakemake says so itself


def test_a_raw_file_is_read_again_only_when_its_state_has_changed(made, tmp_path, monkeypatch):
    from calopipe.workflow import stale as module

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
    os.utime(made / "a.txt", (1, 1))
    assert first(made) is None and second(made) is None  # nothing is read; --verify is for that
    os.utime(made / "a.txt")
    assert second(made) == f"made from another {made / 'a.txt'}"  # it is newer
    (made / "a.txt").write_text("longer")
    assert first(made) == "changed after it was made"
    record(Making("first", SETTINGS, "code1", PACKAGES, [made.parent / "raw.bin"]), [made / "a.txt"])
    assert first(made) is None
    assert second(made) == f"made from another {made / 'a.txt'}"


def test_times_are_put_in_order_where_contents_are_right(made):
    os.utime(made / "later/b.txt", (1, 1))
    (made / "later/c/.snakemake_timestamp").touch()
    os.utime(made / "later/c/.snakemake_timestamp", (1, 1))
    (made / "benchmark").write_text("")
    os.utime(made / "benchmark", (1, 1))
    assert second(made) is None and second(made, "c") is None
    put_in_order(made / "benchmark", [made / "later/b.txt"])
    put_in_order(made / "missing", [made / "later/b.txt"])
    born = os.stat(made / "a.txt").st_mtime_ns
    for name in ("later/b.txt", "later/c/.snakemake_timestamp", "benchmark"):
        assert os.stat(made / name).st_mtime_ns >= born
    os.utime(made / "later/b.txt", (1, 1))
    assert second(made, "c") is None and os.stat(made / "later/b.txt").st_mtime == 1


def test_a_folder_of_outputs(made):
    (made / "later/c/2.txt").write_text("more")
    assert second(made) is None and second(made, "c") == "changed after it was made"


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", f'{{"format": {FORMAT}}}', "[" * 100_000, None])
def test_an_output_without_a_readable_record_is_stale(made, text):
    path = record_of(made / "a.txt")
    path.unlink() if text is None else path.write_text(text)
    assert first(made) == "nothing says what made it"


def test_an_output_that_is_made_anew_has_no_record_until_it_is_done(made):
    forget([made / "a.txt", made / "never.txt"])
    assert first(made) == "nothing says what made it"


def test_records_hold_no_time_but_of_raw_files_and_of_the_job(made):
    before = record_of(made / "later/b.txt").read_bytes()
    record(Making("second", {}, "code2"), [made / "later/b.txt", made / "later/c"], [made / "a.txt"])
    assert record_of(made / "later/b.txt").read_bytes() == before
    assert set(json.loads(before)["inputs"]) == {"../a.txt"}
    assert read_record(made / "a.txt")["job"] == {"end": "now", "outputs": [str(made / "a.txt")]}


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
