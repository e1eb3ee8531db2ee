"""Digests of settings: the same for what means the same."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from typing import Any


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
