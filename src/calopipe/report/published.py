"""The published scores of the CaloChallenge's submissions (arXiv:2410.21611), and how ours correspond to its columns."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Literal

from calopipe.errors import ConfigError, DataError, nearest

#: the challenge's sets by the names of its evaluation script
DATASETS = ("1-photons", "1-pions", "2", "3")
CITATION = "CaloChallenge 2022, arXiv:2410.21611"
#: the row that compares two samples of the simulation: what a perfect generator gets
SIMULATION = "GEANT4"

Value = tuple[float, float | None]  # value, error


@dataclass(frozen=True)
class Metric:
    """One column of the published table that submissions are ranked by.

    Attributes:
        key: the column's name.
        label: short heading, for people.
        group: heading of several metrics: classifiers, distances, neighbours, separations, time.
        score: name of the score in our files; None for times.
        scale: what our value is multiplied by to compare with the column.
        goal: the perfect value: 0, 1/2 for an AUC, or the simulation's own (``simulation``), which for nearest-neighbour
            scores is what two samples of one distribution give. Submissions are ranked by their distance from it.
        error: column with its error, or None.
    """

    key: str
    label: str
    group: str
    score: str | None = None
    scale: float = 1.0
    goal: float | Literal["simulation"] = 0.0
    error: str | None = None


def _separation(key: str, label: str, name: str) -> Metric:
    return Metric(key, f"S({label})", "separations", f"challenge_separation/{name}")


def _auc(key: str, label: str, name: str) -> Metric:
    return Metric(key, f"AUC {label}", "classifiers", f"classifier/{name}/auc", 1.0, 0.5, f"{key} std")


METRICS: tuple[Metric, ...] = (
    _auc("binary cls low", "low", "low"),
    _auc("binary cls high", "high", "high"),
    _auc("binary cls cnn", "ResNet", "resnet"),
    Metric("FPD * 1e3", "FPD x 1e3", "distances", "fpd", 1e3, 0.0, "FPD * 1e3 std"),
    Metric("KPD * 1e3", "KPD x 1e3", "distances", "kpd", 1e3, 0.0, "KPD * 1e3 std"),
    *(
        Metric(k, k, "neighbours", f"prdc/{k}", 1.0, "simulation")
        for k in ("precision", "recall", "density", "coverage")
    ),
    _separation("sep E total", "E_tot/E_inc", "E_ratio"),
    _separation("sep E layer", "E_layer", "mean_layers/E_layer"),
    _separation("sep cell", "voxels", "voxels"),
    _separation("sep EC eta", "EC_eta", "mean_layers/EC_eta"),
    _separation("sep EC phi", "EC_phi", "mean_layers/EC_phi"),
    _separation("sep EC r", "EC_r", "mean_layers/EC_r"),
    _separation("sep EC eta std", "width_eta", "mean_layers/width_eta"),  # "std" is the width here, no error
    _separation("sep EC phi std", "width_phi", "mean_layers/width_phi"),
    _separation("sep EC r std", "width_r", "mean_layers/width_r"),
    _separation("sep sparsity", "sparsity", "mean_layers/sparsity"),
    *(
        Metric(f"time {device} {size}", f"ms, {device}, batch {size}", "time", error=f"time {device} {size} std")
        for device in ("GPU", "CPU")
        for size in (1, 100, 10000)
    ),
)


@dataclass(frozen=True)
class Submission:
    """One row of the published table: metric key -> (value, error or None); what was not published is left out."""

    name: str
    values: Mapping[str, Value]


@dataclass(frozen=True)
class PublishedTable:
    """The published table of one set: its submissions, and the simulation compared with itself."""

    dataset: str
    simulation: Submission
    submissions: tuple[Submission, ...]

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Metrics that at least one submission has."""
        return tuple(m for m in METRICS if any(m.key in s.values for s in self.submissions))

    def goal(self, metric: Metric) -> float:
        """The perfect value of a metric on this set."""
        if isinstance(metric.goal, float):
            return metric.goal
        return self.simulation.values[metric.key][0]


def published_table(dataset: str) -> PublishedTable:
    """Read the published table of one of :data:`DATASETS`.

    Raises:
        ConfigError: no such set.
        DataError: the file is damaged.
    """
    if dataset not in DATASETS:
        known = ", ".join(DATASETS)
        raise ConfigError(f"no published table of dataset '{dataset}'{nearest(dataset, DATASETS)}; there are {known}")
    name = f"calochallenge_{dataset}.csv"
    text = resources.files("calopipe").joinpath("published", name).read_text(encoding="utf-8")
    return parse_table(dataset, text, name)


def parse_table(dataset: str, text: str, name: str) -> PublishedTable:
    """Parse the text of a table called `name`. Raises DataError naming row and column of what is not a number."""
    rows = [_submission(row, name) for row in csv.DictReader(text.splitlines())]
    simulation = [row for row in rows if row.name == SIMULATION]
    if len(simulation) != 1 or len({row.name for row in rows}) != len(rows):
        raise DataError(f"{name}: expected one row '{SIMULATION}' and different names of submissions")
    return PublishedTable(dataset, simulation[0], tuple(row for row in rows if row.name != SIMULATION))


def _submission(row: Mapping[str, str], name: str) -> Submission:
    submission = row.get("submission") or ""
    values = {}
    for metric in METRICS:
        value = _number(row.get(metric.key), f"{name}, {submission}, {metric.key}")
        if value is not None:
            error = None if metric.error is None else _number(row.get(metric.error), f"{name}, {submission}")
            values[metric.key] = (value, error)
    return Submission(submission, values)


def _number(text: str | None, where: str) -> float | None:
    if text is None or not text.strip():
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(f"{where}: expected a number, found '{text}'")
    return value
