"""Data that are no showers: columns given conditions, from raw files to splits, and their observables."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from itertools import chain
from pathlib import Path

import h5py
import numpy as np
import pytest
from test_config import PRESETS, ROOT, TINY

from calopipe.config import ColumnsDataset, validate
from calopipe.errors import ConfigError, DataError
from calopipe.io import Columns, file_info, read_columns, write_columns
from calopipe.io.columns import column_rows
from calopipe.io.prepare_columns import prepare_columns
from calopipe.observables import Moments, column_edges, fwhm, moments, summarise_columns
from calopipe.records.slices import Slice
from calopipe.sources import fetch, looking
from calopipe.workflow import Plan

SPLITS = ("train", "val", "test")


def toy(path: Path, n: int = 100, first: int = 0) -> Path:
    """Row k has x = k, y = -k / 2 and the condition energy = 1000 + k."""
    rows = np.arange(first, first + n, dtype=np.float64)
    with h5py.File(path, "w") as file:
        file["x"], file["y"], file["energy"] = rows, -rows[:, None] / 2, (1000 + rows).astype(int)
    return path


def outputs(folder: Path) -> dict[str, Path]:
    return {split: folder / f"{split}.hdf5" for split in SPLITS}


def rows_of(columns: Columns) -> list[int]:
    """The rows of :func:`toy`, which all columns must agree on."""
    x = columns.values["x"]
    np.testing.assert_allclose(columns.values["y"], -x / 2)
    np.testing.assert_allclose(columns.conditions["energy"], 1000 + x)
    return x.astype(int).tolist()


# ---- files -------------------------------------------------------------------------------------------------------------
def test_read_by_name(tmp_path: Path) -> None:
    found = read_columns(toy(tmp_path / "a"), ["y", "x"], ["energy"])
    assert rows_of(found) == list(range(100)) and found.x.dtype == np.float32
    assert found.x.shape == (100, 2) and found.x[3].tolist() == [-1.5, 3] and found.condition[3].tolist() == [1003]
    assert rows_of(found.select([5, 2])) == [5, 2]
    assert rows_of(read_columns(tmp_path / "a", ["x", "y"], ["energy"], rows=slice(10, 13))) == [10, 11, 12]
    assert read_columns(tmp_path / "a", ["x"], []).condition.shape == (100, 0)
    assert column_rows(tmp_path / "a", ["x", "energy"]) == 100


def test_round_trip(tmp_path: Path) -> None:
    written = Columns({"x": [1, 2, 3], "y": [4, 5, 6]}, {"e": [7, 8, 9]})
    write_columns(tmp_path / "a", written, attributes={"seed": 3, "source": None})
    found = read_columns(tmp_path / "a")
    assert list(found.values) == ["x", "y"] and list(found.conditions) == ["e"]
    np.testing.assert_array_equal(found.x, written.x)
    with h5py.File(tmp_path / "a") as file:
        attributes = dict(file.attrs)
        assert file["x"].shape == (3, 1)
    assert (attributes["kind"], attributes["columns"], attributes["conditions"]) == ("columns", "x y", "e")
    assert attributes["seed"] == 3 and "source" not in attributes
    for name in "bc":
        write_columns(tmp_path / name, written)
    assert (tmp_path / "b").read_bytes() == (tmp_path / "c").read_bytes()
    with pytest.raises(DataError, match="does not say which columns it holds"):
        read_columns(toy(tmp_path / "d"))


def test_columns_of_one_dataset(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a", "w") as file:
        file["data/all"], file["e"] = np.arange(12.0).reshape(4, 3), np.ones(4)
    places = {"x": {"key": "data/all", "column": 2}, "e_inc": {"key": "e", "unit": "GeV"}}
    settings = {
        "kind": "columns",
        "source": {"kind": "local", "paths": ["a"]},
        "columns": ["x"],
        "conditions": ["e_inc"],
    }
    layout = validate(ColumnsDataset, {**settings, "layout": places}, "d").layout
    found = read_columns(tmp_path / "a", ["x"], ["e_inc"], layout=layout)
    assert found.x.ravel().tolist() == [2, 5, 8, 11] and found.condition.ravel().tolist() == [1000] * 4


@pytest.mark.parametrize(
    ("values", "conditions", "message"),
    [
        ({}, {}, "expected one column or more"),
        ({"x": [1, np.nan]}, {}, "made: x: values must be finite; row 1 is nan"),
        ({"x": [1, 1e300]}, {}, "row 1 is inf"),
        ({"x": [1, 2]}, {"e": [1, 2, 3]}, r"made: e must have shape \(2,\) or \(2, 1\), found \(3,\)"),
        ({"x": [[1, 2]]}, {}, r"found \(1, 2\)"),
        ({"x": ["a"]}, {}, "must be numbers"),
        ({"x": [1]}, {"x": [1]}, "'x' is a column and a condition"),
    ],
)
def test_what_are_no_columns(values: dict, conditions: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Columns(values, conditions, "made")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("missing", "a: dataset 'x' is missing, found energy, y"),
        ("length", r"a: y must have shape \(100,\) or \(100, 1\), found \(3,\)"),
        ("nan", "a: x: values must be finite; row 7 is nan"),
        ("external", "external link"),
        ("unwritten", "never written"),
        ("matrix", r"a: x must have shape \(N, 1\), found \(100, 2\)"),
    ],
)
def test_bad_files(tmp_path: Path, change: str, message: str) -> None:
    toy(tmp_path / "a")
    with h5py.File(tmp_path / "a", "a") as file:
        if change == "nan":
            file["x"][7] = np.nan
        else:
            key = "y" if change == "length" else "x"
            del file[key]
            if change == "length":
                file["y"] = np.ones(3)
            elif change == "external":
                file["x"] = h5py.ExternalLink("b", "x")
            elif change == "unwritten":
                file.create_dataset("x", (100,), "f4", chunks=(10,))[:50] = 1
            elif change == "matrix":
                file["x"] = np.ones((100, 2))
    with pytest.raises(DataError, match=message) as caught:
        read_columns(tmp_path / "a", ["x", "y"], ["energy"])
    assert "\n" not in str(caught.value)


# ---- prepare -----------------------------------------------------------------------------------------------------------
def test_split_is_that_of_showers(tmp_path: Path) -> None:
    """Rows stay whole, every row is in one split, and the permutation is the one that showers get with the same seed."""
    from calopipe.io import Showers, read_showers, write_showers
    from calopipe.io.prepare import prepare

    raw = toy(tmp_path / "raw")
    summary = prepare_columns([raw], outputs(tmp_path), ["x", "y"], conditions=["energy"], seed=3)
    rows = {split: rows_of(read_columns(path)) for split, path in outputs(tmp_path).items()}
    assert [len(rows[split]) for split in SPLITS] == [70, 10, 20]
    assert sorted(chain(*rows.values())) == list(range(100))
    assert json.loads(json.dumps(summary)) == summary and summary["copies"] == 0
    train = summary["splits"]["train"]
    assert (train["n"], train["ranges"]["x"]) == (70, [min(rows["train"]), max(rows["train"])])
    assert summary["sources"]["raw"][0]["n_used"] == 100
    with h5py.File(tmp_path / "val.hdf5") as file:
        assert (file.attrs["split"], file.attrs["source"], file.attrs["seed"]) == ("val", "raw", 3)
    write_showers(tmp_path / "showers", Showers(np.arange(100.0) + 1, np.ones((100, 504))))
    (tmp_path / "other").mkdir()
    prepare(tmp_path / "showers", outputs(tmp_path / "other"), "calogan", seed=3)
    same = {s: read_showers(p).incident_energies[:, 0] - 1 for s, p in outputs(tmp_path / "other").items()}
    assert {split: found.astype(int).tolist() for split, found in same.items()} == rows


def test_several_files_and_a_reference(tmp_path: Path) -> None:
    raw = [toy(tmp_path / "a", 30), toy(tmp_path / "b", 30, 30)]
    given = {"conditions": ["energy"], "fractions": (0.6, 0.2, 0.2), "max_rows": 40}
    summary = prepare_columns(
        raw, outputs(tmp_path), ["x", "y"], reference_paths=[toy(tmp_path / "c", 50, 60)], **given
    )
    rows = {split: rows_of(read_columns(path)) for split, path in outputs(tmp_path).items()}
    assert sorted(rows["train"] + rows["val"]) == list(range(40)) and (len(rows["train"]), len(rows["val"])) == (30, 10)
    assert sorted(rows["test"]) == list(range(60, 100)) != rows["test"]
    assert [s["n_used"] for s in summary["sources"]["raw"]] == [30, 10]


def test_copies_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with h5py.File(tmp_path / "raw", "w") as file:
        file["x"], file["e"] = np.r_[np.arange(10.0), 3, 3, 0.0], np.r_[np.ones(12), 2]
    summary = prepare_columns([tmp_path / "raw"], outputs(tmp_path), ["x"], conditions=["e"])
    assert summary["copies"] == 2 and "2 of 13 rows are copies of others" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"columns": ["z"]}, "dataset 'z' is missing"),
        ({"conditions": ["eta"]}, "dataset 'eta' is missing"),
        ({"fractions": (0.5, 0.5, 0.5)}, "sum to 1"),
        ({"fractions": (0.999, 0.0005, 0.0005)}, "100 showers are too few for a val split|too few for a val split"),
        ({"max_rows": 0}, "no rows in"),
        ({"columns": ["one"]}, "column 'one' is 5 in all 70 training rows"),
    ],
)
def test_bad_arguments(tmp_path: Path, arguments: dict, message: str) -> None:
    raw = toy(tmp_path / "raw")
    with h5py.File(raw, "a") as file:
        file["one"] = np.full(100, 5.0)
    with pytest.raises(DataError, match=message):
        prepare_columns([raw], outputs(tmp_path), **{"columns": ["x"], **arguments})
    assert os.listdir(tmp_path) == ["raw"]
    with pytest.raises(DataError, match="listed twice"):
        prepare_columns([raw, raw], outputs(tmp_path), ["x"])
    with pytest.raises(DataError, match="being read"):
        prepare_columns([raw], {**outputs(tmp_path), "val": raw}, ["x"])
    assert os.listdir(tmp_path) == ["raw"]


# ---- settings and workflow ----------------------------------------------------------------------------------------------
def study_of(path: Path, **settings: object) -> dict:
    """The tiny study with a dataset of columns beside the one that it runs on."""
    study = copy.deepcopy(TINY)
    source = {"kind": "local", "paths": [str(path)]}
    study["datasets"]["toy"] = {"kind": "columns", "source": source, "columns": ["x", "y"], **settings}
    return study


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "rows"}, "datasets.toy: expected a dataset of kind showers .default. or columns"),
        ({"threshold_MeV": 1.0}, "datasets.toy.threshold_MeV: unknown key; known keys: columns, conditions, geometry"),
        ({"conditions": ["x"]}, "datasets.toy.conditions: expected other names than those of columns, found 'x'"),
        ({"columns": []}, "datasets.toy.columns: list should have at least 1"),
        ({"columns": ["x", "x"]}, "datasets.toy.columns: expected each entry once"),
        ({"columns": ["a/b"]}, "datasets.toy.columns.0"),
        ({"layout": {"z": {"key": "a"}}}, "datasets.toy.layout: no column 'z'"),
        ({"split": {"train": 0.9, "val": 0.1, "test": 0.0}}, "datasets.toy.split.test: expected above 0"),
    ],
)
def test_wrong_settings(tmp_path: Path, settings: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Plan.load(study_of(tmp_path / "raw", **settings), PRESETS)


def test_networks_learn_what_a_dataset_holds(tmp_path: Path) -> None:
    study = study_of(toy(tmp_path / "raw"), conditions=["eta"])
    Plan.load(study, PRESETS)
    study["runs"] = [{"dataset": "toy", "model": "inn"}]
    with pytest.raises(DataError, match="raw: dataset 'eta' is missing"):
        Plan.load(study, PRESETS)
    study["datasets"]["toy"]["conditions"] = ["energy"]
    with pytest.raises(
        ConfigError, match=r"models.inn.networks.flow.learns: dataset 'toy' holds columns; .* found 'showers'"
    ):
        Plan.load(study, PRESETS)
    study["datasets"]["toy"]["max_rows"] = 5
    with pytest.raises(ConfigError, match="datasets.toy.split: .* too few for a val split"):
        Plan.load(study, PRESETS)


def test_stage_settings_hold_what_they_depend_on(tmp_path: Path) -> None:
    plan = Plan.load(study_of(tmp_path / "raw", conditions=["energy"]), PRESETS)
    fetched, prepared = (plan.settings(s, dataset="toy", role="source") for s in ("fetch", "prepare"))
    assert fetched["kind"] == "columns" and fetched["columns"] == ["x", "y", "energy"]
    keys = {"kind", "columns", "conditions", "layout", "geometry", "shower_layout", "max_rows", "split", "sources"}
    assert set(prepared) == keys and prepared["geometry"] is None


def test_fetch_looks_at_columns(tmp_path: Path) -> None:
    source = {"kind": "local", "paths": [str(toy(tmp_path / "raw"))]}
    (found,) = fetch(source, tmp_path / "raw.json", look=looking(kind="columns", columns=["x", "energy"]))
    assert (found.n_showers, found.n_voxels) == (100, 2)
    with pytest.raises(DataError, match="'z' is missing"):
        fetch(source, tmp_path / "raw.json", look=looking(kind="columns", columns=["z"]))


def test_the_workflow_prepares_columns(tmp_path: Path) -> None:
    """`snakemake <results>/data/toy/summary.json`, from the configuration to the three files."""
    study = study_of(toy(tmp_path / "raw"), conditions=["energy"])
    study["results"] = str(tmp_path / "results")
    (tmp_path / "study.json").write_text(json.dumps(study))
    target = f"{study['results']}/data/toy/summary.json"
    command = [sys.executable, "-m", "snakemake", "--configfile", str(tmp_path / "study.json"), "-c1", target]
    done = subprocess.run([*command, "--directory", str(tmp_path), "-s", str(ROOT / "workflow" / "Snakefile")],
                          capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT / "src")})  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    folder = Path(target).parent
    assert json.loads(Path(target).read_text())["splits"]["test"]["n"] == 20
    assert sorted(chain(*(rows_of(read_columns(folder / f"{s}.hdf5")) for s in SPLITS))) == list(range(100))


# ---- observables ----------------------------------------------------------------------------------------------------------
def test_moments_by_hand() -> None:
    found = moments(np.array([1.0, 1, 1, 5]))  # mean 2, deviations -1 -1 -1 3
    assert (found.n, found.mean, found.std) == (4, 2, pytest.approx(np.sqrt(3)))
    assert found.skewness == pytest.approx((-3 + 27) / 4 / 3**1.5)
    assert found.kurtosis == pytest.approx((3 + 81) / 4 / 9 - 3)
    two = moments(np.array([0.0, 2]))
    assert (two.skewness, two.kurtosis) == (pytest.approx(0, abs=1e-15), pytest.approx(-2))


def test_moments_that_are_not_defined() -> None:
    assert moments(np.empty(0)) == Moments(0)
    assert moments(np.full(5, 0.1)) == Moments(5, pytest.approx(0.1), 0.0)
    with pytest.raises(DataError, match="1 of 2 values are not finite"):
        moments(np.array([0, np.inf]))


def test_moments_far_from_zero_do_not_cancel() -> None:
    x = np.random.default_rng(0).normal(size=10_000)
    near, far = moments(x), moments(x + 1e6)
    assert far.std == pytest.approx(near.std, rel=1e-6) and far.kurtosis == pytest.approx(near.kurtosis, abs=1e-4)


def test_fwhm_by_hand() -> None:
    edges = np.arange(6.0)
    assert fwhm(np.array([0, 2, 4, 2, 0]), edges) == 2  # half of 4 is reached at the centres 1.5 and 3.5
    assert fwhm(np.array([0, 0, 4, 0, 0]), edges) == 1  # halfway between neighbouring centres
    assert fwhm(np.array([0, 4, 4, 1, 0]), edges) == pytest.approx(1 + 0.5 + 2 / 3)
    # densities 0, 4, 1, 0 at 0.5, 2, 3.5, 4.5: half of 4 at 1.25 and 3
    assert fwhm(np.array([0, 8, 1, 0]), np.array([0.0, 1, 3, 4, 5])) == pytest.approx(1.75)
    for counts in ([4, 2, 0, 0, 0], [0, 0, 0, 3, 4], [0, 0, 0, 0, 0], [4, 4, 4, 4, 4]):
        assert fwhm(np.array(counts), edges) is None


@pytest.mark.parametrize("sigma", [0.01, 3.0])
def test_a_normal_distribution(sigma: float) -> None:
    x = np.random.default_rng(1).normal(5, sigma, 400_000)
    (found,) = summarise_columns({"x": x}, {}, column_edges({"x": x}, 60))
    assert found.fwhm == pytest.approx(2 * np.sqrt(2 * np.log(2)) * sigma, rel=0.03)
    assert found.moments.std == pytest.approx(sigma, rel=0.01)
    assert abs(found.moments.skewness) < 0.02 and abs(found.moments.kurtosis) < 0.04
    assert 0.99 * len(x) < found.counts.sum() < len(x) == found.moments.n


def test_slices_follow_conditions() -> None:
    energy = np.repeat([10.0, 20, 30], 1000)
    x = np.random.default_rng(2).normal(0, energy / 10)
    parts = [Slice("energy", 10, 10), Slice("energy", 15, 31)]
    edges = column_edges({"x": x, "y": -x}, 40, {"energy": energy}, [*parts, Slice("energy", 50, 60)])
    found = list(summarise_columns({"x": x, "y": -x}, {"energy": energy}, edges))
    assert [(f.column, f.part) for f in found] == [(c, p) for p in [None, *parts] for c in "xy"]
    assert [f.moments.n for f in found] == [3000, 3000, 1000, 1000, 2000, 2000]
    assert found[2].moments.std == pytest.approx(1, rel=0.1) and found[4].moments.std == pytest.approx(2.55, rel=0.1)
    np.testing.assert_array_equal(found[0].counts, found[1].counts[::-1])
    assert found[2].fwhm == pytest.approx(2.355, rel=0.25)  # by bins of its own: those of all rows are too wide for it
    empty = list(summarise_columns({"x": x, "y": -x}, {"energy": np.full(3000, 30.0)}, edges))[2]
    assert empty.moments == Moments(0) and empty.fwhm is None and not empty.counts.any()
    with pytest.raises(DataError, match="no condition 'eta'; there are energy"):
        column_edges({"x": x}, 40, {"energy": energy}, [Slice("eta", 0, 1)])
    with pytest.raises(DataError, match="no condition 'energy'; there are none"):
        list(summarise_columns({"x": x, "y": -x}, {}, edges))


def test_shower_files_are_not_changed(sample: Path) -> None:
    """A shower file has columns too, but says itself that it is one of showers."""
    assert file_info(sample).layout == "calochallenge"
    found = read_columns(sample, ["incident_energies"], [])
    assert len(found) == 7500
