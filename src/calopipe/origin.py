"""What runs: versions, git commit and machine.

Nothing here imports the packages it reports on: versions come from their installed metadata.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import os
import platform
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import calopipe

#: the clone: what stands beside the folder of the library (presets, workflow, resources)
HOME = Path(calopipe.__file__).resolve().parents[2]

#: name by which a package is imported -> its distribution; other names are those of their distributions
PACKAGES = {
    "FrEIA": "FrEIA",
    "h5py": "h5py",
    "jinja2": "jinja2",
    "lightning": "lightning",
    "matplotlib": "matplotlib",
    "PIL": "pillow",
    "numba": "numba",
    "numpy": "numpy",
    "pandas": "pandas",
    "scipy": "scipy",
    "skdim": "scikit-dimension",
    "sklearn": "scikit-learn",
    "snakemake": "snakemake",
    "torch": "torch",
}
#: packages that read settings, show progress, fetch files and run the workflow: another version changes no result
HARMLESS = frozenset(
    {
        "fsspec",
        "llvmlite",
        "markupsafe",
        "pooch",
        "pydantic",
        "pydantic_core",
        "requests",
        "snakemake",
        "tqdm",
        "urllib3",
        "yaml",
    }
)


@functools.cache
def installed(name: str) -> str | None:
    """Version of a distribution; None where it is not installed."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def package_versions(imported: Iterable[str]) -> dict[str, str]:
    """Versions of the packages of these import names, as far as they can change a result: distribution -> version.

    What follows a ``+`` (how a build differs, as in 2.13.0+cpu) is left out.
    """
    names = sorted({PACKAGES.get(name, name) for name in imported if name not in HARMLESS})
    return {name: version.split("+")[0] for name in names if (version := installed(name)) is not None}


@functools.cache
def versions() -> dict[str, str]:
    """Versions of calopipe, Python and the packages that matter; packages that are not installed are left out."""
    found = {"calopipe": code_version(), "python": platform.python_version()}
    return found | {name: version for name in sorted({*PACKAGES.values()}) if (version := installed(name)) is not None}


@functools.cache
def git_state() -> dict[str, Any] | None:
    """``{"commit": 40 hex digits, "dirty": bool}`` of the checkout calopipe runs from; None when it is not one.

    "dirty" means that tracked files of the checkout differ from the commit; "changes" then is a digest of how.
    """
    folder = Path(calopipe.__file__).resolve().parent
    try:
        top = _git(folder, "rev-parse", "--show-toplevel")
        if folder not in (Path(top) / "src" / "calopipe", Path(top) / "calopipe"):
            return None  # installed inside somebody else's checkout
        changes = _git(folder, "diff", "HEAD")
        found = {"commit": _git(folder, "rev-parse", "HEAD"), "dirty": bool(changes)}
        return {**found, "changes": hashlib.sha256(changes.encode()).hexdigest()[:12]} if changes else found
    except (OSError, subprocess.SubprocessError):
        return None


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()


def code_version() -> str:
    """calopipe's version, with the commit where known: ``0.1.0``, ``0.1.0+g1a2b3c4`` or ``0.1.0+g1a2b3c4.dirty``."""
    state = git_state()
    if state is None:
        return calopipe.__version__
    return f"{calopipe.__version__}+g{state['commit'][:7]}{'.dirty' if state['dirty'] else ''}"


@functools.cache
def hardware() -> dict[str, str]:
    """Operating system, processor, number of usable cores and graphics processor (where there is one) of this machine."""
    found = {"system": f"{platform.system()} {platform.release()} {platform.machine()}", "cpu": _cpu_name()}
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    found["cores"] = str(cores)
    gpu = _gpu_name()
    return {**found, "gpu": gpu} if gpu else found


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _gpu_name() -> str | None:
    torch = sys.modules.get("torch")  # asked only when something else has loaded it
    if torch is not None and torch.cuda.is_available():
        return str(torch.cuda.get_device_name())
    for path in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith("Model"):
                return line.split(":", 1)[1].strip()
    return None
