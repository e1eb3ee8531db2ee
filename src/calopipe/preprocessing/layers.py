"""Layer normalisation with extra dimensions (thesis eq. 4; after CaloFlow, arXiv:2106.05285)."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from calopipe.config.bounds import Share
from calopipe.config.chains import Columns, StepSettings
from calopipe.config.parts import STEPS
from calopipe.preprocessing.base import Layout, Step, require_width

_TINY = 1e-10  # MeV; keeps empty layers and showers finite


class LayerNormaliseConfig(StepSettings):
    """Settings of :class:`LayerNormalise`."""

    extras: Literal["data", "condition"] = Field("data", description="append u to x (INN), or to the condition (VAE)")
    scale: Share = Field(1.0, description="sum of a layer's fractions (0.9 in the published VAE)")
    ratio_scale: Share = Field(
        1.0,
        description="factor on u_1 = E_tot / E_inc: below 1 where showers exceed E_inc, because a logit behind it ends at 1 "
        "(0.9 in most presets; the INN/VAE thesis has none for CaloGAN, and halves all energies for CaloChallenge 1: 0.45)",
    )
    extras_scale: Share = Field(1.0, description="factor on the other u (0.9 in the published VAE)")
    fill_layers: bool = Field(False, description="give empty layers a random energy below the threshold, in u only")

    def widths(self, dim: int, cond_dim: int, n_layers: int) -> tuple[int, int]:
        """Columns of x and of the condition that leave the step."""
        return (dim + n_layers, cond_dim) if self.extras == "data" else (dim, cond_dim + n_layers)

    def after(self, given: Columns) -> Columns:
        if not given.energies or given.dim != given.n_voxels:
            raise ValueError("needs voxel energies in MeV, found columns that other steps made of them, or latents")
        if not given.raw_energy:
            raise ValueError("needs the incident energy in MeV, found its logarithm; expected log_condition after it")
        dim, cond_dim = self.widths(given.dim, given.cond_dim, given.n_layers)
        data = self.extras == "data"
        return replace(given, dim=dim, cond_dim=cond_dim, energies=False, fractions=True, extras=data, unit_extras=data)


@STEPS.register("layer_normalise", config=LayerNormaliseConfig)
class LayerNormalise(Step):
    """Divide each layer by its energy and keep the energies as u_1 = E_tot / E_inc, u_i = E_{i-1} / sum_{j >= i-1} E_j.

    x (N, V) in MeV becomes (N, V) layer fractions, followed by u (N, L) when ``extras: data``; with ``extras:
    condition``
    the condition (N, 1) becomes (N, 1 + L). The inverse renormalises each layer to the energy that u gives it, so the
    total agrees with u_1 whatever the fractions are. The log-det is that of the map of voxels to (fractions, u) with
    the last fraction of each layer left out, which is not a square map: it is reported as 0.
    """

    def __init__(self, config: LayerNormaliseConfig, layout: Layout, dim: int, cond_dim: int) -> None:
        super().__init__(config, layout, dim, cond_dim)
        require_width("layer_normalise", dim, layout.n_voxels)
        n_layers = len(layout.layer_sizes)
        u_scale = torch.full((n_layers,), config.extras_scale)
        u_scale[0] = config.ratio_scale
        self.register_buffer("u_scale", u_scale, persistent=False)
        self.dim_out, self.cond_dim_out = config.widths(dim, cond_dim, n_layers)

    def forward(self, x: Tensor, cond: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        parts = x.split(self.layout.layer_sizes, dim=1)
        energies = torch.stack([p.sum(1) for p in parts], dim=1)
        norm = self.config.scale / (energies + _TINY)
        fractions = torch.cat([p * n[:, None] for p, n in zip(parts, norm.T, strict=True)], dim=1)
        u = ratios_of(self._fill(energies), cond[:, :1]) * self.u_scale
        logdet = x.new_zeros(x.shape[0])
        if self.config.extras == "data":
            return torch.cat([fractions, u], dim=1), cond, logdet
        return fractions, torch.cat([cond, u], dim=1), logdet

    def _fill(self, energies: Tensor) -> Tensor:
        if not self.config.fill_layers:
            return energies
        fill = self.layout.threshold_MeV * torch.pow(10.0, -torch.randn_like(energies).abs())
        return torch.where(energies <= 0, fill, energies)

    def inverse(self, x: Tensor, cond: Tensor) -> tuple[Tensor, Tensor]:
        n_layers = len(self.layout.layer_sizes)
        if self.config.extras == "data":
            x, u = x[:, :-n_layers], x[:, -n_layers:]
        else:
            cond, u = cond[:, :-n_layers], cond[:, -n_layers:]
        energies = energies_of(u / self.u_scale, cond[:, :1])
        parts = [p.clamp(min=0) for p in x.split(self.layout.layer_sizes, dim=1)]
        showers = [p * (e / (p.sum(1) + _TINY))[:, None] for p, e in zip(parts, energies.T, strict=True)]
        return torch.cat(showers, dim=1), cond


def ratios_of(energies: Tensor, incident: Tensor) -> Tensor:
    """u (N, L) of layer energies (N, L) and incident energies (N, 1), both in MeV."""
    rest = energies.flip(1).cumsum(1).flip(1)
    return torch.cat([rest[:, :1] / incident, (energies / (rest + _TINY))[:, :-1]], dim=1)


def energies_of(u: Tensor, incident: Tensor) -> Tensor:
    """Layer energies (N, L) in MeV of u (N, L), the inverse of :func:`ratios_of`; u_i, i > 1, is clipped to [0, 1]."""
    rest = u[:, 0].clamp(min=0) * incident[:, 0]
    energies = []
    for i in range(1, u.shape[1]):
        energy = rest * u[:, i].clamp(0, 1)
        energies.append(energy)
        rest = rest - energy
    return torch.stack([*energies, rest.clamp(min=0)], dim=1)
