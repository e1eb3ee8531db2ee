"""A small refiner: showers that another network made, moved towards the true ones of the same conditions."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from calopipe.config.chains import ModelSettings
from calopipe.config.parts import MODELS
from calopipe.models.base import Inputs, Refiner
from calopipe.models.building import mlp


class RefinerSettings(ModelSettings):
    """Settings of :class:`OwnRefiner`."""

    hidden: int = Field(32, gt=0, description="hidden width")


@MODELS.register("own_refiner", config=RefinerSettings)
class OwnRefiner(Refiner):
    """x + MLP(x), by the mean squared distance from the true shower."""

    def __init__(self, config: RefinerSettings, inputs: Inputs) -> None:
        super().__init__(config, inputs)
        self.net = mlp([inputs.dim, config.hidden, inputs.dim])

    def refine(self, x: Tensor, cond: Tensor) -> Tensor:
        return x + self.net(x)

    def loss(self, x: Tensor, cond: Tensor) -> dict[str, Tensor]:
        _, given = self.apart(cond)
        return {"loss": (self.refine(given, cond) - x).square().mean()}
