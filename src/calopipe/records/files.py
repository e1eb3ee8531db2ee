"""JSON and NPZ files that appear whole or not at all; reading them: :mod:`calopipe.io.stored`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from calopipe.io.output import replacing


def write_json(path: Path, data: Any) -> None:
    """Write JSON under a temporary name and rename; NaN and infinities are refused."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(data, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def write_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write a compressed NPZ under a temporary name and rename."""
    named: dict[str, Any] = dict(arrays)  # numpy has a keyword among the names
    with replacing(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, **named)
