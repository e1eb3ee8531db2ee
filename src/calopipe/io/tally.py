"""What is counted while showers are prepared: per split, without a second pass over its file."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calopipe.io.raw import Cut
from calopipe.io.showers import Showers


@dataclass
class Tally:
    """Running statistics of one split; `lowest` and `highest` incident energy and conditions."""

    conditions: tuple[str, ...]
    n: int = 0
    filled: int = 0
    energy: float = 0.0
    negative_voxels: int = 0
    negative_MeV: float = 0.0
    lowest: Any = math.inf
    highest: Any = -math.inf

    def add(self, showers: Showers) -> None:
        self.n += len(showers)
        self.filled += int(np.count_nonzero(showers.showers))
        self.energy += float(showers.showers.sum(dtype=np.float64))
        condition = showers.condition.astype(np.float64)
        self.lowest = np.minimum(self.lowest, condition.min(axis=0))
        self.highest = np.maximum(self.highest, condition.max(axis=0))

    def cut_off(self, cut: Cut, rows: NDArray[np.int64]) -> None:
        self.negative_voxels += int(cut.voxels[rows].sum())
        self.negative_MeV += float(cut.sum_MeV[rows].sum())

    def summary(self, n_voxels: int) -> dict[str, Any]:
        ranges = (
            np.stack([self.lowest, self.highest], axis=1).tolist() if self.n else [None] * (1 + len(self.conditions))
        )
        return {
            "n": self.n,
            "incident_energy_MeV": ranges[0],
            "mean_energy_MeV": self.energy / self.n if self.n else None,
            "occupancy": self.filled / (self.n * n_voxels) if self.n else None,
            "conditions": dict(zip(self.conditions, ranges[1:], strict=True)),
            "negative_voxels": self.negative_voxels,
            "negative_MeV": self.negative_MeV,
        }
