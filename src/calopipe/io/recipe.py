"""What happens to each shower between the raw and the prepared files."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from calopipe.config.datasets import Crop, window_and_centre
from calopipe.errors import DataError
from calopipe.geometry import Geometry, prepared_geometry
from calopipe.geometry.derived import pooled_in_turn
from calopipe.io.pooling import crop_showers, pool_showers, select_layers, sum_showers
from calopipe.io.showers import Showers


@dataclass(frozen=True)
class Recipe:
    """Threshold, choice of layers, window, sum over layers, pooling and scale, see :mod:`calopipe.io.prepare`.

    Raises:
        DataError: threshold or scale is no such number.
        GeometryError: the geometry has no such layers, or cannot be cropped, summed or pooled.
    """

    geometry: Geometry
    threshold_MeV: float
    energy_scale: float
    layers: tuple[int, ...] | None
    crop: Crop | None
    sum_layers: bool
    pool: tuple[tuple[int, int], ...]
    pool_by: Literal["mean", "sum"]

    def __post_init__(self) -> None:
        for name, lowest, positive in (("threshold_MeV", ">= 0", False), ("energy_scale", "> 0", True)):
            value = getattr(self, name)
            if not math.isfinite(value) or value < 0 or (positive and value == 0):
                raise DataError(f"prepare: {name} must be a number {lowest}, found {value}")
        _ = self.output_geometry  # raises GeometryError when it cannot be made

    def facts(self) -> dict[str, Any]:
        """What the summary of a preparation says of it."""
        return {
            "geometry": self.output_geometry.name,
            "geometry_hash": self.output_geometry.hash,
            "threshold_MeV": self.threshold_MeV,
            "energy_scale": self.energy_scale,
            "layers": None if self.layers is None else list(self.layers),
            "crop": None if self.crop is None else self.crop.model_dump(mode="json"),
            "sum_layers": self.sum_layers,
            "pool": [list(kernel) for kernel in self.pool],
            "pool_by": self.pool_by,
        }

    @property
    def output_geometry(self) -> Geometry:
        window, centre = window_and_centre(self.crop)
        return prepared_geometry(self.geometry, self.layers, window, self.sum_layers, self.pool, centre=centre)

    def apply(self, showers: Showers) -> Showers:
        """Threshold, choose layers, crop, sum, pool and scale (n, V) showers; the input's array is changed."""
        voxels, geometry = showers.showers, self.geometry
        if not self.sum_layers:
            voxels[voxels < np.float32(self.threshold_MeV)] = 0
        if self.layers is not None:
            voxels, geometry = select_layers(voxels, geometry, self.layers), geometry.selected(self.layers)
        if self.crop is not None:
            window, centre = self.crop.window, self.crop.centre
            voxels, geometry = crop_showers(voxels, geometry, window, centre), geometry.cropped(window, centre)
        if self.sum_layers:
            voxels, geometry = sum_showers(voxels, geometry), geometry.summed()
        for kernel, before, _ in pooled_in_turn(geometry, self.pool):
            voxels = pool_showers(voxels, before, kernel, self.pool_by)
        if self.sum_layers:
            voxels[voxels < np.float32(self.threshold_MeV)] = 0
        if self.energy_scale != 1:
            voxels = voxels * np.float32(self.energy_scale)
        return Showers.unchecked(showers.incident_energies, voxels, showers.name, showers.conditions)
