"""Logit, log, powers, standardisation and element-wise affine steps."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from calopipe.config.parts import STEPS
from calopipe.preprocessing.base import Layout, Step
from calopipe.preprocessing.settings import (
    LearnableAffineConfig,
    LogConditionConfig,
    LogConfig,
    LogitConfig,
    PowerConfig,
    StandardiseConditionConfig,
    StandardiseConfig,
    VoxelMapConfig,
)


@STEPS.register("logit", config=LogitConfig)
class Logit(Step):
    """logit(k), k = alpha + x (1 - 2 alpha) (Ernst 2023, eq. 5), or k = alpha + x (1 - alpha - alpha_1) in the split form.

    float32-safe: log(1 - k) is taken as log of (1 - x) (1 - alpha - a1) + a1, with a1 the regularisation at 1, which is
    never rounded to 0 (1 - alpha == 1 in float32 below 2.98e-8). Ernst 2023 writes the split form alpha_0 + x (1 -
    alpha_1); ours differs from it by alpha_0 x, so that x = 1 maps to 1 - alpha_1 exactly.
    """

    def __init__(self, config: LogitConfig, layout: Layout, dim: int, cond_dim: int) -> None:
        super().__init__(config, layout, dim, cond_dim)
        self.low = config.alpha
        self.high = config.alpha if config.alpha_1 is None else config.alpha_1
        self.slope = 1 - self.low - self.high

        extras = {"all": dim, "extras": len(layout.layer_sizes), "extras_and_hits": 2 * len(layout.layer_sizes)}
        self.first = dim - extras[config.columns]

    def forward(self, x: Tensor, cond: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        left, x = x[:, : self.first], x[:, self.first :].clamp(0, 1)
        k, rest = self.low + x * self.slope, self.high + (1 - x) * self.slope
        log_k, log_rest = k.log(), rest.log()
        logdet = (math.log(self.slope) - log_k - log_rest).sum(1)
        return torch.cat([left, log_k - log_rest], dim=1), cond, logdet

    def inverse(self, x: Tensor, cond: Tensor) -> tuple[Tensor, Tensor]:
        left, y = x[:, : self.first], x[:, self.first :]
        return torch.cat([left, ((torch.sigmoid(y) - self.low) / self.slope).clamp(0, 1)], dim=1), cond


class VoxelMap(Step):
    """A map of all columns, or of the voxels alone, and other columns as they are."""

    def __init__(self, config: VoxelMapConfig, layout: Layout, dim: int, cond_dim: int) -> None:
        super().__init__(config, layout, dim, cond_dim)
        self.end = dim if config.columns == "all" else layout.n_voxels

    def transformed(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What x becomes, and the logarithm of the slope there."""
        raise NotImplementedError

    def restored(self, y: Tensor) -> Tensor:
        """x of what it became; it may be below 0 by rounding."""
        raise NotImplementedError

    def forward(self, x: Tensor, cond: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        y, log_slope = self.transformed(x[:, : self.end])
        return torch.cat([y, x[:, self.end :]], dim=1), cond, log_slope.sum(1)

    def inverse(self, x: Tensor, cond: Tensor) -> tuple[Tensor, Tensor]:
        return torch.cat([self.restored(x[:, : self.end]).clamp(min=0), x[:, self.end :]], dim=1), cond


@STEPS.register("log", config=LogConfig)
class Log(VoxelMap):
    """log(x + alpha), as in the published INN submission."""

    def transformed(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = (x + self.config.alpha).log()
        return y, -y

    def restored(self, y: Tensor) -> Tensor:
        return y.exp() - self.config.alpha


@STEPS.register("power", config=PowerConfig)
class Power(VoxelMap):
    """(x + alpha)^p - alpha^p with p up to 1: soft hits count more beside hard ones, 0 stays 0, and the slope there is finite."""

    def transformed(self, x: Tensor) -> tuple[Tensor, Tensor]:
        p, moved = self.config.exponent, x + self.config.alpha
        return moved**p - self.config.alpha**p, math.log(p) + (p - 1) * moved.log()

    def restored(self, y: Tensor) -> Tensor:
        p, alpha = self.config.exponent, self.config.alpha
        return (y.clamp(min=0) + alpha**p) ** (1 / p) - alpha


@STEPS.register("standardise", config=StandardiseConfig)
class Standardise(Step):
    """Zero mean and unit variance per column, fixed on the training split."""

    bijective: ClassVar[bool] = True
    mean: Tensor
    std: Tensor

    def __init__(self, config: StandardiseConfig, layout: Layout, dim: int, cond_dim: int) -> None:
        super().__init__(config, layout, dim, cond_dim)
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("std", torch.ones(dim))

    def fit(self, x: Tensor, cond: Tensor) -> None:
        self.mean.copy_(x.double().mean(0))
        self.std.copy_(x.double().std(0).clamp(min=self.config.floor))

    def forward(self, x: Tensor, cond: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return (x - self.mean) / self.std, cond, -self.std.log().sum().expand(x.shape[0])

    def inverse(self, x: Tensor, cond: Tensor) -> tuple[Tensor, Tensor]:
        if self.config.clip is not None:
            x = x.clamp(-self.config.clip, self.config.clip)
        return x * self.std + self.mean, cond


@STEPS.register("affine", config=LearnableAffineConfig)
class LearnableAffine(Step):
    """x exp(s) + b per column with learnable s and b, started at standardisation (Ernst 2023, section 4.4.2, learnable
    norm). Only in front of a network whose loss is a likelihood: the published norm in a VAE, whose decoder shares scale and
    shift, is another one and has no log-det.
    """

    learnable: ClassVar[bool] = True
    bijective: ClassVar[bool] = True

    def __init__(self, config: None, layout: Layout, dim: int, cond_dim: int) -> None:
        super().__init__(config, layout, dim, cond_dim)
        self.log_scale = torch.nn.Parameter(torch.zeros(dim))
        self.shift = torch.nn.Parameter(torch.zeros(dim))

    def fit(self, x: Tensor, cond: Tensor) -> None:
        std = x.double().std(0).clamp(min=1e-6)
        self.log_scale.data.copy_(-std.log())
        self.shift.data.copy_(-x.double().mean(0) / std)

    def forward(self, x: Tensor, cond: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return x * self.log_scale.exp() + self.shift, cond, self.log_scale.sum().expand(x.shape[0])

    def inverse(self, x: Tensor, cond: Tensor) -> tuple[Tensor, Tensor]:
        return (x - self.shift) * (-self.log_scale).exp(), cond


@STEPS.register("log_condition", config=LogConditionConfig)
class LogCondition(Step):
    """log of the incident energy in GeV, standardised on the training split, or log10 of its ratio to a fixed energy; other
    columns of the condition unchanged.
    """

    bijective: ClassVar[bool] = True
    mean: Tensor
    std: Tensor

    def __init__(self, config: LogConditionConfig, layout: Layout, dim: int, cond_dim: int) -> None:
        super().__init__(config, layout, dim, cond_dim)
        fixed = (0.0, 1.0) if config.reference is None else (math.log(config.reference / 1e3), math.log(10))
        self.register_buffer("mean", torch.tensor(fixed[:1]))
        self.register_buffer("std", torch.tensor(fixed[1:]))

    def fit(self, x: Tensor, cond: Tensor) -> None:
        if self.config.reference is not None:
            return
        log_energy = (cond[:, :1].double() / 1e3).log()
        self.mean.copy_(log_energy.mean(0))
        std = log_energy.std(0)
        self.std.copy_(torch.where(std > 1e-6, std, torch.ones_like(std)))

    def condition(self, cond: Tensor) -> Tensor:
        return torch.cat([((cond[:, :1] / 1e3).log() - self.mean) / self.std, cond[:, 1:]], dim=1)

    def forward(self, x: Tensor, cond: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return x, self.condition(cond), x.new_zeros(x.shape[0])

    def inverse(self, x: Tensor, cond: Tensor) -> tuple[Tensor, Tensor]:
        return x, torch.cat([(cond[:, :1] * self.std + self.mean).exp() * 1e3, cond[:, 1:]], dim=1)


@STEPS.register("standardise_condition", config=StandardiseConditionConfig)
class StandardiseCondition(Step):
    """Zero mean and unit variance of every column of the condition, fixed on the training split."""

    bijective: ClassVar[bool] = True
    mean: Tensor
    std: Tensor

    def __init__(self, config: StandardiseConditionConfig, layout: Layout, dim: int, cond_dim: int) -> None:
        super().__init__(config, layout, dim, cond_dim)
        self.register_buffer("mean", torch.zeros(cond_dim))
        self.register_buffer("std", torch.ones(cond_dim))

    def fit(self, x: Tensor, cond: Tensor) -> None:
        self.mean.copy_(cond.double().mean(0))
        std = cond.double().std(0)
        self.std.copy_(torch.where(std > 1e-6, std, torch.ones_like(std)))

    def condition(self, cond: Tensor) -> Tensor:
        return (cond - self.mean) / self.std

    def forward(self, x: Tensor, cond: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return x, self.condition(cond), x.new_zeros(x.shape[0])

    def inverse(self, x: Tensor, cond: Tensor) -> tuple[Tensor, Tensor]:
        return x, cond * self.std + self.mean
