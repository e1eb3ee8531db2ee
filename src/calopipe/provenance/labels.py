"""What plots and tables say of themselves: digests of configuration and files, and the code version.

Labels never contain times or absolute paths, so equal inputs give equal files.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from calopipe.canonical import digest
from calopipe.io import file_hash
from calopipe.origin import code_version


def collect(run: str, config: Any = None, inputs: Iterable[str | Path] = ()) -> dict[str, str]:
    """Provenance of one result as flat text, ready for :func:`calopipe.plots.style.save_figure`.

    Args:
        run: what the result is of: a run's name, or the study's.
        config: the settings it was made with; their :func:`digest` is recorded.
        inputs: files it was made from; name and the first 16 digits of the SHA-256 of each are recorded.
    """
    found = {"run": run, "code_version": code_version(), "config_digest": digest(config)}
    checksums = (f"{Path(p).name} sha256:{file_hash(p)[:16]}" for p in inputs)
    return {**found, "inputs": "; ".join(checksums)}
