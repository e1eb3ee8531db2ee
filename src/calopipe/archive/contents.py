"""What an archive of a study holds: its results with their records, its raw files, and the code that runs it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import chdir
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from calopipe.archive.moves import Moves
from calopipe.config.load import read_yaml
from calopipe.errors import DataError
from calopipe.origin import HOME
from calopipe.provenance.chain import Node, fetched, records_below, study_folder
from calopipe.provenance.verify import nodes_of
from calopipe.report.studies import read_study
from calopipe.workflow import Plan
from calopipe.workflow.made import code_table, configuration, record_of

#: what of the clone runs the workflow
CODE = (
    "src", "workflow", "presets", "profiles", "envs", "requirements", "install.sh", "pyproject.toml", "LICENSE", "CITATION.cff",
    "resources/README.md", "resources/checksums.sha256",
)  # fmt: skip
#: what Python leaves in folders of code
_LEFT_OVER = ("__pycache__", "*.egg-info", "*.nbi", "*.nbc")
#: folders of the results with one log, or one measurement of a stage, per job
_NOTES = ("logs", "benchmarks")
#: the file in the name of a geometry, which may go on with a particle or with what is done to it
_GEOMETRY = re.compile(r"(.+?\.(?:ya?ml|xml))(?=[:_])")


@dataclass(frozen=True)
class Contents:
    """A study that is to be archived.

    Attributes:
        plan: the study. config: the file with its configuration.
        folder: where it ran; paths in its records and its configuration are seen from there.
        outputs: its results that have a record, as paths from here, each with the record.
        raw: whether raw files are taken along.
    """

    plan: Plan
    config: Path
    folder: Path
    outputs: Mapping[Path, Mapping[str, Any]]
    raw: bool = True

    @property
    def name(self) -> str:
        """The name of the study."""
        return self.plan.study.study

    @property
    def results(self) -> Path:
        """Its folder of results, as a path from here."""
        return self.folder / self.plan.study.results

    @property
    def complete(self) -> bool:
        """Whether it has its report."""
        return self.page in self.outputs

    @property
    def page(self) -> Path:
        """Its report, as a path from here."""
        return self.folder / self.plan.path("report", study=self.name)

    @cached_property
    def nodes(self) -> list[Node]:
        """Its results, the plots of its report, and its raw files."""
        return list(nodes_of(self.outputs.items()))

    @cached_property
    def raw_files(self) -> dict[str, Path]:
        """Files and extensions from outside of the results: as the study names them -> where they are."""
        with chdir(self.folder):
            named = dict.fromkeys(_paths_in(self.plan.configuration()))
        found = {name: self.folder / name for name in named}
        for output, record in self.outputs.items():
            if record["stage"] == "fetch":
                found |= {_as_written(node.path, self.folder): Path(node.path) for node in fetched(str(output))}
        return found

    def named_raw(self, output: Path) -> list[str]:
        """Files from outside of the results that a job read, as the study names them."""
        record = self.outputs[output]
        if record["stage"] == "fetch":
            return [_as_written(node.path, self.folder) for node in fetched(str(output))]
        with chdir(self.folder):
            making = self.plan.making_of(record)
        return [] if making is None else [str(path) for path in making.raw]

    @cached_property
    def moves(self) -> Moves:
        """What is called otherwise in the archive."""
        return Moves.of(self.taken, self.folder, self.plan.study.results)

    @cached_property
    def taken(self) -> dict[str, Path]:
        """Those of :attr:`raw_files` that are in the archive: bundled ones and extensions belong to the code."""
        inside = {name: path for name, path in self.raw_files.items() if path.resolve().is_relative_to(HOME)}
        folders = {name: path for name, path in self.raw_files.items() if path.is_dir()}
        return self.raw_files if self.raw else inside | folders

    def files(self) -> Iterator[tuple[str, Path]]:
        """All files that are copied: the path of each in the archive, and where it is."""
        found: dict[str, Path] = {}
        for name in CODE:
            found |= _below(HOME / name, name)
        for path in (*self.outputs, *map(record_of, self.outputs), *self._common()):
            found |= _below(path, self.place(path))
        for name, path in self.taken.items():
            found |= _below(path, self.moves.text(name))
        yield from sorted(found.items())

    def place(self, path: Path) -> str:
        """Where a file of the results is in the archive."""
        return f"{self.moves.results[1]}/{Path(os.path.relpath(path, self.results)).as_posix()}"

    def _common(self) -> Iterator[Path]:
        """What records have in common, logs, measurements, and the states of trainings that are not finished."""
        kept = {(record["code"], str(record["job"].get("configuration"))) for record in self.outputs.values()}
        for code, settings in kept:
            yield from (code_table(self.results, code), configuration(self.results, settings))
        for notes in _NOTES:
            yield from (path for path in (self.results / notes).rglob("*") if path.is_file() and self._ours(path))
        for run in self.plan.runs:
            for link in () if self.plan.external(run.model) else self.plan.model(run.model).chain.links:
                yield self.folder / self.plan.rolling(network=link.name, **run.wildcards)

    def _ours(self, note: Path) -> bool:
        """Whether a log is of this study: the results may hold others."""
        dataset, *inside = note.relative_to(self.results).parts[1:]
        runs = [run for run in self.plan.runs if run.dataset == dataset]
        if not runs:
            return not inside or dataset == "compare"
        return len(inside) < 2 or inside[0] == "power" or inside[0] in {run.model for run in runs}


def contents_of(study: Path, raw: bool = True) -> Contents:
    """What an archive of a study would hold.

    Args:
        study: its configuration file, seen from the folder where it ran, or its report, as :func:`read_study` takes it.
        raw: take raw files along.

    Raises:
        DataError: there is no such study, it has no results yet, or its results were moved out of the folder where it ran.
        ConfigError, GeometryError: the configuration is none.
    """
    if study.suffix in (".yaml", ".yml") and not study.is_dir():
        folder, config = Path(), study
    else:
        found = read_study(study)
        where, job = study_folder(found.page, found.record), found.record["job"]
        if where is None:
            raise DataError(
                f"{found.page}: the results have another name than when it was made ({job['results']}): call them that"
            )
        folder, config = where, where / configuration(str(job["results"]), str(job["configuration"]))
    settings = read_yaml(config)
    if not (HOME / "workflow/Snakefile").is_file():
        raise DataError(f"{HOME}: no clone of calopipe (no workflow/Snakefile); an archive holds the code that runs")
    with chdir(folder):
        plan = Plan.load(settings, HOME / "presets", files=False)
    outputs = {
        path: record for path, record in records_below(folder / plan.study.results) if _made_by(plan, folder, record)
    }
    if not outputs:
        raise DataError(f"{folder / plan.study.results}: study '{plan.study.study}' has made nothing here")
    return Contents(plan, config, folder, outputs, raw)


def _made_by(plan: Plan, folder: Path, record: Mapping[str, Any]) -> bool:
    if record["stage"] == "report" and record["job"].get("study") != plan.study.study:
        return False
    with chdir(folder):
        return plan.making_of(record) is not None


def _paths_in(value: Any) -> Iterator[str]:
    """Texts in a configuration that are paths of files or folders; names of parts of a study are none."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if key == "extensions":
                yield from inner
            elif key not in ("study", "results"):
                yield from _paths_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _paths_in(inner)
    elif isinstance(value, str):
        geometry = _GEOMETRY.match(value)
        named = (value, geometry[1]) if geometry else (value,)
        yield from (path for path in named if os.path.isfile(path))


def _as_written(path: str, folder: Path) -> str:
    """A raw file as a manifest calls it: from the study's folder where it lies in that, else absolute."""
    inside = os.path.relpath(path, folder)
    return os.path.abspath(path) if inside.startswith("..") else inside


def _below(path: Path, place: str) -> dict[str, Path]:
    """A file, or all files of a folder without what Python leaves there, by their path in the archive."""
    if path.is_file():
        return {place: path}
    inside = [file for file in path.rglob("*") if file.is_file()]
    return {
        f"{place}/{file.relative_to(path).as_posix()}": file
        for file in inside
        if not any(
            parent.match(pattern) for parent in (file, *file.relative_to(path).parents) for pattern in _LEFT_OVER
        )
    }
