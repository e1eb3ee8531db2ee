"""One number per row of an open file: a dataset (N,) or (N, 1), or one column of a dataset (N, K)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from calopipe.config.layouts import Column
from calopipe.errors import DataError
from calopipe.io.hdf5 import at, dataset
from calopipe.io.storage import check_stored
from calopipe.io.voxels import own_type

if TYPE_CHECKING:
    import h5py


class StoredColumn:
    """A column of an open file. Attributes: `key`, its dataset; `n_rows`, N.

    Args:
        file, path: the open file, and what it is called.
        column: where it stands and in which unit.
        n_rows: rows that the file has; None where this column tells.

    Raises:
        DataError: missing, no numbers, of another shape.
    """

    def __init__(self, file: h5py.File, path: Path, column: Column, n_rows: int | None = None) -> None:
        self.key, self.path, self._column = column.key, path, column
        self._found = dataset(file, path, column.key)
        shape, number = self._found.shape, column.column
        n = "N" if n_rows is None else str(n_rows)
        if number is None and (len(shape) not in (1, 2) or shape[1:] not in ((), (1,))):
            wanted = f"({n}, 1)" if n_rows is None else f"({n},) or ({n}, 1)"
            raise DataError(f"{path}: {self.key} must have shape {wanted}, found {shape}")
        if number is not None and (len(shape) != 2 or shape[1] <= number):
            wanted = f"({n}, columns) with a column {number} (they count from 0)"
            raise DataError(f"{path}: {self.key} must have shape {wanted}, found {shape}")
        self.n_rows = int(shape[0])
        if n_rows is not None and self.n_rows != n_rows:
            raise DataError(f"{path}: {self.key} must have shape ({n},) or ({n}, 1), found {shape}")

    def check_stored(self) -> None:
        """Raise DataError unless every value has been written, see :mod:`calopipe.io.storage`."""
        check_stored(self._found, self.path, self.key)

    def load(self, rows: slice = slice(None), dtype: type[np.float32] | None = np.float32) -> NDArray[Any]:
        """(n,) of a slice, in MeV or rad where the unit is known; `dtype` None: the type of the file. Unchecked."""
        own: np.dtype[Any] = own_type(self._found) if dtype is None else np.dtype(dtype)
        with at(self.path, f"dataset '{self.key}'"), np.errstate(over="ignore"):  # infinite: found later
            number = self._column.column
            values = self._found[rows] if number is None else self._found[rows, number]
            return np.asarray(values, dtype=own).reshape(-1) * np.asarray(self._column.factor, dtype=own)
