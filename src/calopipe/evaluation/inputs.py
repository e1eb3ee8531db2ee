"""The samples that are compared and what they are compared in: one check, one message, read in pieces of bounded memory."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from calopipe.errors import ConfigError, DataError, GeometryError, shown
from calopipe.geometry import Geometry, load_geometry
from calopipe.io import Showers, file_info, iter_showers, read_conditions
from calopipe.records.samples import REFERENCE
from calopipe.records.slices import INCIDENT_ENERGY, Slice

log = logging.getLogger("calopipe")

#: seconds between progress lines when there is no terminal for a bar
LOG_EVERY_S = 30.0


@dataclass(frozen=True)
class Readout:
    """What showers are compared in.

    Attributes:
        geometry: the voxelisation.
        threshold_MeV: voxels below are zero.
    """

    geometry: Geometry
    threshold_MeV: float

    @classmethod
    def of(cls, geometry: Geometry | str | Path, threshold_MeV: float | None = None) -> Readout:
        """That of a geometry, or of its name or file; the threshold is the geometry's unless given.

        Raises:
            GeometryError: unknown geometry.
        """
        found = load_geometry(geometry)
        return cls(found, found.threshold_MeV if threshold_MeV is None else threshold_MeV)

    def kept(self, showers: np.ndarray) -> np.ndarray:
        """Showers (n, V), float32, with voxels below the threshold set to zero."""
        return np.where(showers >= np.float32(self.threshold_MeV), showers, np.float32(0))


def with_reference(reference: Path, samples: Mapping[str, Path]) -> dict[str, Path]:
    """All samples by name, the reference first. Raises ConfigError when another is called like it."""
    if REFERENCE in samples:
        raise ConfigError(f"a sample cannot be called '{REFERENCE}'")
    return {REFERENCE: reference, **samples}


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


def rows_of(showers: Showers, part: Slice | None) -> np.ndarray:
    """(N,) which showers belong to a slice; None: all."""
    if part is None:
        return np.ones(len(showers), dtype=bool)
    if part.condition == INCIDENT_ENERGY:
        return part.holds(showers.incident_energies[:, 0])
    return part.holds(showers.conditions[part.condition])


def conditions_of(path: Path, condition: str) -> np.ndarray:
    """(N,) values of a condition of all showers of a file. Raises DataError when the file has none of that name."""
    return read_conditions(path, [] if condition == INCIDENT_ENERGY else [condition])[:, -1]


def stream(
    path: Path,
    geometry: Geometry,
    what: str,
    *,
    chunk_rows: int | None = None,
    rows: np.ndarray | None = None,
    conditions: Sequence[str] = (),
) -> Iterator[Showers]:
    """Yield the showers of a file piece by piece, with a progress bar on a terminal and log lines elsewhere.

    Args:
        what: what is being done, for people.
        chunk_rows: rows of a piece; None: as many as make about 64 MiB.
        rows: row numbers; None: all.
        conditions: names of the conditions that are read beside the incident energy.

    Raises:
        DataError: the file is unreadable, a value is not an energy (NaN, negative), or it does not fit `geometry`.
    """
    total = file_info(path).n_showers if rows is None else len(rows)
    done, last = 0, time.monotonic()
    try:
        with tqdm(total=total, desc=what, unit="shower", disable=not sys.stderr.isatty(), leave=False) as bar:
            for chunk in iter_showers(path, chunk_rows=chunk_rows, rows=rows, geometry=geometry, conditions=conditions):
                yield chunk
                done += len(chunk)
                bar.update(len(chunk))
                if bar.disable and time.monotonic() - last > LOG_EVERY_S:
                    last = time.monotonic()
                    log.info("%s: %d of %d showers", what, done, total)
    except GeometryError as error:
        raise DataError(str(error)) from error
