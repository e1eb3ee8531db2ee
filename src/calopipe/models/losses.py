"""Terms of losses, as functions of data x, reconstructions and what a network says of a distribution.

Those of autoencoders compare showers (N, V) with reconstructions and give one number. They leave out the factor 1/2 that the
sum of all has (:class:`calopipe.models.autoencoders.composed.ComposedLoss`).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from calopipe.models.base import Inputs
from calopipe.models.building import surrounded

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


def mixture_log_likelihood(x: Tensor, weights: Tensor, mean: Tensor, log_var: Tensor) -> Tensor:
    """log p (N, G) of x (N, G) under mixtures of normals with log weights, means and log variances (N, K, G).

    The constant -log(2 pi) / 2 is left out.
    """
    log_p = weights - 0.5 * ((x[:, None] - mean).square() * (-log_var).exp() + log_var)
    return log_p.logsumexp(1) if weights.shape[1] > 1 else log_p[:, 0]


def mse(x: Tensor, x_hat: Tensor) -> Tensor:
    """Mean squared difference."""
    return (x - x_hat).square().mean()


def mae(x: Tensor, x_hat: Tensor) -> Tensor:
    """Mean absolute difference."""
    return (x - x_hat).abs().mean()


def pole_map(x: Tensor, alpha: float, alpha_1: float) -> Tensor:
    """f(k) = k - 1 / k - 10 log(1 - k) of k = alpha + (1 - alpha - alpha_1) x for x in [0, 1]; x outside is moved to the nearer end.

    It rises from -1 / alpha, nearly, and its slope has poles at both ends: the squared error of f has large gradients where one
    of two values is close to 0, as the binary cross entropy has. Source: Ernst 2023, section 4.4.1, figure 37.
    """
    inner, slope = x.clamp(0, 1), 1 - alpha - alpha_1
    k = alpha + slope * inner
    return k - 1 / k - 10 * (alpha_1 + slope * (1 - inner)).log()


def smeared(x: Tensor, inputs: Inputs, own: float = 0.6, neighbours: float = 0.05) -> Tensor:
    """own * x + neighbours * (sum of x over the up to 8 neighbours in the layer), of voxels x (N, V).

    The neighbourhood is that of :func:`calopipe.models.building.surrounded`. Source: Ernst 2023, section 4.3.2; of layers of one
    cell in angle it says nothing: two neighbours in r.
    """
    out = []
    for part, shape, periodic in zip(x.split(inputs.layer_sizes, 1), inputs.layer_shapes, inputs.periodic, strict=True):
        rows = surrounded(part.unflatten(1, shape), periodic)
        rows = rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]
        around = (rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]).flatten(1) - part
        out.append(own * part + neighbours * around)
    return torch.cat(out, dim=1)


def activity_loss(x: Tensor, x_hat: Tensor, threshold: float = 0.1, softness: float = 0.2) -> Tensor:
    """Mean squared difference of the activities: the means over voxels of 1 / (1 + exp(-(v - t) / (s t))), v and t in MeV.

    Source: Ernst 2023, section 4.4.1; s is relative to t in the code.
    """
    soft = [torch.sigmoid((v - threshold) / (softness * threshold)).mean(1) for v in (x, x_hat)]
    return mse(soft[0], soft[1])


def centroids(x: Tensor, inputs: Inputs) -> Tensor:
    """Mean eta and phi of the energy in each layer, (N, L, 2) in mm; 0 where a layer has no energy."""
    assert inputs.centres is not None
    places = inputs.centres[:, 1:].to(x).split(inputs.layer_sizes)
    parts = zip(x.split(inputs.layer_sizes, 1), places, strict=True)
    return torch.stack([part @ place / part.sum(1, keepdim=True).clamp(min=1e-10) for part, place in parts], dim=1)


def centroid_loss(x: Tensor, x_hat: Tensor, inputs: Inputs) -> Tensor:
    """Mean squared difference, in mm^2, of the centroids along eta and phi of all layers (Ernst 2023, section 4.3.1)."""
    return mse(centroids(x, inputs), centroids(x_hat, inputs))


def decoder_width_loss(x: Tensor, mean: Tensor, log_var: Tensor) -> Tensor:
    """Mean of (x - mean)^2 / s^2 + log s^2 with a learned s (Ernst 2023, section 4.3.2)."""
    return ((x - mean).square() * (-log_var).exp() + log_var).mean()


def log_normaliser(mean: Tensor) -> Tensor:
    """log C of the continuous Bernoulli distribution C l^x (1 - l)^(1 - x), for l moved into [1e-5, 1 - 1e-5].

    C = 2 artanh(1 - 2 l) / (1 - 2 l), and 2 at l = 1/2, around which log C is a series. Source: Loaiza-Ganem 2019; clamp and
    series: Ernst 2023, code.
    """
    inner = mean.clamp(1e-5, 1 - 1e-5)
    y = 1 - 2 * inner
    near = y.abs() < 0.1
    far = torch.where(near, torch.full_like(y, 0.25), inner)
    series = (y.square() / 3 + y.pow(4) / 5 + y.pow(6) / 7).log1p()
    return torch.where(near, math.log(2) + series, ((torch.log1p(-far) - far.log()) / (1 - 2 * far)).log())


def continuous_bernoulli_mean(mean: Tensor) -> Tensor:
    """<x> of the continuous Bernoulli distribution, l / (2 l - 1) + 1 / (2 artanh(1 - 2 l)), for l in [0, 1]."""
    inner = mean.clamp(min=1e-30, max=1 - 1e-7)
    d = inner - 0.5
    near = d.abs() < 0.05
    far = torch.where(near, torch.full_like(d, 0.25), inner)
    series = 0.5 + d / 3 + 16 / 45 * d.pow(3) + 704 / 945 * d.pow(5)
    exact = far / (2 * far - 1) - 1 / (far.log() - torch.log1p(-far))
    return torch.where(near, series, torch.where(mean <= 0, torch.zeros_like(d), exact))
