"""What stages hand on: scores that are complete, and their form on disk."""

from __future__ import annotations

import json
import math
import subprocess
import sys

import pytest

from calopipe.errors import DataError
from calopipe.records.scores import Score, load_scores, parsed_score, save_scores


def test_a_score_has_a_value_or_a_reason():
    with pytest.raises(ValueError, match="'fpd' has neither a value nor a reason why"):
        Score("fpd", None, None, 500)
    absent = Score.absent("fpd", 500, ValueError("too few"), seed=3, sample="reconstructed")
    assert (absent.value, absent.missing, absent.n, absent.seed, absent.sample) == (
        None, "too few", 500, 3, "reconstructed")  # fmt: skip


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_is_missing(value):
    score = Score("fpd", value, 0.1, 500, floor=value, extra={"k": 1}).finite()
    assert score.value is None and score.error is None and score.floor is None
    assert score.missing == f"the result is {value}" and score.extra == {"k": 1}
    unknown = Score("fpd", 1.0, value, 500, floor=value).finite()
    assert unknown == Score("fpd", 1.0, None, 500)
    whole = Score("fpd", 0.0, 0.0, 500, floor=0.0)
    assert whole.finite() is whole


def test_the_form_on_disk(tmp_path):
    path = tmp_path / "metrics.json"
    scores = [Score("fpd", 1.25, 0.5, 500, seed=1, floor=0.125, extra={"batch": 20}), Score.absent("kpd", 5, "why")]
    save_scores(path, scores)
    assert json.loads(path.read_text()) == [
        {"name": "fpd", "value": 1.25, "error": 0.5, "n": 500, "seed": 1, "sample": "generated", "floor": 0.125,
         "missing": None, "extra": {"batch": 20}},
        {"name": "kpd", "value": None, "error": None, "n": 5, "seed": None, "sample": "generated", "floor": None,
         "missing": "why", "extra": {}},
    ]  # fmt: skip
    assert load_scores(path) == scores


@pytest.mark.parametrize(
    "item, found",
    [
        ({"value": "1"}, "value of a score is '1'"),
        ({"value": None}, "neither a value nor a reason"),
        ({"n": 1.5}, "n of a score is 1.5"),
        ({"extra": []}, r"extra of a score is \[\]"),
        ({"sort": 1}, "sort"),
    ],
)
def test_what_is_no_score_is_refused(item, found, tmp_path):
    whole = {"name": "fpd", "value": 1.0, "error": None, "n": 5}
    with pytest.raises((TypeError, ValueError), match=found):
        parsed_score({**whole, **item})
    path = tmp_path / "metrics.json"
    path.write_text(json.dumps([{**whole, **item}]))
    with pytest.raises(DataError, match=f"metrics.json: not a list of scores .*{found}"):
        load_scores(path)


def test_records_import_no_torch():
    code = (
        "import importlib, pkgutil, sys, calopipe.records as r\n"
        "[importlib.import_module(f'calopipe.records.{m.name}') for m in pkgutil.iter_modules(r.__path__)]\n"
        "print([m for m in ('torch', 'lightning', 'sklearn', 'matplotlib') if m in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
