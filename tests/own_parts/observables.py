"""Two observables: where a shower is at its maximum, and how much of a layer's energy its largest voxel has."""

from __future__ import annotations

import numpy as np

from calopipe.config.parts import OBSERVABLES
from calopipe.geometry import Geometry
from calopipe.observables import ObservableSpec, ShowerObservable


@OBSERVABLES.register("shower_maximum")
class ShowerMaximum(ShowerObservable):
    """Id of the layer with the largest energy; of equal ones the first."""

    spec = ObservableSpec("energies", "shower", "layer of the largest energy", "extremes", sliced=True)

    def compute(self, showers: np.ndarray, incident_energies: np.ndarray, geometry: Geometry) -> np.ndarray:
        energies = np.stack([showers[:, s].sum(axis=1, dtype=np.float64) for s in geometry.layer_slices], axis=1)
        return np.asarray(geometry.layer_ids)[energies.argmax(axis=1)]


@OBSERVABLES.register("hardest_hit")
class HardestHit(ShowerObservable):
    """Largest voxel over the energy of its layer; 0 in an empty layer."""

    spec = ObservableSpec("hits", "layer", "largest / $E_\\mathrm{{{a}}}$", "unit")

    def compute(self, showers: np.ndarray, incident_energies: np.ndarray, geometry: Geometry) -> np.ndarray:
        layers = [showers[:, s] for s in geometry.layer_slices]
        return np.stack([x.max(axis=1) / np.maximum(x.sum(axis=1), 1e-16) for x in layers], axis=1)
