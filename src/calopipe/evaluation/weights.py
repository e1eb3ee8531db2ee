"""Observables of the showers that give a generator away: those of the lowest and highest classifier weights.

A weight w = p_ref / p_gen far below 1 marks a generated shower that the reference hardly has, a large one a shower that
the generator makes too rarely (Ernst 2023, sections 3.3.4 and 4.3.2, figure 29).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from calopipe.errors import DataError
from calopipe.evaluation.inputs import check_samples, stream
from calopipe.geometry import Geometry, load_geometry
from calopipe.io.stored import read_npz
from calopipe.observables import SPECS, Column, columns, compute, voxel_spectrum
from calopipe.records.histograms import Histogram, load_histograms, save_histograms
from calopipe.records.samples import GENERATED, REFERENCE

log = logging.getLogger("calopipe")

#: bins are merged so that the showers of extreme weight would give this many entries per bin if spread evenly ...
SHOWERS_PER_BIN = 4
#: ... but not to fewer bins
MIN_BINS = 10


def evaluate_weights(
    curves: Path,
    histograms: Path,
    generated: Path,
    geometry: Geometry | str | Path,
    threshold_MeV: float | None,
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
        curves: NPZ of :func:`calopipe.evaluation.classifier.evaluate_classifier`.
        histograms: NPZ of :func:`calopipe.evaluation.observables.evaluate_observables` with the sample ``generated``.
        generated: shower file that the classifier judged.
        geometry: voxelisation, or its name or file.
        threshold_MeV: voxels below are zero; None: the geometry's threshold.
        brightest: number of brightest voxels per layer in `histograms`.
        fraction: of the tested showers that are lowest, and highest; at least one shower each.
        out: NPZ file of :func:`calopipe.records.histograms.save_histograms`.

    Raises:
        DataError: a file is not what it should be, or `generated` has fewer showers than the classifier saw.
    """
    geometry = load_geometry(geometry)
    threshold = geometry.threshold_MeV if threshold_MeV is None else threshold_MeV
    n = check_samples({GENERATED: generated}, geometry)[GENERATED]
    chosen = extreme_rows(curves, fraction)
    if chosen and max(rows.max() for rows in chosen.values()) >= n:
        raise DataError(f"{curves}: weights of rows that {generated} with its {n} showers does not have")
    found = (
        [h for h in load_histograms(histograms)[0] if h.energy_slice is None and GENERATED in h.counts]
        if chosen
        else []
    )
    by_name = {c.key: c for c in columns(geometry, list(SPECS), brightest)}
    found = [h for h in found if h.name in by_name or h.name == "voxels"]
    new = {
        name: _filled(generated, rows, found, by_name, geometry, threshold, brightest) for name, rows in chosen.items()
    }
    filled = []
    for i, h in enumerate(found):
        counts = {s: h.counts[s] for s in (REFERENCE, GENERATED)} | {name: new[name][0][i] for name in new}
        totals = {s: h.totals[s] for s in (REFERENCE, GENERATED)} | {name: new[name][1][i] for name in new}
        size = min((len(rows) for rows in chosen.values()), default=0)
        filled.append(_coarser(replace(h, counts=counts, totals=totals), size))
    save_histograms(out, filled)


def _coarser(histogram: Histogram, showers: int) -> Histogram:
    """The histogram with neighbouring bins added, so that a few showers do not leave most of them empty."""
    bins = len(histogram.edges) - 1
    wanted = max(MIN_BINS, showers // SHOWERS_PER_BIN)
    if histogram.name == "voxels" or bins <= wanted:  # a shower has many voxels
        return histogram
    starts = np.arange(0, bins, -(-bins // wanted))
    counts = {sample: np.add.reduceat(values, starts) for sample, values in histogram.counts.items()}
    return replace(histogram, edges=np.append(histogram.edges[starts], histogram.edges[-1]), counts=counts)


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


def _filled(
    path: Path,
    rows: np.ndarray,
    histograms: Sequence[Histogram],
    by_name: Mapping[str, Column],
    geometry: Geometry,
    threshold: float,
    brightest: int,
) -> tuple[list[np.ndarray], list[int]]:
    """Counts and totals of each histogram for some rows of a file."""
    counts = [np.zeros(len(h.edges) - 1, dtype=np.int64) for h in histograms]
    totals = [0] * len(histograms)
    for chunk in stream(path, geometry, "showers of extreme weights", rows=rows):
        observables = compute(chunk.showers, chunk.incident_energies[:, 0], geometry, threshold, brightest)
        kept = np.where(chunk.showers >= np.float32(threshold), chunk.showers, np.float32(0))
        for i, h in enumerate(histograms):
            if h.name == "voxels":
                counts[i] += voxel_spectrum(kept, h.edges)
                totals[i] += int(np.count_nonzero(kept))
                continue
            column = by_name[h.name]
            values = observables[column.name].reshape(len(chunk), -1)[:, column.index]
            # float32 as the bins' own values: an entry on an edge falls on the same side
            counts[i] += np.histogram(values.astype(np.float32).astype(np.float64), h.edges)[0]
            totals[i] += len(chunk)
    return counts, totals
