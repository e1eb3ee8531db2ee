"""Settings of refiners."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from calopipe.config.bounds import Channels, Scale, Slope, Weight, Width
from calopipe.config.chains import ImagesModel

Voxels = Annotated[int, Field(ge=1, le=10**6)]


class PostProcessorConfig(ImagesModel):
    """Settings of ``post_processor``; the defaults are the published network (Buhmann 2021)."""

    channels: Channels = Field(128, description="channels of the convolutions")
    layers: Annotated[int, Field(ge=2, le=64)] = Field(
        5, description="convolutions before the one that makes the energies"
    )
    features: Width = Field(
        64, description="numbers made of a shower's sum and the conditions, which the second convolution is given too"
    )
    negative_slope: Slope = Field(0.01, description="slope of LeakyReLU")
    output: Literal["linear", "relu"] = Field(
        "linear", description="last activation: none, as published (what is negative is then cut), or ReLU"
    )
    identity_epochs: Annotated[int, Field(ge=0, le=10**6)] = Field(
        36, description="epochs in which only the squared difference from its input counts, before the hit energies do"
    )
    hits: Weight = Field(5.0, description="weight of the discrepancy of the sorted hit energies beside it")
    stride: Voxels = Field(25, description="sorted hits from one window to the next")
    kernel: Voxels = Field(100, description="sorted hits in a window")
    first: Voxels = Field(2000, description="windows start at the largest hits and below this number of them")
    alpha: Scale = Field(200.0, description="kernel of the discrepancy, exp(-alpha d^2) of energies in the unit below")
    unit: Scale = Field(1.0, description="in the network voxels count in this unit, of x: MeV where x are energies")
