"""Conditional INN, a normalizing flow of coupling blocks (Ernst 2023, sections 3.3.5 and 4.1)."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from calopipe.config.parts import MODELS
from calopipe.models.base import Inputs
from calopipe.models.flows.coupling import make_flow
from calopipe.models.flows.density import Flow
from calopipe.models.flows.settings import INNConfig


@MODELS.register("inn", config=INNConfig)
class INN(Flow):
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
