"""Scores placed in the published table of a CaloChallenge set: ranks, tables in Markdown and CSV, a table for terminals.

A rank counts the submissions that are nearer to the perfect value of a metric (arXiv:2410.21611 compares them the same
way: AUC to 1/2, separation powers and distances to 0), so equal values share a rank. Errors are shown, not used. Scores
that were measured on other data than the challenge's own reference files are marked wherever they appear. A score that
does not see a part of its sample (entries outside the histograms, showers without any) has no rank.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from calopipe.evaluation.outside import unseen
from calopipe.records.scores import Score
from calopipe.report.numbers import aligned, format_measurement
from calopipe.report.published import CITATION, METRICS, SIMULATION, Metric, PublishedTable, Value

#: marks values measured on other data than the official files
OTHER_DATA = "\N{DAGGER}"
#: marks values that are not ranked
UNRANKED = "\N{DOUBLE DAGGER}"
OWN = "\N{BLACK RIGHT-POINTING TRIANGLE}"


@dataclass(frozen=True)
class OwnScores:
    """Scores to be placed.

    Attributes:
        name: what the row is called.
        values: metric key -> (value, error or None), in the table's units.
        official: measured against the challenge's own reference files, all of them.
        note: where these scores come from, and what keeps them from being compared; may be empty.
        unranked: metric key -> why its value has no rank.
    """

    name: str
    values: Mapping[str, Value]
    official: bool
    note: str = ""
    unranked: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Entry:
    """One row of a leaderboard: ranks by metric key; the simulation has none."""

    name: str
    values: Mapping[str, Value]
    ranks: Mapping[str, int]
    own: bool = False
    official: bool = True
    note: str = ""
    unranked: Mapping[str, str] = field(default_factory=dict)

    def marked(self, metric: Metric) -> bool:
        """Whether this entry's value was measured on other data than the official files (times are no matter of data)."""
        return not self.official and metric.group != "time"

    def marks(self, metric: Metric) -> str:
        """What stands behind its value."""
        return (OTHER_DATA if self.marked(metric) else "") + (UNRANKED if metric.key in self.unranked else "")


@dataclass(frozen=True)
class Leaderboard:
    """All rows of one set, the simulation first, then the submissions as published, then the own rows.

    Attributes:
        dataset: the challenge's name of the set.
        metrics: columns, in order.
        competitors: metric key -> how many rows have a rank.
    """

    dataset: str
    metrics: tuple[Metric, ...]
    entries: tuple[Entry, ...]
    goals: Mapping[str, float]

    @property
    def own(self) -> tuple[Entry, ...]:
        """The rows that were placed."""
        return tuple(e for e in self.entries if e.own)

    def competitors(self, metric: Metric) -> int:
        """How many rows have a rank in this metric."""
        return sum(metric.key in e.ranks for e in self.entries)

    def best(self, metric: Metric) -> Entry | None:
        """The published submission with the best value; None when no one has one."""
        rivals = [e for e in self.entries if not e.own and metric.key in e.ranks]
        return min(rivals, key=lambda e: e.ranks[metric.key], default=None)


def own_scores(
    name: str,
    scores: Iterable[Score],
    timings: Iterable[Mapping[str, Any]] = (),
    official: bool = False,
    note: str = "",
    sample: str = "generated",
) -> OwnScores:
    """Convert scores, and timing records (:func:`calopipe.evaluation.timing.measure_timing`), to the table's columns.

    AUCs are the calibrated ones where the score has them: those are what the table quotes. A time counts as GPU or CPU
    by the device it was measured on; its error is half of the range from the 16 % to the 84 % quantile.
    """
    found = {s.name: s for s in scores if s.sample == sample and s.value is not None}
    values = {m.key: _in_units(found[m.score], m) for m in METRICS if m.score in found}
    keys = {m.key for m in METRICS}
    for record in timings:
        device = "CPU" if record.get("accelerator_memory_MiB") is None else "GPU"
        for r in record["results"]:
            key = f"time {device} {r['batch_size']}"
            if key in keys:
                values[key] = (float(r["median_ms"]), 0.5 * (float(r["high_ms"]) - float(r["low_ms"])))
    blind = {m.key: unseen(found[m.score]) for m in METRICS if m.score in found}
    return OwnScores(name, values, official, note, {k: text for k, text in blind.items() if text is not None})


def _in_units(score: Score, metric: Metric) -> Value:
    calibrated = score.extra.get("calibrated")
    if metric.group == "classifiers" and calibrated:
        spread = float(np.std(calibrated, ddof=1)) if len(calibrated) > 1 else score.error
        return float(np.mean(calibrated)), score.extra.get("calibrated_error", spread)
    error = None if score.error is None else metric.scale * score.error
    return metric.scale * float(score.value or 0.0), error


def place(table: PublishedTable, own: Sequence[OwnScores]) -> Leaderboard:
    """Rank submissions and own scores together, metric by metric, by the distance from the perfect value."""
    rows: list[tuple[str, Mapping[str, Value]]] = [(s.name, s.values) for s in table.submissions]
    rows += [(s.name, s.values) for s in own]
    ranks: list[dict[str, int]] = [{} for _ in rows]
    goals = {m.key: table.goal(m) for m in table.metrics}
    blind = [*({} for _ in table.submissions), *(scores.unranked for scores in own)]
    for key, goal in goals.items():
        ranked = {i: values[key][0] for i, (_, values) in enumerate(rows) if key in values and key not in blind[i]}
        distance = {i: abs(value - goal) for i, value in ranked.items()}
        for i, d in distance.items():
            ranks[i][key] = 1 + sum(other < d * (1 - 1e-9) for other in distance.values())  # rounding is no rank
    entries = [Entry(SIMULATION, table.simulation.values, {})]
    entries += [Entry(*row, rank) for row, rank in zip(rows, ranks, strict=True)][: len(table.submissions)]
    for scores, rank in zip(own, ranks[len(table.submissions) :], strict=True):
        entries.append(Entry(scores.name, scores.values, rank, True, scores.official, scores.note, scores.unranked))
    return Leaderboard(table.dataset, table.metrics, tuple(entries), goals)


# ---- tables -------------------------------------------------------------------------------------------------------
def notes(board: Leaderboard) -> list[str]:
    """Footnotes: what the marks mean, where the numbers come from."""
    lines = []
    if any(e.marked(m) for e in board.own for m in board.metrics if m.key in e.values):
        lines.append(
            f"{OTHER_DATA} measured on other data than the challenge's official reference files: not comparable with the "
            "published numbers; the rank shows the order of magnitude at best."
        )
    for entry in board.own:
        labels = [m.label for m in board.metrics if m.key in entry.unranked and m.key in entry.values]
        reasons = dict.fromkeys(entry.unranked[m.key] for m in board.metrics if m.key in entry.unranked)
        if labels:
            lines.append(f"{UNRANKED} {entry.name}: {', '.join(labels)} not ranked: {'; '.join(reasons)}")
    lines += [f"{e.name}: {e.note}" for e in board.own if e.note]
    if any(m.group == "time" and m.key in e.values for e in board.own for m in board.metrics):
        lines.append("Times were measured on other machines than the published ones.")
    lines.append(
        f"Ranks follow the distance from the perfect value: 0, 1/2 for an AUC, the value of {SIMULATION} for nearest-"
        f"neighbour scores. {SIMULATION}: two samples of the simulation compared with each other. Published numbers: {CITATION}."
    )
    return lines


def terminal_table(board: Leaderboard) -> str:
    """One block per own row: each metric with value, rank, the best published value and the simulation's own."""
    blocks = []
    simulation = board.entries[0]
    for entry in board.own:
        lines = [("", entry.name, "rank", "best published", SIMULATION)]
        for metric in board.metrics:
            if metric.key not in entry.values:
                continue
            best = board.best(metric)
            place = entry.ranks.get(metric.key)
            rank = "not ranked" if place is None else f"{place} of {board.competitors(metric)}"
            text = _text(entry.values[metric.key]) + entry.marks(metric)
            first = f"{_text(best.values[metric.key])}  {best.name}" if best else ""
            lines.append((metric.label, text, rank, first, _text(simulation.values.get(metric.key))))
        if len(lines) == 1:
            lines.append(("no score of this file is in the published table", "", "", "", ""))
        blocks.append(aligned(lines))
    heading = f"CaloChallenge set {board.dataset}: {len(board.entries) - 1 - len(board.own)} published submissions"
    return "\n\n".join([heading, *blocks, "\n".join(notes(board))])


def _text(value: Value | None) -> str:
    return "" if value is None else format_measurement(*value)


def markdown_table(board: Leaderboard) -> str:
    """The whole table, one part per group of metrics: ``value (rank)``; own rows are bold and marked."""
    parts = [f"# CaloChallenge set {board.dataset}: scores in the published table", ""]
    for group in dict.fromkeys(m.group for m in board.metrics):
        metrics = [m for m in board.metrics if m.group == group]
        parts += [f"## {group.capitalize()}", "", _line(["submission", *(m.label for m in metrics)])]
        parts.append(_line(["---"] * (1 + len(metrics))))
        parts += [_line(_cells(entry, metrics)) for entry in _ordered(board, metrics)]
        parts.append("")
    return "\n".join([*parts, *(f"{note}\n" for note in notes(board))])


def _ordered(board: Leaderboard, metrics: Sequence[Metric]) -> list[Entry]:
    """The simulation, then the rows by their mean rank in these metrics; rows without any of them are left out."""

    def mean_rank(entry: Entry) -> float:
        ranks = [entry.ranks[m.key] for m in metrics if m.key in entry.ranks]
        return float(np.mean(ranks)) if ranks else np.inf

    shown = [e for e in board.entries if e.own or any(m.key in e.values for m in metrics)]
    return sorted(shown, key=lambda e: (e.name != SIMULATION or e.own, mean_rank(e)))


def _cells(entry: Entry, metrics: Sequence[Metric]) -> list[str]:
    cells = [f"{OWN} {entry.name}" if entry.own else entry.name]
    for m in metrics:
        mark = entry.marks(m)
        rank = f" ({entry.ranks[m.key]})" if m.key in entry.ranks else ""
        cells.append(f"{_text(entry.values[m.key])}{mark}{rank}" if m.key in entry.values else "")
    return [f"**{c}**" if c else c for c in cells] if entry.own else cells


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(c.replace('|', '/') for c in cells)} |"


def csv_rows(board: Leaderboard) -> list[dict[str, str | int | float | None]]:
    """Rows for :func:`calopipe.records.tables.write_table`: value, error and rank of every metric and entry."""
    rows = []
    for entry in board.entries:
        row: dict[str, str | int | float | None] = {"submission": entry.name, "own": int(entry.own)}
        row["official_data"] = int(entry.official)
        for m in board.metrics:
            value, error = entry.values.get(m.key, (None, None))
            row |= {m.key: value, f"{m.key} error": error, f"{m.key} rank": entry.ranks.get(m.key)}
        rows.append(row)
    return rows
