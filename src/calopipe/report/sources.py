"""Which files the numbers and the plots of a report come from, and which stage wrote each of them.

What is read from a file keeps its :class:`Source`, and each figure names the files that it is drawn from. The stage of a file,
and its checksum, are what its own record says (:mod:`calopipe.workflow.made`); without a record the stage is that of
:mod:`calopipe.records.paths`, and the checksum is taken of the file.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from pathlib import Path, PurePosixPath
from typing import Self

from calopipe.records.paths import rule_of
from calopipe.records.scores import Score
from calopipe.workflow.made import checksum, read_record

#: the folder of all reports of a results folder
_REPORTS = "report"


@dataclass(frozen=True)
class Source:
    """A file that something was read from, and the seed of the run that it is of (None: of none, or of several)."""

    path: str
    seed: int | None = None


class Sourced(str):
    """A text of the report, a number mostly, with the files that it comes from; the page makes links of them."""

    __slots__ = ("sources",)
    sources: tuple[Source, ...]

    def __new__(cls, text: str, sources: Iterable[Source] = ()) -> Self:
        """`text` from `sources`; no text is from nowhere."""
        made = super().__new__(cls, text)
        made.sources = tuple(dict.fromkeys(source for source in sources if source.path and text))
        return made


@dataclass(frozen=True)
class ReadScore(Score):
    """A score that knows the file it was read from."""

    source: Source = field(kw_only=True)

    @classmethod
    def of(cls, score: Score, source: Source) -> ReadScore:
        """`score`, read from `source`."""
        return cls(**{f.name: getattr(score, f.name) for f in fields(Score)}, source=source)


def sources_of(scores: Iterable[Score]) -> tuple[Source, ...]:
    """The files that scores were read from, each once, in order of appearance."""
    return tuple(dict.fromkeys(s.source for s in scores if isinstance(s, ReadScore)))


def paths_of(scores: Iterable[Score]) -> tuple[str, ...]:
    """Their paths."""
    return files(source.path for source in sources_of(scores))


def files(paths: Iterable[str | None]) -> tuple[str, ...]:
    """Those paths that are named, each once, in order of appearance."""
    return tuple(dict.fromkeys(path for path in paths if path))


@dataclass(frozen=True)
class Origin:
    """A file of a study: its path below the results folder, the rule that wrote it (empty: not known), and its SHA-256."""

    path: str
    rule: str
    sha256: str

    @property
    def made(self) -> str:
        """What is told of a link to it: ``metrics.json, made by rule metrics``."""
        name = PurePosixPath(self.path).name
        return f"{name}, made by rule {self.rule}" if self.rule else name

    def __str__(self) -> str:
        rule = f" ({self.rule})" if self.rule else ""
        return f"{self.path} sha256:{self.sha256[:16]}{rule}"


class Origins:
    """What is known of each file; looked up once.

    Args:
        results: the folder that paths are relative to.
    """

    def __init__(self, results: Path) -> None:
        self.results = results
        self._known: dict[str, Origin] = {}

    def __getitem__(self, path: str) -> Origin:
        if path not in self._known:
            made = read_record(path)
            rule = rule_of(path) if made is None else made["stage"]
            self._known[path] = Origin(relative(path, self.results), rule or "", checksum(path))
        return self._known[path]


def results_of(folder: Path) -> Path:
    """The results folder of a report in `folder`: what holds the folder ``report``; without one, `folder` itself."""
    inside = Path(os.path.abspath(folder))
    return next((path.parent for path in (inside, *inside.parents) if path.name == _REPORTS), inside)


def relative(path: str | Path, folder: Path) -> str:
    """A path as seen from a folder, with slashes."""
    return Path(os.path.relpath(path, folder)).as_posix()
