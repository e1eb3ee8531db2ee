"""docs/adding.md, followed to the letter in a copy of the tree."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from test_workflow import ROOT, copy_tree

from calopipe.records.histograms import load_histograms

pytestmark = pytest.mark.slow
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
RESULTS = Path("results/photons")
#: half of the time would go into drawing at the resolution of papers
QUICK = "\nplots: {dpi: 60, pdf: false}\n"


def blocks() -> list[tuple[str, str]]:
    """Language and text of every code block of the page."""
    return BLOCK.findall((ROOT / "docs" / "adding.md").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tree after all files of the page have been written and all its commands run."""
    folder = copy_tree(tmp_path_factory.mktemp("tree"))
    commands = []
    for language, text in blocks():
        first = text.partition("\n")[0]
        if language == "sh":
            commands += text.splitlines()
        elif first.startswith("# ") and Path(first[2:]).suffix in (".py", ".yaml"):
            path = folder / first[2:]
            path.parent.mkdir(exist_ok=True)
            path.write_text(text + QUICK * (path.name == "my_study.yaml"), encoding="utf-8")
    for command in commands:
        program, *arguments = command.split()
        assert program.startswith(".venv/bin/"), command
        run = [] if program.endswith("python") else ["-m", program.removeprefix(".venv/bin/")]
        done = subprocess.run(
            [sys.executable, *run, *arguments], cwd=folder, capture_output=True, text=True, timeout=900
        )
        assert done.returncode == 0, f"{command}\n{(done.stdout + done.stderr)[-6000:]}"
    return folder


def history(tree: Path, model: str, network: str) -> dict[str, str]:
    """The last epoch of a training."""
    with (tree / RESULTS / model / "seed0" / network / "history.csv").open() as file:
        return list(csv.DictReader(file))[-1]


def test_every_part_is_of_the_folder(followed: Path) -> None:
    names = {path.name for path in (followed / "my_parts").glob("*.py")}
    assert names == {"core.py", "leakage.py", "settings.py", "centred_vae.py", "small_gan.py"}
    assert not list((followed / "src").rglob("centred_vae.py"))


def test_observable_and_metric_judge_every_model(followed: Path) -> None:
    for model in ("vae", "gan", "chain"):
        scores = json.loads((followed / RESULTS / model / "seed0" / "metrics.json").read_text())
        found = {score["name"]: score for score in scores}
        assert {"leakage", "separation_power/core", "separation_power/E_ratio"} <= set(found)
        assert found["leakage"]["value"] is not None and found["separation_power/core"]["value"] > 0
        histograms = load_histograms(followed / RESULTS / model / "seed0" / "histograms.npz")[0]
        (core,) = [h for h in histograms if h.name == "core"]
        assert core.counts["reference"].sum() == core.totals["reference"] > 0 and set(core.counts) > {"reference"}


def test_terms_and_objectives_are_recorded(followed: Path) -> None:
    assert {"train_centre", "val_centre", "val_kl"} <= history(followed, "vae", "autoencoder").keys()
    assert {"train_critic_loss", "train_generator_loss", "val_gap"} <= history(followed, "gan", "generator").keys()
    for network in ("energies", "autoencoder", "flow"):
        assert np.isfinite(float(history(followed, "chain", network)["val_loss"]))


def test_report_shows_the_parts(followed: Path) -> None:
    report = followed / "results" / "report" / "mine"
    page = (report / "index.html").read_text()
    assert all(text in page for text in ("leakage", "chain", "small_gan"))
    assert [path for path in report.rglob("*.png") if "core" in path.name]
