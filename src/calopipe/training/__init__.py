"""Training stages: prepared showers or latents in, one checkpoint and a loss history out."""

from __future__ import annotations

from typing import Any

__all__ = ["train_autoencoder", "train_flow", "train_regressor"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from calopipe.training import stages

        return getattr(stages, name)
    raise AttributeError(f"module {__name__} has no attribute {name}")
