"""Conditional VAE whose decoder is a hurdle likelihood: is the voxel hit, and if so, how much energy.

A decoder that returns a mean gives showers without voxel-to-voxel noise, which any classifier sees (thesis section
4.3.1,
"reduced randomness of the VAE"). Here the decoder is a distribution that can be drawn from: a Bernoulli variable for
x > 0 and, given that, a normal in logit x with learned mean and width (log sigma^2 clipped as in the thesis's learned
decoder width, section 4.3.2). The loss is then a true evidence lower bound for beta = 1. Hurdle models: Mullahy 1986.
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from calopipe.config.bounds import LogVariances, Tiny, Width, Widths
from calopipe.config.chains import FractionsModel
from calopipe.config.parts import MODELS
from calopipe.models.base import Autoencoder, draw, gaussian_kl, mlp


class HurdleVAEConfig(FractionsModel):
    """Settings of :class:`HurdleVAE`."""

    hidden: Widths = Field(default_factory=lambda: [512, 512], description="encoder widths; the decoder mirrors")
    latent: Width = Field(50, description="latent dimensions")
    alpha: Annotated[Tiny, Field(lt=0.5)] = Field(1e-6, description="logit regularisation")
    beta: float = Field(1.0, ge=0, le=1e6, description="weight of the KL term; 1 gives the evidence lower bound")
    cell_prior: float = Field(
        0.0,
        ge=0,
        le=1e6,
        description="hits of an average cell that are added to each cell's own when its mean and width are taken; above 0 "
        "for large sparse grids, where a cell with one training hit has no width",
    )
    log_var_range: LogVariances = Field((-10.0, 10.0), description="clip of the decoder's log sigma^2")


@MODELS.register("hurdle_vae", config=HurdleVAEConfig)
class HurdleVAE(Autoencoder):
    """x in [0, 1] (layer fractions, 0 where no energy) with conditions (N, cond_dim); all losses in nats per shower."""

    def __init__(self, config: HurdleVAEConfig, dim: int, cond_dim: int, seed: int = 0) -> None:
        super().__init__(config, dim, cond_dim, seed)
        self.latent_dim = config.latent
        self.encoder = mlp([2 * dim + cond_dim, *config.hidden, 2 * config.latent], nn.SiLU)
        self.decoder = mlp([config.latent + cond_dim, *reversed(config.hidden), 3 * dim], nn.SiLU)
        for name in ("mean", "cond_mean"):
            self.register_buffer(name, torch.zeros(dim if name == "mean" else cond_dim))
        for name in ("std", "cond_std"):
            self.register_buffer(name, torch.ones(dim if name == "std" else cond_dim))

    def fit_input(self, x: Tensor, cond: Tensor) -> None:
        hit = (x > 0).double()
        logits = self._logit(x).double()
        prior = self.config.cell_prior
        n = (hit.sum(0) + prior).clamp(min=1)
        average = (logits * hit).sum() / hit.sum().clamp(min=1)
        variance = ((logits - average).square() * hit).sum() / hit.sum().clamp(min=1)
        mean = ((logits * hit).sum(0) + prior * average) / n
        self.mean.copy_(mean)
        self.std.copy_(((((logits - mean).square() * hit).sum(0) + prior * variance) / n).sqrt().clamp(min=0.1))
        c = self._cond_logit(cond).double()
        self.cond_mean.copy_(c.mean(0))
        self.cond_std.copy_(c.std(0).clamp(min=1e-3))

    def _logit(self, x: Tensor) -> Tensor:
        k = (1 - 2 * self.config.alpha) * x.clamp(0, 1) + self.config.alpha
        return torch.log(k) - torch.log1p(-k.clamp(max=1 - 1e-7))

    def _cond_logit(self, cond: Tensor) -> Tensor:
        """First column as it is; the others, fractions, through the logit."""
        return torch.cat([cond[:, :1], self._logit(cond[:, 1:])], dim=1)

    def _condition(self, cond: Tensor) -> Tensor:
        return (self._cond_logit(cond) - self.cond_mean) / self.cond_std

    def _standardised(self, x: Tensor) -> tuple[Tensor, Tensor]:
        hit = (x > 0).to(x.dtype)
        return (self._logit(x) - self.mean) / self.std * hit, hit

    def encode(self, x: Tensor, cond: Tensor) -> tuple[Tensor, Tensor]:
        y, hit = self._standardised(x)
        mu, logvar = self.encoder(torch.cat([y, hit, self._condition(cond)], dim=1)).chunk(2, dim=1)
        return mu, logvar.clamp(-20, 10)

    def _decode(self, z: Tensor, cond: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        hit_logit, mean, log_var = self.decoder(torch.cat([z, self._condition(cond)], dim=1)).chunk(3, dim=1)
        return hit_logit, mean, log_var.clamp(*self.config.log_var_range)

    def decode(self, z: Tensor, cond: Tensor) -> Tensor:
        hit_logit, mean, log_var = self._decode(z, cond)
        hit = torch.rand_like(hit_logit) < torch.sigmoid(hit_logit)
        k = torch.sigmoid(draw(mean, log_var) * self.std + self.mean)
        x = ((k - self.config.alpha) / (1 - 2 * self.config.alpha)).clamp(0, 1)
        return torch.where(hit, x, torch.zeros_like(x))

    def loss(self, x: Tensor, cond: Tensor) -> dict[str, Tensor]:
        mu, logvar = self.encode(x, cond)
        hit_logit, mean, log_var = self._decode(draw(mu, logvar), cond)
        y, hit = self._standardised(x)
        occupancy = functional.binary_cross_entropy_with_logits(hit_logit, hit, reduction="sum") / x.shape[0]
        energy = (0.5 * hit * ((y - mean).square() * (-log_var).exp() + log_var)).sum() / x.shape[0]
        kl = gaussian_kl(mu, logvar).mean()
        loss = occupancy + energy + self.config.beta * kl
        return {"loss": loss, "occupancy": occupancy.detach(), "energy": energy.detach(), "kl": kl.detach()}
