"""Divergence curves of an amplification study; one NPZ on disk."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from calopipe.io.stored import read_npz, reading
from calopipe.records.files import write_npz


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
    data = read_npz(path, ["index"], "not a file of divergence curves of calopipe")
    with reading(path, "not a file of divergence curves of calopipe"):
        index = json.loads(bytes(data["index"]).decode())
        names = [f.name for f in fields(DivergenceCurve)]
        curves = []
        for i, entry in enumerate(index["curves"]):
            curve: dict[str, Any] = {k: entry[k] if k in entry else data[f"c{i}/{k}"] for k in names}
            curves.append(DivergenceCurve(**curve))
        return curves, int(index["n_truth"])
