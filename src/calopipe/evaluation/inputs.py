"""Reading the samples that are compared: one check, one message, streamed in pieces of bounded memory."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from tqdm import tqdm

from calopipe.errors import DataError, GeometryError, shown
from calopipe.geometry import Geometry
from calopipe.io import Showers, file_info, iter_showers

log = logging.getLogger("calopipe")

Slice = tuple[float, float] | None
"""Incident energies in MeV: from the first to the second (excluded), equal ends one energy, None all."""

#: relative difference up to which two beam energies are the same
SAME_ENERGY = 1e-3

#: seconds between progress lines when there is no terminal for a bar
LOG_EVERY_S = 30.0


def check_samples(paths: Mapping[str, Path], geometry: Geometry) -> dict[str, int]:
    """Number of showers of each file.

    Args:
        paths: what the file is called in messages -> shower file.
        geometry: what all must be voxelised in.

    Raises:
        DataError: a file is unreadable, holds no showers, or does not fit `geometry`.
    """
    sizes = {}
    for name, path in paths.items():
        info = file_info(path)
        if info.n_voxels != geometry.n_voxels:
            expected = f"geometry '{geometry.name}' of this comparison has {geometry.n_voxels}"
            raise DataError(f"{name} sample {path}: {info.n_voxels} voxels per shower, but {expected}")
        written = info.attributes.get("geometry_hash")
        if written is not None and written != geometry.hash:
            made = info.attributes.get("geometry", "?")
            raise DataError(f"{name} sample {path}: written with geometry {shown(made)}, compared in '{geometry.name}'")
        if info.n_showers == 0:
            raise DataError(f"{name} sample {path}: no showers")
        sizes[name] = info.n_showers
    return sizes


def in_slice(energies: np.ndarray, bounds: Slice) -> np.ndarray:
    """(N,) which incident energies (N,) in MeV belong to a slice; the lower end belongs to it."""
    if bounds is None:
        return np.ones(len(energies), dtype=bool)
    low, high = bounds
    if low == high:
        return np.abs(energies - low) <= SAME_ENERGY * low
    return (energies >= low) & (energies < high)


def stream(
    path: Path, geometry: Geometry, what: str, chunk_rows: int | None = None, rows: np.ndarray | None = None
) -> Iterator[Showers]:
    """Yield the showers of a file piece by piece, with a progress bar on a terminal and log lines elsewhere.

    Raises:
        DataError: the file is unreadable, a value is not an energy (NaN, negative), or it does not fit `geometry`.
    """
    total = file_info(path).n_showers if rows is None else len(rows)
    done, last = 0, time.monotonic()
    try:
        with tqdm(total=total, desc=what, unit="shower", disable=not sys.stderr.isatty(), leave=False) as bar:
            for chunk in iter_showers(path, chunk_rows=chunk_rows, rows=rows, geometry=geometry):
                yield chunk
                done += len(chunk)
                bar.update(len(chunk))
                if bar.disable and time.monotonic() - last > LOG_EVERY_S:
                    last = time.monotonic()
                    log.info("%s: %d of %d showers", what, done, total)
    except GeometryError as error:
        raise DataError(str(error)) from error
