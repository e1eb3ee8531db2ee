"""The incident energies that a network was trained on: kept in its checkpoint, and in the files generated with it.

A generator answers at any energy; outside the range it has seen, the answer is an extrapolation that looks like all others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

#: attributes of a generated shower file
RANGE, SHOWERS = "trained_energies_MeV", "trained_showers"
#: relative difference up to which an energy is that of the end of the range
SAME = 1e-3
#: energies beyond the range by more than this factor are told, however few they are
FAR = 2.0
#: fewest training showers from whose extremes FAR is meant
MANY = 1000


@dataclass(frozen=True)
class TrainedRange:
    """Lowest and highest incident energy in MeV of the n showers that a network was trained on."""

    low: float
    high: float
    n: int

    @classmethod
    def of(cls, incident_energies: ArrayLike) -> TrainedRange:
        """The range of incident energies (N, 1) or (N,), N > 0."""
        energies = np.asarray(incident_energies, dtype=np.float64)
        return cls(float(energies.min()), float(energies.max()), int(energies.size))

    @classmethod
    def from_attributes(cls, attributes: Mapping[str, Any]) -> TrainedRange | None:
        """What :meth:`attributes` wrote; None where a file does not say it, or not in this form."""
        try:
            low, high = (float(e) for e in np.asarray(attributes[RANGE], dtype=np.float64).reshape(-1))
            found = cls(low, high, int(attributes[SHOWERS]))
        except (KeyError, TypeError, ValueError, OverflowError):
            return None
        return found if 0 < found.low <= found.high < np.inf and found.n > 0 else None

    @property
    def attributes(self) -> dict[str, Any]:
        """Attributes of a file of showers that the network generated."""
        return {RANGE: np.array([self.low, self.high]), SHOWERS: self.n}

    def complaint(self, incident_energies: ArrayLike) -> str | None:
        """One line on energies outside the range, or None where they are no more than chance leaves there.

        Of m energies of the same distribution about 2 m / n lie outside the extremes of n others. Told is what exceeds
        that clearly (twelve expected at a probability of 1e-4, and three standard deviations), or lies far outside.
        """
        energies = np.asarray(incident_energies, dtype=np.float64).reshape(-1)
        outside = (energies < self.low * (1 - SAME)) | (energies > self.high * (1 + SAME))
        found, chance = int(outside.sum()), 12 * len(energies) / self.n
        far = self.n >= MANY and ((energies < self.low / FAR) | (energies > self.high * FAR)).any()
        if not found or (found <= chance + 3 * np.sqrt(chance) and not far):
            return None
        text = (
            f"{found} of {len(energies)} incident energies ({energies.min():g} to {energies.max():g} MeV) are outside those "
            f"that the network was trained on ({self.low:g} to {self.high:g} MeV)"
        )
        return text + self._unit_hint(energies)

    def _unit_hint(self, energies: np.ndarray) -> str:
        """The unit in which most of the energies would be inside, where none is in MeV."""
        factors = {"MeV": 1.0, "GeV": 1e3, "keV": 1e-3, "TeV": 1e6}
        inside = {
            u: float(np.mean((energies * f >= self.low) & (energies * f <= self.high))) for u, f in factors.items()
        }
        unit = max(inside, key=lambda u: inside[u])
        return f"; are they in {unit}? The unit is MeV" if inside["MeV"] == 0 < inside[unit] else ""
