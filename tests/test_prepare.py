"""Preparing data: the split is an exact, seeded permutation; thresholds, scale, pooling; nothing half-written."""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path

import h5py
import numpy as np
import pytest

from calopipe.errors import DataError, GeometryError
from calopipe.geometry import Geometry, Layer, load_geometry
from calopipe.io import (
    Showers,
    crop_showers,
    file_hash,
    file_info,
    image_showers,
    pool_showers,
    read_showers,
    select_layers,
    write_calogan,
    write_showers,
)
from calopipe.io.prepare import prepare

V = 6
GEOMETRY = Geometry("tiny", "cartesian", (Layer(0, (0, 1, 2), (0, 1, 2, 3)),), threshold_MeV=0.5)


def make_file(path: Path, n: int, first: int = 0) -> Path:
    """Showers sorted by incident energy; row k has incident energy 1000 + k and a row of its own."""
    rows = np.arange(first, first + n)
    rng = np.random.default_rng(0)
    write_showers(path, Showers(1000.0 + rows, rows[:, None] + rng.uniform(0, 2, (n, V))))
    return path


def outputs(folder: Path) -> dict[str, Path]:
    return {split: folder / f"{split}.hdf5" for split in ("train", "val", "test")}


def numbers(folder: Path) -> dict[str, list[int]]:
    """Which rows of the raw file each split holds, in order."""
    files = outputs(folder)
    return {s: (read_showers(f).incident_energies[:, 0] - 1000).astype(int).tolist() for s, f in files.items()}


def test_split_is_a_permutation(tmp_path: Path) -> None:
    raw = make_file(tmp_path / "raw.hdf5", 100)
    summary = prepare(raw, outputs(tmp_path), GEOMETRY, seed=3)
    rows = numbers(tmp_path)
    assert [len(rows[s]) for s in ("train", "val", "test")] == [70, 10, 20]
    assert sorted(itertools.chain(*rows.values())) == list(range(100))
    assert rows["train"] != sorted(rows["train"])
    original, train = read_showers(raw), read_showers(tmp_path / "train.hdf5", geometry=GEOMETRY)
    expected = original.showers[rows["train"]]
    np.testing.assert_array_equal(train.showers, np.where(expected < 0.5, 0, expected))
    assert json.loads(json.dumps(summary)) == summary
    split = summary["splits"]["train"]
    assert (split["n"], split["sha256"]) == (70, file_hash(tmp_path / "train.hdf5"))
    assert split["incident_energy_MeV"] == [train.incident_energies.min(), train.incident_energies.max()]
    assert split["occupancy"] == pytest.approx((train.showers > 0).mean())
    assert split["mean_energy_MeV"] == pytest.approx(train.showers.sum(axis=1, dtype=float).mean())
    assert summary["sources"]["raw"] == [{"file": str(raw), "sha256": file_hash(raw), "n_used": 100}]
    assert sorted(os.listdir(tmp_path)) == ["raw.hdf5", "test.hdf5", "train.hdf5", "val.hdf5"]


def test_seed_decides(tmp_path: Path) -> None:
    raw = make_file(tmp_path / "raw.hdf5", 60)
    first, again, other = (
        prepare(raw, outputs(tmp_path / name), GEOMETRY, seed=seed)["splits"]["train"]["sha256"]
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert first == again != other
    a, c = numbers(tmp_path / "a"), numbers(tmp_path / "c")
    assert set(a["test"]) != set(c["test"])


def test_result_does_not_depend_on_bucket_or_piece_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = make_file(tmp_path / "raw.hdf5", 500)
    prepare(raw, outputs(tmp_path / "a"), GEOMETRY)
    monkeypatch.setattr("calopipe.io.shuffle.BUCKET_BYTES", 4 * V * 17)
    monkeypatch.setattr("calopipe.io.read.CHUNK_BYTES", 4 * V * 3)
    prepare(raw, outputs(tmp_path / "b"), GEOMETRY)
    assert numbers(tmp_path / "a") == numbers(tmp_path / "b")
    for split in ("train", "val", "test"):
        a, b = (read_showers(tmp_path / x / f"{split}.hdf5").showers for x in "ab")
        np.testing.assert_array_equal(a, b)


def test_order_is_uniform(tmp_path: Path) -> None:
    """Over many seeds each row is in the test split equally often (chi-square over 40 rows, 4 sigma)."""
    raw = make_file(tmp_path / "raw.hdf5", 40)
    hits = np.zeros(40)
    for seed in range(30):
        prepare(raw, outputs(tmp_path), GEOMETRY, fractions=(0.5, 0.25, 0.25), seed=seed, compression=0)
        hits[numbers(tmp_path)["test"]] += 1
    assert hits.sum() == 300
    chi2 = ((hits - 7.5) ** 2 / (7.5 * 0.75)).sum()
    assert chi2 < 39 + 4 * np.sqrt(2 * 39)


def test_several_files_and_max_showers(tmp_path: Path) -> None:
    files = [make_file(tmp_path / "a.hdf5", 30), make_file(tmp_path / "b.hdf5", 30, first=30)]
    prepare(files, outputs(tmp_path), GEOMETRY)
    assert sorted(itertools.chain(*numbers(tmp_path).values())) == list(range(60))
    summary = prepare(files, outputs(tmp_path), GEOMETRY, max_showers=40)
    assert sorted(itertools.chain(*numbers(tmp_path).values())) == list(range(40))
    assert [source["n_used"] for source in summary["sources"]["raw"]] == [30, 10]


def test_separate_reference(tmp_path: Path) -> None:
    raw, reference = make_file(tmp_path / "a.hdf5", 40), make_file(tmp_path / "b.hdf5", 25, first=40)
    summary = prepare(raw, outputs(tmp_path), GEOMETRY, fractions=(0.6, 0.2, 0.2), reference_paths=[reference])
    rows = numbers(tmp_path)
    assert (len(rows["train"]), len(rows["val"])) == (30, 10)
    assert sorted(rows["train"] + rows["val"]) == list(range(40))
    assert sorted(rows["test"]) == list(range(40, 65)) != rows["test"]
    assert file_info(tmp_path / "test.hdf5").attributes["source"] == "b.hdf5"
    assert summary["sources"]["reference"][0]["n_used"] == 25


def test_threshold_then_scale(tmp_path: Path) -> None:
    path = tmp_path / "raw.hdf5"
    write_showers(path, Showers([10.0, 10, 10], [[0.4, 0.5, 0.6, 0, 2, 4]] * 3))
    prepare(path, outputs(tmp_path), GEOMETRY, fractions=(1, 0, 0), energy_scale=0.5)
    train = read_showers(tmp_path / "train.hdf5")
    np.testing.assert_allclose(train.showers[0], [0, 0.25, 0.3, 0, 1, 2])
    assert train.incident_energies[0, 0] == 10
    attributes = file_info(tmp_path / "train.hdf5").attributes
    assert (attributes["threshold_MeV"], attributes["energy_scale"]) == (0.25, 0.5)
    assert (attributes["seed"], attributes["split"], attributes["geometry"]) == (0, "train", "tiny")
    assert file_info(tmp_path / "val.hdf5").n_showers == 0
    prepare(path, outputs(tmp_path), GEOMETRY, fractions=(1, 0, 0), threshold_MeV=0)
    assert read_showers(tmp_path / "train.hdf5").showers[0, 0] == np.float32(0.4)


def test_calogan_input_and_pooling(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    showers = Showers(rng.uniform(1e3, 1e5, 20), rng.exponential(1.0, (20, 504)))
    write_calogan(tmp_path / "raw.hdf5", showers)
    summary = prepare(tmp_path / "raw.hdf5", outputs(tmp_path), "calogan", pool=(2, 1), fractions=(1, 0, 0))
    geometry = load_geometry("calogan_pool2x1")
    train = read_showers(tmp_path / "train.hdf5", geometry=geometry)
    assert (summary["geometry"], train.n_voxels) == ("calogan_pool2x1", geometry.n_voxels)
    assert load_geometry(file_info(tmp_path / "train.hdf5").attributes["geometry"]) == geometry


def test_pool_showers_by_hand() -> None:
    showers = np.arange(1.0, 7.0)[None]  # rows [1 2 3], [4 5 6]
    assert pool_showers(showers, GEOMETRY, (2, 1)).tolist() == [[2.5, 3.5, 4.5]]
    assert pool_showers(showers, GEOMETRY, (1, 3)).tolist() == [[2, 5]]
    assert pool_showers(showers, GEOMETRY, (2, 3), reduce="sum").tolist() == [[21]]
    assert pool_showers(showers, GEOMETRY, (2, 2)).tolist() == [[2.5, 3.5, 4.5]]  # 3 columns cannot be paired
    in_turn = pool_showers(pool_showers(showers, GEOMETRY, (2, 1)), GEOMETRY.pooled((2, 1)), (1, 3))
    assert in_turn.tolist() == pool_showers(showers, GEOMETRY, (2, 3)).tolist()


def test_crop_showers_by_hand() -> None:
    geometry = Geometry("grid", "cartesian", tuple(Layer(i, range(4), range(6)) for i in range(2)))  # 2 x (3 x 5)
    showers = np.arange(60.0).reshape(2, 30)
    kept = crop_showers(showers, geometry, (1, 3))
    assert kept.tolist() == [[6, 7, 8, 21, 22, 23], [36, 37, 38, 51, 52, 53]]
    centre = geometry.cropped((1, 3))
    assert geometry.eta[6] == centre.eta[0] and geometry.phi[8] == centre.phi[2]
    assert crop_showers(showers, geometry, (2, 2), (1, 4)).tolist() == [
        [3, 4, 8, 9, 18, 19, 23, 24],
        [33, 34, 38, 39, 48, 49, 53, 54],
    ]
    corner = geometry.cropped((2, 2), (1, 4))
    for i, voxel in enumerate((3, 4, 8, 9, 18, 19, 23, 24)):
        assert (geometry.eta[voxel], geometry.phi[voxel]) == (corner.eta[i], corner.phi[i])


def test_the_core_is_around_the_beam(tmp_path: Path) -> None:
    """Photons of the ILD in 30 x 30 x 30 cells: 15 x 15 cells of the first 15 layers, the energy of cell (15, 15) in their middle."""
    cells = np.zeros((1, 30, 30, 30), dtype=np.float32)
    cells[0, 3, 15, 15], cells[0, 3, 8, 22], cells[0, 3, 7, 15], cells[0, 3, 15, 23], cells[0, 20, 15, 15] = (
        1,
        2,
        4,
        8,
        16,
    )
    write_showers(tmp_path / "raw.hdf5", Showers(np.array([[500.0]]), cells.reshape(1, -1)), "ild")
    window = {"window": [15, 15], "centre": [15, 15]}
    given = {"fractions": (1, 0, 0), "layers": list(range(15)), "crop": window}
    summary = prepare(tmp_path / "raw.hdf5", outputs(tmp_path), "ild", **given)
    core = load_geometry("ild_layers0-14_crop15x15at15x15")
    assert summary["crop"] == window and (summary["geometry"], summary["geometry_hash"]) == (core.name, core.hash)
    found = read_showers(tmp_path / "train.hdf5", geometry=core).showers.reshape(15, 15, 15)
    expected = np.zeros((15, 15, 15))
    expected[3, 7, 7], expected[3, 0, 14] = 1, 2  # what is one cell further out is lost
    np.testing.assert_array_equal(found, expected)


def test_layers_are_selected_by_hand() -> None:
    geometry = load_geometry("calogan")
    showers = np.arange(1008.0).reshape(2, 504)
    assert select_layers(showers, geometry, [2])[1].tolist() == list(range(504 + 432, 1008))
    assert select_layers(showers, geometry, [0, 2])[0].tolist() == [*range(288), *range(432, 504)]
    with pytest.raises(GeometryError, match="has 504 voxels"):
        select_layers(showers[:, 1:], geometry, [2])


def test_layers_come_before_all_else(tmp_path: Path) -> None:
    """The second layer alone: cells below the threshold, the window, sums of pairs, twice the energy; also of the reference."""
    geometry = str(two_layers(tmp_path / "two.yaml"))
    for name, first in (("raw", 1.0), ("reference", 11.0)):
        cells = np.concatenate([np.full(8, 50.0), [9, first, 0.6, 9, 9, 3, 0.7, 9]])[None]
        write_showers(tmp_path / f"{name}.hdf5", Showers(np.array([[500.0]]), cells), geometry)
    given = {"fractions": (1, 0, 0), "layers": [1], "crop": (2, 2), "pool": (2, 1), "pool_by": "sum", "energy_scale": 2}
    summary = prepare(
        tmp_path / "raw.hdf5", outputs(tmp_path), geometry, reference_paths=[tmp_path / "reference.hdf5"], **given
    )
    made = load_geometry(f"{geometry}_layers1_crop2x2_pool2x1")
    assert summary["layers"] == [1] and summary["geometry_hash"] == made.hash
    for split, expected in (("train", [8, 0]), ("test", [28, 0])):
        found = read_showers(tmp_path / f"{split}.hdf5", geometry=made)
        assert found.showers.tolist() == [expected] and found.incident_energies.tolist() == [[500]]


def test_image_showers_by_hand() -> None:
    geometry = Geometry("grid", "cartesian", tuple(Layer(i, range(3), range(5)) for i in range(2)))  # 2 x (2 x 4)
    showers = np.arange(16.0)[None]  # rows [0 1 2 3], [4 5 6 7] and [8 9 10 11], [12 13 14 15]
    assert image_showers(showers, geometry, (1, 1)).tolist() == [[8, 10, 12, 14, 16, 18, 20, 22]]
    assert image_showers(showers, geometry, (2, 2)).tolist() == [[8 + 10 + 16 + 18, 12 + 14 + 20 + 22]]


def test_crop_comes_before_pooling(tmp_path: Path) -> None:
    showers = np.zeros((4, 1024), dtype=np.float32)
    showers[:, 0] = 5  # outside
    showers[:, [33, 34, 65]] = [1, 2, 0.25]  # cells (1, 1), (1, 2), (2, 1): the corner pixel
    showers[:, 32 * 16 + 16] = 3
    write_showers(tmp_path / "raw.hdf5", Showers(np.full((4, 1), 800.0), showers), "electron_gun_32")
    arguments = {"threshold_MeV": 0.5, "energy_scale": 9, "crop": (30, 30), "pool": (3, 3), "fractions": (1, 0, 0)}
    summary = prepare(tmp_path / "raw.hdf5", outputs(tmp_path), "electron_gun_32", **arguments)
    found = read_showers(tmp_path / "train.hdf5", geometry=load_geometry("electron_gun_32_crop30x30_pool3x3")).showers
    assert summary["crop"] == [30, 30] and found.shape == (4, 100)
    np.testing.assert_allclose(found[0, 0], 3, rtol=1e-6)  # sums of cells, those below 0.5 MeV cut
    np.testing.assert_allclose(found[0].sum(), 6, rtol=1e-6)


def two_layers(path: Path) -> Path:
    """Two layers of 2 x 4 cells behind one another."""
    layer = "{id: 0, repeat: 2, x_edges: [0, 1, 2], y_edges: [0, 1, 2, 3, 4]}"
    path.write_text(f"kind: cartesian\nthreshold_MeV: 1\nlayers: [{layer}]\n")
    return path


def test_layers_are_summed_and_the_threshold_cuts_the_image(tmp_path: Path) -> None:
    """Cells of 0.6 are below the threshold of 1, their sum is not; pooling by sums comes before the cut, too."""
    geometry = str(two_layers(tmp_path / "two.yaml"))
    cells = [[0.6, 0.5, 2, 0, 0, 0.3, 0.3, 0.1], [0.6, 0.4, 1, 0, 3, 0.3, 0.3, 0.1]]
    showers = Showers(np.array([[10.0]], np.float32), np.array([cells], np.float32).reshape(1, 16))
    write_showers(tmp_path / "raw.hdf5", showers, geometry)

    def prepared(**settings) -> tuple[list, dict]:
        summary = prepare(
            tmp_path / "raw.hdf5", outputs(tmp_path), geometry, fractions=(1, 0, 0), sum_layers=True, **settings
        )
        made = load_geometry(geometry + summary["geometry"].removeprefix("two"))
        assert made.hash == summary["geometry_hash"]
        return read_showers(tmp_path / "train.hdf5", geometry=made).showers[0].round(5).tolist(), summary

    image, summary = prepared()
    assert image == pytest.approx([1.2, 0, 3, 0, 3, 0, 0, 0]) and summary["geometry"] == "two_image"
    assert summary["sum_layers"] and summary["pool"] == []
    assert prepared(pool=(2, 1), pool_by="sum")[0] == pytest.approx([4.2, 1.5, 3.6, 0])
    assert prepared(pool=(2, 1))[0] == pytest.approx([2.1, 0, 1.8, 0])
    in_turn, summary = prepared(pool=[(2, 1), (1, 2), (2, 1)], pool_by="sum", energy_scale=2, threshold_MeV=4)
    assert in_turn == pytest.approx([11.4, 0]) and summary["geometry"] == "two_image_pool2x1_pool1x2"
    assert prepared(crop=(2, 2), threshold_MeV=0.5)[0] == pytest.approx([0.9, 3, 0.6, 0.6])


def test_pooling_in_turn_by_hand(tmp_path: Path) -> None:
    """Cells are cut before they are merged where layers are not summed; means of means of equal numbers are means."""
    geometry = str(two_layers(tmp_path / "two.yaml"))
    cells = np.arange(16, dtype=np.float32)[None]
    write_showers(tmp_path / "raw.hdf5", Showers(np.array([[100.0]], np.float32), cells), geometry)
    given = {"threshold_MeV": 3, "fractions": (1, 0, 0), "pool": [(2, 1), (1, 2)]}
    summary = prepare(tmp_path / "raw.hdf5", outputs(tmp_path), geometry, **given)
    found = read_showers(tmp_path / "train.hdf5").showers[0].tolist()
    assert found == [(0 + 0 + 4 + 5) / 4, (0 + 3 + 6 + 7) / 4, (8 + 9 + 12 + 13) / 4, (10 + 11 + 14 + 15) / 4]
    assert summary["pool"] == [[2, 1], [1, 2]] and summary["pool_by"] == "mean"


def test_pooling_keeps_the_sum_of_calogan() -> None:
    geometry = load_geometry("calogan")
    showers = np.random.default_rng(0).exponential(1.0, (5, 504))
    pooled = pool_showers(showers, geometry, (2, 2), reduce="sum")
    np.testing.assert_allclose(pooled.sum(axis=1), showers.sum(axis=1))
    assert pooled.shape == (5, geometry.pooled((2, 2)).n_voxels)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fractions": (0.5, 0.5, 0.5)}, "sum to 1"),
        ({"fractions": (0.5, 0.5)}, "three numbers"),
        ({"fractions": (0.98, 0.01, 0.01)}, "10 showers are too few for a val split of fraction 0.01"),
        ({"threshold_MeV": -1}, "threshold_MeV"),
        ({"energy_scale": 0}, "energy_scale"),
        ({"max_showers": 0}, "no showers in"),
        ({"pool": (7, 7)}, "divides no layer"),
        ({"layers": [1]}, "layers: expected numbers from 0 to 0"),
        ({"crop": (1, 2)}, "cannot be in their centre"),
        ({"geometry": "calogan"}, "6 voxels per shower, but geometry 'calogan' has 504"),
    ],
)
def test_bad_arguments(tmp_path: Path, arguments: dict, message: str) -> None:
    raw = make_file(tmp_path / "raw.hdf5", 10)
    with pytest.raises((DataError, GeometryError), match=message):
        prepare(raw, outputs(tmp_path), **{"geometry": GEOMETRY, **arguments})
    assert os.listdir(tmp_path) == ["raw.hdf5"]


def test_bad_input_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = make_file(tmp_path / "good.hdf5", 10)
    bad = tmp_path / "bad.hdf5"
    bad.write_bytes(good.read_bytes()[:-100])
    with pytest.raises(DataError, match="bad.hdf5: truncated"):
        prepare([good, bad], outputs(tmp_path), GEOMETRY)
    with pytest.raises(DataError, match="no input files"):
        prepare([], outputs(tmp_path), GEOMETRY)
    with pytest.raises(DataError, match="outputs must be"):
        prepare(good, {"train": tmp_path / "train.hdf5"}, GEOMETRY)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("calopipe.io.shuffle.np.save", full)
    with pytest.raises(DataError, match="No space left on device"):
        prepare(good, outputs(tmp_path), GEOMETRY)
    assert sorted(os.listdir(tmp_path)) == ["bad.hdf5", "good.hdf5"]


def test_a_threshold_above_every_voxel_is_refused(tmp_path: Path) -> None:
    raw, outputs = tmp_path / "raw.hdf5", {s: tmp_path / f"{s}.hdf5" for s in ("train", "val", "test")}
    with h5py.File(raw, "w") as file:
        file["incident_energies"], file["showers"] = np.full((40, 1), 1e3), np.ones((40, 504))
    with pytest.raises(DataError, match="every voxel of the train showers is below the threshold of 5000 MeV"):
        prepare(raw, outputs, "calogan", threshold_MeV=5000)
    assert [path.name for path in tmp_path.iterdir()] == ["raw.hdf5"]
