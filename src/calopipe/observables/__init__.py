"""Physics observables of showers, their labels and their bins."""

from calopipe.observables.binning import bin_edges, log_edges
from calopipe.observables.compute import EPSILON_MEV, compute
from calopipe.observables.specs import SPECS, Column, ObservableSpec, columns, layer_pairs
from calopipe.observables.spectrum import voxel_counts, voxel_spectrum

__all__ = [
    "EPSILON_MEV",
    "SPECS",
    "Column",
    "ObservableSpec",
    "bin_edges",
    "columns",
    "compute",
    "layer_pairs",
    "log_edges",
    "voxel_counts",
    "voxel_spectrum",
]
