"""Physics observables of showers, their labels and their bins."""

from calopipe.observables.binning import bin_edges, log_edges, ratio_edges
from calopipe.observables.compute import EPSILON_MEV, compute
from calopipe.observables.cross_sections import Rows, central_rows, row_moments
from calopipe.observables.specs import SPECS, Column, ObservableSpec, columns, layer_pairs
from calopipe.observables.spectrum import voxel_counts, voxel_spectrum

__all__ = [
    "EPSILON_MEV",
    "SPECS",
    "Column",
    "ObservableSpec",
    "Rows",
    "bin_edges",
    "central_rows",
    "columns",
    "compute",
    "layer_pairs",
    "log_edges",
    "ratio_edges",
    "row_moments",
    "voxel_counts",
    "voxel_spectrum",
]
