"""Showers from coarse to fine: layers, their rings, and the cells of these.

Every step is a density of few numbers that knows what was drawn before it, and is learned by its likelihood: there is no latent space, and nothing
that training sees is missing in sampling. Weights are shared by all layers, rings and angles, so that some thousand showers are enough. Numbers of
hits come first at every level, as in CaloClouds3 (Buss 2025) and AllShowers (Buss 2026), and are met exactly, as energies are.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from calopipe.config.parts import MODELS
from calopipe.models.base import GenerativeModel, Inputs
from calopipe.models.cascades.cells import RingCells
from calopipe.models.cascades.compiled import compiled, draw_showers, on_cpu
from calopipe.models.cascades.layers import LayerTotals
from calopipe.models.cascades.scales import Grid
from calopipe.models.cascades.settings import RingCascadeConfig
from calopipe.models.cascades.totals import RingTotals


@MODELS.register("ring_cascade", config=RingCascadeConfig)
class RingCascade(GenerativeModel):
    """x (N, V) voxel energies in MeV of a grid whose rings run along the second index; cond (N, 1) incident energies in MeV.

    The loss is -ln p of a shower in nats; its energies count in units that differ from one ring to the next, so that its value means little.
    """

    maps_noise: ClassVar[bool] = False
    rows_at_once: ClassVar[int | None] = 1000
    incident: Tensor

    def __init__(self, config: RingCascadeConfig, inputs: Inputs) -> None:
        super().__init__(config, inputs)
        layers, angles, rings = inputs.grid
        periodic = bool(inputs.periodic) and all(inputs.periodic)
        self.grid = Grid(layers, rings, angles, periodic, inputs.threshold_MeV)
        self.cut = float(np.float32(inputs.threshold_MeV))  # files are thresholded in float32
        self.layers = LayerTotals(self.grid, config.layers_width, config.components, config.dropout)
        self.totals = RingTotals(self.grid, config.rings_width, config.components)
        self.cells = RingCells(self.grid, config.cells_width, config.components)
        self.register_buffer("incident", torch.tensor([0.0, 1.0]))  # mean and deviation of ln E_inc

    def fit_input(self, x: Tensor, cond: Tensor) -> None:
        logs = cond[:, 0].double().log()
        self.incident.copy_(torch.stack([logs.mean(), logs.std(correction=0).clamp(min=0.1)]))

    def loss(self, x: Tensor, cond: Tensor) -> dict[str, Tensor]:
        part = self.config.part if self.training else 1.0
        scaled, energy = self._scaled(cond), self.grid.cells(torch.where(x >= self.cut, x, torch.zeros_like(x)))
        n, of_rings = (energy > 0).to(x.dtype).sum(3), energy.sum(3)
        layers = self.layers.log_prob(scaled, cond[:, 0], n.sum(2), of_rings.sum(2))
        rings = self.totals.log_prob(scaled, n, of_rings, part)
        hits, energies = self.cells.log_prob(scaled, energy, part)
        losses = {"layers": -layers, "rings": -rings, "hits": -hits, "energies": -energies}
        losses = {name: loss / len(x) for name, loss in losses.items()}
        return {"loss": sum(losses.values(), start=x.new_zeros(())), **{k: v.detach() for k, v in losses.items()}}

    @torch.no_grad()
    def sample(self, cond: Tensor) -> Tensor:
        scaled = self._scaled(cond)
        run = compiled() if on_cpu(cond) else None
        if run is not None:
            return self.grid.voxels(draw_showers(run, self, scaled, cond[:, 0]))
        n, energy = self.totals.draw(scaled, *self.layers.draw(scaled, cond[:, 0]))
        return self.grid.voxels(self.cells.draw(scaled, n, energy))

    def _scaled(self, cond: Tensor) -> Tensor:
        """The incident energies (N,) as numbers of order one."""
        return (cond[:, 0].log() - self.incident[0]) / self.incident[1]
