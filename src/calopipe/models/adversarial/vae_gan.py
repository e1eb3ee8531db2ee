"""VAE-GAN of calorimeter images (Bieringer 2022, section 2, figures 2 and 3; Larsen 2015, arXiv:1512.09300).

A VAE whose reconstructions are judged by a critic instead of pixel by pixel. Generator and critic are after LAGAN (Oliveira
2017); sizes that the paper leaves to a figure are chosen (docs/differences.md).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from calopipe.config.parts import MODELS
from calopipe.convolutions import Conv2d
from calopipe.models.adversarial.game import Game
from calopipe.models.adversarial.local import LocallyConnected2d, MinibatchDiscrimination
from calopipe.models.adversarial.settings import VAEGANConfig
from calopipe.models.base import GenerativeModel, Inputs, Now, Objective
from calopipe.models.building import Standardisation, draw
from calopipe.models.losses import gaussian_kl

_SLOPE = 0.2


@MODELS.register("vae_gan", config=VAEGANConfig)
class VAEGAN(GenerativeModel):
    """Images of one layer. The critic also sees by how much a reconstruction differs from its image; of data, 0.

    A latent z is drawn once per image and step. Samples come from z ~ N(0, 1), to which the KL term pulls the encoder. Conditions
    are inputs of the encoder's heads, of the generator and of the critic's last layer.
    """

    def __init__(self, config: VAEGANConfig, inputs: Inputs) -> None:
        super().__init__(config, inputs)
        self.noise_dim, self.image = config.latent, (1, *inputs.layer_shapes[0])
        self.game = Game(config)
        self.conditions = Standardisation(inputs.cond_dim)
        self.encoder = Encoder(config, self.image, inputs.cond_dim)
        self.generator = ImageGenerator(config, self.image, inputs.cond_dim)
        self.critic = ImageCritic(config, self.image, inputs.cond_dim)

    def fit_input(self, x: Tensor, cond: Tensor) -> None:
        self.conditions.fit(cond)

    def objectives(self) -> dict[str, Objective]:
        made = [*self.encoder.parameters(), *self.generator.parameters()]
        return {
            "critic": Objective(list(self.critic.parameters())),
            "generator": Objective(made, every=self.config.n_critic),
        }

    def step(self, objective: str, x: Tensor, cond: Tensor, now: Now) -> dict[str, Tensor]:
        if objective == "generator":
            mu, logvar = self.encode(x, cond)
            made = self.draw(draw(mu, logvar), cond)
            game = self.game.generator(self.judge(made, cond, x - made))
            kl = gaussian_kl(mu, logvar).mean()
            return {"loss": game + self.config.beta * kl, "game": game.detach(), "kl": kl.detach()}
        with torch.no_grad():
            made = self.draw(draw(*self.encode(x, cond)), cond)
        return self.game.critic(
            lambda at: self.judge(at, cond), x, made, judge_fake=lambda at: self.judge(at, cond, x - at)
        )

    def validate(self, x: Tensor, cond: Tensor) -> dict[str, Tensor]:
        mu, logvar = self.encode(x, cond)
        made = self.draw(draw(mu, logvar), cond)
        told = self.game.outcome(self.judge(x, cond), self.judge(made, cond, x - made))
        return {**told, "kl": gaussian_kl(mu, logvar).mean(), "squared_error": (x - made).square().mean()}

    def encode(self, x: Tensor, cond: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance (N, latent) of images (N, dim)."""
        mu, logvar = self.encoder(x.unflatten(1, self.image), self.conditions(cond))
        return mu, logvar.clamp(-20, 10)

    def judge(self, x: Tensor, cond: Tensor, difference: Tensor | None = None) -> Tensor:
        """The critic's logits (N,) of images (N, dim), and of by how much they differ from what they reconstruct."""
        other = torch.zeros_like(x) if difference is None else difference
        return self.critic(x.unflatten(1, self.image), other, self.conditions(cond))

    def draw(self, noise: Tensor, cond: Tensor) -> Tensor:
        return self.generator(torch.cat([noise, self.conditions(cond)], dim=1)).flatten(1)


class Encoder(nn.Module):
    """Three 3x3 convolutions, the last two of stride 2, and two linear heads."""

    def __init__(self, config: VAEGANConfig, image: tuple[int, int, int], cond_dim: int) -> None:
        super().__init__()
        a, b, c = config.encoder
        self.convolutions = nn.Sequential(
            Conv2d(image[0], a, 3, 1, 1), nn.LeakyReLU(_SLOPE), Conv2d(a, b, 3, 2, 1), nn.LeakyReLU(_SLOPE),
            Conv2d(b, c, 3, 2, 1), nn.ReLU(), nn.Flatten(),
        )  # fmt: skip
        features = c * _quarter(image[1]) * _quarter(image[2]) + cond_dim
        self.mean, self.log_variance = nn.Linear(features, config.latent), nn.Linear(features, config.latent)

    def forward(self, image: Tensor, cond: Tensor) -> tuple[Tensor, Tensor]:
        seen = torch.cat([self.convolutions(image), cond], dim=1)
        return self.mean(seen), self.log_variance(seen)


class ImageGenerator(nn.Sequential):
    """A coarse image from a dense layer, a 5x5 convolution, and locally connected layers on the way to the whole image."""

    def __init__(self, config: VAEGANConfig, image: tuple[int, int, int], cond_dim: int) -> None:
        coarse = (_coarse(image[1]), _coarse(image[2]))
        twice, whole = (2 * coarse[0], 2 * coarse[1]), (4 * coarse[0], 4 * coarse[1])
        local, upper = config.local, config.upper
        once_less = (whole[0] - 1, whole[1] - 1)
        last = (once_less[0] - image[1] + 1, once_less[1] - image[2] + 1)  # what is left to the size of the image
        super().__init__(
            nn.Linear(config.latent + cond_dim, config.dense * coarse[0] * coarse[1]),
            nn.Unflatten(1, (config.dense, *coarse)),
            Conv2d(config.dense, upper, 5, 1, 2), nn.LeakyReLU(_SLOPE), nn.BatchNorm2d(upper), nn.Upsample(scale_factor=2),
            LocallyConnected2d(twice, upper, local, (3, 3), padding=1),
            nn.LeakyReLU(_SLOPE), nn.BatchNorm2d(local), nn.Upsample(scale_factor=2),
            LocallyConnected2d(whole, local, local, (2, 2)), nn.LeakyReLU(_SLOPE),
            LocallyConnected2d(once_less, local, image[0], last, bias=False), nn.ReLU(),
        )  # fmt: skip


class ImageCritic(nn.Module):
    """A convolution and three locally connected layers with spectral norm; its last layer sees their features, what minibatch
    discrimination makes of them, the difference image and the conditions.
    """

    def __init__(self, config: VAEGANConfig, image: tuple[int, int, int], cond_dim: int) -> None:
        super().__init__()
        cells, local = image[1:], config.critic_local

        def then(layer: nn.Module) -> list[nn.Module]:
            return [spectral_norm(layer), nn.LeakyReLU(_SLOPE), nn.Dropout(config.dropout)]

        first = LocallyConnected2d(cells, config.critic, local, (5, 5), padding=2)
        second = LocallyConnected2d(first.out, local, local, (5, 5), stride=2, padding=2)
        third = LocallyConnected2d(second.out, local, local, (3, 3), padding=1)
        layers = [Conv2d(image[0], config.critic, 5, 1, 2), first, second, third]
        self.features = nn.Sequential(*(part for layer in layers for part in then(layer)), nn.Flatten())
        n = local * third.out[0] * third.out[1]
        self.neighbours = MinibatchDiscrimination(n, config.kernels, config.kernel_dim)
        self.last = spectral_norm(nn.Linear(n + config.kernels + image[1] * image[2] + cond_dim, 1))

    def forward(self, image: Tensor, difference: Tensor, cond: Tensor) -> Tensor:
        seen = self.features(image)
        return self.last(torch.cat([seen, self.neighbours(seen), difference, cond], dim=1))[:, 0]


def _quarter(cells: int) -> int:
    """Cells behind two convolutions of stride 2."""
    return -(-cells // 4)


def _coarse(cells: int) -> int:
    """Cells of the coarse image: four times as many are two more than the image has, or a few more."""
    return -(-(cells + 2) // 4)
