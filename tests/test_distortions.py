"""Distortions that the power of tests is measured with: hand-computed cases, and what the default tests find in them."""

from __future__ import annotations

import numpy as np
import pytest

from calopipe.config import ClassifierConfig
from calopipe.evaluation.features import features_of
from calopipe.evaluation.inputs import Readout
from calopipe.evaluation.power import measure_power
from calopipe.geometry import Geometry, load_geometry
from calopipe.geometry.layer import Layer
from calopipe.io import Showers, read_showers, write_showers
from calopipe.metrics.classifier import classifier_test
from calopipe.metrics.distortions import DISTORTIONS, hit_layer, mean_hits, more_energy, more_hits, wider
from calopipe.observables import compute
from calopipe.records.power import finding

CALOGAN, THRESHOLD = load_geometry("calogan"), 0.01


@pytest.fixture(scope="module")
def showers(sample):
    found = read_showers(sample)
    return np.where(found.showers < THRESHOLD, 0, found.showers).astype(np.float32), found.incident_energies


@pytest.fixture
def line():
    """One layer of three cells in a row, 10 mm apart."""
    return Geometry("line", "cartesian", (Layer(0, (-15.0, -5.0, 5.0, 15.0), (-1.0, 1.0)),), threshold_MeV=0.1)


def test_wider_moves_energy_outwards_and_keeps_the_sum(line):
    # centre at 0, <d^2> = 50, <d^4> = 5000: a = 0.0404 / (5000 / 2500 - 1)
    before = np.array([[1.0, 2.0, 1.0]])
    after = wider(before, line, np.random.default_rng(0), 0.0)
    np.testing.assert_allclose(after, [[1.0404, 1.9192, 1.0404]])
    np.testing.assert_array_equal(before, [[1.0, 2.0, 1.0]])
    width = [np.sqrt((x * [100, 0, 100]).sum() / x.sum()) for x in (before, after)]
    assert width[1] / width[0] == pytest.approx(1.02)
    alone = np.array([[0.0, 3.0, 0.0], [1.0, 0.0, 1.0], [0.0, 0.0, 0.0]])  # no width, one distance, nothing
    np.testing.assert_allclose(wider(alone, line, np.random.default_rng(0), 0.0), alone)


def test_more_energy_is_a_factor_and_the_threshold_holds(line):
    after = more_energy(np.array([[0.0, 0.05, 1.0]]), line, np.random.default_rng(0), 0.1, 0.5)
    np.testing.assert_allclose(after, [[0, 0, 1.5]])


def test_more_hits_adds_companions_and_keeps_the_energy(line):
    rng = np.random.default_rng(0)
    before = np.array([[0.0, 8.0, 0.0], [1.0, 8.0, 0.0], [0.0, 0.2, 0.0], [0.0, 0.0, 0.0]] * 50)
    after = more_hits(before, line, rng, 0.1, strength=1.0)
    np.testing.assert_allclose(after.sum(axis=1), before.sum(axis=1))
    hits = (after > 0).sum(axis=1).reshape(50, 4)
    # the third cell is never hit, so nothing can be drawn there; a soft shower has no energy to give; nothing has no hits
    np.testing.assert_array_equal(hits, np.tile([2, 2, 1, 0], (50, 1)))
    new = after[::4, 0]
    assert set(np.unique(new)) <= {0.2, 1.0, 8.0} - {8.0}  # of the softer half: 50 of 0.2, 25 of 1.0


@pytest.mark.parametrize(
    ("hits", "layer"),
    [
        ([73.4, 76.8, 5.1], 2),
        ([5.0, 20.0, 10.0, 2.0, 1.0, 0.5], 3),
        ([1.0] * 40, 0),  # none has 3 %: the first of those with most
        ([0.5, 0.4], 1),
    ],
)
def test_more_hits_go_where_they_are_few_but_not_next_to_nothing(hits, layer):
    assert hit_layer(np.array(hits)) == layer


def test_calogan_showers_get_what_the_text_says(showers):
    x, incident = showers
    rng = np.random.default_rng(1)
    layer = hit_layer(mean_hits(x, CALOGAN))
    before = compute(x, incident, CALOGAN, THRESHOLD, 0)
    more, wide, hot = (
        compute(d.apply(x, CALOGAN, rng, THRESHOLD, d.strength, layer if d.one_layer else None), incident, CALOGAN,
                THRESHOLD, 0)
        for d in DISTORTIONS.values()
    )  # fmt: skip
    hits = more["activity"][:, layer].mean() / before["activity"][:, layer].mean()
    assert 1.07 < hits <= 1.105  # some showers have no energy to give
    np.testing.assert_allclose(more["E_layer"], before["E_layer"], rtol=1e-5, atol=1e-5)
    for axis in range(2):
        name = ("width_eta", "width_phi")[axis]
        ratio = np.mean(wide[name], axis=0) / np.mean(before[name], axis=0)
        assert (ratio > 1.005).all() and (ratio < 1.03).all()
    np.testing.assert_allclose(hot["E_tot"], 1.002 * before["E_tot"], rtol=1e-4)


@pytest.mark.parametrize(("name", "key", "strengths"), [
    ("trees", "energy", (0.0, 0.0005, 0.002)),
    pytest.param("trees", "hits", (0.0, 0.3, 1.0), marks=pytest.mark.trial),
    pytest.param("trees", "widths", (0.0, 0.05, 0.2), marks=pytest.mark.trial),
    ("low_log", "hits", (0.0, 0.3, 1.0)),
    pytest.param("low_log", "widths", (0.0, 0.1, 0.4), marks=pytest.mark.trial),
])  # fmt: skip
def test_default_tests_rise_with_each_distortion(showers, name, key, strengths):
    x, incident = showers
    n, rng = 1500, np.random.default_rng(2)
    config = ClassifierConfig(preset=name, repeats=1, device="cpu", folds=3, patience=10)
    layer = 1 if key == "hits" else None  # the middle one, of 12 x 12 cells
    reference = features_of(x[:n], incident[:n], Readout.of(CALOGAN, THRESHOLD), config)
    aucs = []
    for strength in strengths:
        distorted = DISTORTIONS[key].apply(x[n : 2 * n], CALOGAN, rng, THRESHOLD, strength, layer)
        other = features_of(distorted, incident[n : 2 * n], Readout.of(CALOGAN, THRESHOLD), config)
        result = classifier_test(reference, other, config, 0, progress=lambda line: None)
        aucs.append((result.auc[0], result.errors["auc"]))
    (floor, error), mild, strong = aucs
    assert abs(floor - 0.5) < 3.5 * error
    assert floor < mild[0] < strong[0] and strong[0] - 0.5 > 4 * strong[1]


def test_a_test_that_is_wrong_more_often_than_right_has_seen_nothing():
    assert [finding("", auc, 0.01)["seen"] for auc in (0.45, 0.5, 0.515, 0.525)] == [False, False, False, True]


def test_power_says_what_was_seen_at_which_size(showers, tmp_path):
    x, incident = showers
    for name, rows in (("test", slice(0, 400)), ("train", slice(400, 1400))):
        write_showers(tmp_path / f"{name}.hdf5", Showers(incident[rows], x[rows]), CALOGAN)
    paths, readout = (tmp_path / "test.hdf5", tmp_path / "train.hdf5"), Readout.of(CALOGAN, THRESHOLD)
    about = {"seed": 0, "name": "trees"}
    config = ClassifierConfig(preset="trees", folds=3, epochs=60)
    found = measure_power(*paths, readout, config=config, factor=2, **about)
    assert (found["n_reference"], found["n_distorted"]) == (400, 800)
    assert set(found["distortions"]) == set(DISTORTIONS)
    assert found["distortions"]["energy"]["seen"] and not found["floor"]["seen"]
    assert found["distortions"]["hits"]["text"] == "10 % more hits in layer 2"
    half = measure_power(paths[0], None, readout, config=config, **about)
    assert (half["n_reference"], half["n_distorted"]) == (200, 200)
    few = config.model_copy(update={"max_per_class": 10})
    assert "20 showers" in measure_power(*paths, readout, config=few, **about)["missing"]


@pytest.mark.parametrize("name", ["trees", "low_log"])
def test_the_error_of_two_geant4_samples_is_what_it_says(showers, name):
    x, incident = showers
    quick = {"folds": 3, "repeats": 1, "epochs": 12, "patience": 6, "device": "cpu"}
    config = ClassifierConfig(preset=name, **quick, **({"hidden": [32]} if name == "low_log" else {}))
    features = features_of(x, incident, Readout.of(CALOGAN, THRESHOLD), config)
    rng, n, pulls = np.random.default_rng(3), 150, []
    for pair in range(20):
        rows = rng.permutation(len(features))[: 2 * n]
        result = classifier_test(features[rows[:n]], features[rows[n:]], config, pair, progress=lambda line: None)
        assert 0.02 < result.errors["auc"] < 0.05
        pulls.append((result.auc[0] - 0.5) / result.errors["auc"])
    # of 20 pulls of width 1 the root mean square is 1 +- 0.16, the mean 0 +- 0.22
    assert 0.5 < np.sqrt(np.mean(np.square(pulls))) < 1.5 and abs(np.mean(pulls)) < 0.8
