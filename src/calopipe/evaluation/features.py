"""Inputs of the classifier tests, read from shower files: which rows, and what of each shower."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from calopipe.config.evaluation import ClassifierConfig
from calopipe.errors import MetricUnavailable
from calopipe.evaluation.inputs import Readout, stream
from calopipe.geometry import Geometry
from calopipe.metrics.features import (
    features_by_name,
    features_high,
    features_low,
    features_low_log,
    features_low_normed,
    features_low_raw,
    features_observables,
    regular_grid,
)
from calopipe.observables import SPECS, compute
from calopipe.seeds import generator

#: brightest voxels of a layer among the features ``observables``
_BRIGHTEST = 2


def voxel_grid(geometry: Geometry, config: ClassifierConfig) -> tuple[int, int, int] | None:
    """Bins of the voxels for a network that needs them, else None. Raises MetricUnavailable where there are none."""
    return regular_grid(geometry) if config.network == "cnn" else None


def thinned_rows(n: int, config: ClassifierConfig, what: str) -> np.ndarray:
    """Sorted rows of a file that are used: all, or a random `max_per_class` of them."""
    if config.max_per_class is None or n <= config.max_per_class:
        return np.arange(n)
    picked = generator(config.split.seed, "classifier rows", what).choice(n, config.max_per_class, replace=False)
    return np.sort(picked)


def features_of(
    showers: np.ndarray, incident_energies: np.ndarray, readout: Readout, config: ClassifierConfig
) -> np.ndarray:
    """(N, D) float32 features of showers (N, V) at incident energies (N, 1) in MeV, as `config.features` names them."""
    geometry, threshold = readout.geometry, readout.threshold_MeV
    if config.features == "high":
        return features_high(compute(showers, incident_energies, geometry, threshold, brightest=0), incident_energies)
    if config.features == "observables":
        found = compute(showers, incident_energies, geometry, threshold, brightest=_BRIGHTEST)
        if config.groups is not None:
            return _of_groups(found, incident_energies, geometry, config.groups)
        return features_observables(found, incident_energies, geometry.alpha_layers)
    if config.features == "low_normed":
        return features_low_normed(showers, incident_energies, geometry.layer_slices, threshold)
    if config.features == "low_log":
        return features_low_log(showers, incident_energies, threshold)
    make = {"low": features_low, "low_raw": features_low_raw}[config.features]
    return make(showers, incident_energies, threshold, config.voxel_scale)


def _of_groups(
    found: Mapping[str, np.ndarray], incident_energies: np.ndarray, geometry: Geometry, groups: Sequence[str]
) -> np.ndarray:
    """Features of the observables of some groups. Raises MetricUnavailable where the geometry has none."""
    names = [name for name in found if name in SPECS and SPECS[name].group in groups]
    if not names:
        raise MetricUnavailable(f"no observables of {', '.join(groups)} in this geometry")
    return features_by_name(found, incident_energies, geometry.alpha_layers, names)


def feature_table(
    path: Path,
    readout: Readout,
    config: ClassifierConfig,
    *,
    rows: np.ndarray,
    what: str,
    transform: Callable[[np.ndarray], np.ndarray] | None = None,
) -> np.ndarray:
    """(N, D) float32 features of the showers in `rows` (`transform` applied to them), read piece by piece."""
    table: np.ndarray | None = None
    start = 0
    everything = len(rows) == rows[-1] + 1
    for chunk in stream(path, readout.geometry, f"features of {what}", rows=None if everything else rows):
        showers = chunk.showers if transform is None else transform(chunk.showers)
        part = features_of(showers, chunk.incident_energies, readout, config)
        if table is None:
            table = np.empty((len(rows), part.shape[1]), dtype=np.float32)
        keep = part[: len(rows) - start]  # a head of the file is read as a whole
        table[start : start + len(keep)] = keep
        start += len(keep)
        if start == len(rows):
            break
    assert table is not None
    return table
