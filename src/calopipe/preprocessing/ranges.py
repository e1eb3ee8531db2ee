"""Columns and conditions on common scales: between two ends, given or the extremes of the training split; in units of a condition;
logarithms of conditions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor

from calopipe.config.parts import STEPS
from calopipe.preprocessing.base import Layout, Step
from calopipe.preprocessing.settings import (
    DivideByConditionConfig,
    LogConditionsConfig,
    MinMaxConditionConfig,
    MinMaxConfig,
)


def _map(ends: Tensor, to: tuple[float, float]) -> tuple[Tensor, Tensor]:
    """Scale and shift (D,) that take the ends (2, D) to `to`; where both ends are one, that becomes the lower one."""
    low, high = ends.double()
    scale = (to[1] - to[0]) / torch.where(high > low, high - low, torch.ones_like(low))
    return scale, to[0] - low * scale


@STEPS.register("min_max", config=MinMaxConfig)
class MinMax(Step):
    """x between two ends, of each column or of all; the inverse does not move what lies outside."""

    bijective: ClassVar[bool] = True
    scale: Tensor
    shift: Tensor

    def __init__(self, config: MinMaxConfig, layout: Layout, dim: int, cond_dim: int) -> None:
        super().__init__(config, layout, dim, cond_dim)
        self.register_buffer("scale", torch.ones(dim))
        self.register_buffer("shift", torch.zeros(dim))
        if config.ends is not None:
            self._set(torch.tensor(config.ends)[:, None])

    def fit(self, x: Tensor, cond: Tensor) -> None:
        if self.config.ends is None:
            ends = torch.stack([x.amin(0), x.amax(0)])
            self._set(ends if self.config.of == "column" else torch.stack([ends.amin(), ends.amax()])[:, None])

    def _set(self, ends: Tensor) -> None:
        scale, shift = _map(ends, self.config.to)
        self.scale[:], self.shift[:] = scale, shift

    def forward(self, x: Tensor, cond: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return x * self.scale + self.shift, cond, self.scale.log().sum().expand(x.shape[0])

    def inverse(self, x: Tensor, cond: Tensor) -> tuple[Tensor, Tensor]:
        return (x - self.shift) / self.scale, cond


@STEPS.register("min_max_condition", config=MinMaxConditionConfig)
class MinMaxCondition(Step):
    """The incident energy between two given ends (other conditions as they are), or every condition between its extremes."""

    bijective: ClassVar[bool] = True
    scale: Tensor
    shift: Tensor

    def __init__(self, config: MinMaxConditionConfig, layout: Layout, dim: int, cond_dim: int) -> None:
        super().__init__(config, layout, dim, cond_dim)
        self.register_buffer("scale", torch.ones(cond_dim))
        self.register_buffer("shift", torch.zeros(cond_dim))
        if config.ends is not None:
            self.scale[:1], self.shift[:1] = _map(torch.tensor(config.ends)[:, None], config.to)

    def fit(self, x: Tensor, cond: Tensor) -> None:
        if self.config.ends is None:
            self.scale[:], self.shift[:] = _map(torch.stack([cond.amin(0), cond.amax(0)]), self.config.to)

    def condition(self, cond: Tensor) -> Tensor:
        return cond * self.scale + self.shift

    def forward(self, x: Tensor, cond: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return x, self.condition(cond), x.new_zeros(x.shape[0])

    def inverse(self, x: Tensor, cond: Tensor) -> tuple[Tensor, Tensor]:
        return x, (cond - self.shift) / self.scale


@STEPS.register("divide_by_condition", config=DivideByConditionConfig)
class DivideByCondition(Step):
    """x in units of a condition, or of a power of it, for residuals that grow with it; of what that power of the energy is as a transverse
    momentum where eta is given.
    """

    bijective: ClassVar[bool] = True

    def forward(self, x: Tensor, cond: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        unit = self._unit(cond)
        return x / unit[:, None], cond, -self.dim * unit.log()

    def inverse(self, x: Tensor, cond: Tensor) -> tuple[Tensor, Tensor]:
        return x * self._unit(cond)[:, None], cond

    def _unit(self, cond: Tensor) -> Tensor:
        unit = cond[:, self.config.condition]
        if self.config.eta is None:
            return unit**self.config.power
        slant = cond[:, self.config.eta].cosh()
        return (unit * slant) ** self.config.power / slant


@STEPS.register("log_conditions", config=LogConditionsConfig)
class LogConditions(Step):
    """Natural logarithms of some conditions."""

    bijective: ClassVar[bool] = True

    def condition(self, cond: Tensor) -> Tensor:
        return self._mapped(cond, torch.log)

    def forward(self, x: Tensor, cond: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return x, self.condition(cond), x.new_zeros(x.shape[0])

    def inverse(self, x: Tensor, cond: Tensor) -> tuple[Tensor, Tensor]:
        return x, self._mapped(cond, torch.exp)

    def _mapped(self, cond: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
        out, chosen = cond.clone(), list(self.config.conditions)
        out[:, chosen] = function(cond[:, chosen])
        return out
