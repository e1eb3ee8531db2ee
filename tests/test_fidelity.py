"""Fidelity, Frechet distance and FID: values computed by hand or in closed form, floors, growth under distortion."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from calopipe.config import HistogramConfig, validate
from calopipe.errors import ConfigError, DataError, MetricUnavailable, NumericsError
from calopipe.evaluation import evaluate_metrics, evaluate_observables
from calopipe.evaluation.inputs import Readout
from calopipe.evaluation.samples import load_sample
from calopipe.geometry import load_geometry
from calopipe.io import Showers, read_showers, write_showers
from calopipe.metrics.base import BinnedCounts, Sample
from calopipe.metrics.fid import FidConfig, fid
from calopipe.metrics.fidelity import FidelityConfig, fidelity, jensen_shannon
from calopipe.metrics.frechet import distance_of_samples, frechet_distance, frechet_estimate

EDGES = np.linspace(0, 1, 11)


def make_sample(n: int, shift: float = 0.0, seed: int = 0) -> Sample:
    """Two layers that share their value, and one observable of the whole shower; no voxels."""
    rng = np.random.default_rng(seed)
    layer, total = np.clip(rng.beta(4, 4, (2, n)) + shift, 0, 0.999)
    index = {"activity/0": layer, "activity/1": layer, "E_tot": total}
    bins = {k: (v * 10).astype(int) for k, v in index.items()}
    counts = {k: BinnedCounts(EDGES, np.bincount(v, minlength=10), n) for k, v in bins.items()}
    return Sample(n, 0.01, {}, {"shower_bins": lambda: bins, "histograms": lambda: counts})


# ---- Jensen-Shannon divergence and the score ----------------------------------------------------------------------
def test_divergence_by_hand():
    assert jensen_shannon(np.array([1, 3]), np.array([2, 6])) == 0
    assert jensen_shannon(np.array([5, 0]), np.array([0, 1])) == 1
    # P = (1, 0), Q = (1/2, 1/2): M = (3/4, 1/4); KL(P||M) = log2(4/3), KL(Q||M) = (log2(2/3) + log2(2)) / 2
    expected = 0.5 * np.log2(4 / 3) + 0.25 * (np.log2(2 / 3) + 1)
    assert jensen_shannon(np.array([4, 0]), np.array([7, 7])) == pytest.approx(expected, rel=1e-12)
    for bad in (np.zeros(2), np.array([1, 2, 3]), np.array([-1, 2])):
        with pytest.raises(MetricUnavailable):
            jensen_shannon(np.array([1, 1]), bad)


def test_score_is_the_weighted_sum_with_the_layers_averaged():
    a, b = make_sample(200), make_sample(300, 0.1, seed=1)
    config = FidelityConfig(weights={"activity": 3, "E_tot": 1}, bootstrap=10, splits=2)
    found = {m.name: m for m in fidelity(a, b, np.random.default_rng(0), config)}
    parts = {}
    for k in ("activity/0", "activity/1", "E_tot"):
        counts = [np.bincount(s.shower_bins[k], minlength=10) for s in (a, b)]
        parts[k] = jensen_shannon(*counts)
    assert found["fidelity/activity"].value == pytest.approx((parts["activity/0"] + parts["activity/1"]) / 2)
    assert found["fidelity"].value == pytest.approx(0.75 * parts["activity/0"] + 0.25 * parts["E_tot"])
    assert found["fidelity"].extra["weights"] == {"activity": 0.75, "E_tot": 0.25} and found["fidelity"].n == 200


def test_what_leaves_the_range_counts():
    a, b = make_sample(200), make_sample(200)
    b.shower_bins["E_tot"][:100] = -1
    config = FidelityConfig(weights={"E_tot": 1}, bootstrap=2, splits=1)
    value = fidelity(a, b, np.random.default_rng(0), config)[0].value
    # half of Q is in a bin where P is empty, the rest differs from P by the fluctuation of its first half
    assert value > 0.3


def test_floor_is_reached_by_a_second_sample_and_the_score_grows_with_distortion():
    rng, config = np.random.default_rng(5), FidelityConfig(bootstrap=30, splits=40)
    pulls, values = [], []
    for seed in range(12):
        m = fidelity(make_sample(2000, seed=2 * seed), make_sample(1000, seed=2 * seed + 1), rng, config)[0]
        pulls.append((m.value - m.floor) / m.error)
        values.append(m.value)
    assert abs(np.mean(pulls)) < 1 and max(pulls) < 5
    worse = [fidelity(make_sample(2000), make_sample(1000, s, 1), rng, config)[0] for s in (0.02, 0.05, 0.1)]
    assert np.mean(values) < worse[0].value < worse[1].value < worse[2].value
    assert worse[2].value > worse[2].floor + 10 * worse[2].error


def test_error_knows_that_layers_go_together():
    """Two equal layers carry the information of one: their mean has the error of one."""
    a, b = make_sample(500), make_sample(500, 0.05, seed=1)
    config = FidelityConfig(weights={"activity": 1}, bootstrap=300, splits=1)
    two = fidelity(a, b, np.random.default_rng(0), config)[0].error
    for s in (a, b):
        del s.shower_bins["activity/1"]
    one = fidelity(a, b, np.random.default_rng(1), config)[0].error
    assert two == pytest.approx(one, rel=0.25)


def test_weights_that_make_no_score_are_refused():
    with pytest.raises(MetricUnavailable, match="no histograms of depth"):
        fidelity(make_sample(50), make_sample(50), np.random.default_rng(0), FidelityConfig(weights={"depth": 1}))
    for weights, reason in (({"nothing": 1}, "weights.nothing"), ({"E_tot": 0}, "one weight"), ({}, "one weight")):
        with pytest.raises(ConfigError, match=reason):
            validate(FidelityConfig, {"weights": weights}, "")


def test_few_showers_give_no_score():
    with pytest.raises(MetricUnavailable, match="needs 20 showers, found 19"):
        fidelity(make_sample(19), make_sample(50), np.random.default_rng(0), FidelityConfig())


# ---- from files ---------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def files(sample: Path, tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("fidelity")
    data = read_showers(sample, rows=slice(0, 900))
    parts = {"reference": slice(0, 450), "second": slice(450, 900)}
    for name, rows in parts.items():
        write_showers(folder / f"{name}.hdf5", Showers(data.incident_energies[rows], data.showers[rows]), "calogan")
    for name, factor in (("a", 1.03), ("b", 1.1)):
        showers = Showers(data.incident_energies[450:], data.showers[450:] * np.float32(factor))
        write_showers(folder / f"{name}.hdf5", showers, "calogan")
    others = {name: folder / f"{name}.hdf5" for name in ("second", "a", "b")}
    evaluate_observables(
        folder / "reference.hdf5",
        others,
        Readout.of("calogan", 0.01),
        config=HistogramConfig(bins=20),
        out=folder / "histograms.npz",
    )
    return {**others, "reference": folder / "reference.hdf5", "histograms": folder / "histograms.npz"}


def test_bins_of_the_showers_add_up_to_the_histograms(files):
    geometry = load_geometry("calogan")
    for name in ("reference", "a"):
        loaded = load_sample(name, files[name], Readout.of(geometry, 0.01), histograms=files["histograms"])
        assert {"E_ratio", "E_layer/0", "activity/2"} <= set(loaded.shower_bins)
        for key, index in loaded.shower_bins.items():
            counts = np.bincount(index[index >= 0], minlength=len(loaded.histograms[key].counts))
            assert np.array_equal(counts, loaded.histograms[key].counts), key
        voxels = loaded.voxel_counts.sum(axis=0)
        assert np.array_equal(voxels[:-1], loaded.histograms["voxels"].counts)
        assert voxels.sum() == loaded.histograms["voxels"].total


def test_fidelity_of_real_showers(files, tmp_path):
    samples = {name: files[name] for name in ("second", "a", "b")}
    evaluate_metrics(
        files["reference"],
        samples,
        Readout.of("calogan", 0.01),
        metrics=[{"metric": "fidelity"}],
        histograms=files["histograms"],
        seed=0,
        out=tmp_path / "m",
    )
    scores = {s["sample"]: s for s in json.loads((tmp_path / "m").read_text()) if s["name"] == "fidelity"}
    second = scores["second"]
    assert abs(second["value"] - second["floor"]) < 5 * second["error"]
    assert second["value"] < scores["a"]["value"] < scores["b"]["value"]


# ---- Frechet distance ---------------------------------------------------------------------------------------------
def test_distance_of_gaussians_in_closed_form():
    assert frechet_distance([0.0], [[1.0]], [3.0], [[4.0]]) == pytest.approx(9 + (1 - 2) ** 2)
    mu, diagonal = np.array([1.0, -2.0, 0.5]), np.array([0.5, 2.0, 9.0])
    value = frechet_distance(np.zeros(3), np.eye(3), mu, np.diag(diagonal))
    assert value == pytest.approx((mu**2).sum() + ((1 - np.sqrt(diagonal)) ** 2).sum(), rel=1e-12)
    # two covariances that do not commute, 2 x 2: tr sqrt(M) = sqrt(tr M + 2 sqrt(det M)), M = S1 S2
    s1, s2 = np.array([[2.0, 0.7], [0.7, 1.0]]), np.array([[1.0, -0.4], [-0.4, 3.0]])
    product = s1 @ s2
    root = np.sqrt(np.trace(product) + 2 * np.sqrt(np.linalg.det(product)))
    assert frechet_distance([0, 0], s1, [0, 0], s2) == pytest.approx(np.trace(s1 + s2) - 2 * root, rel=1e-12)
    assert frechet_distance([0, 0], s1, [0, 0], s1) == pytest.approx(0, abs=1e-12)


def test_distance_is_symmetric_and_survives_covariances_without_full_rank():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(20, 40)), 1 + rng.normal(size=(15, 40))  # fewer rows than features
    forth, back = distance_of_samples(a, b), distance_of_samples(b, a)
    assert forth == pytest.approx(back, rel=1e-9) and np.isfinite(forth) and forth > 0
    assert frechet_distance([0, 0], np.diag([1, 0]), [0, 0], np.diag([0, 1])) == pytest.approx(2)
    assert frechet_distance([0, 0], np.zeros((2, 2)), [3, 4], np.zeros((2, 2))) == 25


def test_bad_moments_are_refused():
    with pytest.raises(NumericsError, match="do not fit"):
        frechet_distance([0, 0], np.eye(2), [0, 0, 0], np.eye(3))
    with pytest.raises(NumericsError, match="not finite"):
        frechet_distance([np.nan], [[1]], [0], [[1]])
    with pytest.raises(NumericsError, match="below zero"):
        frechet_distance([0, 0], np.diag([1, -0.5]), [0, 0], np.eye(2))


def test_estimate_sits_on_its_floor_or_on_the_truth():
    rng = np.random.default_rng(1)
    reference, same = rng.normal(size=(2000, 4)), rng.normal(size=(2000, 4))
    found = frechet_estimate(reference, same, rng)
    assert found.n == 1000 and abs(found.value - found.floor) < 4 * np.hypot(found.error, found.floor_error)
    assert 0 < found.whole < found.value  # a larger sample has less bias
    shifted = frechet_estimate(reference, 0.5 + 2 * same, rng)
    truth = 4 * (0.25 + 1)
    assert abs(shifted.value - truth) < 5 * shifted.error + shifted.floor and shifted.error < 0.1 * truth
    with pytest.raises(MetricUnavailable, match="needs 20 reference"):
        frechet_estimate(reference[:19], same, rng)


# ---- Frechet inception distance -----------------------------------------------------------------------------------
class Pooled(torch.nn.Module):
    """Stands for Inception: mean, upper left corner and maximum of the first colour, in units of 255."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        image = x[:, 0] / 255.0
        return torch.stack([image.mean((1, 2)), image[:, 0, 0], image.amax((1, 2))], dim=1)


def image_sample(n: int, seed: int, factor: float = 1.0) -> Sample:
    showers = factor * np.random.default_rng(seed).exponential(1, (n, 8)).astype(np.float32)
    layers, shapes = {0: slice(0, 4), 1: slice(4, 8)}, {0: (2, 2), 1: (2, 2)}
    return Sample(n, 0.0, layers, {"showers": lambda: showers, "layer_shapes": lambda: shapes})


@pytest.fixture(scope="module")
def inception(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("inception") / "pooled.pt"
    torch.jit.script(Pooled()).save(str(path))
    return str(path)


@pytest.mark.parametrize("images", ["summed", "layers"])
def test_fid_with_a_given_network(inception, images):
    def score(seed, factor):
        config = FidConfig(inception=inception, images=images)
        return fid(image_sample(200, 0), image_sample(200, seed, factor), np.random.default_rng(0), config)[0]

    same, other = score(1, 1.0), score(1, 1.5)
    assert same.name == f"fid/{images}" and same.n == 100 and same.extra["images"] == (1 if images == "summed" else 2)
    assert abs(same.value - same.floor) < 6 * same.error and other.value > same.value + 5 * same.error


def test_fid_says_what_is_missing(inception, tmp_path):
    a, rng = image_sample(50, 0), np.random.default_rng(0)
    with pytest.raises(MetricUnavailable, match="set 'inception' to a TorchScript file"):
        fid(a, a, rng, FidConfig())
    with pytest.raises(DataError, match="no such file"):
        fid(a, a, rng, FidConfig(inception=str(tmp_path / "none.pt")))
    (tmp_path / "junk.pt").write_bytes(b"junk")
    with pytest.raises(DataError, match="not a TorchScript network"):
        fid(a, a, rng, FidConfig(inception=str(tmp_path / "junk.pt")))
    a.layer_shapes[1] = (1, 4)
    with pytest.raises(MetricUnavailable, match="layers of one shape"):
        fid(a, a, rng, FidConfig(inception=inception))
