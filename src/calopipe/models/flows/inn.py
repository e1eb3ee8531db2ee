"""Conditional INN, a normalizing flow of coupling blocks (Ernst 2023, sections 3.3.5 and 4.1)."""

from __future__ import annotations

import math
from typing import ClassVar

from torch import Tensor

from calopipe.config.parts import MODELS
from calopipe.models.base import GenerativeModel, Inputs
from calopipe.models.flows.coupling import make_flow
from calopipe.models.flows.settings import INNConfig


@MODELS.register("inn", config=INNConfig)
class INN(GenerativeModel):
    """p(x | cond) by coupling blocks that map x to a standard normal of the same dimension; loss is the mean -log p."""

    likelihood: ClassVar[bool] = True

    def __init__(self, config: INNConfig, inputs: Inputs) -> None:
        super().__init__(config, inputs)
        self.flow = make_flow(
            inputs.dim,
            inputs.cond_dim,
            blocks=config.blocks,
            hidden=tuple(config.hidden),
            bins=config.bins,
            bounds=config.bounds,
            heat=config.heat,
            kind=config.coupling,
            seed=inputs.seed,
            masks=config.masks,
            dropout=config.dropout,
            actnorm=config.actnorm,
            batch_norm=config.batch_norm,
            leaky=config.activation == "leaky_relu",
            shapes=inputs.layer_shapes,
            neighbours=config.neighbours,
        )

    def fit_input(self, x: Tensor, cond: Tensor) -> None:
        self.flow.fit(x, cond if self.cond_dim else None)

    def log_prob(self, x: Tensor, cond: Tensor) -> Tensor:
        """log p(x | cond) per row, in nats."""
        z, logdet = self.flow(x, cond)
        return logdet - 0.5 * z.square().sum(1) - 0.5 * self.dim * math.log(2 * math.pi)

    def loss(self, x: Tensor, cond: Tensor) -> dict[str, Tensor]:
        return {"loss": -self.log_prob(x, cond).mean()}

    def to_noise(self, x: Tensor, cond: Tensor) -> Tensor:
        return self.flow(x, cond)[0]

    def draw(self, noise: Tensor, cond: Tensor) -> Tensor:
        return self.flow.inverse(noise, cond)[0]
