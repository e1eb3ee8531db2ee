"""Shuffle more showers than fit into memory, exactly: every permutation is equally likely and reproducible.

Published files may be sorted by incident energy, and their HDF5 chunks span hundreds of rows, so neither the order of
the file nor row-by-row reading will do. Rows are read in file order; each goes to the temporary bucket that holds its
place in the output; then one bucket after the other is put in order and handed on. Buckets keep non-zero voxels only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calopipe.io.showers import Showers
from calopipe.io.stored import writing

#: size of one bucket, dense, in memory
BUCKET_BYTES = 128 * 2**20


class Buckets:
    """Temporary storage for `n_rows` showers that arrive in any order and leave in order.

    Args:
        folder: existing folder for the temporary files; the caller removes it.
        name: prefix of the files' names.
        n_rows: number of showers.
        n_voxels: voxels V per shower.
        conditions: names of the conditions that the showers have.
    """

    def __init__(self, folder: Path, name: str, n_rows: int, n_voxels: int, conditions: Sequence[str] = ()) -> None:
        self._folder, self._name, self._conditions = folder, name, tuple(conditions)
        self.n_rows, self.n_voxels = n_rows, n_voxels
        self._rows = max(1, BUCKET_BYTES // (4 * n_voxels))

    def _path(self, bucket: int) -> Path:
        return self._folder / f"{self._name}.{bucket}"

    def put(self, positions: NDArray[np.int64], showers: Showers) -> None:
        """Store (n,) showers that belong at `positions` (n,) of the output. Raises DataError on a full disk."""
        order = np.argsort(positions, kind="stable")
        buckets = positions[order] // self._rows
        for members in np.split(order, np.flatnonzero(np.diff(buckets)) + 1) if len(order) else ():
            path = self._path(int(positions[members[0]] // self._rows))
            voxels = showers.showers[members]
            filled = voxels != 0
            columns = np.nonzero(filled)[1].astype(np.int32)
            parts = (
                positions[members],
                showers.condition[members],
                filled.sum(axis=1),
                columns,
                voxels[filled],
            )
            with writing(path), open(path, "ab") as file:
                for part in parts:
                    np.save(file, part, allow_pickle=False)

    def take(self) -> Iterator[Showers]:
        """Yield all showers in the order of their positions, one bucket at a time, and delete each bucket."""
        for bucket, first in enumerate(range(0, self.n_rows, self._rows)):
            n = min(self._rows, self.n_rows - first)
            condition = np.zeros((n, 1 + len(self._conditions)), dtype=np.float32)
            showers = np.zeros((n, self.n_voxels), dtype=np.float32)
            path = self._path(bucket)
            size = path.stat().st_size
            with open(path, "rb") as file:
                while file.tell() < size:
                    positions, given, counts, columns, values = (np.load(file, allow_pickle=False) for _ in range(5))
                    condition[positions - first] = given
                    showers[np.repeat(positions - first, counts), columns] = values
            path.unlink()
            named = {key: condition[:, 1 + i] for i, key in enumerate(self._conditions)}
            yield Showers.unchecked(condition[:, :1], showers, conditions=named)
