"""Reading YAML: each key once, bounded in every way, one line for whatever is wrong."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from calopipe.config.load import load_study, read_yaml
from calopipe.errors import ConfigError, GeometryError
from calopipe.yamlfile import MAX_BYTES, load_yaml

BOMB = "a0: &a0 [1, 1]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 9))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3", "key 'a' is given twice, in lines 1 and 3"),
        ("x: {a: 1, b: {c: 1, c: 2}}", "key 'c' is given twice, in lines 1 and 1"),
        ("- {1: a, 1.0: b}", "key 1.0 is given twice"),
        ("true: a\n1: b", "given twice"),
        ('"a": 1\n? a\n: 2', "key 'a' is given twice"),
        ("b: &b {x: 1}\na: {<<: *b, <<: *b}", "key '<<' is given twice"),
        ("a: &a [*a]", "an alias refers to itself"),
        ("a: &a {b: *a}", "an alias refers to itself"),
        (BOMB, "values with all aliases written out"),
        ("[" * 50_000, "nested too deeply"),
        ("a: " + "9" * 5000, "not valid YAML"),
        ("a: 2001-02-31", "not valid YAML"),
        ("? [1]\n: 2", "not valid YAML"),
        ("a: !!python/object/apply:os.system [ls]", "not valid YAML"),
        ("a: \x07", "not valid YAML"),
        ("a: [1,\nb: 2", "line 2"),
    ],
)
def test_what_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "some.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_yaml(path)
    found = str(caught.value)
    assert message in found and found.startswith(str(path)) and "\n" not in found and len(found) < 700


def test_what_is_read(tmp_path: Path) -> None:
    path = tmp_path / "some.yaml"
    path.write_text("base: &b {x: 1, y: 2}\nown: {<<: *b, x: 3}\nagain: *b\nlist: [1, 1]\nother: {x: 1}\n")
    found = load_yaml(path)
    assert found["own"] == {"x": 3, "y": 2} and found["again"] == found["base"] and found["list"] == [1, 1]
    path.write_text("")
    assert load_yaml(path) is None and read_yaml(path) == {}


def test_json_has_every_key_once_too(tmp_path: Path) -> None:
    path = tmp_path / "some.json"
    path.write_text('{"a": {"b": 1}}')
    assert load_yaml(path) == {"a": {"b": 1}}
    path.write_text('{"a": {"b": 1, "b": 2}}')
    with pytest.raises(ConfigError, match="some.json: not valid JSON: key 'b' is given twice"):
        load_yaml(path)


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "latin.yaml").write_bytes("a: d\u00e9tecteur".encode("latin-1"))
    (tmp_path / "long.yaml").write_bytes(b"#" * (MAX_BYTES + 1))
    for name, message in (
        ("pipe.yaml", "expected a file, found a pipe"),
        ("folder.yaml", "expected a file, found a folder"),
        ("latin.yaml", "not a text file in UTF-8"),
        ("long.yaml", "expected at most 1 MiB"),
        ("none.yaml", "No such file"),
        ("nul\0.yaml", "no such file"),
    ):
        with pytest.raises(GeometryError, match=message):
            load_yaml(tmp_path / name, GeometryError)
    with pytest.raises(ConfigError, match="expected a file, found a device"):
        load_yaml(Path("/dev/zero"))


def test_presets_that_name_the_next_one_twice_are_merged_once_each(tmp_path: Path) -> None:
    for i in range(25):
        following = f"presets: [p{i + 1}, q{i + 1}]\n" if i < 24 else ""
        for name in "pq":
            (tmp_path / f"{name}{i}.yaml").write_text(f"{following}models: {{m{i}: {{description: from {name}}}}}\n")
    with pytest.raises(
        ConfigError, match="models.m24.networks: a model has networks, or is external; found neither"
    ):  # all 25 levels are there
        load_study({"presets": ["p0", "q0"], "datasets": {}, "runs": []}, tmp_path)


@pytest.mark.parametrize("presets", [5, "a", [1], [["a"]], [None], {"a": 1}, [True], ["a" * 5000], ["../a"]])
def test_presets_that_are_no_names(tmp_path: Path, presets: object) -> None:
    with pytest.raises(ConfigError, match="presets: ") as caught:
        load_study({"presets": presets}, tmp_path)
    assert len(str(caught.value)) < 300


def test_presets_in_a_long_row(tmp_path: Path) -> None:
    for i in range(40):
        (tmp_path / f"p{i}.yaml").write_text(f"presets: [p{i + 1}]")
    with pytest.raises(ConfigError, match="is named by more than 30 others in a row"):
        load_study({"presets": ["p0"]}, tmp_path)
