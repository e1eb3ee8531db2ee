"""Histograms of reconstructed energies at single incident energies: bins, counts, the settings, the page of the report."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from test_config import PRESETS, TINY, changed
from test_regression import evaluate, showers, trained  # noqa: F401
from test_regression_report import curves

from calopipe.config import load_study
from calopipe.errors import ConfigError
from calopipe.evaluation.regression import load_regressor
from calopipe.evaluation.spectra import reference_spectra, with_sample
from calopipe.geometry import load_geometry
from calopipe.io import Showers, write_showers
from calopipe.metrics.resolution import core, core_edges
from calopipe.plots.style import save_figure
from calopipe.records.files import write_npz
from calopipe.records.scores import Score, save_scores
from calopipe.records.spectra import Spectra
from calopipe.report import RunArtifacts, StudySummary
from calopipe.report.data import load_study_data
from calopipe.report.regression import regression_tasks
from calopipe.workflow import Plan


def test_bins_are_around_the_core() -> None:
    values = np.concatenate([np.linspace(90, 110, 90), [1000] * 5, [0] * 5])
    mu, sigma = core(values)
    edges = core_edges(values)
    assert (
        len(edges) == 31 and edges[0] == pytest.approx(100 - 6 * sigma) and edges[-1] == pytest.approx(100 + 6 * sigma)
    )
    assert mu == pytest.approx(100) and sigma == pytest.approx(20 / np.sqrt(12), rel=0.02)  # of a uniform distribution
    alike = core_edges(np.full(20, 50.0))
    assert (alike[0], alike[-1]) == (0, 100)


def test_counts_by_hand() -> None:
    """Two energies of 20 showers: what is in no bin still counts as a shower, and other energies count nowhere."""
    spread = np.linspace(-1, 1, 20)
    incident = np.repeat([2e4, 3e4, 5e4], [20, 20, 3])
    predicted = np.concatenate([2e4 + 100 * spread, 3e4 + 100 * spread, [1.0] * 3])
    base = reference_spectra(predicted, incident, None)
    assert base.energies.tolist() == [2e4, 3e4]  # three showers have no core
    assert base.counts["reference"].sum(1).tolist() == base.totals["reference"].tolist() == [20, 20]
    both = with_sample(base, "generated", np.array([2e4, 2.001e4, 9e4, 3e4]), np.array([2e4, 2e4, 2e4, 4e4]))
    assert both.totals["generated"].tolist() == [3, 0] and both.counts["generated"].sum(1).tolist() == [2, 0]
    i = np.searchsorted(base.edges[0], [2e4, 2.001e4], side="right") - 1
    assert both.counts["generated"][0, i].tolist() == ([2, 2] if i[0] == i[1] else [1, 1])
    kept = Spectra.of({**both.arrays(), "reference/linearity": np.ones(2)})
    assert kept is not None and sorted(kept.counts) == ["generated", "reference"]
    first, second = kept.histograms("generated").values()
    assert first.label == r"$E_\mathrm{rec}$ [GeV]" and first.edges.tolist() == pytest.approx(base.edges[0] / 1e3)
    assert str(first.part) == "20000MeV" and first.totals == {"reference": 20, "generated": 3}
    assert second.counts["generated"].sum() == 0 and second.counts["reference"].sum() == 20


def test_energies_that_are_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    incident = np.repeat([2e4, 3e4, 4e4], [30, 30, 5])
    with caplog.at_level("WARNING", "calopipe"):
        assert reference_spectra(incident, incident, [3e4]).energies.tolist() == [3e4]
        assert not len(reference_spectra(incident, incident, []).energies) and not caplog.records
        assert reference_spectra(incident, incident, [4e4, 2.001e4]).energies.tolist() == [2.001e4]  # within 0.1 %
    assert "no histogram of reconstructed energies at 40000 MeV" in caplog.text and "found 5" in caplog.text
    continuous = np.linspace(1e3, 1e5, 1000)
    assert not len(reference_spectra(continuous, continuous, None).energies)


def test_the_stage_fills_what_the_regressor_reads(trained, tmp_path) -> None:  # noqa: F811
    """The counts are those of the network applied by hand; of showers of many energies there is no histogram."""
    geometry, samples = load_geometry(trained["geometry"]), {}
    for name, seed in (("test", 1), ("mono", 2)):
        part = [showers(60, seed, energy=energy) for energy in (2000, 5000, 8000)]
        samples[name] = Showers(
            *(np.concatenate([getattr(p, k) for p in part]) for k in ("incident_energies", "showers"))
        )
        write_showers(tmp_path / f"{name}.hdf5", samples[name], geometry)
    paths = {**trained, **{name: tmp_path / f"{name}.hdf5" for name in samples}}
    evaluate(paths, tmp_path, ["mono"])
    with np.load(tmp_path / "r.npz") as found:
        spectra = Spectra.of(found)
    assert spectra is not None and spectra.energies.tolist() == [2000, 5000, 8000]
    model = load_regressor(trained["model"], geometry, "cpu").model
    for name, sample in (("reference", "test"), ("mono", "mono")):
        with torch.no_grad():
            read = model.energy(model.features(torch.from_numpy(samples[sample].showers))).numpy()
        for i in range(3):
            expected = np.histogram(read[60 * i : 60 * (i + 1)].astype(np.float64), spectra.edges[i])[0]
            assert np.abs(expected - spectra.counts[name][i]).sum() <= 2  # batches round otherwise
        assert spectra.totals[name].tolist() == [60, 60, 60]
    evaluate(trained, tmp_path, ["same"])
    with np.load(tmp_path / "r.npz") as found:
        assert Spectra.of(found) is None


def test_the_report_has_a_panel_for_each_energy(tmp_path: Path) -> None:
    """Eight energies, 20 to 90 GeV, Geant4 beside two samples of two models."""
    rng, energies = np.random.default_rng(0), np.repeat(np.arange(2e4, 1e5, 1e4), 500)

    def read(shift: float, width: float) -> np.ndarray:
        return energies * (1 + shift) + rng.normal(0, width * np.sqrt(energies * 1e3), len(energies))

    runs, base = [], read(0, 0.17)
    for model, shift in (("bib_ae", 0.02), ("inn", -0.01)):
        spectra = with_sample(reference_spectra(base, energies, None), "generated", read(shift, 0.2), energies)
        stored = {f"{s}/{k}": v for s in ("reference", "generated") for k, v in curves().items()}
        write_npz(tmp_path / f"{model}.npz", {**stored, **spectra.arrays()})
        save_scores(tmp_path / f"{model}.json", [Score("frd/net", 1.0, 0.1, 50, seed=0, floor=0.9)])
        files = {"scores": str(tmp_path / f"{model}.json"), "curves": str(tmp_path / f"{model}.npz")}
        runs.append(RunArtifacts("lines", model, 0, "calogan", regression={"net": files}))
    config = {"regressors": {"net": {"dataset": "photons"}}}
    data = load_study_data(StudySummary("s", tuple(runs), config))[0]
    (task,) = (t for t in regression_tasks(data) if t.name == "lines_net_spectra")
    assert task.wide and "of the regressor net, trained on photons (first" in task.caption
    figure = task.function(*task.args, **task.kwargs)
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert [t for t in texts if "GeV" in t] == [rf"$E_\mathrm{{inc}}$: {e} GeV" for e in range(20, 100, 10)]
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["Geant4", "bib_ae", "inn"]
    tops = figure.axes[::2]
    for axes, energy in zip(tops, range(20, 100, 10), strict=True):
        low, high = axes.get_xlim()
        assert low < energy < high and high - low == pytest.approx(12 * 0.789 * 0.17 * np.sqrt(energy), rel=0.2)
    save_figure(figure, tmp_path / "spectra", {}, pdf=False)


def test_energies_are_checked_before_anything_runs() -> None:
    study = changed("evaluations", "default", "regression", "energies_MeV", value=[5000, 5000])
    with pytest.raises(ConfigError, match=r"evaluations.default.regression.energies_MeV: .*twice"):
        load_study(study, PRESETS)
    study["evaluations"]["default"]["regression"]["energies_MeV"] = [90000]
    key = r"evaluations.default.regression.energies_MeV: no shower of dataset 'eplus' has the incident energy 90000 MeV"
    with pytest.raises(ConfigError, match=key):
        Plan.load(study, PRESETS)
    Plan.load(study, PRESETS, files=False)
    unused = copy.deepcopy(study)
    unused["evaluations"]["default"]["regression"]["regressors"] = []
    Plan.load(unused, PRESETS)
    assert "energies_MeV" not in TINY["evaluations"]["default"]["regression"]
