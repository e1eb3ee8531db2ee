"""Which showers are used: chosen incident energies, and what becomes of negative voxels."""

from __future__ import annotations

import copy
import json
import logging
import os
from pathlib import Path

import h5py
import numpy as np
import pytest
from test_config import PRESETS, changed

from calopipe.config import Dataset
from calopipe.config.base import validate
from calopipe.errors import ConfigError, DataError
from calopipe.geometry import Geometry, Layer
from calopipe.io import Showers, file_info, read_showers, write_showers
from calopipe.io.prepare import prepare
from calopipe.workflow import Plan

V = 6
GEOMETRY = Geometry("tiny", "cartesian", (Layer(0, (0, 1, 2), (0, 1, 2, 3)),), threshold_MeV=0.5)


def beams(path: Path, energies: list[float], n: int, first: int = 1) -> Path:
    """`n` showers of each energy in turn; row k holds k + first in every voxel."""
    rows = np.arange(n * len(energies)) + first
    write_showers(path, Showers(np.tile(np.float32(energies), n), np.tile(rows[:, None], (1, V))))
    return path


def outputs(folder: Path) -> dict[str, Path]:
    return {split: folder / f"{split}.hdf5" for split in ("train", "val", "test")}


def found(folder: Path) -> tuple[list[float], list[int]]:
    """Incident energies, and first voxels, of all splits, in the order of the raw file."""
    all_of = [read_showers(path) for path in outputs(folder).values()]
    energies = np.concatenate([s.incident_energies[:, 0] for s in all_of])
    rows = np.concatenate([s.showers[:, 0] for s in all_of])
    order = np.argsort(rows)
    return energies[order].tolist(), rows[order].astype(int).tolist()


def test_discrete_energies(tmp_path: Path) -> None:
    """Energies are those of float32 files, within 0.1 %; the showers stay with theirs."""
    raw = beams(tmp_path / "raw", [256, 512.0001, 1024], 20)
    prepare(raw, outputs(tmp_path), GEOMETRY, energies_MeV=[1024, 256.1])
    energies, rows = found(tmp_path)
    assert energies == [256, 1024] * 20
    assert rows == [k for k in range(1, 61) if k % 3 != 2]


def test_a_range_holds_its_ends(tmp_path: Path) -> None:
    raw = beams(tmp_path / "raw", [256, 512, 1024, 2048], 10)
    summary = prepare(raw, outputs(tmp_path), GEOMETRY, energies_MeV={"low": 512.0, "high": 1024.0})
    assert set(found(tmp_path)[0]) == {512, 1024}
    assert summary["energies_MeV"] == {"values": [], "low": 512, "high": 1024, "outside": False}
    assert summary["sources"]["raw"][0]["n_used"] == 20
    for split in summary["splits"].values():
        assert split["incident_energy_MeV"] in ([512, 1024], [512, 512], [1024, 1024])
    prepare(raw, outputs(tmp_path), GEOMETRY, energies_MeV={"high": 600.0})
    assert set(found(tmp_path)[0]) == {256, 512}
    json.dumps(summary)


def test_in_source_and_reference_over_several_files(tmp_path: Path) -> None:
    """An energy may be in one of the files only; `max_showers` counts what is chosen."""
    raw = [beams(tmp_path / "a", [256, 512], 10), beams(tmp_path / "b", [512, 1024], 10, 21)]
    reference = beams(tmp_path / "c", [1024, 256, 4096], 5, 41)
    used = {"energies_MeV": [256, 1024], "reference_paths": [reference]}
    summary = prepare(raw, outputs(tmp_path), GEOMETRY, fractions=(0.8, 0.2, 0), **used)
    assert sorted(found(tmp_path)[0]) == [256] * 15 + [1024] * 15
    assert [s["n_used"] for s in summary["sources"]["raw"]] == [10, 10]
    summary = prepare(raw, outputs(tmp_path), GEOMETRY, fractions=(0.8, 0.2, 0), max_showers=13, **used)
    assert [s["n_used"] for s in summary["sources"]["raw"]] == [10, 3]
    assert summary["splits"]["test"]["n"] == 10


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ([300], "raw has the incident energy 300 MeV; there are 256, 512 MeV"),
        ([256, 0.512], "has the incident energy 0.512 MeV"),
        ({"low": 600.0}, "has an incident energy from 600 MeV to any; there are 256, 512 MeV"),
        ({"low": 300.0, "high": 400.0}, "from 300 MeV to 400 MeV"),
    ],
)
def test_nothing_left_is_said(tmp_path: Path, chosen: object, message: str) -> None:
    raw = beams(tmp_path / "raw", [256, 512], 10)
    with pytest.raises(DataError, match=f"prepare: energies_MeV: no shower of .*{message}") as caught:
        prepare(raw, outputs(tmp_path), GEOMETRY, energies_MeV=chosen)
    assert "\n" not in str(caught.value) and os.listdir(tmp_path) == ["raw"]


def test_settings_of_a_selection() -> None:
    base = {"source": {"kind": "local", "paths": ["a"]}, "geometry": "calogan"}
    one = validate(Dataset, {**base, "energies_MeV": [256, 8192.0]}, "d")
    assert one.energies_MeV is not None and one.energies_MeV.values == [256, 8192]
    again = validate(Dataset, one.model_dump(mode="json"), "d")
    assert again == one
    assert validate(Dataset, {**base, "energies_MeV": {"low": 5.0}}, "d").energies_MeV.low == 5
    for bad, message in (
        ([], "either a list of energies or a range"),
        ([256, 256], "once"),
        ([-1], "greater"),
        ({"values": [1], "low": 1}, "either a list"),
        ({"low": 5, "high": 1}, r"d\.energies_MeV\.low: expected at most high \(1\), found 5"),
        ({"lowest": 5}, "did you mean 'low'"),
        ("256", "energies_MeV"),
    ):
        with pytest.raises(ConfigError, match=message) as caught:
            validate(Dataset, {**base, "energies_MeV": bad}, "d")
        assert str(caught.value).startswith("d.energies_MeV")


def test_sizes_are_those_of_the_selection(tmp_path: Path) -> None:
    """What `snakemake -n` says: showers left for each split, blocks of training showers, energies that are not there."""
    energies = np.repeat(np.float32([1e3, 2e3]), 300)
    path = tmp_path / "raw.hdf5"
    write_showers(path, Showers(energies, np.ones((600, 504))))
    study = changed(
        "datasets", "eplus", value={"source": {"kind": "local", "paths": [str(path)]}, "geometry": "calogan"}
    )
    study["models"]["inn"]["training_showers"] = 210
    study["runs"] = [{"dataset": "eplus", "model": "inn", "seeds": [0]}]
    Plan.load(study, PRESETS)
    few = copy.deepcopy(study)
    few["datasets"]["eplus"]["energies_MeV"] = {"high": 1e3}
    Plan.load(few, PRESETS)  # 300 left, 210 of them for training
    few["models"]["inn"]["training_showers"] = 211
    with pytest.raises(ConfigError, match="training split of dataset 'eplus' has at most 210"):
        Plan.load(few, PRESETS)
    few["datasets"]["eplus"]["energies_MeV"] = [4000.0]
    with pytest.raises(
        ConfigError, match=r"datasets.eplus.energies_MeV: source: no shower of .* 4000 MeV; there are 1000"
    ):
        Plan.load(few, PRESETS)
    Plan.load(few, PRESETS, files=False)


# ---- negative voxels -------------------------------------------------------------------------------------------------
def noisy(path: Path) -> Path:
    voxels = np.ones((40, V), dtype=np.float32)
    voxels[::2, 1] = -0.25
    voxels[5, 2:4] = -2
    with h5py.File(path, "w") as file:
        file["incident_energies"], file["showers"] = np.arange(40.0)[:, None] + 1, voxels
    return path


def test_negative_voxels_are_refused_by_default(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="raw: showers: values must be finite and >= 0; row 0, voxel 1 is -0.25"):
        prepare(noisy(tmp_path / "raw"), outputs(tmp_path), GEOMETRY)


def test_negative_voxels_are_cut_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "calopipe")
    summary = prepare(noisy(tmp_path / "raw"), outputs(tmp_path), GEOMETRY, negative="zero", threshold_MeV=0)
    assert "22 negative voxels (-9 MeV in all) are set to zero" in caplog.text
    total = 0
    for split, path in outputs(tmp_path).items():
        showers = read_showers(path)
        rows = showers.incident_energies[:, 0].astype(int) - 1
        zeros = (showers.showers == 0).sum(axis=1)
        assert zeros.tolist() == [2 if row == 5 else int(row % 2 == 0) for row in rows]
        expected = sum(-4.0 if row == 5 else -0.25 * (row % 2 == 0) for row in rows)
        attributes = file_info(path).attributes
        assert (attributes["negative_voxels"], attributes["negative_MeV"]) == (zeros.sum(), pytest.approx(expected))
        assert summary["splits"][split]["negative_voxels"] == zeros.sum()
        total += int(zeros.sum())
    assert total == 22 and summary["negative"] == "zero"


def test_zeroing_hides_nothing_else(tmp_path: Path) -> None:
    for bad, text in ((-np.inf, "-inf"), (np.nan, "nan")):
        path = noisy(tmp_path / "raw")
        with h5py.File(path, "a") as file:
            file["showers"][37, 4] = bad
        with pytest.raises(DataError, match=f"row 37, voxel 4 is {text}"):
            prepare(path, outputs(tmp_path), GEOMETRY, negative="zero")


def test_files_without_negative_voxels_say_nothing_of_them(tmp_path: Path) -> None:
    raw = beams(tmp_path / "raw", [256], 20)
    summary = prepare(raw, outputs(tmp_path), GEOMETRY)
    assert "negative_voxels" not in file_info(tmp_path / "train.hdf5").attributes
    assert summary["splits"]["train"]["negative_voxels"] == 0
