"""Judging samples: observables, classifier tests, metrics, amplification, generation time; as JSON, NPZ and CSV."""

from __future__ import annotations

from typing import Any

_WHERE = {
    "Readout": "inputs",
    "evaluate_calomplification": "calomplification",
    "evaluate_classifier": "classifier",
    "evaluate_metrics": "metrics",
    "evaluate_multiclass": "multiclass",
    "evaluate_observables": "observables",
    "evaluate_power": "power",
    "evaluate_regression": "regression",
    "evaluate_weights": "weights",
    "measure_timing": "timing",
    "score_epochs": "epochs",
    "score_epochs_of_columns": "epochs",
}

__all__ = list(_WHERE)


def __getattr__(name: str) -> Any:
    """Import a stage when it is first used: only the classifiers need torch."""
    if name in _WHERE:
        import importlib

        return getattr(importlib.import_module(f"calopipe.evaluation.{_WHERE[name]}"), name)
    raise AttributeError(f"module {__name__} has no attribute {name}")
