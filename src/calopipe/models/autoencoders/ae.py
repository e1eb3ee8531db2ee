"""A deterministic autoencoder: it makes fewer columns of many, for a flow that learns them.

After the autoencoder of CaloMan (Cresswell 2022), whose two steps are a manifold and a density on it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from calopipe.config.parts import MODELS
from calopipe.models.autoencoders.dense import DenseAutoencoder
from calopipe.models.autoencoders.settings import AEConfig

#: log variance of latents that have none: draws of them are what the encoder says to five digits
LOG_VAR = -20.0


@MODELS.register("ae", config=AEConfig)
class AE(DenseAutoencoder):
    """x (N, dim) to latents and back, conditioned unless the settings say otherwise; the loss is the mean squared error.

    Its latents have no distribution, so nothing but a network that learns them can draw any: the standard normal is not
    where they are. Such a network learns them alone (``latents: mean``), without widths that are all alike.
    """

    def encode(self, x: Tensor, cond: Tensor) -> tuple[Tensor, Tensor]:
        z = self.encoded(x, cond)
        return z, torch.full_like(z, LOG_VAR)

    def decode(self, z: Tensor, cond: Tensor) -> Tensor:
        return self.decoded(z, cond)

    def loss(self, x: Tensor, cond: Tensor) -> dict[str, Tensor]:
        return {"loss": (x - self.decoded(self.encoded(x, cond), cond)).square().mean()}
