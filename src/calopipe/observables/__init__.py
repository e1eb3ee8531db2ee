"""Physics observables of showers, their labels and their bins."""

from calopipe.observables.base import ShowerObservable
from calopipe.observables.binning import bin_edges, central_edges, log_edges, ratio_edges
from calopipe.observables.columns import ColumnSummary, Moments, column_edges, fwhm, moments, summarise_columns
from calopipe.observables.compute import EPSILON_MEV, compute
from calopipe.observables.cross_sections import RowMoments, Rows, central_rows, middle_row_moments, row_moments
from calopipe.observables.registered import all_specs, compute_all
from calopipe.observables.specs import SPECS, Column, ObservableSpec, columns, layer_pairs
from calopipe.observables.spectrum import voxel_counts, voxel_spectrum

__all__ = [
    "EPSILON_MEV",
    "SPECS",
    "Column",
    "ColumnSummary",
    "Moments",
    "ObservableSpec",
    "RowMoments",
    "Rows",
    "ShowerObservable",
    "all_specs",
    "bin_edges",
    "central_edges",
    "central_rows",
    "column_edges",
    "columns",
    "compute",
    "compute_all",
    "fwhm",
    "layer_pairs",
    "log_edges",
    "middle_row_moments",
    "moments",
    "ratio_edges",
    "row_moments",
    "summarise_columns",
    "voxel_counts",
    "voxel_spectrum",
]
