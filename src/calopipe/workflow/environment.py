"""What the rules and their scripts find around them: the library beside the Snakefile, and the conda environment."""

from __future__ import annotations

import io
import os
import sys
from contextlib import redirect_stderr
from pathlib import Path

from calopipe.errors import ConfigError


def scripts_use(library: Path) -> None:
    """Put `library` first on the module path of the scripts that Snakemake starts."""
    path = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    os.environ["PYTHONPATH"] = os.pathsep.join([str(library), *(p for p in path if p and p != str(library))])


def jobs_run_here() -> bool:
    """Whether Snakemake runs jobs on this machine, as its command line and its profile say (with ``-n``: would run)."""
    try:
        from snakemake.cli import parse_args

        with redirect_stderr(io.StringIO()):  # it says again which profile it uses
            return parse_args(sys.argv[1:])[1].executor in (None, "local")
    except (Exception, SystemExit):  # not started from its command line: jobs look for themselves
        return False


def conda_environment() -> str:
    """Which of envs/ the rules name: ``cpu``, or what the environment variable CALOPIPE_ENV says (``cuda``)."""
    name = os.environ.get("CALOPIPE_ENV", "cpu")
    if name not in ("cpu", "cuda"):
        raise ConfigError(f"CALOPIPE_ENV: expected cpu or cuda, found '{name}'")
    return name
