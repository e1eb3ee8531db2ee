"""Other people's files: each layout, made as its writer makes it, gives calopipe's voxel order, units and conditions."""

from __future__ import annotations

import os
from pathlib import Path

import h5py
import numpy as np
import pytest
from test_config import PRESETS as FOLDER
from test_config import changed

from calopipe.config import Dataset, validate
from calopipe.config.layouts import PRESETS, Layout
from calopipe.errors import ConfigError, DataError, GeometryError
from calopipe.geometry import Geometry, Layer, load_geometry
from calopipe.io import file_info, read_incident_energies, read_showers
from calopipe.io.prepare import prepare
from calopipe.sources import fetch, looking
from calopipe.workflow import Plan

N = 12
RNG = np.random.default_rng(3)
POLAR = Geometry("polar", "cylindrical", tuple(Layer(i, np.linspace(-np.pi, np.pi, 5), range(4)) for i in range(2)))
GRID = Geometry("grid", "cartesian", tuple(Layer(i, range(5), range(4)) for i in range(3)))
UNEVEN = Geometry("uneven", "cartesian", (Layer(0, (0, 1), range(6)), Layer(1, (0, 1), range(4))))


def layout(value: object) -> Layout:
    return validate(Layout, value, "layout")


def outputs(folder: Path) -> dict[str, Path]:
    return {split: folder / f"{split}.hdf5" for split in ("train", "val", "test")}


def showers_of(geometry: Geometry, n: int = N) -> np.ndarray:
    return RNG.exponential(3.0, (n, geometry.n_voxels)).astype(np.float32)


# ---- LEMURS -------------------------------------------------------------------------------------------------------------
def lemurs_file(path: Path, showers: np.ndarray, geometry: Geometry) -> dict[str, np.ndarray]:
    """As the authors of LEMURS save: (N, r, alpha, layer), whose transpose (0, 3, 2, 1) is the CaloChallenge's order."""
    energies = RNG.uniform(1e3, 1e6, N).astype(np.float32)
    angles = {"incident_phi": RNG.uniform(-3, 3, N), "incident_theta": RNG.uniform(0.8, 2.3, N)}
    cells = showers.reshape(N, *geometry.grid).transpose(0, 3, 2, 1)
    with h5py.File(path, "w") as file:
        file.create_dataset("showers", data=cells, compression="gzip", compression_opts=9)
        for key, values in {"incident_energy": energies, **angles}.items():
            file.create_dataset(key, data=values, compression="gzip", compression_opts=9)
    return {"energies": energies, **angles}


def test_lemurs(tmp_path: Path) -> None:
    showers = showers_of(POLAR)
    written = lemurs_file(tmp_path / "a.h5", showers, POLAR)
    names = ("incident_theta", "incident_phi")
    found = read_showers(tmp_path / "a.h5", geometry=POLAR, conditions=names, layout=layout("lemurs"))
    np.testing.assert_array_equal(found.showers, showers)
    np.testing.assert_array_equal(found.incident_energies[:, 0], written["energies"])
    for name in names:
        np.testing.assert_array_equal(found.conditions[name], np.float32(written[name]))
    picked = read_showers(tmp_path / "a.h5", rows=[7, 2, 3], layout=layout("lemurs"))
    np.testing.assert_array_equal(picked.showers, showers[[7, 2, 3]])
    assert file_info(tmp_path / "a.h5", layout("lemurs")).layout == "lemurs"


def test_lemurs_has_the_grid_of_calochallenge_2(tmp_path: Path) -> None:
    geometry = load_geometry("calochallenge2")
    lemurs_file(tmp_path / "a.h5", showers_of(geometry), geometry)
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["showers"].shape[1:] == (9, 16, 45)
    summary = prepare(tmp_path / "a.h5", outputs(tmp_path), geometry, layout="lemurs", conditions=["incident_theta"])
    assert summary["layout"]["preset"] == "lemurs" and summary["splits"]["train"]["n"] == 8


# ---- HGCal --------------------------------------------------------------------------------------------------------------
def hgcal_file(path: Path, showers: np.ndarray, geometry: Geometry) -> np.ndarray:
    """As convert_showers.py of HGCalShowers saves: every layer as long as the widest, gen_info of energy, eta and phi."""
    info = np.column_stack([RNG.uniform(50, 100, N), np.full(N, 2.0), RNG.uniform(-3, 3, N)]).astype(np.float32)
    cells = np.zeros((N, geometry.n_layers, max(geometry.layer_sizes)), dtype=np.float32)
    for i, part in enumerate(geometry.layer_slices):
        cells[:, i, : geometry.layer_sizes[i]] = showers[:, part] / 1000
    with h5py.File(path, "w") as file:
        file.create_dataset("showers", data=cells, compression="gzip")
        file.create_dataset("gen_info", data=info, compression="gzip")
    return info


def test_hgcal(tmp_path: Path) -> None:
    showers = showers_of(UNEVEN)
    info = hgcal_file(tmp_path / "a.h5", showers, UNEVEN)
    mapping = {"preset": "hgcal", "showers": {"cells": [5, 3]}}
    names = ("incident_eta", "incident_phi")
    found = read_showers(tmp_path / "a.h5", geometry=UNEVEN, conditions=names, layout=layout(mapping))
    np.testing.assert_allclose(found.showers, showers, rtol=1e-6)
    np.testing.assert_allclose(found.condition, info * [1000, 1, 1], rtol=1e-6)
    with pytest.raises(GeometryError, match=r"cells in each layer = 5 x 5, but geometry 'uneven' has 5 x 3"):
        read_showers(tmp_path / "a.h5", geometry=UNEVEN, layout=layout("hgcal"))
    with pytest.raises(GeometryError, match="cells in each layer = 5 x 2"):
        read_showers(tmp_path / "a.h5", geometry=UNEVEN, layout=layout({**mapping, "showers": {"cells": [5, 2]}}))
    with pytest.raises(
        DataError, match="2 layers of at most 5 cells, but the layout's cells are 2 numbers of cells, up to 6"
    ):
        file_info(tmp_path / "a.h5", layout({"preset": "hgcal", "showers": {"cells": [6, 3]}}))
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file["showers"][4, 1, 3] = 0.5
    with pytest.raises(DataError, match="row 4 has energy in the padding"):
        read_showers(tmp_path / "a.h5", layout=layout(mapping))


# ---- groups of getting_high and ConvL2LFlow ----------------------------------------------------------------------------
def test_getting_high(tmp_path: Path) -> None:
    """As create_hdf5.py saves: group 30x30, energy (N, 1) in GeV, layers in MeV."""
    geometry, energies = load_geometry("ild"), RNG.uniform(10, 100, (N, 1))
    showers = showers_of(geometry)
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        group = file.create_group("30x30")
        group.create_dataset("energy", data=energies)
        group.create_dataset("layers", data=showers.reshape(N, 30, 30, 30))
    found = read_showers(tmp_path / "a.hdf5", geometry=geometry, layout=layout("getting_high"))
    np.testing.assert_array_equal(found.showers, showers)
    np.testing.assert_allclose(found.incident_energies, 1000 * energies, rtol=1e-6)
    other = {"preset": "getting_high", "energies": {"key": "ecal/energy"}, "showers": {"key": "ecal/layers"}}
    with pytest.raises(DataError, match="dataset 'ecal/energy' is missing, found 30x30"):
        file_info(tmp_path / "a.hdf5", layout(other))
    with h5py.File(tmp_path / "a.hdf5", "a") as file:
        file.move("30x30", "ecal")
    np.testing.assert_array_equal(read_showers(tmp_path / "a.hdf5", layout=layout(other)).showers, showers)


def test_l2lflows(tmp_path: Path) -> None:
    """As convert_challenge.py saves set 3: the last two axes swapped, energies in GeV, a group called after them."""
    geometry, energies = load_geometry("calochallenge3"), RNG.uniform(1e3, 1e6, (4, 1))
    showers = showers_of(geometry, 4)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        cells = showers.reshape(4, 45, 50, 18).swapaxes(-2, -1)
        file.create_dataset("18x50/energy", data=energies / 1e3)
        file.create_dataset("18x50/layers", data=cells)
    found = read_showers(tmp_path / "a.h5", geometry=geometry, layout=layout("l2lflows"))
    np.testing.assert_array_equal(found.showers, showers)
    np.testing.assert_allclose(found.incident_energies, energies, rtol=1e-6)


# ---- point clouds of showerdata ----------------------------------------------------------------------------------------
def clouds() -> np.ndarray:
    """(2, 4, 5) points of x, y, layer, energy, time; the second shower has two points, the rest is padding."""
    first = [[-1.5, 0.5, 0, 0.001, 1], [-1.5, 0.5, 0, 0.002, 2], [0.5, -0.5, 1, 0.004, 0], [9, 9, 1, 0.008, 0]]
    second = [[1.5, 1.5, 2.0001, 0.016, 0], [0.0, 0.0, 1.9999, 0.032, 0], [0] * 5, [0] * 5]
    return np.array([first, second], dtype=np.float32)


def showerdata_file(path: Path) -> None:
    showerdata = pytest.importorskip("showerdata")
    directions = np.array([[0, 0, 1], [0.6, 0, 0.8]])
    showerdata.save(showerdata.Showers(clouds(), np.array([10.0, 50.0]), pdg=22, directions=directions), path)


#: 3 layers of 4 x 4 cells of 1 mm, the centre of the window in the middle
WINDOW = Geometry("window", "cartesian", tuple(Layer(i, range(-2, 3), range(-2, 3)) for i in range(3)))


def test_showerdata_on_a_cartesian_grid(tmp_path: Path) -> None:
    showerdata_file(tmp_path / "a.h5")
    names = ("direction_x", "direction_z", "pdg")
    found = read_showers(tmp_path / "a.h5", geometry=WINDOW, conditions=names, layout=layout("showerdata"))
    expected = np.zeros((2, 3, 4, 4))
    expected[0, 0, 0, 2], expected[0, 1, 2, 1] = 3, 4  # (-1.5, 0.5) is cell (0, 2)
    expected[1, 2, 3, 3], expected[1, 2, 2, 2] = 16, 32  # on an edge: the cell above
    np.testing.assert_allclose(found.showers, expected.reshape(2, -1), rtol=1e-6)
    assert found.incident_energies.ravel().tolist() == [1e4, 5e4]
    np.testing.assert_allclose(found.condition[:, 1:], [[0, 1, 22], [0.6, 0.8, 22]], rtol=1e-6)
    picked = read_showers(tmp_path / "a.h5", rows=[1], geometry=WINDOW, layout=layout("showerdata"))
    np.testing.assert_array_equal(picked.showers, found.showers[1:])
    info = file_info(tmp_path / "a.h5", layout("showerdata"))
    assert (info.n_showers, info.n_voxels) == (2, 0)
    with pytest.raises(DataError, match="name the geometry"):
        read_showers(tmp_path / "a.h5", layout=layout("showerdata"))


def test_showerdata_on_a_cylindrical_grid(tmp_path: Path) -> None:
    """Alpha = atan2(y, x), in four bins from -pi; pi itself belongs to the last one."""
    showerdata = pytest.importorskip("showerdata")
    points = [[0.5, 0.5, 0, 1, 0], [-1.5, 0, 0, 2, 0], [-0.5, -0.5, 1, 4, 0], [2, -2.2, 1, 8, 0], [9, 0, 0, 16, 0]]
    showerdata.save(showerdata.Showers(np.float32([points]), np.array([1.0]), pdg=11), tmp_path / "a.h5")
    found = read_showers(tmp_path / "a.h5", geometry=POLAR, layout=layout("showerdata")).showers.reshape(2, 4, 3)
    expected = np.zeros((2, 4, 3))
    expected[0, 2, 0], expected[0, 3, 1], expected[1, 0, 0], expected[1, 1, 2] = 1e3, 2e3, 4e3, 8e3
    np.testing.assert_allclose(found, expected)


def test_showerdata_is_prepared_and_loss_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "calopipe")
    showerdata_file(tmp_path / "a.h5")
    summary = prepare(tmp_path / "a.h5", outputs(tmp_path), WINDOW, layout="showerdata", fractions=(0.5, 0, 0.5))
    assert summary["points_outside_MeV"] == pytest.approx(8)
    assert "12 % of the points' energy lies outside" in caplog.text or "13 % of" in caplog.text
    total = sum(read_showers(outputs(tmp_path)[s]).showers.sum() for s in ("train", "test"))
    assert total == pytest.approx(3 + 4 + 16 + 32)


@pytest.mark.parametrize("damage", ["numbers", "shape", "multiple", "nan", "negative", "no sequences", "external"])
def test_odd_point_clouds_are_refused(tmp_path: Path, damage: str) -> None:
    showerdata_file(tmp_path / "a.h5")
    cloud = clouds()[0].ravel()
    with h5py.File(tmp_path / "a.h5", "a") as file:
        if damage == "numbers":
            file["num_points"][0] = 3
        elif damage == "shape":
            file["shape"][2] = 3
        elif damage == "multiple":
            file["showers"][0] = cloud[:-1]
        elif damage in ("nan", "negative"):
            cloud[3] = np.nan if damage == "nan" else -1
            file["showers"][0] = cloud
        elif damage == "no sequences":
            del file["showers"]
            file["showers"] = np.ones((2, 20))
        else:
            file.move("showers", "kept")
            file["showers"] = h5py.ExternalLink("b.h5", "showers")
    messages = {
        "numbers": "row 0 has 4 points, but the file says 3",
        "shape": r"must hold the shape \(2, points, 4 or more\), found \(2, 4, 3\)",
        "multiple": "row 0 has 19 numbers, no multiple of 5",
        "nan": "row 0 has a point that is not finite",
        "negative": "must be finite and >= 0; row 0, voxel 2 is",
        "no sequences": "must hold N sequences",
        "external": "external link",
    }
    with pytest.raises(DataError, match=messages[damage]) as caught:
        read_showers(tmp_path / "a.h5", geometry=WINDOW, layout=layout("showerdata"))
    assert "\n" not in str(caught.value)


# ---- mappings --------------------------------------------------------------------------------------------------------------
def mapped(path: Path, axes: list[str], showers: np.ndarray, geometry: Geometry, order: tuple[str, ...]) -> dict:
    turn = [0, *(1 + order.index(axis) for axis in axes)]
    with h5py.File(path, "w") as file:
        file["gun/energy"] = np.arange(1, N + 1) * 1.0
        file["ecal/cells"] = showers.reshape(N, *geometry.grid).transpose(turn) * 1e6
    return {
        "energies": {"key": "gun/energy", "unit": "TeV"},
        "showers": {"key": "ecal/cells", "axes": axes, "unit": "eV"},
    }


@pytest.mark.parametrize("axes", [["layer", "y", "x"], ["y", "x", "layer"], ["x", "layer", "y"], ["layer", "x", "y"]])
def test_every_order_of_axes(tmp_path: Path, axes: list[str]) -> None:
    showers = showers_of(GRID)
    mapping = mapped(tmp_path / "a", axes, showers, GRID, ("layer", "x", "y"))
    found = read_showers(tmp_path / "a", geometry=GRID, layout=layout(mapping))
    np.testing.assert_allclose(found.showers, showers, rtol=1e-6)
    assert found.incident_energies[4, 0] == 5e6
    assert read_incident_energies(tmp_path / "a", layout(mapping))[4, 0] == 5e6


def test_a_wrong_order_is_caught_where_shapes_tell(tmp_path: Path) -> None:
    mapping = mapped(tmp_path / "a", ["layer", "x", "y"], showers_of(GRID), GRID, ("layer", "x", "y"))
    for axes in (["layer", "y", "x"], ["x", "y", "layer"], ["y", "layer", "x"]):
        wrong = {**mapping, "showers": {**mapping["showers"], "axes": axes}}
        with pytest.raises(GeometryError, match="but geometry 'grid' has 3 x 4 x 3 .are the axes in this order"):
            file_info(tmp_path / "a", layout(wrong), GRID)
    polar = {**mapping, "showers": {**mapping["showers"], "axes": ["layer", "alpha", "r"]}}
    with pytest.raises(GeometryError, match="axes layer, alpha, r, but geometry 'grid' is cartesian"):
        file_info(tmp_path / "a", layout(polar), GRID)
    said = {**mapping, "showers": {**mapping["showers"], "shape": [3, 3, 4]}}
    with pytest.raises(DataError, match=r"shape \(N, layer 3, x 3, y 4\), found \(12, 3, 4, 3\)"):
        file_info(tmp_path / "a", layout(said))
    flat = {**mapping, "showers": {"key": "ecal/cells", "unit": "eV"}}
    with pytest.raises(DataError, match=r"must have shape \(N, voxel\), found \(12, 3, 4, 3\)"):
        file_info(tmp_path / "a", layout(flat))
    with pytest.raises(GeometryError, match="no regular grid"):
        file_info(tmp_path / "a", layout(mapping), UNEVEN)


def test_images_have_no_layer(tmp_path: Path) -> None:
    image = Geometry("image", "cartesian", (Layer(0, range(5), range(4)),))
    cells = showers_of(image).reshape(N, 4, 3)
    with h5py.File(tmp_path / "a", "w") as file:
        file["e"], file["images"] = np.ones(N), cells.transpose(0, 2, 1)
    mapping = {"energies": {"key": "e"}, "showers": {"key": "images", "axes": ["y", "x"]}}
    found = read_showers(tmp_path / "a", geometry=image, layout=layout(mapping))
    np.testing.assert_array_equal(found.showers, cells.reshape(N, 12))


def test_conditions_of_a_mapping(tmp_path: Path) -> None:
    """One column of several, in degrees; what the mapping does not name is looked for under its own name."""
    with h5py.File(tmp_path / "a", "w") as file:
        file["incident_energies"], file["showers"] = np.ones((N, 1)), np.ones((N, 6))
        file["angles"] = np.tile([[90.0, 180.0]], (N, 1))
        file["pdg"] = np.full(N, 22)
    mapping = {"preset": "calochallenge", "conditions": {"incident_phi": {"key": "angles", "column": 1, "unit": "deg"}}}
    found = read_showers(tmp_path / "a", conditions=("pdg", "incident_phi"), layout=layout(mapping))
    np.testing.assert_allclose(found.condition[0], [1, 22, np.pi], rtol=1e-6)
    beyond = {**mapping, "conditions": {"incident_phi": {"key": "angles", "column": 2}}}
    with pytest.raises(DataError, match=r"angles must have shape \(12, columns\) with a column 2 .* found \(12, 2\)"):
        file_info(tmp_path / "a", layout(beyond), conditions=["incident_phi"])
    with pytest.raises(DataError, match=r"angles must have shape \(12,\) or \(12, 1\)"):
        file_info(tmp_path / "a", layout("calochallenge"), conditions=["angles"])


def test_hostile_files_stay_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "secret", "w") as file:
        file["showers"] = np.ones((N, 3, 4, 2))
    lemurs_file(tmp_path / "a", showers_of(POLAR), POLAR)
    with h5py.File(tmp_path / "a", "a") as file:
        del file["showers"]
        file["showers"] = h5py.ExternalLink("secret", "showers")
    with pytest.raises(DataError, match="external link"):
        read_showers(tmp_path / "a", layout=layout("lemurs"))
    with h5py.File(tmp_path / "b", "w") as file:
        file["incident_energy"] = np.ones(N)
        file.create_dataset("showers", (N, 3, 4, 2), np.float32, chunks=(1, 3, 4, 2))[: N // 2] = 1
    with pytest.raises(DataError, match="6 of 12 rows were never written"):
        read_showers(tmp_path / "b", layout=layout("lemurs"))
    (tmp_path / "raw").write_bytes(bytes(96 * N))
    with h5py.File(tmp_path / "c", "w") as file:
        file["incident_energy"] = np.ones(N)
        file.create_dataset("showers", (N, 3, 4, 2), np.float32, external=[(str(tmp_path / "raw"), 0, 96 * N)])
    with pytest.raises(DataError, match="stores its data in other files"):
        read_showers(tmp_path / "c", layout=layout("lemurs"))
    with h5py.File(tmp_path / "d", "w") as file:
        file["30x30"] = h5py.SoftLink("/30x30")
    with pytest.raises(DataError, match="loop"):
        file_info(tmp_path / "d", layout("getting_high"))


def test_a_sequence_longer_than_the_file_takes_no_memory(tmp_path: Path) -> None:
    """16 GB are claimed by four bytes; chunked files, as others may write them, are read too."""
    showerdata_file(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5") as file:
        place = file["showers"].id.get_offset()
    content = bytearray((tmp_path / "a.h5").read_bytes())
    assert int.from_bytes(content[place : place + 4], "little") == 20
    content[place : place + 4] = b"\xff\xff\xff\xff"
    (tmp_path / "b.h5").write_bytes(content)
    with pytest.raises(DataError, match="is damaged: its sequences have 171798.* bytes, but the file has"):
        file_info(tmp_path / "b.h5", layout("showerdata"))
    expected = read_showers(tmp_path / "a.h5", geometry=WINDOW, layout=layout("showerdata")).showers
    for name, options in (("chunked", {}), ("packed", {"compression": "gzip"})):
        with h5py.File(tmp_path / "a.h5") as file, h5py.File(tmp_path / name, "w") as new:
            for key in ("energies", "shape", "num_points"):
                new[key] = file[key][()]
            made = new.create_dataset("showers", (2,), file["showers"].dtype, chunks=(1,), **options)
            for row in range(2):
                made[row] = file["showers"][row]
    np.testing.assert_array_equal(
        read_showers(tmp_path / "chunked", geometry=WINDOW, layout=layout("showerdata")).showers, expected
    )
    with pytest.raises(DataError, match="sequences are read of plain and of unpacked chunked datasets only"):
        file_info(tmp_path / "packed", layout("showerdata"))


def test_damaged_point_clouds_end_in_an_error(tmp_path: Path) -> None:
    """Flipped bytes in sequences, their heaps and references: one line, or numbers; never a crash."""
    showerdata_file(tmp_path / "a.h5")
    content, outcomes = (tmp_path / "a.h5").read_bytes(), set()
    for trial in range(150):
        rng = np.random.default_rng(trial)
        damaged = bytearray(content)
        for place in rng.integers(0, len(content), 3):
            damaged[place] = rng.integers(256)
        (tmp_path / "b.h5").write_bytes(damaged)
        os.utime(tmp_path / "b.h5", ns=(trial, trial))
        try:
            found = read_showers(tmp_path / "b.h5", geometry=WINDOW, layout=layout("showerdata"))
            outcomes.add("read" if np.isfinite(found.showers).all() else "odd")
        except DataError as error:
            outcomes.add("refused" if str(error).isprintable() else "odd")
    assert outcomes == {"read", "refused"}


# ---- settings, fetching, and what is known before the first job ---------------------------------------------------------
@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_complete(name: str) -> None:
    found = layout(name)
    assert layout(found.model_dump(mode="json")) == found and found.name == name


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("lemur", "d.layout.preset: no layout 'lemur' .did you mean 'lemurs'"),
        (5, "d.layout"),
        ({"energies": {"key": "e"}}, "d.layout: expected either showers or points"),
        ({"preset": "lemurs", "shower": {}}, "d.layout.shower: unknown key .did you mean 'showers'"),
        ({"preset": "lemurs", "energies": {"unit": "deg"}}, "d.layout.energies: expected a unit of energy"),
        (
            {"preset": "lemurs", "showers": {"axes": ["r", "x", "layer"]}},
            "d.layout.showers.axes: expected one of these",
        ),
        ({"preset": "lemurs", "showers": {"axes": ["r", "alpha", "alpha"]}}, "axes: expected one of these"),
        ({"preset": "lemurs", "showers": {"shape": [3]}}, "d.layout.showers.shape: expected 3 lengths"),
        ({"preset": "lemurs", "showers": {"cells": [3]}}, "d.layout.showers.cells: expected axes"),
        (
            {"preset": "lemurs", "showers": {"key": "/a"}},
            "d.layout.showers.key: expected names of groups and a dataset",
        ),
        ({"preset": "lemurs", "showers": {"key": "a/../b"}}, "d.layout.showers.key"),
        ({"preset": "lemurs", "conditions": {"showers": {"key": "a"}}}, "d.layout.conditions"),
    ],
)
def test_wrong_layouts(value: object, message: str) -> None:
    base = {"source": {"kind": "local", "paths": ["a"]}, "geometry": "calogan"}
    with pytest.raises(ConfigError, match=message):
        validate(Dataset, {**base, "layout": value}, "d")


def test_fetch_opens_files_in_their_layout(tmp_path: Path) -> None:
    lemurs_file(tmp_path / "a", showers_of(POLAR), POLAR)
    source = {"kind": "local", "paths": [str(tmp_path / "a")]}
    (found,) = fetch(source, tmp_path / "raw.json", look=looking(layout="lemurs"))
    assert (found.n_showers, found.n_voxels) == (N, POLAR.n_voxels)
    with pytest.raises(DataError, match="'incident_energies' is missing"):
        fetch(source, tmp_path / "raw.json")


def test_files_at_hand_are_compared_with_the_layout(tmp_path: Path) -> None:
    layers = "[{id: 0, repeat: 6, n_alpha: 7, r_edges: {start: 0, stop: 12, bins: 12}}]"
    (tmp_path / "own.yaml").write_text(f"kind: cylindrical\nlayers: {layers}\n")
    with h5py.File(tmp_path / "a", "w") as file:
        file["incident_energy"], file["incident_theta"] = np.full(60, 1e4), np.ones(60)
        file["showers"] = np.ones((60, 12, 7, 6), np.float32)
    dataset = {
        "source": {"kind": "local", "paths": [str(tmp_path / "a")]},
        "geometry": str(tmp_path / "own.yaml"),
    }
    study = changed("datasets", "eplus", value={**dataset, "layout": "lemurs", "conditions": ["incident_theta"]})
    study["runs"] = [{"dataset": "eplus", "model": "inn", "seeds": [0]}]
    Plan.load(study, FOLDER)
    study["datasets"]["eplus"]["conditions"] = ["incident_phi"]
    with pytest.raises(DataError, match="a: dataset 'incident_phi' is missing"):
        Plan.load(study, FOLDER)
    study["datasets"]["eplus"] |= {
        "conditions": [],
        "layout": {"preset": "lemurs", "showers": {"axes": ["layer", "alpha", "r"]}},
    }
    with pytest.raises(ConfigError, match="datasets.eplus.layout: .* = 12 x 7 x 6, but geometry 'own' has 6 x 7 x 12"):
        Plan.load(study, FOLDER)
