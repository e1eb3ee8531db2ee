"""The health check: every check fires on what it is for, and is silent on real Geant4 showers."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from calopipe.cli import main
from calopipe.errors import DataError
from calopipe.evaluation.health import (
    Census,
    census,
    check_file,
    check_health,
    check_pair_of_samples,
)
from calopipe.evaluation.inputs import Readout
from calopipe.geometry import load_geometry
from calopipe.io import iter_showers, repeated
from calopipe.io.conditions import TrainedRange
from calopipe.io.prepare import prepare
from calopipe.records.findings import load_findings, warnings_of
from calopipe.show import summarise

CALOGAN = load_geometry("calogan")


def write(path: Path, energies, showers, **attributes) -> Path:
    with h5py.File(path, "w") as file:
        file["incident_energies"], file["showers"] = np.reshape(energies, (-1, 1)), showers
        file.attrs.update(attributes)
    return path


def shower_arrays(n=400, seed=0):
    """CaloGAN-like showers of 1 to 20 GeV; layer 2 is empty in a tenth of them."""
    rng = np.random.default_rng(seed)
    energies = rng.uniform(1e3, 2e4, n)
    shares = rng.dirichlet(np.full(504, 0.2), n)
    shares[: n // 10, CALOGAN.layer_slices[2]] = 0
    return energies, 0.9 * shares * energies[:, None]


@pytest.fixture
def pair(tmp_path):
    return {name: write(tmp_path / f"{name}.hdf5", *shower_arrays(seed=i)) for i, name in enumerate(("ref", "gen"))}


def texts(path, generated, training=()):
    found = check_health(path, {"generated": generated}, Readout.of(CALOGAN, 0.01), training=training)
    return {check: "; ".join(f.text for f in found if f.check == check) for check in {f.check for f in found}}


def test_two_good_samples_have_no_findings(pair, tmp_path):
    third = write(tmp_path / "train.hdf5", *shower_arrays(seed=7))
    assert texts(pair["ref"], pair["gen"], [third]) == {}


def empty(energies, showers):
    showers[::2] = 0


def no_layer(energies, showers):
    showers[:, CALOGAN.layer_slices[2]] = 0


def copies(energies, showers):
    showers[10:13], energies[10:13] = showers[0], energies[0]


def gev(energies, showers):
    energies /= 1e3
    showers /= 1e3


def gev_voxels(energies, showers):
    showers /= 1e3


def other_energies(energies, showers):
    factor = 2
    energies *= factor
    showers *= factor


def repeated_training(energies, showers):
    showers[5:8] = shower_arrays(seed=7)[1][:3]


def repeated_reference(energies, showers):
    showers[5:8] = shower_arrays(seed=0)[1][:3]


BAD = {
    "empty showers": (empty, "200 of 400 generated showers are empty, 0 of 400 in the reference"),
    "empty layers": (no_layer, "layer 2 is empty in 100.00% of the generated showers, in 10"),
    "copies": (copies, "3 of 400 generated showers are copies of others"),
    "incident energies": (gev, "is the file in GeV?"),
    "units": (gev_voxels, "are the voxels in MeV"),
    "shared": (repeated_training, "3 of 400 generated showers are also among the training showers"),
}


@pytest.mark.parametrize("check", BAD)
def test_each_check_fires(check, tmp_path, pair):
    spoil, message = BAD[check]
    energies, showers = shower_arrays(seed=1)
    spoil(energies, showers)
    third = write(tmp_path / "train.hdf5", *shower_arrays(seed=7))
    found = texts(pair["ref"], write(tmp_path / "bad.hdf5", energies, showers), [third])
    assert message in found[check]
    assert set(found) <= {check, "incident energies"}


def test_energies_that_do_not_match_and_shared_showers(tmp_path, pair):
    for spoil, check, message in (
        (other_energies, "incident energies", "do not follow those of the reference"),
        (repeated_reference, "shared", "3 of 400 generated showers are also among the reference showers"),
    ):
        energies, showers = shower_arrays(seed=1)
        spoil(energies, showers)
        assert message in texts(pair["ref"], write(tmp_path / "bad.hdf5", energies, showers))[check]


def test_energies_outside_the_trained_range(tmp_path, pair):
    energies, showers = shower_arrays(seed=1)
    for low, fires in ((1e3, False), (5e3, True)):
        trained = TrainedRange(low, 2e4, 10_000)
        found = texts(pair["ref"], write(tmp_path / "gen.hdf5", energies, showers, **trained.attributes))
        assert ("trained on" in found.get("trained energies", "")) is fires


def test_test_showers_among_the_training_showers(tmp_path, pair):
    found = texts(pair["ref"], pair["gen"], [shutil.copy(pair["ref"], tmp_path / "train.hdf5")])
    assert found == {"shared": "400 of 400 reference showers are also among the training showers, voxel by voxel"}


def test_the_file_of_a_health_check(tmp_path, pair):
    out = tmp_path / "health.json"
    found = check_health(pair["ref"], {"generated": pair["ref"]}, Readout.of(CALOGAN, 0.01), out=out)
    assert load_findings(out) == found and warnings_of(out) == [f.text for f in found] and len(found) == 1
    assert json.loads(out.read_text())["samples"]["reference"]["n"] == 400
    out.write_text('{"findings": 5}')
    with pytest.raises(DataError, match="health.json: not a health check"):
        load_findings(out)


REAL = [
    ("calogan_eplus", "calogan", 0.01),
    ("calogan_gamma", "calogan", 0.01),
    ("ds2like_electrons", "calochallenge2", None),
    ("ds1like_photons", "calochallenge1_photons", None),
    ("ild_photons", "ild", None),
    ("pbscint_32", None, 0.0),
]


@pytest.mark.parametrize(("name", "geometry", "threshold"), REAL)
def test_real_showers_have_no_findings(shared, name, geometry, threshold):
    path, geometry = shared / "data" / f"{name}.hdf5", load_geometry(geometry) if geometry else None
    if not path.is_file():
        pytest.skip(f"no {path}")
    halves = []
    for i, what in enumerate(("reference", "generated")):
        one = Census(what, geometry, geometry.threshold_MeV if threshold is None else threshold)
        for chunk in iter_showers(path, rows=slice(2000 * i, 2000 * (i + 1))):
            one.add(chunk)
        halves.append(one)
    assert check_file(halves[0]) + check_file(halves[1]) + check_pair_of_samples(*halves) == []


def test_the_bundled_sample_has_no_findings(sample):
    assert check_file(census("", sample, Readout.of(CALOGAN, 0.01))) == [] and "warning" not in summarise(sample)


# ---- where it is said ----------------------------------------------------------------------------------------------------
def test_show_warns(tmp_path):
    energies, showers = shower_arrays()
    gev(energies, showers)
    empty(energies, showers)
    lines = summarise(write(tmp_path / "x.hdf5", energies, showers), CALOGAN).splitlines()
    assert "is the file in GeV" in lines[1] and "200 of 400 showers are empty" in lines[2]


def evaluate(tmp_path, *arguments):
    return main(
        ["evaluate", *map(str, arguments), "--geometry", "calogan", "-m", "chi2", "--out", str(tmp_path / "out")]
    )


def test_evaluate_warns_before_any_score_and_records_it(tmp_path, pair, capsys, caplog):
    energies, showers = shower_arrays(seed=1)
    empty(energies, showers)
    bad = write(tmp_path / "bad.hdf5", energies, showers)
    caplog.set_level("INFO")
    assert evaluate(tmp_path, bad, "-r", pair["ref"]) == 0
    messages = [r.getMessage() for r in caplog.records]
    first = next(i for i, m in enumerate(messages) if "200 of 400 generated showers are empty" in m)
    assert first < next(i for i, m in enumerate(messages) if m.startswith("metric"))
    warnings = json.loads((tmp_path / "out" / "scores.json").read_text())["warnings"]
    assert any("200 of 400" in w for w in warnings) and any("do not see the whole" in w for w in warnings)
    caplog.clear()
    assert evaluate(tmp_path, pair["gen"], "-r", pair["ref"]) == 0
    warnings = json.loads((tmp_path / "out" / "scores.json").read_text())["warnings"]
    assert len(warnings) == 1 and "too few to rank" in warnings[0]


@pytest.mark.parametrize("how", ["same", "hard link", "symbolic link", "copy"])
def test_a_generated_file_that_is_listed_twice_is_refused(how, tmp_path, pair, capsys):
    other = tmp_path / "other.hdf5"
    if how == "same":
        other = pair["gen"]
    else:
        {"hard link": os.link, "symbolic link": os.symlink, "copy": shutil.copy}[how](pair["gen"], other)
    assert evaluate(tmp_path, pair["gen"], other, "-r", pair["ref"]) == 2
    error = capsys.readouterr().err
    assert "counted twice" in error and error.count("\n") == 1 and not (tmp_path / "out").exists()
    assert "counted twice" in repeated([pair["ref"], pair["gen"], other])
    assert repeated([pair["ref"], pair["gen"]]) is None
    with pytest.raises(DataError, match="trained on and those judged"):
        prepare([pair["gen"], other], {k: tmp_path / k for k in ("train", "val", "test")}, CALOGAN)


def test_a_reference_that_is_listed_twice_is_warned_about(tmp_path, pair, caplog):
    assert evaluate(tmp_path, pair["gen"], "-r", pair["ref"], "-r", pair["ref"]) == 0
    assert "listed twice" in caplog.text and "400 of 800 reference showers are copies" in caplog.text


def test_the_threshold_is_the_geometrys_where_none_is_given(pair):
    assert check_health(pair["ref"], {"generated": pair["gen"]}, Readout.of("calogan")) == []
