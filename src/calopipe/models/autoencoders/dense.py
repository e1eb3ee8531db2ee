"""What fully connected autoencoders of any columns share."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from calopipe.models.autoencoders.settings import DenseConfig
from calopipe.models.base import Autoencoder, Inputs
from calopipe.models.building import Standardisation, mlp

ACTIVATIONS = {"silu": nn.SiLU, "relu": nn.ReLU, "leaky_relu": nn.LeakyReLU}


class DenseAutoencoder(Autoencoder):
    """An encoder of x and the conditions and a decoder of latents and the conditions, which are standardised.

    Columns should be of order one, which is for the preprocessing to see to.

    Args:
        codes: numbers that the encoder gives each latent dimension. numbers: those that the decoder gives each column.
        further: those that it gives a row besides.
    """

    def __init__(self, config: DenseConfig, inputs: Inputs, codes: int = 1, numbers: int = 1, further: int = 0) -> None:
        super().__init__(config, inputs)
        dim, cond_dim = inputs.dim, inputs.cond_dim if config.conditioned else 0
        hidden, activation = config.hidden, ACTIVATIONS[config.activation]
        self.encoder = mlp([dim + cond_dim, *hidden, codes * self.latent_dim], activation)
        self.decoder = mlp([self.latent_dim + cond_dim, *reversed(hidden), numbers * dim + further], activation)
        self.conditions = Standardisation(inputs.cond_dim)

    def fit_input(self, x: Tensor, cond: Tensor) -> None:
        self.conditions.fit(cond)

    def encoded(self, x: Tensor, cond: Tensor) -> Tensor:
        """The encoder's output (N, codes * latent_dim)."""
        return self.encoder(self._with_conditions(x, cond))

    def decoded(self, z: Tensor, cond: Tensor) -> Tensor:
        """The decoder's output (N, numbers * dim + further)."""
        return self.decoder(self._with_conditions(z, cond))

    def _with_conditions(self, x: Tensor, cond: Tensor) -> Tensor:
        return torch.cat([x, self.conditions(cond)], dim=1) if self.config.conditioned else x
