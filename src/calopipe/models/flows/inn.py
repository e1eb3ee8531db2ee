"""Conditional INN, a normalizing flow of coupling blocks (Ernst 2023, sections 3.3.5 and 4.1)."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

from pydantic import Field
from torch import Tensor

from calopipe.config.bounds import Bins, Dropout, Width, Widths
from calopipe.config.chains import Columns, ModelSettings
from calopipe.config.parts import MODELS
from calopipe.models.base import GenerativeModel, Inputs
from calopipe.models.flows.coupling import make_flow


class INNConfig(ModelSettings):
    """Settings of :class:`INN`; the defaults are the card for CaloGAN of Ernst 2023 (Table 1)."""

    coupling: Literal["rqs", "affine"] = Field("rqs", description="kind of coupling block")
    blocks: Annotated[int, Field(ge=1, le=256)] = Field(12, description="coupling blocks")
    hidden: Widths = Field(default_factory=lambda: [256, 256], description="hidden widths of the sub-networks")
    bins: Annotated[Bins, Field(le=256)] = Field(10, description="spline bins")
    bounds: float = Field(10.0, ge=1e-3, le=1e3, description="splines act on [-bounds, bounds]; identity outside")
    heat: Annotated[float, Field(ge=1e-3, le=100)] | None = Field(
        None,
        description="factor on the logits of bin widths and heights; null: 1/sqrt(last hidden width), which keeps the "
        "inverse exact under large weights, as larger values do not",
    )
    masks: Literal["random", "alternate", "pairs", "lattice"] = Field(
        "random",
        description="how halves are chosen from block to block; lattice (flows on showers): by turns two blocks of cells of "
        "either colour of a chequerboard, with small networks that see the neighbours of each cell, and two random halves",
    )
    neighbours: Width = Field(32, description="masks: lattice: width of the networks that see the neighbours")
    dropout: Dropout = Field(
        0.0, description="fraction of the sub-networks' hidden neurons that is dropped in training"
    )

    def takes(self, given: Columns) -> None:
        if self.masks == "lattice" and (given.dim is None or given.dim < given.n_voxels):
            raise ValueError("needs voxels for masks: lattice, found latents")
        if given.dim is not None and given.dim < 2:
            raise ValueError(f"needs 2 columns or more, found {given.dim}")


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
            shapes=inputs.layer_shapes,
            neighbours=config.neighbours,
        )

    def log_prob(self, x: Tensor, cond: Tensor) -> Tensor:
        """log p(x | cond) per row, in nats."""
        z, logdet = self.flow(x, cond)
        return logdet - 0.5 * z.square().sum(1) - 0.5 * self.dim * math.log(2 * math.pi)

    def loss(self, x: Tensor, cond: Tensor) -> dict[str, Tensor]:
        return {"loss": -self.log_prob(x, cond).mean()}

    def draw(self, noise: Tensor, cond: Tensor) -> Tensor:
        return self.flow.inverse(noise, cond)[0]
