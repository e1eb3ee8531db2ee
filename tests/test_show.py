"""``calopipe show``: summaries and pictures of shower files."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from calopipe.errors import DataError, GeometryError
from calopipe.io import file_info
from calopipe.plots.style import read_provenance
from calopipe.show import event_pictures, find_geometry, summarise


def _file(path: Path, energies: list[float], showers: np.ndarray, **attributes: object) -> Path:
    with h5py.File(path, "w") as file:
        file["incident_energies"] = np.array(energies, dtype=np.float32)[:, None]
        file["showers"] = showers.astype(np.float32)
        file.attrs.update(attributes)
    return path


@pytest.fixture
def calogan(tmp_path: Path) -> Path:
    showers = np.zeros((4, 504))
    showers[:3, 0] = [100.0, 200.0, 300.0]  # layer 0
    showers[:3, 300] = [300.0, 200.0, 100.0]  # layer 1
    showers[0, 503] = 0.001  # below the threshold of 0.01 MeV
    return _file(tmp_path / "some.hdf5", [1000.0, 1000.0, 500.0, 1000.0], showers, particle="e+")


def test_summary_by_hand(calogan: Path) -> None:
    text = summarise(calogan)
    for part in (
        "some.hdf5: 4 showers of 504 voxels, calochallenge layout",
        "calogan (guessed: the built-in one with 504 voxels)",
        "500 to 1000 MeV (2 values: 500, 1000)",
        "mean 0.4",  # (0.4 + 0.4 + 0.8 + 0) / 4
        f"{6 / (4 * 504):.4g} of the voxels at or above 0.01 MeV",
        "largest voxel     300 MeV",
        "empty showers     1",
        "particle          e+",
    ):
        assert part in text, part
    layers = [line.split() for line in text.splitlines()[-3:]]
    assert [line[0] for line in layers] == ["0", "1", "2"]
    assert [line[4] for line in layers[:2]] == ["150", "150"]
    assert layers[0][5] == "50.00%"


def test_geometry_from_the_file_given_or_unknown(tmp_path: Path, calogan: Path) -> None:
    named = _file(
        tmp_path / "named.hdf5", [1.0], np.ones((1, 368)), geometry="calochallenge1_photons", threshold_MeV=0.5
    )
    assert "calochallenge1_photons (named in the file)" in summarise(named)
    assert "above 0.5 MeV" in summarise(named)
    assert "calogan (as given)" in summarise(calogan, "calogan")
    with pytest.raises(GeometryError, match="504 voxels per shower, but geometry 'ild' has 27000"):
        summarise(calogan, "ild")
    odd = _file(tmp_path / "odd.hdf5", [1.0], np.ones((1, 7)))
    assert find_geometry(file_info(odd))[0] is None
    assert "no built-in one has 7 voxels" in summarise(odd)
    with pytest.raises(GeometryError, match="say which one"):
        event_pictures(odd, tmp_path)


def test_pictures(tmp_path: Path, calogan: Path) -> None:
    written = event_pictures(calogan, tmp_path / "out", rows=[2, 0], dpi=40)
    names = [p.name for p in written]
    assert names == ["some_0_layers.png", "some_0_3d.png", "some_2_layers.png", "some_2_3d.png", "some_average.png"]
    assert "some.hdf5 sha256:" in read_provenance(written[0])["inputs"]


def test_bad_input(tmp_path: Path, calogan: Path) -> None:
    with pytest.raises(DataError, match="row 4 asked for, but there are 4 showers"):
        event_pictures(calogan, tmp_path, rows=[4])
    with pytest.raises(DataError, match="nothing"):
        summarise(tmp_path / "nothing.hdf5")
    empty = _file(tmp_path / "empty.hdf5", [], np.ones((0, 504)))
    with pytest.raises(DataError, match="no showers"):
        summarise(empty)
