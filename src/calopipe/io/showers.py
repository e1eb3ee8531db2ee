"""The container of showers that all stages exchange."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from calopipe.config.texts import RESERVED_CONDITIONS
from calopipe.errors import DataError, shown

#: above the most energetic particle ever seen (3e14 MeV, a cosmic ray), so no energy of a shower is larger. Sums over
#: voxels, and their squares, then stay far from the end of float32
ENERGY_LIMIT_MEV = 1e15


@dataclass(frozen=True, eq=False)
class Showers:
    """N showers with V voxels each, checked when built.

    The arrays are converted to float32 where needed and are not copied otherwise; treat them as read-only.

    Args:
        incident_energies: energy of the incident particle in MeV, (N, 1) or (N,), kept as (N, 1) float32, > 0.
        showers: energy in each voxel in MeV, (N, V), kept as float32, finite and >= 0.
        name: what the messages call these showers, e.g. the file's path.
        conditions: what else the showers depend on, by name (``incident_theta``, ``incident_phi``, ... in rad): (N,) or
            (N, 1) each, kept as (N,) float32, finite.

    Raises:
        DataError: wrong shapes, different N, NaN, infinite or negative values, more than ENERGY_LIMIT_MEV in a voxel or a
            shower; names the first bad row and its value.
    """

    incident_energies: NDArray[np.float32]
    showers: NDArray[np.float32]
    name: str = "showers"
    conditions: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        incident, showers = checked(self.incident_energies, self.showers, self.name)
        given = {key: as_column(values, len(showers), f"{self.name}: {key}") for key, values in self.conditions.items()}
        object.__setattr__(self, "incident_energies", incident)
        object.__setattr__(self, "showers", showers)
        object.__setattr__(self, "conditions", checked_conditions(given, self.name))

    def __len__(self) -> int:
        return len(self.showers)

    def __repr__(self) -> str:
        return f"Showers({len(self)} x {self.n_voxels} voxels, {self.name})"

    @property
    def n_voxels(self) -> int:
        """Number of voxels V."""
        return self.showers.shape[1]

    @property
    def condition(self) -> NDArray[np.float32]:
        """All that the showers depend on, (N, 1 + number of conditions): the incident energy first, then `conditions`."""
        return np.column_stack([self.incident_energies, *self.conditions.values()])

    def select(self, rows: Any) -> Showers:
        """The showers of a slice, an index array or a boolean mask."""
        conditions = {key: values[rows] for key, values in self.conditions.items()}
        return Showers.unchecked(self.incident_energies[rows], self.showers[rows], self.name, conditions)

    @classmethod
    def unchecked(
        cls,
        incident: NDArray[np.float32],
        showers: NDArray[np.float32],
        name: str = "showers",
        conditions: Mapping[str, NDArray[np.float32]] | None = None,
    ) -> Showers:
        """Wrap arrays that are known to be valid ((N, 1), (N, V) and (N,), float32) without checking their values again."""
        instance = object.__new__(cls)
        values = {"incident_energies": incident, "showers": showers, "name": name}
        for key, value in {**values, "conditions": dict(conditions or {})}.items():
            object.__setattr__(instance, key, value)
        return instance


def as_arrays(incident: ArrayLike, showers: ArrayLike, name: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Convert to float32 arrays (N, 1) and (N, V). Raises DataError when the shapes do not fit."""
    energies, voxels = _float32(incident, f"{name}: incident_energies"), _float32(showers, f"{name}: showers")
    if energies.ndim == 1:
        energies = energies[:, None]
    if energies.ndim != 2 or energies.shape[1] != 1:
        raise DataError(f"{name}: incident_energies must have shape (N, 1), found {energies.shape}")
    if voxels.ndim != 2 or voxels.shape[1] == 0:
        raise DataError(f"{name}: showers must have shape (N, V), found {voxels.shape}")
    if len(energies) != len(voxels):
        raise DataError(f"{name}: {len(energies)} incident_energies but {len(voxels)} showers")
    return energies, voxels


def as_column(values: ArrayLike, n: int, where: str) -> NDArray[np.float32]:
    """Convert (n,) or (n, 1) to a float32 array (n,). Raises DataError when the shape does not fit."""
    column = _float32(values, where)
    if column.shape not in ((n,), (n, 1)):
        raise DataError(f"{where} must have shape ({n},) or ({n}, 1), found {column.shape}")
    return column.reshape(n)


def checked_conditions(
    conditions: Mapping[str, NDArray[np.float32]], name: str, rows: NDArray[np.int64] | None = None
) -> dict[str, NDArray[np.float32]]:
    """The same columns (N,) when their names are those of conditions and their values finite; `rows` as in `checked`."""
    for key in conditions:
        check_condition(key, name)
    for key, values in conditions.items():
        check_finite(values, f"{name}: {key}", rows)
    return dict(conditions)


def check_finite(values: NDArray[np.float32], where: str, rows: NDArray[np.int64] | None = None) -> None:
    """Raise DataError, naming the first bad row, where a column (N,) is not finite; `rows` as in :func:`checked`."""
    good = np.isfinite(values)
    if not good.all():
        _complain(values[:, None], good[:, None], where, "", rows)


def check_condition(key: str, where: str) -> None:
    """Raise DataError where `key` is no name that a condition may have."""
    if not isinstance(key, str) or not key or key in RESERVED_CONDITIONS:
        raise DataError(f"{where}: expected the name of a further condition, found {shown(key)}")


def checked(
    incident: ArrayLike, showers: ArrayLike, name: str, rows: NDArray[np.int64] | None = None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Convert like :func:`as_arrays` and check the values; `rows` are the row numbers to report, (N,)."""
    energies, voxels = as_arrays(incident, showers, name)
    if len(energies) == 0:
        return energies, voxels
    if not (energies.min() > 0 and energies.max() < np.inf):
        _complain(energies, energies > 0, f"{name}: incident_energies", "> 0", rows)
    largest = voxels.max()
    if not (voxels.min() >= 0 and largest < np.inf):
        _complain(voxels, voxels >= 0, f"{name}: showers", ">= 0", rows)
    _check_limit(energies, "incident_energies", name, rows)
    if largest > ENERGY_LIMIT_MEV / voxels.shape[1]:
        _check_limit(voxels.sum(axis=1, dtype=np.float64), "showers", name, rows)
    return energies, voxels


def _check_limit(values: NDArray[Any], what: str, name: str, rows: NDArray[np.int64] | None) -> None:
    """Refuse incident energies, or energies of whole showers, (n,) or (n, 1), that no particle has."""
    beyond = np.flatnonzero(values > ENERGY_LIMIT_MEV)
    if len(beyond):
        row, n = int(beyond[0]), len(beyond)
        label = row if rows is None else int(rows[row])
        raise DataError(
            f"{name}: {what}: row {label} has {float(values.flat[row]):g} MeV, more than any particle "
            f"(at most {ENERGY_LIMIT_MEV:g} MeV; {n} such row{'s' if n > 1 else ''} of {len(values)} read)"
        )


def _float32(values: ArrayLike, where: str) -> NDArray[np.float32]:
    array = np.asarray(values)
    if array.dtype.kind not in "fiu":
        raise DataError(f"{where} must be numbers, found dtype {array.dtype}")
    with np.errstate(over="ignore"):  # an overflow becomes infinite and is reported with its row
        return np.asarray(array, dtype=np.float32)


def _complain(
    values: NDArray[np.float32], good: NDArray[np.bool_], where: str, bound: str, rows: NDArray[np.int64] | None
) -> None:
    bad = ~(good & np.isfinite(values))
    row, column = (int(i) for i in np.argwhere(bad)[0])
    label = row if rows is None else int(rows[row])
    voxel = f", voxel {column}" if values.shape[1] > 1 else ""
    total = int(bad.any(axis=1).sum())
    wanted = f"finite and {bound}" if bound else "finite"
    raise DataError(
        f"{where}: values must be {wanted}; row {label}{voxel} is {values[row, column]:g} "
        f"({total} bad row{'s' if total > 1 else ''} of {len(values)} read)"
    )
