"""The training, validation and test splits of a data set: how many rows each gets, and where they come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from calopipe.errors import DataError

SPLITS = ("train", "val", "test")


def check_split(fractions: Sequence[float], outputs: Mapping[str, Any]) -> None:
    """Raise DataError unless there is an output for each split, and the fractions are such."""
    if sorted(outputs) != sorted(SPLITS):
        raise DataError(f"prepare: outputs must be {', '.join(SPLITS)}, found {', '.join(outputs) or 'none'}")
    if len(fractions) != 3 or not all(0 <= f <= 1 for f in fractions) or abs(sum(fractions) - 1) > 1e-9:
        raise DataError(f"prepare: fractions must be three numbers in [0, 1] that sum to 1, found {list(fractions)}")


def split_counts(n: int, fractions: Sequence[float], n_reference: int | None) -> dict[str, int]:
    """Showers per split; a split that was asked for must get at least one."""
    train, val, test = fractions
    if n_reference is not None:
        if train + val <= 0:
            raise DataError("prepare: with reference files the fractions of train and val must not both be 0")
        train, val, test = train / (train + val), val / (train + val), 0.0
    first, second = round(train * n), round((train + val) * n)
    counts = {"train": first, "val": second - first, "test": n - second}
    for split, share in zip(SPLITS, (train, val, test), strict=True):
        if share > 0 and counts[split] < 1:
            raise DataError(f"prepare: {n} showers are too few for a {split} split of fraction {share:g}")
    if n_reference is not None:
        counts["test"] = n_reference
    return counts


def origin(split: str, sources: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, str]:
    """Attributes of the file of `split`: names and checksums of the raw files, or of the reference files, it was made from."""
    files = sources["reference"] if split == "test" and sources["reference"] else sources["raw"]
    return {
        "source": " ".join(Path(file["file"]).name for file in files),
        "source_sha256": " ".join(file["sha256"] for file in files),
    }
