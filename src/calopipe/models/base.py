"""The contracts of generative models, autoencoders and energy regressors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Cells:
    """What a network may know of its input.

    Attributes:
        layer_shapes: cells of each layer along its first and second index; the columns of x are the layers one after another,
            the second index running fastest.
        hits_given: the last columns of the condition, one per layer, are numbers of hits h = (n + r) / (V_l + 1), r in
            [0, 1), of layers with V_l cells.
    """

    layer_shapes: tuple[tuple[int, int], ...]
    hits_given: bool = False

    @property
    def layer_sizes(self) -> tuple[int, ...]:
        """Cells of each layer."""
        return tuple(a * b for a, b in self.layer_shapes)


class GenerativeModel(nn.Module):
    """A conditional density that can be sampled. Subclasses MUST give one row per row of `cond`, in order.

    Args:
        config: the model's settings.
        dim: columns of x. cond_dim: columns of cond.
        cells: what the columns of x are; None for latents.
        seed: seed of whatever is drawn when the model is built (weights are drawn from torch's global generator).

    Attributes:
        likelihood: the loss is the mean of -log p(x | cond) in nats, so that the log-det of a learnable preprocessing step
            belongs into it. A mark: to be said in the class body of each model that has one.
    """

    likelihood: ClassVar[bool] = False

    def __init__(self, config: Any, dim: int, cond_dim: int, seed: int = 0, cells: Cells | None = None) -> None:
        super().__init__()
        self.config, self.dim, self.cond_dim, self.seed, self.cells = config, dim, cond_dim, seed, cells

    def loss(self, x: Tensor, cond: Tensor) -> dict[str, Tensor]:
        """Scalars to log; the one called ``loss`` is minimised. x (N, dim), cond (N, cond_dim)."""
        raise NotImplementedError

    def sample(self, cond: Tensor) -> Tensor:
        """Draw x (N, dim) given cond (N, cond_dim)."""
        raise NotImplementedError


class Autoencoder(nn.Module):
    """An encoder to a Gaussian latent distribution and a decoder back, both conditioned.

    Attributes:
        latent_dim: columns of the latent space.
        likelihood: as in :class:`GenerativeModel`.
        as_shower: maps reconstructions (N, dim), given cond, to what they are once they have become showers: preprocessing
            undone, the readout threshold applied, preprocessed again. For losses that compare showers; the identity until
            the network is put together with its preprocessing.
        cells: what the columns of x are.
    """

    latent_dim: int
    likelihood: ClassVar[bool] = False

    def __init__(self, config: Any, dim: int, cond_dim: int, seed: int = 0, cells: Cells | None = None) -> None:
        super().__init__()
        self.config, self.dim, self.cond_dim, self.seed = config, dim, cond_dim, seed
        self.cells = cells or Cells(((1, dim),))
        self.as_shower: Callable[[Tensor, Tensor], Tensor] = _unchanged

    def fit_input(self, x: Tensor, cond: Tensor) -> None:
        """Set buffers that depend on the training data (input standardisation); called once before training."""

    def loss(self, x: Tensor, cond: Tensor) -> dict[str, Tensor]:
        """Scalars to log; the one called ``loss`` is minimised."""
        raise NotImplementedError

    def encode(self, x: Tensor, cond: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of the latent distribution, (N, latent_dim) each."""
        raise NotImplementedError

    def decode(self, z: Tensor, cond: Tensor) -> Tensor:
        """x (N, dim) of latents z (N, latent_dim); draws from the decoder's distribution where the model has one."""
        raise NotImplementedError


class EnergyRegressor(nn.Module):
    """A network that reads the incident energy off a shower. Its features are the last layer before the energy.

    `x` are voxel energies (N, dim) in MeV, without preprocessing: steps that use the incident energy would give it away.
    """

    likelihood: ClassVar[bool] = False

    def __init__(self, config: Any, dim: int, cond_dim: int, seed: int = 0) -> None:
        super().__init__()
        self.config, self.dim, self.cond_dim, self.seed = config, dim, cond_dim, seed

    def fit_input(self, x: Tensor, cond: Tensor) -> None:
        """Set buffers that depend on the training data (scales); called once before training."""

    def features(self, x: Tensor) -> Tensor:
        """Activations (N, F) of the last hidden layer."""
        raise NotImplementedError

    def energy(self, features: Tensor) -> Tensor:
        """Incident energies (N,) in MeV of features (N, F)."""
        raise NotImplementedError

    def loss(self, x: Tensor, cond: Tensor) -> dict[str, Tensor]:
        """Scalars to log; the one called ``loss`` is minimised. cond: incident energies (N, 1) in MeV."""
        raise NotImplementedError


def _unchanged(x: Tensor, cond: Tensor) -> Tensor:
    return x


def mlp(sizes: list[int], activation: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    """Linear layers of the given widths with `activation` between them (none after the last)."""
    layers: list[nn.Module] = []
    for i, (a, b) in enumerate(zip(sizes[:-1], sizes[1:], strict=True)):
        layers.append(nn.Linear(a, b))
        if i < len(sizes) - 2:
            layers.append(activation())
    return nn.Sequential(*layers)


def gaussian_kl(mu: Tensor, logvar: Tensor) -> Tensor:
    """KL(N(mu, exp(logvar)) || N(0, 1)) summed over the latent dimensions, (N,)."""
    return 0.5 * (mu.square() + logvar.exp() - 1 - logvar).sum(1)


def draw(mu: Tensor, logvar: Tensor) -> Tensor:
    """One reparametrised draw from N(mu, exp(logvar))."""
    return mu + (0.5 * logvar).exp() * torch.randn_like(mu)
