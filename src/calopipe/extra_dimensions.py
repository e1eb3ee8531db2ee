"""The extra dimensions u of showers: layer energies as ratios (Ernst 2023, eq. 4; after CaloFlow, arXiv:2106.05285).

u_1 = E_tot / E_inc, u_i = E_{i-1} / sum_{j >= i-1} E_j. Steps of the preprocessing and data sets of columns both need them.
Imports torch, so nothing that builds the workflow may use it.
"""

from __future__ import annotations

import torch
from torch import Tensor

TINY = 1e-10  # MeV; keeps empty layers and showers finite


def ratios_of(energies: Tensor, incident: Tensor) -> Tensor:
    """u (N, L) of layer energies (N, L) and incident energies (N, 1), both in MeV; 0 where nothing is left for a layer."""
    rest = energies.flip(1).cumsum(1).flip(1)
    return torch.cat([rest[:, :1] / incident, (energies / (rest + TINY))[:, :-1]], dim=1)


def energies_of(u: Tensor, incident: Tensor) -> Tensor:
    """Layer energies (N, L) in MeV of u (N, L), the inverse of :func:`ratios_of`; u_i, i > 1, is clipped to [0, 1]."""
    rest = u[:, 0].clamp(min=0) * incident[:, 0]
    energies = []
    for i in range(1, u.shape[1]):
        energy = rest * u[:, i].clamp(0, 1)
        energies.append(energy)
        rest = rest - energy
    return torch.stack([*energies, rest.clamp(min=0)], dim=1)
