"""Histograms of the observables and average showers of several samples, with bins fixed by the reference alone."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from calopipe.config.evaluation import HistogramConfig
from calopipe.errors import ConfigError
from calopipe.evaluation.averages import BLOCKS, Sums, average_showers, cross_sections, pick_examples
from calopipe.evaluation.inputs import Slice, check_samples, in_slice, stream
from calopipe.geometry import Geometry, load_geometry
from calopipe.metrics.base import MAX_ENERGIES
from calopipe.observables import SPECS, Column, bin_edges, columns, compute, log_edges, ratio_edges, voxel_spectrum
from calopipe.observables.spectrum import LABEL as VOXEL_LABEL
from calopipe.records.histograms import Histogram, save_histograms
from calopipe.records.samples import REFERENCE

log = logging.getLogger("calopipe")


def evaluate_observables(
    reference: Path,
    samples: Mapping[str, Path],
    geometry: Geometry | str | Path,
    threshold_MeV: float | None,
    config: HistogramConfig,
    out: Path,
) -> None:
    """Fill the histograms of all observables and the average showers, and save them to `out`.

    Files are streamed; of the reference the observables (not the showers) are kept in memory, as float32, because bins
    follow its quantiles. The voxel spectrum and the observables marked ``sliced`` in SPECS are also filled for each
    slice of incident energy that is configured, with bins of their own; a slice without reference showers is left out.
    Where the reference has few different incident energies (CaloChallenge 1), E_tot / E_inc is filled for each of them.
    Cross sections of the average shower over all energies, and a few example showers, are saved beside.

    Args:
        reference: shower file that fixes the bins, called ``reference`` in the output.
        samples: name -> shower file.
        geometry: voxelisation, or its name or file.
        threshold_MeV: voxels below are zero; None: the geometry's threshold.
        out: NPZ file of :func:`calopipe.records.histograms.save_histograms`.

    Raises:
        ConfigError: a sample is called ``reference``.
        DataError: a file is empty, does not fit the geometry, or holds values that are not energies.
    """
    if REFERENCE in samples:
        raise ConfigError(f"a sample cannot be called '{REFERENCE}'")
    geometry = load_geometry(geometry)
    threshold = geometry.threshold_MeV if threshold_MeV is None else threshold_MeV
    check_samples({REFERENCE: reference, **samples}, geometry)
    pages = _reference_pages(reference, geometry, threshold, config)
    paths = {REFERENCE: reference, **samples}
    energies: dict[str, list[np.ndarray]] = {name: [] for name in paths}
    for name, path in paths.items():
        for chunk in stream(path, geometry, f"observables of {name}"):
            incident = chunk.incident_energies[:, 0]
            energies[name].append(incident)
            if name == REFERENCE:  # its observables are filled already
                values = None
            else:
                values = _values(compute(chunk.showers, incident, geometry, threshold, config.brightest))
            for page in pages:
                page.fill(name, incident, chunk.showers, values)
    histograms = [h for page in pages for h in page.histograms()]
    averages = [average_showers(page.sums, page.bounds) for page in pages if page.sums]
    incident = {name: np.concatenate(parts) for name, parts in energies.items()}
    examples = pick_examples(paths, incident, REFERENCE, config.examples, threshold)
    save_histograms(out, histograms, averages, cross_sections(pages[0].sums, geometry), examples)
    log.info("%d histograms of %d samples: %s", len(histograms), len(paths), out)


def _values(observables: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Observables that have a histogram as (N, columns) float32."""
    return {k: v.reshape(len(v), -1).astype(np.float32) for k, v in observables.items() if k in SPECS}


def _reference_pages(path: Path, geometry: Geometry, threshold: float, config: HistogramConfig) -> list[_Page]:
    """Pages with their bins and the reference's observables filled in: all energies, then each slice."""
    pieces: list[dict[str, np.ndarray]] = []
    energies, largest, smallest = [], [], []
    for chunk in stream(path, geometry, "observables of the reference"):
        incident = chunk.incident_energies[:, 0]
        pieces.append(_values(compute(chunk.showers, incident, geometry, threshold, config.brightest)))
        energies.append(incident)
        largest.append(chunk.showers.max(axis=1))
        smallest.append(np.min(chunk.showers, axis=1, where=chunk.showers > max(threshold, 0), initial=np.inf))
    values = {k: np.concatenate([p.pop(k) for p in pieces]) for k in list(pieces[0])}
    incident, top, bottom = (np.concatenate(x) for x in (energies, largest, smallest))
    every = columns(geometry, values, config.brightest)
    pages = []
    for bounds in [None, *config.energy_slices]:
        rows = in_slice(incident, bounds)
        if not rows.any():
            log.warning("no reference showers with incident energies in %s MeV: slice left out", bounds)
            continue
        voxels = log_edges(float(threshold or bottom[rows].min()), float(top[rows].max()), config.bins)
        used = [c for c in every if bounds is None or c.spec.sliced]
        edges = [bin_edges(c, values[c.name][rows, c.index].astype(np.float64), config) for c in used]
        page = _Page(bounds, used, edges, voxels, threshold)
        page.fill_values(REFERENCE, values, rows)
        pages.append(page)
    return pages + (_energy_pages(incident, values, every, config) if config.per_energy else [])


def _energy_pages(
    incident: np.ndarray, values: Mapping[str, np.ndarray], every: Sequence[Column], config: HistogramConfig
) -> list[_Page]:
    """Pages with E_tot / E_inc alone, one for each of a few different incident energies of the reference."""
    energies = np.unique(incident)
    ratio = [c for c in every if c.name == "E_ratio"]
    pages = []
    for energy in energies.tolist() if 1 < len(energies) <= MAX_ENERGIES else []:
        rows = in_slice(incident, (energy, energy))
        edges = ratio_edges(values["E_ratio"][rows, 0].astype(np.float64), max(10, config.bins // 2))
        page = _Page((energy, energy), ratio, [edges])
        page.fill_values(REFERENCE, values, rows)
        pages.append(page)
    return pages


class _Page:
    """The histograms and average showers of one slice of incident energy (None: all).

    Without `voxel_edges` there are neither voxel spectra nor average showers.
    """

    def __init__(
        self,
        bounds: Slice,
        used: Sequence[Column],
        edges: Sequence[np.ndarray],
        voxel_edges: np.ndarray | None = None,
        threshold: float = 0.0,
    ) -> None:
        self.bounds, self.columns, self.edges, self.voxel_edges = bounds, used, edges, voxel_edges
        self.threshold = np.float32(threshold)
        self.counts: dict[str, list[np.ndarray]] = {}
        self.spectrum: dict[str, np.ndarray] = {}
        self.filled: dict[str, int] = {}
        self.sums: dict[str, Sums] = {}
        self.n: dict[str, int] = {}

    def fill(
        self, name: str, incident: np.ndarray, showers: np.ndarray, values: Mapping[str, np.ndarray] | None
    ) -> None:
        """Add showers (n, V) and, when given, their observables."""
        rows = in_slice(incident, self.bounds)
        self.n[name] = self.n.get(name, 0) + int(rows.sum())
        if values is not None:
            self.fill_values(name, values, rows)
        if self.voxel_edges is None:
            return
        showers = showers if rows.all() else showers[rows]
        kept = np.where(showers >= self.threshold, showers, np.float32(0))
        blocks = BLOCKS if self.bounds is None else 1
        self.sums.setdefault(name, Sums(kept.shape[1], blocks)).add(kept)
        self.spectrum[name] = self.spectrum.get(name, 0) + voxel_spectrum(kept, self.voxel_edges)
        self.filled[name] = self.filled.get(name, 0) + int(np.count_nonzero(kept))

    def fill_values(self, name: str, values: Mapping[str, np.ndarray], rows: np.ndarray) -> None:
        """Add observables (n, columns) of the showers selected by `rows` (n,)."""
        new = [
            np.histogram(values[c.name][rows, c.index].astype(np.float64), edges)[0]
            for c, edges in zip(self.columns, self.edges, strict=True)
        ]
        old = self.counts.get(name)
        self.counts[name] = new if old is None else [a + b for a, b in zip(old, new, strict=True)]

    def histograms(self) -> Iterator[Histogram]:
        """The observables in the order of SPECS, then the voxel spectrum (its total: voxels that are not zero)."""
        for i, (column, edges) in enumerate(zip(self.columns, self.edges, strict=True)):
            yield Histogram(
                name=column.key,
                group=column.spec.group,
                label=column.label,
                edges=edges,
                counts={name: counts[i] for name, counts in self.counts.items()},
                totals=dict(self.n),
                log_x=column.spec.log_x,
                log_y=column.spec.log_y,
                energy_slice=self.bounds,
            )
        if self.voxel_edges is None:
            return
        shown = {"log_x": True, "log_y": True, "energy_slice": self.bounds}
        yield Histogram("voxels", "voxels", VOXEL_LABEL, self.voxel_edges, self.spectrum, dict(self.filled), **shown)
