"""Reads the files of a study, by dataset and model. What cannot be read is noted, with the stage that writes it anew."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from calopipe.errors import CalopipeError
from calopipe.geometry import Geometry, load_geometry
from calopipe.io.stored import read_json, read_npz
from calopipe.plots.style import LineStyle, model_styles
from calopipe.records.divergences import DivergenceCurve, load_divergences
from calopipe.records.findings import warnings_of
from calopipe.records.histograms import (
    AverageShowers,
    CrossSections,
    Examples,
    Histogram,
    load_cross_sections,
    load_examples,
    load_histograms,
)
from calopipe.records.history import History, read_history
from calopipe.records.latent_space import Space, load_space
from calopipe.records.samples import GENERATED
from calopipe.records.scores import Score, load_scores
from calopipe.records.slices import Slice
from calopipe.records.weight_spread import Spread, load_spread
from calopipe.records.wording import COLUMNS, SHOWERS, Wording
from calopipe.report.artifacts import RunArtifacts, StudySummary
from calopipe.report.sources import ReadScore, Source
from calopipe.report.tables import Column

T = TypeVar("T")
Key = tuple[str, Slice | None]  # observable, slice


@dataclass
class SeedData:
    """What one run (one seed) left behind; empty where a file is missing or unreadable."""

    run: RunArtifacts
    histograms: dict[Key, Histogram] = field(default_factory=dict)
    averages: dict[Slice | None, AverageShowers] = field(default_factory=dict)
    cross_sections: dict[tuple[int, str], CrossSections] = field(default_factory=dict)
    examples: Examples | None = None
    health: list[str] = field(default_factory=list)
    scores: list[Score] = field(default_factory=list)
    curves: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    weights: dict[str, list[Histogram]] = field(default_factory=dict)
    comparison: list[Score] = field(default_factory=list)
    bands: list[Score] = field(default_factory=list)
    confusion: dict[str, np.ndarray] = field(default_factory=dict)
    regression: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    epochs: dict[str, Any] | None = None
    epoch_average: AverageShowers | None = None
    timing: dict[str, Any] | None = None
    latent_space: Space = field(default_factory=dict)
    weight_spread: dict[str, Spread] = field(default_factory=dict)
    histories: dict[str, History] = field(default_factory=dict)
    further: list[SeedData] = field(default_factory=list)

    @property
    def trainings(self) -> dict[str, SeedData]:
        """What it was drawn from, by name: itself, and the further trainings of a mixture."""
        names = {f"{self.run.seed}, training {i}": training for i, training in enumerate(self.further, 2)}
        return {f"{self.run.seed}, training 1" if names else str(self.run.seed): self, **names}

    def log(self, stage: str) -> str | None:
        """Path of the history of a network, or of ``regressor <name>``."""
        return _logs(self.run).get(stage)

    def source(self, name: str) -> Source:
        """One of the run's files, by its name in :class:`RunArtifacts`, as the source of a number."""
        return Source(getattr(self.run, name) or "", self.run.seed)


@dataclass
class ModelData:
    """All seeds of one model on one dataset, and the amplification study that judges them together."""

    name: str
    style: LineStyle
    seeds: list[SeedData]
    amplification: list[Score] = field(default_factory=list)
    estimators: list[Score] = field(default_factory=list)
    divergences: list[DivergenceCurve] = field(default_factory=list)
    n_truth: int = 0

    @property
    def studied(self) -> RunArtifacts | None:
        """The run that names the files of the amplification study."""
        return next((s.run for s in self.seeds if s.run.calomplification), None)

    @property
    def timed(self) -> SeedData | None:
        """The first seed with a timing; that stands for the model."""
        return next((s for s in self.seeds if s.timing and s.timing.get("results")), None)

    @property
    def description(self) -> str:
        """The model's line of description."""
        return next((s.run.description for s in self.seeds if s.run.description), "")

    def scores(self) -> list[list[Score]]:
        """Scores of each seed; those of all seeds together are among the first one's."""
        return [[*seed.scores, *([] if i else self.amplification)] for i, seed in enumerate(self.seeds)]

    def samples(self) -> list[str]:
        """Names of its samples, generated first."""
        found = {s for seed in self.seeds for h in seed.histograms.values() for s in h.counts}
        found |= {s.sample for scores in self.scores() for s in scores}
        return sorted(found - {"reference"}, key=lambda s: (s != "generated", s))


@dataclass
class DatasetData:
    """All models of one dataset; `conditions` are the names of those besides the incident energy.

    `learned`: of energy regressors that have learned a dataset of their own, its name.
    """

    name: str
    geometry: Geometry | None
    models: list[ModelData]
    notes: list[str]
    conditions: tuple[str, ...] = ()
    wording: Wording = SHOWERS
    learned: Mapping[str, str] = field(default_factory=dict)

    def score_columns(self) -> dict[Column, list[list[Score]]]:
        """Columns of the score table: (model, sample) -> scores of each seed."""
        return {(m.name, sample): m.scores() for m in self.models for sample in m.samples()}


def load_study_data(summary: StudySummary) -> list[DatasetData]:
    """Read everything a report shows, in the order of the runs; a model has the same style in all datasets."""
    styles = model_styles(run.model for run in summary.runs)
    found = []
    for dataset in dict.fromkeys(run.dataset for run in summary.runs):
        runs = [run for run in summary.runs if run.dataset == dataset]
        notes: list[str] = []
        name = runs[0].geometry  # data without a calorimeter have none
        geometry = None if name is None else _try(load_geometry, name, notes)
        models = []
        for model in dict.fromkeys(run.model for run in runs):
            seeds = sorted((run for run in runs if run.model == model), key=lambda run: run.seed)
            models.append(_load_model(model, styles[model], seeds, summary.config, notes))
        wording = COLUMNS if name is None else SHOWERS
        facts = _conditions(summary.config, dataset), wording, _learned(summary.config)
        found.append(DatasetData(dataset, geometry, models, notes, *facts))
    return found


def _learned(config: Mapping[str, Any]) -> dict[str, str]:
    """The datasets that energy regressors have learned, by their names, as far as the study's settings name them."""
    found = {name: settings.get("dataset") for name, settings in config.get("regressors", {}).items()}
    return {name: dataset for name, dataset in found.items() if dataset is not None}


def _conditions(config: Mapping[str, Any], dataset: str) -> tuple[str, ...]:
    """Conditions of a dataset according to the study's settings."""
    try:
        return tuple(config["datasets"][dataset]["conditions"])
    except (KeyError, TypeError):
        return ()


def _load_model(
    name: str, style: LineStyle, runs: Sequence[RunArtifacts], config: Mapping[str, Any], notes: list[str]
) -> ModelData:
    data = ModelData(name, style, [_load_seed(run, config, notes) for run in runs])
    studied = data.studied
    if studied is not None:
        data.amplification = amplification_scores(runs, lambda path: _scores(path, None, notes))
        data.estimators = [s for s in _scores(studied.calomplification or "", None, []) if s.extra.get("fits")]
        data.divergences, data.n_truth = _try(load_divergences, _path(studied.divergences), notes) or ([], 0)
    return data


def _load_seed(run: RunArtifacts, config: Mapping[str, Any], notes: list[str]) -> SeedData:
    data = SeedData(run)
    _load_histograms(data, notes)
    data.health = _try(warnings_of, _path(run.health), notes) or []
    # the comparison is one file for all runs
    data.scores = run_scores(run, lambda path: _scores(path, None if path == run.comparison else run.seed, notes))
    _load_tests(data, notes)
    data.epochs = _try(read_json, _path(run.epochs), notes)
    by_epoch = _try(load_histograms, _path(run.epoch_histograms), notes)
    data.epoch_average = next(iter(by_epoch[1]), None) if by_epoch else None
    data.timing = _try(read_json, _path(run.timing), notes)
    data.latent_space = _try(load_space, _path(run.latent_space), notes) or {}
    data.weight_spread = _try(load_spread, _path(run.weight_spread), notes) or {}
    for stage, path in _logs(run).items():
        history = _try(partial(read_history, rows=_epochs(config, run.model, stage)), _path(path), notes)
        if history is not None and len(history):
            data.histories[stage] = history
    data.further = [_load_seed(training, config, notes) for training in run.further]
    return data


def _logs(run: RunArtifacts) -> dict[str, str | None]:
    """Histories of the networks of a run, and of the regressors that judge it."""
    logs = {network["name"]: network["history"] for network in run.networks}
    return logs | {f"regressor {name}": paths.get("loss") for name, paths in run.regression.items()}


def _scores(path: str | None, seed: int | None, notes: list[str]) -> list[Score]:
    """The scores of a file, each with where it was read."""
    found = _try(load_scores, _path(path), notes) or []
    return [ReadScore.of(score, Source(path or "", seed)) for score in found]


def score_files(run: RunArtifacts) -> list[str]:
    """Files of the scores of a run: of the metrics, of classifiers (alone and together) and of regressors."""
    tests = [paths.get(kind) for paths in run.classifiers.values() for kind in ("scores", "reconstructed", "unrefined")]
    paths = [run.metrics, *tests, run.comparison, *(paths.get("scores") for paths in run.regression.values())]
    return [path for path in paths if path is not None]


def run_scores(run: RunArtifacts, read: Callable[[str], list[Score]]) -> list[Score]:
    """All scores of a run; `read` gives those in a file."""
    found: list[Score] = []
    for path in score_files(run):
        scores = read(path)
        if path == run.comparison:  # of all runs of the dataset
            scores = [replace(s, sample=GENERATED) for s in scores if s.sample == run.compared_as]
        found += scores
    return found


def amplification_scores(runs: Sequence[RunArtifacts], read: Callable[[str], list[Score]]) -> list[Score]:
    """Scores of the amplification study of a model, one for all its runs; those of the estimators are in a table of their own."""
    path = next((run.calomplification for run in runs if run.calomplification), None)
    return [] if path is None else [s for s in read(path) if s.sample == GENERATED]


def _load_histograms(data: SeedData, notes: list[str]) -> None:
    """Histograms, average showers, cross sections and examples of a run."""
    path = _path(data.run.histograms)
    loaded = _try(load_histograms, path, notes)
    if loaded:
        data.histograms = {(h.name, h.part): h for h in loaded[0]}
        data.averages = {a.part: a for a in loaded[1]}
        data.cross_sections = {(c.layer, c.axis): c for c in _try(load_cross_sections, path, notes) or []}
        data.examples = _try(load_examples, path, notes)


def _load_tests(data: SeedData, notes: list[str]) -> None:
    """Curves of what a run was tested with: classifiers, alone and together, and regressors."""
    run = data.run
    for name, paths in run.classifiers.items():
        curves = _try(read_npz, _path(paths.get("curves")), notes)
        if curves:
            data.curves[name] = curves
        extreme = _try(load_histograms, _path(paths.get("weights")), notes)
        if extreme and extreme[0]:
            data.weights[name] = extreme[0]
    data.comparison = _scores(run.comparison, None, notes)
    every = _scores(run.bands, run.seed, notes)
    data.bands = [s for s in every if s.seed == run.seed and s.extra.get("bayesian") == run.model]
    data.confusion = _try(read_npz, _path(run.confusion), notes) or {}
    for name, paths in run.regression.items():
        curves = _try(read_npz, _path(paths.get("curves")), notes)
        if curves:
            data.regression[name] = curves


def _epochs(config: Mapping[str, Any], model: str, stage: str) -> int | None:
    """Epochs of a training according to the study's settings; None where these are not known."""
    try:
        if stage.startswith("regressor "):
            return int(config["regressors"][stage.removeprefix("regressor ")]["training"]["epochs"])
        training = config["models"][model]["networks"][stage]["training"]
        return None if training["patience"] else int(training["epochs"])
    except (KeyError, TypeError):
        return None


def _path(path: str | None) -> Path | None:
    return None if path is None else Path(path)


def _try(reader: Callable[[Any], T], source: Any, notes: list[str]) -> T | None:
    """The reader's result; None, with a note, when the file is missing or not what it should be."""
    if source is None:
        return None
    try:
        return reader(source)
    except CalopipeError as error:
        if str(error) not in notes:
            notes.append(str(error))
    return None
