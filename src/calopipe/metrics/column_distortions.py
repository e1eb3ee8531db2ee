"""Small distortions of data that are no showers, by which the power of a test is measured.

Each is a function of columns (N, C), which it leaves as they are, of their means and standard deviations (C,) in the reference,
all conditions together, and of a random generator; it returns new ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

#: standard deviations that columns are moved by; what they become wider by; part of the rows that are mixed
SHIFT, WIDER, MIXED = 0.05, 0.05, 0.1


def shifted(values: np.ndarray, mean: np.ndarray, std: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Every column moved up by a part of its standard deviation."""
    return (values + SHIFT * std).astype(values.dtype)


def wider(values: np.ndarray, mean: np.ndarray, std: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Every column stretched about its mean."""
    return (mean + (1 + WIDER) * (values - mean)).astype(values.dtype)


def mixed(values: np.ndarray, mean: np.ndarray, std: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Some rows, chosen at random, exchange their columns, all of a row together, and keep their conditions."""
    rows = np.sort(rng.permutation(len(values))[: round(MIXED * len(values))])
    out = values.copy()
    out[rows] = values[rng.permutation(rows)]
    return out


@dataclass(frozen=True)
class ColumnDistortion:
    """A distortion at the strength by which the power of tests is stated.

    Attributes:
        apply: (columns, mean, std, rng) -> columns.
        text: what it does.
        of_conditions: whether it only changes how columns depend on their conditions.
    """

    apply: Callable[..., np.ndarray]
    text: str
    of_conditions: bool = False


COLUMN_DISTORTIONS: Mapping[str, ColumnDistortion] = {
    "shift": ColumnDistortion(shifted, f"columns moved by {SHIFT:.0%} of their standard deviation"),
    "width": ColumnDistortion(wider, f"columns {WIDER:.0%} wider"),
    "conditions": ColumnDistortion(
        mixed, f"{MIXED:.0%} of the rows at the conditions of other rows", of_conditions=True
    ),
}
