"""Numbers of showers as columns: extra dimensions, layer energies, chosen voxels, and networks of some layers alone."""

from __future__ import annotations

import copy
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from test_columns import SPLITS, outputs
from test_config import PRESETS, ROOT
from test_workflow import copy_tree, planned

from calopipe.config.load import read_yaml
from calopipe.errors import CalopipeError, ConfigError, DataError
from calopipe.geometry import load_geometry
from calopipe.io import Showers, read_columns, read_showers, write_calogan, write_showers
from calopipe.io.prepare import prepare
from calopipe.io.prepare_columns import prepare_columns
from calopipe.preprocessing import Layout, build_chain
from calopipe.workflow import Plan

SAMPLE = ROOT / "resources/calogan_eplus_sample.hdf5"
GEOMETRY = "kind: cartesian\nthreshold_MeV: 1\nlayers: [{id: 0, repeat: 3, x_edges: [0, 1, 2], y_edges: [0, 1]}]\n"
#: three layers of two voxels; the last shower is empty above the threshold of 1 MeV
VOXELS = [[20, 10, 60, 0, 8, 2], [1, 0.5, 0, 0, 3, 0.9], [10, 0, 0, 30, 0, 0], [0.9, 0, 0, 0, 0, 0]]
INCIDENT = [200.0, 10.0, 50.0, 20.0]
BY_HAND = {
    "E_inc": INCIDENT,
    "u_1": [0.5, 0.4, 0.8, 0],
    "u_2": [0.3, 0.25, 0.25, 0],
    "u_3": [60 / 70, 0, 1, 0],
    "E_layer_0": [30, 1, 10, 0],
    "E_layer_2": [10, 3, 0, 0],
    "voxel_1": [10, 0, 0, 0],
    "voxel_3": [0, 0, 30, 0],
}


def showers_file(folder: Path) -> tuple[Path, str]:
    (folder / "three.yaml").write_text(GEOMETRY)
    geometry = str(folder / "three.yaml")
    write_showers(folder / "raw.hdf5", Showers(np.array(INCIDENT), np.array(VOXELS)), geometry)
    return folder / "raw.hdf5", geometry


def test_numbers_by_hand(tmp_path: Path) -> None:
    raw, geometry = showers_file(tmp_path)
    columns = [name for name in BY_HAND if name != "E_inc"]
    summary = prepare_columns(
        [raw], outputs(tmp_path), columns, conditions=["E_inc"], geometry=geometry, fractions=(1, 0, 0)
    )
    found = read_columns(tmp_path / "train.hdf5")
    assert list(found.values) == columns and list(found.conditions) == ["E_inc"]
    order = [INCIDENT.index(e) for e in found.conditions["E_inc"]]
    assert sorted(order) == [0, 1, 2, 3]
    for name in columns:
        assert found.values[name] == pytest.approx([BY_HAND[name][i] for i in order], rel=1e-6), name
    assert (summary["geometry"], summary["threshold_MeV"], summary["layout"]) == ("three", 1, None)
    assert summary["geometry_hash"] == load_geometry(geometry).hash and summary["sources"]["raw"][0]["n_used"] == 4


def test_rows_are_those_of_showers_and_numbers_those_of_preprocessing(tmp_path: Path) -> None:
    """The same permutation as for showers, from several files of two layouts; u as `layer_normalise` makes it."""
    sample = read_showers(SAMPLE, rows=slice(0, 60))
    write_showers(tmp_path / "a.hdf5", sample.select(slice(0, 25)), "calogan")
    write_calogan(tmp_path / "b.hdf5", sample.select(slice(25, 60)))
    raw = [tmp_path / "a.hdf5", tmp_path / "b.hdf5"]
    (tmp_path / "showers").mkdir()
    common = {"seed": 3, "fractions": (0.5, 0.2, 0.3)}
    prepare(raw, outputs(tmp_path / "showers"), "calogan", max_showers=50, **common)
    names = ["u_1", "u_2", "u_3", "E_layer_1", "voxel_354", "E_inc"]
    prepare_columns(raw, outputs(tmp_path), names, geometry="calogan", max_rows=50, **common)
    geometry = load_geometry("calogan")
    chain = build_chain(["layer_normalise"], Layout.of(geometry, 0.01), dim=504, cond_dim=1)
    for split in SPLITS:
        showers = read_showers(tmp_path / f"showers/{split}.hdf5", geometry=geometry)
        found = read_columns(tmp_path / f"{split}.hdf5").values
        assert found["E_inc"].tolist() == showers.incident_energies[:, 0].tolist()
        assert found["voxel_354"].tolist() == showers.showers[:, 354].tolist()
        np.testing.assert_allclose(found["E_layer_1"], showers.showers[:, 288:432].sum(1), rtol=1e-5)
        x, _, _ = chain(torch.from_numpy(showers.showers), torch.from_numpy(showers.incident_energies))
        np.testing.assert_allclose(np.column_stack([found[f"u_{i}"] for i in (1, 2, 3)]), x[:, 504:], rtol=2e-5)


def test_showers_of_a_mapped_layout_and_a_reference(tmp_path: Path) -> None:
    raw, geometry = showers_file(tmp_path)
    with h5py.File(tmp_path / "other.hdf5", "w") as file:
        file["e"], file["x"] = np.array(INCIDENT) / 1e3, np.array(VOXELS) * 2
    layout = {"energies": {"key": "e", "unit": "GeV"}, "showers": {"key": "x"}}
    for reference in (raw, tmp_path / "other.hdf5"):
        other = raw if reference.name == "other.hdf5" else tmp_path / "other.hdf5"
        paths = {"raw_paths": [other], "reference_paths": [reference]}
        with pytest.raises(DataError):  # one layout is that of all files of a dataset
            prepare_columns(
                outputs=outputs(tmp_path), columns=["E_layer_1"], geometry=geometry, shower_layout=layout, **paths
            )
    prepare_columns(
        [tmp_path / "other.hdf5"], outputs(tmp_path), ["E_layer_1"], geometry=geometry, shower_layout=layout,
        fractions=(1, 0, 0),
    )  # fmt: skip
    assert sorted(read_columns(tmp_path / "train.hdf5").values["E_layer_1"].tolist()) == [0, 0, 60, 120]


@pytest.mark.parametrize(
    "name", ["u_0", "u_4", "u_01", "E_layer_3", "voxel_6", "voxel_-1", "voxel", "e_inc", "x", "voxel_" + "9" * 20]
)
def test_numbers_that_showers_do_not_have(tmp_path: Path, name: str) -> None:
    raw, geometry = showers_file(tmp_path)
    before = sorted(p.name for p in tmp_path.iterdir())
    message = (
        f"geometry 'three' have no number '{name}'; expected E_inc, u_1 to u_3, E_layer_0 to E_layer_2, voxel_0 to"
    )
    with pytest.raises(DataError, match=message):
        prepare_columns([raw], outputs(tmp_path), ["E_layer_0", name], geometry=geometry)
    assert sorted(p.name for p in tmp_path.iterdir()) == before


# ---- settings -----------------------------------------------------------------------------------------------------------
def study_of(preset: str = "calogan_binn_columns_cpu") -> dict:
    return copy.deepcopy(read_yaml(PRESETS / f"{preset}.yaml"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"columns": ["u_1", "u_4"]}, "datasets.eplus_extra_dimensions.columns: showers of .*'calogan' have no number 'u_4'"),
        ({"conditions": ["energy"]}, "datasets.eplus_extra_dimensions.conditions: showers of .* have no number 'energy'"),
        ({"geometry": "calogann"}, r"datasets.eplus_extra_dimensions.geometry: unknown geometry .*did you mean 'calogan'"),
        ({"geometry": "calochallenge2"}, "eplus_extra_dimensions.geometry: 'calochallenge2' has 6480 voxels, but the show"),
        ({"layout": {"u_1": {"key": "a"}}}, "eplus_extra_dimensions.layout: expected shower_layout where a geometry is"),
        ({"geometry": None, "shower_layout": "lemurs"}, "eplus_extra_dimensions.shower_layout: expected a geometry"),
        ({"shower_layout": "lemur"}, "datasets.eplus_extra_dimensions.shower_layout.preset: no layout 'lemur' .did you mean 'lemurs'"),
        ({"max_rows": 3}, "datasets.eplus_extra_dimensions.split: .* too few"),
        ({"columns": ["E_layer_0", "u_1"]}, "step 'logit' needs fractions in .0, 1."),
        ({"conditions": ["u_2"], "columns": ["u_1", "u_3"]}, "step 'log_condition' needs the incident energy in MeV"),
    ],
)  # fmt: skip
def test_wrong_settings(changes: dict, message: str) -> None:
    study = study_of()
    study["datasets"]["eplus_extra_dimensions"] |= changes
    with pytest.raises(CalopipeError, match=message):
        Plan.load(study, PRESETS)


def test_stages_depend_on_the_geometry(tmp_path: Path) -> None:
    (tmp_path / "three.yaml").write_text(GEOMETRY)
    study = study_of()
    run = {"dataset": "eplus_extra_dimensions", "role": "source"}
    plan = Plan.load(study, PRESETS)
    fetched, prepared = (plan.settings(stage, **run) for stage in ("fetch", "prepare"))
    assert fetched["kind"] == "showers" and fetched["layout"] is None and "columns" not in fetched
    assert prepared["geometry_digest"] == load_geometry("calogan").hash[:12] and prepared["kind"] == "columns"
    assert plan.where("eplus_extra_dimensions")["geometry"] is None  # networks see rows of numbers
    assert plan.geometry("eplus_layer_2").name == "calogan_layers2"
    with pytest.raises(ConfigError, match="datasets.eplus_extra_dimensions.kind: expected showers here, found columns"):
        plan.showers("eplus_extra_dimensions")


def test_the_preset_is_a_study(tmp_path: Path) -> None:
    """A dry run of the preset by itself plans every stage of its three runs."""
    folder = copy_tree(tmp_path)
    found = planned(folder, config="presets/calogan_binn_columns_cpu.yaml")
    assert (found["prepare"], found["train"], found["judge_columns"], found["observables"]) == (3, 3, 2, 1)
