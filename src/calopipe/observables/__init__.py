"""Physics observables of showers, their labels and their bins."""

from calopipe.observables.compute import EPSILON_MEV, compute
from calopipe.observables.specs import SPECS, Column, ObservableSpec, columns, layer_pairs

__all__ = ["EPSILON_MEV", "SPECS", "Column", "ObservableSpec", "columns", "compute", "layer_pairs"]
