"""What happens to each shower between the raw and the prepared files."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from calopipe.errors import DataError
from calopipe.geometry import Geometry, prepared_geometry
from calopipe.geometry.derived import pooled_in_turn
from calopipe.io.pooling import crop_showers, pool_showers, sum_showers
from calopipe.io.showers import Showers


@dataclass(frozen=True)
class Recipe:
    """Threshold, window, sum over layers, pooling and scale, see :mod:`calopipe.io.prepare`.

    Raises:
        DataError: threshold or scale is no such number.
        GeometryError: the geometry cannot be cropped, summed or pooled.
    """

    geometry: Geometry
    threshold_MeV: float
    energy_scale: float
    crop: tuple[int, int] | None
    sum_layers: bool
    pool: tuple[tuple[int, int], ...]
    pool_by: Literal["mean", "sum"]

    def __post_init__(self) -> None:
        for name, lowest, positive in (("threshold_MeV", ">= 0", False), ("energy_scale", "> 0", True)):
            value = getattr(self, name)
            if not math.isfinite(value) or value < 0 or (positive and value == 0):
                raise DataError(f"prepare: {name} must be a number {lowest}, found {value}")
        _ = self.output_geometry  # raises GeometryError when it cannot be cropped, summed or pooled

    def facts(self) -> dict[str, Any]:
        """What the summary of a preparation says of it."""
        return {
            "geometry": self.output_geometry.name,
            "geometry_hash": self.output_geometry.hash,
            "threshold_MeV": self.threshold_MeV,
            "energy_scale": self.energy_scale,
            "crop": None if self.crop is None else list(self.crop),
            "sum_layers": self.sum_layers,
            "pool": [list(kernel) for kernel in self.pool],
            "pool_by": self.pool_by,
        }

    @property
    def cropped_geometry(self) -> Geometry:
        return prepared_geometry(self.geometry, self.crop)

    @property
    def output_geometry(self) -> Geometry:
        return prepared_geometry(self.geometry, self.crop, self.sum_layers, self.pool)

    def apply(self, showers: Showers) -> Showers:
        """Threshold, crop, sum, pool and scale (n, V) showers; the input's array is changed."""
        voxels = showers.showers
        if not self.sum_layers:
            voxels[voxels < np.float32(self.threshold_MeV)] = 0
        if self.crop is not None:
            voxels = crop_showers(voxels, self.geometry, self.crop)
        if self.sum_layers:
            voxels = sum_showers(voxels, self.cropped_geometry)
        for kernel, before, _ in pooled_in_turn(
            prepared_geometry(self.geometry, self.crop, self.sum_layers), self.pool
        ):
            voxels = pool_showers(voxels, before, kernel, self.pool_by)
        if self.sum_layers:
            voxels[voxels < np.float32(self.threshold_MeV)] = 0
        if self.energy_scale != 1:
            voxels = voxels * np.float32(self.energy_scale)
        return Showers.unchecked(showers.incident_energies, voxels, showers.name, showers.conditions)
