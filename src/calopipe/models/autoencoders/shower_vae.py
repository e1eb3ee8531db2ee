"""Conditional VAE of layer fractions whose loss is put together of terms: the Gaussian VAE of Ernst 2023, section 4.3, with
the Bernoulli and continuous-Bernoulli VAEs of section 4.4 as other choices of terms.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from calopipe.config.parts import MODELS
from calopipe.models.autoencoders.settings import ShowerVAEConfig
from calopipe.models.autoencoders.terms.composed import Compared, ComposedLoss
from calopipe.models.base import Autoencoder, Inputs, Now
from calopipe.models.building import DropoutReLU, LearnableNorm, Standardisation, alpha_logit, alpha_sigmoid, draw, mlp
from calopipe.models.losses import continuous_bernoulli_mean, gaussian_kl

_TINY = 1e-10


@MODELS.register("shower_vae", config=ShowerVAEConfig)
class ShowerVAE(Autoencoder):
    """x in [0, 1] (layer fractions) through logit and standardisation to a latent Gaussian and back.

    Loss: half the weighted sum of the terms + beta * KL (Ernst 2023 prints neither factor 1/2; the code has both). The terms
    see reconstructions scaled to the layers' energies, or *as showers*: cut at the readout threshold and normalised again too
    (:attr:`Autoencoder.as_shower`). ``decode`` returns the decoder's mean, free of randomness.

    Conditions are divided by ``condition_scale`` times their largest value and go through the same logit; the encoder sees them
    standardised with the voxels, the decoder as they are. With ``learnable_norm`` the logits of voxels and of the ratios u
    (not of the incident energy) are scaled and shifted by learned numbers instead, and the decoder's output is undone by the
    same ones.
    """

    cond_scale: Tensor
    cond_signed: Tensor

    def __init__(self, config: ShowerVAEConfig, inputs: Inputs) -> None:
        super().__init__(config, inputs)
        dim, cond_dim = inputs.dim, inputs.cond_dim
        self.terms = ComposedLoss(config.losses, inputs)
        self.continuous = "continuous_bce" in self.terms.terms
        self.numbers = 2 if self.terms.learns_widths else 1
        self.encoder, self.decoder = self.make_networks()
        self.voxels: Standardisation | LearnableNorm = Standardisation(dim)
        self.conditions: Standardisation | LearnableNorm = Standardisation(cond_dim)
        if config.learnable_norm:
            self.voxels = LearnableNorm([True] * dim)
            self.conditions = LearnableNorm([name.startswith("u_") for name in inputs.conditions])
        self.register_buffer("cond_scale", torch.ones(cond_dim))
        self.register_buffer("cond_signed", torch.zeros(cond_dim, dtype=torch.bool))

    def make_networks(self) -> tuple[nn.Module, nn.Module]:
        """The encoder, of voxels and conditions to 2 latent_dim numbers, and the decoder, of latents and conditions."""
        dim, cond_dim, hidden = self.inputs.dim, self.inputs.cond_dim, self.config.hidden
        return (
            self.dense([dim + cond_dim, *hidden, 2 * self.latent_dim]),
            self.dense([self.latent_dim + cond_dim, *reversed(hidden), self.numbers * dim]),
        )

    def dense(self, sizes: list[int]) -> nn.Sequential:
        """Linear layers with ReLU, batch normalisation and dropout as the settings say."""
        config = self.config
        return mlp(sizes, partial(DropoutReLU, config.dropout) if config.dropout else nn.ReLU, norm=config.batch_norm)

    def fit_input(self, x: Tensor, cond: Tensor) -> None:
        self.cond_scale.copy_(cond.abs().amax(0).clamp(min=1.0) * self.config.condition_scale)
        self.cond_signed.copy_(cond.amin(0) < 0)
        self.voxels.fit(self._logit(x))
        self.conditions.fit(self._condition(cond))
        self.terms.fit(x, lambda: self.layer_energies(cond))

    def _logit(self, x: Tensor) -> Tensor:
        return alpha_logit(x, self.config.alpha, self.config.alpha_1)

    def _condition(self, cond: Tensor) -> Tensor:
        scaled = cond / self.cond_scale
        return torch.where(self.cond_signed, scaled, alpha_logit(scaled, self.config.alpha))

    def encode(self, x: Tensor, cond: Tensor) -> tuple[Tensor, Tensor]:
        seen = [self.voxels(self._logit(x)), self.conditions(self._condition(cond))]
        mu, logvar = self.encoder(torch.cat(seen, dim=1)).chunk(2, dim=1)
        return mu, logvar.clamp(-20, 10)

    def parameters_of(self, z: Tensor, cond: Tensor) -> tuple[Tensor, Tensor | None]:
        """What the decoder says of x: the mean (the parameter of a continuous Bernoulli distribution), and log variances."""
        out, log_var = self.decoder(torch.cat([z, self._condition(cond)], dim=1)), None
        if self.terms.learns_widths:
            out, log_var = out.chunk(2, dim=1)
            log_var = log_var.clamp(*self.terms.terms["decoder_width"].log_var_range)
        mean = alpha_sigmoid(self.voxels.inverse(out), self.config.alpha, self.config.alpha_1).clamp(min=0)
        return mean, log_var

    def decode(self, z: Tensor, cond: Tensor) -> Tensor:
        mean, _ = self.parameters_of(z, cond)
        return continuous_bernoulli_mean(mean.clamp(max=1)) if self.continuous else mean

    def loss(self, x: Tensor, cond: Tensor) -> dict[str, Tensor]:
        mu, logvar = self.encode(x, cond)
        mean, log_var = self.parameters_of(draw(mu, logvar), cond)
        x_hat = self.as_shower(mean, cond) if self.config.compared == "thresholded" else self._normalised(mean, x)
        losses = self.terms(Compared(x, x_hat, lambda: self.layer_energies(cond), log_var))
        kl = gaussian_kl(mu, logvar).mean()
        return {**losses, "loss": losses["loss"] + self.config.beta * kl, "kl": kl.detach()}

    def step(self, objective: str, x: Tensor, cond: Tensor, now: Now) -> dict[str, Tensor]:
        self.terms.begin(now.epoch)
        losses = self.loss(x, cond)
        self.terms.remember(losses)
        return losses

    def _normalised(self, x_hat: Tensor, x: Tensor) -> Tensor:
        """x_hat with the sums of x in all layers."""
        sizes = self.inputs.layer_sizes
        parts = zip(x_hat.split(sizes, 1), x.split(sizes, 1), strict=True)
        return torch.cat([a * (b.sum(1, True) / a.sum(1, True).clamp(min=_TINY)) for a, b in parts], dim=1)
