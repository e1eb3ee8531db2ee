"""Puts the report together: one HTML page with everything of a study, and the plots beside it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import yaml
from markupsafe import Markup, escape

from calopipe import provenance
from calopipe.errors import DataError
from calopipe.report.artifacts import StudySummary
from calopipe.report.classifier_figures import verdict_tasks
from calopipe.report.data import DatasetData, input_files, load_study_data
from calopipe.report.drawing import Drawn, draw
from calopipe.report.figures import GROUPS, dataset_tasks
from calopipe.report.numbers import format_bytes
from calopipe.report.tables import SMALL_SAMPLE, Group, main_groups, score_groups, timing_rows

#: headings of the parts of a dataset; groups of observables stand between scores and averages
_TITLES = {"scores": "Scores", "averages": "Average showers", "losses": "Training", "classifiers": "Classifier tests"}
_TITLES |= {
    "regression": "Energy regression",
    "timing": "Generation time",
    "voxels": "Voxel energies",
    "activity": "Activity",
}
_TITLES |= {"energies": "Energies", "centroids": "Centroids", "widths": "Widths", "brightest": "Brightest voxels"}
_TITLES |= {"amplification": "Amplification"}
#: parts whose single figures stay visible beside wide ones
UNFOLDED = ("scores", "averages", "classifiers", "amplification")


@dataclass(frozen=True)
class Section:
    """Figures under one heading: full-width ones, and the grid of single ones (folded away after overview pages)."""

    name: str
    title: str
    wide: list[Drawn]
    single: list[Drawn]
    folded: bool


def build_report(summary: StudySummary, out_dir: str | Path, workers: int = 1) -> Path:
    """Write ``index.html`` and the folder ``plots`` into `out_dir`; nothing is computed anew, and nothing fetched.

    Pictures of an earlier report in ``plots`` that this one does not have are deleted.

    Args:
        summary: runs of the study with their files, see :class:`calopipe.report.artifacts.StudySummary`.
        out_dir: folder of the report, or its page where the name ends in ``.html``; folders are created where missing.
            Links to files of the study are relative to it.
        workers: processes that draw.

    Returns:
        Path of the page.

    Raises:
        DataError: the study has no runs, or the folder cannot be written.
    """
    if not summary.runs:
        raise DataError(f"study '{summary.study}' has no runs to report on")
    path = Path(out_dir) if Path(out_dir).suffix == ".html" else Path(out_dir) / "index.html"
    out = path.parent
    try:
        (out / "plots").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{out}: the report cannot be written there ({error.strerror})") from error
    datasets = [_dataset(data, summary, out, workers) for data in load_study_data(summary)]
    page = _render(summary, datasets, out)
    _remove_stale(out / "plots", [d for data in datasets for s in data["sections"] for d in [*s.wide, *s.single]])
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(page, encoding="utf-8")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def _remove_stale(folder: Path, drawn: Sequence[Drawn]) -> None:
    kept = {path for d in drawn for path in (d.png, d.pdf)}
    for path in [*folder.glob("*.png"), *folder.glob("*.pdf")]:
        if path not in kept:
            path.unlink(missing_ok=True)


def _dataset(data: DatasetData, summary: StudySummary, out: Path, workers: int) -> dict[str, Any]:
    """Everything the template shows of one dataset."""
    runs = [seed.run for model in data.models for seed in model.seeds]
    record = provenance.collect(f"{summary.study}: {data.name}", summary.config, input_files(runs))
    tasks = [*dataset_tasks(data), *verdict_tasks(data)]
    drawn = draw(tasks, out / "plots", record, summary.dpi, summary.pdf, workers)
    columns = data.score_columns()
    groups = score_groups(columns)
    timings = [(m.name, s.timing) for m in data.models for s in m.seeds[:1] if s.timing and s.timing.get("results")]
    return {
        "name": data.name,
        "geometry": data.geometry,
        "geometry_name": runs[0].geometry,
        "models": data.models,
        "notes": data.notes,
        "columns": list(columns),
        "colors": {model.name: model.style.color for model in data.models},
        "main": main_groups(groups),
        "groups": groups,
        "remarks": _remarks(groups, columns),
        "sections": _sections(drawn),
        "timings": timing_rows(timings),
        "geant4_ms": next((t["geant4_ms"] for _, t in timings if t.get("geant4_ms")), None),
        "files": {run.name: _links(run.files(), out) for run in runs},
        "inputs": record["inputs"].split("; ") if record["inputs"] else [],
    }


def _sections(drawn: Sequence[Drawn]) -> list[Section]:
    names = dict.fromkeys(d.section for d in drawn)
    order = ["scores", *GROUPS, "averages", "losses", "classifiers", "regression", "epochs", "amplification", "timing"]
    sections = []
    for name in sorted(names, key=lambda n: order.index(n) if n in order else len(GROUPS)):
        figures = [d for d in drawn if d.section == name]
        wide = [d for d in figures if d.wide]
        single = [d for d in figures if not d.wide]
        title = _TITLES.get(name, name.replace("_", " ").capitalize())
        sections.append(Section(name, title, wide, single, bool(wide) and name not in UNFOLDED))
    return sections


def _remarks(groups: Sequence[Group], columns: Mapping[Any, Any]) -> list[str]:
    """Warnings below the score table."""
    rows = [row for group in groups for row in group.rows]
    remarks = []
    if any(row.small for row in rows):
        remarks.append(f"⚠ marks scores on fewer than {SMALL_SAMPLE} showers per sample: treat them as indications.")
    if any(row.unequal for row in rows):
        remarks.append("Some rows compare samples of different size n, which biases scores: see column n.")
    if any(len(seeds) > 1 for seeds in columns.values()):
        remarks.append(
            "Several seeds: mean, and the standard deviation between them or the error of one, whichever is larger."
        )
    return remarks


def _links(files: Mapping[str, str], out: Path) -> list[dict[str, str]]:
    """Name, relative address and size of each file; no address where it does not exist."""
    found = []
    for what, path in files.items():
        file = Path(path)
        entry = {"what": what, "name": file.name, "href": "", "size": "not found"}
        if file.is_file():
            relative = os.path.relpath(file.resolve(), out.resolve())
            entry |= {"href": Path(relative).as_posix(), "size": format_bytes(file.stat().st_size)}
        found.append(entry)
    return found


def _breakable(name: str) -> Markup:
    """A name that may be broken into lines after slashes and underscores."""
    return Markup(re.sub("([/_])", r"\1<wbr>", str(escape(name))))


def _render(summary: StudySummary, datasets: Sequence[dict[str, Any]], out: Path) -> str:
    template = resources.files("calopipe.report").joinpath("template.html").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["relative"] = lambda path: Path(os.path.relpath(path, out)).as_posix()
    environment.filters["breakable"] = _breakable
    return environment.from_string(template).render(
        study=summary.study,
        presets=summary.presets,
        datasets=datasets,
        config=yaml.safe_dump(summary.config, sort_keys=False, allow_unicode=True) if summary.config else "",
        config_digest=provenance.digest(summary.config),
        code_version=provenance.code_version(),
        commit=provenance.git_state(),
        versions=provenance.versions(),
        hardware=provenance.hardware(),
        n_runs=len(summary.runs),
    )
