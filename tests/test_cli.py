"""The command line: energies are understood, files come out, mistakes are one line."""

from __future__ import annotations

import numpy as np
import pytest

from calopipe.cli import main
from calopipe.errors import ConfigError
from calopipe.generate import incident_energies


def test_energies_of_a_list_a_range_and_a_file(sample):
    assert incident_energies("1000,5e3", 2, 0).ravel().tolist() == [1000, 1000, 5000, 5000]
    uniform = incident_energies("1000:20000", 500, 1)
    assert uniform.shape == (500, 1) and uniform.dtype == np.float32
    assert 1000 <= uniform.min() < 2000 and 19000 < uniform.max() <= 20000
    assert (uniform == incident_energies("1000:20000", 500, 1)).all()
    assert incident_energies(str(sample), None, 0).shape == (7500, 1)


@pytest.mark.parametrize(
    ("text", "number"), [("nofile", None), ("-5", None), ("nan", None), ("1:2", None), ("2:1", 5), ("1", 0)]
)
def test_energies_that_make_no_sense(text, number):
    with pytest.raises(ConfigError):
        incident_energies(text, number, 0)


def test_show_summarises(sample, capsys):
    assert main(["show", str(sample)]) == 0
    assert "7500 showers of 504 voxels" in capsys.readouterr().out


def test_show_draws(sample, tmp_path, capsys):
    assert main(["show", str(sample), "--pictures", str(tmp_path), "--rows", "3"]) == 0
    pictures = list(tmp_path.glob("*.png"))
    assert pictures and all(str(p) in capsys.readouterr().out for p in pictures[:1])


@pytest.mark.parametrize(
    "arguments",
    [
        ["show", "missing.hdf5"],
        ["generate", "missing.pt", "--energies", "1000", "--out", "x.hdf5"],
        ["generate", "missing.pt", "--energies", "1000:x", "--out", "x.hdf5"],
    ],
)
def test_expected_errors_are_one_line(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 1
    message = capsys.readouterr().err.strip().splitlines()
    assert message[-1].startswith("calopipe: ") and "Traceback" not in "".join(message)
    assert not (tmp_path / "x.hdf5").exists()


def test_wrong_arguments_end_with_usage(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["nothing"])
    assert caught.value.code == 2
