"""What evaluation hands to plots and reports: scores, histograms and average showers, each with one file format."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from calopipe.errors import DataError
from calopipe.io.output import replacing

#: name of the reference among the samples of a histogram or a test
REFERENCE = "reference"


@dataclass(frozen=True)
class Score:
    """One number with its error, the sample size it rests on and the seed; or the reason why it is missing.

    Attributes:
        name: metric and what it is of, e.g. ``separation_power/E_ratio``.
        value: the score; None when it could not be computed.
        error: one standard deviation (bootstrap or repeats); None when not estimated.
        n: showers per sample.
        seed: seed of the random numbers used; None when none are.
        sample: which sample was judged against the reference: ``generated``, ``reconstructed``, ...
        floor: value expected for two independent samples of the reference, when known.
        missing: why there is no value.
    """

    name: str
    value: float | None
    error: float | None
    n: int
    seed: int | None = None
    sample: str = "generated"
    floor: float | None = None
    missing: str | None = None
    extra: dict[str, Any] = field(default_factory=dict)


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
        energy_slice: incident energies selected, in MeV, or None for all.
    """

    name: str
    group: str
    label: str
    edges: np.ndarray
    counts: Mapping[str, np.ndarray]
    totals: Mapping[str, int]
    log_x: bool = False
    log_y: bool = False
    energy_slice: tuple[float, float] | None = None


@dataclass(frozen=True)
class AverageShowers:
    """Mean energy per voxel in MeV of each sample: sample name -> (V,), over all energies or one slice of them."""

    mean: Mapping[str, np.ndarray]
    n: Mapping[str, int]
    energy_slice: tuple[float, float] | None = None


@dataclass(frozen=True)
class DivergenceCurve:
    """Jensen-Shannon divergence from the truth against the number of quantiles, of one kind of sample.

    Attributes:
        observables: names joined by ``+``, e.g. ``E_vis+E_peak``.
        kind: ``geant4``, ``kde``, ``histogram``, ``generator``, or ``floor`` (infinitely many true showers).
        name: what plots call it: ``geant4``, ``kde``, ``generated`` or the name of another subject.
        n: showers of each sample of Geant4; showers that the generator or the estimator learned from.
        n_sets: samples (fits, trainings) that mean and error are over.
        quantiles: (K,) numbers of quantiles.
        values: (K,) mean divergence.
        errors: (K,) standard deviation between the sets, or the statistical error of a single one; NaN when not known.
        amplification: (K,) equivalent number of Geant4 showers over `n`; NaN where it is not defined.
        amplification_errors: (K,) its error.
        extrapolated: (K,) whether that number lies outside the sizes of the Geant4 samples.
    """

    observables: str
    kind: str
    name: str
    n: int
    n_sets: int
    quantiles: np.ndarray
    values: np.ndarray
    errors: np.ndarray
    amplification: np.ndarray
    amplification_errors: np.ndarray
    extrapolated: np.ndarray


def write_json(path: Path, data: Any) -> None:
    """Write JSON under a temporary name and rename; NaN and infinities are refused."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(data, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def write_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write a compressed NPZ under a temporary name and rename."""
    with replacing(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, **arrays)


def save_scores(path: Path, scores: Sequence[Score]) -> None:
    """Write scores as a JSON list."""
    write_json(path, [asdict(s) for s in scores])


def load_scores(path: Path) -> list[Score]:
    """Read scores written by :func:`save_scores`."""
    return [Score(**item) for item in json.loads(path.read_text(encoding="utf-8"))]


def save_histograms(path: Path, histograms: Sequence[Histogram], averages: Sequence[AverageShowers] = ()) -> None:
    """Write histograms and average showers into one NPZ (arrays) whose entry ``index`` is their JSON description."""
    arrays: dict[str, np.ndarray] = {}
    index: dict[str, list[dict[str, Any]]] = {"histograms": [], "averages": []}
    for i, h in enumerate(histograms):
        arrays[f"h{i}/edges"] = h.edges
        for sample, counts in h.counts.items():
            arrays[f"h{i}/counts/{sample}"] = counts
        entry = asdict(h)
        del entry["edges"], entry["counts"]
        index["histograms"].append({**entry, "samples": list(h.counts)})
    for i, a in enumerate(averages):
        for sample, mean in a.mean.items():
            arrays[f"a{i}/{sample}"] = mean
        index["averages"].append({"n": dict(a.n), "energy_slice": a.energy_slice, "samples": list(a.mean)})
    arrays["index"] = np.frombuffer(json.dumps(index).encode(), dtype=np.uint8)
    write_npz(path, arrays)


def load_histograms(path: Path) -> tuple[list[Histogram], list[AverageShowers]]:
    """Read what :func:`save_histograms` wrote. Raises DataError when `path` is not such a file."""
    try:
        with np.load(path) as data:
            index = json.loads(bytes(data["index"]).decode())
            histograms = []
            for i, entry in enumerate(index["histograms"]):
                counts = {s: data[f"h{i}/counts/{s}"] for s in entry.pop("samples")}
                entry["energy_slice"] = _pair(entry["energy_slice"])
                histograms.append(Histogram(edges=data[f"h{i}/edges"], counts=counts, **entry))
            averages = [
                AverageShowers(
                    {s: data[f"a{i}/{s}"] for s in entry["samples"]}, entry["n"], _pair(entry["energy_slice"])
                )
                for i, entry in enumerate(index["averages"])
            ]
    except (OSError, KeyError, ValueError) as error:
        raise DataError(f"{path}: not a histogram file of calopipe ({error})") from error
    return histograms, averages


def save_divergences(path: Path, curves: Sequence[DivergenceCurve], n_truth: int) -> None:
    """Write curves into one NPZ (arrays) whose entry ``index`` is their JSON description."""
    arrays: dict[str, np.ndarray] = {}
    entries = []
    for i, curve in enumerate(curves):
        entry = asdict(curve)
        arrays |= {f"c{i}/{k}": entry.pop(k) for k, v in list(entry.items()) if isinstance(v, np.ndarray)}
        entries.append(entry)
    text = json.dumps({"n_truth": n_truth, "curves": entries})
    write_npz(path, {**arrays, "index": np.frombuffer(text.encode(), dtype=np.uint8)})


def load_divergences(path: Path) -> tuple[list[DivergenceCurve], int]:
    """Curves and showers of the truth that :func:`save_divergences` wrote. Raises DataError on other files."""
    try:
        with np.load(path) as data:
            index = json.loads(bytes(data["index"]).decode())
            names = [f.name for f in fields(DivergenceCurve)]
            curves = [
                DivergenceCurve(**entry, **{k: data[f"c{i}/{k}"] for k in names if k not in entry})
                for i, entry in enumerate(index["curves"])
            ]
            return curves, int(index["n_truth"])
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise DataError(f"{path}: not a file of divergence curves of calopipe ({error})") from error


def _pair(value: Sequence[float] | None) -> tuple[float, float] | None:
    return None if value is None else (float(value[0]), float(value[1]))
