"""The table of presets in docs/models.md: every model of every preset, with the number of parameters that it has."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))
import presets as benchmark  # noqa: E402

PRESETS = sorted(path.stem for path in (ROOT / "presets").glob("*.yaml"))
#: millions of numbers: models above are counted in tests of their own
LARGEST = 120e6


def table() -> dict[tuple[str, str], int]:
    """Parameters by preset and model."""
    text = (ROOT / "docs/models.md").read_text(encoding="utf-8").split("## What would be noticed")[0]
    found = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        names = re.findall(r"`([^`]+)`", cells[0])
        if len(cells) == 5 and names:
            models = names[1:] or names
            found |= {(names[0], model): int(cells[3].replace(" ", "")) for model in models}
    return found


def models() -> dict[tuple[str, str], benchmark.Plan]:
    return {(name, model): plan for name, plan, found in benchmark.plans(PRESETS) for model in found}


def test_every_model_of_every_preset_is_in_the_table() -> None:
    assert set(table()) == set(models())


@pytest.mark.parametrize("preset", [name for name in PRESETS if not name.startswith("data_")])
def test_models_have_the_parameters_that_the_table_says(preset: str) -> None:
    stated = table()
    for (name, model), plan in models().items():
        if name == preset and stated[name, model] < LARGEST:
            networks = benchmark.built(plan, model, benchmark.data_of(name, model, plan), n_train=256)
            assert benchmark.parameters(networks) == stated[name, model], (name, model)
