"""Energy regressors: the published network, training, linearity and resolution, FRD of samples, geometry checks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from test_config import PRESETS, changed

from calopipe.config import RegressionConfig, RegressorStage, validate
from calopipe.config.parts import MODELS
from calopipe.errors import CheckpointError, ConfigError, GeometryError, MetricUnavailable
from calopipe.evaluation import evaluate_regression
from calopipe.evaluation.inputs import Readout
from calopipe.evaluation.regression import load_regressor, untrained
from calopipe.geometry import load_geometry
from calopipe.io import Showers, write_showers
from calopipe.metrics.resolution import core, energy_bins, mean_differences, response
from calopipe.models.base import Inputs
from calopipe.training import TrainingJob, train_regressor
from calopipe.workflow import Plan


def network(name: str, dim: int, **settings):
    torch.manual_seed(0)
    return MODELS.get(name)(validate(MODELS.config_class(name), settings, name), Inputs(dim))


# ---- networks -----------------------------------------------------------------------------------------------------
def test_published_regressor():
    """Layer table of the source: rows and total (it prints a layer norm's weights only, its total has the biases)."""
    model = network("regressor", 27000, grid=[30, 30, 30])
    sizes = [p.numel() for p in model.parameters()]
    assert sizes == [432, 2744, 2744, 13824, 216, 216, 4096, 200000, 100, 100, 1]
    assert sum(sizes) == 224_473
    features = model.features(torch.rand(3, 27000))
    assert features.shape == (3, 100) and model.energy(features).shape == (3,)


@pytest.mark.parametrize("geometry", ["calochallenge2", "calochallenge3", "electron_gun_32", "ild"])
@pytest.mark.parametrize("name", ["regressor", "regressor_plus"])
def test_other_regular_grids_fit(name: str, geometry: str):
    geo = load_geometry(geometry)
    model = network(name, geo.n_voxels, grid=list(geo.grid), periodic=geo.kind == "cylindrical")
    x = torch.rand(2, geo.n_voxels)
    assert torch.isfinite(model.energy(model.features(x))).all()


def test_angle_is_periodic():
    """The convolutions see, before the first cell in alpha, the last one, and after the last the first."""
    cells = torch.zeros(2, 3, 16, 5)
    cells[0, :, 0], cells[1, :, 15] = 1, 1
    model = network("regressor", 240, grid=[3, 16, 5], periodic=True)
    seen = []
    model.convolutions.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    model.features(cells.reshape(2, -1))
    assert torch.equal(seen[0][:, 0, :, 17], cells[:, :, 0]) and torch.equal(seen[0][:, 0, :, 0], cells[:, :, 15])


def test_the_shower_core_is_all_that_is_seen():
    """15 x 15 x 15 of 30 x 30 x 30 cells around cell (15, 15): what is outside changes nothing, and has no part in the scale."""
    core = {"window": [15, 15, 15], "centre": [12, 15, 15]}
    model = network("regressor", 27000, grid=[30, 30, 30], crop=core)
    assert [p.numel() for p in model.parameters()][:2] == [432, 7**3]  # (15 - 3) // 2 + 1 cells along each index
    assert model.hidden.in_features == 16 * 2**3 and model.config.crop.starts((30, 30, 30)) == (5, 8, 8)
    shower = torch.rand(1, 30, 30, 30)
    inside = torch.zeros(30, 30, 30, dtype=torch.bool)
    inside[5:20, 8:23, 8:23] = True
    outside = torch.where(inside, shower, 10 * shower)
    assert torch.equal(model.image(shower.reshape(1, -1))[0, 0], shower[0, 5:20, 8:23, 8:23])
    assert torch.equal(model.features(shower.reshape(1, -1)), model.features(outside.reshape(1, -1)))
    for corner in ((5, 8, 8), (19, 22, 22)):
        other = shower.clone()
        other[(0, *corner)] = 50
        assert not torch.equal(model.features(shower.reshape(1, -1)), model.features(other.reshape(1, -1)))
    model.fit_input(torch.where(inside, 2.0, 7.0).reshape(1, -1), torch.ones(1, 1))
    assert model.voxel_scale == 2


@pytest.mark.parametrize(
    ("crop", "message"),
    [
        (
            [15, 16, 16],
            r"crop: a window of 15 x 16 x 16 of the 30 x 30 x 30 cells cannot be in their centre along the layer index",
        ),
        (
            {"window": [15, 15, 15], "centre": [11, 3, 15]},
            r"around cell 3 reaches over .* first index; expected a centre from 7 to 22",
        ),
        ([16, 31, 16], r"too large along the first index; expected at most 30 cells"),
    ],
)
def test_a_core_that_is_not_inside_is_refused(crop, message):
    """When the study is read, with the key; and where a network is built."""
    study = changed("datasets", "eplus", "geometry", value="ild")
    study["datasets"]["eplus"]["source"] = {"kind": "local", "paths": ["showers.hdf5"]}
    study["regressors"]["net"]["model"] |= {"grid": None, "crop": crop}
    with pytest.raises(ConfigError, match=rf"^regressors.net: not for dataset 'eplus': .*{message}"):
        Plan.load(study, PRESETS)
    with pytest.raises(CheckpointError, match=message):
        network("regressor", 27000, grid=[30, 30, 30], crop=crop)


def test_a_core_is_no_whole_angle():
    with pytest.raises(ConfigError, match="crop: expected null with periodic: true"):
        network("regressor", 240, grid=[3, 16, 5], periodic=True, crop=[1, 2, 1])


def test_grid_that_does_not_fit_is_refused():
    with pytest.raises(CheckpointError, match="cannot hold showers of 504 voxels"):
        network("regressor", 504, grid=[30, 30, 30])
    with pytest.raises(GeometryError, match="the detector is no regular grid: its layers have no cells"):
        network("regressor", 504)
    regressor = MODELS.get("regressor")(MODELS.config_class("regressor")(), Inputs(60, layer_shapes=((4, 5),) * 3))
    assert regressor.grid == (3, 4, 5)
    with pytest.raises(GeometryError, match="no regular grid"):
        _ = load_geometry("calogan").grid
    assert load_geometry("calochallenge2").grid == (45, 16, 9)


# ---- linearity and resolution -------------------------------------------------------------------------------------
def test_core_by_hand():
    values = np.concatenate([np.arange(18.0), [100.0, 1000.0]])  # 18 of 20 are the core
    mu, sigma = core(values)
    assert mu == 8.5 and sigma == pytest.approx(np.sqrt((18**2 - 1) / 12))
    with pytest.raises(MetricUnavailable, match="needs 20 values, found 19"):
        core(np.arange(19.0))


def test_core_of_known_distributions():
    rng = np.random.default_rng(0)
    mu, sigma = core(rng.normal(10, 2, 200_000))
    assert mu == pytest.approx(10, abs=0.05) and sigma == pytest.approx(0.7893 * 2, rel=0.01)
    # exponential: the core is [0, -log 0.1], with mean 1 - 0.1 a / 0.9
    a = -np.log(0.1)
    assert core(rng.exponential(1, 200_000))[0] == pytest.approx(1 - 0.1 * a / 0.9, abs=0.01)


def test_bins_of_energy():
    discrete = np.repeat([256.0, 512.0, 1024.0], 30)
    edges = energy_bins(discrete, 8)
    assert len(edges) == 4 and np.histogram(discrete, edges)[0].tolist() == [30, 30, 30]
    continuous = np.random.default_rng(0).uniform(1e3, 2e4, 400)
    assert np.histogram(continuous, energy_bins(continuous, 4))[0].tolist() == [100, 100, 100, 100]
    assert len(energy_bins(continuous[:50], 8)) == 3  # no more bins than can be filled
    with pytest.raises(MetricUnavailable):
        energy_bins(continuous[:10], 4)


def test_response_of_a_known_calorimeter():
    rng = np.random.default_rng(0)
    incident = rng.uniform(1e3, 2e4, 20_000)
    predicted = incident * rng.normal(1, 0.1, len(incident))
    edges = energy_bins(incident, 5)
    found = response(predicted, incident, edges, rng)
    assert np.allclose(found.linearity, 1, atol=0.01) and np.allclose(found.resolution, 0.07893, rtol=0.05)
    pull = (found.resolution - 0.07893) / found.resolution_error
    assert np.abs(pull).max() < 4 and (found.n == 4000).all()
    other = response(1.02 * predicted, incident, edges, rng)
    wide = response(incident * rng.normal(1, 0.12, len(incident)), incident, edges, rng)
    assert mean_differences(found, other)["linearity"][0] == pytest.approx(0.02, abs=1e-6)
    assert mean_differences(found, other)["resolution"][0] == pytest.approx(0, abs=1e-6)
    value, error = mean_differences(found, wide)["resolution"]
    assert abs(value - 0.2) < 4 * error and error < 0.03


# ---- training and evaluation --------------------------------------------------------------------------------------
def write_geometry(path: Path, width: float = 12.0) -> Path:
    """A cube of 8 x 8 x 8 cells."""
    edges = {"start": -width, "stop": width, "bins": 8}
    layers = [{"id": 0, "repeat": 8, "z": [0, 5], "x_edges": edges, "y_edges": edges}]
    path.write_text(
        yaml.safe_dump({"kind": "cartesian", "description": "cube", "threshold_MeV": 0.1, "layers": layers})
    )
    return path


def showers(n: int, seed: int, width: float = 1.5, energy: float | None = None) -> Showers:
    """Blobs whose visible energy is 2 % of the incident energy, with sampling fluctuations; of 1 to 10 GeV, or one energy."""
    rng = np.random.default_rng(seed)
    incident = rng.uniform(1e3, 1e4, (n, 1)).astype(np.float32)
    if energy is not None:
        incident[:] = energy
    z, x, y = np.meshgrid(*[np.arange(8)] * 3, indexing="ij")
    profile = np.exp(-((x - 3.5) ** 2 + (y - 3.5) ** 2) / (2 * width**2)) * z * np.exp(-0.8 * z)
    profile = profile.ravel() / profile.sum()
    return Showers(incident, (0.2 * rng.poisson(0.1 * incident * profile)).astype(np.float32))


STAGE = {
    "model": {"name": "regressor", "norm": "batch", "channels": [4, 8, 4], "features": 12},
    "training": {"epochs": 12, "batch_size": 32, "lr": 3e-3, "device": "cpu"},
}


def train(paths, checkpoint: Path, history: Path) -> None:
    files = (paths["train"], paths["val"], str(paths["geometry"]), checkpoint, history, checkpoint.parent / "rolling")
    train_regressor(validate(RegressorStage, STAGE, "r"), "net", TrainingJob(*files, threads=1))


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("regressor")
    paths = {
        "geometry": write_geometry(folder / "cube.yaml"),
        "model": folder / "model.pt",
        "history": folder / "history.csv",
    }
    for i, (name, n, width) in enumerate(
        [("train", 600, 1.5), ("val", 100, 1.5), ("test", 400, 1.5), ("same", 400, 1.5), ("wide", 400, 2.0)]
    ):
        paths[name] = folder / f"{name}.hdf5"
        write_showers(paths[name], showers(n, i, width), load_geometry(paths["geometry"]))
    train(paths, paths["model"], paths["history"])
    return paths


def test_regressor_learns_the_energy(trained):
    network = load_regressor(trained["model"], load_geometry(trained["geometry"]), "cpu")
    test = showers(300, 9)
    with torch.no_grad():
        predicted = network.model.energy(network.model.features(torch.from_numpy(test.showers))).numpy()
    incident = test.incident_energies[:, 0]
    error = np.abs(predicted - incident).mean()
    guess = np.abs(incident.mean() - incident).mean()
    assert error < 0.25 * guess
    assert not (trained["model"].parent / "rolling").exists() or not any(
        (trained["model"].parent / "rolling").iterdir()
    )


def test_training_is_repeatable(trained, tmp_path):
    train(trained, tmp_path / "m.pt", tmp_path / "h.csv")
    first, second = (torch.load(p, weights_only=True)["model"] for p in (trained["model"], tmp_path / "m.pt"))
    for key in first:
        torch.testing.assert_close(first[key], second[key], rtol=1e-5, atol=1e-6)


def evaluate(trained, out: Path, samples: list[str], **settings) -> dict[tuple[str, str], dict]:
    config = validate(RegressionConfig, {"bins": 4, "bootstrap": 20, "untrained": 2, "device": "cpu", **settings}, "c")
    compared = (trained["test"], {name: trained[name] for name in samples}, Readout.of(trained["geometry"]))
    about, written = (
        {"checkpoint": trained["model"], "name": "net"},
        {"scores": out / "r.json", "curves": out / "r.npz"},
    )
    evaluate_regression(*compared, config=config, seed=0, **about, **written)
    return {(s["sample"], s["name"]): s for s in json.loads((out / "r.json").read_text())}


def test_evaluation_tells_a_good_from_a_bad_sample(trained, tmp_path):
    scores = evaluate(trained, tmp_path, ["same", "wide"])
    same, wide = scores["same", "frd/net"], scores["wide", "frd/net"]
    assert same["n"] == 200 and same["floor"] > 0 and abs(same["value"] - same["floor"]) < 5 * same["error"]
    assert wide["value"] > 5 * wide["floor"] and wide["value"] > same["value"]
    control = scores["wide", "frd/net/untrained"]
    assert len(control["extra"]["values"]) == 2 and control["value"] > control["floor"]
    for name in ("linearity", "resolution"):
        score = scores["same", f"energy_regression/net/{name}"]
        assert abs(score["value"]) < 5 * score["error"] and score["floor"] == 0
    assert scores["same", "energy_regression/net/linearity"]["extra"]["mean_relative_error_on_reference"] < 0.2
    curves = np.load(tmp_path / "r.npz")
    assert curves["edges"].shape == (5,) and curves["wide/resolution"].shape == (4,)
    assert np.allclose(curves["reference/linearity"], 1, atol=0.1) and (curves["same/linearity_error"] > 0).all()


def test_evaluation_is_repeatable_and_untrained_networks_differ(trained, tmp_path):
    first = evaluate(trained, tmp_path, ["same"], max_showers=100)
    assert first == evaluate(trained, tmp_path, ["same"], max_showers=100)
    assert first["same", "frd/net"]["n"] == 50
    network = load_regressor(trained["model"], load_geometry(trained["geometry"]), "cpu")
    a, b, again = (untrained(network, seed) for seed in (1, 2, 1))
    assert torch.equal(a.model.hidden.weight, again.model.hidden.weight)
    assert not torch.equal(a.model.hidden.weight, b.model.hidden.weight)
    assert torch.equal(a.model.energy_scale, network.model.energy_scale)


def test_too_few_showers_say_so(trained, tmp_path):
    scores = evaluate(trained, tmp_path, ["same"], max_showers=12)
    assert {k[1] for k, s in scores.items() if s["missing"]} == {k[1] for k in scores}
    assert "needs 20 reference" in scores["same", "frd/net"]["missing"]


def test_checkpoint_is_bound_to_its_geometry(trained, tmp_path):
    other = load_geometry(write_geometry(tmp_path / "other.yaml", width=10.0))
    with pytest.raises(CheckpointError, match=r"trained on geometry 'cube', but the samples are in 'other'"):
        load_regressor(trained["model"], other)


def test_layers_that_are_not_alike_are_refused_in_training(trained, tmp_path, sample):
    with pytest.raises(GeometryError, match="no regular grid"):
        train({"train": sample, "val": sample, "geometry": "calogan"}, tmp_path / "m", tmp_path / "h")
