"""Convolutional GANs of images (Radford 2015, arXiv:1511.06434; Albergo 2018, section 4.2, tables 4.2 and 4.3).

As in the code of Albergo 2018 no convolution has a bias, and weights start from N(0, 0.02), those of batch normalisation from
N(1, 0.02).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from calopipe.config.parts import MODELS
from calopipe.convolutions import Conv2d, ConvTranspose2d
from calopipe.models.adversarial.gan import Adversarial
from calopipe.models.adversarial.settings import Convolution, DCGANConfig
from calopipe.models.base import Inputs
from calopipe.models.building import output

_START = 0.02


@MODELS.register("dcgan", config=DCGANConfig)
class DCGAN(Adversarial):
    """Transposed convolutions from noise to an image, and a convolutional critic; each layer of the detector is a channel.

    Conditions are further channels of the noise, and channels of the critic's image that are the same everywhere.
    """

    def __init__(self, config: DCGANConfig, inputs: Inputs) -> None:
        super().__init__(config, inputs)
        self.noise_dim, self.image = config.noise, inputs.grid
        last = output(config.output, config.output_slope)
        self.generator = _up(config.noise + inputs.cond_dim, config.generator, last)
        norm = config.critic_norm and config.loss != "wgan_gp"
        self.critic = _down(self.image[0] + inputs.cond_dim, config.critic, norm)
        self.apply(_start)

    def fit_input(self, x: Tensor, cond: Tensor) -> None:
        self.conditions.fit(cond)

    def judge(self, x: Tensor, cond: Tensor) -> Tensor:
        image = x.unflatten(1, self.image)
        given = self.conditions(cond)[:, :, None, None].expand(-1, -1, *self.image[1:])
        return self.critic(torch.cat([image, given], dim=1)).flatten()

    def draw(self, noise: Tensor, cond: Tensor) -> Tensor:
        seed = torch.cat([noise, self.conditions(cond)], dim=1)
        return self.generator(seed[:, :, None, None]).flatten(1)


def _up(channels: int, layers: list[Convolution], last: nn.Module) -> nn.Sequential:
    made: list[nn.Module] = []
    for i, layer in enumerate(layers):
        made.append(ConvTranspose2d(channels, layer.channels, layer.kernel, layer.stride, layer.padding, bias=False))
        made += [nn.BatchNorm2d(layer.channels), nn.ReLU()] if i < len(layers) - 1 else [last]
        channels = layer.channels
    return nn.Sequential(*made)


def _down(channels: int, layers: list[Convolution], norm: bool) -> nn.Sequential:
    made: list[nn.Module] = []
    for i, layer in enumerate(layers):
        made.append(Conv2d(channels, layer.channels, layer.kernel, layer.stride, layer.padding, bias=False))
        if i < len(layers) - 1:
            # data and samples come in batches of their own: averages over both would fit neither
            made += [nn.BatchNorm2d(layer.channels, track_running_stats=False)] if norm and i else []
            made.append(nn.LeakyReLU(0.2))
        channels = layer.channels
    return nn.Sequential(*made)


def _start(module: nn.Module) -> None:
    if isinstance(module, Conv2d | ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, _START)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, _START)
