"""Reconstructed showers against their originals, shower by shower."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from calopipe.evaluation.inputs import Readout, check_samples, stream
from calopipe.metrics.reconstruction import NAMES, reconstruction_scores
from calopipe.records.scores import Score

#: voxels of a piece
_VOXELS = 2**23
#: relative difference up to which incident energies are those of one row: rounding of float32
_SAME = 1e-6


def evaluate_reconstruction(reference: Path, reconstructed: Path, readout: Readout) -> list[Score]:
    """Scores of :func:`~calopipe.metrics.reconstruction.reconstruction_scores`, of voxels above the readout threshold.

    Row k of `reconstructed` must be made of row k of `reference`: where numbers of showers or incident energies differ, the scores say so and
    have no value.

    Raises:
        DataError: a file does not fit the geometry, or holds values that are not energies.
    """
    sizes = check_samples({"reference": reference, "reconstructed": reconstructed}, readout.geometry)
    n = min(sizes.values())
    if len(set(sizes.values())) > 1:
        reason = (
            f"{sizes['reconstructed']} reconstructed showers of {sizes['reference']}: which are of which is not known"
        )
        return [Score.absent(name, n, reason) for name in NAMES]
    rows = max(1, _VOXELS // readout.geometry.n_voxels)
    pieces = (stream(path, readout.geometry, "reconstruction", chunk_rows=rows) for path in (reference, reconstructed))
    squares, deposits = [], []
    for original, made in zip(*pieces, strict=True):
        if not np.allclose(original.incident_energies, made.incident_energies, rtol=_SAME, atol=0):
            return [Score.absent(name, n, "rows of other incident energies than the reference's") for name in NAMES]
        x, y = (readout.kept(showers.showers).astype(np.float64) for showers in (original, made))
        squares.append(((x - y) ** 2).sum(axis=1))
        deposits.append(x.sum(axis=1))
    return reconstruction_scores(np.concatenate(squares), np.concatenate(deposits))
