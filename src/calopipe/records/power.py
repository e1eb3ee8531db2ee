"""The power of a classifier test, what it finds in distorted showers; a JSON file on disk."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from calopipe.errors import DataError
from calopipe.io.stored import read_json

#: a distortion is seen when its AUC is above 0.5 by more than so many errors; one below 0.5 says that nothing was learned that holds
SEEN = 2.0


def finding(text: str, auc: float, error: float) -> dict[str, Any]:
    """What is recorded of one distortion: what it does, the AUC of the test with its whole error, and whether it is seen."""
    return {"text": text, "auc": auc, "error": error, "seen": auc - 0.5 > SEEN * error}


def load_power(path: Path) -> Mapping[str, Any]:
    """Read a file of :func:`calopipe.evaluation.power.evaluate_power`. Raises DataError when it is something else."""
    data = read_json(path, "cannot be read")
    if not isinstance(data, dict) or not ({"distortions", "missing"} & set(data)):
        raise DataError(f"{path}: not the power of a classifier test")
    return data
