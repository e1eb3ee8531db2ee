"""The configured metrics of every sample against the reference: from files to ``metrics.json``."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from calopipe.config.base import validate
from calopipe.config.parts import METRICS
from calopipe.errors import MetricUnavailable
from calopipe.evaluation.averages import BLOCKS, Sums
from calopipe.evaluation.inputs import check_samples, stream
from calopipe.geometry import Geometry, load_geometry
from calopipe.io import iter_stored
from calopipe.metrics.base import BinnedCounts, Sample
from calopipe.observables import columns, compute, voxel_counts, voxel_spectrum
from calopipe.observables.challenge import challenge_edges, challenge_values, layer_maxima, voxel_edges
from calopipe.records.histograms import load_histograms
from calopipe.records.samples import REFERENCE
from calopipe.records.scores import Score, save_scores
from calopipe.seeds import derive, generator

log = logging.getLogger("calopipe")

#: blocks of showers of the challenge's histograms; more than bins, since a bootstrap draws from them
HISTOGRAM_BLOCKS = 100


def evaluate_metrics(
    reference: Path,
    samples: Mapping[str, Path],
    histograms: Path,
    geometry: Geometry | str | Path,
    threshold_MeV: float | None,
    metrics: Sequence[Mapping[str, Any]],
    seed: int,
    out: Path,
    latent: int | None = None,
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
        latent: dimension of the latent space of the samples' generator, where it has one.

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
        sample = load_sample(sample_name, path, histograms, geometry, threshold, base, latent)
        scores += measure_metrics(base, sample, sample_name, metrics, seed)
    save_scores(out, scores)


def measure_metrics(
    base: Sample, sample: Sample, sample_name: str, metrics: Sequence[Mapping[str, Any]], seed: int
) -> list[Score]:
    """The scores of one sample against the reference `base`; arguments and errors as for :func:`evaluate_metrics`."""
    scores: list[Score] = []
    for entry in metrics:
        settings = {k: v for k, v in entry.items() if k != "metric"}
        found = _measure(entry["metric"], settings, base, sample, derive(seed, "metric", sample_name))
        scores += [replace(score.finite(), seed=seed, sample=sample_name) for score in found]
        log.info("metric %s of %s: done", entry["metric"], sample_name)
    return scores


def _measure(name: str, settings: Mapping[str, Any], base: Sample, sample: Sample, seed: int) -> list[Score]:
    metric, cls = METRICS.get(name), METRICS.config_class(name)
    arguments = [] if cls is None else [validate(cls, dict(settings), name)]
    try:
        found = metric(base, sample, generator(seed, name), *arguments)
    except MetricUnavailable as error:
        log.warning("metric %s: %s", name, error)
        return [Score.absent(name, min(base.n, sample.n), error)]
    return [found] if isinstance(found, Score) else list(found)


def load_sample(
    name: str,
    path: Path,
    histograms: Path,
    geometry: Geometry,
    threshold: float,
    reference: Sample | None = None,
    latent: int | None = None,
) -> Sample:
    """A sample whose arrays are read from its files when a metric first asks for them.

    `reference` is the sample that this one is compared with; the challenge's bins follow it. None: this is it.
    `latent` is the size of its generator's latent space.
    """
    cache: dict[str, Any] = {}

    def streamed(key: str) -> Any:
        """Observables, energies, block means and the largest voxel together: one pass over the file."""
        if not cache:
            cache.update(_one_pass(name, path, geometry, threshold))
        return cache.pop(key)

    def challenge() -> dict[str, BinnedCounts]:
        return _challenge_histograms(path, geometry, sample, reference or sample)

    keys = ("observables", "incident_energies", "block_means", "largest_voxel")
    loaders: dict[str, Callable[..., Any]] = {key: lambda key=key: streamed(key) for key in keys}
    loaders |= {
        "showers": lambda: _showers(name, path, geometry, threshold),
        "some_showers": lambda rows: _showers(name, path, geometry, threshold, rows),
        "histograms": lambda: _binned(histograms, name),
        "challenge_values": lambda: _challenge_values(path, geometry, threshold),
        "challenge_histograms": challenge,
        "shower_bins": lambda: _shower_bins(sample, geometry),
        "voxel_counts": lambda: _voxel_counts(sample, name, path, geometry),
        "layer_shapes": lambda: {k: geometry.layer_shape(i) for i, k in enumerate(geometry.layer_ids)},
    }
    layers = dict(zip(geometry.layer_ids, geometry.layer_slices, strict=True))
    sample = Sample(check_samples({name: path}, geometry)[name], threshold, layers, loaders, latent)
    return sample


def _showers(name: str, path: Path, geometry: Geometry, threshold: float, rows: np.ndarray | None = None) -> np.ndarray:
    """(n, V) showers of a file, or those in `rows`, after the threshold."""
    n = check_samples({name: path}, geometry)[name] if rows is None else len(rows)
    out, start = np.empty((n, geometry.n_voxels), dtype=np.float32), 0
    for chunk in stream(path, geometry, f"showers of {name}", rows=rows):
        kept = out[start : start + len(chunk)]
        kept[:] = chunk.showers
        kept[kept < np.float32(threshold)] = 0
        start += len(chunk)
    return out


def _shower_bins(sample: Sample, geometry: Geometry) -> dict[str, np.ndarray]:
    """Bins of the observables, of the values in float32 as the histograms are filled with."""
    out = {}
    for column in columns(geometry, list(sample.observables)):
        if column.key in sample.histograms:
            edges = sample.histograms[column.key].edges
            values = sample.observables[column.name].reshape(sample.n, -1)[:, column.index]
            values = values.astype(np.float32).astype(np.float64)
            index = np.searchsorted(edges, values, side="right") - 1
            index[values == edges[-1]] = len(edges) - 2
            out[column.key] = np.where(index < len(edges) - 1, index, -1).astype(np.int32)
    return out


def _voxel_counts(sample: Sample, name: str, path: Path, geometry: Geometry) -> np.ndarray:
    if "voxels" not in sample.histograms:
        raise MetricUnavailable("there is no histogram of voxel energies")
    edges = sample.histograms["voxels"].edges
    pieces = [
        voxel_counts(chunk.showers, edges, sample.threshold_MeV)
        for chunk in stream(path, geometry, f"voxels of {name}")
    ]
    return np.concatenate(pieces)


def _one_pass(name: str, path: Path, geometry: Geometry, threshold: float) -> dict[str, Any]:
    pieces, energies, largest = [], [], 0.0
    sums = Sums(geometry.n_voxels, BLOCKS)
    for chunk in stream(path, geometry, f"observables of {name}"):
        energies.append(chunk.incident_energies[:, 0].astype(np.float64))
        pieces.append(compute(chunk.showers, energies[-1], geometry, threshold, brightest=0))
        kept = np.where(chunk.showers >= np.float32(threshold), chunk.showers, np.float32(0))
        largest = max(largest, float(kept.max()))
        sums.add(kept)
    return {
        "observables": {k: np.concatenate([p.pop(k) for p in pieces]) for k in list(pieces[0])},
        "incident_energies": np.concatenate(energies),
        "block_means": sums.block_means(),
        "largest_voxel": largest,
    }


def _challenge_values(path: Path, geometry: Geometry, threshold: float) -> dict[str, np.ndarray]:
    """(N,) challenge's observables of a file, computed in the file's own type, and ``voxels``: its largest voxel (1,)."""
    if geometry.kind != "cylindrical":
        raise MetricUnavailable(f"the challenge's histograms need a cylindrical geometry; '{geometry.name}' is not")
    if not threshold > 0:
        raise MetricUnavailable("the challenge's logarithmic bins begin at the readout threshold, which is 0 here")
    pieces, largest = [], []
    for incident, showers in iter_stored(path, geometry):
        pieces.append(challenge_values(showers, incident, geometry, threshold))
        largest.append(showers.max())
    values = {k: np.concatenate([p.pop(k) for p in pieces]) for k in list(pieces[0])}
    return values | {"voxels": np.array([max(largest)])}


def _challenge_histograms(path: Path, geometry: Geometry, sample: Sample, reference: Sample) -> dict[str, BinnedCounts]:
    """The challenge's histograms of a sample; the voxels' in a pass of its own, since its bins end at the reference's."""
    values, bounds = sample.challenge_values, reference.challenge_values
    threshold, blocks = sample.threshold_MeV, min(HISTOGRAM_BLOCKS, sample.n)
    out = {}
    for key, edges in challenge_edges(geometry, threshold, layer_maxima(bounds, geometry)):
        parts = np.stack([np.histogram(values[key][i::blocks], edges)[0] for i in range(blocks)])
        out[key] = BinnedCounts(edges, parts.sum(axis=0), sample.n, parts)
    edges = voxel_edges(threshold, bounds["voxels"][0])
    parts, filled, start = np.zeros((blocks, len(edges) - 1), dtype=np.int64), 0, 0
    for _, showers in iter_stored(path, geometry):
        filled += int(np.count_nonzero(showers >= showers.dtype.type(threshold)))
        for i in range(min(blocks, len(showers))):
            parts[(start + i) % blocks] += voxel_spectrum(showers[i::blocks], edges, threshold)
        start += len(showers)
    return {**out, "voxels": BinnedCounts(edges, parts.sum(axis=0), filled, parts)}


def _binned(path: Path, name: str) -> dict[str, BinnedCounts]:
    found = [h for h in load_histograms(path)[0] if h.energy_slice is None and name in h.counts]
    return {h.name: BinnedCounts(h.edges, h.counts[name], h.totals[name]) for h in found}
