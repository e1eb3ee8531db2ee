"""Terms of losses, as functions of data x, reconstructions and what a network says of a distribution."""

from __future__ import annotations

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


def mixture_log_likelihood(x: Tensor, weights: Tensor, mean: Tensor, log_var: Tensor) -> Tensor:
    """log p (N, G) of x (N, G) under mixtures of normals with log weights, means and log variances (N, K, G).

    The constant -log(2 pi) / 2 is left out.
    """
    log_p = weights - 0.5 * ((x[:, None] - mean).square() * (-log_var).exp() + log_var)
    return log_p.logsumexp(1) if weights.shape[1] > 1 else log_p[:, 0]
