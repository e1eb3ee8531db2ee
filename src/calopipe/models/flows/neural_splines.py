"""Neural spline flows with residual networks: coupling layers, or autoregressive ones (Durkan 2019).

Those of CaloMan (Cresswell 2022; Reyes-González 2023): coupling layers for latents and layer energies of photons,
autoregressive ones for layer energies of pions. Latents are scaled to [-1, 1], where the splines act.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from calopipe.config.parts import MODELS
from calopipe.models.base import Inputs
from calopipe.models.flows.density import Flow
from calopipe.models.flows.layers import Autoregressive, Composition, Layer, LULinear, Permutation, ResidualCoupling
from calopipe.models.flows.settings import AutoregressiveRQSConfig, CouplingRQSConfig, ResidualSplineSettings


class ResidualSplineFlow(Flow):
    """p(x | cond) by spline layers; the loss is the mean -log p. Subclasses MUST fill :attr:`flow`."""

    likelihood: ClassVar[bool] = True
    flow: Composition

    def __init__(self, config: ResidualSplineSettings, inputs: Inputs) -> None:
        super().__init__(config, inputs)

    def fit_input(self, x: Tensor, cond: Tensor) -> None:
        if self.config.scale_data:
            self.flow.fit_scale(x)


@MODELS.register("coupling_rqs", config=CouplingRQSConfig)
class CouplingRQS(ResidualSplineFlow):
    """Layers that transform the odd and the even columns in turn, each followed by a random permutation and an LU linear map."""

    likelihood: ClassVar[bool] = True

    def __init__(self, config: CouplingRQSConfig, inputs: Inputs) -> None:
        super().__init__(config, inputs)
        dim, generator = inputs.dim, torch.Generator().manual_seed(inputs.seed)
        layers: list[Layer] = []
        for i in range(config.layers):
            active = torch.arange((i + 1) % 2, dim, 2)
            layers.append(
                ResidualCoupling(
                    dim, inputs.cond_dim, active, config.width, config.residual_blocks, config.bins, config.bounds
                )
            )
            if config.linear:
                layers += [Permutation(torch.randperm(dim, generator=generator)), LULinear(dim)]
        self.flow = Composition(dim, layers, (3 * config.bins - 1) * (dim + 1) // 2)


@MODELS.register("autoregressive_rqs", config=AutoregressiveRQSConfig)
class AutoregressiveRQS(ResidualSplineFlow):
    """Autoregressive layers with the columns in reverse order between them, and a linear map at the end. Drawing takes a pass for each column and layer."""

    likelihood: ClassVar[bool] = True

    def __init__(self, config: AutoregressiveRQSConfig, inputs: Inputs) -> None:
        super().__init__(config, inputs)
        dim, layers = inputs.dim, list[Layer]()
        for i in range(config.layers):
            if i:
                layers.append(Permutation(torch.arange(dim - 1, -1, -1)))
            layers.append(
                Autoregressive(dim, inputs.cond_dim, config.width, config.residual_blocks, config.bins, config.bounds)
            )
        if config.linear:
            layers.append(LULinear(dim))
        self.flow = Composition(dim, layers, (3 * config.bins - 1) * dim)
