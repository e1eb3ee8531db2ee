"""Where a result comes from: versions, git commit, digests of configurations and files, and the machine.

Nothing here imports the packages it reports on: versions come from their installed metadata. Results never contain
timestamps or absolute paths, so equal inputs give equal files.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import calopipe
from calopipe.io import file_hash

#: distributions whose versions decide what a study computes
PACKAGES = ("torch", "FrEIA", "lightning", "numpy", "h5py", "scikit-learn", "matplotlib", "snakemake")


@functools.cache
def versions() -> dict[str, str]:
    """Versions of calopipe, Python and the packages that matter; packages that are not installed are left out."""
    found = {"calopipe": code_version(), "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


@functools.cache
def git_state() -> dict[str, Any] | None:
    """``{"commit": 40 hex digits, "dirty": bool}`` of the checkout calopipe runs from; None when it is not one.

    "dirty" means that tracked files below the package's checkout differ from the commit.
    """
    folder = Path(calopipe.__file__).resolve().parent
    try:
        top = _git(folder, "rev-parse", "--show-toplevel")
        if folder not in (Path(top) / "src" / "calopipe", Path(top) / "calopipe"):
            return None  # installed inside somebody else's checkout
        return {"commit": _git(folder, "rev-parse", "HEAD"), "dirty": bool(_git(folder, "diff", "--name-only", "HEAD"))}
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


def digest(obj: Any) -> str:
    """12 hexadecimal digits that identify `obj`: SHA-256 of its canonical JSON (sorted keys, no spaces).

    Mappings, sequences, dataclasses, pydantic models and paths are accepted; the order of keys does not matter.

    Raises:
        TypeError: `obj` holds something that has no JSON form.
        ValueError: `obj` holds NaN or an infinity.
    """
    text = json.dumps(obj, sort_keys=True, separators=(",", ":"), default=_plain, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _plain(value: Any) -> Any:
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, set | frozenset):
        return sorted(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


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


def collect(run: str, config: Any = None, inputs: Iterable[str | Path] = ()) -> dict[str, str]:
    """Provenance of one result as flat text, ready for :func:`calopipe.plots.style.save_figure`.

    Args:
        run: what the result is of: a run's name, or the study's.
        config: the settings it was made with; their :func:`digest` is recorded.
        inputs: files it was made from; name and the first 16 digits of the SHA-256 of each are recorded.
    """
    found = {"run": run, "code_version": code_version(), "config_digest": digest(config)}
    checksums = (f"{Path(p).name} sha256:{file_hash(p)[:16]}" for p in inputs)
    return {**found, "inputs": "; ".join(checksums)}
