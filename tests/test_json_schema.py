"""The JSON schema for editors is the one that the settings classes give, and says what calopipe itself says of keys."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from calopipe.config import load_study
from calopipe.config.json_schema import json_schema, render
from calopipe.config.load import read_yaml

ROOT = Path(__file__).parents[1]
FILES = [ROOT / "config.yaml", ROOT / "tests" / "tiny.yaml", *sorted((ROOT / "presets").glob("*.yaml"))]


@pytest.fixture(scope="module")
def schema() -> Draft202012Validator:
    Draft202012Validator.check_schema(json_schema())
    return Draft202012Validator(json_schema())


def mappings(node: Any) -> Iterator[dict[str, Any]]:
    """Every mapping in a file."""
    if isinstance(node, dict):
        yield node
    for inner in node.values() if isinstance(node, dict) else node if isinstance(node, list) else []:
        yield from mappings(inner)


def test_file_is_up_to_date() -> None:
    found = (ROOT / "docs" / "config.schema.json").read_text(encoding="utf-8")
    assert found == render(), "settings have changed: make reference"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_files_are_valid(schema: Draft202012Validator, path: Path) -> None:
    schema.validate(read_yaml(path))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_an_unknown_key_is_found_wherever_it_stands(schema: Draft202012Validator, path: Path) -> None:
    data = copy.deepcopy(read_yaml(path))  # anchors make one mapping stand in several places
    for mapping in mappings(data):
        mapping["no such key"] = {}
        assert not schema.is_valid(data), list(mapping)
        del mapping["no such key"]
    schema.validate(data)


def test_complete_settings_are_valid(schema: Draft202012Validator) -> None:
    """What calopipe fills in is what the schema allows."""
    study = load_study(read_yaml(ROOT / "config.yaml"), ROOT / "presets")
    schema.validate(study.model_dump(mode="json"))


@pytest.mark.parametrize(
    "data",
    [
        {"runs": [{"model": "inn"}]},
        {"study": 1},
        {"datasets": {"a": {"source": {"kind": "magnetic tape"}}}},
        {"evaluations": {"a": {"seed": -1}}},
        {"evaluations": {"a": {"metrics": [{"zero_MeV": 0.1}]}}},
        {"evaluations": {"a": {"metrics": [{"metric": "fpd", "zero_MeV": 0.1}]}}},
        {"regressors": {"a": {"model": {"name": "regressor", "norm": "none at all"}}}},
    ],
    ids=str,
)
def test_wrong_values_are_found(schema: Draft202012Validator, data: dict[str, Any]) -> None:
    assert not schema.is_valid(data)


def test_parts_of_extensions_are_valid(schema: Draft202012Validator) -> None:
    learned = {
        "learns": "showers",
        "model": {"name": "mine", "width": 3},
        "preprocessing": ["mine", {"step": "mine", "x": 1}],
    }
    judged = {"metrics": [{"metric": "separation_power", "observables": ["mine"]}, "mine"]}
    schema.validate(
        {"extensions": ["parts"], "models": {"a": {"networks": {"b": learned}}}, "evaluations": {"default": judged}}
    )
