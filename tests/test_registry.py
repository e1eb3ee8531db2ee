"""Parts and their settings are found without importing them, built-in ones and those of a user's own folders."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from calopipe import codedigest
from calopipe.config.parts import KINDS, METRICS, MODELS, STEPS, network, part, use_extensions
from calopipe.errors import ConfigError
from calopipe.registry import Registry

#: what settings classes must not import
HEAVY = ("torch", "scipy", "sklearn", "lightning", "numba", "FrEIA", "skdim", "matplotlib", "h5py", "pandas")

MODEL = '''
from pydantic import Field
from calopipe.config.bounds import Width
from calopipe.config.chains import ModelSettings
from calopipe.config.parts import MODELS
from calopipe.models.flows.inn import INN
from calopipe.models.flows.settings import INNConfig


class WideConfig(INNConfig):
    """Settings of Wide."""

    factor: Width = Field(2, description="wider by this")


@MODELS.register("wide", config=WideConfig)
class Wide(INN):
    """A wider flow."""
'''
STEP = '''
from calopipe.config.parts import STEPS
from calopipe.preprocessing.base import Step
from .settings import HalveConfig
from . import helpers


@STEPS.register("halve", config=HalveConfig)
class Halve(Step):
    """x / 2."""

    bijective = True
'''
STEP_SETTINGS = '''
from pydantic import Field
from calopipe.config.bounds import Scale
from calopipe.config.chains import StepSettings


class HalveConfig(StepSettings):
    """Settings of Halve."""

    by: Scale = Field(2.0, description="divisor")
'''
METRIC = """
from calopipe.config.parts import METRICS as OURS


@OURS.register("zero")
def zero(reference, generated, rng, config):
    return []
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder of extensions; no folder is in use afterwards."""
    found = tmp_path / "my_parts"
    found.mkdir()
    files = {
        "wide.py": MODEL,
        "halve.py": STEP,
        "settings.py": STEP_SETTINGS,
        "zero.py": METRIC,
        "helpers.py": "X = 1\n",
    }
    for name, text in files.items():
        (found / name).write_text(text)
    yield found
    use_extensions([])


def test_settings_of_every_part_are_light() -> None:
    code = (
        "import sys\n"
        "from calopipe.config.parts import METRICS, MODELS, STEPS, settings_class\n"
        "found = [settings_class(r, n) for r in (MODELS, STEPS, METRICS) for n in r.names()]\n"
        f"print(len(found), [m for m in {HEAVY} if m in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    expected = sum(len(registry.names()) for registry in (MODELS, STEPS, METRICS))
    assert done.stdout.strip() == f"{expected} []"


@pytest.mark.parametrize("registry", [MODELS, STEPS, METRICS], ids=lambda r: r.symbol)
def test_settings_that_are_read_are_those_that_are_registered(registry: Registry) -> None:
    read = {name: registry.config_class(name) for name in registry.names()}
    for name in registry.names():
        registry.get(name)
    assert read == {name: registry.config_class(name) for name in registry.names()}


def test_every_model_is_of_one_kind() -> None:
    for name in MODELS.names():
        assert sum(MODELS.is_a(name, kind) for kind in KINDS) == 1


def test_parts_of_a_folder_are_parts(folder: Path) -> None:
    use_extensions([folder])
    assert "wide" in MODELS.names() and "halve" in STEPS.names() and "zero" in METRICS.names()
    assert MODELS.is_a("wide", "GenerativeModel") and STEPS.marked("halve", "bijective")
    assert part(STEPS, "step", "halve").plain() == {"step": "halve", "by": 2.0}
    assert "calopipe_extensions.my_parts.halve" not in sys.modules
    assert network({"name": "wide", "factor": 3}, "GenerativeModel").settings.blocks == 12
    assert type(part(MODELS, "name", "wide").settings).__name__ == "WideConfig"
    assert MODELS.get("wide").__mro__[1] is MODELS.get("inn")
    assert METRICS.get("zero")(None, None, None, None) == []


def test_folders_that_are_no_longer_used_are_forgotten(folder: Path, tmp_path: Path) -> None:
    use_extensions([folder])
    first = METRICS.get("zero")
    use_extensions([folder])
    assert METRICS.get("zero") is first, "the same folder again"
    other = tmp_path / "other" / "my_parts"
    other.mkdir(parents=True)
    (other / "zero.py").write_text(METRIC.replace("[]", "[1]"))
    use_extensions([other])
    assert METRICS.get("zero")(None, None, None, None) == [1] and METRICS.get("zero") is not first
    use_extensions([])
    with pytest.raises(ConfigError, match="unknown metric 'zero'"):
        METRICS.get("zero")
    with pytest.raises(ConfigError, match="unknown model 'wide'"):
        MODELS.config_class("wide")


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("a.py", "def f(:\n", r"a\.py: no Python in line 1: invalid syntax"),
        ("a.py", MODEL.replace('"wide"', '"inn"'), r"model 'inn' is registered twice: by calopipe\.models\.flows\.inn and .*\.a"),
        ("a.py", MODEL, r"'wide' is registered twice: by .*my_parts\.a and .*my_parts\.wide"),
        ("a.py", MODEL.replace('"wide"', '"b"').replace("(INN)", "(list)"), "model 'b' must be a class derived from Gen"),
        ("a.py", METRIC.replace('"zero"', '"b"').replace("def zero(reference, generated, rng, config)", "class Zero"),
         "metric 'b' must be a function, found Zero"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_file_is_one_line(folder: Path, file: str, text: str, message: str) -> None:
    (folder / file).write_text(text.replace("    return []", "    x = []"))
    with pytest.raises(ConfigError, match=message) as error:
        use_extensions([folder])
    assert "\n" not in str(error.value)


def test_what_is_wrong_with_a_folder_is_one_line(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"extensions: expected a folder, found .*nothing"):
        use_extensions([tmp_path / "nothing"])
    (tmp_path / "my-parts").mkdir()
    with pytest.raises(ConfigError, match="whose name Python can import, found 'my-parts'"):
        use_extensions([tmp_path / "my-parts"])
    (tmp_path / "b" / "my_parts").mkdir(parents=True)
    with pytest.raises(ConfigError, match="two folders are called 'my_parts'"):
        use_extensions([folder, tmp_path / "b" / "my_parts"])


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (
            "import nowhere_to_be_found\n" + MODEL,
            r"my_parts\.wide cannot be imported: ModuleNotFoundError: No module named",
        ),
        (
            MODEL.replace("(INNConfig)", "(dict)"),
            r"settings of model 'wide' must be a class derived from calopipe\.config\.Section",
        ),
    ],
)
def test_files_that_cannot_be_used_are_told_when_they_are(folder: Path, broken: str, message: str) -> None:
    (folder / "wide.py").write_text(broken)
    use_extensions([folder])
    with pytest.raises(ValueError, match=message):
        network("wide", "GenerativeModel")


def test_settings_that_are_not_there_are_told(folder: Path) -> None:
    (folder / "settings.py").write_text("X = 1\n")
    use_extensions([folder])
    with pytest.raises(
        ConfigError, match=r"my_parts\.halve: calopipe_extensions\.my_parts\.settings has no HalveConfig"
    ):
        STEPS.config_class("halve")


def test_files_of_extensions_are_code(folder: Path) -> None:
    use_extensions([folder])
    modules = ["calopipe_extensions.my_parts.halve"]
    reached = codedigest.code_modules(modules)
    assert "calopipe_extensions.my_parts.helpers" in reached and "calopipe.preprocessing.base" in reached
    assert not [name for name in reached if name.endswith("settings") or name.startswith("calopipe.config")]
    digests = [codedigest.code_digest(modules)]
    for file in ("settings.py", "zero.py", "helpers.py", "halve.py"):
        (folder / file).write_text((folder / file).read_text() + "\n_EDITED = True\n")
        digests.append(codedigest.code_digest(modules))
    assert [a == b for a, b in zip(digests[:-1], digests[1:], strict=True)] == [True, True, False, False]
