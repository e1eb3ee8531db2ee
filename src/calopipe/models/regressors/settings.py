"""Settings of energy regressors."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field

from calopipe.config.bounds import CellTriple, ChannelTriple, Few, Slope, Width
from calopipe.config.chains import Columns, ModelSettings


class RegressorConfig(ModelSettings):
    """Settings of ``regressor``; the defaults are the published network."""

    grid: CellTriple | None = Field(
        None, description="cells along layer, first and second index; null: those of the dataset's geometry"
    )
    channels: ChannelTriple = Field((16, 32, 16), description="channels of the three convolutions")
    features: Annotated[Width, Field(ge=2)] = Field(
        100, description="neurons of the last hidden layer, the features of the FRD"
    )
    norm: Literal["layer", "batch"] = Field("layer", description="normalisation after the strided convolutions")
    extra: Few = Field(0, description="further convolutions of 3x3x3 after each strided one")
    negative_slope: Slope = Field(0.02, description="slope of LeakyReLU")
    periodic: bool = Field(False, description="the first index is an angle: its ends are neighbours")

    def takes(self, given: Columns) -> None:
        if self.grid is None:
            _ = given.grid
        elif math.prod(self.grid) != given.n_voxels:
            cells = " x ".join(map(str, self.grid))
            raise ValueError(
                f"needs a grid with as many cells as a shower has voxels ({given.n_voxels}), found {cells}"
            )


class RegressorPlusConfig(RegressorConfig):
    """Settings of ``regressor_plus``."""

    norm: Literal["layer", "batch"] = Field("batch", description="normalisation after the strided convolutions")
    extra: Few = Field(1, description="further convolutions of 3x3x3 after each strided one")
