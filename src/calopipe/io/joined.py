"""Several shower files as one, without copying them: an HDF5 file whose datasets are views of theirs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from calopipe.errors import DataError
from calopipe.io.read import file_info


def joined_showers(paths: Sequence[Path], target: Path) -> None:
    """Write a file `target` of virtual datasets that holds the showers of all `paths`, in this order.

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
    with h5py.File(target, "w") as out:
        for key in ("incident_energies", "showers"):
            layout, start = None, 0
            for info in infos:
                with h5py.File(info.path, "r") as file:
                    source = h5py.VirtualSource(str(info.path.resolve()), key, file[key].shape, file[key].dtype)
                if layout is None:
                    layout = h5py.VirtualLayout((total, *source.shape[1:]), dtype=np.float32)
                layout[start : start + info.n_showers] = source
                start += info.n_showers
            out.create_virtual_dataset(key, layout)
