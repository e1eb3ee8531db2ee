"""The code digest: an edit changes the digests of exactly the stages that use the edited module."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import calopipe
from calopipe import codedigest
from calopipe.codedigest import code_digest, code_modules
from calopipe.errors import ConfigError

FILES = {
    "__init__.py": '"""Top."""\n__version__ = "1"\n',
    "units.py": "MeV = 1.0\n",
    "data.py": "import numpy\nfrom calopipe.units import MeV\n",
    "models/__init__.py": '"""Models."""\nfrom calopipe.models.inn import INN\nfrom .vae import VAE\n__all__ = ["INN", "VAE"]\n',
    "models/inn.py": "from . import coupling\nclass INN: ...\n",
    "models/vae.py": "class VAE: ...\n",
    "models/coupling.py": "x = 1\n",
    "train.py": "def run():\n    from calopipe.models import INN\n    return INN\n",
    "train_vae.py": "from calopipe.models import VAE\nimport calopipe.data as d\n",
    "judge/__init__.py": "from calopipe.judge.scores import Score\nLIMIT = 3\n",
    "judge/scores.py": "class Score: ...\n",
    "judge/auc.py": "try:\n    import torch\nexcept ImportError:\n    from calopipe import units\n",
    "late.py": 'import importlib\nm = importlib.import_module("calopipe.models.vae")\n',
    "typed.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from calopipe.models import inn\n",
    "page.html": "<html>",
    "config/__init__.py": "",
    "config/schema.py": "from calopipe import units\nBINS = 50\n",
    "histogram.py": "from calopipe.config.schema import BINS\n",
}
STAGES = {
    "prepare": ["calopipe.data"],
    "train": ["calopipe.train"],
    "train_vae": ["calopipe.train_vae"],
    "judge": ["calopipe.judge.auc"],
    "late": ["calopipe.late"],
    "typed": ["calopipe.typed"],
    "histogram": ["calopipe.histogram"],
}


@pytest.fixture
def package(tmp_path: Path) -> Path:
    root = tmp_path / "calopipe"
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize(
    ("edited", "changed"),
    [
        ("units.py", {"prepare", "train_vae", "judge"}),
        ("data.py", {"prepare", "train_vae"}),
        ("models/inn.py", {"train"}),
        ("models/coupling.py", {"train"}),
        ("models/vae.py", {"train_vae", "late"}),
        ("models/__init__.py", set()),
        ("config/schema.py", set()),
        ("judge/__init__.py", {"judge"}),
        ("judge/scores.py", {"judge"}),
        ("__init__.py", set()),
        ("train.py", {"train"}),
    ],
)
def test_edit_changes_exactly_the_stages_that_use_the_module(package: Path, edited: str, changed: set[str]) -> None:
    before = {stage: code_digest(modules, root=package) for stage, modules in STAGES.items()}
    with (package / edited).open("a") as stream:
        stream.write("__edited__ = 1\n")
    after = {stage: code_digest(modules, root=package) for stage, modules in STAGES.items()}
    assert {s for s in STAGES if before[s] != after[s]} == changed


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        ("x = 1\n", "# said why\n\n\nx = 1  # and here\n\n# end\n", True),
        ("x = '''a\nb'''\n", "x = '''a\n\nb'''\n", False),
        ("x = '''a\n# b\nc'''\n", "x = '''a\nc'''\n", False),
        ("x = 'a # b'\n", "x = 'a # c'\n", False),
        ("x = 'a' # b'\n", "x = 'a'\n", True),
        ("x = \"it's\" # 'a'\n", 'x = "it\'s"\n', True),
        ("x = r'\\\\' # '\n", "x = r'\\\\'\n", True),
        ("if y:\n    x = 1\n", "if y:\n\n    x = 1\n", True),
        ("if y:\n    a()\n    b()\n", "if y:\n    a()\nb()\n", False),
    ],
)
def test_comments_and_empty_lines_are_no_code(tmp_path: Path, before: str, after: str, same: bool) -> None:
    digests = set()
    for name, text in (("one", before), ("other", after)):
        root = tmp_path / name / "calopipe"
        root.mkdir(parents=True)
        (root / "__init__.py").write_text("")
        (root / "m.py").write_text(text)
        digests.add(code_digest(["calopipe.m"], root=root))
    assert len(digests) == (1 if same else 2)


def test_modules_reached(package: Path) -> None:
    assert code_modules(["calopipe.train"], package) == [
        "calopipe.models.coupling",
        "calopipe.models.inn",
        "calopipe.train",
    ]
    assert "calopipe.models.vae" in code_modules(["calopipe.models"], package), (
        "a package named itself counts as a whole"
    )
    assert code_modules(["calopipe.typed"], package) == ["calopipe.typed"]


def test_order_and_place_do_not_matter(package: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere" / "calopipe"
    copy.parent.mkdir()
    package.rename(copy)
    digests = {
        code_digest(m, root=copy) for m in (["calopipe.data", "calopipe.train"], ["calopipe.train", "calopipe.data"])
    }
    copy.rename(package)
    assert digests == {code_digest(["calopipe.data", "calopipe.train"], root=package)}


def test_data_files_count(package: Path) -> None:
    before = code_digest(["calopipe.data"], ["page.html"], package)
    (package / "page.html").write_text("<html lang=en>")
    assert code_digest(["calopipe.data"], ["page.html"], package) != before


def test_unknown_module_or_file_is_an_error(package: Path) -> None:
    with pytest.raises(ConfigError, match=r"calopipe\.nothing"):
        code_digest(["calopipe.nothing"], root=package)
    with pytest.raises(ConfigError, match=r"nothing\.html"):
        code_digest(["calopipe.data"], ["nothing.html"], package)


def test_whole_library_is_parsed_once_by_the_standard_library_alone() -> None:
    root = Path(calopipe.__file__).parent
    names = [".".join(["calopipe", *p.relative_to(root).with_suffix("").parts]) for p in root.rglob("*.py")]
    names = sorted({n.removesuffix(".__init__") for n in names})
    first = code_digest(names)
    parsed = codedigest._parse.cache_info().misses
    assert code_digest(names) == first
    assert codedigest._parse.cache_info().misses == parsed
    code = "import sys, calopipe.codedigest; sys.exit(any(m in sys.modules for m in ('numpy', 'torch', 'pydantic', 'yaml')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def import_statements(text: bytes) -> list[str]:
    """What a full reading finds."""
    found = codedigest.statements(ast.parse(text).body)
    return [ast.dump(node) for node in found if isinstance(node, ast.Import | ast.ImportFrom)]


def test_imports_found_by_their_words_are_those_of_a_full_reading() -> None:
    quick = {path: codedigest._only_imports(path.read_bytes()) for path in codedigest._ROOT.rglob("*.py")}
    assert sum(tree is not None for tree in quick.values()) > 0.9 * len(quick) > 100
    for path, tree in quick.items():
        if tree is not None:
            assert [ast.dump(node) for node in tree.body] == import_statements(path.read_bytes()), path


@pytest.mark.parametrize(
    "text",
    [
        b"import a; import b\n",
        b"if x: import a\n",
        b"from a import b, \\\n    c\n",
        b"try: from a import b\nexcept ImportError: b = None\n",
        b"'''\nimport a\n'''\nimport b  # import c\nif TYPE_CHECKING:\n    import d\n\n    import e\nelse:\n    import f\n",
        b'def f():\n    from . import (\n        a,  # one\n        b as c,\n    )\n    return "import d"\n',
    ],
)
def test_imports_of_unusual_form_are_found_too(text: bytes) -> None:
    """By their words or, where these are not certain, by a full reading."""
    quick = codedigest._only_imports(text)
    assert quick is None or [ast.dump(node) for node in quick.body] == import_statements(text)
