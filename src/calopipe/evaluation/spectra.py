"""Energies that a regressor reads off showers of single incident energies, in histograms (Werther 2022: photons of 20 to 90 GeV)."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from calopipe.errors import MetricUnavailable
from calopipe.metrics.base import MAX_ENERGIES
from calopipe.metrics.resolution import core_edges
from calopipe.records.samples import REFERENCE
from calopipe.records.slices import Slice
from calopipe.records.spectra import Spectra

log = logging.getLogger("calopipe")


def reference_spectra(predicted: np.ndarray, incident: np.ndarray, asked: Sequence[float] | None) -> Spectra:
    """Histograms of the reference, around the core of what is read off its showers of each energy.

    Energies with too few showers for a core are left out, and where they were asked for, the log says so.

    Args:
        predicted, incident: (N,) reconstructed and incident energies in MeV.
        asked: incident energies in MeV; None: all of a reference with at most MAX_ENERGIES different ones, none of another.
    """
    energies, edges = [], []
    for energy in _discrete(incident) if asked is None else sorted(asked):
        try:
            edges.append(core_edges(predicted[Slice.of_energies(energy, energy).holds(incident)]))
            energies.append(energy)
        except MetricUnavailable as error:
            if asked is not None:
                log.warning("warning: no histogram of reconstructed energies at %g MeV: %s", energy, error)
    none = Spectra(np.array(energies), np.array(edges), {}, {})
    return with_sample(none, REFERENCE, predicted, incident)


def _discrete(incident: np.ndarray) -> list[float]:
    """The different incident energies, where they are few."""
    found = np.unique(incident).tolist()
    return found if len(found) <= MAX_ENERGIES else []


def with_sample(spectra: Spectra, sample: str, predicted: np.ndarray, incident: np.ndarray) -> Spectra:
    """The same with the counts of a sample in the bins that are there."""
    counts, totals = [], []
    for energy, edges in zip(spectra.energies.tolist(), spectra.edges, strict=True):
        found = predicted[Slice.of_energies(energy, energy).holds(incident)]
        counts.append(np.histogram(found, edges)[0])
        totals.append(len(found))
    added = {sample: np.array(counts)}, {sample: np.array(totals)}
    return Spectra(spectra.energies, spectra.edges, {**spectra.counts, **added[0]}, {**spectra.totals, **added[1]})
