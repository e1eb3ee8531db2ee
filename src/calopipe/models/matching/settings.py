"""Settings of conditional flow matching."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from calopipe.config.bounds import Width
from calopipe.config.chains import Columns, ModelSettings

Cells = Annotated[int, Field(gt=0, le=10_000)]
Patch = Annotated[tuple[Cells, Cells, Cells], Field(strict=False)]


class FlowMatchingConfig(ModelSettings):
    """Settings of ``flow_matching``."""

    objectives: ClassVar[tuple[str, ...]] = ("matching", "layers")

    patch: Patch | None = Field(
        None,
        description="cells of a token: layers, and cells along the first and second index of a layer; null: a token is a layer",
    )
    width: Width = Field(128, description="width of the tokens")
    heads: Annotated[int, Field(gt=0, le=64)] = Field(4, description="heads of the attention")
    blocks: Annotated[int, Field(gt=0, le=64)] = Field(4, description="blocks of the transformer")
    components: Annotated[int, Field(gt=0, le=64)] = Field(
        3, description="normal distributions that the value of a hit is a mixture of"
    )
    root: Annotated[int, Field(gt=0, le=10)] | None = Field(
        None,
        description="the preprocessing makes voxels roots of energies of this order (power with exponent 1 / root); null: logarithms of them (log)",
    )
    solver: Literal["euler", "midpoint", "ancestral"] = Field(
        "midpoint",
        description="how velocities are followed; ancestral: instead of what is expected of a shower one is drawn at each step, cell by cell, and noise added up to the next",
    )
    steps: Annotated[int, Field(gt=0, le=10_000)] = Field(
        16, description="steps from noise to a shower; the midpoint rule asks the network twice in each"
    )
    drawn_from: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0,
        description="ancestral: steps that begin before this time follow velocities by the midpoint rule: draws of single cells lose what they share",
    )
    near_noise: Annotated[float, Field(ge=1, le=10)] = Field(
        1.0,
        description="times of the training are random numbers, and those of steps equal parts, to this power: above 1 more of them are near noise, where what all cells of a shower share is decided",
    )
    first_width: Width = Field(
        192, description="width of the network of energies and numbers of hits of layers, which are drawn first"
    )
    first_components: Annotated[int, Field(gt=0, le=64)] = Field(
        8, description="normal distributions that each of these numbers is a mixture of"
    )
    first_dropout: Annotated[float, Field(ge=0, lt=1)] = Field(0.05, description="dropout in this network")
    first_every: Annotated[int, Field(gt=0, le=10_000)] = Field(
        1, description="batches from one that this network learns from to the next"
    )

    @model_validator(mode="after")
    def _divides(self) -> FlowMatchingConfig:
        if self.width % (2 * self.heads):
            raise ValueError(f"width: expected a multiple of 2 x heads = {2 * self.heads}, found {self.width}")
        return self

    def takes(self, given: Columns) -> None:
        if given.dim is None or given.dim < given.n_voxels or given.layer_energies or given.n_voxels == 0:
            raise ValueError("needs voxels, found other columns")
        grid = given.grid  # raises where layers are not alike
        if self.patch is not None and any(cells % part for cells, part in zip(grid, self.patch, strict=True)):
            raise ValueError(
                f"patch: expected parts of the grid of {' x '.join(map(str, grid))} cells, found {self.patch}"
            )
        wanted = 0.0 if self.root is None else 1 / self.root
        layers = len(given.layer_shapes)
        behind = given.dim - given.n_voxels
        if behind and not (given.extras and given.hits and not given.unit_extras and behind == 2 * layers):
            raise ValueError(
                "needs no columns after the voxels, or logits of energy ratios and of numbers of hits (layer_normalise with hits, then logit of "
                f"extras_and_hits), found {behind} other columns"
            )
        if (behind or self.root is not None) and (given.power is None or not math.isclose(given.power, wanted)):
            needed = "logarithms of their energies (log)"
            if self.root is not None:
                needed = f"roots of their energies (power with exponent {wanted:.6g})"
            raise ValueError(f"needs voxels as {needed}, the last that is done to them, found {_said(given.power)}")


def _said(power: float | None) -> str:
    if power is None:
        return "other values"
    return f"these to the power {power:.6g}" if power else "their logarithms"
