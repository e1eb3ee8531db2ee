"""Conditional VAE with a normal decoder, of columns of any sign.

Sources: Kingma 2013 (arXiv:1312.6114); beta: Higgins 2017; learned widths of the decoder, with log sigma^2 clipped: Ernst
2023, section 4.3.2.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from calopipe.config.parts import MODELS
from calopipe.models.autoencoders.dense import DenseAutoencoder
from calopipe.models.autoencoders.settings import GaussianVAEConfig
from calopipe.models.base import Inputs
from calopipe.models.building import draw, output
from calopipe.models.losses import gaussian_kl, gaussian_nll


@MODELS.register("gaussian_vae", config=GaussianVAEConfig)
class GaussianVAE(DenseAutoencoder):
    """x (N, dim) to a normal latent distribution and back to a normal distribution of x, both conditioned.

    Loss, in nats per row: -log p(x | z) + beta * KL, a true evidence lower bound for beta = 1. A smaller beta gives sharper
    reconstructions and latents that are less like the prior, which is what showers are drawn from where nothing learns
    the latents.
    """

    def __init__(self, config: GaussianVAEConfig, inputs: Inputs) -> None:
        numbers, further = 2 if config.width == "each" else 1, int(config.width == "shower")
        super().__init__(config, inputs, codes=2, numbers=numbers, further=further)
        self.output = output(config.output, config.output_slope)
        if config.width == "one":
            self.log_var = nn.Parameter(torch.zeros(()))

    def encode(self, x: Tensor, cond: Tensor) -> tuple[Tensor, Tensor]:
        mu, logvar = self.encoded(x, cond).chunk(2, dim=1)
        return mu, logvar.clamp(-20, 10)

    def distribution(self, z: Tensor, cond: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance (N, dim) of x given latents z (N, latent_dim)."""
        out, clip, width = self.decoded(z, cond), self.config.log_var_range, self.config.width
        mean, rest = out[:, : self.dim], out[:, self.dim :]
        if width in ("each", "shower"):
            log_var = rest.clamp(*clip)
        elif width == "one":
            log_var = self.log_var.clamp(*clip)
        else:
            log_var = torch.full_like(mean, 2 * math.log(self.config.sigma))
        return self.output(mean), log_var.expand_as(mean)

    def decode(self, z: Tensor, cond: Tensor) -> Tensor:
        mean, log_var = self.distribution(z, cond)
        return mean if self.config.decoded == "mean" else draw(mean, log_var)

    def loss(self, x: Tensor, cond: Tensor) -> dict[str, Tensor]:
        mu, logvar = self.encode(x, cond)
        data = gaussian_nll(x, *self.distribution(draw(mu, logvar), cond)).mean()
        kl = gaussian_kl(mu, logvar).mean()
        return {"loss": data + self.config.beta * kl, "data": data.detach(), "kl": kl.detach()}
