"""The HDF5 layouts of shower files, behind one interface: open, know N and V, read rows in MeV.

``calochallenge``: ``incident_energies`` (N, 1) and ``showers`` (N, V), MeV.
``calogan``: ``energy`` (N, 1) in GeV, ``layer_0``, ``layer_1``, ... (N, a, b) in MeV; ``overflow`` is not read. The
layers are flattened row-major, one after the other, which is the voxel order of the "calogan" geometry.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from calopipe.errors import DataError
from calopipe.io.showers import as_arrays, checked
from calopipe.units import GeV

if TYPE_CHECKING:
    import h5py

#: rows that are read at once when single rows are picked
_BLOCK_BYTES = 32 * 2**20


class ShowerFile:
    """An open shower file of any layout; use :func:`open_showers`.

    Attributes:
        layout: "calochallenge" or "calogan".
        n_showers: number of rows N.
        n_voxels: number of voxels V.
        attributes: the file's attributes as plain Python values.
        chunk_rows: rows that HDF5 stores, and unpacks, together.
    """

    def __init__(self, path: Path, file: h5py.File) -> None:
        self.path = path
        self.attributes = {key: _plain(value) for key, value in file.attrs.items()}
        keys = set(file.keys())
        if {"energy", "layer_0"} <= keys:
            self.layout, self._unit = "calogan", np.float32(GeV)
            layers = [f"layer_{i}" for i in range(len([key for key in keys if key.startswith("layer_")]))]
            self._energy, self._parts = self._dataset(file, "energy"), [self._dataset(file, key) for key in layers]
        else:
            self.layout, self._unit = "calochallenge", np.float32(1)
            self._energy, self._parts = self._dataset(file, "incident_energies"), [self._dataset(file, "showers")]
        self._check_shapes()

    def _dataset(self, file: h5py.File, key: str) -> h5py.Dataset:
        import h5py

        if key not in file or not isinstance(file[key], h5py.Dataset):
            found = ", ".join(sorted(file.keys())) or "none"
            raise DataError(
                f"{self.path}: dataset '{key}' is missing; expected incident_energies and showers "
                f"(or CaloGAN's energy and layer_0, layer_1, ...), found {found}"
            )
        if file[key].dtype.kind not in "fiu":
            raise DataError(f"{self.path}: dataset '{key}' must hold numbers, found dtype {file[key].dtype}")
        return file[key]

    def _check_shapes(self) -> None:
        shape = self._energy.shape
        key = self._energy.name.lstrip("/")
        if len(shape) not in (1, 2) or (len(shape) == 2 and shape[1] != 1):
            raise DataError(f"{self.path}: {key} must have shape (N, 1), found {shape}")
        for part in self._parts:
            key, wanted = part.name.lstrip("/"), 2 if self.layout == "calochallenge" else 3
            axes = "(N, V)" if wanted == 2 else "(N, first, second)"
            if part.ndim != wanted or 0 in part.shape[1:]:
                raise DataError(f"{self.path}: {key} must have shape {axes}, found {part.shape}")
            if part.shape[0] != shape[0]:
                found = f"{shape[0]} incident energies but {part.shape[0]} rows of {key}"
                raise DataError(f"{self.path}: {found}")
        self.n_showers = int(shape[0])
        self.n_voxels = int(sum(np.prod(part.shape[1:]) for part in self._parts))
        self.chunk_rows = max(part.chunks[0] if part.chunks else 1 for part in self._parts)

    def read(self, rows: slice | NDArray[np.int64], validate: bool = True) -> tuple[Any, Any]:
        """Return (incident_energies (n, 1), showers (n, V)), float32, MeV, for a slice or for row numbers in any order.

        Raises DataError on unreadable data, rows out of range and (with `validate`) on values that are not energies.
        """
        if isinstance(rows, slice):
            numbers = np.arange(*rows.indices(self.n_showers))
            energies, showers = self._read_range(rows)
        else:
            numbers = rows
            energies, showers = self._read_picked(rows)
        if not validate:
            return as_arrays(energies, showers, str(self.path))
        return checked(energies, showers, str(self.path), numbers)

    def read_energies(self) -> NDArray[np.float32]:
        """All incident energies (N, 1) in MeV, without the showers. Raises DataError like :meth:`read`."""
        with _readable(self.path), np.errstate(over="ignore"):
            energies = np.asarray(self._energy[()], dtype=np.float32).reshape(-1, 1) * self._unit
        return checked(energies, np.zeros_like(energies), str(self.path))[0]

    def _read_range(self, rows: slice) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        with _readable(self.path), np.errstate(over="ignore"):  # too large for float32 becomes infinite, found later
            energies = np.asarray(self._energy[rows], dtype=np.float32).reshape(-1, 1) * self._unit
            layers = [
                np.asarray(part[rows], dtype=np.float32).reshape(len(energies), int(np.prod(part.shape[1:])))
                for part in self._parts
            ]
        return energies, layers[0] if len(layers) == 1 else np.concatenate(layers, axis=1)

    def _read_picked(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Pick rows in any order by reading contiguous pieces, much faster than HDF5's own point selection."""
        energies = np.empty((len(rows), 1), dtype=np.float32)
        showers = np.empty((len(rows), self.n_voxels), dtype=np.float32)
        order = np.argsort(rows, kind="stable")
        step = max(1, _BLOCK_BYTES // (4 * self.n_voxels))
        blocks = rows[order] // step
        for positions in np.split(order, np.flatnonzero(np.diff(blocks)) + 1) if len(rows) else ():
            wanted = rows[positions]
            first = int(wanted[0])
            piece = self._read_range(slice(first, int(wanted[-1]) + 1))
            energies[positions], showers[positions] = piece[0][wanted - first], piece[1][wanted - first]
        return energies, showers

    def row_selection(self, rows: Any) -> slice | NDArray[np.int64]:
        """Turn None, a slice or a sequence of integers into a selection of this file; DataError when out of range."""
        if rows is None:
            return slice(0, self.n_showers)
        if isinstance(rows, slice):
            start, stop, step = rows.indices(self.n_showers)
            return slice(start, max(start, stop), step) if step > 0 else np.arange(start, stop, step)
        numbers = np.asarray(rows)
        if numbers.ndim != 1 or numbers.dtype.kind not in "iu" and numbers.size:
            raise DataError(f"{self.path}: rows must be a slice or a list of integers, found {rows!r}")
        if numbers.size and (numbers.min() < 0 or numbers.max() >= self.n_showers):
            found = f"{numbers.min()} .. {numbers.max()}"
            raise DataError(f"{self.path}: rows must lie in 0 .. {self.n_showers - 1}, found {found}")
        return numbers.astype(np.int64)


@contextmanager
def open_showers(path: str | Path) -> Iterator[ShowerFile]:
    """Open a shower file of any known layout for reading.

    Raises:
        DataError: missing, a directory, not HDF5, truncated, a dataset missing or of the wrong shape.
    """
    import h5py

    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: {'is a directory' if path.is_dir() else 'no such file'}")
    with _readable(path):
        if not h5py.is_hdf5(path):
            with open(path, "rb") as raw:
                start = raw.read(16)
            raise DataError(f"{path}: not an HDF5 file ({f'it begins with {start!r}' if start else 'it is empty'})")
        file = h5py.File(path, "r")
    with file:
        yield ShowerFile(path, file)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn the errors of the HDF5 library into one line that names the file."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        kind = "truncated or damaged HDF5 file" if "truncated" in reason or "read data" in reason else "cannot be read"
        raise DataError(f"{path}: {kind} ({reason})") from error


def _plain(value: Any) -> Any:
    """A numpy scalar, array or bytes as a plain Python value."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else value
