"""Decides which figures the report has of energy regressors and of scores by epoch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from calopipe.plots.epochs import EpochScores, epochs_figure
from calopipe.plots.regression import linearity_figure, resolution_figure
from calopipe.plots.scores import Dot
from calopipe.plots.style import LineStyle, sample_style
from calopipe.report.data import DatasetData, SeedData
from calopipe.report.drawing import Task, file_name


def regression_tasks(data: DatasetData) -> Iterator[Task]:
    """Linearity and resolution by every regressor."""
    names = dict.fromkeys(name for model in data.models for seed in model.seeds for name in seed.regression)
    for name in names:
        reference, samples = None, []
        for model in data.models:
            first = next((s.regression[name] for s in model.seeds if name in s.regression), {})
            for sample in model.samples():
                if f"{sample}/energy" in first:
                    samples.append((sample_style(model.style, sample), _curves_of(first, sample)))
            if reference is None and "reference/energy" in first:
                reference = _curves_of(first, "reference")
        if reference is None:
            continue
        for what, function in (("linearity", linearity_figure), ("resolution", resolution_figure)):
            caption = f"{data.name}: {what} of the regressor {name} (first seed of each model)"
            yield Task(
                "regression",
                file_name(data.name, name, what),
                caption,
                function,
                (reference, samples, f"{data.name}: regressor {name}"),
            )


def _curves_of(curves: Mapping[str, np.ndarray], sample: str) -> dict[str, np.ndarray]:
    prefix = f"{sample}/"
    return {k.removeprefix(prefix): v for k, v in curves.items() if k.startswith(prefix)}


def epoch_tasks(data: DatasetData) -> Iterator[Task]:
    """One figure per score, with the curves of all models (first seed of each) that kept epochs."""
    runs = [(m, s) for m in data.models for s in m.seeds[:1] if s.epochs]
    names = dict.fromkeys(name for _, seed in runs for name in _names(seed))
    for name in names:
        curves = [_scores(seed, name, sample_style(model.style, "generated")) for model, seed in runs]
        curves = [c for c in curves if c.dots]
        if curves:
            caption = f"{data.name}: {name} against the epoch"
            yield Task(
                "epochs", file_name(data.name, "epochs", name), caption, epochs_figure, (curves, name, data.name)
            )


def _names(seed: SeedData) -> list[str]:
    """Scores that are drawn: totals, and those that the choice of the epoch follows."""
    assert seed.epochs is not None
    found = dict.fromkeys(s["name"] for row in seed.epochs["epochs"] for s in row["scores"])
    select = seed.epochs["best"]["score"]
    return [n for n in found if n == select or n.count("/") == 0 or n.startswith(("frd/", "energy_regression/"))]


def _scores(seed: SeedData, name: str, style: LineStyle) -> EpochScores:
    assert seed.epochs is not None
    found = [(row["epoch"], s) for row in seed.epochs["epochs"] for s in row["scores"]]
    found = [(epoch, s) for epoch, s in found if s["name"] == name and s["value"] is not None]
    best = seed.epochs["best"]
    chosen = best.get("epoch") if best["score"] == name else None
    floor = next((s["floor"] for _, s in found if s["floor"] is not None), None)
    return EpochScores(style, {epoch: Dot(s["value"], s["error"]) for epoch, s in found}, floor, chosen)
