"""The power of a classifier test, what it finds in distorted showers; a JSON file on disk."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from calopipe.errors import DataError
from calopipe.io.stored import read_json


def load_power(path: Path) -> Mapping[str, Any]:
    """Read a file of :func:`calopipe.evaluation.power.evaluate_power`. Raises DataError when it is something else."""
    data = read_json(path, "cannot be read")
    if not isinstance(data, dict) or not ({"distortions", "missing"} & set(data)):
        raise DataError(f"{path}: not the power of a classifier test")
    return data
