"""Energies in units of the incident energy, and conditions on fixed scales.

Those of CaloMan (Reyes-González 2023; Cresswell 2022), which takes them from CaloScore (voxels over f E_inc, the incident
energy between given ends) and CaloFlow (Krause 2021: decimal logarithms of incident and layer energies).
"""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from calopipe.config.parts import STEPS
from calopipe.extra_dimensions import TINY
from calopipe.preprocessing.base import Layout, Step, require_width
from calopipe.preprocessing.settings import IncidentFractionsConfig, LogLayerEnergiesConfig


@STEPS.register("incident_fractions", config=IncidentFractionsConfig)
class IncidentFractions(Step):
    """x = E / (f E_inc) of voxel energies (N, V) in MeV. The inverse moves x outside [0, 1] to the nearer end.

    With ``above_threshold`` x are fractions of what hits have above the readout threshold, 0 where there is no hit, so that every x above 0 is a hit
    whatever a network makes of the energies near the threshold.
    """

    def __init__(self, config: IncidentFractionsConfig, layout: Layout, dim: int, cond_dim: int) -> None:
        super().__init__(config, layout, dim, cond_dim)
        require_width("incident_fractions", dim, layout.n_voxels)
        self.cut = float(np.float32(layout.threshold_MeV))  # files are thresholded in float32

    def forward(self, x: Tensor, cond: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        unit = self.config.factor * cond[:, :1]
        y = x / unit
        if self.config.above_threshold:
            y = torch.where(x >= self.cut, (x - self.cut) / unit + TINY, torch.zeros_like(x))
        return y, cond, -self.dim * unit[:, 0].log()

    def inverse(self, x: Tensor, cond: Tensor) -> tuple[Tensor, Tensor]:
        y = x.clamp(0, 1) * self.config.factor * cond[:, :1]
        return (torch.where(x > 0, y + self.cut, y) if self.config.above_threshold else y), cond


@STEPS.register("log_layer_energies", config=LogLayerEnergiesConfig)
class LogLayerEnergies(Step):
    """log10((E_layer + offset) / reference) of the layer energies in MeV that end the condition.

    Computed from the value of an empty layer on, so that one comes back empty from float32; so do layers below the
    threshold.
    """

    bijective: ClassVar[bool] = True

    def __init__(self, config: LogLayerEnergiesConfig, layout: Layout, dim: int, cond_dim: int) -> None:
        super().__init__(config, layout, dim, cond_dim)
        self.n_layers = len(layout.layer_sizes)
        self.empty = math.log10(config.offset / config.reference)

    def condition(self, cond: Tensor) -> Tensor:
        rest, energies = cond[:, : -self.n_layers], cond[:, -self.n_layers :]
        return torch.cat([rest, (energies / self.config.offset).log1p() / math.log(10) + self.empty], dim=1)

    def forward(self, x: Tensor, cond: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return x, self.condition(cond), x.new_zeros(x.shape[0])

    def inverse(self, x: Tensor, cond: Tensor) -> tuple[Tensor, Tensor]:
        rest, y = cond[:, : -self.n_layers], cond[:, -self.n_layers :]
        energies = torch.expm1((y - self.empty) * math.log(10)) * self.config.offset
        below = energies < max(self.layout.threshold_MeV, 1e-6 * self.config.offset)
        return x, torch.cat([rest, torch.where(below, torch.zeros_like(energies), energies)], dim=1)
