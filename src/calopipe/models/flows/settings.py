"""Settings of normalizing flows."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from calopipe.config.bounds import Bins, Dropout, Scale, Width, Widths
from calopipe.config.chains import Columns, ModelSettings


class INNConfig(ModelSettings):
    """Settings of ``inn``; the defaults are the card for CaloGAN of Ernst 2023 (Table 1)."""

    coupling: Literal["rqs", "cubic", "affine"] = Field("rqs", description="kind of coupling block")
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

    actnorm: bool = Field(False, description="a learned scale and shift of each column before each block but the first")
    batch_norm: bool = Field(False, description="batch normalisation of the sub-networks' hidden layers")
    activation: Literal["relu", "leaky_relu"] = Field("relu", description="activation of the sub-networks")

    def takes(self, given: Columns) -> None:
        if self.masks == "lattice" and (given.dim is None or given.dim < given.n_voxels):
            raise ValueError("needs voxels for masks: lattice, found latents")
        if given.dim is not None and given.dim < 2:
            raise ValueError(f"needs 2 columns or more, found {given.dim}")


class BayesianINNConfig(INNConfig):
    """Settings of ``bayesian_inn``: those of ``inn``, and its own; the defaults are the final card of Ernst 2023 (Table 1)."""

    bayesian: Literal["last", "all"] = Field(
        "last",
        description="which linear layers of the sub-networks have distributions for weights (networks that see the neighbours "
        "have none)",
    )
    prior_precision: Scale = Field(5000.0, description="1 / variance of the weights' normal prior around 0")
    log_variance: float = Field(-15.0, ge=-30, le=5, description="ln of the variance of each weight, at the start")


class ResidualSplineSettings(ModelSettings):
    """Settings of flows of rational-quadratic splines with residual networks; the defaults are those of CaloMan."""

    layers: Annotated[int, Field(ge=1, le=256)] = Field(4, description="spline layers")
    width: Width = Field(128, description="width of the residual networks")
    residual_blocks: Annotated[int, Field(ge=1, le=32)] = Field(
        3, description="residual blocks of each network, of two layers each, with the condition in each"
    )
    bins: Annotated[Bins, Field(le=256)] = Field(8, description="spline bins")
    bounds: float = Field(1.0, ge=1e-3, le=1e3, description="splines act on [-bounds, bounds]; identity outside")
    scale_data: bool = Field(True, description="divide x by its largest magnitude in training, so that it fits [-1, 1]")


class CouplingRQSConfig(ResidualSplineSettings):
    """Settings of ``coupling_rqs``."""

    linear: bool = Field(True, description="a random permutation and an LU linear map after each layer")

    def takes(self, given: Columns) -> None:
        if given.dim is not None and given.dim < 2:
            raise ValueError(f"needs 2 columns or more, found {given.dim}")


class AutoregressiveRQSConfig(ResidualSplineSettings):
    """Settings of ``autoregressive_rqs``."""

    layers: Annotated[int, Field(ge=1, le=256)] = Field(8, description="spline layers")
    linear: bool = Field(
        True,
        description="an LU linear map behind the last layer: without one, data within the bounds cannot become normal, of which a third is outside",
    )
