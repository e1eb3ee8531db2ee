"""Conditional Wasserstein GAN with gradient penalty, both networks fully connected.

Sources: Arjovsky 2017 (arXiv:1701.07875), the Wasserstein GAN; Gulrajani 2017 (arXiv:1704.00028, algorithm 1), the gradient
penalty. The conditions are inputs of both networks.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from calopipe.config.parts import MODELS
from calopipe.models.adversarial.settings import WGANGPConfig
from calopipe.models.base import GenerativeModel, Inputs, Now, Objective
from calopipe.models.building import Standardisation, mlp
from calopipe.models.losses import gradient_penalty

_OUTPUTS = {"linear": nn.Identity, "relu": nn.ReLU, "sigmoid": nn.Sigmoid}


@MODELS.register("wgan_gp", config=WGANGPConfig)
class WGANGP(GenerativeModel):
    """A generator that moves its samples to where a critic says that data are; the critic is Lipschitz by a penalty.

    Columns should be of order one, which is for the preprocessing to see to; conditions are standardised here. Validation gives
    the critic's estimate of the Wasserstein distance, mean D(x) - mean D(G(z)): it says how well the critic tells samples
    from data, and small values may mean a good generator or a bad critic. So there is no loss that would choose an epoch.
    """

    def __init__(self, config: WGANGPConfig, inputs: Inputs) -> None:
        super().__init__(config, inputs)
        self.noise_dim = config.noise
        activation = partial(nn.LeakyReLU, config.negative_slope)
        self.generator = mlp([config.noise + inputs.cond_dim, *config.generator, inputs.dim], activation)
        self.generator.append(_OUTPUTS[config.output]())
        self.critic = mlp([inputs.dim + inputs.cond_dim, *config.critic, 1], activation)
        self.conditions = Standardisation(inputs.cond_dim)

    def fit_input(self, x: Tensor, cond: Tensor) -> None:
        self.conditions.fit(cond)

    def objectives(self) -> dict[str, Objective]:
        return {
            "critic": Objective(list(self.critic.parameters())),
            "generator": Objective(list(self.generator.parameters()), every=self.config.n_critic),
        }

    def step(self, objective: str, x: Tensor, cond: Tensor, now: Now) -> dict[str, Tensor]:
        if objective == "generator":
            return {"loss": -self.judge(self._fake(x, cond), cond).mean()}
        with torch.no_grad():
            fake = self._fake(x, cond)
        distance = self.judge(x, cond).mean() - self.judge(fake, cond).mean()
        penalty = gradient_penalty(lambda between: self.judge(between, cond), x, fake)
        loss = self.config.penalty * penalty - distance
        return {"loss": loss, "wasserstein": distance.detach(), "penalty": penalty.detach()}

    def validate(self, x: Tensor, cond: Tensor) -> dict[str, Tensor]:
        return {"wasserstein": self.judge(x, cond).mean() - self.judge(self._fake(x, cond), cond).mean()}

    def judge(self, x: Tensor, cond: Tensor) -> Tensor:
        """The critic's value (N,) of x (N, dim) given cond (N, cond_dim)."""
        return self.critic(torch.cat([x, self.conditions(cond)], dim=1))[:, 0]

    def draw(self, noise: Tensor, cond: Tensor) -> Tensor:
        return self.generator(torch.cat([noise, self.conditions(cond)], dim=1))

    def _fake(self, x: Tensor, cond: Tensor) -> Tensor:
        return self.draw(x.new_empty(len(x), self.noise_dim).normal_(), cond)
