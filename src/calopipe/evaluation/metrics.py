"""The configured metrics of every sample against the reference: from files to ``metrics.json``."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from calopipe.config.base import validate
from calopipe.config.schema import METRICS
from calopipe.errors import MetricUnavailable
from calopipe.evaluation.formats import REFERENCE, Score, load_histograms, save_scores
from calopipe.evaluation.inputs import check_samples, stream
from calopipe.geometry import Geometry, load_geometry
from calopipe.metrics.base import BinnedCounts, Measurement, Sample
from calopipe.observables import compute
from calopipe.seeds import derive, generator

log = logging.getLogger("calopipe")

#: blocks of showers whose means are kept for jackknife errors
BLOCKS = 20


def evaluate_metrics(
    reference: Path,
    samples: Mapping[str, Path],
    histograms: Path,
    geometry: Geometry | str | Path,
    threshold_MeV: float | None,
    metrics: Sequence[Mapping[str, Any]],
    seed: int,
    out: Path,
) -> None:
    """Compute each metric of each sample and write the scores.

    A metric that is not defined on its input is written as a score without a value that says why; the others go on.

    Args:
        reference: shower file of the reference.
        samples: name -> shower file.
        histograms: what :func:`evaluate_observables` wrote for the same samples.
        geometry: voxelisation, or its name or file.
        threshold_MeV: voxels below are zero; None: the geometry's threshold.
        metrics: ``{"metric": <registered name>, **settings}`` each.
        seed: seed of bootstraps; every metric and sample draws from a stream of its own.
        out: JSON file of scores.

    Raises:
        DataError: a file does not fit the geometry, or holds values that are not energies.
        ConfigError: unknown metric or settings.
    """
    geometry = load_geometry(geometry)
    threshold = geometry.threshold_MeV if threshold_MeV is None else threshold_MeV
    check_samples({REFERENCE: reference, **samples}, geometry)
    base = load_sample(REFERENCE, reference, histograms, geometry, threshold)
    scores: list[Score] = []
    for sample_name, path in samples.items():
        sample = load_sample(sample_name, path, histograms, geometry, threshold)
        for entry in metrics:
            settings = {k: v for k, v in entry.items() if k != "metric"}
            for m in _measure(entry["metric"], settings, base, sample, derive(seed, "metric", sample_name)):
                scores.append(_score(m, sample_name, seed))
            log.info("metric %s of %s: done", entry["metric"], sample_name)
    save_scores(out, scores)


def _measure(name: str, settings: Mapping[str, Any], base: Sample, sample: Sample, seed: int) -> list[Measurement]:
    metric, cls = METRICS.get(name), METRICS.config_class(name)
    arguments = [] if cls is None else [validate(cls, dict(settings), name)]
    try:
        found = metric(base, sample, generator(seed, name), *arguments)
    except MetricUnavailable as error:
        log.warning("metric %s: %s", name, error)
        return [Measurement(name, None, None, min(base.n, sample.n), missing=str(error))]
    return [found] if isinstance(found, Measurement) else list(found)


def _score(m: Measurement, sample_name: str, seed: int) -> Score:
    value, error, missing = m.value, m.error, m.missing
    if value is not None and not np.isfinite(value):
        value, error, missing = None, None, f"the result is {m.value}"
    if error is not None and not np.isfinite(error):
        error = None
    floor = m.floor if m.floor is None or np.isfinite(m.floor) else None
    return Score(m.name, value, error, m.n, seed, sample_name, floor, missing, dict(m.extra))


def load_sample(name: str, path: Path, histograms: Path, geometry: Geometry, threshold: float) -> Sample:
    """A sample whose arrays are read from its files when a metric first asks for them."""
    cache: dict[str, Any] = {}

    def streamed(key: str) -> Any:
        """Observables, energies and block means together: one pass over the file."""
        if not cache:
            cache.update(_one_pass(name, path, geometry, threshold))
        return cache.pop(key)

    def showers() -> np.ndarray:
        parts = [np.where(c.showers >= np.float32(threshold), c.showers, 0) for c in stream(path, geometry, name)]
        return np.concatenate(parts)

    loaders = {key: lambda key=key: streamed(key) for key in ("observables", "incident_energies", "block_means")}
    loaders |= {"showers": showers, "histograms": lambda: _binned(histograms, name)}
    layers = dict(zip(geometry.layer_ids, geometry.layer_slices, strict=True))
    return Sample(check_samples({name: path}, geometry)[name], threshold, layers, loaders)


def _one_pass(name: str, path: Path, geometry: Geometry, threshold: float) -> dict[str, Any]:
    pieces, energies = [], []
    sums, counts, start = np.zeros((BLOCKS, geometry.n_voxels)), np.zeros(BLOCKS), 0
    for chunk in stream(path, geometry, f"observables of {name}"):
        energies.append(chunk.incident_energies[:, 0].astype(np.float64))
        pieces.append(compute(chunk.showers, energies[-1], geometry, threshold, brightest=0))
        kept = np.where(chunk.showers >= np.float32(threshold), chunk.showers, np.float32(0))
        for i in range(min(BLOCKS, len(kept))):
            block = (start + i) % BLOCKS
            sums[block] += kept[i::BLOCKS].sum(axis=0, dtype=np.float64)
            counts[block] += len(kept[i::BLOCKS])
        start += len(kept)
    return {
        "observables": {k: np.concatenate([p.pop(k) for p in pieces]) for k in list(pieces[0])},
        "incident_energies": np.concatenate(energies),
        "block_means": sums[counts > 0] / counts[counts > 0, None],
    }


def _binned(path: Path, name: str) -> dict[str, BinnedCounts]:
    found = [h for h in load_histograms(path)[0] if h.energy_slice is None and name in h.counts]
    return {h.name: BinnedCounts(h.edges, h.counts[name], h.totals[name]) for h in found}
