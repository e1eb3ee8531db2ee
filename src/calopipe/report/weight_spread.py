"""Figures of the uncertain weights of each model's Bayesian networks (first seed)."""

from __future__ import annotations

from collections.abc import Iterator

from calopipe.plots.weight_spread import spread_figure
from calopipe.report.data import DatasetData
from calopipe.report.drawing import Task, file_name
from calopipe.report.sources import files
from calopipe.report.training import training_tasks


def spread_tasks(data: DatasetData) -> Iterator[Task]:
    """One figure for each network whose weights are distributions."""
    for model in data.models:
        first = next((seed for seed in model.seeds if seed.weight_spread), None)
        if first is None:
            continue
        for network, spread in first.weight_spread.items():
            title = f"{model.name}: {network}"
            file = file_name(data.name, model.name, network, "weight-spread")
            yield Task("training", file, f"{data.name}: {title}, variances of the weights", spread_figure,
                       (spread, model.style, title), sources=files([first.run.weight_spread]))  # fmt: skip


def network_tasks(data: DatasetData) -> Iterator[Task]:
    """How networks were trained, and how uncertain their weights are."""
    yield from training_tasks(data)
    yield from spread_tasks(data)
