"""Where the generators of a study stand among the CaloChallenge's submissions: datasets with a geometry of the challenge.

Which data the scores of a study rest on is not in its files: they are marked as measured on other data wherever they
stand beside the published ones. ``calopipe evaluate`` with the official reference gives scores that compare.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from calopipe.evaluation.outside import unseen
from calopipe.plots.leaderboard import quality_speed_figure
from calopipe.records.samples import GENERATED
from calopipe.records.scores import Score
from calopipe.report.data import DatasetData, ModelData
from calopipe.report.drawing import Task, file_name
from calopipe.report.leaderboard import OTHER_DATA, UNRANKED, Leaderboard, OwnScores, own_scores, place
from calopipe.report.numbers import format_measurement
from calopipe.report.placement import quality_speed_plots
from calopipe.report.published import CITATION, SIMULATION, Metric, PublishedTable, Value, published_table
from calopipe.report.sources import Source, Sourced, files, sources_of
from calopipe.report.tables import Table, combine
from calopipe.sources import SETS


def standing_tasks(data: DatasetData) -> Iterator[Task]:
    """Quality against time per shower, beside the submissions."""
    table, own = _placed(data)
    if table is None or not own:
        return
    for metric, name, arguments in quality_speed_plots(place(table, own)):
        label = arguments["label"].replace("$\\times 10^3$", "\N{MULTIPLICATION SIGN} 1000")
        caption = f"{data.name}: {label} against time per shower, with published submissions"
        shown = {scores.name for scores in own if metric.key in scores.values}
        models = [m for m in data.models if m.name in shown]
        found = [source for model in models for source in (*_sources(model, metric), *_timing_source(model))]
        file, sources = file_name(data.name, name), files(source.path for source in found)
        yield Task("standing", file, caption, quality_speed_figure, (), arguments, wide=True, sources=sources)


def standing_tables(data: DatasetData) -> Iterator[Table]:
    """Score and rank of each generator, the best published score and Geant4's own; each is ranked on its own."""
    table, own = _placed(data)
    if table is None or not own:
        return
    boards = [place(table, [scores]) for scores in own]
    models = [next(m for m in data.models if m.name == scores.name) for scores in own]
    metrics = [m for m in table.metrics if any(m.key in scores.values for scores in own)]
    yield Table(
        columns=("Score", *(scores.name for scores in own), "best published", SIMULATION),
        rows=tuple(_row(metric, boards, models) for metric in metrics),
        caption=f"CaloChallenge set {table.dataset}: {len(table.submissions)} published submissions",
        note=(
            f"Rank: among the published submissions and this generator. {OTHER_DATA}: measured on the data of this study, "
            "not against the challenge's official reference files, by classifiers as this study configures them: the rank "
            "shows the order of magnitude at best. For comparable scores use calopipe evaluate. Times are of different "
            f"machines. {UNRANKED}: does not see a part of the sample (see the warnings). Ranks follow the distance from "
            f"the perfect value: 0, 1/2 for an AUC, the value of {SIMULATION} for precision, recall, density and coverage. "
            f"{SIMULATION}: two samples of the simulation compared with each other. Published numbers: {CITATION}."
        ),
    )


def _row(metric: Metric, boards: Sequence[Leaderboard], models: Sequence[ModelData]) -> tuple[str, ...]:
    cells = []
    for board, model in zip(boards, models, strict=True):
        entry = board.own[0]
        value = entry.values.get(metric.key)
        place = entry.ranks.get(metric.key)
        rank = "not ranked" if place is None else f"rank {place} of {board.competitors(metric)}"
        rank = f"{entry.marks(metric)}\n{rank}"
        cells.append(Sourced("" if value is None else _text(value) + rank, _sources(model, metric)))
    best = boards[0].best(metric)
    first = f"{_text(best.values[metric.key])} \n{best.name}" if best else ""
    return (metric.label, *cells, first, _text(boards[0].entries[0].values.get(metric.key)))


def _sources(model: ModelData, metric: Metric) -> tuple[Source, ...]:
    """The files of a model's value."""
    if metric.group == "time":
        return _timing_source(model)
    return sources_of(s for seed in model.seeds for s in seed.scores if (s.name, s.sample) == (metric.score, GENERATED))


def _timing_source(model: ModelData) -> tuple[Source, ...]:
    return () if model.timed is None else (model.timed.source("timing"),)


def _text(value: Value | None) -> str:
    return "" if value is None else format_measurement(*value)


def _placed(data: DatasetData) -> tuple[PublishedTable | None, list[OwnScores]]:
    """The published table of the dataset's geometry, and the models with at least one of its scores."""
    names = {geometry: name for name, geometry in SETS.items()}
    if data.geometry is None or data.geometry.name not in names:
        return None, []
    table = published_table(names[data.geometry.name])
    qualities = {m.key for m in table.metrics if m.group != "time"}
    own = [own_scores(m.name, _combined(m), _timings(m)) for m in data.models]
    return table, [scores for scores in own if qualities & set(scores.values)]


def _timings(model: ModelData) -> list[dict[str, Any]]:
    """The first timing record of a model, as in the table of generation times."""
    return [model.timed.timing] if model.timed is not None and model.timed.timing else []


def _combined(model: ModelData) -> list[Score]:
    """One score of each name over the seeds; calibrated AUCs are those of all trainings of all seeds."""
    groups: dict[str, list[Score]] = {}
    for score in (s for seed in model.seeds for s in seed.scores if s.sample == GENERATED):
        groups.setdefault(score.name, []).append(score)
    found = []
    for scores in groups.values():
        combined = combine(scores)
        if combined is not None:
            worst = next((s for s in scores if unseen(s) is not None), scores[0])
            extra = {k: v for k, v in worst.extra.items() if k.startswith(("outside_", "inside_"))} | _calibrated(
                scores
            )
            found.append(replace(scores[0], value=combined[0], error=combined[1], extra=extra))
    return found


def _calibrated(scores: Sequence[Score]) -> dict[str, Any]:
    """Calibrated AUCs of all trainings of all seeds, and the error of their mean; nothing where the scores have none."""
    each = [(s, s.extra["calibrated"]) for s in scores if s.extra.get("calibrated")]
    if not each:
        return {}
    means = [replace(s, value=sum(c) / len(c), error=s.extra.get("calibrated_error", s.error)) for s, c in each]
    combined = combine(means)
    return {"calibrated": [auc for _, c in each for auc in c], "calibrated_error": combined[1] if combined else None}
