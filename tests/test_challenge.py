"""`calopipe evaluate`: golden numbers, outputs, and everything it refuses, without leaving a trace."""

from __future__ import annotations

import csv
import json

import h5py
import numpy as np
import pytest

from calopipe.cli import main
from calopipe.config.evaluation import ClassifierConfig
from calopipe.errors import ConfigError, DataError
from calopipe.evaluation.challenge_inputs import (
    beam_energies,
    compare_energies,
    energy_slices,
    largest_difference,
)
from calopipe.evaluation.challenge_setup import MODES, Setup
from calopipe.io import Showers, joined_showers, read_incident_energies, read_showers, write_showers
from calopipe.plots.style import read_provenance
from calopipe.records.judgement import load_judgement
from calopipe.records.slices import Slice
from calopipe.submission import evaluate

PHOTONS = "1-photons"
NAMES = ("ref", "gen")


def photons(n, seed, energies=(256.0, 8192.0)):
    """Made-up showers in the geometry of set 1, photons: exponential fluctuations around a falling profile."""
    rng = np.random.default_rng(seed)
    incident = rng.choice(np.array(energies, dtype=np.float32), n)
    share = np.exp(-np.arange(368) / 60)
    voxels = rng.exponential(share / share.sum(), (n, 368)) * incident[:, None]
    voxels[voxels < 1] = 0
    return Showers(incident[:, None], voxels.astype(np.float32))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photons")
    paths = {"reference": folder / "reference.hdf5", "generated": folder / "generated.hdf5"}
    for i, path in enumerate(paths.values()):
        write_showers(path, photons(600, i))
    return paths


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Every test runs in an empty folder."""
    monkeypatch.chdir(tmp_path)


def run(files, *arguments, dataset=PHOTONS):
    where = ["--dataset", dataset] if dataset else []
    return main(["evaluate", str(files["generated"]), "--reference", str(files["reference"]), *where, *arguments])


# ---- what it computes -----------------------------------------------------------------------------------------------
GOLDEN = {
    "Etot / Einc": "E_ratio",
    "Voxel distribution": "voxels",
    "E layer": "E_layer",
    "EC Eta layer": "EC_eta",
    "EC Phi layer": "EC_phi",
    "EC r layer": "EC_r",
    "Width Eta layer": "width_eta",
    "Width Phi layer": "width_phi",
    "Width r layer": "width_r",
    "Sparsity layer": "sparsity",
}


def our_name(golden):
    if golden in GOLDEN:
        return GOLDEN[golden]
    family, _, layer = golden.rpartition(" ")
    return f"{GOLDEN[family]}/{layer}"


@pytest.mark.parametrize("case", ["as is", "10 % of voxels dropped"])
def test_separation_powers_are_the_challenges(shared, tmp_path, case):
    found = json.loads((shared / "reference" / "golden" / "ds1like_evaluation.json").read_text())
    golden = next(v for k, v in found.items() if k.startswith(case))
    paths = {"reference": tmp_path / "ref.hdf5", "generated": tmp_path / "gen.hdf5"}
    for name, rows in (("reference", slice(0, 10500)), ("generated", slice(10500, 21000))):
        half = read_showers(shared / "data" / "ds1like_photons.hdf5", rows)
        voxels = half.showers
        if name == "generated" and case != "as is":
            voxels = voxels * (np.random.default_rng(7).random(voxels.shape) > 0.1)
        with h5py.File(paths[name], "w") as file:  # the golden values are of files in float64
            file["incident_energies"] = half.incident_energies.astype(np.float64)
            file["showers"] = voxels.astype(np.float64)
    assert run(paths, "--mode", "chi2", "--out", "out") == 0
    scores = {s.name: s for s in load_judgement(tmp_path / "out" / "scores.json").scores}
    assert len(golden["separation"]) == 30
    for name, value in golden["separation"].items():
        found = scores[f"challenge_separation/{our_name(name)}"]
        assert found.value == pytest.approx(value, rel=1e-6, abs=1e-9), name
        assert found.error is not None and found.n == 10500 and found.seed == 0


def test_outputs_of_all_fast_modes(files, tmp_path, capsys):
    assert run(files, "--mode", "no-cls", "--out", "out", "--name", "mine") == 0
    assert "challenge_separation/E_ratio" in capsys.readouterr().out
    out = tmp_path / "out"
    found = load_judgement(out / "scores.json")
    assert (
        found.dataset == PHOTONS and not found.official and found.modes == ("avg", "avg-E", "hist", "chi2", *MODES[-3:])
    )
    assert [f.n_showers for f in (*found.reference, *found.generated)] == [600, 600]
    assert all(len(f.sha256) == 64 and len(f.md5) == 32 for f in found.reference)
    assert found.versions["numpy"] == np.__version__ and "too few" in found.warnings[0]
    names = [s.name for s in found.scores]
    assert len(names) == len(set(names))
    for name in ("fpd", "kpd", "prdc/precision", "challenge_separation/mean_layers/E_layer"):
        assert name in names
    assert all(s.value is not None or s.missing for s in found.scores)
    rows = list(csv.DictReader((out / "scores.csv").read_text().splitlines()))
    assert [r["name"] for r in rows] == names and {r["generator"] for r in rows} == {"mine"}
    assert {p.name for p in out.iterdir()} == {*found.files, "scores.json"}
    pictures = [f for f in found.files if f.endswith(".png")]
    expected = (
        "average.png",
        "average_256MeV.png",
        "histograms_overview.png",
        "histograms_E_layer.png",
        "separation.png",
    )
    assert set(expected) <= set(pictures) and "histograms_E_ratio_energies.png" in pictures
    assert "mine" in read_provenance(out / "average.png")["run"]
    assert not list(tmp_path.glob(".*"))


def test_equal_runs_write_equal_files(files, tmp_path):
    for out in "ab":
        assert run(files, "--mode", "chi2", "kpd", "--out", out, "--seed", "7") == 0
    for name in ("scores.json", "scores.csv"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_two_files_are_one_sample(files, tmp_path):
    whole = read_showers(files["generated"])
    parts = [tmp_path / f"part{i}.hdf5" for i in range(2)]
    write_showers(parts[0], whole.select(slice(0, 250)))
    write_showers(parts[1], whole.select(slice(250, 600)))
    with joined_showers(parts, tmp_path / "joined.hdf5"):
        np.testing.assert_array_equal(read_showers(tmp_path / "joined.hdf5").showers, whole.showers)
        np.testing.assert_array_equal(read_incident_energies(tmp_path / "joined.hdf5"), whole.incident_energies)
    setup = Setup.of(PHOTONS, None)
    one = evaluate([files["reference"]], [files["generated"]], setup, ["chi2"], tmp_path / "one")
    two = evaluate([files["reference"]], parts, setup, ["chi2"], tmp_path / "two")
    assert one.scores == two.scores and [f.name for f in two.generated] == ["part0.hdf5", "part1.hdf5"]


def test_classifiers_are_the_challenges_with_the_changes_asked_for(files, tmp_path):
    arguments = ("--cls-epochs", "1", "--cls-repeats", "2", "--device", "cpu", "--out", "out")
    assert run(files, "--mode", "cls-high", *arguments) == 0
    found = load_judgement(tmp_path / "out" / "scores.json")
    assert [s.name for s in found.scores] == [f"classifier/high/{k}" for k in ("auc", "accuracy", "jsd")]
    assert len(found.scores[0].extra["repeats"]) == 2
    assert found.classifiers["high"]["epochs"] == 1 and found.classifiers["high"]["features"] == "high"
    assert {"roc.png", "weights_high.png"} <= set(found.files)


def test_showers_of_prdc_are_a_choice(files, tmp_path):
    assert run(files, "--mode", "prdc", "--prdc-showers", "100", "--out", "out") == 0
    assert {s.n for s in load_judgement(tmp_path / "out" / "scores.json").scores} == {100}


def test_another_geometry(sample, tmp_path):
    showers = read_showers(sample, slice(0, 400))
    paths = {"reference": tmp_path / "a.hdf5", "generated": tmp_path / "b.hdf5"}
    write_showers(paths["reference"], showers.select(slice(0, 200)))
    write_showers(paths["generated"], showers.select(slice(200, 400)))
    assert run(paths, "--geometry", "calogan", "--mode", "avg", "chi2", "--out", "out", dataset=None) == 0
    found = load_judgement(tmp_path / "out" / "scores.json")
    assert found.dataset is None and not found.official and found.geometry == "calogan"
    assert "separation_power/E_ratio" in {s.name for s in found.scores}


def test_modes():
    photons, electrons = Setup.of(PHOTONS, None), Setup.of("2", None)
    assert photons.modes(["all"]) == tuple(m for m in MODES if m != "cls-resnet")
    assert electrons.modes(["all"]) == MODES
    assert photons.modes(["kpd", "hist-p", "hist-chi"]) == ("hist", "chi2", "kpd")
    assert photons.modes(["all", "cls-resnet"]) == MODES
    with pytest.raises(ConfigError, match="unknown mode chi3"):
        photons.modes(["chi3"])
    assert electrons.readout.threshold_MeV == pytest.approx(0.5e-3 / 0.033) and photons.readout.threshold_MeV == 1


def test_an_earlier_evaluation_is_replaced_as_a_whole(files, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    assert run(files, "--mode", "avg", "--out", "out") == 0
    assert (tmp_path / "out" / "average.png").exists()
    assert run(files, "--mode", "chi2", "--out", "out") == 0
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"notes.txt", "scores.json", "scores.csv"}


def test_official_references_are_recognised(files, tmp_path, monkeypatch):
    import calopipe.submission as submission

    monkeypatch.setattr(
        submission, "is_official_reference", lambda name, md5: (name, len(md5)) == ("calochallenge1_photons", 1)
    )
    assert run(files, "--mode", "chi2", "--out", "out") == 0
    assert load_judgement(tmp_path / "out" / "scores.json").official


# ---- incident energies ----------------------------------------------------------------------------------------------
def test_largest_difference_by_hand():
    assert largest_difference(np.array([1.0, 2, 3, 4]), np.array([1.0, 2, 3, 4])) == 0
    assert largest_difference(np.array([1.0, 2]), np.array([3.0, 4])) == 1
    assert largest_difference(np.array([1.0, 2, 3, 4]), np.array([2.0, 2, 3, 4])) == pytest.approx(0.25)


def test_samples_of_one_distribution_are_accepted():
    for seed in range(50):
        rng = np.random.default_rng(seed)
        assert compare_energies(*(10 ** rng.uniform(3, 6, n) for n in (2000, 900)), NAMES) == []
    ladder = 256.0 * 2 ** np.arange(15)
    draws = [np.random.default_rng(s).choice(ladder, 3000) for s in (1, 2)]
    assert compare_energies(draws[0], draws[1] * (1 + 1e-5), NAMES) == []  # float rounding is no other energy


def test_a_slight_difference_is_warned_about():
    reference = np.repeat([256.0, 512.0], 50_000)
    generated = np.repeat([256.0, 512.0], [51_500, 48_500])
    warnings = compare_energies(reference, generated, NAMES)
    assert len(warnings) == 1 and "0.015" in warnings[0]


def test_a_rare_energy_may_be_missing_by_chance():
    reference = np.repeat([256.0, 512.0], [9900, 100])
    assert compare_energies(reference, np.full(500, 256.0), NAMES) == ["no generated shower at 512 MeV"]
    with pytest.raises(DataError, match="no shower with the incident energy 512"):
        compare_energies(reference, np.full(5000, 256.0), NAMES)


def test_slices():
    beams = np.repeat([256.0, 512.0], 50)
    assert list(energy_slices(beams)) == [Slice.of_energies(e, e) for e in (256.0, 512.0)]
    assert Slice.of_energies(512.0, 512.0).holds(beams).sum() == 50
    continuous = 10 ** np.linspace(3, 6, 1000)
    assert beam_energies(continuous) is None
    slices = list(energy_slices(continuous))
    assert [(s.low, s.high) for s in slices] == [(1e3, 1e4), (1e4, 1e5), pytest.approx((1e5, 1e6))]
    assert sum(s.holds(continuous).sum() for s in slices) == 1000
    decades = [(s.low, s.high) for s in energy_slices(10 ** np.linspace(3, 4.2, 100))]
    assert decades == [(1e3, 1e4), pytest.approx((1e4, 1e5))]


# ---- what it refuses ------------------------------------------------------------------------------------------------
def changed(**changes):
    """A function that writes a file with other datasets: a new array, or None to leave it out."""

    def write(path):
        showers = photons(600, 1)
        data = {"incident_energies": showers.incident_energies.copy(), "showers": showers.showers.copy()}
        with h5py.File(path, "w") as file:
            for key, value in data.items():
                new = changes.get(key, lambda x: x)(value)
                if new is not None:
                    file[key] = new

    return write


def with_voxel(value):
    def change(showers):
        showers[417, 5] = value
        return showers

    return change


REFUSED = {
    "wrong shape": (changed(showers=lambda x: x[:, :367]), "367 voxels per shower"),
    "three axes": (changed(showers=lambda x: x[:, :, None]), "must have shape (N, V)"),
    "other number": (changed(showers=lambda x: x[:-1]), "600 incident energies but 599 rows"),
    "negative": (changed(showers=with_voxel(-1)), "row 417, voxel 5 is -1"),
    "NaN": (changed(showers=with_voxel(np.nan)), "row 417, voxel 5 is nan"),
    "infinite": (changed(showers=with_voxel(np.inf)), "row 417, voxel 5 is inf"),
    "no showers": (changed(showers=lambda x: None), "dataset 'showers' is missing"),
    "no energies": (changed(incident_energies=lambda x: None), "dataset 'incident_energies' is missing"),
    "empty": (changed(showers=lambda x: x[:0], incident_energies=lambda x: x[:0]), "no showers"),
    "zero energy": (changed(incident_energies=lambda x: x * 0), "must be finite and > 0"),
    "GeV": (changed(incident_energies=lambda x: x / 1000), "is it in GeV?"),
    "strange energy": (changed(incident_energies=lambda x: np.where(x == 256, 300, x)), "300 MeV is none of the 2"),
    "one energy": (changed(incident_energies=lambda x: x * 0 + 256), "do not follow those of"),
    "text": (lambda path: path.write_text("hello"), "not an HDF5 file"),
    "missing": (lambda path: None, "no such file"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refused_files(files, tmp_path, capsys, what):
    write, message = REFUSED[what]
    write(tmp_path / "bad.hdf5")
    before = sorted(tmp_path.iterdir())
    assert run({**files, "generated": tmp_path / "bad.hdf5"}, "--mode", "chi2", "--out", "out") == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("calopipe: ") and message in lines[0] and "bad.hdf5" in lines[0]
    assert sorted(tmp_path.iterdir()) == before
    if what not in ("GeV", "strange energy", "one energy"):  # the reference is checked in the same way
        assert run({**files, "reference": tmp_path / "bad.hdf5"}, "--mode", "chi2", "--out", "out") == 2
        assert message in capsys.readouterr().err and sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--geometry", "calogan"], "either --dataset"),
        (["--dataset", "4"], "unknown dataset '4'"),
        (["--mode", "chi3"], "unknown mode chi3"),
        (["--seed", "-1"], "--seed"),
        (["--cls-epochs", "0"], "--cls-epochs"),
        (["--threshold", "-1"], "threshold"),
        (["--out", "taken"], "is a file"),
    ],
)
def test_refused_arguments(files, tmp_path, capsys, arguments, message):
    (tmp_path / "taken").write_text("a file")
    assert run(files, *arguments) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and message in lines[0]
    assert [p.name for p in tmp_path.iterdir()] == ["taken"]


def test_other_units_of_the_voxels_are_warned_about(files, tmp_path):
    showers = read_showers(files["generated"])
    write_showers(tmp_path / "keV.hdf5", Showers(showers.incident_energies, showers.showers * np.float32(1000)))
    assert run({**files, "generated": tmp_path / "keV.hdf5"}, "--mode", "chi2", "--out", "out") == 0
    assert any("voxels in MeV" in w for w in load_judgement(tmp_path / "out" / "scores.json").warnings)


# ---- interruptions --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("place", ["evaluate_modes", "_draw", "write_table", "save_judgement"])
def test_an_interrupted_run_leaves_nothing(files, tmp_path, monkeypatch, capsys, place):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(f"calopipe.submission.{place}", interrupted)
    assert run(files, "--mode", "chi2", "--out", "out") == 130
    assert capsys.readouterr().err.strip().splitlines()[-1] == "calopipe: interrupted"
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_run_keeps_the_earlier_one(files, tmp_path, monkeypatch):
    assert run(files, "--mode", "avg", "--out", "out") == 0
    before = {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()}
    monkeypatch.setattr("calopipe.submission.write_table", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    assert run(files, "--mode", "chi2", "--out", "out") == 130
    assert {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()} == before


def test_a_classifier_that_diverges_is_no_refusal(files, monkeypatch, capsys):
    from calopipe.errors import NumericsError

    def diverges(config: ClassifierConfig | None = None, *_, **__):
        raise NumericsError("diverged")

    monkeypatch.setattr("calopipe.submission.evaluate_modes", diverges)
    assert run(files, "--mode", "cls-low", "--out", "out") == 1
