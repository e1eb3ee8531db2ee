"""What plots and tables say of themselves: digests of configuration and files, and the code version.

Labels never contain times or absolute paths, so equal inputs give equal files.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

from calopipe.io import file_hash
from calopipe.origin import code_version


def digest(obj: Any) -> str:
    """12 hexadecimal digits that identify `obj`: SHA-256 of its canonical JSON (sorted keys, no spaces).

    Mappings, sequences, dataclasses, pydantic models and paths are accepted; the order of keys does not matter.

    Raises:
        TypeError: `obj` holds something that has no JSON form.
        ValueError: `obj` holds NaN or an infinity.
    """
    text = json.dumps(obj, sort_keys=True, separators=(",", ":"), default=_plain, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _plain(value: Any) -> Any:
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, set | frozenset):
        return sorted(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


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
