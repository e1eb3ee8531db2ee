"""Puts the report together: one HTML page with everything of a study, and the plots beside it."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from itertools import groupby
from pathlib import Path
from typing import Any

import jinja2
import yaml
from markupsafe import Markup, escape

from calopipe import provenance
from calopipe.errors import DataError
from calopipe.io.output import replacing
from calopipe.records.scores import Score
from calopipe.records.wording import Wording
from calopipe.report.artifacts import StudySummary
from calopipe.report.data import DatasetData, load_study_data
from calopipe.report.drawing import THUMBNAILS, Drawn, draw
from calopipe.report.figures import SECTIONS, dataset_tasks
from calopipe.report.index import write_index
from calopipe.report.links import Links
from calopipe.report.summary import verdicts
from calopipe.report.tables import Column, Group, Table, main_groups, score_groups, small_sample_note
from calopipe.report.training import Drawing

log = logging.getLogger("calopipe")


@dataclass(frozen=True)
class Part:
    """What stands under one heading: drawings, tables, then figures in order, in blocks of full-width or of single ones."""

    name: str
    title: str
    drawings: list[Drawing]
    tables: list[Table]
    blocks: list[tuple[bool, list[Drawn]]]


def build_report(summary: StudySummary, out_dir: str | Path, workers: int = 1, *, incomplete: bool = False) -> Path:
    """Write ``index.html`` and the folder ``plots`` into `out_dir`; nothing is computed anew, and nothing fetched.

    Pictures of an earlier report in ``plots`` that this one does not have are deleted. Its ``sources.json`` names the files
    that each picture is drawn from (:mod:`calopipe.report.index`).

    Args:
        summary: runs of the study with their files, see :class:`calopipe.report.artifacts.StudySummary`.
        out_dir: folder of the report, or its page where the name ends in ``.html``; folders are created where missing.
            Links to files of the study are relative to it.
        workers: processes that draw.
        incomplete: write the page although files are missing or damaged, with a note on each of them.

    Returns:
        Path of the page.

    Raises:
        DataError: the study has no runs, the folder cannot be written, or a file of the study is missing or damaged.
    """
    if not summary.runs:
        raise DataError(f"study '{summary.study}' has no runs to report on")
    path = Path(out_dir) if Path(out_dir).suffix == ".html" else Path(out_dir) / "index.html"
    out = path.parent
    try:
        (out / "plots").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{out}: the report cannot be written there ({error.strerror})") from error
    loaded = load_study_data(summary)
    missing = list(dict.fromkeys(note for data in loaded for note in data.notes))
    if missing and not incomplete:
        more = f" (and {len(missing) - 1} more files)" if len(missing) > 1 else ""
        for note in missing:
            log.error("%s", note)
        raise DataError(f"the report of study '{summary.study}' is not written: {missing[0]}{more}")
    links = Links(out)
    datasets = [_dataset(data, summary, links, workers) for data in loaded]
    page = _render(summary, datasets, links)
    drawn = [d for data in datasets for d in data["drawn"]]
    _remove_stale(out / "plots", drawn)
    write_index(out / "plots", drawn)
    with replacing(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def _remove_stale(folder: Path, drawn: Sequence[Drawn]) -> None:
    kept = {path for d in drawn for path in (d.png, d.pdf, d.thumbnail)}
    for path in (path for pattern in ("*.png", "*.pdf", f"{THUMBNAILS}/*.webp") for path in folder.glob(pattern)):
        if path not in kept:
            path.unlink(missing_ok=True)


def _dataset(data: DatasetData, summary: StudySummary, links: Links, workers: int) -> dict[str, Any]:
    """Everything the template shows of one dataset."""
    runs = [seed.run for model in data.models for seed in model.seeds]
    record = provenance.collect(f"{summary.study}: {data.name}", summary.config)
    tasks, plots = dataset_tasks(data), links.out / "plots"
    drawn = draw(tasks, plots, record, links.origins, dpi=summary.dpi, pdf=summary.pdf, workers=workers)
    columns = data.score_columns()
    groups = score_groups(columns)
    return {
        "name": data.name,
        "geometry": data.geometry,
        "geometry_name": runs[0].geometry or "none",
        "words": data.wording,
        "models": data.models,
        "notes": data.notes,
        "columns": list(columns),
        "colors": {model.name: model.style.color for model in data.models},
        "main": main_groups(groups),
        "groups": groups,
        "remarks": _remarks(groups, columns, data.wording),
        "verdicts": verdicts(data, drawn),
        "drawn": drawn,
        "sections": _parts(data, drawn),
        "files": {run.name: links.listed(run.files()) for run in runs},
        "inputs": list(dict.fromkeys(origin for d in drawn for origin in d.inputs)),
    }


def _parts(data: DatasetData, drawn: Sequence[Drawn]) -> list[Part]:
    """The sections that have something to show, in the order of the page."""
    found = []
    for section in SECTIONS:
        figures = [d for d in drawn if d.section == section.name]
        blocks = [(wide, list(block)) for wide, block in groupby(figures, key=lambda d: d.wide)]
        drawings, tables = list(section.drawings(data)), list(section.tables(data))
        if figures or tables or drawings:
            found.append(Part(section.name, section.title, drawings, tables, blocks))
    return found


def _remarks(
    groups: Sequence[Group], columns: Mapping[Column, Sequence[Sequence[Score]]], wording: Wording
) -> list[str]:
    """Warnings below the score table."""
    rows = [row for group in groups for row in group.rows]
    every = (s for seeds in columns.values() for scores in seeds for s in scores)
    remarks = [small_sample_note(every, wording.many)]
    if any(row.unequal for row in rows):
        remarks.append("Some rows compare samples of different size n, which biases scores: see column n.")
    if any(len(seeds) > 1 for seeds in columns.values()):
        remarks.append(
            "Several seeds: mean; its error is that of one seed and the standard deviation between k seeds over √k, added in "
            "quadrature, because the seeds share the reference."
        )
    return [remark for remark in remarks if remark]


def _breakable(name: str) -> Markup:
    """A name that may be broken into lines after slashes and underscores."""
    return Markup(re.sub("([/_])", r"\1<wbr>", str(escape(name))))


def _render(summary: StudySummary, datasets: Sequence[dict[str, Any]], links: Links) -> str:
    template = resources.files("calopipe.report").joinpath("template.html").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"relative": links.picture, "linked": links.number, "made": links.made}
    environment.filters["breakable"] = _breakable
    environment.filters["capital"] = lambda text: text[0].upper() + text[1:]
    return environment.from_string(template).render(
        study=summary.study,
        presets=summary.presets,
        datasets=datasets,
        words=next((d["words"] for d in datasets if d["geometry"]), datasets[0]["words"]),
        config=yaml.safe_dump(summary.config, sort_keys=False, allow_unicode=True) if summary.config else "",
        config_digest=provenance.digest(summary.config),
        code_version=provenance.code_version(),
        commit=provenance.git_state(),
        versions=provenance.versions(),
        hardware=provenance.hardware(),
        n_runs=len(summary.runs),
    )
