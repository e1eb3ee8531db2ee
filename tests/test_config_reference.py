"""The page of settings is the one that the library's descriptions give, and every preset is valid."""

from __future__ import annotations

from pathlib import Path

import pytest

from calopipe.config import load_study
from calopipe.config.reference import render

ROOT = Path(__file__).parents[1]
PRESETS = sorted(p.stem for p in (ROOT / "presets").glob("*.yaml"))


def test_page_is_up_to_date() -> None:
    assert (ROOT / "docs" / "config.md").read_text(encoding="utf-8") == render()


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_are_valid(preset: str) -> None:
    dataset = {"source": {"kind": "bundled", "name": "calogan_eplus_sample"}, "geometry": "calogan"}
    base = {"presets": [preset], "datasets": {"mine": dataset}, "runs": [{"dataset": "mine", "model": "placeholder"}]}
    models = {
        "placeholder": {
            "networks": {"flow": {"learns": "showers", "model": {"name": "inn"}, "training": {"epochs": 1}}}
        }
    }
    study = load_study({**base, "models": models}, ROOT / "presets")
    assert len(study.models) > 1 or study.regressors or len(study.datasets) > 1
