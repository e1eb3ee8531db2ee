"""Read shower files, whole or in pieces of bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from calopipe.config.layouts import Layout
from calopipe.errors import DataError
from calopipe.geometry import Geometry
from calopipe.io.layouts import ShowerFile, open_showers
from calopipe.io.showers import Showers

#: memory that one piece of a streamed file takes unless told otherwise
CHUNK_BYTES = 64 * 2**20

Rows = slice | Sequence[int] | np.ndarray | None


@dataclass(frozen=True)
class FileInfo:
    """What a shower file holds, without reading the showers.

    Attributes:
        path: the file.
        n_showers: number of showers N.
        n_voxels: number of voxels V.
        layout: "calochallenge" or "calogan", or the name of the layout that was given.
        attributes: the file's attributes; calopipe writes geometry, geometry_hash, threshold_MeV, source,
            source_sha256, seed and calopipe_version, and into generated files the energies trained on; files of
            others may have none.
    """

    path: Path
    n_showers: int
    n_voxels: int
    layout: str
    attributes: dict[str, Any]


def file_info(
    path: str | Path, layout: Layout | None = None, geometry: Geometry | None = None, conditions: Sequence[str] = ()
) -> FileInfo:
    """Describe a shower file.

    Args:
        path: the file.
        layout: how it is laid out, where it is not recognised.
        geometry: when given, the file must fit it; what point clouds are projected onto.
        conditions: names of columns that it must have.

    Raises:
        DataError, GeometryError: like :func:`read_showers`.
    """
    with open_showers(path, layout, geometry) as file:
        if geometry is not None:
            file.check_geometry(geometry)
        file.check_conditions(conditions)
        return FileInfo(Path(path), file.n_showers, file.n_voxels, file.layout, file.attributes)


def read_incident_energies(path: str | Path, layout: Layout | None = None) -> np.ndarray:
    """All incident energies (N, 1) of a file, float32, in MeV, without reading the showers; errors as read_showers."""
    with open_showers(path, layout) as file:
        return file.read_energies()


def read_conditions(path: str | Path, names: Sequence[str] = ()) -> np.ndarray:
    """What the showers of a file depend on, without reading the showers.

    Args:
        path: shower file.
        names: conditions to read beside the incident energy, e.g. ``("incident_theta", "incident_phi")``.

    Returns:
        (N, 1 + number of `names`) float32: the incident energy in MeV first, then the named columns as they are in the file.

    Raises:
        DataError: as :func:`read_showers`; a column is missing, has another number of rows, or holds what is not finite.
    """
    with open_showers(path) as file:
        return file.read_conditions(names)


def read_showers(
    path: str | Path,
    rows: Rows = None,
    geometry: Geometry | None = None,
    validate: bool = True,
    conditions: Sequence[str] = (),
    layout: Layout | None = None,
) -> Showers:
    """Read showers into memory.

    Args:
        path: HDF5 file in the CaloChallenge's or CaloGAN's layout.
        rows: a slice or row numbers in any order; all rows when None.
        geometry: when given, the number of voxels (and the geometry hash, where the file has one) must match.
        validate: check that every value is finite and not negative.
        conditions: names of further columns to read, e.g. ``("incident_theta",)``.
        layout: how the file is laid out, where it is not recognised; point clouds need the `geometry` too.

    Returns:
        Showers with incident_energies (n, 1) and showers (n, V), float32, MeV, and the `conditions` (n,).

    Raises:
        DataError: missing, not HDF5, truncated, a dataset missing or of the wrong shape, values that are not energies,
            conditions that are not finite.
        GeometryError: the file does not fit `geometry`.
    """
    with open_showers(path, layout, geometry) as file:
        if geometry is not None:
            file.check_geometry(geometry)
        return file.read(file.row_selection(rows), validate, conditions)


def iter_showers(
    path: str | Path,
    chunk_rows: int | None = None,
    rows: Rows = None,
    geometry: Geometry | None = None,
    validate: bool = True,
    conditions: Sequence[str] = (),
) -> Iterator[Showers]:
    """Yield the showers of :func:`read_showers` in pieces of at most `chunk_rows` rows (default: about 64 MiB each)."""
    if chunk_rows is not None and chunk_rows < 1:
        raise DataError(f"{path}: chunk_rows must be >= 1, found {chunk_rows}")
    with open_showers(path) as file:
        if geometry is not None:
            file.check_geometry(geometry)
        for part in row_parts(file, rows, chunk_rows):
            yield file.read(part, validate, conditions)


def row_parts(file: ShowerFile, rows: Rows, chunk_rows: int | None = None) -> Iterator[slice | np.ndarray]:
    """Selections of at most `chunk_rows` rows each (default: about 64 MiB) that follow one another, for ``file.read``."""
    step, selection = chunk_rows or _piece_rows(file), file.row_selection(rows)
    if isinstance(selection, slice) and selection.step in (None, 1):
        for start in range(selection.start, selection.stop, step):
            yield slice(start, min(start + step, selection.stop))
        return
    numbers = np.arange(file.n_showers)[selection]
    for start in range(0, len(numbers), step):
        yield numbers[start : start + step]


def iter_stored(path: str | Path, geometry: Geometry | None = None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (incident_energies (n, 1), showers (n, V)) in MeV piece by piece in the type that the file has, unchecked.

    For what must be rounded as other programs round it: float32 and float64 stay what they are, all others become float64.
    """
    with open_showers(path) as file:
        if geometry is not None:
            file.check_geometry(geometry)
        step = _piece_rows(file)
        for start in range(0, file.n_showers, step):
            yield file.read_stored(slice(start, min(start + step, file.n_showers)))


def _piece_rows(file: ShowerFile) -> int:
    """Rows of a piece of about 64 MiB, in whole HDF5 chunks (as long as one chunk's rows stay below 256 MiB)."""
    row = 4 * file.n_voxels
    chunk = file.chunk_rows if file.chunk_rows * row <= 4 * CHUNK_BYTES else 1
    return max(1, CHUNK_BYTES // (row * chunk)) * chunk
