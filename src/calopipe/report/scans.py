"""Scans: the score of every point, the best of them with those that are as good within errors, and it against each setting."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from calopipe.config.scans import short_names, value_text
from calopipe.errors import CalopipeError
from calopipe.io.stored import reading
from calopipe.plots.scans import ScanDot, scan_figure
from calopipe.plots.scores import Dot
from calopipe.records.samples import GENERATED
from calopipe.records.scores import Score, parsed_score
from calopipe.report.data import DatasetData, ModelData, SeedData
from calopipe.report.drawing import Task, file_name
from calopipe.report.sources import ReadScore, Sourced, paths_of, sources_of
from calopipe.report.tables import Cell, Table, score_groups


@dataclass(frozen=True)
class Point:
    """A point of a scan.

    Attributes:
        model: the model that it is, and its seeds.
        settings: values of the scanned settings by their keys.
        scores: that which points are compared by, of each seed.
        cell: the same combined over seeds, marked where it is the best or as good within errors.
    """

    model: ModelData
    settings: Mapping[str, Any]
    scores: list[Score]
    cell: Cell

    @property
    def best(self) -> bool:
        """Whether no other point is better by more than the errors."""
        return self.cell.best or self.cell.tied


@dataclass(frozen=True)
class Scan:
    """A scan on one dataset: its name, the score that compares its points, these, and whether it is of kept epochs."""

    name: str
    by: str
    points: list[Point]
    of_epochs: bool

    @property
    def keys(self) -> list[str]:
        """Keys of the settings that it varies."""
        return list(dict.fromkeys(key for point in self.points for key in point.settings))

    @property
    def ranked(self) -> list[Point]:
        """Its points, the nearest to a perfect score first and those without one last."""
        target = next((s.target for p in self.points for s in p.scores if s.value is not None), 0.0)

        def distance(point: Point) -> float:
            return float("inf") if point.cell.value is None else abs(point.cell.value - target)

        return sorted(self.points, key=distance)


def scans_of(data: DatasetData) -> list[Scan]:
    """The scans of a dataset, in order of appearance."""
    found: dict[tuple[str, str], list[ModelData]] = {}
    for model in data.models:
        told = model.seeds[0].run.scan
        if told is not None:
            found.setdefault((told["scan"], told["by"]), []).append(model)
    return [_scan(name, by, models) for (name, by), models in found.items()]


def _scan(name: str, by: str, models: Sequence[ModelData]) -> Scan:
    found = [[_scores(seed.scores, by) for seed in model.seeds] for model in models]
    of_epochs = not any(scores for seeds in found for scores in seeds)
    if of_epochs:
        found = [[_scores(epoch_scores(seed), by) for seed in model.seeds] for model in models]
    absent = [Score.absent(by, 0, "not computed")]  # a mean without the seeds that have none would look better for it
    judged = [[scores or absent for scores in seeds] for seeds in found]
    columns = {(model.name, GENERATED): seeds for model, seeds in zip(models, judged, strict=True)}
    (row,) = (row for group in score_groups(columns) for row in group.rows)
    points = [
        Point(model, (model.seeds[0].run.scan or {})["settings"], [s for scores in seeds for s in scores], cell)
        for model, seeds, cell in zip(models, judged, row.cells, strict=True)
    ]
    return Scan(name, by, points, of_epochs)


def _scores(scores: Sequence[Score], name: str) -> list[Score]:
    return [s for s in scores if s.name == name and s.sample == GENERATED]


def epoch_scores(seed: SeedData, epoch: int | None = None) -> list[Score]:
    """Scores of a kept epoch of a training, the best one if None."""
    if not seed.epochs:
        return []
    try:
        with reading(seed.run.epochs or "", "not the scores of kept epochs"):
            wanted = seed.epochs["best"].get("epoch") if epoch is None else epoch
            items = [s for row in seed.epochs["epochs"] if row["epoch"] == wanted for s in row["scores"]]
            scores = [replace(parsed_score(item), sample=GENERATED) for item in items]
            return [ReadScore.of(score, seed.source("epochs")) for score in scores]
    except CalopipeError:
        return []


def scan_tables(data: DatasetData) -> Iterator[Table]:
    """All points of each scan, the best first."""
    for scan in scans_of(data):
        ranked = scan.ranked
        yield Table(
            columns=("Point", *scan.keys, scan.by, "n", "Seeds"),
            rows=tuple(_row(point, scan.keys) for point in ranked),
            text_columns=1 + len(scan.keys),
            caption=f"{scan.name}: {len(ranked)} points",
            note=" ".join(_notes(scan, ranked)),
            marked=frozenset(i for i, point in enumerate(ranked) if point.best),
        )


def _row(point: Point, keys: Sequence[str]) -> tuple[str, ...]:
    values = [value_text(point.settings[key]) if key in point.settings else "" for key in keys]
    cell, sources = point.cell, sources_of(point.scores)
    n = Sourced(str(cell.n), sources) if cell.n else ""
    return point.model.name, *values, cell.text or cell.reason, n, str(len(point.model.seeds))


def _notes(scan: Scan, ranked: Sequence[Point]) -> Iterator[str]:
    best = [point for point in ranked if point.best]
    target = next((s.target for p in ranked for s in p.scores), 0.0)
    if best:
        others = ", ".join(f"{p.model.name} ({p.cell.text})" for p in best[1:])
        yield f"Best: {best[0].model.name} ({best[0].cell.text}); as good within errors: {others or 'none'}."
    else:
        yield "No point is the best: there are not two with a score and its error, or the test sees too little."
    yield f"Points are ordered by the distance of {scan.by} from {target:g}, those of the first place are marked."
    if scan.of_epochs:
        yield "Scores are those of the best kept epoch, on validation data; the best of several is a little too good."
    missing = sum(point.cell.value is None for point in ranked)
    if missing:
        yield f"{missing} of {len(ranked)} points have no score."


def scan_tasks(data: DatasetData) -> Iterator[Task]:
    """The score against every setting that takes several values."""
    for scan in scans_of(data):
        keys, shown = scan.keys, [p for p in scan.points if p.cell.value is not None]
        dots = [_dot(point, keys) for point in shown]
        floor = next((s.floor for p in shown for s in p.scores if s.floor is not None), None)
        names = short_names(keys)
        for key in keys:
            if len({dot.values[key] for dot in dots}) < 2:
                continue
            caption = f"{data.name}: {scan.by} of the points of {scan.name} against {key}"
            arguments = (dots, key, names, scan.by, floor, f"{data.name}: {scan.name}")
            sources = paths_of(s for p in shown for s in p.scores)
            file = file_name(data.name, "scan", scan.name, names[key])
            yield Task("scan", file, caption, scan_figure, arguments, sources=sources)


def _dot(point: Point, keys: Sequence[str]) -> ScanDot:
    values = {key: value_text(point.settings[key]) if key in point.settings else "not set" for key in keys}
    numbers = {k: v for k, v in point.settings.items() if isinstance(v, int | float) and not isinstance(v, bool)}
    return ScanDot(values, numbers, Dot(point.cell.value or 0.0, point.cell.error), point.best)
