"""Showers of generators that are not trained here: files, taken over as the sample of a run."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from calopipe.errors import DataError
from calopipe.geometry import Geometry, load_geometry
from calopipe.io import ShowerWriter, iter_showers
from calopipe.io.output import check_target
from calopipe.sampling.stages import best_of

log = logging.getLogger("calopipe")


def take_over(
    files: Sequence[Path],
    out: Path,
    geometry: Geometry | str,
    threshold_MeV: float,
    conditions: Sequence[str] = (),
    *,
    source: str = "external sample",
) -> None:
    """Copy shower files, pooled, into the sample of a run: voxels below the readout threshold are cut.

    Raises:
        DataError, GeometryError: unreadable files, other voxels than those of the geometry, no showers.
    """
    check_target(out, list(files))
    geometry, n = load_geometry(geometry), 0
    attributes = {"source": source, "threshold_MeV": threshold_MeV}
    with ShowerWriter(out, geometry, conditions=conditions, attributes=attributes) as writer:
        for path in files:
            for piece in iter_showers(path, geometry=geometry, conditions=conditions):
                cut = np.where(piece.showers < np.float32(threshold_MeV), np.float32(0), piece.showers)
                writer.append_arrays(piece.condition, cut)
                n += len(cut)
        if not n:
            raise DataError(f"{', '.join(map(str, files))}: no showers")
    log.info("%d showers of %d files taken over", n, len(files))


def chosen_file(epochs: dict[int, Path], epoch: int | str, scores: Path | None) -> tuple[Path, str]:
    """The file of an epoch (its number, or ``best``: the one named in `scores`), and what to call its showers.

    Raises:
        DataError: no epoch is the best.
    """
    number, source = best_of(scores) if epoch == "best" else (int(epoch), f"external sample of epoch {epoch}")
    if number not in epochs:
        raise DataError(
            f"{scores}: epoch {number} is the best, but there are files of {', '.join(map(str, epochs))} only"
        )
    return epochs[number], source
