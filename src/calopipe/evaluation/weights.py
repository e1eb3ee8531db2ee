"""Observables of the showers that give a generator away: those of the lowest and highest classifier weights.

A weight w = p_ref / p_gen far below 1 marks a generated shower that the reference hardly has, a large one a shower that
the generator makes too rarely (Ernst 2023, sections 3.3.4 and 4.3.2, figure 29).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from calopipe.errors import DataError
from calopipe.evaluation.inputs import Readout, check_samples, stream
from calopipe.io import Showers
from calopipe.io.stored import read_npz
from calopipe.observables import Column, all_specs, columns, compute_all, voxel_spectrum
from calopipe.records.histograms import Histogram, load_histograms, save_histograms
from calopipe.records.samples import GENERATED, REFERENCE

log = logging.getLogger("calopipe")

#: bins are merged so that the showers of extreme weight would give this many entries per bin if spread evenly ...
SHOWERS_PER_BIN = 4
#: ... but not to fewer bins
MIN_BINS = 10


def evaluate_weights(
    generated: Path,
    readout: Readout,
    *,
    curves: Path,
    histograms: Path,
    brightest: int,
    fraction: float,
    out: Path,
) -> None:
    """Fill the histograms over all energies with the generated showers of lowest and of highest weight.

    A shower's weight is the geometric mean of those of the classifier's trainings. Beside ``reference`` and ``generated``
    (all showers, as they are in `histograms`) the histograms hold ``lowest 10 % of weights`` and ``highest 10 % of
    weights`` (for a fraction of 0.1) of the generated showers that the classifier was tested on, in coarser bins where
    these are few. Where the classifier test could not be made the file holds no histogram.

    Args:
        generated: shower file that the classifier judged.
        readout: what it is compared in.
        curves: NPZ of :func:`calopipe.evaluation.classifier.evaluate_classifier`.
        histograms: NPZ of :func:`calopipe.evaluation.observables.evaluate_observables` with the sample ``generated``.
        brightest: number of brightest voxels per layer in `histograms`.
        fraction: of the tested showers that are lowest, and highest; at least one shower each.
        out: NPZ file of :func:`calopipe.records.histograms.save_histograms`.

    Raises:
        DataError: a file is not what it should be, or `generated` has fewer showers than the classifier saw.
    """
    n = check_samples({GENERATED: generated}, readout.geometry)[GENERATED]
    chosen = extreme_rows(curves, fraction)
    if not chosen:
        save_histograms(out, [])
        return
    if max(rows.max() for rows in chosen.values()) >= n:
        raise DataError(f"{curves}: weights of rows that {generated} with its {n} showers does not have")
    by_name = {c.key: c for c in columns(readout.geometry, all_specs(), brightest, all_specs())}
    found = [h for h in load_histograms(histograms)[0] if h.part is None and GENERATED in h.counts]
    found = [h for h in found if h.name in by_name or h.name == "voxels"]
    filled = {name: [_Filled(h, by_name.get(h.name), readout) for h in found] for name in chosen}
    for name, rows in chosen.items():
        for chunk in stream(generated, readout.geometry, "showers of extreme weights", rows=rows):
            incident = chunk.incident_energies[:, 0]
            observables = compute_all(chunk.showers, incident, readout.geometry, readout.threshold_MeV, brightest)
            for one in filled[name]:
                one.add(chunk, observables)
    size = min(len(rows) for rows in chosen.values())
    together = []
    for i, h in enumerate(found):
        counts = {s: h.counts[s] for s in (REFERENCE, GENERATED)} | {name: f[i].counts for name, f in filled.items()}
        totals = {s: h.totals[s] for s in (REFERENCE, GENERATED)} | {name: f[i].total for name, f in filled.items()}
        together.append(coarser(replace(h, counts=counts, totals=totals), size))
    save_histograms(out, together)


def coarser(histogram: Histogram, showers: int) -> Histogram:
    """The histogram with neighbouring bins added, so that a few showers do not leave most of them empty."""
    bins = len(histogram.edges) - 1
    wanted = max(MIN_BINS, showers // SHOWERS_PER_BIN)
    if histogram.name == "voxels" or bins <= wanted:  # a shower has many voxels
        return histogram
    starts = np.arange(0, bins, -(-bins // wanted))
    counts, draws = (
        {sample: np.add.reduceat(values, starts, axis=-1) for sample, values in part.items()}
        for part in (histogram.counts, histogram.draws)
    )
    edges = np.append(histogram.edges[starts], histogram.edges[-1])
    return replace(histogram, edges=edges, counts=counts, draws=draws)


def extreme_rows(curves: Path, fraction: float) -> dict[str, np.ndarray]:
    """Rows of the generated showers of lowest and of highest weight, sorted; nothing when the file has no weights.

    Raises:
        DataError: not a file of the classifier test.
    """
    keys = ("weights_generated", "rows_generated")
    data = read_npz(curves, keys, "not the curves of a classifier test")
    weights, rows = (data[key] for key in keys)
    if not weights.size:
        log.warning("%s: no weights, so there are no showers of low or high weight", curves)
        return {}
    if weights.ndim != 2 or rows.ndim != 1 or rows.dtype.kind not in "iu" or weights.shape[-1] != len(rows):
        raise DataError(f"{curves}: weights {weights.shape} of {len(rows)} showers")
    order = np.argsort(np.log(np.maximum(weights, 1e-300)).mean(axis=0), kind="stable")
    k = max(1, round(fraction * len(rows)))
    text = f"{100 * fraction:.3g} % of weights"
    return {f"lowest {text}": np.sort(rows[order[:k]]), f"highest {text}": np.sort(rows[order[-k:]])}


class _Filled:
    """Counts and total of some showers in the bins of a histogram; `column` is its observable, None for voxels."""

    def __init__(self, histogram: Histogram, column: Column | None, readout: Readout) -> None:
        self.edges, self.column, self.readout = histogram.edges, column, readout
        self.counts, self.total = np.zeros(len(histogram.edges) - 1, dtype=np.int64), 0

    def add(self, showers: Showers, observables: Mapping[str, np.ndarray]) -> None:
        """Add showers with their observables."""
        if self.column is None:
            kept = self.readout.kept(showers.showers)
            self.counts += voxel_spectrum(kept, self.edges)
            self.total += int(np.count_nonzero(kept))
            return
        values = observables[self.column.name].reshape(len(showers), -1)[:, self.column.index]
        # float32 as the bins' own values: an entry on an edge falls on the same side
        self.counts += np.histogram(values.astype(np.float32).astype(np.float64), self.edges)[0]
        self.total += len(showers)
