"""Every option of the command line: hostile values end in one line, and the challenge script's options are understood."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from matplotlib.figure import Figure

from calopipe import cli
from calopipe.io import Showers, write_showers
from calopipe.metrics.classifier_presets import challenge_classifier
from calopipe.plots.style import save_figure
from calopipe.records.judgement import InputFile, Judgement, save_judgement
from calopipe.submission import _remove_earlier

LONG = "y" * 5000
HUGE = "1" + "0" * 30
GENERATE = ["generate", "x.pt", "--energies", "1000", "--out", "o.hdf5"]
EVALUATE = ["evaluate", "gen.hdf5", "-r", "ref.hdf5", "-d", "1-photons", "-m", "avg"]
NUMBERS = {
    "--seed": (GENERATE, ["-1", HUGE, "1.5", "nan", "", "one"]),
    "--number": (GENERATE, ["0", "-5", HUGE, "1000000000000", "1e3.5", "true", "1000000000"]),
    "--batch-size": (GENERATE, ["0", "-1", HUGE, "x"]),
    "--energies": (
        GENERATE,
        ["", ":", "1:2:3", "1,,2", "nan", "inf", "-1", "0", "1e400", LONG, "2:1", "1:2", ",".join("ab")],
    ),
    "--device": (GENERATE, ["tpu", ""]),
    "--rows": (["show", "ref.hdf5", "--pictures", "p"], ["-1", HUGE, "x", "600"]),
    "--geometry": (["show", "ref.hdf5"], ["nowhere", LONG, "", ".", "calogan"]),
    "--threshold": (EVALUATE, ["inf", "nan", "-1", "1e300", "x", ""]),
    "--cls-repeats": (EVALUATE, ["0", "-1", HUGE, "x"]),
    "--cls-epochs": (EVALUATE, ["0", HUGE, "2.5"]),
    "--prdc-showers": (EVALUATE, ["0", "5", HUGE]),
    "--cls_n_epochs": (EVALUATE, ["0", HUGE]),
    "--cls_n_layer": (EVALUATE, ["-1", "99", HUGE]),
    "--cls_n_hidden": (EVALUATE, ["0", HUGE]),
    "--cls_dropout_probability": (EVALUATE, ["-0.1", "1", "nan"]),
    "--cls_batch_size": (EVALUATE, ["0", HUGE]),
    "--cls_lr": (EVALUATE, ["0", "-1", "inf", "nan"]),
    "--which_cuda": (EVALUATE, ["1", "-1", "x"]),
    "--name": (EVALUATE, ["n" * 100_000]),
    "--mode": (EVALUATE, ["chi3", "", LONG, "../x"]),
    "--dataset": (EVALUATE, ["4", "", LONG, "photons"]),
    "--out": (EVALUATE, [LONG, "ref.hdf5", "ref.hdf5/x", "/dev/null"]),
    "--input_file_2": (EVALUATE, ["missing", LONG, ".", "/dev/null"]),
    "--reference_file_2": (EVALUATE, ["missing", LONG, "."]),
    "scores": (["leaderboard"], ["missing", LONG, "ref.hdf5", "deep.json", "list.json", "/dev/null"]),
}


@pytest.fixture(autouse=True)
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for name in ("ref", "gen"):
        write_showers(f"{name}.hdf5", Showers(np.full(60, 256.0), rng.exponential(1, (60, 368))))
    (tmp_path / "deep.json").write_text("[" * 100_000)
    (tmp_path / "list.json").write_text("[1, 2]")
    return tmp_path


def run(arguments, capsys):
    """Exit status and what was written to stderr."""
    try:
        status = cli.main(arguments)
    except SystemExit as error:
        status = error.code
    return status, capsys.readouterr().err


@pytest.mark.parametrize("option", NUMBERS)
def test_hostile_values_end_in_one_line(option, files, capsys, caplog):
    arguments, values = NUMBERS[option]
    before = sorted(p.name for p in files.iterdir())
    for value in values:
        given = [*arguments, value] if option == "scores" else [*arguments, option, value]
        status, error = run(given, capsys)
        shown = value[:50]
        assert status in (1, 2), (shown, error[:300])
        lines = [line for line in error.splitlines() if not line.startswith("warning")]
        assert len(lines) == 1 and lines[0].startswith("calopipe") and "Traceback" not in error, (shown, error[:300])
        assert len(error) < 12_000 and sorted(p.name for p in files.iterdir()) == before, shown


def test_too_little_memory_and_system_errors_are_one_line(monkeypatch, capsys):
    for raised, message in (
        (MemoryError("of 8 TB"), "not enough memory"),
        (OSError(28, "No space left", "x"), "x: No space"),
    ):

        def fail(*_, raised=raised):
            raise raised

        monkeypatch.setattr("calopipe.show.summarise", fail)
        status, error = run(["show", "ref.hdf5"], capsys)
        assert status == 1 and error.count("\n") == 1 and message in error


# ---- the challenge's script -------------------------------------------------------------------------------------------
def called(monkeypatch, *arguments):
    """What `calopipe evaluate` would compute."""
    seen = {}

    def evaluate(reference, generated, setup, modes, out, *, adjust, **more):
        seen.update(reference=reference, generated=generated, setup=setup, modes=modes, out=out, adjust=adjust)
        raise KeyboardInterrupt

    monkeypatch.setattr("calopipe.submission.evaluate", evaluate)
    assert cli.main(["evaluate", *arguments]) == 130
    return seen


def test_a_command_of_the_challenges_script_runs(monkeypatch):
    seen = called(
        monkeypatch, "-i", "a", "--input_file_2", "b", "-r", "c", "--reference_file_2", "d", "-d", "3", "--output_dir", "out",
        "--mode", "hist-p", "--cls_n_layer", "1", "--cls_n_hidden", "64", "--cls_dropout_probability", "0.1",
        "--cls_batch_size", "500", "--cls_n_epochs", "3", "--cls_lr", "1e-3", "--no_cuda", "--which_cuda", "0", "--save_mem",
    )  # fmt: skip
    assert [str(p) for p in seen["generated"]] == ["a", "b"] and [str(p) for p in seen["reference"]] == ["c", "d"]
    assert seen["setup"].dataset == "3" and seen["modes"] == ("hist",) and str(seen["out"]) == "out"
    low, cnn = (seen["adjust"](challenge_classifier(name)) for name in ("low", "resnet"))
    assert low.hidden == [64, 64] and low.dropout == 0.1 and low.batch_size == 500 and low.epochs == 3
    assert low.lr == 1e-3 and low.device == "cpu" and low.features == "low"
    assert cnn.network == "cnn" and cnn.epochs == 3 and cnn.hidden == challenge_classifier("resnet").hidden


def test_without_options_the_classifiers_are_the_challenges(monkeypatch):
    seen = called(
        monkeypatch, "--input_file", "a", "--reference_file", "c", "--dataset", "1-photons", "--mode", "hist-chi"
    )
    assert seen["modes"] == ("chi2",)
    for name in ("low", "low-normed", "high", "resnet"):
        assert seen["adjust"](challenge_classifier(name)) == challenge_classifier(name)
    one = called(monkeypatch, "a", "-r", "c", "-d", "2", "--cls_n_hidden", "512")["adjust"](
        challenge_classifier("high")
    )
    assert one.hidden == [512, 512, 512]


@pytest.mark.parametrize(
    "mode",
    [
        "all",
        "no-cls",
        "avg",
        "avg-E",
        "hist-p",
        "hist-chi",
        "hist",
        "cls-low",
        "cls-low-normed",
        "cls-high",
        "fpd",
        "kpd",
    ],
)
def test_modes_of_the_script_are_known(mode, monkeypatch):
    assert called(monkeypatch, "a", "-r", "b", "-d", "2", "-m", mode)["modes"]


def test_another_gpu_is_named_with_its_successor(capsys):
    status, error = run([*EVALUATE, "--which_cuda", "3"], capsys)
    assert status == 2 and "CUDA_VISIBLE_DEVICES=3" in error
    status, error = run([*EVALUATE, "--no_cuda", "--device", "cuda"], capsys)
    assert status == 2 and "contradict" in error


# ---- what an earlier evaluation left -----------------------------------------------------------------------------------
def test_only_files_that_calopipe_wrote_are_removed(files):
    out = files / "out"
    out.mkdir()
    (files / "precious.png").write_bytes(b"1")
    (out / "notes.txt").write_text("mine")
    (out / "photo.png").write_bytes(b"\x89PNG mine")
    (out / "folder.png").mkdir()
    (out / "link.png").symlink_to(files / "precious.png")
    (out / "scores.csv").write_text("")
    save_figure(Figure(), out / "other.png", {"run": "my thesis"}, pdf=False)
    save_figure(Figure(), out / "average.png", {"run": "calopipe evaluate gen"}, pdf=False)
    shutil.copy(out / "average.png", files / "outside.png")
    listed = [
        "..", ".", "", "../precious.png", "../outside.png", str(files / "precious.png"), "notes.txt", "photo.png", "folder.png",
        "link.png", "other.png", "average.png", "scores.csv", "missing.png", "a/b", "\x00", "z" * 5000,
    ]  # fmt: skip
    file = InputFile("x", 1, "", "")
    made = Judgement(None, "g", "h", 0.0, ("avg",), 0, "gen", (file,), (file,), False, (), files=tuple(listed))
    save_judgement(out / "scores.json", made)
    _remove_earlier(out)
    assert {p.name for p in out.iterdir()} == {"notes.txt", "photo.png", "folder.png", "link.png", "other.png"}
    assert (files / "precious.png").exists() and (files / "outside.png").exists()


def test_names_are_drawn_as_they_are(files):
    name = r"a$\frac{$ 50%b_x"
    shutil.copy("gen.hdf5", f"{name}.hdf5")
    assert (
        cli.main(["show", f"{name}.hdf5", "--geometry", "calochallenge1_photons", "--pictures", "p", "--rows", "0"])
        == 0
    )
    assert (files / "p" / f"{name}_average.png").is_file()
    assert cli.main(["evaluate", f"{name}.hdf5", *EVALUATE[2:]]) == 0
    assert json.loads((files / "evaluation" / "scores.json").read_text())["name"] == name
    assert cli.main(["leaderboard", "evaluation", "--out", "board", "--name", r"$x^{$\\"]) == 0
