"""Shower files: both layouts, streaming, the writer's promises, and one clear message for each kind of bad file."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

import calopipe
from calopipe.errors import DataError, GeometryError
from calopipe.geometry import load_geometry
from calopipe.io import (
    Showers,
    ShowerWriter,
    file_hash,
    file_info,
    iter_showers,
    read_showers,
    write_calogan,
    write_showers,
)

SAMPLE = Path(__file__).resolve().parents[1] / "resources" / "calogan_eplus_sample.hdf5"


def make_showers(n: int = 20, n_voxels: int = 504, seed: int = 1) -> Showers:
    rng = np.random.default_rng(seed)
    showers = rng.exponential(5.0, (n, n_voxels)) * (rng.random((n, n_voxels)) < 0.3)
    return Showers(rng.uniform(1e3, 1e4, (n, 1)), showers)


def one_line(error: pytest.ExceptionInfo[Exception]) -> str:
    assert "\n" not in str(error.value)
    return str(error.value)


# ---- container ----------------------------------------------------------------------------------------------------
def test_showers_converts_and_selects() -> None:
    showers = Showers([1, 2, 3], [[0, 1], [2, 3], [4, 5]])
    assert showers.incident_energies.shape == (3, 1)
    assert showers.showers.dtype == showers.incident_energies.dtype == np.float32
    assert (len(showers), showers.n_voxels) == (3, 2)
    assert showers.select([2, 0]).incident_energies.ravel().tolist() == [3, 1]
    same = showers.showers
    assert Showers(showers.incident_energies, same).showers is same  # no copy


@pytest.mark.parametrize(
    ("incident", "showers", "message"),
    [
        ([1, 2], [[0], [np.nan]], "showers: showers: values must be finite and >= 0; row 1 is nan"),
        ([1, 2], [[0, 0], [1, -2]], "row 1, voxel 1 is -2 .1 bad row of 2 read"),
        ([1, 2], [[0], [np.inf]], "row 1 is inf"),
        ([1, 2], [[0], [1e300]], "row 1 is inf"),
        ([1, 0], [[0], [1]], "incident_energies: values must be finite and > 0; row 1 is 0"),
        ([1, np.nan], [[0], [1]], "row 1 is nan"),
        ([1], [[0], [1]], "1 incident_energies but 2 showers"),
        ([[1, 2]], [[0]], r"shape \(N, 1\), found \(1, 2\)"),
        ([1], [0], r"shape \(N, V\), found \(1,\)"),
        ([1], [["x"]], "must be numbers"),
    ],
)
def test_showers_rejects(incident: list, showers: list, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        Showers(incident, showers)
    one_line(caught)


# ---- reading and writing ------------------------------------------------------------------------------------------
def test_round_trip_with_attributes(tmp_path: Path) -> None:
    path, showers = tmp_path / "new" / "a.hdf5", make_showers()
    attributes = {"threshold_MeV": 0.01, "source": "test", "seed": 3, "source_sha256": None}
    write_showers(path, showers, "calogan", attributes=attributes)
    again = read_showers(path, geometry=load_geometry("calogan"))
    np.testing.assert_array_equal(again.showers, showers.showers)
    np.testing.assert_array_equal(again.incident_energies, showers.incident_energies)
    info = file_info(path)
    assert (info.n_showers, info.n_voxels, info.layout) == (20, 504, "calochallenge")
    assert info.attributes == {
        "geometry": "calogan",
        "geometry_hash": load_geometry("calogan").hash,
        "threshold_MeV": 0.01,
        "source": "test",
        "seed": 3,
        "calopipe_version": calopipe.__version__,
    }
    assert os.listdir(path.parent) == ["a.hdf5"]


def test_same_showers_same_bytes(tmp_path: Path) -> None:
    for name in "ab":
        write_showers(tmp_path / name, make_showers(), "calogan")
    assert file_hash(tmp_path / "a") == file_hash(tmp_path / "b")


def test_writer_appends_pieces_of_any_size(tmp_path: Path) -> None:
    showers = make_showers(1500)
    with ShowerWriter(tmp_path / "a", "calogan") as out:
        for first, last in [(0, 1), (1, 700), (700, 700), (700, 1500)]:
            out.append(showers.select(slice(first, last)))
        assert out.n_written == 1500
    np.testing.assert_array_equal(read_showers(tmp_path / "a").showers, showers.showers)


def test_files_of_others_need_no_attributes(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a", "w") as file:
        file["incident_energies"] = np.ones((3, 1), dtype=np.float64)
        file["showers"] = np.ones((3, 504), dtype=np.float64)
    assert read_showers(tmp_path / "a", geometry=load_geometry("calogan")).showers.dtype == np.float32


def test_calogan_layout(tmp_path: Path) -> None:
    showers, path = make_showers(30), tmp_path / "eplus.hdf5"
    write_calogan(path, showers)
    with h5py.File(path) as file:
        assert file["layer_0"].shape == (30, 3, 96) and file["layer_2"].shape == (30, 12, 6)
        assert file["energy"][0, 0] == pytest.approx(showers.incident_energies[0, 0] / 1000)
    again = read_showers(path, geometry=load_geometry("calogan"))
    np.testing.assert_array_equal(again.showers, showers.showers)
    np.testing.assert_allclose(again.incident_energies, showers.incident_energies, rtol=1e-6)
    assert file_info(path).layout == "calogan"
    pieces = list(iter_showers(path, chunk_rows=8))
    np.testing.assert_array_equal(np.concatenate([p.showers for p in pieces]), showers.showers)


ROWS = [
    slice(None),
    slice(3, 11),
    slice(-4, None),
    slice(0, 20, 3),
    slice(10, 2, -2),
    [5, 1, 1, 19],
    np.arange(0),
    slice(9, 2),
]


@pytest.mark.parametrize("rows", ROWS, ids=str)
@pytest.mark.parametrize("layout", ["calochallenge", "calogan"])
def test_rows(tmp_path: Path, rows: slice | list, layout: str) -> None:
    path, showers = tmp_path / "a", make_showers()
    write_calogan(path, showers) if layout == "calogan" else write_showers(path, showers)
    expected = showers.showers[rows]
    found = read_showers(path, rows=rows)
    np.testing.assert_array_equal(found.showers, expected)
    assert found.incident_energies.shape == (len(expected), 1)
    pieces = [p.showers for p in iter_showers(path, chunk_rows=3, rows=rows)]
    assert all(len(p) <= 3 for p in pieces)
    np.testing.assert_array_equal(np.concatenate([expected[:0], *pieces]), expected)


def test_rows_picked_across_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("calopipe.io.layouts._BLOCK_BYTES", 7 * 4 * 504)  # 7 rows at once
    write_showers(tmp_path / "a", make_showers(100))
    rows = np.random.default_rng(0).permutation(100)[:60]
    np.testing.assert_array_equal(read_showers(tmp_path / "a", rows=rows).showers, make_showers(100).showers[rows])


@pytest.mark.parametrize("rows", [[20], [-1], [0.5], [[1]], "all"])
def test_bad_rows(tmp_path: Path, rows: object) -> None:
    write_showers(tmp_path / "a", make_showers())
    with pytest.raises(DataError, match="rows must"):
        read_showers(tmp_path / "a", rows=rows)
    with pytest.raises(DataError, match="chunk_rows"):
        next(iter_showers(tmp_path / "a", chunk_rows=0))


def test_bundled_sample() -> None:
    geometry = load_geometry("calogan")
    showers = read_showers(SAMPLE, geometry=geometry)
    assert (len(showers), showers.n_voxels) == (7500, 504)
    energy = showers.incident_energies
    assert 1e3 <= energy.min() < 1.1e3 and 1.99e4 < energy.max() <= 2e4
    positive = showers.showers[showers.showers > 0]
    assert positive.min() >= np.float32(geometry.threshold_MeV)
    assert 0.9 < (showers.showers.sum(axis=1) / energy[:, 0]).mean() < 1.0


def test_bundled_images() -> None:
    geometry = load_geometry("electron_gun_32")
    showers = read_showers(SAMPLE.parent / "electron_gun_sample.hdf5", geometry=geometry)
    assert (len(showers), showers.n_voxels) == (24_000, 1024)
    energy = showers.incident_energies[:, 0]
    assert {value: int((energy == value).sum()) for value in np.unique(energy)} == {100: 2957, 800: 18_076, 1800: 2967}
    assert (showers.showers >= 0).all() and 60 < showers.showers[energy == 800].sum(axis=1).mean() < 70


def test_bundled_files_are_what_is_said_of_them() -> None:
    """Each file of showers is listed with its checksum, is described, and is small."""
    listed = dict(reversed(line.split()) for line in (SAMPLE.parent / "checksums.sha256").read_text().splitlines())
    files = {path.name: path for path in SAMPLE.parent.glob("*.hdf5")}
    assert set(listed) == set(files) == {SAMPLE.name, "electron_gun_sample.hdf5"}
    for name, path in files.items():
        assert file_hash(path) == listed[name] and path.stat().st_size < 6e6
        assert listed[name] in (SAMPLE.parent / "README.md").read_text()


# ---- bad files ----------------------------------------------------------------------------------------------------
def write_raw(path: Path, **datasets: object) -> None:
    with h5py.File(path, "w") as file:
        for key, value in datasets.items():
            file[key] = value


@pytest.mark.parametrize(
    ("datasets", "message"),
    [
        ({}, "'incident_energies' is missing.*found none"),
        ({"incident_energies": np.ones((2, 1))}, "dataset 'showers' is missing.*found incident_energies"),
        ({"incident_energies": np.ones((2, 2)), "showers": np.ones((2, 3))}, r"shape \(N, 1\), found \(2, 2\)"),
        ({"incident_energies": np.ones((2, 1)), "showers": np.ones((2, 3, 4))}, r"shape \(N, V\), found \(2, 3, 4\)"),
        (
            {"incident_energies": np.ones((2, 1)), "showers": np.ones((3, 4))},
            "2 incident energies but 3 rows of showers",
        ),
        ({"incident_energies": np.ones((2, 1)), "showers": [[b"a"], [b"b"]]}, "must hold numbers"),
        ({"energy": np.ones((2, 1)), "layer_0": np.ones((2, 3))}, r"layer_0 must have shape \(N, first, second\)"),
        (
            {"energy": np.ones((2, 1)), "layer_0": np.ones((2, 3, 4)), "layer_2": np.ones((2, 3, 4))},
            "'layer_1' is missing",
        ),
    ],
)
def test_wrong_contents(tmp_path: Path, datasets: dict, message: str) -> None:
    write_raw(tmp_path / "bad.hdf5", **datasets)
    with pytest.raises(DataError, match=message) as caught:
        read_showers(tmp_path / "bad.hdf5")
    assert "bad.hdf5" in one_line(caught)


def test_bad_values_name_file_and_row(tmp_path: Path) -> None:
    path, values = tmp_path / "bad.hdf5", np.ones((50, 4))
    values[37, 2] = np.nan
    write_raw(path, incident_energies=np.ones((50, 1)), showers=values)
    for read in (
        lambda: read_showers(path),
        lambda: list(iter_showers(path, chunk_rows=10)),
        lambda: read_showers(path, rows=[1, 37, 3]),
    ):
        with pytest.raises(DataError, match=r"bad.hdf5: showers.*row 37, voxel 2 is nan"):
            read()
    assert np.isnan(read_showers(path, validate=False).showers[37, 2])


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_showers(tmp_path / "none")
    with pytest.raises(DataError, match="is a directory"):
        file_info(tmp_path)
    (tmp_path / "page").write_text("<!DOCTYPE html>")
    with pytest.raises(DataError, match="not an HDF5 file .it begins with b'<!DOCTYPE"):
        file_info(tmp_path / "page")
    (tmp_path / "empty").touch()
    with pytest.raises(DataError, match="it is empty"):
        file_info(tmp_path / "empty")


@pytest.mark.parametrize("fraction", [0.2, 0.9, 0.999])
def test_truncated(tmp_path: Path, fraction: float) -> None:
    content = SAMPLE.read_bytes()
    (tmp_path / "cut").write_bytes(content[: int(fraction * len(content))])
    with pytest.raises(DataError, match="truncated or damaged") as caught:
        read_showers(tmp_path / "cut")
    one_line(caught)


def test_damaged_data(tmp_path: Path) -> None:
    content = bytearray(SAMPLE.read_bytes())
    content[2_000_000:2_100_000] = bytes(100_000)
    (tmp_path / "damaged").write_bytes(content)
    with pytest.raises(DataError, match="truncated or damaged") as caught:
        read_showers(tmp_path / "damaged")
    one_line(caught)


def test_geometry_must_fit(tmp_path: Path) -> None:
    write_showers(tmp_path / "a", make_showers(), "calogan")
    with pytest.raises(GeometryError, match="504 voxels per shower, but geometry 'calochallenge2' has 6480"):
        read_showers(tmp_path / "a", geometry=load_geometry("calochallenge2"))
    with h5py.File(tmp_path / "a", "a") as file:
        file.attrs["geometry_hash"] = "0123"
    with pytest.raises(GeometryError, match="hash '0123'"):
        next(iter_showers(tmp_path / "a", geometry=load_geometry("calogan")))


# ---- the writer leaves no half-written file --------------------------------------------------------------------------
def test_failure_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_showers(path, make_showers(3), "calogan")
    before = path.read_bytes()
    with pytest.raises(ZeroDivisionError), ShowerWriter(path, "calogan") as out:
        out.append(make_showers())
        raise ZeroDivisionError
    with pytest.raises(DataError, match="row 0, voxel 0 is nan"), ShowerWriter(path, "calogan") as out:
        out.append_arrays([[1.0]], np.full((1, 504), np.nan))
    with (
        pytest.raises(DataError, match="expected 504 voxels per shower, found 7"),
        ShowerWriter(path, "calogan") as out,
    ):
        out.append(make_showers(n_voxels=7))
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a"]


def test_writer_arguments(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="geometry or the number"):
        ShowerWriter(tmp_path / "a")
    with pytest.raises(GeometryError, match="7 voxels, but geometry 'calogan' has 504"):
        ShowerWriter(tmp_path / "a", "calogan", 7)
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot be written"):
        write_showers(tmp_path / "file" / "a", make_showers())
    with pytest.raises(DataError, match="504 voxels, found 7"):
        write_calogan(tmp_path / "a", make_showers(n_voxels=7))


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from calopipe.errors import DataError
from calopipe.io import read_showers, write_showers
showers, path = read_showers(sys.argv[1], rows=slice(0, 1000)), Path(sys.argv[2])
write_showers(path, showers)
size = path.stat().st_size
path.unlink()
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
for limit in (0, size // 2, size - 1):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        write_showers(path, showers)
    except DataError as error:
        print(error)
"""


def test_full_disk(tmp_path: Path) -> None:
    """A file size limit stands for a full disk: at every point of the file one error, no crash, nothing left behind."""
    command = [sys.executable, "-c", FULL_DISK, str(SAMPLE), str(tmp_path / "a")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [f"{tmp_path / 'a'}: cannot be written (File too large)"] * 3
    assert os.listdir(tmp_path) == []
