"""The built-in observables and the registered ones together."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from calopipe.config.parts import OBSERVABLES
from calopipe.errors import DataError
from calopipe.geometry import Geometry
from calopipe.observables.compute import compute
from calopipe.observables.specs import SPECS, ObservableSpec, columns


def all_specs() -> Mapping[str, ObservableSpec]:
    """The built-in observables, then the registered ones."""
    return {**SPECS, **{name: OBSERVABLES.get(name).spec for name in OBSERVABLES.names()}}


def compute_all(
    showers: np.ndarray, incident_energies: np.ndarray, geometry: Geometry, threshold_MeV: float, brightest: int = 0
) -> dict[str, np.ndarray]:
    """What :func:`~calopipe.observables.compute` returns, and those registered observables that the geometry has, float64.

    Raises:
        DataError: like ``compute``, or an observable has another shape than its spec says, or is not finite.
    """
    found = compute(showers, incident_energies, geometry, threshold_MeV, brightest)
    names = OBSERVABLES.names()
    if not names:
        return found
    kept = np.where(showers >= max(threshold_MeV, 0), showers, 0)
    incident = np.array(incident_energies, dtype=np.float64).reshape(-1)
    kept.flags.writeable = incident.flags.writeable = False
    for name in names:
        observable = OBSERVABLES.get(name)()
        width = len(columns(geometry, [name], specs={name: observable.spec}))
        values = observable.compute(kept, incident, geometry) if width else None
        if values is not None:
            expected = (len(kept),) if observable.spec.axes == "shower" else (len(kept), width)
            found[name] = _checked(name, np.asarray(values), expected)
    return found


def _checked(name: str, values: np.ndarray, expected: tuple[int, ...]) -> np.ndarray:
    where = f"observable '{name}' of {OBSERVABLES.module_of(name)}"
    if values.shape != expected:
        raise DataError(f"{where}: expected an array {expected}, found {values.shape}")
    if values.dtype.kind not in "biuf":
        raise DataError(f"{where}: expected numbers, found an array of {values.dtype}")
    finite = np.isfinite(values).reshape(len(values), -1).all(axis=1)
    if not finite.all():
        raise DataError(f"{where}: {int((~finite).sum())} of {len(values)} showers have a value that is not finite")
    return values.astype(np.float64)
