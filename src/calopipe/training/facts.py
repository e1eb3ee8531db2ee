"""What a network was trained on, besides the numbers: calorimeter, threshold, conditions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from calopipe.config.links import Link
from calopipe.geometry import Geometry
from calopipe.preprocessing import Layout

#: name of the first condition
ENERGY = "incident_energy"


@dataclass(frozen=True)
class DataFacts:
    """Plain values, as they stand in checkpoints.

    Attributes:
        geometry: :meth:`calopipe.geometry.Geometry.to_dict` of the showers; None for columns.
        threshold_MeV: readout threshold.
        conditions: names of the columns of the condition; of showers the first is the incident energy in MeV.
        columns: names of what is learned, where the data are no showers.
    """

    geometry: dict[str, Any] | None
    threshold_MeV: float
    conditions: tuple[str, ...] = (ENERGY,)
    columns: tuple[str, ...] = ()

    @classmethod
    def of(cls, geometry: Geometry, threshold_MeV: float | None, conditions: Sequence[str] = ()) -> DataFacts:
        """Facts of prepared showers: their geometry, threshold (None: the geometry's) and further conditions."""
        threshold = geometry.threshold_MeV if threshold_MeV is None else threshold_MeV
        return cls(geometry.to_dict(), float(threshold), (ENERGY, *conditions))

    @classmethod
    def of_columns(cls, columns: Sequence[str], conditions: Sequence[str]) -> DataFacts:
        """Facts of prepared data that are no showers."""
        return cls(None, 0.0, tuple(conditions), tuple(columns))

    @property
    def further(self) -> tuple[str, ...]:
        """Names of the conditions of showers after the incident energy."""
        return self.conditions[1:]

    @cached_property
    def shape(self) -> Geometry | None:
        """The geometry."""
        return None if self.geometry is None else Geometry.from_dict(self.geometry)

    @cached_property
    def layout(self) -> Layout:
        """What preprocessing steps know of it."""
        return Layout((), 0.0) if self.shape is None else Layout.of(self.shape, self.threshold_MeV)

    def names(self, link: Link) -> tuple[str, ...]:
        """Names of the columns that a network is given, before its preprocessing."""
        energies = [f"energy_{i}" for i in range(len(self.layout.layer_shapes))] if link.gets_energies else []
        return (*self.conditions, *energies)
