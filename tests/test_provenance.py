"""Digests, checksums and versions."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from calopipe import provenance


@dataclass
class _Settings:
    width: int = 3
    path: Path = Path("a/b")


def test_digest_is_canonical() -> None:
    assert provenance.digest({"a": 1, "b": [1, 2]}) == provenance.digest({"b": (1, 2), "a": 1})
    assert provenance.digest({"a": 1}) != provenance.digest({"a": 2})
    assert provenance.digest(_Settings()) == provenance.digest({"width": 3, "path": "a/b"})
    assert provenance.digest({"a": 1}) == hashlib.sha256(b'{"a":1}').hexdigest()[:12]


def test_digest_refuses_what_has_no_json_form() -> None:
    with pytest.raises(TypeError, match="object"):
        provenance.digest({"a": object()})
    with pytest.raises(ValueError, match="JSON"):
        provenance.digest(float("nan"))


def test_versions_hardware_and_collect(tmp_path: Path) -> None:
    found = provenance.versions()
    assert {"calopipe", "python", "numpy"} <= set(found)
    assert set(provenance.hardware()) >= {"system", "cpu", "cores"}
    path = tmp_path / "metrics.json"
    path.write_text("[]")
    record = provenance.collect("calogan/inn/0", {"lr": 1e-3}, [path])
    assert record["run"] == "calogan/inn/0"
    assert record["config_digest"] == provenance.digest({"lr": 1e-3})
    assert record["inputs"].startswith("metrics.json sha256:")
    assert str(tmp_path) not in str(record)


def test_versions_do_not_import_torch() -> None:
    code = (
        "import sys; from calopipe import provenance as p; p.versions(), p.hardware(); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
