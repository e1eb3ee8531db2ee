"""Names and texts that others chose: legal ones work everywhere and are shown as they are, none reaches a terminal raw."""

from __future__ import annotations

import logging
import os
import warnings
from pathlib import Path

import h5py
import numpy as np
import pytest
from matplotlib.figure import Figure

from calopipe.cli import main
from calopipe.errors import ConfigError, DataError, printable
from calopipe.io import Showers, write_showers
from calopipe.plots.style import literal, new_figure, save_figure, styled
from calopipe.records.judgement import load_judgement
from calopipe.scripting import LogFormatter

NAMES = [
    "eff_50%b",
    "%s %d %%",
    "$x_{1}$",
    r"$\frac{$",
    "{a} {0}",
    'it\'s "b"',
    "Ünï 粒子",
    "_x",
    "a\\$b",
    "-",
    "[1]*?",
]


def make(path: Path, seed: int = 0, n: int = 40) -> Path:
    rng = np.random.default_rng(seed)
    energies = np.full((n, 1), 1e4)
    voxels = rng.exponential(1, (n, 504)) * (rng.random((n, 504)) < 0.5)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_showers(path, Showers(energies, voxels * 0.9e4 / voxels.sum(1, keepdims=True)), "calogan")
    return path


def test_printable() -> None:
    assert printable("plain Ünï 粒子") == "plain Ünï 粒子"
    assert printable("\x1b[31m\x07\x9b\n\t\u202e\udcff\x7f") == r"\x1b[31m\x07\x9b\x0a\x09\u202e\udcff\x7f"
    assert printable("a\nb\x1b", keep="\n") == "a\nb\\x1b"
    assert printable("abcdefgh", 6) == "abc..."
    assert str(ConfigError("a\x1bb\nc")) == r"a\x1bb\x0ac"
    assert str(DataError(str(DataError("a\x1b")))) == r"a\x1b"


def test_logs_hold_no_control_codes() -> None:
    form = LogFormatter("%(message)s")
    record = logging.LogRecord("calopipe", logging.INFO, "", 0, "file %s", ("a\x1b[2J\nfake line",), None)
    assert form.format(record) == r"file a\x1b[2J\x0afake line"
    try:
        raise ValueError("\x1b]0;title\x07")
    except ValueError as error:
        record.exc_info = (type(error), error, error.__traceback__)
    text = form.format(record)
    assert "\x1b" not in text and "\x07" not in text and text.count("\n") >= 3


@styled
def drawn(name: str, text: str) -> Figure:
    figure = new_figure(3, 3)
    axes = figure.add_subplot()
    axes.plot([0, 1], label=text)
    axes.legend()
    axes.set_title(f"{literal(name)}, shower 1: $E_\\mathrm{{inc}}$")
    return figure


@pytest.mark.parametrize("name", NAMES)
def test_plots_show_names_as_they_are(name: str, tmp_path: Path) -> None:
    figure = drawn(name, literal(name))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        save_figure(figure, tmp_path / "a", {"run": name}, dpi=50)
    axes = figure.axes[0]
    assert len(axes.get_legend().get_texts()) == 1
    # what matplotlib draws of a text without formulas
    shown, mode = axes.get_legend().get_texts()[0]._preprocess_math(literal(name))
    assert (shown.lstrip("\N{ZERO WIDTH SPACE}"), bool(mode)) == (name, False)


@pytest.mark.parametrize("name", NAMES)
def test_show_takes_every_legal_name(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = make(tmp_path / name / f"{name}.hdf5")
    pictures = ["--pictures", str(tmp_path / "out"), "--rows", "0"] if "frac" in name else []
    assert main(["show", str(path), *pictures]) == 0
    assert f"{name}.hdf5: 40 showers" in capsys.readouterr().out
    assert not pictures or f"{name}_0_layers.png" in os.listdir(tmp_path / "out")


def test_evaluate_takes_every_legal_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "eff_50%b {x} $\\frac{$"
    files = [make(folder / f"gen_{i}'%d$.hdf5", i) for i in (1, 2)]
    reference = make(tmp_path / "ref.hdf5", 3)
    out = folder / "out %s"
    command = ["evaluate", *map(str, files), "-r", str(reference), "-r", str(reference), "--geometry", "calogan"]
    for name in ([], ["--name", "$\\frac{$ %d {0}"]):
        assert main([*command, "-m", "avg", "--out", str(out), *name]) == 0
        found = load_judgement(out / "scores.json")
        assert found.name == (name[1] if name else "gen_1'%d$")
    assert "\x1b" not in capsys.readouterr().out


def test_texts_of_a_file_reach_the_terminal_without_control_codes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make(tmp_path / "red \x1b[31m.hdf5")
    with h5py.File(path, "a") as file:
        file.attrs["title\x1b]0;x\x07"] = "\x1b[2J\x9b gone"
        file.attrs["list"] = np.array(["\x1b[1m"], dtype=h5py.string_dtype())
    assert main(["show", str(path)]) == 0
    assert main(["show", str(path.with_name("gone \x1b[31m"))]) == 1
    shown = "".join(capsys.readouterr())
    assert not set(shown) & {"\x1b", "\x07", "\x9b"} and r"\x1b[2J\x9b gone" in shown and r"red \x1b[31m.hdf5" in shown


def test_names_that_are_no_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = make(tmp_path / os.fsdecode(b"\xff\xfe.hdf5"))
    assert main(["show", str(path), "--pictures", str(tmp_path / "out"), "--rows", "0"]) == 0
    command = ["evaluate", str(path), "-r", str(make(tmp_path / "ref.hdf5", 2)), "--geometry", "calogan", "-m", "avg"]
    assert main([*command, "--out", str(tmp_path / "judged")]) == 0
    assert r"\udcff\udcfe" in capsys.readouterr().out
