"""Imports inside the library go downward only; siblings of level 3 never import one another (docs/architecture.md)."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import calopipe

ROOT = Path(calopipe.__file__).parent

LEVELS = {
    "units": 0,
    "errors": 0,
    "seeds": 0,
    "extensions": 0,
    "registry": 0,
    "codedigest": 0,
    "yamlfile": 0,
    "devices": 0,
    "origin": 0,
    "canonical": 0,
    "config": 1,
    "geometry": 1,
    "io": 2,
    "sources": 2,
    "workflow": 2,
    "records": 2,
    "scripting": 2,
    "convolutions": 2,
    "hits": 2,
    "compiled_code": 2,
    "extra_dimensions": 2,
    "preprocessing": 3,
    "observables": 3,
    "models": 3,
    "metrics": 3,
    "training": 4,
    "sampling": 4,
    "evaluation": 5,
    "plots": 6,
    "report": 6,
    "provenance": 6,
    "archive": 6,
    "show": 6,
    "generate": 6,
    "likelihood": 6,
    "arguments": 6,
    "submission": 6,
    "cli": 6,
}
SIBLINGS = {"preprocessing", "observables", "models", "metrics"}
FILES = sorted(ROOT.rglob("*.py"))


def part(module: str) -> str:
    """``calopipe.models.flows.inn`` -> ``models``; the package itself -> the empty string."""
    return [*module.split("."), ""][1]


def imported(path: Path) -> set[str]:
    """Top-level parts of calopipe that a file imports, at any depth."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {part(a.name) for a in node.names if a.name.split(".")[0] == "calopipe"}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "calopipe":
            found |= {a.name for a in node.names} if node.module == "calopipe" else {part(node.module)}
    return {name for name in found if name in LEVELS}


def test_every_module_has_a_level():
    names = {p.relative_to(ROOT).parts[0].removesuffix(".py") for p in FILES} - {"__init__"}
    assert names <= set(LEVELS), f"give these a level: {sorted(names - set(LEVELS))}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_downward(path):
    own = path.relative_to(ROOT).parts[0].removesuffix(".py")
    for name in imported(path) - {own}:
        assert LEVELS[name] <= LEVELS.get(own, -1), f"{own} (level {LEVELS.get(own)}) imports {name} above it"
        assert not (own in SIBLINGS and name in SIBLINGS), f"{own} imports its sibling {name}"


def test_building_the_dag_imports_no_heavy_package():
    code = (
        "import sys, pathlib, calopipe.workflow as w\n"
        "from calopipe.config.load import read_yaml\n"
        "plan = w.Plan.load(read_yaml(pathlib.Path('config.yaml')), pathlib.Path('presets'))\n"
        "[plan.settings('train', network='flow', dataset=r.dataset, model=r.model, seed=r.seed) for r in plan.runs]\n"
        "print([m for m in ('torch', 'lightning', 'sklearn', 'matplotlib', 'numba') if m in sys.modules])\n"
    )
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
