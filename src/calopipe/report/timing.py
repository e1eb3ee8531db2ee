"""Generation times as figure and table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from calopipe.plots.timing import timing_figure
from calopipe.report.data import DatasetData
from calopipe.report.drawing import Task, file_name
from calopipe.report.numbers import format_value
from calopipe.report.sources import Source, Sourced, files
from calopipe.report.tables import Table


def timing_tasks(data: DatasetData) -> Iterator[Task]:
    """Generation time per shower of every model."""
    timed = [(model.style, seed) for model in data.models if (seed := model.timed) is not None]
    if timed:
        caption = f"{data.name}: generation time per {data.wording.one}"
        arguments = ([(style, seed.timing) for style, seed in timed], data.name, data.wording.one)
        sources = files(seed.run.timing for _, seed in timed)
        yield Task("timing", file_name(data.name, "timing"), caption, timing_figure, arguments, sources=sources)


@dataclass(frozen=True)
class TimingRow:
    """Generation time of one model and batch size; `at_once`: showers that pass the networks at once, where these are fewer."""

    model: str
    batch_size: int
    at_once: int
    time: str
    span: str
    repeats: str
    networks: str
    ratio: str
    device: str
    memory: str


def timing_rows(timings: Sequence[tuple[str, Mapping[str, Any]]]) -> list[TimingRow]:
    """One row per model and batch size; `ratio` is Geant4's time over the model's, where Geant4's is known."""
    rows = []
    for model, record in timings:
        geant4, memory = record.get("geant4_ms"), record.get("peak_memory_MiB")
        for r in sorted(record["results"], key=lambda item: item["batch_size"]):
            rows.append(
                TimingRow(
                    model=model,
                    batch_size=r["batch_size"],
                    at_once=r.get("at_once", r["batch_size"]),
                    time=format_value(r["median_ms"]),
                    span=f"{format_value(r['low_ms'])}\N{EN DASH}{format_value(r['high_ms'])}",
                    repeats=str(r.get("n_repeats", "")),
                    networks=_by_network(r.get("networks_ms", {})),
                    ratio=format_value(geant4 / r["median_ms"], 2) if geant4 and r["median_ms"] > 0 else "",
                    device=f"{record.get('device', '?')}, {record.get('threads', '?')} threads",
                    memory=f"{memory:.0f}" if memory else "",
                )
            )
    return rows


def _by_network(milliseconds: Mapping[str, float]) -> str:
    """Times in the networks of a chain; nothing of a single one."""
    if len(milliseconds) < 2:
        return ""
    return ", ".join(f"{name} {format_value(value, 2)}" for name, value in milliseconds.items())


def timing_tables(data: DatasetData) -> Iterator[Table]:
    """Time per shower of every model (its first seed with times) and batch size, beside Geant4's where that is known."""
    timed = [(m.name, seed, seed.timing) for m in data.models if (seed := m.timed) is not None and seed.timing]
    if not timed:
        return
    rows = [_cells(row, s.source("timing")) for name, s, record in timed for row in timing_rows([(name, record)])]
    geant4 = next((s for _, s, record in timed if record.get("geant4_ms")), None)
    known = " Geant4: time not known for this dataset." if data.geometry is not None else ""
    if geant4 is not None and geant4.timing is not None:
        time = Sourced(format_value(geant4.timing["geant4_ms"]), [geant4.source("timing")])
        from_where = geant4.timing.get("geant4_source") or "one core"
        rows.append(("Geant4", from_where, "", time, *[""] * 5))
        known = f" Geant4, {from_where}: not timed here; the factor compares with that time."
    yield Table(
        columns=(
            "Model",
            "Device",
            "Batch size",
            f"ms per {data.wording.one}",
            "range",
            "repeats",
            "in each network",
            "Geant4 / model",
            "peak MiB",
        ),
        rows=tuple(rows),
        text_columns=2,
        note=f"Median over repeats after a warm-up; range: 16 to 84 % of the repeats; in each network: one more call.{known}",
    )


def _cells(row: TimingRow, source: Source) -> tuple[str, ...]:
    numbers = (_size(row), row.time, row.span, row.repeats, row.networks, row.ratio, row.memory)
    return row.model, row.device, *(Sourced(text, [source]) for text in numbers)


def _size(row: TimingRow) -> str:
    """The batch size; smaller pieces, where memory does not hold so many showers at once, are told."""
    return str(row.batch_size) if row.at_once == row.batch_size else f"{row.batch_size} ({row.at_once} at once)"
