"""Typed configuration: what a study is made of, validated before anything runs (unknown keys are rejected)."""

from calopipe.config.base import Section, validate
from calopipe.config.load import load_study, merge
from calopipe.config.schema import (
    AutoencoderStage,
    CalomplificationConfig,
    ClassifierConfig,
    Dataset,
    EpochsConfig,
    Evaluation,
    FlowStage,
    Generation,
    HistogramConfig,
    Model,
    RegressionConfig,
    RegressorStage,
    Run,
    Source,
    Split,
    Study,
    TimingConfig,
    Training,
)

__all__ = [
    "AutoencoderStage",
    "CalomplificationConfig",
    "ClassifierConfig",
    "Dataset",
    "EpochsConfig",
    "Evaluation",
    "FlowStage",
    "Generation",
    "HistogramConfig",
    "Model",
    "RegressionConfig",
    "RegressorStage",
    "Run",
    "Section",
    "Source",
    "Split",
    "Study",
    "TimingConfig",
    "Training",
    "load_study",
    "merge",
    "validate",
]
