"""Slices of a condition: which showers belong to them, and that what is said of a slice is said of those showers alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from calopipe.config.base import validate
from calopipe.config.evaluation import HistogramConfig
from calopipe.config.scores import gives
from calopipe.errors import ConfigError, DataError
from calopipe.evaluation import Readout, evaluate_metrics, evaluate_observables
from calopipe.evaluation.observables import slices_of
from calopipe.geometry import load_geometry
from calopipe.io import Showers, read_showers, write_showers
from calopipe.metrics.fpd import FpdConfig
from calopipe.plots.style import slice_label
from calopipe.records.histograms import load_histograms
from calopipe.records.scores import load_scores
from calopipe.records.slices import Slice

CALOGAN = Readout.of(load_geometry("calogan"), 0.01)
LOW = Slice.of_energies(1e3, 5e3)


def test_the_lower_end_belongs_to_a_slice():
    values = np.array([0.5, 0.7, 0.9999, 1.0], dtype=np.float32)
    assert Slice("incident_theta", 0.5, 1.0).holds(values).tolist() == [True, True, True, False]
    assert Slice("incident_theta", 0.7, 0.7).holds(values).tolist() == [False, True, False, False]
    energies = np.array([255.9, 256, 256.1, 300])  # as files hold beam energies
    assert Slice.of_energies(256, 256).holds(energies).tolist() == [True, True, True, False]


def test_names_of_slices():
    theta = Slice("incident_theta", 0.5, 1.0)
    assert (str(LOW), str(theta)) == ("1000-5000MeV", "incident_theta=0.5-1")
    assert str(Slice.of_energies(256, 256)) == "256MeV"
    assert slice_label(theta) == "\N{GREEK SMALL LETTER THETA} 0.5\N{EN DASH}1 rad"
    assert slice_label(Slice("x$y", 1, 2)) == "x\\$y 1\N{EN DASH}2"


def test_slices_of_the_settings():
    data = {"energy_slices": [[1000, 5000]], "slices": {"incident_theta": [[0.5, 1.0], [1.0, 1.57]]}}
    config = validate(HistogramConfig, data, "histograms")
    assert slices_of(config) == [LOW, Slice("incident_theta", 0.5, 1.0), Slice("incident_theta", 1.0, 1.57)]
    for wrong, found in (
        ({"incident_energies": [[1.0, 2.0]]}, "a further condition"),
        ({"incident_theta": [[1.0, 0.5]]}, "a lower and a higher end"),
        ({"incident_theta": []}, "incident_theta"),
    ):
        with pytest.raises(ConfigError, match=found):
            validate(HistogramConfig, {"slices": wrong}, "histograms")


def test_scores_of_slices_are_known_by_name():
    assert gives("fpd", FpdConfig(sliced=True), "fpd/1000-5000MeV")
    assert not gives("fpd", FpdConfig(), "fpd/1000-5000MeV")


def samples(folder: Path, n: int, rows=slice(None)) -> dict[str, Path]:
    """Reference and generated sample; the generated showers below 5 GeV have too little energy."""
    rng, out = np.random.default_rng(3), {}
    for name in ("reference", "generated"):
        incident = rng.uniform(1e3, 1e4, n).astype(np.float32)
        showers = rng.gamma(0.05, 100, (n, 504)).astype(np.float32) * (rng.random((n, 504)) < 0.3)
        showers *= (incident / showers.sum(axis=1))[:, None]
        showers *= rng.normal(1, 0.02, n).astype(np.float32)[:, None]
        if name == "generated":
            showers[incident < 5e3] *= 0.9
        out[name] = folder / f"{name}.hdf5"
        kept = incident < 5e3 if rows == "low" else np.arange(n)
        write_showers(out[name], Showers(incident[kept], showers[kept]), CALOGAN.geometry)
    return out


METRICS = [
    {"metric": "separation_power", "bootstrap": 20, "sliced": True},
    {"metric": "energy_response", "sliced": True},
    {"metric": "fpd", "min_samples": 50, "max_samples": 200, "num_batches": 5, "floor": False, "sliced": True},
    {"metric": "kl_average", "sliced": True},
    {"metric": "prdc", "sliced": True},
    {"metric": "challenge_separation", "sliced": True},
    {"metric": "fidelity", "bootstrap": 5, "splits": 2, "weights": {"E_ratio": 1.0, "voxels": 1.0}},
]


def judged(paths: dict[str, Path], folder: Path, **slices) -> dict[str, object]:
    folder.mkdir(exist_ok=True)
    histograms, scores = folder / "histograms.npz", folder / "metrics.json"
    compared = (paths["reference"], {"generated": paths["generated"]}, CALOGAN)
    config = HistogramConfig(brightest=1, energy_ratio_range=(0.8, 1.2), per_energy=False, **slices)
    evaluate_observables(*compared, config=config, out=histograms)
    evaluate_metrics(*compared, metrics=METRICS, histograms=histograms, seed=1, out=scores)
    return {s.name: s for s in load_scores(scores)}


def test_scores_of_a_slice_are_those_of_its_showers(tmp_path):
    (tmp_path / "low").mkdir()
    whole = judged(samples(tmp_path, 900), tmp_path / "whole", energy_slices=[(1e3, 5e3)])
    alone = judged(samples(tmp_path / "low", 900, "low"), tmp_path / "alone")
    sliced = {name.removesuffix(f"/{LOW}"): s for name, s in whole.items() if name.endswith(f"/{LOW}")}
    assert {"fpd", "energy_response/mean_difference", "kl_average/shower", "prdc/precision"} <= set(sliced)
    for name, score in sliced.items():
        assert score.extra["slice"] == {"condition": "incident_energies", "low": 1e3, "high": 5e3}
        if name.startswith(("fpd", "energy_response", "kl_average/shower")):
            assert score.value == pytest.approx(alone[name].value, rel=1e-5) and score.n == alone[name].n
    assert sliced["energy_response/mean_difference"].value == pytest.approx(-0.1, abs=0.01)
    separated = sliced["separation_power/E_ratio"]
    assert separated.value > 2 * whole["separation_power/E_ratio"].value > 0.1
    assert "separation_power/E_tot" in whole and "separation_power/E_tot" not in sliced  # has no histogram there
    assert "fidelity" in whole and "fidelity" not in sliced
    assert "cylindrical" in sliced["challenge_separation"].missing


def test_a_slice_without_generated_showers_says_so(tmp_path):
    paths = samples(tmp_path, 300)
    few = np.flatnonzero(np.linspace(5e3, 1e4, 50) > 0)
    write_showers(paths["generated"], Showers(np.linspace(5.1e3, 1e4, 50), np.ones((len(few), 504))), CALOGAN.geometry)
    found = judged(paths, tmp_path / "out", energy_slices=[(1e3, 5e3)])
    assert found[f"fpd/{LOW}"].missing == "no showers in this slice" and found["kl_average/shower"].value is not None


def test_showers_without_the_condition_are_refused(tmp_path):
    paths = samples(tmp_path, 50)
    config = HistogramConfig(slices={"incident_theta": [(0.5, 1.0)]})
    with pytest.raises(DataError, match="incident_theta"):
        evaluate_observables(paths["reference"], {}, CALOGAN, config=config, out=tmp_path / "h.npz")
    assert not (tmp_path / "h.npz").exists()


def test_a_slice_in_theta_is_one_of_the_same_showers(tmp_path):
    """The lower half in energy, given once as energies and once as angles that go with them."""
    paths = samples(tmp_path, 600)
    by_energy = judged(paths, tmp_path / "energies", energy_slices=[(1e3, 5e3)])
    for path in paths.values():
        found = read_showers(path)
        theta = {"incident_theta": found.incident_energies[:, 0] / 1e4}
        write_showers(path, Showers(found.incident_energies, found.showers, conditions=theta), CALOGAN.geometry)
    by_angle = judged(paths, tmp_path / "angles", slices={"incident_theta": [(0.1, 0.5)]})
    theta = Slice("incident_theta", 0.1, 0.5)
    assert load_histograms(tmp_path / "angles" / "histograms.npz")[1][1].part == theta
    assert len(by_energy) == len(by_angle)
    for name, score in by_energy.items():
        same = by_angle[name.replace(str(LOW), str(theta))]
        if name.startswith(("separation_power", "energy_response", "kl_average")):
            assert (same.value, same.n, same.missing) == (score.value, score.n, score.missing), name


def test_slices_are_read_back(tmp_path):
    paths = samples(tmp_path, 100)
    config = HistogramConfig(brightest=0, energy_slices=[(1e3, 5e3)], examples=0)
    evaluate_observables(
        paths["reference"], {"generated": paths["generated"]}, CALOGAN, config=config, out=tmp_path / "h.npz"
    )
    histograms, averages = load_histograms(tmp_path / "h.npz")
    assert {h.part for h in histograms} == {None, LOW} and [a.part for a in averages] == [None, LOW]
