"""Training stages: prepared showers or latents in, one checkpoint and a loss history out."""

from __future__ import annotations

from typing import Any

from calopipe.training.job import TrainingJob

__all__ = ["TrainingJob", "train_network", "train_regressor"]


def __getattr__(name: str) -> Any:
    """Import a stage, and torch, when it is first used."""
    if name in __all__:
        from calopipe.training import stages

        return getattr(stages, name)
    raise AttributeError(f"module {__name__} has no attribute {name}")
