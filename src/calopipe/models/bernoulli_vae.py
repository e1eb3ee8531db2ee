"""M5: conditional VAE with a Bernoulli reconstruction loss, the published VAE of CaloChallenge 1 (thesis section
4.4.1).
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from calopipe.config.base import Section
from calopipe.config.bounds import Scale, Tiny, Width, Widths
from calopipe.config.parts import MODELS
from calopipe.models.base import Autoencoder, draw, gaussian_kl, mlp


class BernoulliVAEConfig(Section):
    """Settings of :class:`BernoulliVAE`; the defaults are the published card of CaloChallenge 1 (Table 5)."""

    hidden: Widths = Field(default_factory=lambda: [5000, 1000, 500], description="encoder widths; the decoder mirrors")
    latent: Width = Field(50, description="latent dimensions")
    alpha: Tiny = Field(1e-6, lt=0.5, description="logit regularisation of the network's input")
    beta: float = Field(1e-5, ge=0, le=1e6, description="weight of the KL term")
    gamma: Scale = Field(1e4, description="weight of the data loss, mean over voxels and halved")
    condition_scale: Scale = Field(
        1.15, description="conditions are divided by this times their largest value (at least 1)"
    )


@MODELS.register("bernoulli_vae", config=BernoulliVAEConfig)
class BernoulliVAE(Autoencoder):
    """x in [0, 1] (layer fractions) through logit and standardisation to a latent Gaussian and back.

    Loss: gamma / 2 * BCE(x, x_hat) averaged over voxels + beta * KL. x is continuous: the BCE is used as a loss, not as
    the log-likelihood of a continuous variable, and its minimum is x_hat = E[x | z]. ``decode`` returns that mean.
    """

    def __init__(self, config: BernoulliVAEConfig, dim: int, cond_dim: int, seed: int = 0) -> None:
        super().__init__(config, dim, cond_dim, seed)
        self.latent_dim = config.latent
        self.encoder = mlp([dim + cond_dim, *config.hidden, 2 * config.latent])
        self.decoder = mlp([config.latent + cond_dim, *reversed(config.hidden), dim])
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("std", torch.ones(dim))
        self.register_buffer("cond_scale", torch.ones(cond_dim))

    def fit_input(self, x: Tensor, cond: Tensor) -> None:
        logits = self._logit(x)
        self.mean.copy_(logits.double().mean(0))
        self.std.copy_(logits.double().std(0).clamp(min=1e-3))
        self.cond_scale.copy_(cond.abs().amax(0).clamp(min=1.0) * self.config.condition_scale)

    def _logit(self, x: Tensor) -> Tensor:
        k = (1 - 2 * self.config.alpha) * x.clamp(0, 1) + self.config.alpha
        return torch.log(k) - torch.log1p(-k.clamp(max=1 - 1e-7))

    def encode(self, x: Tensor, cond: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.encoder(torch.cat([(self._logit(x) - self.mean) / self.std, cond / self.cond_scale], dim=1))
        mu, logvar = hidden.chunk(2, dim=1)
        return mu, logvar.clamp(-20, 10)

    def _decode_logits(self, z: Tensor, cond: Tensor) -> Tensor:
        return self.decoder(torch.cat([z, cond / self.cond_scale], dim=1)) * self.std + self.mean

    def decode(self, z: Tensor, cond: Tensor) -> Tensor:
        k = torch.sigmoid(self._decode_logits(z, cond))
        return ((k - self.config.alpha) / (1 - 2 * self.config.alpha)).clamp(0, 1)

    def loss(self, x: Tensor, cond: Tensor) -> dict[str, Tensor]:
        mu, logvar = self.encode(x, cond)
        logits = self._decode_logits(draw(mu, logvar), cond)
        data = 0.5 * functional.binary_cross_entropy_with_logits(logits, x.clamp(0, 1))
        kl = gaussian_kl(mu, logvar).mean()
        return {"loss": self.config.gamma * data + self.config.beta * kl, "data": data.detach(), "kl": kl.detach()}
