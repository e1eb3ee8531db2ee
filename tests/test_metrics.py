"""Metrics: hand-computable values, floors on two halves of one sample, and a monotone rise under growing distortion."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from calopipe.config.evaluation import ClassifierConfig
from calopipe.config.parts import METRICS
from calopipe.errors import DataError, MetricUnavailable, NumericsError
from calopipe.geometry import load_geometry
from calopipe.metrics.base import BinnedCounts, Sample
from calopipe.metrics.classifier import classifier_test
from calopipe.metrics.energy_response import EnergyResponseConfig, energy_response, response_differences
from calopipe.metrics.features import features_high, features_low, features_low_normed, features_low_raw
from calopipe.metrics.image_moments import ImageMomentsConfig, image_moments, pixel_energy, row_differences
from calopipe.metrics.kl_average import KlAverageConfig, kl_average, kl_of_means
from calopipe.metrics.mean_deposit import MeanDepositConfig, mean_deposit
from calopipe.metrics.roc import area_error, area_under_roc, roc_on_grid
from calopipe.metrics.separation_power import (
    SeparationPowerConfig,
    separation_error,
    separation_floor,
    separation_of_values,
    separation_power,
    separation_powers,
)
from calopipe.observables import middle_row_moments

QUICK = ClassifierConfig(hidden=[32, 32], epochs=12, batch_size=200, lr=2e-3, repeats=2)


def gaussian(n, shift=0.0, seed=0, dim=8):
    x = np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32)
    x[:, 0] += shift
    return x


def make_sample(n=1000, response=0.99, seed=0):
    rng = np.random.default_rng(seed)
    means = rng.exponential(1, (20, 6))
    edges = np.linspace(0, 1, 11)
    layer = rng.uniform(size=n)
    counts = {f"E_layer/{i}": BinnedCounts(edges, np.histogram(layer, edges)[0], n) for i in (0, 12)}
    loaders = {
        "observables": lambda: {"E_ratio": rng.normal(response, 0.01, n)},
        "incident_energies": lambda: rng.uniform(1e3, 2e4, n),
        "block_means": lambda: means,
        "histograms": lambda: {**counts, "E_ratio": BinnedCounts(edges, np.zeros(10, dtype=int), n)},
    }
    return Sample(n, 0.01, {0: slice(0, 4), 12: slice(4, 6)}, loaders)


# ---- classifier test ----------------------------------------------------------------------------------------------
def test_two_halves_of_one_sample_cannot_be_told_apart():
    result = classifier_test(gaussian(2000, seed=1), gaussian(2000, seed=2), QUICK, seed=0)
    assert abs(result.auc.mean() - 0.5) < 4 * result.auc_error
    assert abs(result.accuracy.mean() - 0.5) < 0.07 and max(result.jsd.max(), result.jsd_uncalibrated.max()) < 0.02
    assert np.median(result.weights_generated) == pytest.approx(1, abs=0.3)


def test_auc_rises_with_the_distortion_up_to_its_analytic_value():
    auc = [classifier_test(gaussian(2000), gaussian(2000, s, seed=3), QUICK, 0).auc.mean() for s in (0.3, 1.0, 3.0)]
    assert auc == sorted(auc)
    assert auc[1] == pytest.approx(0.760, abs=0.04)  # Phi(1 / sqrt 2)
    assert auc[2] == pytest.approx(0.983, abs=0.02)


def test_classifier_is_deterministic_and_tells_which_rows_it_judged():
    config = QUICK.model_copy(update={"dropout": 0.3, "plateau": True, "max_per_class": 300})
    reference, generated = gaussian(500), gaussian(400, 1.0, seed=3)
    first, second = (classifier_test(reference, generated, config, 7) for _ in range(2))
    np.testing.assert_array_equal(first.weights_generated, second.weights_generated)
    assert first.n == 300 and first.rows_reference.shape == (60,) and first.weights_reference.shape == (2, 60)
    assert first.rows_reference.max() < 500 and len(set(first.rows_reference)) == 60
    assert first.tpr.shape == (2, len(first.fpr)) and (np.diff(first.tpr) >= 0).all()
    assert np.trapezoid(first.tpr[0], first.fpr) == pytest.approx(first.auc[0], abs=0.01)
    assert not np.array_equal(first.auc, classifier_test(reference, generated, config, 8).auc)
    # reference showers weigh more: w estimates p_ref / p_gen
    assert np.log(first.weights_reference).mean() > np.log(first.weights_generated).mean()


def test_classifier_refuses_what_it_cannot_judge():
    with pytest.raises(MetricUnavailable, match="20 showers"):
        classifier_test(gaussian(5), gaussian(100), QUICK, 0)
    with pytest.raises(MetricUnavailable, match="do not match"):
        classifier_test(gaussian(50), gaussian(50, dim=3), QUICK, 0)
    with pytest.raises(NumericsError, match="not finite"):
        classifier_test(gaussian(50) * np.nan, gaussian(50), QUICK, 0)


def test_standardised_inputs_are_independent_of_scale():
    config = QUICK.model_copy(update={"standardise": True, "repeats": 1})
    a, b = gaussian(600), gaussian(600, 1.0, seed=3)
    expected = classifier_test(a, b, config, 0).auc
    assert classifier_test(a * 1024, b * 1024, config, 0).auc == pytest.approx(expected, abs=1e-3)


def test_features_follow_the_published_definitions():
    showers = np.array([[0.5, 2.0, 6.0]], dtype=np.float32)
    slices = (slice(0, 2), slice(2, 3))
    assert features_low(showers, np.array([100.0]), 1.0)[0] == pytest.approx([2, 0, 0.02, 0.06])
    assert features_low(showers, np.array([[100.0]]), 1.0, scale=100)[0] == pytest.approx([2, 0, 2, 6])
    assert features_low_raw(showers, np.array([100.0]), 0.0)[0] == pytest.approx([2, 5e-4, 2e-3, 6e-3])
    normed = features_low_normed(showers, np.array([100.0]), slices, 0.0)[0]
    assert normed == pytest.approx([2, 0.2, 0.8, 1, np.log10(2.5), np.log10(6)])
    high = features_high(
        {"E_layer": np.array([[10.0, 0.0]]), "E_tot": np.array([10.0]), "EC_eta": np.array([[50.0]]),
         "sparsity": np.array([[0.5, 1.0]])}, np.array([100.0])
    )  # fmt: skip
    assert high[0] == pytest.approx([2, 1, -8, 0.5, 1, 0.5, 1], abs=1e-6)
    with pytest.raises(DataError):
        features_low(showers, np.array([1.0, 2.0]))


def test_roc_of_known_scores():
    positive, negative = np.array([3.0, 2.0, 2.0]), np.array([1.0, 2.0])
    assert area_under_roc(positive, negative) == pytest.approx(5 / 6)
    curve = roc_on_grid(positive, negative, np.array([0, 0.25, 0.5, 1]))
    assert curve == pytest.approx([1 / 3, 2 / 3, 1, 1])
    assert roc_on_grid(np.ones(3), np.zeros(3), np.array([0.0, 0.5])) == pytest.approx([1, 1])
    assert area_error(0.5, 1000, 1000) == pytest.approx(np.sqrt(1 / 12 / 500), rel=0.01)


# ---- separation power ---------------------------------------------------------------------------------------------
def test_separation_power_of_known_histograms():
    assert separation_power([1, 3], [2, 6]) == 0
    assert separation_power([5, 0], [0, 9]) == pytest.approx(1)
    assert separation_power([1, 1], [1, 3]) == pytest.approx(0.5 * (0.0625 / 0.75 + 0.0625 / 1.25))
    for pair in (([0, 0], [0, 0]), ([1, 1], [1, 2, 3])):
        with pytest.raises(MetricUnavailable):
            separation_power(*pair)


def test_separation_power_has_a_floor_and_rises_with_the_distortion():
    rng = np.random.default_rng(0)
    edges = np.linspace(-3, 3, 51)
    values = rng.normal(size=(40, 2, 2000))
    found = [separation_of_values(a, b, edges) for a, b in values]
    h1, h2 = (np.histogram(v, edges)[0] for v in values[0])
    assert np.mean(found) == pytest.approx(separation_floor(h1, h2, rng, (2000, 2000)), rel=0.1)
    shifted = [separation_of_values(values[0, 0], values[0, 1] + s, edges) for s in (0, 0.2, 0.5, 1, 2)]
    assert shifted == sorted(shifted)
    spread = np.std([separation_of_values(a, b + 0.5, edges) for a, b in values], ddof=1)
    distorted = np.histogram(values[0, 1] + 0.5, edges)[0]
    assert separation_error(h1, distorted, rng) == pytest.approx(spread, rel=0.4)


@pytest.mark.parametrize(("entries", "sizes"), [((6, 6), (1000, 1000)), ((3, 40), (500, 7000)), ((2, 2), (100, 100))])
def test_floors_hold_for_a_few_entries_too(entries, sizes):
    """Of 3 and 40 in 50 bins the formula for many would make 2.5: more than the separation power of anything."""
    rng = np.random.default_rng(0)

    def pair():
        total = rng.poisson(sum(entries))
        which = rng.random(total) < sizes[0] / sum(sizes)
        bins = rng.integers(0, 50, total)
        return np.bincount(bins[which], minlength=50), np.bincount(bins[~which], minlength=50)

    pairs = [p for p in (pair() for _ in range(300)) if sum(map(np.sum, p))]
    found = [separation_power(*p) for p in pairs]
    floors = [separation_floor(*p, rng, sizes) for p in pairs]
    assert max(floors) <= 1 and np.mean(floors) == pytest.approx(np.mean(found), abs=0.03)


def test_nothing_is_said_of_the_error_of_a_few_entries():
    """Two of one and none of the other are disjoint, as two samples of Geant4 often are; ten and none hardly ever."""
    rng, none = np.random.default_rng(0), np.zeros(5)
    for few in ([1, 1, 0, 0, 0], [9, 0, 0, 0, 0]):
        assert separation_power(few, none) == 1 and separation_error(few, none, rng) is None
    assert separation_error([10, 0, 0, 0, 0], none, rng) == 0
    assert separation_floor(np.array([10, 0, 0, 0, 0]), none, rng, (1, 1)) < 0.02
    assert separation_floor(np.array([1, 1, 0, 0, 0]), none, rng, (1, 1)) == 1
    assert separation_floor(none, none, rng, (1, 1)) is None


def test_separation_metric_reports_means_floors_and_missing_values():
    a, b = make_sample(seed=1), make_sample(seed=2)
    found = {m.name: m for m in separation_powers(a, b, np.random.default_rng(0), SeparationPowerConfig())}
    layers = [found[f"separation_power/E_layer/{i}"] for i in (0, 12)]
    mean = found["separation_power/mean_layers/E_layer"]
    assert mean.value == pytest.approx(np.mean([m.value for m in layers])) and mean.extra["histograms"] == 2
    assert all(0 < m.value < 5 * m.floor and m.error > 0 and m.n == 1000 for m in layers)
    assert found["separation_power/E_ratio"].value is None and "no entries" in found["separation_power/E_ratio"].missing
    with pytest.raises(MetricUnavailable, match="no histograms of depth"):
        separation_powers(a, b, np.random.default_rng(0), SeparationPowerConfig(observables=["depth"]))


# ---- further metrics ----------------------------------------------------------------------------------------------
def test_energy_response_is_the_difference_within_its_error():
    rng = np.random.default_rng(0)
    differences = response_differences(rng.normal(1, 0.1, 40_000), rng.normal(0.99, 0.12, 40_000))
    for key, expected, error in (("mean_difference", -0.01, 7.8e-4), ("width_difference", 0.02, 5.5e-4)):
        assert differences[key][0] == pytest.approx(expected, abs=4 * differences[key][1])
        assert differences[key][1] == pytest.approx(error, rel=0.03)
    samples, config = (make_sample(), make_sample(response=1.0, seed=1)), EnergyResponseConfig()
    found = {m.name: m for m in energy_response(*samples, rng, config)}
    assert len(found) == 2 and found["energy_response/mean_difference"].value == pytest.approx(0.01, abs=0.002)
    few = replace(samples[0], loaders={"observables": lambda: {"E_ratio": np.ones(9)}})
    assert all("10 showers" in m.missing for m in energy_response(samples[0], few, rng, config))


def test_kl_of_average_showers():
    assert kl_of_means(np.array([1.0, 1.0]), np.array([4.0, 4.0])) == pytest.approx(0)
    expected = 0.5 * np.log(0.5 / 0.25) + 0.5 * np.log(0.5 / 0.75)
    assert kl_of_means(np.array([1.0, 1.0]), np.array([1.0, 3.0]), 1e-12) == pytest.approx(expected)
    with pytest.raises(MetricUnavailable):
        kl_of_means(np.zeros(2), np.ones(2))
    found = {m.name: m for m in kl_average(make_sample(), make_sample(seed=4), None, KlAverageConfig())}
    assert set(found) == {"kl_average/shower", "kl_average/layer/0", "kl_average/layer/12"}
    assert all(m.value > 0 and m.error > 0 and m.floor > 0 for m in found.values())


def deposits(at, totals) -> Sample:
    at, totals = np.array(at, dtype=np.float32), np.array(totals, dtype=np.float64)
    loaders = {
        "observables": lambda: {"E_tot": totals},
        "condition": lambda: lambda name: {"incident_energies": at, "layers_hit": at}[name],
    }
    return Sample(len(at), 0.0, {0: slice(0, 1)}, loaders)


def test_mean_deposits_by_hand() -> None:
    """Means 10 +- 1 and 11 +- 2 MeV at 100 MeV; one shower alone at 800 MeV, none generated at 1800 MeV."""
    reference = deposits([100, 800, 100, 1800, 1800, 800], [9, 1, 11, 1, 1, 1])
    generated = deposits([100, 800, 100], [13, 2, 9])
    found = {s.name: s for s in mean_deposit(reference, generated, None, MeanDepositConfig())}
    assert list(found) == ["mean_deposit/100MeV", "mean_deposit/800MeV", "mean_deposit/1800MeV"]
    score = found["mean_deposit/100MeV"]
    assert (score.value, score.n, score.floor) == (pytest.approx(0.1), 2, 0)
    assert score.error == pytest.approx(np.hypot(2 / 10, 11 * 1 / 10**2))
    assert score.extra["reference"] == {"mean_MeV": pytest.approx(10), "error_MeV": pytest.approx(1)}
    assert score.extra["generated"] == {"mean_MeV": pytest.approx(11), "error_MeV": pytest.approx(2)}
    assert "2 and 1" in found["mean_deposit/800MeV"].missing and "2 and 0" in found["mean_deposit/1800MeV"].missing
    named = mean_deposit(reference, generated, None, MeanDepositConfig(condition="layers_hit"))
    assert named[0].name == "mean_deposit/layers_hit=100"
    with pytest.raises(MetricUnavailable, match="21 different incident energies"):
        mean_deposit(deposits(range(21), range(21)), generated, None, MeanDepositConfig())


IMAGE = load_geometry("electron_gun_32")
MOMENTS = partial(middle_row_moments, geometry=IMAGE)


def picture(**cells: float) -> np.ndarray:
    """Pixels (row_column) of an image of 32 x 32 cells."""
    image = np.zeros((32, 32))
    for place, energy in cells.items():
        image[tuple(int(i) for i in place.strip("p").split("_"))] = energy
    return image.ravel()


def test_row_moments_of_an_image_by_hand() -> None:
    """Rows along the second index: cells 14 and 16 have mean 15 and width 1 (cells); half as wide, or a cell further on."""
    along, across = ("phi", "eta") if IMAGE.eta_axis == 0 else ("eta", "phi")
    reference = picture(p15_14=3, p15_16=3, p16_14=1, p16_16=1)
    same = row_differences(reference, 5 * reference, MOMENTS)
    assert set(same) == {f"row_{w}/{a}{e}" for w in ("mean", "width") for a in ("eta", "phi") for e in ("", "/layer/0")}
    assert all(value == pytest.approx(0) for value in same.values())
    moved = row_differences(reference, picture(p15_15=3, p15_17=3, p16_14=1, p16_16=1), MOMENTS)
    assert moved[f"row_mean/{along}"] == pytest.approx(np.sqrt(6 * 1**2 / 8))  # the brighter row, by a whole width
    assert moved[f"row_width/{along}"] == pytest.approx(0)
    thin = row_differences(reference, picture(p15_14=3, p15_16=3, p16_15=2), MOMENTS)
    assert thin[f"row_mean/{along}"] == pytest.approx(0)
    assert thin[f"row_width/{along}"] == pytest.approx(np.sqrt(2 * 1**2 / 8))
    # columns 14 and 16: positions 15.25, widths sqrt(3)/4; without row 16: position 15, width 0
    lost = row_differences(reference, picture(p15_14=3, p15_16=3), MOMENTS)
    assert lost[f"row_mean/{along}"] == pytest.approx(np.sqrt(2 / 8))  # an empty row counts 1
    assert lost[f"row_mean/{across}"] == pytest.approx(0.25 / (np.sqrt(3) / 4))
    assert lost[f"row_width/{across}"] == pytest.approx(1)
    dot = row_differences(picture(p15_14=2), picture(p15_15=2), MOMENTS)  # narrower than a cell: as wide as one
    assert dot[f"row_mean/{along}"] == pytest.approx(np.sqrt(12))
    assert pixel_energy(reference, 0.9 * reference) == pytest.approx(-0.1)
    with pytest.raises(MetricUnavailable, match="no energy"):
        pixel_energy(0 * reference, reference)


def images(n: int, seed: int, shift: float = 0.0, scale: float = 1.0) -> Sample:
    """Poisson showers of 200 hits of a Gaussian blob, in 20 blocks."""
    rng = np.random.default_rng(seed)
    middle = IMAGE.eta.max() / 16  # about half a cell
    blob = np.exp(-((IMAGE.eta - shift * middle) ** 2 + IMAGE.phi**2) / (2 * (6 * middle) ** 2))
    blocks = rng.poisson(n / 20 * 200 * scale * blob / blob.sum(), (20, IMAGE.n_voxels)) / (n / 20)
    loaders = {"block_means": lambda: blocks, "row_moments": lambda: MOMENTS}
    return Sample(n, 0.0, {0: slice(0, IMAGE.n_voxels)}, loaders)


def test_image_moments_have_errors_and_floors_that_hold() -> None:
    """Of many pairs of samples: values scatter by their errors, and are at the floor on average, for unequal sizes too."""
    config = ImageMomentsConfig()
    found = [image_moments(images(1000, s), images(400, 100 + s), np.random.default_rng(s), config) for s in range(30)]
    for scores in zip(*found, strict=True):
        values = np.array([s.value for s in scores])
        assert scores[0].n == 400 and all(s.floor is not None for s in scores), scores[0].name
        if scores[0].name == "image_moments/pixel_energy":
            assert values.std() == pytest.approx(np.mean([s.error for s in scores]), rel=0.4)
            assert scores[0].error == pytest.approx(np.sqrt(1 / 200e3 + 1 / 80e3), rel=0.5)
        else:
            assert np.sqrt(np.mean(values**2)) == pytest.approx(np.mean([s.floor for s in scores]), rel=0.2)
    assert {s.name.split("/", 1)[1] for s in found[0]} == {
        "pixel_energy", "row_mean/eta", "row_mean/phi", "row_width/eta", "row_width/phi"
    }  # fmt: skip
    moved = {
        s.name: s for s in image_moments(images(1000, 0), images(1000, 1, 1.0, 0.9), np.random.default_rng(0), config)
    }
    assert moved["image_moments/pixel_energy"].value == pytest.approx(
        -0.1, abs=5 * moved["image_moments/pixel_energy"].error
    )
    assert moved["image_moments/row_mean/eta"].value > 5 * moved["image_moments/row_mean/phi"].value


def test_every_metric_has_settings_and_accepts_its_defaults():
    assert {"separation_power", "energy_response", "kl_average"} <= set(METRICS.names())
    for name in METRICS.names():
        config = METRICS.config_class(name)
        assert config is not None and all(f.description for f in config.model_fields.values()), name


# ---- the voxel spectrum: entries of one shower belong together -----------------------------------------------------------
def _spectrum(rng: np.random.Generator, n: int = 400) -> Sample:
    """Showers of 60 voxels, whose energies all rise and fall together from shower to shower."""
    edges = np.geomspace(1e-2, 1e2, 31)
    voxels = np.exp(rng.normal(0, 1, (n, 1)) + rng.normal(0, 0.3, (n, 60)))
    counts = np.array([[*np.histogram(v, edges)[0], 0] for v in voxels], dtype=np.int32)
    counts[:, -1] = 60 - counts.sum(axis=1)
    found = {"voxels": BinnedCounts(edges, counts[:, :-1].sum(axis=0), 60 * n)}
    return Sample(n, 0.0, {}, {"histograms": lambda: found, "voxel_counts": lambda: counts})


def test_two_samples_of_one_distribution_have_no_voxel_spectra_that_differ() -> None:
    pulls = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        (score,) = separation_powers(_spectrum(rng), _spectrum(rng), rng, SeparationPowerConfig())
        pulls.append((score.value - score.floor) / score.error)
    assert abs(np.mean(pulls)) < 1 and np.max(pulls) < 3.5, "with errors of independent entries they are 9 on average"
