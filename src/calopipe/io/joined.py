"""Several shower files as one, without copying them: an HDF5 file whose datasets are views of theirs.

Elsewhere such views are read only where their sources lie in the same folder (:mod:`calopipe.io.views`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from calopipe.errors import DataError
from calopipe.io.hdf5 import dataset, open_hdf5
from calopipe.io.output import hdf5_output
from calopipe.io.read import file_info
from calopipe.io.views import own_view


@contextmanager
def joined_showers(paths: Sequence[Path], target: Path) -> Iterator[Path]:
    """Write a file `target` of virtual datasets that holds the showers of all `paths`, in this order, and yield its path.

    It can be read in this process, and until the ``with`` block ends.

    Raises:
        DataError: a file is no shower file, is not in the CaloChallenge's layout, or has another number of voxels.
    """
    import h5py
    import numpy as np

    infos = [file_info(path) for path in paths]
    for info in infos:
        if info.layout != "calochallenge":
            raise DataError(f"{info.path}: only files in the CaloChallenge's layout can be joined")
        if info.n_voxels != infos[0].n_voxels:
            raise DataError(
                f"{info.path}: {info.n_voxels} voxels per shower, but {infos[0].path} has {infos[0].n_voxels}"
            )
    total = sum(info.n_showers for info in infos)
    with hdf5_output(target) as out:
        for key in ("incident_energies", "showers"):
            sources, start = [], 0
            for info in infos:
                with open_hdf5(info.path) as file:
                    found = dataset(file, info.path, key)
                    # HDF5 takes %b in the name for a number of a series of files
                    name = str(info.path.resolve()).replace("%", "%%")
                    sources.append(h5py.VirtualSource(name, key, found.shape, found.dtype))
            layout = h5py.VirtualLayout(
                (total, *sources[0].shape[1:]), dtype=np.result_type(*(s.dtype for s in sources))
            )
            for info, source in zip(infos, sources, strict=True):
                layout[start : start + info.n_showers] = source
                start += info.n_showers
            out.file.create_virtual_dataset(key, layout)
    with own_view(target, list(paths)):
        yield target
