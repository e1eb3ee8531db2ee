"""Amplification studies: quantiles, divergences, estimators, equivalent sizes, and the stage from files to scores."""

from __future__ import annotations

import json

import numpy as np
import pytest

from calopipe.config.base import validate
from calopipe.config.calomplification import CalomplificationConfig
from calopipe.errors import ConfigError, DataError, MetricUnavailable
from calopipe.evaluation import evaluate_calomplification
from calopipe.evaluation.inputs import Readout
from calopipe.geometry import load_geometry
from calopipe.io import Showers, write_showers
from calopipe.metrics.amplification import equivalent_size, equivalent_size_with_error
from calopipe.metrics.density import fit_histogram, fit_kde
from calopipe.metrics.quantiles import (
    QuantilePartition,
    allowed_levels,
    expected_divergence,
    jackknife_error,
    jensen_shannon,
)
from calopipe.observables.image import ImageObservables, image_observables
from calopipe.plots.calomplification import amplification_figure, divergence_figure
from calopipe.plots.style import LineStyle
from calopipe.records.divergences import load_divergences
from calopipe.records.scores import load_scores
from calopipe.report import RunArtifacts, StudySummary
from calopipe.report.calomplification_tables import amplification_tables
from calopipe.report.data import load_study_data
from calopipe.report.figures import dataset_tasks
from calopipe.report.numbers import format_measurement

GEOMETRY = load_geometry("electron_gun_32")


# ---- quantiles ----------------------------------------------------------------------------------------------------
def test_quantiles_of_the_truth_are_equally_filled():
    values = np.random.default_rng(0).exponential(size=(4096 * 10, 2))
    partition = QuantilePartition.fit(values, 12)
    assert partition.truth.sum() == len(values) and set(partition.truth) == {10}
    np.testing.assert_array_equal(partition.counts(partition.cells(values)), partition.truth)
    one = QuantilePartition.fit(values[:, 0], 3)
    np.testing.assert_allclose(
        np.sort(np.concatenate(one.edges)), np.quantile(values[:, 0], np.arange(1, 8) / 8), rtol=1e-3
    )


def test_median_splits_alternate_between_dimensions():
    # x splits at 2.5; then y of the left half at 25, of the right half at 250
    points = np.array([[1, 10], [2, 20], [1.5, 30], [2.4, 40], [3, 100], [4, 200], [5, 300], [2.6, 400]])
    values = np.repeat(points, 10, axis=0)
    partition = QuantilePartition.fit(values, 2)
    assert [e.tolist() for e in partition.edges] == [[2.5], [25.0, 250.0]]
    np.testing.assert_array_equal(partition.cells(points), [0, 0, 1, 1, 2, 2, 3, 3])
    np.testing.assert_array_equal(partition.cells(np.array([[2.5, 25.0], [99, 250.1]])), [0, 3])  # an edge is below


def test_values_that_cannot_be_split_keep_the_truths_occupancy():
    values = np.concatenate([np.zeros(600), np.arange(1, 401)])  # 60 % empty showers
    partition = QuantilePartition.fit(values, 2)
    np.testing.assert_array_equal(partition.truth, [600, 0, 200, 200])
    _, divergence = partition.curve(partition.counts(partition.cells(values)), len(values))
    np.testing.assert_allclose(divergence, 0, atol=1e-12)


def test_a_tenth_of_the_showers_is_the_most_quantiles():
    assert [allowed_levels(n) for n in (0, 9, 10, 19, 20, 1000, 10240, 10239)] == [0, 0, 0, 0, 1, 6, 10, 9]
    values = np.random.default_rng(0).normal(size=10_000)
    partition = QuantilePartition.fit(values, 8)
    quantiles, divergence = partition.curve(partition.counts(partition.cells(values[:1000])), 1000)
    np.testing.assert_array_equal(quantiles, [2, 4, 8, 16, 32, 64])
    assert divergence.shape == (6,)
    with pytest.raises(MetricUnavailable, match="2048 quantiles need 20480"):
        QuantilePartition.fit(values, 11)
    with pytest.raises(MetricUnavailable, match="2 quantiles need 20 showers, found 19"):
        partition.curve(partition.counts(partition.cells(values[:19])), 19)


def test_quantiles_refuse_what_they_cannot_split():
    with pytest.raises(DataError, match="row 3"):
        QuantilePartition.fit(np.r_[0.0, 1, 2, np.nan, np.ones(100)], 1)
    with pytest.raises(DataError, match="shape"):
        QuantilePartition.fit(np.zeros((2, 2, 2)), 1)
    partition = QuantilePartition.fit(np.arange(100.0), 1)
    with pytest.raises(DataError, match="1 dimensions cannot hold values of 2"):
        partition.cells(np.zeros((3, 2)))


# ---- divergence ---------------------------------------------------------------------------------------------------
def test_divergence_of_known_histograms():
    assert jensen_shannon([1, 3], [2, 6]) == 0
    assert jensen_shannon([5, 0], [0, 9]) == pytest.approx(np.log(2))
    # g = (1, 0), p = (1/2, 1/2), m = (3/4, 1/4)
    expected = 0.5 * (np.log(4 / 3) + 0.5 * np.log(2 / 3) + 0.5 * np.log(2))
    assert jensen_shannon([4, 0], [3, 3]) == pytest.approx(expected)
    np.testing.assert_allclose(jensen_shannon([[4, 0], [1, 1]], [3, 3]), [expected, 0], atol=1e-15)
    with pytest.raises(MetricUnavailable, match="no values"):
        jensen_shannon([0, 0], [1, 1])
    with pytest.raises(MetricUnavailable, match="2 and 3 bins"):
        jensen_shannon([1, 0], [1, 1, 1])


def test_true_samples_follow_the_expected_divergence_and_its_error():
    rng = np.random.default_rng(0)
    found, errors = [], []
    for _ in range(60):
        partition = QuantilePartition.fit(rng.normal(size=(8000, 2)), 5)
        cells = partition.cells(rng.normal(size=(2000, 2)))
        blocks = np.array([partition.counts(c) for c in np.split(cells, 20)])
        quantiles, values = partition.curve(blocks.sum(axis=0), 2000)
        found.append(values)
        errors.append(jackknife_error(partition, blocks, 2000))
    mean, spread = np.mean(found, axis=0), np.std(found, axis=0, ddof=1)
    np.testing.assert_allclose(mean[2:], expected_divergence(quantiles, 2000, 8000)[2:], rtol=0.15)
    np.testing.assert_allclose(np.mean(errors, axis=0)[3:], spread[3:], rtol=0.4)


# ---- equivalent sizes ---------------------------------------------------------------------------------------------
def test_equivalent_size_inverts_the_divergence_of_true_samples():
    sizes = np.array([1000, 5000, 50_000])
    law = expected_divergence(64, sizes, 250_000)
    for n in (1000, 3000, 50_000, 300, 120_000):  # inside, at the ends, and extrapolated
        assert equivalent_size(float(expected_divergence(64, n, 250_000)), sizes, law, 250_000) == pytest.approx(n)
    assert equivalent_size(float(expected_divergence(64, 2000, 250_000)), sizes[:1], law[:1], 250_000) == pytest.approx(
        2000
    )
    assert equivalent_size(float(expected_divergence(64, np.inf, 260_000)), sizes, law, 250_000) == np.inf
    noisy = law[[0, 2, 1]]  # larger sample, larger divergence by chance: still an answer between the sizes
    assert 1000 <= equivalent_size(float(law[1]), sizes, noisy, 250_000) <= 50_000
    for bad in ((0.1, [], []), (0.0, [10], [0.1]), (0.1, [10], [0.0])):
        with pytest.raises(MetricUnavailable):
            equivalent_size(bad[0], np.array(bad[1]), np.array(bad[2]), 1000)


def test_equivalent_size_has_the_error_of_its_divergences():
    sizes, rng = np.array([1000, 10_000]), np.random.default_rng(0)
    law = expected_divergence(64, sizes, 10**9)
    middle = float(expected_divergence(64, 3000, 10**9))
    found = equivalent_size_with_error((middle, 0.1 * middle), sizes, law, 0 * law, 10**9, rng)
    assert found.n == pytest.approx(3000) and found.error == pytest.approx(300, rel=0.15) and not found.extrapolated
    assert equivalent_size_with_error((3 * law[0], 0.0), sizes, law, 0.1 * law, 10**9, rng).extrapolated


def test_truth_is_worth_itself_and_a_kernel_estimate_of_a_smooth_density_more():
    rng = np.random.default_rng(1)
    n_truth, sizes = 40_000, np.array([640, 2560, 10_240])
    partition = QuantilePartition.fit(rng.normal(size=n_truth), 6)

    def divergence(sample):
        return partition.curve(partition.counts(partition.cells(sample)), len(sample))[1][-1]

    points = np.array([np.mean([divergence(rng.normal(size=n)) for _ in range(10)]) for n in sizes])
    itself = [equivalent_size(divergence(rng.normal(size=640)), sizes, points, n_truth) for _ in range(5)]
    assert np.mean(itself) / 640 == pytest.approx(1, abs=0.35)
    kernel = [divergence(fit_kde(rng.normal(size=640), rng).draw(100_000, rng)) for _ in range(3)]
    assert equivalent_size(np.mean(kernel), sizes, points, n_truth) / 640 > 1.8


# ---- estimators ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("fit", [fit_kde, fit_histogram])
def test_estimators_learn_a_density_and_are_deterministic(fit):
    values = np.random.default_rng(0).multivariate_normal([5, -3], [[4, 0.8], [0.8, 0.25]], 500)
    first, second = (fit(values, np.random.default_rng(2)) for _ in range(2))
    assert first.settings == second.settings
    drawn = first.draw(40_000, np.random.default_rng(3))
    assert drawn.shape == (40_000, 2)
    np.testing.assert_allclose(drawn.mean(axis=0), values.mean(axis=0), atol=0.05)
    np.testing.assert_allclose(drawn.std(axis=0), values.std(axis=0), rtol=0.12)
    assert np.corrcoef(drawn.T)[0, 1] > 0.65


def test_histogram_is_as_fine_as_the_data_allow():
    rng = np.random.default_rng(0)
    flat = fit_histogram(rng.uniform(size=1000))
    edge = fit_histogram(np.where(rng.random(1000) < 0.9, rng.uniform(0.5, 0.6, 1000), rng.uniform(size=1000)))
    assert flat.settings["bins"][0] <= 3 < edge.settings["bins"][0]
    few, many = (fit_histogram(rng.normal(size=n)).settings["bins"][0] for n in (300, 30_000))
    assert few < many
    inside = flat.draw(1000, rng)
    assert inside.min() >= 0 and inside.max() <= 1


@pytest.mark.parametrize("fit", [fit_kde, fit_histogram])
def test_estimators_refuse_what_has_no_density(fit):
    rng = np.random.default_rng(0)
    for values in (np.ones(100), np.arange(5.0), np.r_[np.arange(50.0), np.nan]):
        with pytest.raises(MetricUnavailable):
            fit(values, rng)


# ---- observables --------------------------------------------------------------------------------------------------
def test_image_observables_of_known_showers():
    showers = np.zeros((3, GEOMETRY.n_voxels), dtype=np.float32)
    showers[0, 0], showers[0, 31], showers[0, 1] = 6, 2, 0.05  # x slow: both in the first row of x
    showers[1, 32 * 16 + 16] = 1
    image = image_observables(showers, np.full(3, 800.0), GEOMETRY, 0.1, pixel_cut_MeV=1.5)
    np.testing.assert_allclose(image.columns["E_vis"], [8, 1, 0])
    np.testing.assert_allclose(image.columns["E_peak"], [6, 1, 0])
    np.testing.assert_allclose(image.columns["CG_x"], [-77.5, 2.5, 0])
    np.testing.assert_allclose(image.columns["CG_y"], [(-77.5 * 6 + 77.5 * 2) / 8, 2.5, 0])
    np.testing.assert_array_equal(image.pixels, [6, 2])
    np.testing.assert_array_equal(image.starts(["E_pixel"]), [0, 2, 2, 2])
    assert image.values(["E_vis", "CG_y"]).shape == (3, 2) and image.values(["E_pixel"]).shape == (2, 1)
    with pytest.raises(DataError, match="E_pixel"):
        image.values(["E_vis", "E_pixel"])
    again = ImageObservables.joined([image.select(0, 1), image.select(1, 3)])
    np.testing.assert_array_equal(again.pixels, image.pixels)
    np.testing.assert_array_equal(again.offsets, image.offsets)
    assert again.n == 3 and again.select(1, 3).pixels.size == 0


def test_image_observables_of_several_layers_add_up():
    geometry = load_geometry("calogan")
    showers = np.random.default_rng(0).exponential(size=(4, geometry.n_voxels)).astype(np.float32)
    image = image_observables(showers, np.full(4, 1e3), geometry, 0.0)
    x = geometry.eta if geometry.eta_axis == 0 else geometry.phi
    np.testing.assert_allclose(image.columns["CG_x"], showers @ x / showers.sum(axis=1), rtol=1e-5)
    np.testing.assert_allclose(image.columns["E_peak"], showers.max(axis=1))


def test_image_observables_of_summed_and_pooled_showers():
    ild, showers = load_geometry("ild"), np.zeros((2, 30, 30, 30), dtype=np.float32)
    showers[0, 2, 0, 0], showers[0, 7, 2, 1], showers[0, 29, 1, 1] = (
        0.3,
        0.5,
        0.04,
    )  # pixel (0, 0); the last is below 0.1
    showers[0, 5, 29, 0] = 0.2  # pixel (9, 0)
    showers[1, 0, 15, 15] = 4
    showers[1, 9, 15, 18] = 0.15  # a pixel below its own threshold
    image = image_observables(
        showers.reshape(2, -1),
        np.full(2, 5e4),
        ild,
        0.1,
        pixel_cut_MeV=0.25,
        image_pool=(3, 3),
        image_threshold_MeV=0.17,
    )
    np.testing.assert_allclose(image.columns["E_vis"], [1.0, 4], rtol=1e-6)
    np.testing.assert_allclose(image.columns["E_peak"], [0.8, 4], rtol=1e-6)
    np.testing.assert_allclose(image.columns["CG_x"], [-70 * 0.8 + 65 * 0.2, 5], rtol=1e-5)
    np.testing.assert_allclose(image.columns["CG_y"], [-70, 5], rtol=1e-5)
    np.testing.assert_allclose(image.pixels, [0.8, 4], rtol=1e-6)
    np.testing.assert_array_equal(image.offsets, [0, 1, 2])
    every = image_observables(showers.reshape(2, -1), np.full(2, 5e4), ild, 0.0, image_pool=(3, 3))
    np.testing.assert_allclose(every.columns["E_vis"], [1.04, 4.15], rtol=1e-6)
    assert np.diff(every.offsets).tolist() == [2, 2]


# ---- settings -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"observables": [["E_vis", "E_pixel"]]}, "E_pixel has several values"),
        ({"observables": [["E_vis", "E_vis"]]}, "different observables"),
        ({"observables": [["E_viss"]]}, "E_viss"),
        ({"quantiles": [48]}, "powers of 2, found 48"),
        ({"max_quantiles": 1000}, "powers of 2, found 1000"),
        ({"estimators": ["spline"]}, "spline"),
        ({"size": [3]}, "did you mean 'sizes'"),
        ({"subjects": {"generated": ["a"]}}, "choose another name"),
        ({"image_pool": [3, 0]}, "image_pool"),
        ({"image_threshold_MeV": 0.1}, "no images without image_pool"),
    ],
)
def test_mistakes_in_settings_are_named(settings, expected):
    with pytest.raises(ConfigError, match=expected):
        validate(CalomplificationConfig, settings, "calomplification")


# ---- the stage ----------------------------------------------------------------------------------------------------
def toy_showers(n, seed, width=1.0):
    """Images of two pixels whose energies follow normal distributions."""
    rng = np.random.default_rng(seed)
    showers = np.zeros((n, GEOMETRY.n_voxels), dtype=np.float32)
    showers[:, 527:529] = np.abs(rng.normal([50, 30], [5 * width, 4 * width], (n, 2)))
    return Showers(np.full((n, 1), 800), showers)


CONFIG = CalomplificationConfig(
    truth=4000,
    observables=[["E_vis"], ["E_pixel"], ["E_vis", "CG_y"]],
    sizes=[400, 1000, 100_000],
    sets=2,
    estimator_samples=4000,
    max_quantiles=64,
    quantiles=[16, 512],
    subjects={"wide": ["a", "b"]},
)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    for i, (name, n, width) in enumerate(
        [("train", 200, 1), ("test", 6000, 1), ("generated", 4000, 1), ("wide0", 2000, 1.6), ("wide1", 2000, 1.6)]
    ):
        write_showers(folder / f"{name}.hdf5", toy_showers(n, i, width), GEOMETRY)
    subjects = {"generated": [folder / "generated.hdf5"], "wide": [folder / "wide0.hdf5", folder / "wide1.hdf5"]}
    judge(folder, subjects, CONFIG, folder)
    return folder, subjects


def judge(folder, subjects, config, out, **more):
    files, readout = (folder / "train.hdf5", folder / "test.hdf5"), Readout.of("electron_gun_32", 0.0)
    written = {"scores": out / "scores.json", "curves": out / "curves.npz"}
    evaluate_calomplification(*files, subjects, readout, config=config, seed=0, **written, **more)


def test_stage_writes_scores_of_generators_and_estimators(study):
    scores = {(s.sample, s.name): s for s in load_scores(study[0] / "scores.json")}
    assert {sample for sample, _ in scores} == {"generated", "wide", "kde_200", "histogram_200"}
    good, wide = (scores[s, "calomplification/E_vis/16/jsd"] for s in ("generated", "wide"))
    assert good.value < 4 * good.floor < wide.value and good.error > 0 and good.n == 4000
    assert good.floor == pytest.approx(15 / 8 * (2 / 4000)) and good.extra["error_of"] == "finite sample"
    assert wide.n == 2000 and wide.extra["error_of"] == "training sets" and wide.extra["trainings"] == 2
    assert [p["n"] for p in good.extra["geant4"]] == [200, 400, 1000]  # 100 000 are more than there are
    factor = scores["wide", "calomplification/E_vis/16/amplification"]
    assert factor.value < 1 and factor.extra["extrapolated"] and factor.extra["target"] == 10
    true = scores["generated", "calomplification/E_vis/16/amplification"]  # 4000 true showers "learned" from 200
    assert true.missing or true.value > 2
    assert scores["generated", "calomplification/E_pixel/16/jsd"].floor is None
    assert ("kde_200", "calomplification/E_pixel/16/jsd") not in scores
    fits = scores["histogram_200", "calomplification/E_vis+CG_y/16/jsd"].extra["fits"]
    assert len(fits) == 2 and all(len(f["bins"]) == 2 for f in fits)
    assert "512 quantiles need 5120 showers" in scores["generated", "calomplification/E_vis/512/jsd"].missing


def test_stage_writes_curves_up_to_a_tenth_of_the_showers(study):
    curves, n_truth = load_divergences(study[0] / "curves.npz")
    table = {(c.observables, c.kind, c.name, c.n): c for c in curves}
    assert n_truth == 4000
    train = table["E_vis", "geant4", "geant4", 200]
    np.testing.assert_array_equal(train.quantiles, [2, 4, 8, 16])
    assert train.n_sets == 2 and np.isnan(train.amplification).all()
    assert table["E_vis", "geant4", "geant4", 1000].n_sets == 2  # 2200 showers in the pool
    assert table["E_vis", "generator", "generated", 200].quantiles[-1] == 64
    np.testing.assert_allclose(table["E_vis", "floor", "truth", 4000].values, (2.0 ** np.arange(1, 7) - 1) / 8 / 4000)
    with pytest.raises(DataError, match=r"scores\.json: not a file of divergence curves"):
        load_divergences(study[0] / "scores.json")


def test_several_trainings_on_sets_of_their_own(study, tmp_path):
    folder = study[0]
    config = CONFIG.model_copy(update={"observables": [["E_vis"]], "sizes": [1000], "estimators": ["histogram"]})
    several = {"generated": [folder / "wide0.hdf5", folder / "wide1.hdf5"]}

    def judged(showers):
        judge(folder, several, config, tmp_path, training_showers=showers)
        scores = {(s.sample, s.name): s for s in load_scores(tmp_path / "scores.json")}
        curves = {(c.kind, c.n): c for c in load_divergences(tmp_path / "curves.npz")[0]}
        return scores["generated", "calomplification/E_vis/16/jsd"], curves

    one_set, _ = judged(None)
    own_sets, curves = judged(100)  # 200 showers to train on: two blocks
    assert own_sets.error == one_set.error and own_sets.value == one_set.value
    assert (one_set.extra["error_of"], one_set.extra["n_training"]) == ("trainings on one set", 200)
    assert (own_sets.extra["error_of"], own_sets.extra["n_training"]) == ("training sets", 100)
    assert own_sets.extra["trainings"] == 2 and curves["generator", 100].n_sets == 2
    single = [judged_alone(folder, f"wide{i}.hdf5", config, tmp_path) for i in range(2)]
    assert own_sets.value == pytest.approx(np.mean(single)) and own_sets.error == pytest.approx(np.std(single, ddof=1))
    assert {kind for kind, n in curves if n == 100} == {"geant4", "generator", "histogram"}


def judged_alone(folder, name, config, out):
    judge(folder, {"generated": [folder / name]}, config, out)
    return next(
        s.value for s in load_scores(out / "scores.json") if s.sample == "generated" and s.name.endswith("/16/jsd")
    )


def test_stage_is_deterministic(study, tmp_path):
    folder, subjects = study
    judge(folder, subjects, CONFIG.model_copy(update={"observables": [["E_vis"]]}), tmp_path)
    every, alone = (load_scores(f / "scores.json") for f in (folder, tmp_path))
    assert alone and alone == [s for s in every if s.name.startswith("calomplification/E_vis/")]


def test_figures_have_a_panel_per_observable(study):
    curves, n_truth = load_divergences(study[0] / "curves.npz")
    common = [c for c in curves if c.kind != "generator"]
    style = LineStyle("inn", "#0072B2")
    generators = [(c, style) for c in curves if c.name == "generated"]
    figure = divergence_figure(common, generators, n_truth, "toy")
    assert [a.texts[0].get_text() for a in figure.axes] == [
        r"$E_\mathrm{vis}$", r"$E_\mathrm{pixel}$", r"$E_\mathrm{vis}$, $CG_y$"
    ]  # fmt: skip
    labels = [t.get_text() for t in figure.legends[0].texts]
    geant4 = ["Geant4, 200", "Geant4, 400", "Geant4, 1k"]
    estimators = ["kernel density, 200", "histogram estimator, 200"]
    assert labels == [*geant4, *estimators, "inn", "resolution of the truth (4k)"]
    figure = amplification_figure(common, generators, n_truth)
    assert [t.get_text() for t in figure.legends[0].texts] == [*estimators, "inn", "outside the measured sizes"]


def test_report_shows_the_study_and_the_generators_scores(study):
    folder = study[0]
    files = {"calomplification": str(folder / "scores.json"), "divergences": str(folder / "curves.npz")}
    runs = tuple(RunArtifacts("electrons", "inn", seed, "electron_gun_32", **files) for seed in (0, 1))
    (data,) = load_study_data(StudySummary("toy", runs))
    assert not data.notes and {s.sample for s in data.models[0].amplification} == {"generated"}
    first, second = data.score_columns()["inn", "generated"]  # once, not once per seed
    assert first == data.models[0].amplification and not second
    tasks = [t for t in dataset_tasks(data) if t.section == "amplification"]
    assert [t.name for t in tasks] == ["electrons_divergence", "electrons_amplification"]
    assert [label for _, style in tasks[0].args[1] if (label := style.label)][:2] == ["inn, 200", "wide, 200"]
    assert all(len(t.function(*t.args).axes) == 3 for t in tasks)


def test_tables_of_estimators_and_of_divergences(study):
    folder = study[0]
    files = {"calomplification": str(folder / "scores.json"), "divergences": str(folder / "curves.npz")}
    (data,) = load_study_data(StudySummary("toy", (RunArtifacts("electrons", "inn", 0, "electron_gun_32", **files),)))
    chosen, divergences = amplification_tables(data)
    assert chosen.columns[1:] == ("KDE bandwidth, 200", "histogram bins, 200")
    assert [row[0] for row in chosen.rows] == ["E_vis", "E_vis, CG_y"]  # none of E_pixel
    scores = {(s.sample, s.name): s for s in load_scores(folder / "scores.json")}
    fits = scores["histogram_200", "calomplification/E_vis+CG_y/16/jsd"].extra["fits"]
    each = np.array([f["bins"] for f in fits], dtype=float)
    wanted = zip(each.mean(0), each.std(0, ddof=1), strict=True)
    assert chosen.rows[1][2] == " × ".join(format_measurement(m, s) for m, s in wanted)
    heads = ["Observables", "Quantiles", "Geant4, 200", "Geant4, 400", "Geant4, 1k", "inn, 200", "wide, 200"]
    assert list(divergences.columns) == [*heads, "kernel density, 200", "histogram estimator, 200"]
    row = dict(zip(divergences.columns, divergences.rows[0], strict=True))
    wide = scores["wide", "calomplification/E_vis/16/jsd"]
    factor = scores["wide", "calomplification/E_vis/16/amplification"]
    assert row["Observables"] == "E_vis" and row["Quantiles"] == "16"
    texts = [format_measurement(s.value, s.error) for s in (wide, factor)]
    assert row["wide, 200"] == f"{texts[0]}\nfactor {texts[1]} (extrapolated)"
    assert row["Geant4, 200"] and "factor" not in row["Geant4, 200"]  # the measure itself
    assert {row[1] for row in divergences.rows} == {"16"}, "nothing reaches 512 quantiles"


def test_stage_says_what_it_cannot_judge(study, tmp_path):
    folder, subjects = study
    write_showers(tmp_path / "few.hdf5", toy_showers(19, 5), GEOMETRY)
    judge(folder, {"generated": [tmp_path / "few.hdf5"]}, CONFIG, tmp_path)
    scores = load_scores(tmp_path / "scores.json")
    assert scores and all(s.value is None and "found 19" in s.missing for s in scores)
    json.loads((tmp_path / "scores.json").read_text())
    greedy = CONFIG.model_copy(update={"truth": 6001})
    with pytest.raises(DataError, match="6000 showers, but the truth shall be 6001"):
        judge(folder, subjects, greedy, tmp_path)
    with pytest.raises(DataError, match="nothing"):
        judge(folder, {"x": [tmp_path / "nothing.hdf5"]}, CONFIG, tmp_path)
