"""Slices of a sample: the showers for which a condition, the incident energy or another named one, is in a range."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from calopipe.io.conditions import SAME

#: the condition that every sample has, in MeV
INCIDENT_ENERGY = "incident_energies"


@dataclass(frozen=True, order=True)
class Slice:
    """The showers whose `condition` is in [low, high); where the ends are equal, those with this one value.

    Attributes:
        condition: ``incident_energies``, or the name of a further condition of the showers, e.g. ``incident_theta``.
        low, high: in the condition's unit: MeV, rad.
    """

    condition: str
    low: float
    high: float

    @classmethod
    def of_energies(cls, low: float, high: float) -> Slice:
        """A slice of the incident energy, in MeV."""
        return cls(INCIDENT_ENERGY, low, high)

    @property
    def single(self) -> bool:
        """Whether it is one value, not a range."""
        return self.low == self.high

    def holds(self, values: np.ndarray) -> np.ndarray:
        """(N,) which values (N,) of the condition belong to it."""
        if self.single:
            return np.abs(values - self.low) <= SAME * abs(self.low)
        return (values >= self.low) & (values < self.high)

    def __str__(self) -> str:
        """The end of the names of its scores: ``1000-2000MeV``, ``incident_theta=0.5-1``."""
        ends = f"{self.low:g}" if self.single else f"{self.low:g}-{self.high:g}"
        return f"{ends}MeV" if self.condition == INCIDENT_ENERGY else f"{self.condition}={ends}"
