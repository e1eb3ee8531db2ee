"""A small GAN on logits of layer fractions, with two optimisers."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import softplus

from calopipe.config.chains import ModelSettings
from calopipe.config.parts import MODELS
from calopipe.models.base import GenerativeModel, Inputs, Now, Objective
from calopipe.models.building import mlp


class GANSettings(ModelSettings):
    """Settings of :class:`OwnGAN`."""

    objectives: ClassVar[tuple[str, ...]] = ("critic", "generator")

    hidden: int = Field(64, gt=0, description="hidden width of both networks")


@MODELS.register("own_gan", config=GANSettings)
class OwnGAN(GenerativeModel):
    """Generator and critic, fully connected."""

    def __init__(self, config: GANSettings, inputs: Inputs) -> None:
        super().__init__(config, inputs)
        self.noise_dim = 8
        self.generator = mlp([8 + inputs.cond_dim, config.hidden, inputs.dim])
        self.critic = mlp([inputs.dim + inputs.cond_dim, config.hidden, 1])

    def objectives(self) -> dict[str, Objective]:
        return {
            "critic": Objective(list(self.critic.parameters())),
            "generator": Objective(list(self.generator.parameters()), every=2),
        }

    def draw(self, noise: Tensor, cond: Tensor) -> Tensor:
        return self.generator(torch.cat([noise, cond], 1))

    def step(self, objective: str, x: Tensor, cond: Tensor, now: Now) -> dict[str, Tensor]:
        fake = self.draw(torch.randn(len(x), 8, device=x.device), cond)
        judged = self.critic(torch.cat([fake, cond], 1))
        if objective == "generator":
            return {"loss": softplus(-judged).mean()}
        return {"loss": softplus(judged).mean() + softplus(-self.critic(torch.cat([x, cond], 1))).mean()}

    def validate(self, x: Tensor, cond: Tensor) -> dict[str, Tensor]:
        gap = self.critic(torch.cat([x, cond], 1)).mean() - self.critic(torch.cat([self.sample(cond), cond], 1)).mean()
        return {"gap": gap.abs()}
