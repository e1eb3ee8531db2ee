"""A small version of tests/fuzz/settings.py: mutated settings are refused in one line or accepted, never a traceback."""

from __future__ import annotations

import importlib.util
import random
import sys
from collections import Counter
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent / "fuzz"


@pytest.fixture(scope="module")
def fuzz():
    """The module tests/fuzz/settings.py, under a name of its own."""
    spec = importlib.util.spec_from_file_location("fuzz_settings", FOLDER / "settings.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_studies_that_are_mutated_are_valid(fuzz):
    rng = random.Random(0)
    found = [fuzz.trial(study, None, rng) for study in fuzz.studies()]
    assert [outcome for outcome, _ in found] == ["accepted"] * len(found) and len(found) > 10


def test_mutated_settings_are_refused_in_one_line_or_accepted(fuzz, tmp_path):
    rng, bases, counts = random.Random(7), fuzz.studies(), Counter()
    for number in range(400):
        what, study = fuzz.mutate(rng.choice(bases), rng)
        outcome, found = fuzz.trial(study, tmp_path if number % 10 == 0 else None, rng)
        assert outcome != "failed", f"{what}: {found}"
        counts[outcome] += 1
    assert counts["refused"] > 200 and counts["accepted"] > 40


def test_a_trial_tells_tracebacks_from_refusals(fuzz, monkeypatch):
    """The trials can fail."""

    def broken(*_):
        raise TypeError("unhashable type")

    study, rng = fuzz.studies()[0], random.Random(0)
    monkeypatch.setattr(fuzz.Plan, "load", broken)
    assert fuzz.trial(study, None, rng)[0] == "failed"
    monkeypatch.setattr(fuzz.Plan, "load", lambda *_: (_ for _ in ()).throw(fuzz.CalopipeError("x" * 9999)))
    assert fuzz.trial(study, None, rng)[0] == "failed"
