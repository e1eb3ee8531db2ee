"""Raw shower files, read one after the other as one long list of showers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from calopipe.config.datasets import EnergySelection
from calopipe.config.layouts import Layout
from calopipe.errors import DataError
from calopipe.geometry import Geometry
from calopipe.io.checksum import file_hash
from calopipe.io.layouts import ShowerFile, open_showers
from calopipe.io.read import file_info, row_parts
from calopipe.io.selection import selected_rows
from calopipe.io.showers import Showers, checked, checked_conditions


@dataclass(frozen=True)
class Reading:
    """What is read of raw files.

    Attributes:
        geometry: geometry of the raw files.
        conditions: names of the columns that are kept beside the incident energies.
        energies: incident energies that are used; None: all.
        max_showers: use only the first so many of them; None: all.
        negative: voxels of negative energy are refused, or set to zero.
        layout: how the files are laid out, where it is not recognised.
    """

    geometry: Geometry
    conditions: tuple[str, ...] = ()
    energies: EnergySelection | None = None
    max_showers: int | None = None
    negative: Literal["refuse", "zero"] = "refuse"
    layout: Layout | None = None

    def facts(self) -> dict[str, Any]:
        """What the summary of a preparation says of it."""
        return {
            "conditions": list(self.conditions),
            "energies_MeV": None if self.energies is None else self.energies.model_dump(mode="json"),
            "max_showers": self.max_showers,
            "negative": self.negative,
            "layout": None if self.layout is None else self.layout.model_dump(mode="json"),
        }


@dataclass(frozen=True)
class Cut:
    """What was cut off each of n showers: number (n,) and sum in MeV (n,) of its negative voxels."""

    voxels: NDArray[np.int64]
    sum_MeV: NDArray[np.float64]


@dataclass
class RawFiles:
    """Raw files pooled in their order.

    Attributes:
        rows, counts: what is used of each file.
        points_MeV, outside_MeV: of point clouds, energy of all points read, and of those outside the geometry.

    Raises:
        DataError: the files hold no showers, or none of the chosen energies.
    """

    paths: list[Path]
    reading: Reading
    rows: list[slice | NDArray[np.int64]] = field(init=False)
    counts: list[int] = field(init=False)
    points_MeV: float = field(init=False, default=0.0)
    outside_MeV: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        if not self.paths:
            raise DataError("prepare: no input files")
        left = math.inf if self.reading.max_showers is None else self.reading.max_showers
        self.rows, self.counts = [], []
        for rows in self._chosen():
            n = int(min(left, rows.stop if isinstance(rows, slice) else len(rows)))
            self.rows.append(slice(0, n) if isinstance(rows, slice) else rows[:n])
            self.counts.append(n)
            left -= n
        if self.n == 0:
            raise DataError(f"prepare: no showers in {', '.join(map(str, self.paths))}")

    def _chosen(self) -> list[slice | NDArray[np.int64]]:
        if self.reading.energies is None:
            return [slice(0, file_info(path, self.reading.layout).n_showers) for path in self.paths]
        try:
            return [*selected_rows(self.paths, self.reading.energies, self.reading.layout)]
        except DataError as error:
            raise DataError(f"prepare: energies_MeV: {error}") from None

    @property
    def n(self) -> int:
        """Number of showers used."""
        return sum(self.counts)

    def describe(self) -> list[dict[str, Any]]:
        """Files with checksums and numbers of showers used, as plain data."""
        used = zip(self.paths, self.counts, strict=True)
        return [{"file": str(path), "sha256": file_hash(path), "n_used": n} for path, n in used]

    def pieces(self) -> Iterator[tuple[Showers, Cut | None]]:
        """The showers in pieces of bounded memory, with what was cut off where negative voxels are set to zero."""
        for path, rows in zip(self.paths, self.rows, strict=True):
            with open_showers(path, self.reading.layout, self.reading.geometry) as file:
                file.check_geometry(self.reading.geometry)
                for part in row_parts(file, rows):
                    yield self._read(file, part)
                if file.points is not None:
                    self.points_MeV += file.points.read_MeV
                    self.outside_MeV += file.points.outside_MeV

    def _read(self, file: ShowerFile, part: slice | NDArray[np.int64]) -> tuple[Showers, Cut | None]:
        if self.reading.negative == "refuse":
            return file.read(part, conditions=self.reading.conditions), None
        showers = file.read(part, validate=False, conditions=self.reading.conditions)
        numbers = np.arange(*part.indices(file.n_showers)) if isinstance(part, slice) else part
        return _without_negative(showers, numbers)


def _without_negative(showers: Showers, numbers: NDArray[np.int64]) -> tuple[Showers, Cut]:
    """Set negative voxels to zero and check what is left; `numbers` are the rows to report. The input is changed."""
    voxels = showers.showers
    negative = (voxels < 0) & (voxels > -np.inf)
    cut = Cut(negative.sum(axis=1), np.where(negative, voxels, 0).sum(axis=1, dtype=np.float64))
    voxels[negative] = 0
    arrays = checked(showers.incident_energies, voxels, showers.name, numbers)
    conditions = checked_conditions(dict(showers.conditions), showers.name, numbers)
    return Showers.unchecked(*arrays, showers.name, conditions), cut
