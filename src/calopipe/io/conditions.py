"""The conditions that a network was trained on: kept in its checkpoint, and in the files generated with it.

A generator answers at any incident energy and angle; outside the range it has seen, the answer is an extrapolation that
looks like all others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

#: attributes of a generated shower file; that of a further condition is the prefix and its name
RANGE, SHOWERS, PREFIX = "trained_energies_MeV", "trained_showers", "trained_range_"
#: relative difference up to which an energy is that of the end of the range
SAME = 1e-3
#: energies beyond the range by more than this factor are told, however few they are
FAR = 2.0
#: fewest training showers from whose extremes FAR is meant
MANY = 1000


@dataclass(frozen=True)
class TrainedRange:
    """Lowest and highest incident energy in MeV of the n showers that a network was trained on; None: no showers.

    conditions: the same of the further conditions, by name, in the order of the network's columns.
    """

    low: float | None
    high: float | None
    n: int
    conditions: dict[str, tuple[float, float]] = field(default_factory=dict)

    @classmethod
    def of(cls, condition: ArrayLike, names: Sequence[str] = ()) -> TrainedRange:
        """The range of incident energies (N, 1) or (N,), N > 0; of (N, 1 + k) with the `names` of k further conditions."""
        columns = _columns(condition)[:, : 1 + len(names)]
        low, high = columns.min(axis=0).tolist(), columns.max(axis=0).tolist()
        further = zip(names, low[1:], high[1:], strict=True)
        return cls(low[0], high[0], len(columns), {name: (a, b) for name, a, b in further})

    @classmethod
    def of_columns(cls, condition: ArrayLike, names: Sequence[str]) -> TrainedRange:
        """The range of conditions (N, k), N > 0, of data that are no showers."""
        columns = _columns(condition)
        low, high = columns.min(axis=0).tolist(), columns.max(axis=0).tolist()
        return cls(None, None, len(columns), {name: (a, b) for name, a, b in zip(names, low, high, strict=True)})

    @classmethod
    def from_attributes(cls, attributes: Mapping[str, Any]) -> TrainedRange | None:
        """What :meth:`attributes` wrote; None where a file does not say it, or not in this form."""
        try:
            further = {k.removeprefix(PREFIX): _pair(attributes[k]) for k in attributes if k.startswith(PREFIX)}
            none: tuple[float | None, float | None] = (None, None)
            low, high = _pair(attributes[RANGE]) if RANGE in attributes or not further else none
            found = cls(low, high, int(attributes[SHOWERS]), further)
        except (KeyError, TypeError, ValueError, OverflowError):
            return None
        return found if (found.low is None or found.low > 0) and found.n > 0 else None

    @property
    def attributes(self) -> dict[str, Any]:
        """Attributes of a file of showers that the network generated."""
        further = {f"{PREFIX}{name}": np.array(pair) for name, pair in self.conditions.items()}
        energies = {} if self.low is None else {RANGE: np.array([self.low, self.high])}
        return {**energies, SHOWERS: self.n, **further}

    def complaint(self, condition: ArrayLike) -> str | None:
        """One line on conditions outside the range, or None where they are no more than chance leaves there.

        Of m energies of the same distribution about 2 m / n lie outside the extremes of n others. Told is what exceeds
        that clearly (twelve expected at a probability of 1e-4, and three standard deviations), or lies far outside.

        Args:
            condition: incident energies (m, 1) or (m,) in MeV, or with the further conditions (m, 1 + k) in their order.
        """
        columns = _columns(condition)
        first = 0 if self.low is None else 1
        lines = [self._energies_outside(columns[:, 0])] if first else []
        further = zip(self.conditions.items(), columns.T[first:], strict=False)
        lines += [self._outside(name, pair, values) for (name, pair), values in further]
        return "; ".join(line for line in lines if line is not None) or None

    def _energies_outside(self, energies: NDArray[np.float64]) -> str | None:
        assert self.low is not None and self.high is not None
        outside = (energies < self.low * (1 - SAME)) | (energies > self.high * (1 + SAME))
        far = (energies < self.low / FAR) | (energies > self.high * FAR)
        if not self._unlikely(outside, far):
            return None
        text = (
            f"{int(outside.sum())} of {len(energies)} incident energies ({energies.min():g} to {energies.max():g} MeV) are "
            f"outside those that the network was trained on ({self.low:g} to {self.high:g} MeV)"
        )
        return text + self._unit_hint(energies)

    def _outside(self, name: str, pair: tuple[float, float], values: NDArray[np.float64]) -> str | None:
        """One line on values of a further condition; far outside is more than the width of the range away from it."""
        (low, high), width = pair, pair[1] - pair[0]
        same = SAME * (width or max(abs(low), abs(high)))
        outside = (values < low - same) | (values > high + same)
        far = (values < low - (width or same)) | (values > high + (width or same))
        if not self._unlikely(outside, far):
            return None
        return (
            f"{int(outside.sum())} of {len(values)} values of {name} ({values.min():g} to {values.max():g}) are outside "
            f"those that the network was trained on ({low:g} to {high:g})"
        )

    def _unlikely(self, outside: NDArray[np.bool_], far: NDArray[np.bool_]) -> bool:
        """Whether more values are outside than chance leaves there, or one is far outside."""
        found, chance = int(outside.sum()), 12 * len(outside) / self.n
        return found > 0 and (found > chance + 3 * np.sqrt(chance) or (self.n >= MANY and bool(far.any())))

    def _unit_hint(self, energies: NDArray[np.float64]) -> str:
        """The unit in which most of the energies would be inside, where none is in MeV."""
        assert self.low is not None and self.high is not None
        factors = {"MeV": 1.0, "GeV": 1e3, "keV": 1e-3, "TeV": 1e6}
        inside = {
            u: float(np.mean((energies * f >= self.low) & (energies * f <= self.high))) for u, f in factors.items()
        }
        unit = max(inside, key=lambda u: inside[u])
        return f"; are they in {unit}? The unit is MeV" if inside["MeV"] == 0 < inside[unit] else ""


def _columns(condition: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(condition, dtype=np.float64)
    return values.reshape(-1, 1) if values.ndim < 2 else values


def _pair(value: Any) -> tuple[float, float]:
    low, high = (float(v) for v in np.asarray(value, dtype=np.float64).reshape(-1))
    if not -np.inf < low <= high < np.inf:
        raise ValueError(f"expected a range, found {low} to {high}")
    return low, high
