"""Settings of energy regressors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from calopipe.config.base import Section
from calopipe.config.bounds import CellTriple, ChannelTriple, Few, LayerCellNumbers, Slope, Width
from calopipe.config.chains import Columns, ModelSettings
from calopipe.geometry import window_start


class Window(Section):
    """A window of the cells of a shower: the shower core, for example. Three numbers alone are its size, in the middle."""

    window: CellTriple = Field(description="layers, and cells along the first and second index")
    centre: LayerCellNumbers | None = Field(
        None,
        description="layer and cell (from 0) in the middle of the window, where it is even the one behind its middle; null: the "
        "window is in the middle of the shower",
    )

    @model_validator(mode="before")
    @classmethod
    def _triple(cls, value: Any) -> Any:
        """``[15, 15, 15]`` is ``{window: [15, 15, 15]}``."""
        return {"window": value} if isinstance(value, list | tuple) else value

    def starts(self, grid: Sequence[int]) -> tuple[int, int, int]:
        """First layer and cells in showers of `grid` cells. Raises ValueError where the window is not inside."""
        middle = (None,) * 3 if self.centre is None else self.centre
        found = zip(self.window, grid, middle, ("layer", "first", "second"), strict=True)
        cells, window = (" x ".join(map(str, numbers)) for numbers in (grid, self.window))
        try:
            layer, first, second = (window_start(*axis) for axis in found)
        except ValueError as error:
            raise ValueError(f"crop: a window of {window} of the {cells} cells {error}") from None
        return layer, first, second


class RegressorConfig(ModelSettings):
    """Settings of ``regressor``; the defaults are the published network."""

    grid: CellTriple | None = Field(
        None, description="cells along layer, first and second index; null: those of the dataset's geometry"
    )
    crop: Window | None = Field(
        None,
        description="the network sees these cells alone: {window: [15, 15, 15], centre: [12, 15, 15]} or, in the middle of the shower, "
        "[16, 16, 16]; null: all",
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
        if self.crop is not None:
            self.crop.starts(self.grid or given.grid)

    @field_validator("crop", mode="before", json_schema_input_type=CellTriple | Window | None)
    @classmethod
    def _window(cls, value: Any) -> Any:
        return value

    @model_validator(mode="after")
    def _whole_angle(self) -> RegressorConfig:
        if self.periodic and self.crop is not None:
            raise ValueError("crop: expected null with periodic: true, which takes the whole angle, found a window")
        return self


class RegressorPlusConfig(RegressorConfig):
    """Settings of ``regressor_plus``."""

    norm: Literal["layer", "batch"] = Field("batch", description="normalisation after the strided convolutions")
    extra: Few = Field(1, description="further convolutions of 3x3x3 after each strided one")
