"""The bounded-information-bottleneck autoencoder (BIB-AE) of Buhmann 2021 (arXiv:2005.05334), after Voloshynovskiy 2019.

An autoencoder whose reconstructions are judged by a critic instead of a distance, and whose latents are pulled to the standard
normal distribution by three terms. Showers are decoded from normal numbers: some of them the latents, which alone the encoder
gives, the others noise that the decoder makes what it can of.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from calopipe.config.parts import MODELS
from calopipe.models.adversarial.bib_ae.networks import Decoder, Encoder, ImageCritic
from calopipe.models.adversarial.bib_ae.settings import BIBAEConfig
from calopipe.models.adversarial.game import Game
from calopipe.models.base import Autoencoder, Inputs, Now, Objective
from calopipe.models.building import Standardisation, draw, in_pieces, mlp
from calopipe.models.discrepancies import gaussian_mmd
from calopipe.models.losses import gaussian_kl

#: cells that pass the decoder or the critic at once, outside of training steps: some GB of its widest layer
_CELLS = 2**22


@dataclass(frozen=True)
class Code:
    """What the encoder makes of showers, and what the decoder is given.

    Attributes:
        mu, logvar: mean and log variance of the latents, (N, latent).
        z: a draw of the latents with noise behind it, (N, padded).
    """

    mu: Tensor
    logvar: Tensor
    z: Tensor


@MODELS.register("bib_ae", config=BIBAEConfig)
class BIBAE(Autoencoder):
    """Three objectives: a critic of images, one of latents, and encoder and decoder together, with what both critics say.

    The image critic judges pairs (x, what was made of x) against (x, x): its penalty is that of pairs, too. The latent critic
    reads one number at a time and gives a logit for each, (N, K) of K numbers: means go over all of them, and its penalty takes the
    gradient of all the numbers of a row together, as in the authors' code.

    There is no loss by which an epoch could be chosen (:meth:`calopipe.models.adversarial.game.Game.outcome`).
    """

    def __init__(self, config: BIBAEConfig, inputs: Inputs) -> None:
        super().__init__(config, inputs)
        self.game, self.grid = Game(config), inputs.grid
        self.conditions = Standardisation(inputs.cond_dim)
        self.encoder = Encoder(config, self.grid, inputs.cond_dim)
        self.decoder = Decoder(config, self.grid, inputs.cond_dim)
        self.image_critic = ImageCritic(config, self.grid, inputs.cond_dim)
        self.latent_critic = mlp([1, *config.latent_critic, 1], partial(nn.LeakyReLU, 0.01))

    def fit_input(self, x: Tensor, cond: Tensor) -> None:
        self.conditions.fit(cond)

    def objectives(self) -> dict[str, Objective]:
        both = [*self.encoder.parameters(), *self.decoder.parameters()]
        return {
            "image_critic": Objective(list(self.image_critic.parameters())),
            "latent_critic": Objective(list(self.latent_critic.parameters())),
            "autoencoder": Objective(both, every=self.config.n_critic),
        }

    def step(self, objective: str, x: Tensor, cond: Tensor, now: Now) -> dict[str, Tensor]:
        image, given = self._images(x), self.conditions(cond)
        if objective == "autoencoder":
            return self._autoencoder(image, given)
        with torch.no_grad():
            code = self.code(image, given)
            made = self.decoder(code.z, given) if objective == "image_critic" else image
        if objective == "image_critic":
            return self.game.critic(
                lambda pair: self.image_critic(pair, given), _pair(image, image), _pair(image, made)
            )
        z = self._judged(code.z)
        losses = self.game.critic(self.judge_latents, torch.randn_like(z), z)
        return {name if name == "loss" else f"latent_{name}": value for name, value in losses.items()}

    def _autoencoder(self, image: Tensor, given: Tensor) -> dict[str, Tensor]:
        code, weights = self.code(image, given), self.config
        made, z = self.decoder(code.z, given), self._judged(code.z)
        terms = self._latent_terms(code)
        terms["game"] = self.game.generator(self.image_critic(_pair(image, made), given))
        terms["latent_game"] = self.game.generator(self.judge_latents(z))
        loss = weights.adversarial * terms["game"] + weights.latent_adversarial * terms["latent_game"]
        loss = loss + weights.beta * terms["kl"] + weights.mmd * terms["mmd"]
        return {"loss": loss, **{name: value.detach() for name, value in terms.items()}}

    def validate(self, x: Tensor, cond: Tensor) -> dict[str, Tensor]:
        image, given = self._images(x), self.conditions(cond)
        code = self.code(image, given)
        made, z = self._decoded(code.z, given), self._judged(code.z)
        judged = [self._in_pieces(self.image_critic, _pair(image, other), given) for other in (image, made)]
        latents = self.game.outcome(self.judge_latents(torch.randn_like(z)), self.judge_latents(z))
        figures = {**self.game.outcome(*judged), **{f"latent_{name}": value for name, value in latents.items()}}
        return {**figures, **self._latent_terms(code), "squared_error": (made - image).square().mean()}

    def encode(self, x: Tensor, cond: Tensor) -> tuple[Tensor, Tensor]:
        return self.encoder(self._images(x), self.conditions(cond))

    def decode(self, z: Tensor, cond: Tensor) -> Tensor:
        return self.draw(self._padded(z), cond)

    def draw(self, noise: Tensor, cond: Tensor) -> Tensor:
        """x (N, dim) of all the numbers that the decoder is given (N, padded), row by row and free of randomness."""
        return self._decoded(noise, self.conditions(cond)).flatten(1) * self.config.unit

    def code(self, image: Tensor, given: Tensor) -> Code:
        """Latents of images (N, 1, L, A, B) and what the decoder is given, with standardised conditions (N, C)."""
        mu, logvar = self.encoder(image, given)
        return Code(mu, logvar, self._padded(draw(mu, logvar)))

    def judge_latents(self, z: Tensor) -> Tensor:
        """The latent critic's logits (N, K) of numbers (N, K), each of its own number alone."""
        return self.latent_critic(z.unsqueeze(-1)).squeeze(-1)

    def _latent_terms(self, code: Code) -> dict[str, Tensor]:
        z = self._judged(code.z)
        mmd = gaussian_mmd(z, torch.randn_like(z), self.config.mmd_alphas)
        return {"kl": gaussian_kl(code.mu, code.logvar).mean(), "mmd": mmd}

    def _judged(self, z: Tensor) -> Tensor:
        """The numbers that critic and discrepancy of the latents see."""
        return z if self.config.latent_terms == "all" else z[:, : self.latent_dim]

    def _padded(self, z: Tensor) -> Tensor:
        """Latents with standard normal noise behind them."""
        return torch.cat([z, z.new_empty(len(z), self.config.padded - self.latent_dim).normal_()], dim=1)

    def _images(self, x: Tensor) -> Tensor:
        return (x / self.config.unit).unflatten(1, (1, *self.grid))

    def _decoded(self, z: Tensor, given: Tensor) -> Tensor:
        return self._in_pieces(self.decoder, z, given)

    def _in_pieces(self, network: nn.Module, *arguments: Tensor) -> Tensor:
        return in_pieces(network, max(1, _CELLS // self.dim), *arguments)


def _pair(first: Tensor, second: Tensor) -> Tensor:
    """Images (N, 1, ...) side by side, (N, 2, ...)."""
    return torch.cat([first, second], dim=1)
