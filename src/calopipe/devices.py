"""Where networks compute, and whether a machine has a GPU: looked up without importing torch where torch is not needed."""

from __future__ import annotations

import os
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from calopipe.errors import DataError


def pick_device(name: str) -> Any:
    """The torch device of a configuration value: ``auto`` takes a GPU when there is one.

    Raises:
        DataError: ``cuda`` was asked for, but torch finds no GPU.
    """
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda" and not torch.cuda.is_available():
        raise DataError("device: 'cuda' was asked for, but torch finds no GPU")
    return torch.device(name)


def synchronise(device: str) -> None:
    """Wait until a GPU has done what it was told; nothing on a CPU."""
    if device.startswith("cuda"):
        import torch

        torch.cuda.synchronize()


def flow_rows(numbers: int, device: str) -> int:
    """Rows that pass a flow at once without gradients, when its widest network gives ``numbers`` numbers for one row: so many
    that they stay in a CPU's cache (8 MiB of float32), or take a small part of a GPU's memory (256 MiB).
    """
    return max(64, (2**21 if device == "cpu" else 2**26) // max(1, numbers))


def gpu_visible() -> bool:
    """Whether torch could find a GPU on this machine, as far as its version and the devices of the system tell."""
    try:
        if version("torch").endswith("+cpu"):
            return False
    except PackageNotFoundError:
        return False
    if os.environ.get("CUDA_VISIBLE_DEVICES", "all") in ("", "-1", "NoDevFiles"):
        return False
    nodes = ("nvidia[0-9]*", "kfd", "dxg")  # NVIDIA; AMD; Windows' Linux
    return any(next(Path("/dev").glob(node), None) is not None for node in nodes)
