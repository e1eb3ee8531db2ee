"""Geometries: golden facts, the CaloChallenge's own XML files, neighbours, pooling, and clear errors."""

from __future__ import annotations

import pickle
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from calopipe.errors import GeometryError
from calopipe.geometry import Geometry, Layer, available_geometries, load_geometry, prepared_geometry

VOXELS = {
    "calogan": 504,
    "calochallenge1_photons": 368,
    "calochallenge1_pions": 533,
    "calochallenge2": 6480,
    "calochallenge3": 40500,
    "electron_gun_32": 1024,
    "electron_gun_64": 4096,
    "ild": 27000,
}
THRESHOLD = {
    "calogan": 0.01,
    "calochallenge1_photons": 1.0,
    "calochallenge1_pions": 1.0,
    "calochallenge2": 0.5e-3 / 0.033,
    "calochallenge3": 0.5e-3 / 0.033,
    "electron_gun_32": 0.0,
    "electron_gun_64": 0.0,
    "ild": 0.1,
}
XML = {"calochallenge1_photons": "1_photons", "calochallenge1_pions": "1_pions"}
XML |= {"calochallenge2": "2", "calochallenge3": "3"}


def test_built_in_names() -> None:
    assert set(available_geometries()) == set(VOXELS)


@pytest.mark.parametrize("name", VOXELS)
def test_golden_facts(name: str) -> None:
    geometry = load_geometry(name)
    assert (geometry.name, geometry.n_voxels) == (name, VOXELS[name])
    assert geometry.threshold_MeV == pytest.approx(THRESHOLD[name], rel=1e-15)
    for array in (
        geometry.eta,
        geometry.phi,
        geometry.r,
        geometry.alpha,
        geometry.layer_index,
    ):
        assert array.shape == (VOXELS[name],)
        assert not array.flags.writeable
    np.testing.assert_allclose(np.hypot(geometry.eta, geometry.phi), geometry.r, atol=1e-9)
    assert sum(geometry.layer_sizes) == VOXELS[name]
    for i, part in enumerate(geometry.layer_slices):
        assert (geometry.layer_index[part] == i).all()
    assert name in geometry.summary()


@pytest.mark.parametrize("name", VOXELS)
def test_round_trips(name: str) -> None:
    geometry = load_geometry(name)
    assert Geometry.from_dict(geometry.to_dict()) == geometry
    assert pickle.loads(pickle.dumps(geometry)) == geometry
    assert load_geometry(geometry) is geometry


def test_hashes_differ_and_are_stable() -> None:
    hashes = {name: load_geometry(name).hash for name in VOXELS}
    assert len(set(hashes.values())) == len(VOXELS)
    assert hashes["calogan"] == "cee87ff68c87df93"
    assert hashes["calochallenge2"] == "8c407f2f889c2171"


@pytest.mark.parametrize("name", XML)
def test_equals_the_challenge_xml(name: str, shared: Path) -> None:
    from_xml = load_geometry(shared / "reference" / f"binning_dataset_{XML[name]}.xml")
    built_in = load_geometry(name)
    assert from_xml.hash == built_in.hash
    assert from_xml.layer_ids == built_in.layer_ids
    np.testing.assert_allclose(from_xml.eta, built_in.eta, rtol=0, atol=1e-9)


def test_reproduces_the_challenge_features(shared: Path) -> None:
    """Centres, layer order and threshold give the published code's centroids on real showers."""
    h5py = pytest.importorskip("h5py")
    data = shared / "data" / "ds1like_photons.hdf5"
    golden = np.load(shared / "reference" / "golden" / "ds1like_photons_first1000.npz")
    geometry = load_geometry("calochallenge1_photons")
    with h5py.File(data) as file:
        showers = file["showers"][:1000].astype(np.float64)
    showers[showers < geometry.threshold_MeV] = 0
    for column, i in enumerate(geometry.alpha_layers):
        part = geometry.layer_slices[i]
        energy = showers[:, part].sum(axis=1) + 1e-16
        np.testing.assert_allclose(
            showers[:, part] @ geometry.eta[part] / energy,
            golden["EC_eta"][:, column],
            atol=1e-6,
        )
        np.testing.assert_allclose(
            showers[:, part] @ geometry.phi[part] / energy,
            golden["EC_phi"][:, column],
            atol=1e-6,
        )
    assert [geometry.layer_ids[i] for i in geometry.alpha_layers] == golden["alpha_layers"].tolist()


def test_cylindrical_centres_and_order() -> None:
    geometry = load_geometry("calochallenge1_photons")
    assert geometry.layer_ids == (0, 1, 2, 3, 12)
    assert geometry.layer_sizes == (8, 160, 190, 5, 5)
    assert geometry.alpha_layers == (1, 2)
    assert geometry.layer_shape(1) == (10, 16)
    # voxel 8 + 16 + 1: layer 1, second alpha bin, second r bin
    assert geometry.r[25] == pytest.approx(3.0)
    assert geometry.alpha[25] == pytest.approx(-np.pi * 0.7)
    assert geometry.eta[25] == pytest.approx(3.0 * np.cos(-np.pi * 0.7))
    assert geometry.phi[25] == pytest.approx(3.0 * np.sin(-np.pi * 0.7))
    assert geometry.z is None
    assert load_geometry("calochallenge2").z[[0, 44]].tolist() == pytest.approx([1.7, 151.3])


def test_cartesian_centres_and_axes() -> None:
    calogan = load_geometry("calogan")
    assert [calogan.layer_shape(i) for i in range(3)] == [(3, 96), (12, 12), (12, 6)]
    # fine bins (second index, 5 mm) run along eta, coarse ones (first index, 160 mm) along phi
    assert calogan.eta[:2].tolist() == [-237.5, -232.5]
    assert calogan.phi[[0, 96, 192]].tolist() == [-160, 0, 160]
    assert calogan.z.tolist() == [45, 263.5, 458.5]
    assert calogan.alpha_layers == (0, 1, 2)
    ild = load_geometry("ild")
    centre = 15 * 30 + 15
    assert (ild.eta[centre], ild.phi[centre]) == (0, 0)
    assert ild.eta[centre + 30] == 5 and ild.phi[centre + 1] == 5


def test_reshape_layer() -> None:
    geometry = load_geometry("calogan")
    showers = np.arange(2 * 504).reshape(2, 504)
    layer = geometry.reshape_layer(showers, 1)
    assert layer.shape == (2, 12, 12)
    assert layer[1, 3, 4] == 504 + 288 + 3 * 12 + 4
    assert geometry.reshape_layer(showers[0], 2).shape == (12, 6)
    with pytest.raises(GeometryError, match=r"504 voxels.*\(2, 503\)"):
        geometry.reshape_layer(showers[:, 1:], 0)


@pytest.mark.parametrize("name", sorted(set(VOXELS) - {"ild", "calochallenge3", "electron_gun_64"}))
def test_neighbours_are_symmetric_and_within_the_layer(name: str) -> None:
    geometry = load_geometry(name)
    indptr, indices = geometry.neighbours()
    rows = np.repeat(np.arange(geometry.n_voxels), np.diff(indptr))
    pairs = set(zip(rows.tolist(), indices.tolist(), strict=True))
    assert {(b, a) for a, b in pairs} == pairs
    assert not any(a == b for a, b in pairs)
    assert (geometry.layer_index[rows] == geometry.layer_index[indices]).all()


def test_neighbours_cylindrical() -> None:
    geometry = load_geometry("calochallenge2")  # 16 alpha x 9 r
    neighbours = geometry.neighbours()

    def voxel(a: int, r: int) -> int:
        return 144 + (a % 16) * 9 + r  # in layer 1

    inner = {voxel(a, 0) for a in (15, 1, 7, 8, 9)} | {voxel(a, 1) for a in (15, 0, 1)}
    assert set(neighbours.of(voxel(0, 0)).tolist()) == inner
    assert len(neighbours.of(voxel(5, 4))) == 8
    assert len(neighbours.of(voxel(5, 8))) == 5
    # one alpha bin: only the rings inside and outside
    assert load_geometry("calochallenge1_photons").neighbours().of(3).tolist() == [2, 4]
    # odd number of alpha bins: both cells that touch the opposite edge
    odd = Geometry("odd", "cylindrical", (Layer(0, tuple(np.linspace(-np.pi, np.pi, 10)), (0, 1)),))
    assert odd.neighbours().of(0).tolist() == [1, 3, 4, 5, 6, 8]


def test_neighbours_cartesian() -> None:
    neighbours = load_geometry("electron_gun_32").neighbours()
    assert neighbours.of(0).tolist() == [1, 32, 33]
    assert len(neighbours.of(32 * 5 + 5)) == 8


def test_pooled() -> None:
    pooled = load_geometry("calogan").pooled((2, 1))
    assert [pooled.layer_shape(i) for i in range(3)] == [
        (3, 96),
        (6, 12),
        (6, 6),
    ]  # 3 rows cannot be paired
    both = pooled.pooled((1, 2))
    assert both.n_voxels == 3 * 48 + 6 * 6 + 6 * 3
    assert load_geometry(both.name) == both
    assert both.eta[:2].tolist() == [-235, -225]
    with pytest.raises(GeometryError, match="cartesian"):
        load_geometry("calochallenge2").pooled((2, 1))
    with pytest.raises(GeometryError, match="divides no layer"):
        load_geometry("electron_gun_32").pooled((5, 1))
    with pytest.raises(GeometryError, match="two integers"):
        load_geometry("electron_gun_32").pooled((0, 1))


def test_pooled_in_turn() -> None:
    """Pooling of CaloGAN as in Ernst 2023: (2, 1) and (1, 2), again and again; three rows stay three."""
    turn, calogan = [(2, 1), (1, 2)], load_geometry("calogan")
    expected = [[(3, 48), (6, 6), (6, 3)], [(3, 24), (3, 3), (3, 3)], [(3, 12), (3, 3), (3, 3)]]
    for times, shapes in enumerate(expected, start=1):
        pooled = prepared_geometry(calogan, pool=times * turn)
        assert [pooled.layer_shape(i) for i in range(3)] == shapes
        assert load_geometry(pooled.name) == pooled
    assert (
        pooled.name == "calogan_pool2x1_pool1x2_pool2x1_pool1x2_pool1x2"
    )  # the third (2, 1) has nothing left to merge
    assert pooled.edges(0)[1].tolist() == np.arange(-240, 241, 40).tolist()
    with pytest.raises(GeometryError, match=r"none of the kernels \[\(7, 1\), \(1, 7\)\] divides a layer"):
        prepared_geometry(calogan, pool=[(7, 1), (1, 7)])


def test_summed_layers() -> None:
    ild = load_geometry("ild")
    image = prepared_geometry(ild, crop=(28, 28), sum_layers=True, pool=[(2, 2), (7, 7)])
    assert image.name == "ild_crop28x28_image_pool2x2_pool7x7" and load_geometry(image.name) == image
    assert image.grid == (1, 2, 2) and image.threshold_MeV == ild.threshold_MeV
    assert image == ild.cropped((28, 28)).image((2, 2)).pooled((7, 7))
    with pytest.raises(GeometryError, match="summing the layers needs a cartesian geometry; 'calochallenge2'"):
        load_geometry("calochallenge2").summed()
    with pytest.raises(GeometryError, match="no regular grid"):
        load_geometry("calogan_image")


def test_selected_layers() -> None:
    """Layers keep ids, edges and depth; names read back; other kinds of geometries too."""
    calogan = load_geometry("calogan")
    last = calogan.selected([2])
    assert last.name == "calogan_layers2" and last.layers == calogan.layers[2:] and last.layer_ids == (2,)
    assert last.threshold_MeV == calogan.threshold_MeV and last.eta.tolist() == calogan.eta[-72:].tolist()
    set1 = load_geometry("calochallenge1_photons")
    some = set1.selected([0, 1, 2, 4])
    assert some.name == "calochallenge1_photons_layers0-2+4" and some.layer_ids == (0, 1, 2, 12)
    for geometry in (last, some, calogan.selected([0, 2]), calogan.selected(range(3))):
        assert load_geometry(geometry.name) == geometry
    assert calogan.selected([0, 1, 2]).hash == calogan.hash != calogan.selected([0, 1]).hash
    image = prepared_geometry(calogan, layers=[1], crop=(4, 4), sum_layers=True, pool=[(2, 2)])
    assert image.name == "calogan_layers1_crop4x4_image_pool2x2" and load_geometry(image.name) == image
    assert image.grid == (1, 2, 2)


@pytest.mark.parametrize("numbers", [[], [3], [-1], [1, 1], [2, 0], [0.5], [True]])
def test_layers_that_there_are_not(numbers: list) -> None:
    message = r"layers: expected numbers from 0 to 2 that increase \(geometry 'calogan' has 3 layers\), found \["
    with pytest.raises(GeometryError, match=message):
        load_geometry("calogan").selected(numbers)


@pytest.mark.parametrize("name", ["calogan_layers3", "calogan_layers2-1", "calogan_layers0+0", "calogan_layers0-9999"])
def test_names_of_layers_that_there_are_not(name: str) -> None:
    with pytest.raises(GeometryError, match="layers: expected numbers from 0 to 2"):
        load_geometry(name)


def test_cropped() -> None:
    gun = load_geometry("electron_gun_32")
    cropped = gun.cropped((30, 28))
    assert cropped.layer_shape(0) == (30, 28) and cropped.threshold_MeV == gun.threshold_MeV
    first, second = cropped.edges(0)
    assert (first[0], first[-1], second[0], second[-1]) == (-75, 75, -70, 70)
    pixels = gun.cropped((30, 30)).pooled((3, 3))
    assert pixels.name == "electron_gun_32_crop30x30_pool3x3" and load_geometry(pixels.name) == pixels
    assert pixels.layer_shape(0) == (10, 10) and np.diff(pixels.edges(0)[0]).tolist() == [15] * 10
    assert gun.cropped((32, 32)).hash == gun.hash
    assert load_geometry("ild").cropped((28, 30)).grid == (30, 28, 30)


@pytest.mark.parametrize(
    ("name", "window", "message"),
    [
        ("electron_gun_32", (31, 30), "32 x 32 cells: a window of 31 x 30 .* in their centre along the first index"),
        ("electron_gun_32", (30, 34), "window of 30 x 34 cells is too large along the second index"),
        ("electron_gun_32", (0, 30), "window must be two integers >= 1"),
        ("calogan", (2, 2), "no regular grid"),
        ("calochallenge2", (2, 2), "cropping needs a cartesian geometry"),
    ],
)
def test_windows_that_do_not_fit(name: str, window: tuple[int, int], message: str) -> None:
    with pytest.raises(GeometryError, match=message):
        load_geometry(name).cropped(window)


def test_the_core_of_ild_showers_is_around_the_beam() -> None:
    """15 x 15 of 30 x 30 cells around cell (15, 15), which the beam hits: half a cell off the middle of the layer."""
    ild = load_geometry("ild")
    core = ild.cropped((15, 15), centre=(15, 15))
    assert core.name == "ild_crop15x15at15x15" and load_geometry(core.name) == core
    assert core.grid == (30, 15, 15)
    for edges in core.edges(29):
        assert edges.tolist() == np.arange(-37.5, 40, 5).tolist()  # as much on both sides of the beam
    cube = prepared_geometry(ild, layers=range(15), crop=(15, 15), centre=(15, 15), pool=[(3, 5)])
    assert cube.name == "ild_layers0-14_crop15x15at15x15_pool3x5" and load_geometry(cube.name) == cube
    assert cube.grid == (15, 5, 3)


@pytest.mark.parametrize(
    ("window", "centre", "first"),
    [
        ((2, 4), None, (1, 1)),
        ((2, 4), (2, 3), (1, 1)),  # the middle of four cells is before cell 2, that of six before cell 3
        ((1, 3), (2, 3), (2, 2)),
        ((1, 3), (0, 1), (0, 0)),
        ((3, 5), (2, 3), (1, 1)),
        ((4, 6), (2, 3), (0, 0)),
    ],
)
def test_where_a_window_begins(window: tuple[int, int], centre: tuple[int, int] | None, first: tuple[int, int]) -> None:
    """Of 4 x 6 cells of 1 mm, whose edges are the numbers of the cells behind them."""
    grid = Geometry("grid", "cartesian", (Layer(0, range(5), range(7)),))
    made = grid.cropped(window, centre)
    for edges, start, kept in zip(made.edges(0), first, window, strict=True):
        assert edges.tolist() == list(range(start, start + kept + 1))
    central = all(2 * start == n - kept for start, kept, n in zip(first, window, (4, 6), strict=True))
    assert ("at" in made.name) == (not central)


@pytest.mark.parametrize(
    ("window", "centre", "message"),
    [
        (
            (15, 15),
            (6, 15),
            r"15 x 15 cells around cell 6 reaches over .* the first index; expected a centre from 7 to 22",
        ),
        ((15, 14), (15, 24), r"around cell 24 reaches over .* the second index; expected a centre from 7 to 23"),
        ((15, 31), (15, 15), r"too large along the second index; expected at most 30 cells"),
        ((15, 15), (-1, 15), r"centre must be two integers >= 0, found \(-1, 15\)"),
        ((15, 15), None, r"expected 30 cells less an even number, or the centre of the window"),
    ],
)
def test_centres_that_do_not_fit(window: tuple[int, int], centre: tuple[int, int] | None, message: str) -> None:
    with pytest.raises(GeometryError, match=message):
        load_geometry("ild").cropped(window, centre)


@pytest.mark.parametrize("name", ["ild_pool2x2at1x1", "ild_crop15x15at15", "ild_crop15x15at", "ild_at15x15"])
def test_names_of_windows_that_are_none(name: str) -> None:
    with pytest.raises(GeometryError, match="unknown geometry"):
        load_geometry(name)


def test_image_of_all_layers() -> None:
    image = load_geometry("ild").image((3, 3))
    assert image.grid == (1, 10, 10) and image.edges(0)[0].tolist() == np.arange(-77.5, 73, 15).tolist()
    with pytest.raises(GeometryError, match="30 x 30 cells cannot be pooled by 4 x 3"):
        load_geometry("ild").image((4, 3))
    with pytest.raises(GeometryError, match="no regular grid"):
        load_geometry("calogan").image((1, 1))
    shifted = Geometry("shifted", "cartesian", (Layer(0, (0, 1, 2), (0, 1)), Layer(1, (1, 2, 3), (0, 1))))
    with pytest.raises(GeometryError, match="not behind one another"):
        shifted.image((1, 1))


def test_unknown_name_suggests() -> None:
    with pytest.raises(GeometryError, match=r"did you mean 'calogan'\?"):
        load_geometry("calogn")


GOOD = "kind: cylindrical\nlayers:\n  - {n_alpha: 2, r_edges: [0, 1]}\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- 1", "expected keys"),
        ("kind: [", "not valid YAML"),
        (GOOD.replace("cylindrical", "sphere"), "kind must be one of"),
        (
            GOOD.replace("n_alpha", "n_alfa"),
            r"unknown key 'n_alfa' \(did you mean 'n_alpha'\?\)",
        ),
        (GOOD.replace("n_alpha: 2, ", ""), "missing key n_alpha"),
        (GOOD.replace("[0, 1]", "[1, 0]"), "increasing"),
        (GOOD.replace("[0, 1]", "[0, .nan]"), "finite"),
        (GOOD.replace("[0, 1]", "[-1, 1]"), "negative"),
        (GOOD.replace("[0, 1]", "[0, a]"), "must be a number"),
        (
            GOOD.replace("[0, 1]", "{start: 0, stop: 1, bins: 0}"),
            "bins must be an integer >= 1",
        ),
        (GOOD.replace("n_alpha: 2", "n_alpha: 2, z: 4"), "z must be a list"),
        (GOOD.replace("n_alpha: 2", "id: 1.5, n_alpha: 2"), "id must be an integer"),
        (GOOD + "  - {id: 0, n_alpha: 2, r_edges: [0, 1]}\n", "ids must differ"),
        (GOOD + "threshold_MeV: -1\n", "threshold_MeV"),
        ("kind: cylindrical\nlayers: []\n", "no layer"),
    ],
)
def test_malformed_yaml(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(GeometryError, match=message) as caught:
        load_geometry(path)
    assert "mine.yaml" in str(caught.value) and "\n" not in str(caught.value)


def test_user_yaml_and_missing_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(GOOD)
    assert (load_geometry(path).name, load_geometry(str(path)).n_voxels) == ("mine", 2)
    with pytest.raises(GeometryError, match="none.yaml: No such file"):
        load_geometry(tmp_path / "none.yaml")


def test_xml_particles_and_errors(tmp_path: Path) -> None:
    layers = '<Layer id="4" r_edges="0" n_bin_alpha="1"/><Layer id="7" r_edges="0,2,3" n_bin_alpha="4"/>'
    path = tmp_path / "bins.xml"
    path.write_text(f'<Bins><Bin name="a">{layers}</Bin><Bin name="b"><Layer id="1" r_edges="0,x"/></Bin></Bins>')
    for geometry in (load_geometry(path, particle="a"), load_geometry(f"{path}:a")):
        assert (geometry.layer_ids, geometry.n_voxels) == ((7,), 8)
    with pytest.raises(GeometryError, match="several particles"):
        load_geometry(path)
    with pytest.raises(GeometryError, match="no particle 'c'"):
        load_geometry(f"{path}:c")
    with pytest.raises(GeometryError, match="needs id, r_edges and n_bin_alpha"):
        load_geometry(f"{path}:b")
    path.write_text("<Bins>")
    with pytest.raises(GeometryError, match="not valid XML"):
        load_geometry(path)


def test_xml_particles_are_known_by_name_or_pid(tmp_path: Path) -> None:
    path, layer = tmp_path / "bins.xml", '<Layer id="0" r_edges="0,{}" n_bin_alpha="1"/>'
    path.write_text(f'<Bins><Bin pid="22">{layer.format(10)}</Bin><Bin pid="211">{layer.format(200)}</Bin></Bins>')
    with pytest.raises(GeometryError, match="several particles: 22, 211;"):
        load_geometry(path)
    assert load_geometry(f"{path}:22").r[0] == 5 and load_geometry(path, "211").r[0] == 100
    path.write_text(f'<Bins><Bin name="e" pid="11">{layer.format(1)}</Bin><Bin>{layer.format(2)}</Bin></Bins>')
    assert load_geometry(f"{path}:e") == load_geometry(f"{path}:11")
    with pytest.raises(GeometryError, match=r"several particles: e \(pid 11\), a <Bin> without name or pid"):
        load_geometry(path)


LAYER = '<Layer id="0" r_edges="0,1" n_bin_alpha="1"/>'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (f'<Bins><Bin name="a">{LAYER}</Bin><Bin name="a">{LAYER}</Bin></Bins>', "2 <Bin> elements are called 'a'"),
        (f'<Bins><Bin name="a">{LAYER}<Bin name="b">{LAYER}</Bin></Bin></Bins>', "not lie in one another, found b in a"),
        (f'<Bins><Bin name="a">{LAYER}{LAYER}</Bin></Bins>', "layer '0' is given more than once"),
        (f'<Bins><Bin name="a">{LAYER.replace("/>", ">")}{LAYER}</Layer></Bin></Bins>', "not lie in one another"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><Bins/>', "document type"),
        (f'<Bins><Bin name="a">{LAYER.replace("0,1", "0,1e400")}</Bin></Bins>', "finite"),
        (f"<Bins><Bin name='a'>{LAYER.replace('alpha=^1'.replace('^', chr(34)), 'alpha=^1000000000'.replace('^', chr(34)))}</Bin></Bins>", "n_bin_alpha must be an integer"),
        (f"<Bins><Bin name='a'>{LAYER.replace('id=^0'.replace('^', chr(34)), 'id=^' .replace('^', chr(34)) + '9' * 5000)}</Bin></Bins>", "needs id"),
        ('<?xml version="1.0" encoding="x-none"?><Bins/>', "not valid XML"),
        ('<?xml version="1.0" encoding="shift_jis"?><Bins/>', "not valid XML"),
        ("<Bins></Bins>", "expected <Bin> elements"),
        ("<Bins>" + "<Bin/>" * 10000 + "</Bins>", "no particle 'a'; has a <Bin> without name"),
    ],
)  # fmt: skip
def test_xml_that_is_not_unique_or_too_much(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "bins.xml"
    path.write_text(content)
    with pytest.raises(GeometryError, match=message) as caught:
        load_geometry(f"{path}:a")
    assert "bins.xml" in str(caught.value) and "\n" not in str(caught.value) and len(str(caught.value)) < 800


def test_xml_is_read_in_its_own_encoding(tmp_path: Path) -> None:
    path = tmp_path / "bins.xml"
    for encoding in ("ISO-8859-1", "UTF-8", "UTF-16"):
        text = f'<?xml version="1.0" encoding="{encoding}"?><!-- d\u00e9tecteur --><Bins><Bin name="\u00e9">{LAYER}</Bin></Bins>'
        path.write_bytes(text.encode(encoding))
        assert load_geometry(f"{path}:\u00e9").n_voxels == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD + "layers: []", "key 'layers' is given twice"),
        (GOOD.replace("n_alpha: 2", "n_alpha: 2, n_alpha: 3"), "key 'n_alpha' is given twice"),
        (GOOD.replace("n_alpha: 2", "n_alpha: 1000000000"), "n_alpha must be an integer"),
        (GOOD.replace("[0, 1]", "{start: 0, stop: 1, bins: 1000000000}"), "bins must be an integer"),
        (GOOD.replace("n_alpha: 2", "n_alpha: 2, repeat: 1000000000"), "repeat must be an integer"),
        (GOOD.replace("n_alpha: 2", "n_alpha: 50000, repeat: 9999"), "at most 2000000 voxels, found 499950000"),
        (GOOD + "  - {n_alpha: 2, repeat: 9999, r_edges: [0, 1]}\n" * 2, "at most 10000 layers"),
        (GOOD.replace("[0, 1]", "[0, 1" + "0" * 400 + "]"), "finite"),
        (GOOD.replace("n_alpha: 2", "n_alpha: 2, id: 1" + "0" * 400), "id must be an integer"),
        (GOOD.replace("n_alpha: 2", "n_alpha: 2, z: '12'"), "z must be a list"),
        (GOOD.replace("n_alpha: 2", "n_alpha: true"), "n_alpha must be an integer"),
        (GOOD.replace("[0, 1]", "[0, '1']"), "must be a number, found '1'"),
        (GOOD + "eta_axis: true", "eta_axis must be an integer"),
        (GOOD + "name: [a]", "name must be one line"),
        (GOOD + 'description: "a\\e[2J"', "description must be one line"),
        (GOOD.replace("cylindrical", "[cylindrical]"), "kind must be one of"),
        ("[" * 50_000, "nested too deeply"),
    ],
)
def test_yaml_that_is_not_unique_or_too_much(tmp_path: Path, text: str, message: str) -> None:
    test_malformed_yaml(tmp_path, text, message)


def test_names_that_are_none() -> None:
    for name in ("calogan\0", "9" * 5000, "calogan" + "_pool1x1" * 4000 + "!", "calogan" + "_pool1x1" * 50, ""):
        with pytest.raises(GeometryError) as caught:
            load_geometry(name)
        assert len(str(caught.value)) < 800
    with pytest.raises(GeometryError, match="expected a file, found a device"):
        load_geometry("/dev/zero.yaml" if Path("/dev/zero.yaml").exists() else _device())


def _device() -> str:
    """A device under a name that ends like a geometry file."""
    link = Path(tempfile.mkdtemp()) / "zero.yaml"
    link.symlink_to("/dev/zero")
    return str(link)


def test_names_out_of_files_open_nothing(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(GOOD)
    for name in (str(path), f"{path}_pool1x1", str(tmp_path / "none.xml")):
        with pytest.raises(GeometryError, match="unknown geometry"):
            load_geometry(name, files=False)
    assert load_geometry("calogan_pool2x1", files=False).n_voxels < 504


def test_import_is_light() -> None:
    heavy = "('torch', 'pandas', 'matplotlib', 'h5py')"
    code = f"import sys, calopipe.geometry; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
