"""What the rules and their scripts find around them: the library beside the Snakefile, and the conda environment."""

from __future__ import annotations

import os
from pathlib import Path

from calopipe.errors import ConfigError


def scripts_use(library: Path) -> None:
    """Put `library` first on the module path of the scripts that Snakemake starts."""
    path = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    os.environ["PYTHONPATH"] = os.pathsep.join([str(library), *(p for p in path if p and p != str(library))])


def conda_environment() -> str:
    """Which of envs/ the rules name: ``cpu``, or what the environment variable CALOPIPE_ENV says (``cuda``)."""
    name = os.environ.get("CALOPIPE_ENV", "cpu")
    if name not in ("cpu", "cuda"):
        raise ConfigError(f"CALOPIPE_ENV: expected cpu or cuda, found '{name}'")
    return name
