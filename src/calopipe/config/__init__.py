"""Typed configuration: what a study is made of, validated before anything runs (unknown keys are rejected)."""

from calopipe.config.base import Section, merge, validate
from calopipe.config.datasets import Dataset, Source, Split
from calopipe.config.evaluation import (
    CalomplificationConfig,
    ClassifierConfig,
    EpochsConfig,
    Evaluation,
    Generation,
    HistogramConfig,
    RegressionConfig,
    TimingConfig,
)
from calopipe.config.layouts import Layout
from calopipe.config.load import load_study
from calopipe.config.networks import AutoencoderStage, FlowStage, Model, RegressorStage, Training
from calopipe.config.schema import Run, Study

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
    "Layout",
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
