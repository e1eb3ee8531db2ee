"""Paths that change when a study is archived: what lies outside of its folder is taken into it, and what names it follows."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from calopipe.origin import HOME

#: where raw files and extensions from outside of the study's folder go, and results from there
RAW, EXTENSIONS, RESULTS = "raw", "extensions", "results"


@dataclass(frozen=True)
class Moves:
    """What is called otherwise in the archive.

    Attributes:
        files: files and folders of extensions that are outside, as the study names them -> in the archive.
        results: the folder of results, as the study names it, and in the archive.
    """

    results: tuple[str, str]
    files: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, named: Iterable[str], folder: Path, results: str) -> Moves:
        """Find a place for all files that a study names.

        Args:
            named: as seen from `folder`, where the study ran. results: its folder of results.
        """
        taken: dict[str, str] = {}
        for name in named:
            place = _inside(folder / name, folder) or _inside(folder / name, HOME)
            where = EXTENSIONS if (folder / name).is_dir() else RAW
            taken[name] = place or _free(where, Path(name).name, taken.values())
        inside = _inside(folder / results, folder) or RESULTS
        return cls((results, inside), {name: place for name, place in taken.items() if name != place})

    @property
    def nothing(self) -> bool:
        """Whether everything keeps its name."""
        return not self.files and self.results[0] == self.results[1]

    def text(self, value: str) -> str:
        """A text as it is in the archive: the name of a file, with what may follow that of a geometry, or a path of a result."""
        for old, new in self.files.items():
            if value == old or (value.startswith(old) and value[len(old)] in ":_"):
                return new + value[len(old) :]
        old, new = self.results
        return new + value[len(old) :] if value == old or value.startswith(f"{old}/") else value

    def data(self, value: Any) -> Any:
        """The same for all texts in settings or a record."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {key: self.data(inner) for key, inner in value.items()}
        return [self.data(inner) for inner in value] if isinstance(value, list) else value


def _inside(path: Path, folder: Path) -> str | None:
    """A path as seen from a folder that holds it; None where that does not."""
    seen = PurePosixPath(os.path.relpath(os.path.abspath(path), os.path.abspath(folder)))
    return None if ".." in seen.parts else str(seen)


def _free(folder: str, name: str, taken: Iterable[str]) -> str:
    """A path in a folder of the archive that is not taken; the file keeps its name."""
    places = [f"{folder}/{name}", *(f"{folder}/{i}/{name}" for i in range(2, len(list(taken)) + 3))]
    return next(place for place in places if place not in taken)
