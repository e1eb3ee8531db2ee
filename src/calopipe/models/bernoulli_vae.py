"""Conditional VAE with a Bernoulli reconstruction loss, the published VAE of CaloChallenge 1 (Ernst 2023, section
4.4.1 and Table 5; details after the authors' code, heidelberg-hepml/CaloINN).
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from calopipe.config.bounds import Scale, Tiny, Width, Widths
from calopipe.config.chains import FractionsModel
from calopipe.config.parts import MODELS
from calopipe.models.base import Autoencoder, Cells, draw, gaussian_kl, mlp

_TINY = 1e-30  # inside logarithms; float32 holds it


class BernoulliVAEConfig(FractionsModel):
    """Settings of :class:`BernoulliVAE`; the defaults are the published card of CaloChallenge 1 (Table 5)."""

    hidden: Widths = Field(default_factory=lambda: [5000, 1000, 500], description="encoder widths; the decoder mirrors")
    latent: Width = Field(50, description="latent dimensions")
    alpha: Annotated[Tiny, Field(lt=0.5)] = Field(1e-6, description="logit regularisation of the network's input")
    beta: float = Field(1e-5, ge=0, le=1e6, description="weight of the KL term")
    gamma: Scale = Field(1e4, description="weight of the data loss, mean over voxels and halved")
    condition_scale: Scale = Field(
        1.15,
        description="conditions are divided by this times their largest value (at least 1) and go through the logit; one "
        "that is negative in training (after log_condition) is only divided",
    )


@MODELS.register("bernoulli_vae", config=BernoulliVAEConfig)
class BernoulliVAE(Autoencoder):
    """x in [0, 1] (layer fractions) through logit and standardisation to a latent Gaussian and back.

    Loss: gamma / 2 * BCE(x, x_hat) averaged over voxels + beta * KL, with x_hat the reconstruction *as a shower*: scaled
    to its layer energies, cut at the readout threshold and normalised again (:attr:`Autoencoder.as_shower`). x is
    continuous: the BCE is used as a loss, not as the log-likelihood of a continuous variable. ``decode`` returns the
    mean of the Bernoulli variables.

    Conditions are divided by ``condition_scale`` times their largest value and go through the same logit; the encoder
    sees them standardised with the voxels, the decoder as they are.
    """

    def __init__(
        self, config: BernoulliVAEConfig, dim: int, cond_dim: int, seed: int = 0, cells: Cells | None = None
    ) -> None:
        super().__init__(config, dim, cond_dim, seed, cells)
        self.latent_dim = config.latent
        self.encoder = mlp([dim + cond_dim, *config.hidden, 2 * config.latent])
        self.decoder = mlp([config.latent + cond_dim, *reversed(config.hidden), dim])
        self.register_buffer("mean", torch.zeros(dim + cond_dim))
        self.register_buffer("std", torch.ones(dim + cond_dim))
        self.register_buffer("cond_scale", torch.ones(cond_dim))
        self.register_buffer("cond_signed", torch.zeros(cond_dim, dtype=torch.bool))

    def fit_input(self, x: Tensor, cond: Tensor) -> None:
        self.cond_scale.copy_(cond.abs().amax(0).clamp(min=1.0) * self.config.condition_scale)
        self.cond_signed.copy_(cond.amin(0) < 0)
        seen = torch.cat([self._logit(x), self._condition(cond)], dim=1).double()
        self.mean.copy_(seen.mean(0))
        self.std.copy_(seen.std(0).clamp(min=1e-3))

    def _logit(self, x: Tensor) -> Tensor:
        k = (1 - 2 * self.config.alpha) * x.clamp(0, 1) + self.config.alpha
        return torch.log(k) - torch.log1p(-k.clamp(max=1 - 1e-7))

    def _condition(self, cond: Tensor) -> Tensor:
        scaled = cond / self.cond_scale
        return torch.where(self.cond_signed, scaled, self._logit(scaled))

    def encode(self, x: Tensor, cond: Tensor) -> tuple[Tensor, Tensor]:
        seen = torch.cat([self._logit(x), self._condition(cond)], dim=1)
        mu, logvar = self.encoder((seen - self.mean) / self.std).chunk(2, dim=1)
        return mu, logvar.clamp(-20, 10)

    def decode(self, z: Tensor, cond: Tensor) -> Tensor:
        out = self.decoder(torch.cat([z, self._condition(cond)], dim=1))
        k = torch.sigmoid(out * self.std[: self.dim] + self.mean[: self.dim])
        return ((k - self.config.alpha) / (1 - 2 * self.config.alpha)).clamp(min=0)

    def loss(self, x: Tensor, cond: Tensor) -> dict[str, Tensor]:
        mu, logvar = self.encode(x, cond)
        data = 0.5 * bernoulli_loss(x.clamp(0, 1), self.as_shower(self.decode(draw(mu, logvar), cond), cond))
        kl = gaussian_kl(mu, logvar).mean()
        return {"loss": self.config.gamma * data + self.config.beta * kl, "data": data.detach(), "kl": kl.detach()}


def bernoulli_loss(x: Tensor, mean: Tensor) -> Tensor:
    """Mean over all entries of -x log(mean) - (1 - x) log(1 - mean), for x and mean in [0, 1].

    A mean of 0 or 1 has a large finite loss and no gradient: a voxel that the threshold has cut learns nothing.
    """
    return -(x * mean.clamp(min=_TINY).log() + (1 - x) * torch.log1p(-mean.clamp(max=1 - 1e-7))).mean()
