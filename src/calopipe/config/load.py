"""Reading a study: presets merged in by name, references between sections checked, everything typed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from calopipe.config.base import merge, validate
from calopipe.config.datasets import AnyDataset, ColumnsDataset
from calopipe.config.evaluation import EpochsConfig, Evaluation
from calopipe.config.expand import expanded
from calopipe.config.parts import Part, check_observables, use_extensions
from calopipe.config.schema import Run, Study
from calopipe.config.scores import CLASSIFIER_SCORES, COLUMN_SCORES, gives, network_scores, patterns_of
from calopipe.errors import ConfigError, nearest, shown
from calopipe.yamlfile import load_yaml

#: presets that name others that name others ...
MAX_DEPTH = 30


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML (or JSON) mapping; ConfigError names the file, and what is wrong with it in which line."""
    data = load_yaml(path)
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: expected a mapping at the top, found {type(data).__name__}")
    return data


def load_study(data: Mapping[str, Any], presets_dir: Path) -> Study:
    """Validate a study's configuration; scans of its models become a model, and runs, for each of their points.

    Args:
        data: the mapping read from ``config.yaml`` (or Snakemake's ``config``).
        presets_dir: folder holding ``<preset>.yaml``, merged in the order of ``presets`` beneath `data`; a preset may name others.

    Raises:
        ConfigError: a folder of extensions with an error in it; a scan whose points are not valid; unknown key, preset, dataset, model or evaluation (with the nearest valid name), or a wrong value.
    """
    merged = merge(_merged_presets(data, presets_dir, (), {}), data)
    folders = merged.get("extensions", [])
    known = isinstance(folders, list) and all(isinstance(folder, str) for folder in folders)
    use_extensions(folders if known else [])  # what they register can be named in the other sections
    check_observables()
    study = validate(Study, merged, "")
    _check_references(study)
    if any(model.scan for model in study.models.values()):
        study = expanded(study, merged["models"])
        _check_references(study)
    for run in study.runs:
        _check_scan(study, run)
    return study


def _merged_presets(
    data: Mapping[str, Any], folder: Path, above: tuple[str, ...], done: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    """The presets that `data` names, merged in their order, each onto the presets that it names itself.

    Each is read and merged once (`done`), however many others name it.
    """
    names = data.get("presets")
    names = [] if names is None else names
    if not isinstance(names, list):
        raise ConfigError(f"presets: expected a list of names, found {shown(names)}")
    base: dict[str, Any] = {}
    available = [p.stem for p in sorted(folder.glob("*.yaml"))]
    for name in names:
        if not isinstance(name, str) or name not in available:
            raise ConfigError(
                f"presets: no preset {shown(name)}{nearest(name, available)}; known: {', '.join(available)}"
            )
        if name in above or len(above) >= MAX_DEPTH:
            trouble = "names itself" if name in above else f"is named by more than {MAX_DEPTH} others in a row"
            raise ConfigError(f"presets: '{name}' {trouble}, by way of {' -> '.join((*above, name))}")
        if name not in done:
            preset = read_yaml(folder / f"{name}.yaml")
            done[name] = merge(_merged_presets(preset, folder, (*above, name), done), preset)
        base = merge(base, done[name])
    return {key: value for key, value in base.items() if key != "presets"}


def _check_regressors(study: Study) -> None:
    """Raise ConfigError where an evaluation names a regressor, or a regressor a dataset, that the study does not have."""
    for name, evaluation in study.evaluations.items():
        for value in evaluation.regression.regressors:
            if value not in study.regressors:
                listed = ", ".join(study.regressors) or "none"
                where = f"evaluations.{name}.regression.regressors"
                raise ConfigError(f"{where}: no regressor '{value}'{nearest(value, study.regressors)}; known: {listed}")
    for name, regressor in study.regressors.items():
        learned = regressor.dataset
        if learned is not None and learned not in study.datasets:
            listed = ", ".join(study.datasets)
            raise ConfigError(
                f"regressors.{name}.dataset: no dataset '{learned}'{nearest(learned, study.datasets)}; known: {listed}"
            )


def _check_references(study: Study) -> None:
    _check_regressors(study)
    seen: set[tuple[str, str, int]] = set()
    for i, run in enumerate(study.runs):
        named: tuple[tuple[str, str, Mapping[str, Any]], ...] = (
            ("dataset", run.dataset, study.datasets),
            ("model", run.model, study.models),
            ("evaluation", run.evaluation, study.evaluations),
        )
        for key, value, known in named:
            if value not in known:
                raise ConfigError(
                    f"runs.{i}.{key}: no {key} '{value}'{nearest(value, known)}; known: {', '.join(known)}"
                )
        for seed in run.seeds:
            if (run.dataset, run.model, seed) in seen:
                raise ConfigError(f"runs.{i}: ({run.dataset}, {run.model}, seed {seed}) appears twice")
            seen.add((run.dataset, run.model, seed))
        _check_epoch(study, run)


def _check_epoch(study: Study, run: Run) -> None:
    """Raise ConfigError where the evaluation of a run samples an epoch that the model's training does not keep."""
    evaluation, model = study.evaluations[run.evaluation], study.models[run.model]
    epoch, kept = evaluation.generation.epoch, model.kept_epochs
    if kept:
        _check_select(evaluation, study.datasets[run.dataset], run)
        if evaluation.epochs.select_from > kept[-1]:
            raise ConfigError(
                f"evaluations.{run.evaluation}.epochs.select_from: expected at most {kept[-1]}, the last kept epoch of model "
                f"'{run.model}', found {evaluation.epochs.select_from}"
            )
    if epoch == "final" or (epoch == "best" and kept) or (isinstance(epoch, int) and epoch in kept):
        return
    if kept:
        listed = [str(e) for e in kept[:4]] + ["..."] * (len(kept) > 5) + [str(e) for e in kept[4:][-1:]]
        reason = f"its training keeps {', '.join(listed)}"
    elif model.external is not None:
        reason = f"there are files of none (models.{run.model}.external.epochs)"
    else:
        reason = f"its training keeps none (models.{run.model}.networks.{model.chain.last.name}.training.keep_every)"
    raise ConfigError(
        f"evaluations.{run.evaluation}.generation.epoch: '{epoch}' needs a kept epoch of model '{run.model}', but {reason}"
    )


def _check_select(evaluation: Evaluation, dataset: AnyDataset, run: Run) -> None:
    """Raise ConfigError where nothing of the evaluation gives the score that chooses the epoch."""
    where = f"evaluations.{run.evaluation}.epochs.select"
    if isinstance(dataset, ColumnsDataset):
        _check_given(where, select_score(evaluation, dataset), _column_scores(evaluation, dataset), [])
        return
    known = network_scores(evaluation.regression.regressors)
    _check_given(where, evaluation.epochs.select, known, evaluation.epochs.metrics)


def _column_scores(evaluation: Evaluation, dataset: ColumnsDataset) -> list[str]:
    """Names and patterns of the scores of each column, overall and in slices."""
    names = [f"{kind}/{column}" for column in dataset.columns for kind in COLUMN_SCORES]
    return names + ([f"{name}/*" for name in names] if evaluation.histograms.slices else [])


def _check_given(where: str, score: str, names: Sequence[str], metrics: Sequence[Part]) -> None:
    """Raise ConfigError where a score is none of `names` (which may be patterns), and no metric gives it."""
    if any(fnmatchcase(score, name) for name in names) or any(gives(m.name, m.settings, score) for m in metrics):
        return
    known = list(dict.fromkeys([*names, *(p for m in metrics for p in patterns_of(m.name, m.settings))]))
    raise ConfigError(
        f"{where}: no metric or regressor of the evaluation gives the score "
        f"{shown(score)}{nearest(score, known)}; there are {', '.join(known[:20])}{', ...' * (len(known) > 20)}"
    )


def _check_scan(study: Study, run: Run) -> None:
    """Raise ConfigError where the evaluation of a point of a scan does not give the score that points are compared by."""
    model, evaluation, dataset = study.models[run.model], study.evaluations[run.evaluation], study.datasets[run.dataset]
    if model.point is None:
        return
    score = scan_score(evaluation, dataset)
    if isinstance(dataset, ColumnsDataset):
        tests = ["classifier/trees/auc"] if "trees" in evaluation.tests else []
        names = [*tests, *_column_scores(evaluation, dataset)]
        _check_given(f"evaluations.{run.evaluation}.scan_by", score, names, [])
        return
    names = [f"classifier/{test}/{kind}" for test in evaluation.tests for kind in CLASSIFIER_SCORES]
    names += network_scores(evaluation.regression.regressors)
    metrics = [*evaluation.metrics, *(evaluation.epochs.metrics if model.kept_epochs else [])]
    _check_given(f"evaluations.{run.evaluation}.scan_by", score, names, metrics)


def scan_score(evaluation: Evaluation, dataset: AnyDataset) -> str:
    """Name of the score that points of a scan are compared by: `scan_by` of the evaluation, or its default."""
    return select_score(evaluation, dataset) if evaluation.scan_by is None else evaluation.scan_by


def select_score(evaluation: Evaluation, dataset: AnyDataset) -> str:
    """Name of the score that chooses the epoch: `epochs.select`; where that is the default, of columns another one."""
    select = evaluation.epochs.select
    if isinstance(dataset, ColumnsDataset) and select == EpochsConfig().select:  # which columns do not have
        return f"wasserstein/{dataset.columns[0]}"
    return select
