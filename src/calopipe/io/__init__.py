"""Shower files: HDF5 in the CaloChallenge's layout (read, written) and CaloGAN's (read), streamed or whole."""

from calopipe.io.checksum import file_hash, repeated
from calopipe.io.columns import Columns, column_attributes, read_columns, write_columns
from calopipe.io.joined import joined_showers
from calopipe.io.pooling import crop_showers, image_showers, pool_showers, select_layers, sum_showers
from calopipe.io.read import (
    FileInfo,
    file_info,
    iter_showers,
    iter_stored,
    read_conditions,
    read_incident_energies,
    read_showers,
)
from calopipe.io.showers import Showers
from calopipe.io.write import ShowerWriter, write_calogan, write_showers

__all__ = [
    "Columns",
    "FileInfo",
    "ShowerWriter",
    "Showers",
    "column_attributes",
    "crop_showers",
    "file_hash",
    "file_info",
    "image_showers",
    "iter_showers",
    "iter_stored",
    "joined_showers",
    "pool_showers",
    "read_columns",
    "read_conditions",
    "read_incident_energies",
    "read_showers",
    "repeated",
    "select_layers",
    "sum_showers",
    "write_calogan",
    "write_columns",
    "write_showers",
]
