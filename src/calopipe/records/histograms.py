"""Histograms, average showers, cross sections and example showers of several samples; one NPZ on disk."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from calopipe.io.stored import read_npz, reading
from calopipe.records.files import write_npz
from calopipe.records.scores import is_number
from calopipe.records.slices import Slice

T = TypeVar("T")


@dataclass(frozen=True)
class Histogram:
    """One observable, filled for several samples with the same bins.

    Attributes:
        name: observable, with the layer where it has one: ``E_ratio``, ``E_layer/0``.
        group: what plots put on one page: ``energies``, ``centroids``, ``widths``, ``brightest``, ``activity``,
            ``voxels``.
        label: axis label in matplotlib mathtext with its unit.
        edges: (B + 1,) bin edges.
        counts: sample name -> (B,) counts inside the range; the reference is called ``reference``.
        totals: sample name -> entries in total, inside the range or not.
        log_x, log_y: suggested axis scales.
        part: the slice of the samples that it is of, or None for all of them.
        draws: of samples by several draws of a network's weights: sample name -> (D, B) counts of each.
        draw_totals: sample name -> (D,) entries of each in total.
    """

    name: str
    group: str
    label: str
    edges: np.ndarray
    counts: Mapping[str, np.ndarray]
    totals: Mapping[str, int]
    log_x: bool = False
    log_y: bool = False
    part: Slice | None = None
    draws: Mapping[str, np.ndarray] = field(default_factory=dict)
    draw_totals: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class AverageShowers:
    """Average showers of each sample, over all showers or one slice of them.

    Attributes:
        mean: sample name -> (V,) mean energy per voxel in MeV.
        n: sample name -> showers in the mean.
        part: the slice of the samples that it is of, or None for all of them.
        std: sample name -> (V,) standard deviation between showers of the energy per voxel in MeV.
    """

    mean: Mapping[str, np.ndarray]
    n: Mapping[str, int]
    part: Slice | None = None
    std: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class CrossSections:
    """Rows of cells through the middle of one layer of the average shower (Albergo 2018, figures 4.4 and 4.5).

    Attributes:
        layer: id of the layer.
        axis: the coordinate along the rows: ``eta``, ``phi``, or ``r`` (a diameter).
        edges: (B + 1,) bin edges along the rows in mm.
        offsets: (R,) where the rows are: the other coordinate in mm, or the angle of the diameter in rad.
        mean, std: sample name -> (R, B) mean energy per cell in MeV, and its standard deviation between showers.
        n: sample name -> showers.
        position, width: sample name -> (2, R): energy-weighted mean and standard deviation of each row of the mean shower
            in mm, and their errors; NaN where a row is empty.
    """

    layer: int
    axis: str
    edges: np.ndarray
    offsets: np.ndarray
    mean: Mapping[str, np.ndarray]
    std: Mapping[str, np.ndarray]
    n: Mapping[str, int]
    position: Mapping[str, np.ndarray]
    width: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Examples:
    """A few showers of each sample, of (nearly) the same incident energies.

    Attributes:
        rows: sample name -> (K,) rows in its file; rows of ``reconstructed`` are those of the reference.
        incident: sample name -> (K,) incident energies in MeV.
        showers: sample name -> (K, V) voxel energies in MeV, zero below the threshold.
    """

    rows: Mapping[str, np.ndarray]
    incident: Mapping[str, np.ndarray]
    showers: Mapping[str, np.ndarray]


def save_histograms(
    path: Path,
    histograms: Sequence[Histogram],
    averages: Sequence[AverageShowers] = (),
    cross_sections: Sequence[CrossSections] = (),
    examples: Examples | None = None,
) -> None:
    """Write histograms, average showers and examples into one NPZ whose entry ``index`` is a JSON description."""
    arrays: dict[str, np.ndarray] = {}
    index: dict[str, Any] = {
        "histograms": [_pack(h, f"h{i}", arrays) for i, h in enumerate(histograms)],
        "averages": [_pack(a, f"a{i}", arrays) for i, a in enumerate(averages)],
        "cross_sections": [_pack(c, f"c{i}", arrays) for i, c in enumerate(cross_sections)],
        "examples": [] if examples is None else [_pack(examples, "e", arrays)],
    }
    arrays["index"] = np.frombuffer(json.dumps(index).encode(), dtype=np.uint8)
    write_npz(path, arrays)


def load_histograms(path: Path) -> tuple[list[Histogram], list[AverageShowers]]:
    """Histograms and average showers of a file of :func:`save_histograms`. Raises DataError when it is none."""
    return _load(path, "histograms", Histogram), _load(path, "averages", AverageShowers)


def load_cross_sections(path: Path) -> list[CrossSections]:
    """Cross sections of a file of :func:`save_histograms`. Raises DataError when it is none."""
    return _load(path, "cross_sections", CrossSections)


def load_examples(path: Path) -> Examples | None:
    """The example showers in a file of :func:`save_histograms`, where it has any. Raises DataError when it is none."""
    found = _load(path, "examples", Examples)
    return found[0] if found else None


def _pack(item: Any, key: str, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """Put the arrays of a dataclass into `arrays`; return its other fields, and for each array field where it is."""
    entry: dict[str, Any] = {}
    for name in (f.name for f in fields(item)):
        value = getattr(item, name)
        if name in ("draws", "draw_totals") and not value:
            continue  # most samples have none
        if isinstance(value, np.ndarray):
            arrays[f"{key}/{name}"] = value
            entry[name] = {"array": f"{key}/{name}"}
        elif isinstance(value, Mapping) and all(isinstance(v, np.ndarray) for v in value.values()):
            arrays |= {f"{key}/{name}/{sample}": v for sample, v in value.items()}
            entry[name] = {"arrays": {sample: f"{key}/{name}/{sample}" for sample in value}}
        elif isinstance(value, Slice):
            entry[name] = asdict(value)
        else:
            entry[name] = dict(value) if isinstance(value, Mapping) else value
    return entry


def _load(path: Path, kind: str, cls: type[T]) -> list[T]:
    data = read_npz(path, ["index"], "not a histogram file of calopipe")
    with reading(path, "not a histogram file of calopipe"):
        index = json.loads(bytes(data["index"]).decode())
        items = [cls(**{k: _unpack(k, v, data) for k, v in entry.items()}) for entry in index.get(kind, ())]
        for item in items:
            if isinstance(item, Histogram):
                _check_histogram(item)
        return items


def _check_histogram(item: Histogram) -> None:
    bins = len(item.edges) - 1
    if item.edges.ndim != 1 or bins < 1 or not (np.diff(item.edges) > 0).all():
        raise ValueError(f"edges of '{item.name}' do not ascend")
    for sample, counts in item.counts.items():
        if np.shape(counts) != (bins,) or not is_number(item.totals.get(sample)):
            raise ValueError(f"'{item.name}' has {bins} bins, but counts of '{sample}' of shape {np.shape(counts)}")
    for sample, counts in item.draws.items():
        if np.shape(counts) != (len(item.draw_totals.get(sample, ())), bins):
            raise ValueError(f"'{item.name}' has {bins} bins, but draws of '{sample}' of shape {np.shape(counts)}")


def _unpack(name: str, value: Any, data: Mapping[str, np.ndarray]) -> Any:
    if name == "part":
        return None if value is None else Slice(**value)
    if isinstance(value, dict) and set(value) == {"array"}:
        return data[value["array"]]
    if isinstance(value, dict) and set(value) == {"arrays"}:
        return {sample: data[key] for sample, key in value["arrays"].items()}
    return value
