"""Invertible chains from showers (MeV) to network inputs; postprocessing is their inverse, never written twice."""

from __future__ import annotations

from typing import Any

__all__ = ["Chain", "Layout", "Step", "build_chain"]


def __getattr__(name: str) -> Any:  # lazy: settings of steps are read while the DAG is built, without torch
    if name in __all__:
        from calopipe.preprocessing import base

        return getattr(base, name)
    raise AttributeError(f"module {__name__} has no attribute {name}")
