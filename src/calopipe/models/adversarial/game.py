"""The game of a generator against a critic, played one of three ways: what each of the two minimises.

========  =======================================  ===========================  =========================================
way       critic                                   generator                    penalty of the critic
========  =======================================  ===========================  =========================================
gan       -log s(D(x)) - log(1 - s(D(G)))          -log s(D(G))                 none
gan_dp    the same                                 the same                     weight / 2 * |grad D(x)|^2 at data x
wgan_gp   D(G) - D(x)                              -D(G)                        weight * (|grad D| - 1)^2 between both
========  =======================================  ===========================  =========================================

D is the critic's logit, s the logistic function; all are means over a batch. The penalties act on the gradient of the logit.
Sources: Goodfellow 2014 (arXiv:1406.2661; the loss of the generator that does not saturate); Mescheder 2018
(arXiv:1801.04406, the penalty R1 at data); Arjovsky 2017 (arXiv:1701.07875) and Gulrajani 2017 (arXiv:1704.00028). Several models play
it, each with networks of its own.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from calopipe.models.adversarial.settings import GameSettings

Judge = Callable[[Tensor], Tensor]


class Game:
    """What critic and generator minimise, as settings say."""

    def __init__(self, config: GameSettings) -> None:
        self.way = config.loss
        self.penalty = config.penalty_weight
        self.smooth = config.label_smoothing

    def critic(self, judge: Judge, x: Tensor, fake: Tensor, judge_fake: Judge | None = None) -> dict[str, Tensor]:
        """The critic's loss on data x and samples `fake` (N, ...), which come without a gradient of their own.

        ``judge`` gives logits (N,); ``judge_fake`` those of samples, where the critic is told more of them than of data.
        """
        on_data, losses = self._penalised(judge, x, fake)
        on_fake = (judge_fake or judge)(fake)
        if self.way == "wgan_gp":
            distance = on_data.mean() - on_fake.mean()
            return {**losses, "loss": losses["penalty"] - distance, "wasserstein": distance.detach()}
        cross_entropy = _bce(on_data, 1 - self.smooth) + _bce(on_fake, self.smooth)
        return {**losses, "loss": losses["penalty"] + cross_entropy, "cross_entropy": cross_entropy.detach()}

    def generator(self, logits: Tensor) -> Tensor:
        """The generator's loss, of the critic's logits (N,) of its samples."""
        return -logits.mean() if self.way == "wgan_gp" else _bce(logits, 1.0)

    def outcome(self, on_data: Tensor, on_fake: Tensor) -> dict[str, Tensor]:
        """What is told of the game after an epoch: how well the critic tells both apart.

        Neither the distance nor the accuracy is a loss by which an epoch could be chosen: a small one may mean a good
        generator or a bad critic.
        """
        if self.way == "wgan_gp":
            return {"wasserstein": on_data.mean() - on_fake.mean()}
        right = 0.5 * ((on_data > 0).float().mean() + (on_fake <= 0).float().mean())
        return {"critic_accuracy": right}

    def _penalised(self, judge: Judge, x: Tensor, fake: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Logits of x, and the penalty, which at data needs no other pass of the critic."""
        if self.way == "gan" or self.penalty == 0:
            return judge(x), {"penalty": x.new_zeros(())}
        if self.way == "gan_dp":
            on_data, penalty = data_penalty(judge, x)
            return on_data, {"penalty": self.penalty * penalty}
        penalty = gradient_penalty(judge, x, fake)
        return judge(x), {"penalty": self.penalty * penalty}


def _bce(logits: Tensor, label: float) -> Tensor:
    return binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))


def gradient_penalty(critic: Judge, x: Tensor, fake: Tensor) -> Tensor:
    """Mean of (|grad D| - 1)^2 at points drawn uniformly between pairs of x and fake (N, ...), each; D gives (N,).

    Source: Gulrajani 2017 (arXiv:1704.00028), algorithm 1.
    """
    at = torch.rand(len(x), *[1] * (x.dim() - 1), device=x.device, dtype=x.dtype)
    _, gradient = _with_gradient(critic, at * x + (1 - at) * fake)
    return (gradient.norm(2, dim=1) - 1).square().mean()


def data_penalty(critic: Judge, x: Tensor) -> tuple[Tensor, Tensor]:
    """D's logits (N,) of data x (N, ...), and half the mean of |grad D|^2 there. Source: Mescheder 2018 (arXiv:1801.04406), R1."""
    logits, gradient = _with_gradient(critic, x)
    return logits, 0.5 * gradient.square().sum(1).mean()


def _with_gradient(critic: Judge, x: Tensor) -> tuple[Tensor, Tensor]:
    """D at x, and its gradient there (N, D), which can be differentiated again."""
    at = x.detach().requires_grad_()
    logits = critic(at)
    (gradient,) = torch.autograd.grad(logits.sum(), at, create_graph=True)
    return logits, gradient.flatten(1)
