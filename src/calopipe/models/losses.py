"""Terms of losses, as functions of data x, reconstructions and what a network says of a distribution."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

_TINY = 1e-30  # inside logarithms; float32 holds it


def gaussian_kl(mu: Tensor, logvar: Tensor) -> Tensor:
    """KL(N(mu, exp(logvar)) || N(0, 1)) summed over the latent dimensions, (N,)."""
    return 0.5 * (mu.square() + logvar.exp() - 1 - logvar).sum(1)


def bernoulli_loss(x: Tensor, mean: Tensor) -> Tensor:
    """Mean over all entries of -x log(mean) - (1 - x) log(1 - mean), for x and mean in [0, 1].

    A mean of 0 or 1 has a large finite loss and no gradient: a voxel that the threshold has cut learns nothing.
    """
    return -(x * mean.clamp(min=_TINY).log() + (1 - x) * torch.log1p(-mean.clamp(max=1 - 1e-7))).mean()


def gaussian_nll(x: Tensor, mean: Tensor, log_var: Tensor) -> Tensor:
    """-log N(x; mean, exp(log_var)) summed over the columns, (N,), in nats."""
    return 0.5 * ((x - mean).square() * (-log_var).exp() + log_var + math.log(2 * math.pi)).sum(1)


def gradient_penalty(critic: Callable[[Tensor], Tensor], x: Tensor, fake: Tensor) -> Tensor:
    """Mean of (|grad D| - 1)^2 at points drawn uniformly between pairs of x and fake (N, dim), each; D gives (N,).

    Source: Gulrajani 2017 (arXiv:1704.00028), algorithm 1.
    """
    at = torch.rand(len(x), 1, device=x.device, dtype=x.dtype)
    between = (at * x + (1 - at) * fake).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    return (gradient.norm(2, dim=1) - 1).square().mean()


def mixture_log_likelihood(x: Tensor, weights: Tensor, mean: Tensor, log_var: Tensor) -> Tensor:
    """log p (N, G) of x (N, G) under mixtures of normals with log weights, means and log variances (N, K, G).

    The constant -log(2 pi) / 2 is left out.
    """
    log_p = weights - 0.5 * ((x[:, None] - mean).square() * (-log_var).exp() + log_var)
    return log_p.logsumexp(1) if weights.shape[1] > 1 else log_p[:, 0]
