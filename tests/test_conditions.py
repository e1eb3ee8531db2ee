"""Conditions by name: read on request, written, kept with their showers; the range that a network was trained on."""

from __future__ import annotations

import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest

from calopipe.config import Dataset
from calopipe.config.base import validate
from calopipe.errors import ConfigError, DataError
from calopipe.geometry import Geometry, Layer
from calopipe.io import (
    Showers,
    ShowerWriter,
    file_info,
    iter_showers,
    read_conditions,
    read_showers,
    write_showers,
)
from calopipe.io.conditions import TrainedRange
from calopipe.io.prepare import prepare

V = 6
GEOMETRY = Geometry("tiny", "cartesian", (Layer(0, (0, 1, 2), (0, 1, 2, 3)),), threshold_MeV=0.5)
ANGLES = ("incident_theta", "incident_phi")


def make_showers(n: int, first: int = 0) -> Showers:
    """Row k has incident energy 1000 + k, angles k / 100 and -k / 100, and voxels of k + 1 MeV."""
    rows = np.arange(first, first + n, dtype=np.float64)
    return Showers(
        1000 + rows,
        np.tile(rows[:, None] + 1, (1, V)),
        "made",
        {ANGLES[0]: rows / 100, ANGLES[1]: -rows[:, None] / 100},
    )


def rows_of(showers: Showers) -> np.ndarray:
    """The rows that showers of :func:`make_showers` are, each found from four columns that must agree."""
    rows = showers.incident_energies[:, 0] - 1000
    np.testing.assert_allclose(showers.conditions[ANGLES[0]], rows / 100, rtol=1e-6)
    np.testing.assert_allclose(showers.conditions[ANGLES[1]], -rows / 100, rtol=1e-6)
    np.testing.assert_allclose(showers.showers[:, 0], rows + 1)
    return rows.astype(int)


def test_showers_keep_their_conditions() -> None:
    showers = make_showers(5)
    assert showers.conditions[ANGLES[1]].shape == (5,) and showers.conditions[ANGLES[1]].dtype == np.float32
    assert rows_of(showers.select([3, 1])).tolist() == [3, 1]
    assert rows_of(showers.select(slice(1, 3))).tolist() == [1, 2]
    assert showers.condition.shape == (5, 3) and showers.condition.dtype == np.float32
    np.testing.assert_array_equal(showers.condition[2], np.float32([1002, 0.02, -0.02]))
    assert rows_of(pickle.loads(pickle.dumps(showers))).tolist() == list(range(5))
    assert Showers([1.0], [[1.0]]).condition.tolist() == [[1.0]]


@pytest.mark.parametrize(
    ("conditions", "message"),
    [
        ({"theta": [1, np.nan]}, "made: theta: values must be finite; row 1 is nan"),
        ({"theta": [1, 2, 3]}, r"made: theta must have shape \(2,\) or \(2, 1\), found \(3,\)"),
        ({"theta": [[1, 2], [3, 4]]}, r"found \(2, 2\)"),
        ({"theta": ["a", "b"]}, "made: theta must be numbers"),
        ({"showers": [1, 2]}, "made: expected the name of a further condition, found 'showers'"),
        ({"": [1, 2]}, "found ''"),
    ],
)
def test_conditions_are_checked(conditions: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Showers([1, 2], [[1], [1]], "made", conditions)


def test_written_and_read_by_name(tmp_path: Path) -> None:
    path, showers = tmp_path / "a.hdf5", make_showers(50)
    write_showers(path, showers, GEOMETRY)
    with h5py.File(path) as file:
        assert {key: file[key].shape for key in ANGLES} == dict.fromkeys(ANGLES, (50, 1))
    assert read_showers(path).conditions == {}
    assert rows_of(read_showers(path, conditions=ANGLES)).tolist() == list(range(50))
    assert rows_of(read_showers(path, rows=[7, 0, 41], conditions=ANGLES)).tolist() == [7, 0, 41]
    pieces = list(iter_showers(path, chunk_rows=7, rows=slice(3, 30, 2), conditions=ANGLES))
    assert np.concatenate([rows_of(p) for p in pieces]).tolist() == list(range(3, 30, 2))
    found = read_conditions(path, ("incident_phi",))
    assert found.shape == (50, 2) and found.dtype == np.float32
    np.testing.assert_array_equal(found[:, 1], showers.conditions["incident_phi"])
    np.testing.assert_array_equal(read_conditions(path), showers.incident_energies)


def test_a_column_of_any_number_type(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a", "w") as file:
        file["incident_energies"], file["showers"] = np.ones((3, 1)), np.ones((3, V))
        file["pdg"] = np.array([22, -11, 211])
    assert read_conditions(tmp_path / "a", ["pdg"])[:, 1].tolist() == [22, -11, 211]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (None, "a: dataset 'theta' is missing, found incident_energies, showers"),
        (np.ones((3, 2)), r"a: theta must have shape \(3,\) or \(3, 1\), found \(3, 2\)"),
        (np.ones(4), r"found \(4,\)"),
        (np.array([0, np.inf, 1]), "a: theta: values must be finite; row 1 is inf"),
        (np.array([b"x", b"y", b"z"]), "a: dataset 'theta' must hold numbers"),
    ],
)
def test_what_is_no_condition(tmp_path: Path, values: np.ndarray | None, message: str) -> None:
    with h5py.File(tmp_path / "a", "w") as file:
        file["incident_energies"], file["showers"] = np.ones((3, 1)), np.ones((3, V))
        if values is not None:
            file["theta"] = values
    for read in (
        lambda: read_showers(tmp_path / "a", conditions=("theta",)),
        lambda: read_conditions(tmp_path / "a", ("theta",)),
    ):
        with pytest.raises(DataError, match=message) as caught:
            read()
        assert "\n" not in str(caught.value)
    assert len(read_showers(tmp_path / "a")) == 3  # who does not ask for it does not stumble over it


def test_a_condition_leads_nowhere_out_of_the_file(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "secret", "w") as file:
        file["theta"] = np.ones(3)
    with h5py.File(tmp_path / "a", "w") as file:
        file["incident_energies"], file["showers"] = np.ones((3, 1)), np.ones((3, V))
        file["theta"] = h5py.ExternalLink("secret", "theta")
    with pytest.raises(DataError, match="external link"):
        read_conditions(tmp_path / "a", ("theta",))


def test_the_writer_wants_what_it_was_told(tmp_path: Path) -> None:
    showers = make_showers(4)
    with ShowerWriter(tmp_path / "a", GEOMETRY, conditions=ANGLES) as out:
        out.append(showers.select(slice(0, 2)))
        out.append_arrays(showers.condition[2:], showers.showers[2:])
    assert rows_of(read_showers(tmp_path / "a", conditions=ANGLES)).tolist() == [0, 1, 2, 3]
    with (
        pytest.raises(DataError, match="with the conditions incident_theta, incident_phi, found none"),
        ShowerWriter(tmp_path / "b", GEOMETRY, conditions=ANGLES) as out,
    ):
        out.append(Showers([1.0], np.ones((1, V))))
    with (
        pytest.raises(DataError, match=r"columns incident energies, incident_theta, found .* \(1, 1\)"),
        ShowerWriter(tmp_path / "b", GEOMETRY, conditions=ANGLES[:1]) as out,
    ):
        out.append_arrays([[1.0]], np.ones((1, V)))
    with pytest.raises(DataError, match="found 'incident_energies'"):
        ShowerWriter(tmp_path / "b", GEOMETRY, conditions=("incident_energies",))


def test_prepare_keeps_them_in_row_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two files, several buckets, all splits: every shower still has its own angles."""
    monkeypatch.setattr("calopipe.io.shuffle.BUCKET_BYTES", 4 * V * 13)
    monkeypatch.setattr("calopipe.io.read.CHUNK_BYTES", 4 * V * 5)
    for name, first in (("a", 0), ("b", 40)):
        write_showers(tmp_path / name, make_showers(40, first))
    files = {split: tmp_path / f"{split}.hdf5" for split in ("train", "val", "test")}
    summary = prepare([tmp_path / "a", tmp_path / "b"], files, GEOMETRY, conditions=ANGLES, max_showers=70)
    rows = {split: rows_of(read_showers(path, conditions=ANGLES)) for split, path in files.items()}
    assert sorted(np.concatenate(list(rows.values())).tolist()) == list(range(70))
    assert summary["conditions"] == list(ANGLES)
    train = rows["train"] / 100
    found = summary["splits"]["train"]["conditions"]
    np.testing.assert_allclose(found["incident_theta"], [train.min(), train.max()], rtol=1e-6)
    np.testing.assert_allclose(found["incident_phi"], [-train.max(), -train.min()], rtol=1e-6)
    one = prepare([tmp_path / "a", tmp_path / "b"], files, GEOMETRY, conditions=ANGLES[1:])
    assert list(one["splits"]["val"]["conditions"]) == ["incident_phi"]
    assert list(read_showers(files["val"], conditions=ANGLES[1:]).conditions) == ["incident_phi"]
    with pytest.raises(DataError, match="a: dataset 'incident_eta' is missing"):
        prepare(tmp_path / "a", files, GEOMETRY, conditions=("incident_eta",))


def test_settings_name_conditions() -> None:
    base = {"source": {"kind": "local", "paths": ["a"]}, "geometry": "calogan"}
    assert validate(Dataset, base, "d").conditions == []
    assert validate(Dataset, {**base, "conditions": list(ANGLES)}, "d").conditions == list(ANGLES)
    for bad in (["incident_energies"], ["a", "a"], ["a/b"], [""], "incident_theta"):
        with pytest.raises(ConfigError, match=r"d\.conditions"):
            validate(Dataset, {**base, "conditions": bad}, "d")


# ---- the range that a network was trained on --------------------------------------------------------------------------
def test_the_range_covers_every_condition() -> None:
    rng = np.random.default_rng(0)
    cond = np.column_stack([rng.uniform(1e3, 1e5, 5000), rng.uniform(0.8, 2.2, 5000), rng.uniform(-3, 3, 5000)])
    trained = TrainedRange.of(cond, ANGLES)
    assert list(trained.conditions) == list(ANGLES) and trained.n == 5000
    assert trained.conditions["incident_theta"] == (cond[:, 1].min(), cond[:, 1].max())
    assert trained.complaint(cond[::-1]) is None and trained.complaint(cond[:, :1]) is None
    outside = cond[:100].copy()
    outside[:, 1] = rng.uniform(2.5, 2.6, 100)
    found = trained.complaint(outside)
    assert found is not None and "100 of 100 values of incident_theta (2.5" in found and "incident_phi" not in found
    assert "incident energies" not in found and "(0.8" in found
    outside[:, 0] = 5e5
    both = trained.complaint(outside)
    assert both is not None and "incident energies" in both and "incident_theta" in both and "\n" not in both
    one_far = cond.copy()
    one_far[0, 2] = 30
    assert "1 of 5000 values of incident_phi" in (trained.complaint(one_far) or "")
    one_near = cond.copy()
    one_near[0, 2] = 3.05
    assert trained.complaint(one_near) is None


def test_a_fixed_angle_is_a_range_too() -> None:
    trained = TrainedRange.of([[1e3, 1.57]] * 2000, ("theta",))
    assert trained.complaint([[1e3, 1.5701]]) is None
    assert "1 of 1 values of theta (1.6 to 1.6) are outside" in (trained.complaint([[1e3, 1.6]]) or "")


def test_the_range_travels_with_the_file(tmp_path: Path) -> None:
    trained = TrainedRange.of([[1e3, 0.5], [2e3, -0.5]], ("incident_theta",))
    write_showers(tmp_path / "a", make_showers(2), GEOMETRY, attributes=trained.attributes)
    assert TrainedRange.from_attributes(file_info(tmp_path / "a").attributes) == trained
    old = {"trained_energies_MeV": [1e3, 2e3], "trained_showers": 5}
    assert TrainedRange.from_attributes(old) == TrainedRange(1e3, 2e3, 5)
    for bad in ([1.0], [2.0, 1.0], "x", [np.nan, 1.0]):
        assert TrainedRange.from_attributes({**old, "trained_range_incident_theta": bad}) is None
