"""The settings of a study. Every field has a description; ``docs/config.md`` is generated from them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from calopipe.config.base import Section
from calopipe.config.bounds import DISTINCT, Seed
from calopipe.config.datasets import AnyDataset
from calopipe.config.evaluation import Evaluation
from calopipe.config.networks import Model, RegressorStage
from calopipe.config.texts import FilePath, Name, ResultsFolder


class Run(Section):
    """A dataset, a model, and the seeds to train it with."""

    dataset: Name = Field(description="a key of datasets")
    model: Name = Field(description="a key of models")
    seeds: Annotated[list[Seed], DISTINCT] = Field(
        default_factory=lambda: [0], min_length=1, max_length=1000, description="one training per seed"
    )
    evaluation: Name = Field("default", description="a key of evaluations")


class Plots(Section):
    """Appearance of plots. Changing it retrains and re-evaluates nothing."""

    dpi: int = Field(150, ge=50, le=600, description="resolution of PNG files")
    pdf: bool = Field(True, description="write a PDF beside every PNG")


class Study(Section):
    """A study: datasets, models, evaluations, and the runs that combine them."""

    study: Name = Field("study", description="name of the report")
    results: ResultsFolder = Field("results", description="folder of everything the workflow writes")
    presets: Annotated[list[str], DISTINCT] = Field(
        default_factory=list,
        description="names of files in presets/, merged in order, below this file; they may name others",
    )
    extensions: Annotated[list[FilePath], Field(max_length=20), DISTINCT] = Field(
        default_factory=list,
        description="folders of your own Python files, whose models, preprocessing steps, metrics and observables are used like built-in ones",
    )
    datasets: dict[Name, AnyDataset] = Field(description="datasets by name")
    models: dict[Name, Model] = Field(description="models by name")
    regressors: dict[Name, RegressorStage] = Field(
        default_factory=dict, description="energy regressors by name; an evaluation names those it uses"
    )
    evaluations: dict[Name, Evaluation] = Field(
        default_factory=lambda: {"default": Evaluation()}, description="by name"
    )
    runs: list[Run] = Field(min_length=1, max_length=1000, description="what to train and judge")
    plots: Plots = Field(default_factory=Plots, description="appearance of plots")
