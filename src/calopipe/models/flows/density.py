"""What all flows have alike: the loss, the noise of data and the data of noise, by an invertible map of their own."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from calopipe.models.base import GenerativeModel


class Flow(GenerativeModel):
    """p(x | cond) by a map of x to a standard normal of the same dimension; the loss is the mean -log p.

    Attributes:
        flow: MUST be the map: ``flow(x, cond)`` and ``flow.inverse(z, cond)``, each with its log-det, and ``flow.log_prob``.
    """

    likelihood: ClassVar[bool] = True
    flow: Any

    def log_prob(self, x: Tensor, cond: Tensor) -> Tensor:
        return self.flow.log_prob(x, cond)

    def loss(self, x: Tensor, cond: Tensor) -> dict[str, Tensor]:
        return {"loss": -self.log_prob(x, cond).mean()}

    def to_noise(self, x: Tensor, cond: Tensor) -> Tensor:
        return self.flow(x, cond)[0]

    def draw(self, noise: Tensor, cond: Tensor) -> Tensor:
        return self.flow.inverse(noise, cond)[0]
