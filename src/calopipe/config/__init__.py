"""Typed configuration: what a study is made of, validated before anything runs (unknown keys are rejected)."""

from calopipe.config.base import Section, merge, validate
from calopipe.config.calomplification import CalomplificationConfig
from calopipe.config.datasets import ColumnsDataset, Dataset, Source, Split
from calopipe.config.evaluation import (
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
from calopipe.config.networks import Model, NetworkStage, RegressorStage
from calopipe.config.schema import Run, Study
from calopipe.config.training import Training

__all__ = [
    "CalomplificationConfig",
    "ClassifierConfig",
    "ColumnsDataset",
    "Dataset",
    "EpochsConfig",
    "Evaluation",
    "Generation",
    "HistogramConfig",
    "Layout",
    "Model",
    "NetworkStage",
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
