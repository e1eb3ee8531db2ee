"""Data that the workflow makes itself: their distributions, and who may use them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from calopipe.config import validate
from calopipe.config.datasets import ColumnsDataset, Dataset, Source
from calopipe.errors import ConfigError, DataError
from calopipe.io import Columns, read_columns
from calopipe.sources import fetch, looking
from calopipe.sources.made import smearing_width


def made(folder: Path, columns: list[str], **recipe: object) -> Columns:
    """The columns of a recipe, as `fetch` makes them."""
    source = {"kind": "made", "made": recipe}
    (file,) = fetch(source, folder / "raw.json", look=looking(kind="columns", columns=columns))
    assert json.loads((folder / "raw.json").read_text())["files"][0]["n_showers"] == file.n_showers
    return read_columns(file.path)


def test_toys(tmp_path: Path) -> None:
    x = made(tmp_path, ["x"], recipe="gaussian", rows=20_000, mean=3.0, sigma=2.0).values["x"]
    assert x.mean() == pytest.approx(3, abs=0.06) and x.std() == pytest.approx(2, abs=0.05)
    x = made(tmp_path, ["x"], recipe="beta", rows=20_000, a=2.0, b=5.0).values["x"]
    assert x.mean() == pytest.approx(2 / 7, abs=0.005) and x.var() == pytest.approx(10 / 49 / 8, rel=0.05)
    assert x.min() > 0 and x.max() < 1
    found = made(tmp_path, ["x", "mu"], recipe="conditional_gaussian", rows=9000)
    mu, x = found.conditions["mu"], found.values["x"]
    assert {value: int((mu == value).sum()) for value in (0, 5, 10)} == {0: 3000, 5: 3000, 10: 3000}
    for value in (0, 5, 10):
        assert x[mu == value].mean() == pytest.approx(value, abs=0.08)
        assert x[mu == value].std() == pytest.approx(1, abs=0.05)


def test_one_seed_makes_one_file(tmp_path: Path) -> None:
    source = {"kind": "made", "made": {"recipe": "beta", "rows": 100, "seed": 3}}
    first, second, other = (
        fetch(
            {**source, "made": {**source["made"], "seed": seed}},
            tmp_path / f"{i}.json",
            look=looking(kind="columns", columns=["x"]),
        )[0]
        for i, seed in enumerate((3, 3, 4))
    )
    assert first.sha256 == second.sha256 != other.sha256


def test_widths_of_the_detector_by_hand() -> None:
    """10 GeV in the first range, 500 MeV in the last; both resolutions, and their weighted mean."""
    energy, eta, pt = np.array([1e4, 500.0]), np.array([-0.3, 2.2]), np.array([9000.0, 100.0])
    track = [np.hypot(0.03, 0.013 * 9000), np.hypot(0.15, 0.031 * 100)]
    ecal = [9000 * np.hypot(0.101 / 100, 0.0017), 100 * np.hypot(0.101 / np.sqrt(500), 0.0017)]
    assert smearing_width(energy, eta, pt, "track") == pytest.approx(track)
    assert smearing_width(energy, eta, pt, "ecal") == pytest.approx(ecal)
    both = [(t**-2 + e**-2) ** -0.5 for t, e in zip(track, ecal, strict=True)]
    assert smearing_width(energy, eta, pt) == pytest.approx(both)
    middle = smearing_width(np.array([1e4]), np.array([0.5]), np.array([9000.0]), "track")
    assert middle == pytest.approx([np.hypot(0.05, 0.017 * 9000)])


def test_printed_widths_follow_from_the_calorimeter_in_MeV(tmp_path: Path) -> None:
    """Albergo 2018, table 3.4: FWHM of the true residuals at 500 MeV and 40 GeV, three ranges of eta; within 11 %."""
    ranges = [(0.0, 0.2), (1.5, 1.7), (2.0, 2.5)]
    printed = {500.0: (5.49, 2.29, 1.12), 40_000.0: (155.4, 68.2, 33.6)}
    names = ["pt_residual", "eta", "phi", "pt"]
    for energy, widths in printed.items():
        found = made(
            tmp_path, names, recipe="detector_smearing", rows=400_000, terms="ecal", energies=[energy], eta=ranges
        )
        eta, residual = np.abs(found.conditions["eta"]), found.values["pt_residual"]
        assert ((eta < 0.2) | ((eta > 1.5) & (eta < 1.7)) | (eta > 2.0)).all()
        for (low, high), width in zip(ranges, widths, strict=True):
            part = residual[(low <= eta) & (eta < high)]
            middle = np.subtract(*np.quantile(part, [0.8413447, 0.1586553])) / 2  # of a mixture of normal distributions
            assert 2.3548 * middle == pytest.approx(width, rel=0.115), (energy, low)


def test_the_gun_shoots_everywhere(tmp_path: Path) -> None:
    found = made(tmp_path, ["pt_residual", "eta", "phi", "pt"], recipe="detector_smearing", rows=50_000, seed=2)
    eta, phi, pt = (found.conditions[name] for name in ("eta", "phi", "pt"))
    assert len(found) == pytest.approx(50_000 * np.tanh(2.5), rel=0.01) and np.abs(eta).max() < 2.5
    cosine = np.tanh(eta)  # uniform within the detector
    assert np.histogram(cosine, np.linspace(-0.98, 0.98, 5))[0].std() / len(found) < 0.01
    assert np.histogram(phi, np.linspace(-np.pi, np.pi, 5))[0].std() / len(found) < 0.01
    log_energy = np.log10(pt * np.cosh(eta))
    assert log_energy.min() > 0.99 and log_energy.max() < 4.7 and np.median(log_energy) == pytest.approx(2.85, abs=0.05)
    assert abs(found.values["pt_residual"].mean()) < 3


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    made_source = {"kind": "made", "made": {"recipe": "gaussian"}}
    with pytest.raises(ConfigError, match="source: recipe gaussian makes columns; expected a dataset of kind: columns"):
        validate(Dataset, {"source": made_source, "geometry": "calogan"}, "d")
    with pytest.raises(ConfigError, match=r"recipe gaussian makes x, found 'y' among the columns"):
        validate(ColumnsDataset, {"kind": "columns", "source": made_source, "columns": ["y"]}, "d")
    with pytest.raises(ConfigError, match="a source that is made needs 'made'"):
        validate(Source, {"kind": "made"}, "s")
    with pytest.raises(ConfigError, match="a local source has no 'made'"):
        validate(Source, {"kind": "local", "paths": ["a.hdf5"], "made": {"recipe": "beta"}}, "s")
    with pytest.raises(ConfigError, match="expected how data are made"):
        validate(Source, {"kind": "made", "made": {"recipe": "cauchy"}}, "s")
    with pytest.raises(DataError, match="none of 10 electrons is within"):
        made(tmp_path, ["pt_residual"], recipe="detector_smearing", rows=10, eta=[[2.4999, 2.5]])
