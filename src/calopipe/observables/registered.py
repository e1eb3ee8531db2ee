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
    """What :func:`~calopipe.observables.compute` returns, and the registered observables, float64.

    Raises:
        DataError: like ``compute``, or an observable has another shape than its spec says, or is not finite.
    """
    found = compute(showers, incident_energies, geometry, threshold_MeV, brightest)
    names = OBSERVABLES.names()
    kept = np.where(showers >= max(threshold_MeV, 0), showers, 0) if names else showers
    incident = np.asarray(incident_energies, dtype=np.float64).reshape(-1)
    for name in names:
        observable = OBSERVABLES.get(name)()
        values = np.asarray(observable.compute(kept, incident, geometry), dtype=np.float64)
        width = len(columns(geometry, [name], specs={name: observable.spec}))
        expected = (len(kept),) if observable.spec.axes == "shower" else (len(kept), width)
        if values.shape != expected:
            raise DataError(f"observable '{name}': expected an array {expected}, found {values.shape}")
        if not np.isfinite(values).all():
            raise DataError(f"observable '{name}' is not finite for shower {int(np.argmax(~np.isfinite(values)))}")
        found[name] = values
    return found
