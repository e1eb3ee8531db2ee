"""Conditional GANs whose networks are fully connected; the loss is one of three (:mod:`calopipe.models.adversarial.game`).

The conditions are inputs of both networks (Mirza 2014, arXiv:1411.1784).
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from calopipe.config.parts import MODELS
from calopipe.models.adversarial.game import Game
from calopipe.models.adversarial.settings import GameSettings, GANConfig
from calopipe.models.base import GenerativeModel, Inputs, Now, Objective
from calopipe.models.building import Standardisation, mlp, output


class Adversarial(GenerativeModel):
    """A generator that learns from what a critic says of its samples.

    Subclasses MUST set ``generator`` and ``critic``, modules of (noise or x, conditions), and ``noise_dim``. There is no loss that
    would choose an epoch (:meth:`Game.outcome`): training ends with its last weights.
    """

    generator: nn.Module
    critic: nn.Module

    def __init__(self, config: GameSettings, inputs: Inputs) -> None:
        super().__init__(config, inputs)
        self.game = Game(config)
        self.conditions = Standardisation(inputs.cond_dim)

    def objectives(self) -> dict[str, Objective]:
        return {
            "critic": Objective(list(self.critic.parameters())),
            "generator": Objective(list(self.generator.parameters()), every=self.config.n_critic),
        }

    def step(self, objective: str, x: Tensor, cond: Tensor, now: Now) -> dict[str, Tensor]:
        if objective == "generator":
            return {"loss": self.game.generator(self.judge(self.fake(x, cond), cond))}
        with torch.no_grad():
            fake = self.fake(x, cond)
        return self.game.critic(lambda at: self.judge(at, cond), x, fake)

    def validate(self, x: Tensor, cond: Tensor) -> dict[str, Tensor]:
        return self.game.outcome(self.judge(x, cond), self.judge(self.fake(x, cond), cond))

    def judge(self, x: Tensor, cond: Tensor) -> Tensor:
        """The critic's logits (N,) of x (N, dim) given cond (N, cond_dim)."""
        return self.critic(torch.cat([x, self.conditions(cond)], dim=1))[:, 0]

    def draw(self, noise: Tensor, cond: Tensor) -> Tensor:
        return self.generator(torch.cat([noise, self.conditions(cond)], dim=1))

    def fake(self, x: Tensor, cond: Tensor) -> Tensor:
        """One sample (N, dim) for each row of cond."""
        return self.draw(x.new_empty(len(x), self.noise_dim).normal_(), cond)


@MODELS.register("gan", config=GANConfig)
class GAN(Adversarial):
    """Fully connected generator and critic. Columns should be of order one, which is for the preprocessing to see to."""

    def __init__(self, config: GANConfig, inputs: Inputs) -> None:
        super().__init__(config, inputs)
        self.noise_dim = config.noise
        activation = partial(nn.LeakyReLU, config.negative_slope)
        self.generator = mlp([config.noise + inputs.cond_dim, *config.generator, inputs.dim], activation)
        self.generator.append(output(config.output, config.output_slope))
        self.critic = mlp([inputs.dim + inputs.cond_dim, *config.critic, 1], activation)

    def fit_input(self, x: Tensor, cond: Tensor) -> None:
        if self.config.conditions == "standardised":
            self.conditions.fit(cond)
