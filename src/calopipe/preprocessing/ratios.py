"""Layer energies as ratios: of networks that learn them, or are given them."""

from __future__ import annotations

import torch
from torch import Tensor

from calopipe.config.parts import STEPS
from calopipe.extra_dimensions import energies_of, ratios_of
from calopipe.preprocessing.base import Layout, Step, require_width
from calopipe.preprocessing.settings import EnergyRatiosConfig


@STEPS.register("energy_ratios", config=EnergyRatiosConfig)
class EnergyRatios(Step):
    """Layer energies (N, L) in MeV, x or the end of the condition, to u of
    :class:`~calopipe.preprocessing.layers.LayerNormalise` and back; layers below the threshold come back empty.
    """

    def __init__(self, config: EnergyRatiosConfig, layout: Layout, dim: int, cond_dim: int) -> None:
        super().__init__(config, layout, dim, cond_dim)
        self.n_layers = len(layout.layer_sizes)
        if config.of == "data":
            require_width("energy_ratios", dim, self.n_layers)

    def _ratios(self, energies: Tensor, incident: Tensor) -> Tensor:
        if self.config.fill_layers:
            fill = self.layout.threshold_MeV * torch.pow(10.0, -torch.randn_like(energies).abs())
            energies = torch.where(energies <= 0, fill, energies)
        u = ratios_of(energies, incident)
        return torch.cat([u[:, :1] * self.config.ratio_scale, u[:, 1:]], dim=1)

    def _energies(self, u: Tensor, incident: Tensor) -> Tensor:
        energies = energies_of(torch.cat([u[:, :1] / self.config.ratio_scale, u[:, 1:]], dim=1), incident)
        return torch.where(energies < self.layout.threshold_MeV, torch.zeros_like(energies), energies)

    def conditions(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """The given energies ``energy_<layer>`` become ``u_<layer>``."""
        if self.config.of == "data":
            return names
        return (*names[: -self.n_layers], *(f"u_{i}" for i in range(self.n_layers)))

    def condition(self, cond: Tensor) -> Tensor:
        if self.config.of == "data":
            return cond
        u = self._ratios(cond[:, -self.n_layers :], cond[:, :1])
        return torch.cat([cond[:, : -self.n_layers], u], dim=1)

    def forward(self, x: Tensor, cond: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logdet = x.new_zeros(x.shape[0])
        if self.config.of == "condition":
            return x, self.condition(cond), logdet
        return self._ratios(x, cond[:, :1]), cond, logdet

    def inverse(self, x: Tensor, cond: Tensor) -> tuple[Tensor, Tensor]:
        if self.config.of == "data":
            return self._energies(x, cond[:, :1]), cond
        energies = self._energies(cond[:, -self.n_layers :], cond[:, :1])
        return x, torch.cat([cond[:, : -self.n_layers], energies], dim=1)
