"""Conditional VAE with a Bernoulli reconstruction loss, the published VAE of CaloChallenge 1 (Ernst 2023, section
4.4.1 and Table 5; details after the authors' code, heidelberg-hepml/CaloINN).
"""

from __future__ import annotations

import torch
from torch import Tensor

from calopipe.config.parts import MODELS
from calopipe.models.autoencoders.settings import BernoulliVAEConfig
from calopipe.models.base import Autoencoder, Inputs
from calopipe.models.building import Standardisation, alpha_logit, alpha_sigmoid, draw, mlp
from calopipe.models.losses import bernoulli_loss, gaussian_kl


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

    cond_scale: Tensor
    cond_signed: Tensor

    def __init__(self, config: BernoulliVAEConfig, inputs: Inputs) -> None:
        super().__init__(config, inputs)
        dim, cond_dim = inputs.dim, inputs.cond_dim
        self.encoder = mlp([dim + cond_dim, *config.hidden, 2 * config.latent])
        self.decoder = mlp([config.latent + cond_dim, *reversed(config.hidden), dim])
        self.voxels, self.conditions = Standardisation(dim), Standardisation(cond_dim)
        self.register_buffer("cond_scale", torch.ones(cond_dim))
        self.register_buffer("cond_signed", torch.zeros(cond_dim, dtype=torch.bool))

    def fit_input(self, x: Tensor, cond: Tensor) -> None:
        self.cond_scale.copy_(cond.abs().amax(0).clamp(min=1.0) * self.config.condition_scale)
        self.cond_signed.copy_(cond.amin(0) < 0)
        self.voxels.fit(alpha_logit(x, self.config.alpha))
        self.conditions.fit(self._condition(cond))

    def _condition(self, cond: Tensor) -> Tensor:
        scaled = cond / self.cond_scale
        return torch.where(self.cond_signed, scaled, alpha_logit(scaled, self.config.alpha))

    def encode(self, x: Tensor, cond: Tensor) -> tuple[Tensor, Tensor]:
        seen = [self.voxels(alpha_logit(x, self.config.alpha)), self.conditions(self._condition(cond))]
        mu, logvar = self.encoder(torch.cat(seen, dim=1)).chunk(2, dim=1)
        return mu, logvar.clamp(-20, 10)

    def decode(self, z: Tensor, cond: Tensor) -> Tensor:
        out = self.decoder(torch.cat([z, self._condition(cond)], dim=1))
        return alpha_sigmoid(self.voxels.inverse(out), self.config.alpha).clamp(min=0)

    def loss(self, x: Tensor, cond: Tensor) -> dict[str, Tensor]:
        mu, logvar = self.encode(x, cond)
        data = 0.5 * bernoulli_loss(x.clamp(0, 1), self.as_shower(self.decode(draw(mu, logvar), cond), cond))
        kl = gaussian_kl(mu, logvar).mean()
        return {"loss": self.config.gamma * data + self.config.beta * kl, "data": data.detach(), "kl": kl.detach()}
