"""What a health check found; a JSON file on disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from calopipe.io.stored import read_json, reading
from calopipe.records.files import write_json


@dataclass(frozen=True)
class Finding:
    """One unusual thing: which check found it, in which sample, and one line about it."""

    check: str
    sample: str
    text: str


def save_findings(path: Path, findings: Sequence[Finding], samples: Mapping[str, Mapping[str, Any]]) -> None:
    """Write findings, and for each sample what was counted."""
    write_json(path, {"findings": [asdict(f) for f in findings], "samples": samples})


def load_findings(path: Path) -> list[Finding]:
    """What :func:`save_findings` wrote. Raises DataError when it is something else."""
    data = read_json(path)
    with reading(path, "not a health check of calopipe"):
        return [Finding(**item) for item in data["findings"]]


def warnings_of(path: Path) -> list[str]:
    """The lines of a health check, for a report."""
    return [f.text for f in load_findings(path)]
