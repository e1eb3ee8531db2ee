"""The index of a report's plots: ``plots/sources.json`` says, for each, which files it was drawn from, and its checksums.

    {"format": 1, "plots": {"<file name without suffix>": {
        "caption": "...", "section": "...",
        "files": {"png": "<sha256>", "pdf": "<sha256>"},
        "inputs": [{"path": "eplus/inn/seed0/histograms.npz", "rule": "observables", "sha256": "..."}]}}}

Paths are relative to the results folder, which holds the folder ``report``. A plot without a PDF has no ``pdf``; a file that
no rule is known of has an empty ``rule``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from calopipe.io.checksum import file_hash
from calopipe.io.output import replacing
from calopipe.io.stored import writing
from calopipe.records.paths import PLOT_INDEX
from calopipe.report.drawing import Drawn

FORMAT = 1


def write_index(folder: Path, drawn: Iterable[Drawn]) -> Path:
    """Write the index of `drawn`, and of nothing else, into the folder of the plots."""
    path = folder / PLOT_INDEX
    content = {"format": FORMAT, "plots": {d.name: _entry(d) for d in drawn}}
    with replacing(path) as temporary, writing(path):
        text = json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False)
        temporary.write_text(text + "\n", encoding="utf-8")
    return path


def _entry(drawn: Drawn) -> dict[str, Any]:
    pictures = {"png": drawn.png, "pdf": drawn.pdf}
    return {
        "caption": drawn.caption,
        "section": drawn.section,
        "files": {kind: file_hash(path) for kind, path in pictures.items() if path is not None},
        "inputs": [asdict(origin) for origin in drawn.inputs],
    }
