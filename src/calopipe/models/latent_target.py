"""What a latent flow learns of an encoder's output (Ernst 2023, section 4.3.1, the three ways to add the INN)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from calopipe.models.building import draw


@dataclass(frozen=True)
class LatentTarget:
    """Assemble flow inputs from encoded showers, and take flow outputs apart again.

    Attributes:
        mode: ``mu_sigma`` learns (mu, log sigma^2), ``mean`` mu alone (CaloMan); ``resample`` and ``once`` learn z ~ N(mu,
            sigma), drawn in every batch or once. The extra dimensions u (N, L) are appended in every mode.
        latent_dim: columns of mu.
    """

    mode: Literal["mu_sigma", "mean", "resample", "once"]
    latent_dim: int

    def columns(self, n_extras: int) -> int:
        """Columns that the flow sees."""
        return (2 if self.mode == "mu_sigma" else 1) * self.latent_dim + n_extras

    def assemble(self, mu: Tensor, logvar: Tensor, extras: Tensor) -> Tensor:
        """Flow input (N, columns) of encoded showers."""
        if self.mode == "mean":
            return torch.cat([mu, extras], dim=1)
        latent = [mu, logvar] if self.mode == "mu_sigma" else [draw(mu, logvar)]
        return torch.cat([*latent, extras], dim=1)

    def take_apart(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Latents z (N, latent_dim), drawn where the flow learned their distribution, and extras (N, L) of flow
        output.
        """
        d = self.latent_dim
        if self.mode == "mu_sigma":
            return draw(x[:, :d], x[:, d : 2 * d].clamp(-20, 10)), x[:, 2 * d :]
        return x[:, :d], x[:, d:]
