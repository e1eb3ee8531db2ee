"""Classifier tests: their networks, published settings, several samples at once, and the showers that give a model away."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
import torch

from calopipe.config import ClassifierConfig, Evaluation, validate
from calopipe.errors import ConfigError, DataError, MetricUnavailable, NumericsError
from calopipe.evaluation import evaluate_classifier, evaluate_multiclass, evaluate_observables, evaluate_weights
from calopipe.evaluation.features import features_of
from calopipe.evaluation.inputs import Readout
from calopipe.evaluation.weights import extreme_rows
from calopipe.geometry import Geometry, load_geometry
from calopipe.geometry.layer import Layer
from calopipe.io import Showers, read_showers, write_showers
from calopipe.metrics.classifier import classifier_test
from calopipe.metrics.classifier_networks import InputScale, PeriodicConv3d, ShowerResNet, Stem, build_network
from calopipe.metrics.classifier_presets import CHALLENGE_CLASSIFIERS, challenge_classifier
from calopipe.metrics.classifier_split import one_split, turns
from calopipe.metrics.features import (
    features_low,
    features_low_log,
    features_low_normed,
    features_observables,
    regular_grid,
)
from calopipe.metrics.multiclass import multiclass_test
from calopipe.observables import compute
from calopipe.records.files import write_npz
from calopipe.records.histograms import load_histograms
from calopipe.records.scores import load_scores

QUICK = ClassifierConfig(hidden=[32, 32], epochs=12, batch_size=200, lr=2e-3, repeats=2, device="cpu")
CNN = ClassifierConfig(network="cnn", channels=[4, 8], epochs=6, batch_size=100, lr=5e-3, repeats=2, device="cpu")
GRID = (6, 8, 4)


def toy_showers(n, seed, contrast=0.0, grid=GRID):
    """Voxels (n, V) of independent gamma fluctuations; `contrast` moves energy from odd layers to even ones."""
    rng = np.random.default_rng(seed)
    layers, alpha, r = grid
    profile = np.exp(-0.3 * np.arange(layers))[:, None, None] * np.exp(-np.arange(r)) * np.ones((1, alpha, 1))
    profile = profile * (1 + contrast * np.where(np.arange(layers) % 2, -1, 1))[:, None, None]
    incident = rng.uniform(1e3, 2e3, (n, 1)).astype(np.float32)
    voxels = rng.gamma(2.0, 0.5 * profile.ravel(), (n, profile.size)) * incident / profile.sum()
    return voxels.astype(np.float32), incident


def toy_features(n, seed, contrast=0.0):
    return features_low(*toy_showers(n, seed, contrast))


def gaussian(n, shift=0.0, seed=0, dim=4):
    x = np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32)
    x[:, 0] += shift
    return x


# ---- networks -----------------------------------------------------------------------------------------------------
def test_resnet_has_the_published_number_of_parameters():
    for grid in ((45, 16, 9), (45, 50, 18)):
        network = build_network(1 + np.prod(grid), challenge_classifier("resnet"), grid=grid)
        assert sum(p.numel() for p in network.parameters()) == 2_516_644
    assert sum(p.numel() for p in build_network(10, QUICK, outputs=3).parameters()) == 11 * 32 + 33 * 32 + 33 * 3


def test_convolution_is_periodic_in_alpha_and_ends_in_layer_and_r():
    torch.manual_seed(0)
    layer = PeriodicConv3d(1, 2, 7)
    x = torch.randn(1, 1, 6, 8, 4)
    for shift in (1, 3):
        torch.testing.assert_close(layer(x.roll(shift, 3)), layer(x).roll(shift, 3))
    for axis in (2, 4):
        assert not torch.allclose(layer(x.roll(1, axis)), layer(x).roll(1, axis), atol=1e-2)
    uniform = layer(torch.ones_like(x))
    torch.testing.assert_close(uniform, uniform[:, :, :, :1].expand_as(uniform))
    assert PeriodicConv3d(1, 1, 3, stride=2)(torch.ones(1, 1, 45, 25, 9)).shape[2:] == (23, 13, 5)


def test_rotation_by_the_strides_changes_nothing_by_less_something():
    torch.manual_seed(1)
    stem = Stem(3).eval()
    x = torch.rand(2, 1, 45, 16, 9)
    torch.testing.assert_close(stem(x.roll(4, 3)), stem(x).roll(1, 3))
    network = ShowerResNet(1 + 6 * 64 * 4, (6, 64, 4), [4, 4, 4, 4]).eval()
    voxels = torch.rand(2, 6, 64, 4)

    def output(image):
        return network(torch.cat([torch.full((2, 1), 3.0), image.flatten(1)], dim=1))

    torch.testing.assert_close(output(voxels.roll(32, 2)), output(voxels))  # all strides: 2 x 2 x 2 x 2 x 2
    for shift, axis in ((1, 2), (16, 2), (1, 1), (1, 3)):
        assert not torch.allclose(output(voxels.roll(shift, axis)), output(voxels), atol=1e-5)


def test_resnet_does_not_care_for_the_unit_of_energy_and_sees_all_conditions():
    torch.manual_seed(2)
    scale = InputScale()
    x = torch.rand(50, 3)
    torch.testing.assert_close(scale(x * 1e-6).square().mean(), torch.tensor(1.0))
    torch.testing.assert_close(scale.eval()(x), x / scale.scale)
    voxels, incident = toy_showers(40, 0)
    features = features_low_normed(voxels, incident, [slice(32 * i, 32 * i + 32) for i in range(6)])
    network = ShowerResNet(features.shape[1], GRID, [4]).eval()
    assert network.head.in_features == 4 + 1 + 6
    changed = features.copy()
    changed[:, -1] += 1
    outputs = [network(torch.from_numpy(f)) for f in (features, changed)]
    assert (outputs[0] != outputs[1]).all()


def test_geometries_that_are_not_regular_are_refused_with_the_reason():
    assert regular_grid(load_geometry("calochallenge2")) == (45, 16, 9)
    assert regular_grid(load_geometry("calochallenge3")) == (45, 50, 18)
    with pytest.raises(
        MetricUnavailable, match=r"'calochallenge1_photons' is cylindrical with layers of 1 x 8, 10 x 16"
    ):
        regular_grid(load_geometry("calochallenge1_photons"))
    with pytest.raises(MetricUnavailable, match="'calogan' is cartesian"):
        regular_grid(load_geometry("calogan"))
    with pytest.raises(MetricUnavailable, match="3 bins or more in alpha, found 2"):
        ShowerResNet(9, (2, 2, 2), [4])
    with pytest.raises(MetricUnavailable, match="192 voxels .* found 100 features"):
        classifier_test(gaussian(50, dim=100), gaussian(50, dim=100), CNN, 0, grid=GRID)
    with pytest.raises(MetricUnavailable, match="bins of the voxels"):
        classifier_test(gaussian(50), gaussian(50), CNN, 0)


# ---- the test of two samples --------------------------------------------------------------------------------------
def test_resnet_is_at_chance_on_equal_samples_and_finds_a_moved_profile():
    config = CNN.model_copy(update={"repeats": 1})
    samples = [toy_features(500, 2, contrast) for contrast in (0.0, 0.1, 0.3)]
    equal, mild, strong = (classifier_test(toy_features(500, 1), s, config, 0, grid=GRID) for s in samples)
    assert abs(equal.auc[0] - 0.5) < 4 * equal.auc_error
    assert equal.auc[0] < mild.auc[0] < strong.auc[0] and strong.auc[0] > 0.9


def test_resnet_is_deterministic_for_a_seed():
    config = CNN.model_copy(update={"epochs": 2, "dropout": 0.2, "standardise": True, "repeats": 1})
    samples = toy_features(101, 1), toy_features(101, 2)  # 121 training showers: a last batch of one
    config = config.model_copy(update={"batch_size": 60})
    first, second, other = (classifier_test(*samples, config, seed, grid=GRID) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.weights_generated, second.weights_generated)
    np.testing.assert_array_equal(first.rows_generated, other.rows_generated)
    assert not np.array_equal(first.weights_generated, other.weights_generated)
    apart = config.model_copy(update={"split": config.split.model_copy(update={"seed": 1})})
    assert not np.array_equal(first.rows_generated, classifier_test(*samples, apart, 3, grid=GRID).rows_generated)


def test_features_are_not_changed_and_not_copied():
    from calopipe.metrics.classifier_training import TrainingData

    table = gaussian(100)
    before = table.copy()
    rows = one_split([100, 100], QUICK)
    data = TrainingData([table, table + 1], rows, QUICK.model_copy(update={"standardise": True}))
    assert data._tables[0].data_ptr() == table.ctypes.data
    everything = torch.cat([data.batch("train", b) for b in data.blocks("train", 7)])
    assert everything.shape == (120, 4) and abs(everything.mean(dim=0)).max() < 1e-5
    torch.testing.assert_close(everything.std(dim=0, correction=0), torch.ones(4))
    x = data.batch("test", torch.tensor([0, 20]))  # the first test shower of either sample
    first = [rows["test"][k][0] for k in (0, 1)]
    expected = torch.from_numpy(np.stack([table[first[0]], table[first[1]] + 1]))
    torch.testing.assert_close(x * data._scale + data._mean, expected)
    np.testing.assert_array_equal(table, before)


def test_infinite_features_are_refused():
    bad = gaussian(50)
    bad[3, 2] = np.inf
    with pytest.raises(NumericsError, match="not finite"):
        classifier_test(gaussian(50), bad, QUICK, 0)


def test_set_2_showers_against_others_and_against_distorted_ones(shared):
    with h5py.File(shared / "data" / "ds2like_electrons.hdf5") as file:
        showers, incident = file["showers"][:1200], file["incident_energies"][:1200]
    config = CNN.model_copy(update={"repeats": 1, "epochs": 4, "batch_size": 60, "lr": 1e-2})
    grid, threshold = regular_grid(load_geometry("calochallenge2")), 0.5e-3 / 0.033
    kept = np.random.default_rng(0).random((600, showers.shape[1])) > 0.1  # 10 % of the voxels are lost
    reference = features_low(showers[:600], incident[:600], threshold)
    equal, lossy = (
        classifier_test(reference, features_low(voxels, incident[600:], threshold), config, 0, grid=grid)
        for voxels in (showers[600:], showers[600:] * kept)
    )
    assert abs(equal.auc[0] - 0.5) < 4 * equal.auc_error
    assert lossy.auc[0] > 0.7


# ---- the tests of every evaluation ------------------------------------------------------------------------------------
def test_every_shower_is_scored_once_by_a_classifier_that_did_not_learn_it_or_its_partner():
    partners = np.repeat(np.arange(23), 3)
    parts = turns([23, 69], 5, 0, partners)
    for k, size in enumerate((23, 69)):
        np.testing.assert_array_equal(np.sort(np.concatenate([p["test"][k] for p in parts])), np.arange(size))
    for rows in parts:
        for part in rows.values():
            np.testing.assert_array_equal(np.isin(partners, part[0]).nonzero()[0], part[1])
        assert sum(len(r[0]) for r in rows.values()) == 23
    assert not np.array_equal(parts[0]["test"][0], turns([23, 69], 5, 1, partners)[0]["test"][0])


def test_features_of_logarithms_separate_empty_from_soft_voxels():
    features = features_low_log(np.array([[0.0, 0.009, 0.01, 1.0]]), np.array([1000.0]), 0.01)
    np.testing.assert_allclose(features, [[3, -3, -3, -2, 0]], atol=1e-6)
    np.testing.assert_allclose(features_low_log(np.array([[0.0, 1e-6]]), np.array([10.0])), [[1, -7, -6]], atol=1e-6)


def test_observables_of_empty_layers_are_open(geometry):
    voxels, incident = toy_showers(5, 0)
    voxels[2, :32] = 0  # the first of six layers
    found = compute(voxels, incident, geometry, 0.0, 2)
    features = features_observables(found, incident, geometry.alpha_layers)
    assert np.isnan(features[2]).sum() == 2 + 2 + 2 + 2 and not np.isnan(np.delete(features, 2, axis=0)).any()
    wanted = np.concatenate([found["E_ratio"][:, None], found["layer_fraction"]], axis=1)
    np.testing.assert_allclose(features[:, -12 - 7 : -12], wanted, rtol=1e-6)


def test_groups_of_observables_by_hand(geometry):
    voxels, incident = toy_showers(5, 0)
    voxels[2, :32] = 0  # the first of six layers
    found = compute(voxels, incident, geometry, 0.0, 2)

    def features(*groups):
        config = ClassifierConfig(preset="trees", groups=list(groups))
        return features_of(voxels, incident[:, None], Readout(geometry, 0.0), config)

    np.testing.assert_allclose(
        features("activity"), np.column_stack([np.log10(incident), found["activity"]]), rtol=1e-6
    )
    both = features("centroids", "activity")
    assert both.shape[1] > found["activity"].shape[1] + 1 and np.isnan(both[2]).any() and not np.isnan(both[:2]).any()
    with pytest.raises(ValueError, match="expected features observables, found low"):
        ClassifierConfig(groups=["energies"])


@pytest.mark.parametrize("name", ["trees", "low_log"])
def test_default_tests_are_at_the_floor_and_rise_with_the_distortion(name):
    config = ClassifierConfig(preset=name, repeats=1, device="cpu")
    make = features_low_log if name == "low_log" else toy_observables
    samples = [make(*toy_showers(600, 2, contrast)) for contrast in (0.0, 0.05, 0.2)]
    reference = make(*toy_showers(400, 1))
    equal, mild, strong = (classifier_test(reference, s, config, 0) for s in samples)
    assert abs(equal.auc.mean() - 0.5) < 3 * equal.errors["auc"] and equal.errors["auc"] < 0.025
    assert equal.auc[0] < mild.auc[0] < strong.auc[0] and strong.auc[0] > 0.9
    assert (equal.n_reference, equal.n_generated) == (400, 600)
    np.testing.assert_array_equal(equal.rows_generated, np.arange(600))
    again = classifier_test(reference, samples[1], config, 0)
    np.testing.assert_array_equal(again.weights_generated, mild.weights_generated)


def toy_observables(voxels, incident):
    layers = voxels.reshape(len(voxels), GRID[0], -1)
    return np.concatenate([np.log10(incident), layers.sum(axis=2) / incident, (layers > 0).mean(axis=2)], axis=1)


def test_larger_generated_samples_change_the_error_and_not_the_score():
    config = ClassifierConfig(preset="trees", repeats=1)
    reference, generated = gaussian(400), gaussian(2000, 0.7, 1)
    few, many = (classifier_test(reference, g, config, 0) for g in (generated[:400], generated))
    assert many.errors["auc"] < 0.9 * few.errors["auc"]
    expected = 0.690  # of the shift alone: Phi(0.7 / sqrt(2))
    assert abs(many.auc[0] - expected) < 0.05 and abs(many.jsd_uncalibrated[0] - few.jsd_uncalibrated[0]) < 0.1
    assert abs(many.accuracy[0] - 0.637) < 0.06  # Phi(0.35): mean over the classes, not over the showers


def test_every_evaluation_has_the_default_tests_unless_told_otherwise():
    assert list(Evaluation().tests) == ["trees", "low_log"]
    given = {"low": {"features": "low"}, "trees": {"repeats": 7}, "low_log": None}
    found = Evaluation(classifiers=given)
    assert list(found.tests) == ["trees", "low"]
    assert found.tests["trees"] == ClassifierConfig(preset="trees", repeats=7)
    assert Evaluation(**found.model_dump()) == found
    with pytest.raises(ConfigError, match="observables.*expected network trees"):
        validate(ClassifierConfig, {"preset": "trees", "network": "mlp"}, "classifiers.x")
    with pytest.raises(ConfigError, match="one split; found network trees"):
        validate(Evaluation, {"multiclass": {"preset": "trees"}}, "evaluations.default")


# ---- published settings -------------------------------------------------------------------------------------------
def test_published_classifiers_are_what_their_papers_say():
    for name in CHALLENGE_CLASSIFIERS:
        config = challenge_classifier(name)
        assert (config.epochs, config.batch_size, config.lr, config.negative_slope) == (50, 1000, 2e-4, 0.01)
        assert (config.split.train, config.split.val, config.split.test) == (0.6, 0.2, 0.2)
        assert config.hidden == [2048] * 3 and config.network == ("cnn" if name == "resnet" else "mlp")
    features = [challenge_classifier(name).features for name in CHALLENGE_CLASSIFIERS]
    assert features == ["low", "low_normed", "high", "low"]
    thesis = ClassifierConfig(preset="thesis_dropout", epochs=3)
    assert (thesis.hidden, thesis.dropout, thesis.plateau, thesis.epochs) == ([512, 512, 512], 0.3, True, 3)
    assert ClassifierConfig(**thesis.model_dump()) == thesis
    with pytest.raises(ConfigError, match="did you mean 'low-normed'"):
        challenge_classifier("low_normed")
    with pytest.raises(ConfigError, match="did you mean 'challenge_high'"):
        validate(ClassifierConfig, {"preset": "chalenge_high"}, "classifiers.high")
    with pytest.raises(ConfigError, match="low_normed, found high"):
        validate(ClassifierConfig, {"preset": "challenge_resnet", "features": "high"}, "classifiers.x")


# ---- several samples at once --------------------------------------------------------------------------------------
def test_multiclass_ranks_the_milder_distortion_first():
    tables = {"reference": gaussian(3000), "strong": gaussian(3000, 1.5, 1), "mild": gaussian(2500, 0.5, 2)}
    result = multiclass_test(tables, QUICK, 0)
    assert result.ranking == ["mild", "strong"] and result.n == 2500
    np.testing.assert_array_equal(result.confusion.sum(axis=2), 500)
    # KL of unit Gaussians is half the squared shift
    assert result.divergence.mean(axis=0) == pytest.approx([0, 1.125, 0.125], abs=0.2)
    recognised = np.diagonal(result.confusion, axis1=1, axis2=2)  # the best possible: 0.69 of "strong", 0.29 of "mild"
    assert (recognised[:, 1] > 300).all() and (recognised[:, 1] > recognised[:, 2]).all()
    again = multiclass_test(tables, QUICK, 0)
    np.testing.assert_array_equal(again.log_posterior, result.log_posterior)


def test_multiclass_cannot_tell_equal_samples_apart():
    tables = {name: gaussian(2000, seed=i) for i, name in enumerate(("reference", "a", "b"))}
    result = multiclass_test(tables, QUICK, 0)
    assert result.log_posterior == pytest.approx(np.full((2, 3, 3), -np.log(3)), abs=0.05)
    assert result.divergence == pytest.approx(np.zeros((2, 3)), abs=0.05)
    with pytest.raises(MetricUnavailable, match="found 1 samples"):
        multiclass_test({"reference": gaussian(50)}, QUICK, 0)


# ---- stages -------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def geometry():
    edges = tuple(np.linspace(-np.pi, np.pi, 9)), (0.0, 5.0, 10.0, 15.0, 20.0)
    return Geometry("toy", "cylindrical", tuple(Layer(i, *edges) for i in range(6)), threshold_MeV=0.01)


@pytest.fixture(scope="module")
def files(geometry, tmp_path_factory):
    folder = tmp_path_factory.mktemp("samples")
    paths = {}
    for seed, (name, contrast) in enumerate((("reference", 0.0), ("mild", 0.05), ("strong", 0.3))):
        paths[name] = folder / f"{name}.hdf5"
        voxels, incident = toy_showers(400 + 50 * seed, seed, contrast)
        write_showers(paths[name], Showers(incident, voxels), geometry)
    return paths


def test_multiclass_stage_writes_scores_and_matrix(files, geometry, tmp_path):
    samples = {"strong": files["strong"], "mild": files["mild"]}
    scores, matrix = tmp_path / "compare.json", tmp_path / "compare.npz"
    config = QUICK.model_copy(update={"standardise": True})
    evaluate_multiclass(
        files["reference"], samples, Readout.of(geometry), config=config, seed=3, scores=scores, confusion=matrix
    )
    found = {(s.name, s.sample): s for s in load_scores(scores)}
    assert len(found) == 5 and ("multiclass/log_posterior", "reference") in found
    mild, strong = (found["multiclass/divergence", name] for name in ("mild", "strong"))
    assert mild.value < strong.value and (mild.extra["rank"], strong.extra["rank"]) == (1, 2)
    assert mild.n == 400 and mild.seed == 3 and mild.error >= 0 and mild.extra["n_test"] == 80
    with np.load(matrix) as data:
        assert data["names"].tolist() == ["reference", "strong", "mild"]
        assert data["confusion"].shape == (2, 3, 3) and (data["confusion"].sum(axis=2) == 80).all()
    with pytest.raises(ConfigError, match="'reference'"):
        evaluate_multiclass(
            files["mild"], files, Readout.of(geometry), config=config, seed=3, scores=scores, confusion=matrix
        )


def test_stages_say_why_a_network_cannot_be_used(files, sample, tmp_path):
    showers = read_showers(sample, slice(0, 60))
    path = tmp_path / "calogan.hdf5"
    write_showers(path, showers, load_geometry("calogan"))
    scores, matrix = tmp_path / "a.json", tmp_path / "a.npz"
    evaluate_multiclass(
        path, {"inn": path, "vae": path}, Readout.of("calogan"), config=CNN, seed=0, scores=scores, confusion=matrix
    )
    assert all(s.value is None and "cartesian" in s.missing for s in load_scores(scores))
    assert np.load(matrix)["confusion"].size == 0
    evaluate_classifier(
        path, path, Readout.of("calogan"), config=CNN, seed=0, scores=scores, curves=matrix, sample="generated"
    )
    assert all(s.value is None and "cartesian" in s.missing for s in load_scores(scores))


def test_resnet_runs_on_files(files, geometry, tmp_path):
    scores, curves = tmp_path / "cnn.json", tmp_path / "cnn.npz"
    config = CNN.model_copy(update={"features": "low_normed", "epochs": 8})
    evaluate_classifier(
        files["reference"],
        files["strong"],
        Readout.of(geometry),
        config=config,
        seed=0,
        scores=scores,
        curves=curves,
        sample="generated",
    )
    assert next(s for s in load_scores(scores) if s.name == "classifier/cnn/auc").value > 0.8


def test_observables_of_showers_of_extreme_weight(files, geometry, tmp_path):
    from calopipe.config import HistogramConfig

    config = HistogramConfig(bins=20, energy_ratio_range=(0.5, 1.5), brightest=1)
    everything, curves, out = (tmp_path / name for name in ("histograms.npz", "low.npz", "weights.npz"))
    samples = {"generated": files["mild"], "reconstructed": files["strong"]}
    evaluate_observables(files["reference"], samples, Readout.of(geometry), config=config, out=everything)
    rows = np.arange(100, 150)[::-1]
    weights = np.stack([np.linspace(0.1, 5, 50), np.linspace(0.2, 9, 50)])  # row 149 lowest, row 100 highest
    write_npz(curves, {"weights_generated": weights, "rows_generated": rows})
    evaluate_weights(
        files["mild"], Readout.of(geometry), curves=curves, histograms=everything, brightest=1, fraction=0.1, out=out
    )
    found = {h.name: h for h in load_histograms(out)[0]}
    before = {h.name: h for h in load_histograms(everything)[0]}
    assert found.keys() == before.keys() and "brightest/0/1" in found
    showers = read_showers(files["mild"], slice(145, 150))
    values = compute(showers.showers, showers.incident_energies, geometry, 0.01, 1)
    ratio, voxels = found["E_ratio"], found["voxels"]
    lowest = "lowest 10 % of weights"
    assert set(ratio.counts) == {"reference", "generated", lowest, "highest 10 % of weights"}
    np.testing.assert_array_equal(ratio.counts[lowest], np.histogram(values["E_ratio"], ratio.edges)[0])
    assert ratio.totals[lowest] == 5 and voxels.totals[lowest] == np.count_nonzero(showers.showers >= 0.01)
    fine = before["E_ratio"]  # 20 bins, two of which were added for the few showers
    np.testing.assert_array_equal(ratio.counts["generated"], fine.counts["generated"].reshape(10, 2).sum(axis=1))
    np.testing.assert_array_equal(ratio.edges, fine.edges[::2])
    np.testing.assert_array_equal(voxels.edges, before["voxels"].edges)

    write_npz(curves, {"weights_generated": np.empty((0, 0)), "rows_generated": np.empty(0, dtype=int)})
    evaluate_weights(
        files["mild"], Readout.of(geometry), curves=curves, histograms=everything, brightest=1, fraction=0.1, out=out
    )
    assert load_histograms(out)[0] == []
    write_npz(curves, {"weights_generated": np.ones((1, 1)), "rows_generated": np.array([10_000])})
    with pytest.raises(DataError, match="450 showers"):
        evaluate_weights(
            files["mild"],
            Readout.of(geometry),
            curves=curves,
            histograms=everything,
            brightest=1,
            fraction=0.1,
            out=out,
        )
    with pytest.raises(DataError, match="not the curves"):
        extreme_rows(everything, 0.1)


def test_spreads_much_smaller_than_the_mean_are_standardised_and_constants_left() -> None:
    from calopipe.metrics.classifier_training import TrainingData

    spread = np.random.default_rng(0).normal(size=(400, 1)).astype(np.float32)
    table = np.concatenate([4096 + spread / 16, np.full((400, 1), 0.1), np.zeros((400, 1))], axis=1).astype(np.float32)
    rows = one_split([400, 400], QUICK)
    data = TrainingData([table, table], rows, QUICK.model_copy(update={"standardise": True}))
    used = np.concatenate([table[r, 0] for r in rows["train"]]).astype(np.float64)
    assert data._scale[0].item() == pytest.approx(used.std(), rel=1e-5)
    assert data._scale[1:].tolist() == [1, 1]
