"""Histograms of the observables and average showers of several samples, with bins fixed by the reference alone."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from calopipe.config.evaluation import HistogramConfig
from calopipe.evaluation.averages import average_showers, cross_sections, pick_examples
from calopipe.evaluation.inputs import Readout, check_samples, rows_of, stream, with_reference
from calopipe.evaluation.pages import Page
from calopipe.io import Showers, file_info
from calopipe.metrics.base import MAX_ENERGIES
from calopipe.observables import Column, all_specs, bin_edges, columns, compute_all, log_edges, ratio_edges
from calopipe.records.histograms import save_histograms
from calopipe.records.samples import REFERENCE, draw_of, draws_of
from calopipe.records.slices import Slice

log = logging.getLogger("calopipe")


def evaluate_observables(
    reference: Path, samples: Mapping[str, Path], readout: Readout, *, config: HistogramConfig, out: Path
) -> None:
    """Fill the histograms of all observables and the average showers, and save them to `out`.

    Files are streamed; of the reference the observables (not the showers) are kept in memory, as float32, because bins
    follow its quantiles. The voxel spectrum and the observables whose specs say ``sliced`` are also filled for each
    slice of a condition that is configured, with bins of their own; a slice without reference showers is left out.
    Where the reference has few different incident energies (CaloChallenge 1), E_tot / E_inc is filled for each of them.
    Cross sections of the average shower over all energies, and a few example showers, are saved beside.

    Args:
        reference: shower file that fixes the bins, called ``reference`` in the output.
        samples: name -> shower file.
        readout: what they are compared in.
        out: NPZ file of :func:`calopipe.records.histograms.save_histograms`.

    Raises:
        ConfigError: a sample is called ``reference``.
        DataError: a file is empty, does not fit the geometry, holds values that are not energies, or has no condition of a
            name that is sliced by.
    """
    paths = with_reference(reference, samples)
    check_samples(paths, readout.geometry)
    pages = _reference_pages(reference, readout, config)
    conditions = list(config.slices)
    energies: dict[str, list[np.ndarray]] = {name: [] for name in paths}
    for name, path in paths.items():
        draws, start = draws_of(file_info(path).attributes), 0
        for chunk in stream(path, readout.geometry, f"observables of {name}", conditions=conditions):
            energies[name].append(chunk.incident_energies[:, 0])
            values = (
                None if name == REFERENCE else _values(chunk, readout, config)
            )  # the reference's are filled already
            for page in pages:
                rows = rows_of(chunk, page.part)
                page.fill(name, rows, chunk.showers, values)
                if draws > 1 and values is not None:
                    which = draw_of(np.arange(start, start + len(chunk)), draws)
                    page.fill_draws(name, which, draws, rows, chunk.showers, values)
            start += len(chunk)
    histograms = [h for page in pages for h in page.histograms()]
    averages = [average_showers(page.sums, page.part) for page in pages if page.sums]
    incident = {name: np.concatenate(parts) for name, parts in energies.items()}
    examples = pick_examples(paths, incident, REFERENCE, config.examples, readout.threshold_MeV)
    save_histograms(out, histograms, averages, cross_sections(pages[0].sums, readout.geometry), examples)
    log.info("%d histograms of %d samples: %s", len(histograms), len(paths), out)


def slices_of(config: HistogramConfig) -> list[Slice]:
    """The slices that are configured, those of the incident energy first."""
    others = [Slice(name, *ends) for name, slices in config.slices.items() for ends in slices]
    return [Slice.of_energies(*ends) for ends in config.energy_slices] + others


def _values(chunk: Showers, readout: Readout, config: HistogramConfig) -> dict[str, np.ndarray]:
    """Observables that have a histogram as (n, columns) float32."""
    incident = chunk.incident_energies[:, 0]
    found = compute_all(chunk.showers, incident, readout.geometry, readout.threshold_MeV, config.brightest)
    wanted = all_specs()
    return {k: v.reshape(len(v), -1).astype(np.float32) for k, v in found.items() if k in wanted}


@dataclass(frozen=True)
class _Reference:
    """What bins follow: of N reference showers the incident energies (N,) in MeV, largest and smallest filled voxel (N,), the
    observables (N, columns), and which showers (N,) belong to each slice (None: all).
    """

    incident: np.ndarray
    largest: np.ndarray
    smallest: np.ndarray
    values: Mapping[str, np.ndarray]
    rows: Mapping[Slice | None, np.ndarray]

    @classmethod
    def read(cls, path: Path, readout: Readout, config: HistogramConfig) -> _Reference:
        parts: list[Slice | None] = [None, *slices_of(config)]
        incident, largest, smallest, values, rows = [], [], [], [], []
        for chunk in stream(path, readout.geometry, "observables of the reference", conditions=list(config.slices)):
            values.append(_values(chunk, readout, config))
            incident.append(chunk.incident_energies[:, 0])
            largest.append(chunk.showers.max(axis=1))
            filled = chunk.showers > max(readout.threshold_MeV, 0)
            smallest.append(np.min(chunk.showers, axis=1, where=filled, initial=np.inf))
            rows.append([rows_of(chunk, part) for part in parts])
        whole = {k: np.concatenate([v.pop(k) for v in values]) for k in list(values[0])}
        selected = {part: np.concatenate(r) for part, r in zip(parts, zip(*rows, strict=True), strict=True)}
        return cls(np.concatenate(incident), np.concatenate(largest), np.concatenate(smallest), whole, selected)


def _reference_pages(path: Path, readout: Readout, config: HistogramConfig) -> list[Page]:
    """Pages with their bins and the reference's observables filled in: all showers, then each slice."""
    found = _Reference.read(path, readout, config)
    every = columns(readout.geometry, found.values, config.brightest, all_specs())
    pages = []
    for part, rows in found.rows.items():
        if not rows.any():
            log.warning("no reference showers of %s: slice left out", part)
            continue
        bottom = float(readout.threshold_MeV or found.smallest[rows].min())
        voxels = log_edges(bottom, float(found.largest[rows].max()), config.bins)
        used = [c for c in every if part is None or c.spec.sliced]
        edges = [bin_edges(c, found.values[c.name][rows, c.index].astype(np.float64), config) for c in used]
        page = Page(part, used, edges, (voxels, readout))
        page.fill_values(REFERENCE, found.values, rows)
        pages.append(page)
    return pages + (list(_energy_pages(found, every, config)) if config.per_energy else [])


def _energy_pages(found: _Reference, every: Sequence[Column], config: HistogramConfig) -> Iterator[Page]:
    """Pages with E_tot / E_inc alone, one for each of a few different incident energies of the reference."""
    energies = np.unique(found.incident)
    ratio = [c for c in every if c.name == "E_ratio"]
    for energy in energies.tolist() if 1 < len(energies) <= MAX_ENERGIES else []:
        part = Slice.of_energies(energy, energy)
        rows = part.holds(found.incident)
        edges = ratio_edges(found.values["E_ratio"][rows, 0].astype(np.float64), max(10, config.bins // 2))
        page = Page(part, ratio, [edges])
        page.fill_values(REFERENCE, found.values, rows)
        yield page
