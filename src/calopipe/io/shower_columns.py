"""Single numbers of showers as columns: extra dimensions, layer energies, chosen voxels (Ernst 2023, section 4.2.2).

Names, with layers and voxels counted from 0 and energies in MeV:

- ``E_inc``: incident energy;
- ``u_1`` to ``u_L``: :mod:`calopipe.extra_dimensions`, u_1 of the total energy and the others of the layers but the last;
- ``E_layer_0``, ...: energies of the layers;
- ``voxel_0``, ...: energies of single voxels, in the order of the flat shower.

All are those of showers whose voxels below the geometry's readout threshold are zero.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from calopipe.config.layouts import Layout
from calopipe.errors import DataError
from calopipe.geometry import Geometry
from calopipe.io.columns import Columns
from calopipe.io.raw import RawFiles, Reading
from calopipe.io.recipe import Recipe

if TYPE_CHECKING:
    from calopipe.io.showers import Showers

#: the incident energy in MeV
INCIDENT = "E_inc"
_NUMBERED = re.compile(r"(u|E_layer|voxel)_(0|[1-9]\d{0,8})")


def check_names(names: Sequence[str], geometry: Geometry) -> None:
    """Raise DataError unless the showers of a geometry have all numbers of these names."""
    n, v = geometry.n_layers, geometry.n_voxels
    ends = {"u": (1, n), "E_layer": (0, n - 1), "voxel": (0, v - 1)}
    for name in names:
        found = _NUMBERED.fullmatch(name)
        if name != INCIDENT and not (found and ends[found[1]][0] <= int(found[2]) <= ends[found[1]][1]):
            known = (f"{kind}_{low} to {kind}_{high}" for kind, (low, high) in ends.items())
            raise DataError(
                f"showers of geometry '{geometry.name}' have no number '{name}'; expected {INCIDENT}, {', '.join(known)}"
            )


@dataclass(frozen=True)
class ShowerNumbers:
    """Which numbers of showers are read, of at most how many showers.

    Raises:
        DataError: showers of the geometry have no such numbers.
    """

    columns: Sequence[str]
    conditions: Sequence[str]
    geometry: Geometry
    layout: Layout | None
    max_rows: int | None

    def __post_init__(self) -> None:
        check_names([*self.columns, *self.conditions], self.geometry)

    def pooled(self, paths: Sequence[Path]) -> tuple[Columns, list[dict[str, Any]]]:
        """The numbers of the showers of all files in their order, and what is used of each; memory holds one piece of showers."""
        raw = RawFiles(list(paths), Reading(self.geometry, max_showers=self.max_rows, layout=self.layout))
        cut = Recipe(self.geometry, self.geometry.threshold_MeV, 1.0, None, None, False, (), "mean")
        names = [*self.columns, *self.conditions]
        pieces = [numbers_of(cut.apply(showers), self.geometry, names) for showers, _ in raw.pieces()]
        found = {key: np.concatenate([piece[key] for piece in pieces]) for key in names}
        values, conditions = ({key: found[key] for key in part} for part in (self.columns, self.conditions))
        return Columns(values, conditions, ", ".join(map(str, paths))), raw.describe()

    def facts(self) -> dict[str, Any]:
        """What the summary of a preparation says of it."""
        return {
            "geometry": self.geometry.name,
            "geometry_hash": self.geometry.hash,
            "threshold_MeV": self.geometry.threshold_MeV,
            "layout": None if self.layout is None else self.layout.model_dump(mode="json"),
        }


def numbers_of(showers: Showers, geometry: Geometry, names: Sequence[str]) -> dict[str, NDArray[np.floating]]:
    """Numbers (N,) of showers (N, V) by name; the names are known to be right."""
    import torch

    from calopipe.extra_dimensions import ratios_of

    incident = showers.incident_energies.astype(np.float64)
    layers = [showers.showers[:, part].sum(axis=1, dtype=np.float64) for part in geometry.layer_slices]
    energies = np.column_stack(layers)
    u = ratios_of(torch.from_numpy(energies), torch.from_numpy(incident)).numpy()
    found: dict[str, NDArray[np.floating]] = {}
    for name in names:
        kind, _, number = name.rpartition("_")
        if name == INCIDENT:
            found[name] = incident[:, 0]
        elif kind == "u":
            found[name] = u[:, int(number) - 1]
        else:
            found[name] = (energies if kind == "E_layer" else showers.showers)[:, int(number)]
    return found
