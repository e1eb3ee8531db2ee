"""A VAE of layer fractions that sees finely binned layers through small convolutional networks (Ernst 2023, section 4.3.2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from calopipe.config.parts import MODELS
from calopipe.convolutions import Conv2d
from calopipe.models.autoencoders.settings import ConvVAEConfig
from calopipe.models.autoencoders.shower_vae import ShowerVAE
from calopipe.models.base import Inputs
from calopipe.models.building import surrounded


@MODELS.register("conv_vae", config=ConvVAEConfig)
class ConvVAE(ShowerVAE):
    """A ``shower_vae`` with a network of its own for each layer, before the encoder and after the decoder.

    Layers of more than one cell along both indices have 3x3 convolutions, in the neighbourhood of the smearing
    (:func:`calopipe.models.building.surrounded`); other layers and the conditions become some features each by a linear layer.
    The source says no more of it than that; sizes are ours.
    """

    def make_networks(self) -> tuple[nn.Module, nn.Module]:
        config, inputs = self.config, self.inputs
        front, back = LayersIn(config, inputs), LayersOut(config, inputs, self.numbers)
        encoder = self.dense([front.features, *config.hidden, 2 * self.latent_dim])
        decoder = self.dense([self.latent_dim + inputs.cond_dim, *reversed(config.hidden), back.features])
        return nn.Sequential(front, encoder), nn.Sequential(decoder, nn.ReLU(), back)


class Around(nn.Module):
    """A 3x3 convolution (N, C, a, b) -> (N, C', a, b) whose kernel sees the true neighbours of cells at the rim."""

    def __init__(self, given: int, channels: int, periodic: bool) -> None:
        super().__init__()
        self.convolution, self.periodic = Conv2d(given, channels, 3), periodic

    def forward(self, x: Tensor) -> Tensor:
        return self.convolution(surrounded(x, self.periodic))


def is_fine(shape: tuple[int, int]) -> bool:
    """Whether a layer has more than one cell along both indices."""
    return min(shape) > 1


class LayersIn(nn.Module):
    """Voxels and conditions (N, V + C) to the features of all layers and of the conditions, (N, features)."""

    def __init__(self, config: ConvVAEConfig, inputs: Inputs) -> None:
        super().__init__()
        self.sizes = [*inputs.layer_sizes, inputs.cond_dim]
        self.parts = nn.ModuleList()
        self.features = 0
        for shape, periodic in zip(inputs.layer_shapes, inputs.periodic, strict=True):
            self.features += config.channels[-1] * shape[0] * shape[1] if is_fine(shape) else config.features
            if not is_fine(shape):
                self.parts.append(nn.Sequential(nn.Linear(shape[0] * shape[1], config.features), nn.ReLU()))
                continue
            layers: list[nn.Module] = [nn.Unflatten(1, (1, *shape))]
            for given, channels in zip([1, *config.channels], config.channels, strict=False):
                layers += [Around(given, channels, periodic), nn.ReLU()]
            self.parts.append(nn.Sequential(*layers, nn.Flatten()))
        self.parts.append(nn.Sequential(nn.Linear(inputs.cond_dim, config.features), nn.ReLU()))
        self.features += config.features

    def forward(self, x: Tensor) -> Tensor:
        seen = zip(self.parts, x.split(self.sizes, dim=1), strict=True)
        return torch.cat([part(own) for part, own in seen], dim=1)


class LayersOut(nn.Module):
    """Features of all layers (N, features) to so many numbers per voxel, (N, numbers * V): all first ones, then all second."""

    def __init__(self, config: ConvVAEConfig, inputs: Inputs, numbers: int) -> None:
        super().__init__()
        self.numbers, self.sizes, self.parts = numbers, list[int](), nn.ModuleList()
        for shape, periodic in zip(inputs.layer_shapes, inputs.periodic, strict=True):
            cells = shape[0] * shape[1]
            self.sizes.append(config.channels[-1] * cells if is_fine(shape) else config.features)
            if not is_fine(shape):
                self.parts.append(nn.Linear(config.features, numbers * cells))
                continue
            widths = [*reversed(config.channels), numbers]
            layers: list[nn.Module] = [nn.Unflatten(1, (widths[0], *shape))]
            for i, (given, channels) in enumerate(zip(widths[:-1], widths[1:], strict=True)):
                layers += [nn.ReLU()] if i else []
                layers.append(Around(given, channels, periodic))
            self.parts.append(nn.Sequential(*layers, nn.Flatten()))
        self.features = sum(self.sizes)

    def forward(self, x: Tensor) -> Tensor:
        parts = zip(self.parts, x.split(self.sizes, dim=1), strict=True)
        return torch.cat([part(own).unflatten(1, (self.numbers, -1)) for part, own in parts], dim=2).flatten(1)
