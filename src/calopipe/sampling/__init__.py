"""Drawing showers from trained checkpoints, and passing showers through an autoencoder."""

from __future__ import annotations

from typing import Any

_WHERE = {
    "Generator": "generator",
    "encode": "stages",
    "generate": "stages",
    "reconstruct": "stages",
    "remake": "stages",
}

__all__ = list(_WHERE)


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        import importlib

        return getattr(importlib.import_module(f"calopipe.sampling.{_WHERE[name]}"), name)
    raise AttributeError(f"module {__name__} has no attribute {name}")
