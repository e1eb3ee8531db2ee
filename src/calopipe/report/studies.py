"""Finished studies on disk, wherever they were moved to: what was asked for is in the record beside the report page."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path, PurePosixPath
from typing import Any

from calopipe.errors import DataError, shown
from calopipe.io.checksum import file_hash
from calopipe.io.stored import reading
from calopipe.records.scores import Score, load_scores
from calopipe.report.artifacts import RunArtifacts
from calopipe.workflow.made import read_record, record_of

PAGE = "index.html"
#: where report pages are, seen from a report, from a folder of results, and from what holds one
_PLACES = (PAGE, f"report/*/{PAGE}", f"*/report/*/{PAGE}")


@dataclass(frozen=True)
class Study:
    """A study that has a report.

    Attributes:
        name: its name in the configuration.
        page: its report page, as an absolute path; the results are two folders above that of the page.
        runs: its runs, with the paths that they had when it was made.
        config: the whole configuration, presets resolved and defaults filled in.
        record: of the report page (:mod:`calopipe.workflow.made`).
    """

    name: str
    page: Path
    runs: tuple[RunArtifacts, ...]
    config: Mapping[str, Any]
    record: Mapping[str, Any]

    @property
    def results(self) -> Path:
        """Its folder of results."""
        return self.page.parents[2]

    def path(self, recorded: str) -> Path:
        """Where a file of its results is now. Raises DataError for a path that leads out of them."""
        root = self.config["results"]
        inside = PurePosixPath(recorded.removeprefix(f"{root}/"))
        if not recorded.startswith(f"{root}/") or inside.is_absolute() or ".." in inside.parts:
            raise DataError(f"{record_of(self.page)}: expected files below '{root}', found {shown(recorded)}")
        return self.results / inside

    def scores(self, recorded: str) -> list[Score]:
        """Scores in one of its files. Raises DataError where it is missing or damaged."""
        return load_scores(self.path(recorded))

    def checksum(self, recorded: str) -> str | None:
        """SHA-256 that a file had when the report was made from it; None where the record does not say."""
        seen = os.path.relpath(self.path(recorded), self.page.parent)
        found = self.record["inputs"].get(Path(seen).as_posix())
        return found if isinstance(found, str) else None

    def changed(self, recorded: Iterable[str]) -> list[Path]:
        """Which of these files are not those that the report was made from; what the record does not name is left out."""
        known = {self.path(path): sha256 for path in recorded if (sha256 := self.checksum(path)) is not None}
        return [path for path, sha256 in known.items() if path.is_file() and file_hash(path) != sha256]


def read_study(where: Path) -> Study:
    """The study at a place.

    Args:
        where: a report page, its folder, or a folder of results, or one that holds a folder of results, with one study.

    Raises:
        DataError: there is none, there are several, or the record of the report is missing or damaged.
    """
    page = Path(os.path.abspath(_page(where)))
    path, record = record_of(page), read_record(page)
    if record is None:
        reason = (
            f"{path}: damaged, or the record of another version of calopipe"
            if path.is_file()
            else f"{page}: nothing says what made it: no {path}"
        )
        raise DataError(f"{reason}; start the study again, which writes it anew")
    if record["stage"] != "report":
        raise DataError(f"{page}: expected the report of a study, found what stage {shown(record['stage'])} made")
    with reading(path, "not the record of a study"):
        settings = record["settings"]
        runs = tuple(map(_run, settings["runs"]))
        name, config = str(settings["study"]), settings["config"]
        if not isinstance(config, dict) or not isinstance(config["results"], str) or not runs:
            raise TypeError("no settings, no folder of results, or no runs")
        return Study(name, page, runs, config, record)


def _page(where: Path) -> Path:
    if where.is_file():
        return where
    if not where.is_dir():
        raise DataError(f"{where}: no such file or folder")
    for place in _PLACES:
        pages = sorted(where.glob(place))
        finished = [page for page in pages if record_of(page).is_file()] or pages
        if len(finished) > 1:
            names = ", ".join(str(page.parent.relative_to(where)) for page in finished)
            raise DataError(f"{where}: expected one study, found {len(finished)}: name one of {names}")
        if finished:
            return finished[0]
    raise DataError(f"{where}: no study: no report page ({', '.join(_PLACES)})")


def _run(settings: Mapping[str, Any]) -> RunArtifacts:
    """A run as the record has it; keys that other versions write do not matter. Raises TypeError where it is none."""
    known = {field.name for field in fields(RunArtifacts)}
    run = RunArtifacts(**{key: value for key, value in settings.items() if key in known})
    texts = [run.dataset, run.model, *run.files().values()]
    wrong = [text for text in texts if not isinstance(text, str)]
    if wrong or isinstance(run.seed, bool) or not isinstance(run.seed, int):
        raise TypeError(f"a run with {shown(wrong[0] if wrong else run.seed)}")
    return run
