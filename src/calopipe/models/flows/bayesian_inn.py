"""Bayesian INN: a conditional INN whose sub-networks have distributions for weights (Ernst 2023, sections 3.3.6 and 4.2)."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from calopipe.config.parts import MODELS
from calopipe.models.base import Inputs, Now
from calopipe.models.flows.inn import INN
from calopipe.models.flows.settings import BayesianINNConfig
from calopipe.models.flows.variational import fix, layers_of, variational


@MODELS.register("bayesian_inn", config=BayesianINNConfig)
class BayesianINN(INN):
    """An INN of uncertain weights: the loss is the mean -log p under weights drawn anew for each row, and the KL divergence of
    the weights from their prior over the number of training rows.

    Evaluation uses one fixed draw of all weights, number 0 unless :meth:`use_weights` says otherwise, so that it is an INN with
    its exact inverse and log-det. The validation loss is -log p under that draw, without the KL: it compares with the loss of an
    INN, is not moved by noise from epoch to epoch, and judges weights as showers are made with.
    """

    likelihood: ClassVar[bool] = True
    weight_draws: ClassVar[bool] = True

    def __init__(self, config: BayesianINNConfig, inputs: Inputs) -> None:
        super().__init__(config, inputs)
        self.prior_precision = config.prior_precision
        for block in self.flow.blocks:
            variational(block.net, config.log_variance, config.bayesian == "all")
        self.use_weights(0)

    def use_weights(self, number: int | None) -> None:
        fix(self, self.inputs.seed, number)

    @property
    def prior_log_variance(self) -> float:
        return -math.log(self.prior_precision)

    def log_variances(self) -> Tensor:
        return torch.cat([layer.log_variance.detach().flatten() for layer in layers_of(self)])

    def kl(self) -> Tensor:
        """KL divergence of the weights from their prior, in nats, summed over them."""
        return torch.stack([layer.kl(self.prior_precision) for layer in layers_of(self)]).sum()

    def step(self, objective: str, x: Tensor, cond: Tensor, now: Now) -> dict[str, Tensor]:
        nll, kl = super().loss(x, cond)["loss"], self.kl()
        return {"loss": nll + kl / now.n_train, "nll": nll, "kl": kl}

    def validate(self, x: Tensor, cond: Tensor) -> dict[str, Tensor]:
        nll = super().loss(x, cond)["loss"]
        return {"loss": nll, "nll": nll}
