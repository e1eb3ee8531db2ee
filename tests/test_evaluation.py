"""Evaluation stages: from shower files to histograms, scores, curves and times."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

import calopipe.evaluation.inputs as inputs
from calopipe.config.evaluation import ClassifierConfig, HistogramConfig, TimingConfig
from calopipe.errors import ConfigError, DataError
from calopipe.evaluation import (
    evaluate_classifier,
    evaluate_metrics,
    evaluate_observables,
    measure_timing,
)
from calopipe.evaluation.inputs import Readout
from calopipe.evaluation.reconstruction import evaluate_reconstruction
from calopipe.evaluation.samples import load_sample
from calopipe.geometry import load_geometry
from calopipe.io import Showers, iter_showers, read_showers, write_showers
from calopipe.metrics.features import features_high
from calopipe.observables import compute
from calopipe.observables.challenge import challenge_histograms
from calopipe.records.histograms import load_cross_sections, load_examples, load_histograms
from calopipe.records.scores import load_scores
from calopipe.records.slices import Slice
from calopipe.records.tables import score_rows, write_table

GEOMETRY = load_geometry("calogan")
LOW = Slice.of_energies(1e3, 8e3)
CONFIG = HistogramConfig(bins=30, energy_ratio_range=(0.9, 1.05), energy_slices=[(1e3, 8e3), (1e6, 2e6)], brightest=2)
CLASSIFIER = ClassifierConfig(hidden=[24, 24], epochs=4, batch_size=200, lr=1e-3, repeats=2)


@pytest.fixture(scope="module")
def files(sample, tmp_path_factory):
    """Two halves of the bundled sample, and the second half with energies raised by 3 %."""
    folder = tmp_path_factory.mktemp("samples")
    showers = read_showers(sample, slice(0, 3000))
    paths = {k: folder / f"{k}.hdf5" for k in ("reference", "half", "scaled")}
    incident, voxels = showers.incident_energies, showers.showers
    write_showers(paths["reference"], Showers(incident[:1500], voxels[:1500]), GEOMETRY)
    write_showers(paths["half"], Showers(incident[1500:], voxels[1500:]), GEOMETRY)
    write_showers(paths["scaled"], Showers(incident[1500:], voxels[1500:] * np.float32(1.03)), GEOMETRY)
    return paths


@pytest.fixture(scope="module")
def histograms(files, tmp_path_factory):
    out = tmp_path_factory.mktemp("histograms") / "histograms.npz"
    samples = {"generated": files["half"], "scaled": files["scaled"], "same": files["reference"]}
    evaluate_observables(files["reference"], samples, Readout.of("calogan", 0.01), config=CONFIG, out=out)
    return out


def test_histograms_hold_every_observable_of_every_sample(files, histograms):
    found, averages = load_histograms(histograms)
    table = {(h.name, h.part): h for h in found}
    showers = read_showers(files["half"])
    out = compute(showers.showers, showers.incident_energies, GEOMETRY, 0.01, 2)
    ratio = table["E_ratio", None]
    np.testing.assert_array_equal(
        ratio.counts["generated"], np.histogram(out["E_ratio"], np.linspace(0.9, 1.05, 31))[0]
    )
    assert ratio.totals == {"reference": 1500, "generated": 1500, "scaled": 1500, "same": 1500}
    assert table["brightest/1/2", None].group == "brightest" and table["E_layer/0", None].log_x
    voxels = table["voxels", None]
    assert voxels.totals["generated"] == (showers.showers >= np.float32(0.01)).sum() >= voxels.counts["generated"].sum()
    for h in found:  # equal samples fill equal bins
        np.testing.assert_array_equal(h.counts["same"], h.counts["reference"], err_msg=h.name)
    assert {h.part for h in found} == {None, LOW}  # a slice without reference showers is left out
    sliced = table["E_ratio", LOW]
    energies = showers.incident_energies[:, 0]
    assert sliced.totals["generated"] == ((energies >= 1e3) & (energies < 8e3)).sum()
    kept = np.where(showers.showers >= np.float32(0.01), showers.showers, 0)
    np.testing.assert_allclose(averages[0].mean["generated"], kept.mean(axis=0, dtype=np.float64))
    assert averages[0].n["scaled"] == 1500 and averages[1].part == LOW


def test_averages_have_spreads_and_cross_sections_with_errors(files, histograms):
    showers = read_showers(files["half"]).showers
    kept = np.where(showers >= np.float32(0.01), showers, 0).astype(np.float64)
    everything, sliced = load_histograms(histograms)[1]
    np.testing.assert_allclose(everything.std["generated"], kept.std(axis=0, ddof=1), rtol=1e-5, atol=1e-7)
    assert set(sliced.std) == set(sliced.mean)
    found = {(c.layer, c.axis): c for c in load_cross_sections(histograms)}
    section = found[1, "eta"]
    grid = GEOMETRY.reshape_layer(kept, 1)  # phi, eta
    np.testing.assert_allclose(section.mean["generated"], grid.mean(axis=0), rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(section.std["generated"], grid.std(axis=0, ddof=1), rtol=1e-5, atol=1e-7)
    assert section.n["generated"] == 1500
    position, error = section.position["generated"]
    rows = grid.mean(axis=0)[6]
    assert position[6] == pytest.approx((rows @ GEOMETRY.eta[GEOMETRY.layer_slices[1]][:12]) / rows.sum())
    middle = section.width["generated"][:, 6], section.width["reference"][:, 6]
    assert abs(middle[0][0] - middle[1][0]) < 4 * np.hypot(middle[0][1], middle[1][1])
    rng = np.random.default_rng(0)
    picks = rng.integers(0, 1500, (100, 1500))
    x = GEOMETRY.eta[GEOMETRY.layer_slices[1]][:12]
    means = np.stack([grid[p, 6].mean(axis=0) for p in picks])
    assert error[6] == pytest.approx(((means @ x) / means.sum(axis=1)).std(), rel=0.5), "as a bootstrap says"


def test_examples_are_the_same_rows_or_those_of_the_nearest_energy(files, histograms, tmp_path):
    examples = load_examples(histograms)
    reference = read_showers(files["reference"])
    rows = examples.rows["reference"]
    assert len(rows) == 4 and (np.diff(examples.incident["reference"]) > 0).all()
    np.testing.assert_array_equal(examples.rows["same"], rows)
    kept = np.where(reference.showers[rows] >= np.float32(0.01), reference.showers[rows], 0)
    np.testing.assert_array_equal(examples.showers["reference"], kept)
    half = read_showers(files["half"])
    other = examples.rows["generated"]
    np.testing.assert_array_equal(examples.showers["generated"].sum(axis=1) > 0, True)
    for row, energy in zip(other, examples.incident["reference"], strict=True):
        assert np.abs(half.incident_energies[:, 0] - energy).argmin() == row
    out = tmp_path / "none.npz"
    config = CONFIG.model_copy(update={"examples": 0, "energy_slices": []})
    evaluate_observables(
        files["reference"], {"generated": files["half"]}, Readout.of(GEOMETRY, 0.01), config=config, out=out
    )
    assert load_examples(out) is None


def test_response_at_each_of_a_few_incident_energies(files, tmp_path):
    showers = read_showers(files["reference"], slice(0, 300))
    incident = np.repeat(np.array([[512.0], [1024.0], [4096.0]], dtype=np.float32), 100, axis=0)
    write_showers(tmp_path / "few.hdf5", Showers(incident, showers.showers), GEOMETRY)
    out = tmp_path / "h.npz"
    for per_energy in (True, False):
        config = CONFIG.model_copy(update={"energy_slices": [], "per_energy": per_energy})
        evaluate_observables(
            tmp_path / "few.hdf5",
            {"generated": tmp_path / "few.hdf5"},
            Readout.of(GEOMETRY, 0.01),
            config=config,
            out=out,
        )
        histograms, averages = load_histograms(out)
        assert len(averages) == 1
        found = {h.part: h for h in histograms if h.part}
        assert set(found) == ({Slice.of_energies(e, e) for e in (512.0, 1024.0, 4096.0)} if per_energy else set())
        for part, h in found.items():
            ratio = showers.showers[incident[:, 0] == part.low].sum(axis=1) / part.low
            assert h.name == "E_ratio" and h.totals == {"reference": 100, "generated": 100}
            assert h.edges[0] <= ratio.min() and h.counts["generated"].sum() == 100 and len(h.edges) == 16


def test_histograms_do_not_depend_on_how_files_are_read(files, histograms, tmp_path, monkeypatch):
    def in_small_pieces(path, chunk_rows=None, **options):
        return iter_showers(path, chunk_rows=331, **options)

    monkeypatch.setattr(inputs, "iter_showers", in_small_pieces)
    out = tmp_path / "histograms.npz"
    evaluate_observables(
        files["reference"], {"generated": files["half"]}, Readout.of(GEOMETRY, 0.01), config=CONFIG, out=out
    )
    whole = {(h.name, h.part): h for h in load_histograms(histograms)[0]}
    for h in load_histograms(out)[0]:
        np.testing.assert_allclose(h.edges, whole[h.name, h.part].edges, rtol=1e-6, atol=1e-6)
        moved = np.abs(h.counts["generated"] - whole[h.name, h.part].counts["generated"]).sum()
        assert moved <= 4, h.name  # an entry may change its bin where rounding moves an edge
    for a, b in zip(load_cross_sections(out), load_cross_sections(histograms), strict=True):
        np.testing.assert_allclose(a.width["generated"], b.width["generated"], rtol=1e-6, err_msg=f"{a.layer} {a.axis}")


def test_metrics_are_small_for_a_half_and_large_for_a_distortion(files, histograms, tmp_path):
    out = tmp_path / "metrics.json"
    samples = {"generated": files["half"], "scaled": files["scaled"]}
    metrics = [{"metric": "separation_power"}, {"metric": "energy_response"}, {"metric": "kl_average", "layers": False}]
    evaluate_metrics(
        files["reference"],
        samples,
        Readout.of("calogan", 0.01),
        metrics=metrics,
        histograms=histograms,
        seed=3,
        out=out,
    )
    scores = {(s.name, s.sample): s for s in load_scores(out)}
    half, scaled = (scores["separation_power/E_ratio", k] for k in samples)
    assert half.value < 3 * half.floor and scaled.value > 0.5 and half.n == 1500 and half.seed == 3
    assert scores["energy_response/mean_difference", "scaled"].value == pytest.approx(0.03, abs=0.002)
    assert abs(scores["kl_average/shower", "generated"].value) < 0.01
    again = tmp_path / "again.json"
    evaluate_metrics(
        files["reference"],
        samples,
        Readout.of("calogan", 0.01),
        metrics=metrics,
        histograms=histograms,
        seed=3,
        out=again,
    )
    assert again.read_bytes() == out.read_bytes()


def test_reconstruction_error_by_hand(files, histograms, tmp_path):
    """Squared errors 1 + 4, 0 and 1 MeV^2 of deposits 10, 20, 30 MeV: 2 MeV^2 per shower, and sqrt(2) / 20."""
    original, made = (np.zeros((3, GEOMETRY.n_voxels), dtype=np.float32) for _ in range(2))
    original[:, 7] = made[:, 7] = 10, 20, 30
    made[0, 7], made[0, 100], made[2, 7] = 11, 2, 29
    made[:, 200] = 0.009  # below the threshold
    incident = np.array([[100], [200], [300]], dtype=np.float32)
    paths = {k: tmp_path / f"{k}.hdf5" for k in ("original", "made", "turned", "fewer")}
    write_showers(paths["original"], Showers(incident, original), GEOMETRY)
    write_showers(paths["made"], Showers(incident, made), GEOMETRY)
    write_showers(paths["turned"], Showers(incident[::-1], made[::-1]), GEOMETRY)
    write_showers(paths["fewer"], Showers(incident[:2], made[:2]), GEOMETRY)
    readout = Readout.of("calogan", 0.01)
    square, ratio = evaluate_reconstruction(paths["original"], paths["made"], readout)
    assert square.name == "reconstruction/squared_error" and square.value == pytest.approx(2) and square.n == 3
    assert square.error == pytest.approx(np.std([5, 0, 1], ddof=1) / np.sqrt(3))
    assert ratio.value == pytest.approx(np.sqrt(2) / 20) and square.extra["mean_deposit_MeV"] == pytest.approx(20)
    changes = np.array([5, 0, 1]) / 4 - np.array([10, 20, 30]) / 20
    assert ratio.error == pytest.approx(ratio.value * changes.std(ddof=1) / np.sqrt(3))
    for name, reason in (("turned", "other incident energies"), ("fewer", "2 reconstructed showers of 3")):
        for score in evaluate_reconstruction(paths["original"], paths[name], readout):
            assert score.value is None and reason in score.missing
    exact = evaluate_reconstruction(paths["original"], paths["original"], readout)
    assert [s.value for s in exact] == [0, 0] and [s.error for s in exact] == [0, 0]


def test_reconstructions_alone_have_a_reconstruction_error(files, histograms, tmp_path):
    samples = {"generated": files["reference"], "reconstructed": files["reference"]}
    readout, out = Readout.of("calogan", 0.01), tmp_path / "metrics.json"
    evaluate_metrics(files["reference"], samples, readout, metrics=[], histograms=histograms, seed=0, out=out)
    names = [(s.name, s.sample) for s in load_scores(out)]
    assert names == [(f"reconstruction/{k}", "reconstructed") for k in ("squared_error", "relative_error")]


def test_a_metric_that_is_not_defined_is_recorded_as_missing(files, histograms, tmp_path):
    out = tmp_path / "metrics.json"
    metrics = [{"metric": "separation_power", "observables": ["EC_r"]}, {"metric": "energy_response"}]
    evaluate_metrics(
        files["reference"],
        {"generated": files["half"]},
        Readout.of(GEOMETRY),
        metrics=metrics,
        histograms=histograms,
        seed=0,
        out=out,
    )
    missing, mean, _ = load_scores(out)
    assert missing.value is None and "EC_r" in missing.missing and mean.value is not None


@pytest.fixture(scope="module")
def cylindrical(tmp_path_factory):
    """Reference and another sample of random showers in the geometry of set-1 photons."""
    geometry, rng = load_geometry("calochallenge1_photons"), np.random.default_rng(0)
    folder, paths = tmp_path_factory.mktemp("cylindrical"), {}
    for name, n in (("reference", 700), ("generated", 630)):
        showers = rng.exponential(40, (n, geometry.n_voxels)) * (rng.random((n, geometry.n_voxels)) < 0.3)
        paths[name] = folder / f"{name}.hdf5"
        incident = showers.sum(axis=1, keepdims=True) * rng.uniform(0.8, 1.2, (n, 1))
        write_showers(paths[name], Showers(incident, showers.astype(np.float32)), geometry)
    out = folder / "histograms.npz"
    evaluate_observables(
        paths["reference"], {"generated": paths["generated"]}, Readout.of(geometry), config=CONFIG, out=out
    )
    return paths, geometry, out


def test_streamed_samples_hold_what_a_computation_in_memory_gives(cylindrical, monkeypatch):
    paths, geometry, histograms = cylindrical
    monkeypatch.setattr(inputs, "iter_showers", lambda *a, chunk_rows=None, **k: iter_showers(*a, chunk_rows=101, **k))
    base = load_sample("reference", paths["reference"], Readout.of(geometry, 1.0), histograms=histograms)
    sample = load_sample(
        "generated", paths["generated"], Readout.of(geometry, 1.0), histograms=histograms, reference=base
    )
    maxima = None
    for found, path in ((base, paths["reference"]), (sample, paths["generated"])):
        showers = read_showers(path)
        counts, maxima = challenge_histograms(showers.showers, showers.incident_energies, geometry, 1.0, maxima)
        assert list(found.challenge_histograms) == list(counts)
        for name, h in found.challenge_histograms.items():
            np.testing.assert_array_equal(h.counts, counts[name], err_msg=name)
            np.testing.assert_array_equal(h.blocks.sum(axis=0), counts[name])
            assert len(h.blocks) == 100
        kept = np.where(showers.showers >= 1, showers.showers, 0)
        np.testing.assert_array_equal(found.some_showers(np.array([3, 250, 600])), kept[[3, 250, 600]])
        np.testing.assert_array_equal(found.showers, kept)
        assert found.largest_voxel == kept.max()
        features = features_high(compute(kept, showers.incident_energies, geometry, 1.0), showers.incident_energies)
        np.testing.assert_array_equal(found.high_features, features)


def test_challenge_metrics_from_files_to_scores(cylindrical, files, histograms, tmp_path):
    paths, geometry, out = cylindrical
    names = ["fpd", "kpd", "prdc", "challenge_separation"]
    metrics = [{"metric": name} for name in names]
    samples = {"generated": paths["generated"]}
    evaluate_metrics(
        paths["reference"],
        samples,
        Readout.of(geometry),
        metrics=metrics,
        histograms=out,
        seed=0,
        out=tmp_path / "metrics.json",
    )
    scores = {s.name: s for s in load_scores(tmp_path / "metrics.json")}
    assert {"fpd", "kpd", "prdc/coverage", "challenge_separation/mean_layers/EC_eta"} <= set(scores)
    for score in scores.values():
        assert score.n == 630 and (score.missing or (np.isfinite(score.value) and score.error is not None)), score
    cartesian = tmp_path / "cartesian.json"
    evaluate_metrics(
        files["reference"],
        {"generated": files["half"]},
        Readout.of(GEOMETRY),
        metrics=metrics,
        histograms=histograms,
        seed=0,
        out=cartesian,
    )
    found = {s.name: s for s in load_scores(cartesian)}
    assert "cylindrical geometry" in found["challenge_separation"].missing
    assert found["fpd"].value >= 0 and found["fpd"].floor > 0 and "1500 showers" in found["fpd"].extra["note"]


def test_classifier_writes_scores_and_curves(files, tmp_path):
    scores, curves = tmp_path / "low.json", tmp_path / "low.npz"
    for features in ("low", "low_raw", "low_normed", "high"):
        config = CLASSIFIER.model_copy(update={"features": features, "max_per_class": 400})
        evaluate_classifier(
            files["reference"],
            files["half"],
            Readout.of("calogan", 0.01),
            config=config,
            seed=5,
            scores=scores,
            curves=curves,
            sample="generated",
        )
        auc, accuracy, jsd = load_scores(scores)
        assert [s.name for s in (auc, accuracy, jsd)] == [f"classifier/low/{k}" for k in ("auc", "accuracy", "jsd")]
        assert abs(auc.value - 0.5) < 5 * auc.extra["statistical_error"] and auc.floor == 0.5 and auc.n == 400
        with np.load(curves) as data:
            assert data["tpr"].shape == (2, len(data["fpr"])) and data["weights_generated"].shape == (2, 80)
            assert data["rows_reference"].max() > 400, "rows of the file, not of the thinned sample"


def test_classifier_on_too_few_showers_says_so(files, tmp_path):
    few = tmp_path / "few.hdf5"
    showers = read_showers(files["half"], slice(0, 7))
    write_showers(few, showers, GEOMETRY)
    scores, curves = tmp_path / "low.json", tmp_path / "low.npz"
    evaluate_classifier(
        files["reference"],
        few,
        Readout.of("calogan", 0.01),
        config=CLASSIFIER,
        seed=5,
        scores=scores,
        curves=curves,
        sample="generated",
    )
    assert all(s.value is None and "found 7" in s.missing for s in load_scores(scores))
    assert np.load(curves)["tpr"].shape[0] == 0


def test_samples_that_do_not_fit_are_one_clear_error(files, tmp_path):
    out = tmp_path / "out.npz"
    with pytest.raises(DataError, match=r"reference sample .*504 voxels.*'electron_gun_32'"):
        evaluate_observables(
            files["reference"], {"a": files["half"]}, Readout.of("electron_gun_32"), config=CONFIG, out=out
        )
    other = tmp_path / "other.hdf5"
    write_showers(other, Showers(np.full((30, 1), 800.0), np.ones((30, 1024))), "electron_gun_32")
    with pytest.raises(DataError, match="generated sample .*1024 voxels"):
        evaluate_observables(files["reference"], {"generated": other}, Readout.of("calogan"), config=CONFIG, out=out)
    with pytest.raises(ConfigError, match="reference"):
        evaluate_observables(
            files["reference"], {"reference": files["half"]}, Readout.of("calogan"), config=CONFIG, out=out
        )
    bad = tmp_path / "bad.hdf5"
    bad.write_bytes(files["half"].read_bytes())
    import h5py

    with h5py.File(bad, "r+") as file:
        file["showers"][3, 5] = np.nan
    with pytest.raises(DataError, match=r"bad\.hdf5.*row 3"):
        evaluate_observables(files["reference"], {"generated": bad}, Readout.of("calogan"), config=CONFIG, out=out)
    assert not out.exists()


def test_timing_names_device_threads_and_spread(tmp_path):
    calls = []

    def sampler(energies):
        calls.append(energies.shape)
        return np.zeros((len(energies), 3))

    config = TimingConfig(batch_sizes=[1, 7], repeats=3, device="cpu")
    about = {"parts": lambda e: {"first": 0.5 * len(e), "second": 1.0}, "known": {"geant4_ms": 10.0}}
    measure_timing(sampler, np.array([1e3, 2e3]), config=config, out=tmp_path / "timing.json", **about)
    record = json.loads((tmp_path / "timing.json").read_text())
    assert calls == [(1, 1)] * 4 + [(7, 1)] * 4 and record["device"] and record["threads"] >= 1
    assert record["geant4_ms"] == 10 and record["peak_memory_MiB"] > 10
    assert record["results"][1]["networks_ms"] == {"first": 500.0, "second": pytest.approx(1000 / 7)}
    for entry in record["results"]:
        assert 0 < entry["low_ms"] <= entry["median_ms"] <= entry["high_ms"] and entry["n_repeats"] == 3
    with pytest.raises(DataError, match="asked for 1"):
        measure_timing(lambda e: np.zeros((2, 3)), np.array([1e3]), config=config, out=tmp_path / "timing.json")


def test_slow_samplers_are_not_repeated(tmp_path):
    """Nor are all rows of a large batch passed again to time the networks."""
    import time

    config, asked = TimingConfig(batch_sizes=[20], repeats=5, max_seconds=0.05, device="cpu"), []
    record = measure_timing(
        lambda e: time.sleep(0.01 * len(e)) or e,
        np.array([1e3]),
        config=config,
        out=tmp_path / "timing.json",
        parts=lambda e: asked.append(len(e)) or {"flow": 0.5 * len(e)},
    )
    found = record["results"][0]
    assert found["n_repeats"] == 1 and not found["warmed_up"]
    assert 1 <= asked[0] <= 5 and found["networks_ms"] == {"flow": 500}


def test_table_of_scores(files, histograms, tmp_path):
    out = tmp_path / "metrics.json"
    evaluate_metrics(
        files["reference"],
        {"generated": files["half"]},
        Readout.of(GEOMETRY, 0.01),
        metrics=[{"metric": "energy_response"}],
        histograms=histograms,
        seed=0,
        out=out,
    )
    write_table(tmp_path / "scores.csv", score_rows(load_scores(out), dataset="calogan", model="inn"))
    with (tmp_path / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert (
        rows[0]["model"] == "inn" and rows[0]["name"] == "energy_response/mean_difference" and rows[0]["missing"] == ""
    )
    with pytest.raises(DataError, match="same columns"):
        write_table(tmp_path / "bad.csv", [{"a": 1}, {"b": 2}])
