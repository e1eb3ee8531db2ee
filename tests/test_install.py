"""install.sh: a Python that was asked for is used, or the reason why not is told. Nothing is installed here."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture
def script(repository: Path, tmp_path: Path) -> Path:
    """A copy of the script in a folder of its own."""
    shutil.copytree(repository / "requirements", tmp_path / "requirements")
    return Path(shutil.copy(repository / "install.sh", tmp_path))


def python(path: Path, version: tuple[int, int] | None) -> Path:
    """Something that is called like Python: of this version, or one that cannot start. Makes no environment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    answer = (
        f"import sys\nsys.version_info = {version}\nexec(sys.argv[2])" if version else "import a_library_that_is_lost"
    )
    path.write_text(f"#!{sys.executable}\n{answer}\n")
    path.chmod(0o755)
    return path


def install(script: Path, wish: Path | str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHON": str(wish), "VENV": ".venv"}
    return subprocess.run(["bash", script], text=True, capture_output=True, env=environment, cwd=script.parent)


@pytest.mark.parametrize(
    ("version", "found"), [((3, 10), "found 3.10"), (None, "none that runs"), ("missing", "none that runs")]
)
def test_no_other_python_than_the_one_asked_for(script: Path, version: tuple | str | None, found: str) -> None:
    wish = script.parent / "bin" / "python9"
    if version != "missing":
        python(wish, version)
    done = install(script, wish)
    assert done.returncode == 1 and "expected Python >= 3.11" in done.stderr and found in done.stderr, done.stderr
    assert not (script.parent / ".venv").exists()


def test_environment_of_another_python(script: Path) -> None:
    python(script.parent / ".venv" / "bin" / "python", (3, 11))
    done = install(script, python(script.parent / "bin" / "python9", (3, 13)))
    assert done.returncode == 1 and ".venv has Python 3.11" in done.stderr and "is 3.13" in done.stderr, done.stderr
