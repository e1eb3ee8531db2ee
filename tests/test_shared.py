"""Tests that need reference files: skipped where a file is missing, whatever else is in the folder."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from conftest import Reference

TESTS = Path(__file__).parent


@pytest.mark.parametrize("asked", ["none.hdf5", "reference/golden/none.json", "data/somebody.txt/none"])
def test_a_missing_file_skips_the_test_or_fails_it_where_required(tmp_path, monkeypatch, asked: str) -> None:
    """The folder is there, with somebody else's things in it."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "somebody.txt").write_text("else's")
    for folder in (tmp_path, tmp_path / "no folder"):
        monkeypatch.delenv("CALOPIPE_REQUIRE_SHARED", raising=False)
        with pytest.raises(pytest.skip.Exception, match="no reference file .*set CALOPIPE_SHARED"):
            _ = Reference(folder) / asked
        monkeypatch.setenv("CALOPIPE_REQUIRE_SHARED", "1")
        with pytest.raises(pytest.fail.Exception, match="no reference file"):
            _ = Reference(folder) / asked
    found = Reference(tmp_path) / "data" / "somebody.txt"
    assert isinstance(found, Path) and found.read_text() == "else's"


def test_reference_files_are_reached_through_the_fixture_only() -> None:
    """By ``shared / ...``: no test looks for the folder itself, or joins names in a way that is not checked."""
    for path in sorted(TESTS.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if path.name not in ("conftest.py", "test_shared.py"):
            assert "CALOPIPE_SHARED" not in text and not re.search(r"""/ ["']shared["']""", text), path
            assert not re.search(r"shared\.(joinpath|is_dir|exists|glob|rglob|iterdir|parent)|str\(shared", text), path
