"""Calorimeter voxelisations: frozen, validated, read from YAML or from the CaloChallenge's binning XML."""

from calopipe.geometry.core import Geometry
from calopipe.geometry.derived import prepared as prepared_geometry
from calopipe.geometry.derived import window_start
from calopipe.geometry.layer import Layer
from calopipe.geometry.load import available_geometries, load_geometry
from calopipe.geometry.neighbours import Neighbours
from calopipe.geometry.symmetries import symmetries

__all__ = [
    "Geometry",
    "Layer",
    "Neighbours",
    "available_geometries",
    "load_geometry",
    "prepared_geometry",
    "symmetries",
    "window_start",
]
