"""Write shower files: in pieces, under a temporary name that becomes the real one only when all went well."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

import calopipe
from calopipe.errors import DataError, GeometryError
from calopipe.geometry import Geometry, load_geometry
from calopipe.io.output import hdf5_output
from calopipe.io.showers import Showers, check_condition
from calopipe.units import GeV

_HDF5_CHUNK_BYTES = 2**20
_APPEND_BYTES = 2**26


class ShowerWriter:
    """Write a shower file piece by piece: ``with ShowerWriter(path, geometry) as out: out.append(showers)``.

    Datasets are float32, gzip with the shuffle filter, in HDF5 chunks of about 1 MiB. The file appears under its name
    only when the ``with`` block ends without an error; the unfinished file is removed otherwise.

    Args:
        path: file to write; its folder is made when missing.
        geometry: Geometry or its name; its name and hash become attributes. May be None when `n_voxels` is given.
        n_voxels: voxels V per shower; must agree with `geometry`.
        conditions: names of the conditions that every piece brings along, written as (N, 1) each.
        attributes: more attributes, customarily threshold_MeV, source, source_sha256, seed; None is left out.
        compression: gzip level 0 to 9.

    Raises:
        DataError: appended values that are not energies, wrong V, other conditions, or a file that cannot be written (full
            disk).
        GeometryError: unknown geometry, or one that disagrees with `n_voxels`.
    """

    def __init__(
        self,
        path: str | Path,
        geometry: Geometry | str | None = None,
        n_voxels: int | None = None,
        *,
        conditions: Sequence[str] = (),
        attributes: Mapping[str, Any] | None = None,
        compression: int = 4,
    ) -> None:
        geometry = None if geometry is None else load_geometry(geometry)
        size = n_voxels if geometry is None else geometry.n_voxels
        if size is None:
            raise DataError(f"{path}: give the geometry or the number of voxels")
        if geometry is not None and n_voxels not in (None, geometry.n_voxels):
            raise GeometryError(f"{path}: {n_voxels} voxels, but geometry '{geometry.name}' has {geometry.n_voxels}")
        self.path, self.conditions = Path(path), tuple(conditions)
        for key in self.conditions:
            check_condition(key, str(path))
        self.n_voxels = int(size)
        self.n_written = 0
        self._compression = compression
        self._attributes = {"calopipe_version": calopipe.__version__, **(attributes or {})}
        if geometry is not None:
            self._attributes |= {"geometry": geometry.name, "geometry_hash": geometry.hash}

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._output = stack.enter_context(hdf5_output(self.path))
            for key, value in self._attributes.items():
                if value is not None:
                    self._output.file.attrs[key] = value
            for key in ("incident_energies", *self.conditions):
                self._create(key, 1)
            self._create("showers", self.n_voxels)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def _create(self, key: str, width: int) -> None:
        rows = max(1, min(2048, _HDF5_CHUNK_BYTES // (4 * width)))
        options = {"compression": "gzip", "compression_opts": self._compression} if self._compression else {}
        self._output.file.create_dataset(
            key, (0, width), np.float32, maxshape=(None, width), chunks=(rows, width), shuffle=bool(options), **options
        )

    def append(self, showers: Showers) -> None:
        """Append (n, V) showers."""
        if showers.n_voxels != self.n_voxels:
            raise DataError(f"{self.path}: expected {self.n_voxels} voxels per shower, found {showers.n_voxels}")
        if tuple(showers.conditions) != self.conditions:
            wanted, found = (", ".join(names) or "none" for names in (self.conditions, showers.conditions))
            raise DataError(f"{self.path}: expected showers with the conditions {wanted}, found {found}")
        step = max(1, _APPEND_BYTES // (4 * self.n_voxels))
        for start in range(0, len(showers), step):
            self._append(showers.select(slice(start, start + step)))

    def _append(self, showers: Showers) -> None:
        first, last = self.n_written, self.n_written + len(showers)
        columns = {"incident_energies": showers.incident_energies, "showers": showers.showers}
        columns |= {key: values[:, None] for key, values in showers.conditions.items()}
        for key, values in columns.items():
            dataset = self._output.file[key]
            dataset.resize(last, axis=0)
            dataset[first:last] = values
        self._output.check()
        self.n_written = last

    def append_arrays(self, condition: ArrayLike, showers: ArrayLike) -> None:
        """Check and append arrays: incident energies in MeV and then the `conditions`, (n, 1 + k), and showers (n, V) in MeV."""
        columns = np.asarray(condition)
        columns = columns[:, None] if columns.ndim == 1 else columns
        if columns.ndim != 2 or columns.shape[1] != 1 + len(self.conditions):
            wanted = ", ".join(("incident energies", *self.conditions))
            raise DataError(f"{self.path}: expected the columns {wanted}, found an array of shape {columns.shape}")
        named = {key: columns[:, 1 + i] for i, key in enumerate(self.conditions)}
        self.append(Showers(columns[:, :1], cast("NDArray[np.float32]", showers), str(self.path), named))


def write_showers(
    path: str | Path,
    showers: Showers,
    geometry: Geometry | str | None = None,
    *,
    attributes: Mapping[str, Any] | None = None,
    compression: int = 4,
) -> None:
    """Write showers to one file, their conditions with them; arguments and errors as for :class:`ShowerWriter`."""
    with ShowerWriter(
        path,
        geometry,
        showers.n_voxels,
        conditions=tuple(showers.conditions),
        attributes=attributes,
        compression=compression,
    ) as out:
        out.append(showers)


def write_calogan(path: str | Path, showers: Showers) -> None:
    """Write showers (N, 504) in the published CaloGAN layout: energy in GeV, layer_0 to layer_2 in MeV, overflow 0.

    For tests and for handing showers to tools that expect that layout. Raises DataError when V is not 504.
    """
    geometry = load_geometry("calogan")
    if showers.n_voxels != geometry.n_voxels:
        raise DataError(f"{path}: CaloGAN showers have {geometry.n_voxels} voxels, found {showers.n_voxels}")
    with hdf5_output(path) as output:
        output.file["energy"] = showers.incident_energies / np.float32(GeV)
        for i in range(geometry.n_layers):
            output.file[f"layer_{i}"] = geometry.reshape_layer(showers.showers, i)
        output.file["overflow"] = np.zeros((len(showers), geometry.n_layers), dtype=np.float32)
