"""The file of a CaloChallenge evaluation: its scores, and everything needed to say what they are scores of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from calopipe.errors import DataError, shown
from calopipe.io.stored import read_json, reading
from calopipe.records.files import write_json
from calopipe.records.scores import Score, parsed_score

FORMAT = "calopipe evaluation 1"


@dataclass(frozen=True)
class InputFile:
    """One file that was compared: name (without folder), showers, and checksums of its contents."""

    name: str
    n_showers: int
    sha256: str
    md5: str


@dataclass(frozen=True)
class Judgement:
    """Scores of one generated sample against one reference.

    Attributes:
        dataset: the challenge's name of the set; None for another calorimeter.
        geometry, geometry_hash: the voxelisation.
        threshold_MeV: voxels below are zero.
        modes: what was computed.
        seed: seed of bootstraps and classifier trainings.
        name: what the generated sample is called.
        reference, generated: the files; several are taken as one.
        official: whether the reference is the challenge's own, all of it: only then scores compare with published ones.
        scores: see :class:`calopipe.records.scores.Score`.
        classifiers: settings of the classifiers by name.
        warnings: what to keep in mind about the two samples.
        versions: of calopipe and the packages it computes with.
        hardware: what it ran on.
        files: the files written beside this one.
    """

    dataset: str | None
    geometry: str
    geometry_hash: str
    threshold_MeV: float
    modes: tuple[str, ...]
    seed: int
    name: str
    reference: tuple[InputFile, ...]
    generated: tuple[InputFile, ...]
    official: bool
    scores: tuple[Score, ...]
    classifiers: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    hardware: Mapping[str, str] = field(default_factory=dict)
    files: tuple[str, ...] = ()


def save_judgement(path: Path, judgement: Judgement) -> None:
    """Write it as JSON with a key ``format``."""
    write_json(path, {"format": FORMAT, **asdict(judgement)})


def is_judgement(data: Any) -> bool:
    """Whether parsed JSON is what :func:`save_judgement` wrote."""
    return isinstance(data, dict) and data.get("format") == FORMAT


def parse_judgement(data: Mapping[str, Any], path: Path) -> Judgement:
    """Rebuild from parsed JSON. Raises DataError when `path`, which it is from, is damaged."""
    with reading(path, "not a complete evaluation"):
        fields = {k: v for k, v in data.items() if k != "format"}
        for key in ("reference", "generated"):
            fields[key] = tuple(InputFile(**item) for item in fields[key])
        fields["scores"] = tuple(parsed_score(item) for item in fields["scores"])
        fields |= {key: tuple(fields[key]) for key in ("modes", "warnings", "files")}
        found = Judgement(**fields)
        _check_types(found)
        return found


def _check_types(found: Judgement) -> None:
    """Raise TypeError unless names are texts, counts are numbers, and so on."""
    files = (*found.reference, *found.generated)
    texts = [found.geometry, found.geometry_hash, found.name, *found.modes, *found.warnings, *found.files]
    texts += [text for file in files for text in (file.name, file.sha256, file.md5)]
    wrong: list[Any] = [value for value in texts if not isinstance(value, str)]
    wrong += [file.n_showers for file in files if not isinstance(file.n_showers, int)]
    wrong += [value for value in (found.classifiers, found.versions, found.hardware) if not isinstance(value, dict)]
    wrong += [value for value in found.classifiers.values() if not isinstance(value, dict)] if not wrong else []
    wrong += [found.dataset] if found.dataset is not None and not isinstance(found.dataset, str) else []
    if wrong:
        raise TypeError(f"found {shown(wrong[0])}")


def load_judgement(path: Path) -> Judgement:
    """Read a file of :func:`save_judgement`. Raises DataError when it is something else."""
    data = read_json(path)
    if not is_judgement(data):
        raise DataError(f"{path}: not an evaluation of calopipe (no format '{FORMAT}')")
    return parse_judgement(data, path)
