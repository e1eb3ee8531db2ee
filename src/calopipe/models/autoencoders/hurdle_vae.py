"""Conditional VAE whose decoder is a hurdle likelihood: is the voxel hit, and if so, how much energy.

A decoder that returns a mean gives showers without voxel-to-voxel noise, which any classifier sees (Ernst 2023,
section 4.3.1, "reduced randomness of the VAE"). Here the decoder is a distribution that can be drawn from: a Bernoulli
variable for x > 0 and, given that, a mixture of normals in logit x with learned means and widths (log sigma^2 clipped as
in the learned decoder width of Ernst 2023, section 4.3.2). The loss is then a true evidence lower bound for beta = 1.
Hurdle models: Mullahy 1986.

Neighbouring cells are hit together, far more often than a latent vector of the whole shower can say. With ``groups`` the
voxels of a layer are drawn in so many steps, no two neighbours in one, and each step knows the hits and energies of the
steps before (:mod:`calopipe.models.neighbourhood`). The latent vector is left with what is common to all.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from calopipe import hits
from calopipe.config.parts import MODELS
from calopipe.models.autoencoders import hurdle_few_rows
from calopipe.models.autoencoders.settings import HurdleVAEConfig
from calopipe.models.base import Autoencoder, Inputs
from calopipe.models.building import Standardisation, alpha_logit, alpha_sigmoid, draw, draw_mixture, mlp
from calopipe.models.losses import gaussian_kl, mixture_log_likelihood
from calopipe.models.neighbourhood import Neighbourhood

#: x of a hit whose energy is rounded to nothing
TINY = 1e-12


@MODELS.register("hurdle_vae", config=HurdleVAEConfig)
class HurdleVAE(Autoencoder):
    """x in [0, 1] (layer fractions, 0 where no energy) with conditions (N, cond_dim); all losses in nats per shower.

    Where the condition ends with numbers of hits (``inputs.hits_given``), showers have just so many in each layer.
    """

    sizes: Tensor
    layer_of: Tensor
    decoder: nn.Sequential
    near: Neighbourhood
    voxels: Standardisation
    conditions: Standardisation

    def __init__(self, config: HurdleVAEConfig, inputs: Inputs) -> None:
        super().__init__(config, inputs)
        dim, cond_dim = inputs.dim, inputs.cond_dim
        shapes = inputs.layer_shapes or ((1, dim),)
        self.encoder = mlp([2 * dim + cond_dim, *config.hidden, 2 * config.latent], nn.SiLU)
        k = config.components
        self.numbers = 3 if k == 1 else 1 + 3 * k
        self.decoder = mlp([config.latent + cond_dim, *reversed(config.hidden), self.numbers * dim], nn.SiLU)
        self.near = Neighbourhood(shapes, config.groups, self.numbers, 2)
        self.voxels, self.conditions = Standardisation(dim), Standardisation(cond_dim)
        sizes = torch.tensor([a * b for a, b in shapes])
        self.register_buffer("sizes", sizes, persistent=False)
        self.register_buffer("layer_of", torch.arange(len(sizes)).repeat_interleave(sizes), persistent=False)
        self.counts: list[
            list[int]
        ] = []  # of each group's voxels, how many lie in each layer; "order_<group>" takes them layer by layer
        for group, columns in enumerate(self.near.columns):
            layers = self.layer_of[columns]
            self.counts.append(torch.bincount(layers, minlength=len(sizes)).tolist())
            self.register_buffer(f"order_{group}", layers.argsort(stable=True), persistent=False)

    def fit_input(self, x: Tensor, cond: Tensor) -> None:
        hit = (x > 0).double()
        logits = self._logit(x).double()
        prior = self.config.cell_prior
        n = (hit.sum(0) + prior).clamp(min=1)
        average = (logits * hit).sum() / hit.sum().clamp(min=1)
        variance = ((logits - average).square() * hit).sum() / hit.sum().clamp(min=1)
        mean = ((logits * hit).sum(0) + prior * average) / n
        std = ((((logits - mean).square() * hit).sum(0) + prior * variance) / n).sqrt().clamp(min=0.1)
        self.voxels.set(mean, std)
        self.conditions.fit(self._cond_logit(cond))

    def _logit(self, x: Tensor) -> Tensor:
        return alpha_logit(x, self.config.alpha)

    def _cond_logit(self, cond: Tensor) -> Tensor:
        """First column as it is; the others, fractions, through the logit, numbers of hits without their noise."""
        rest = cond[:, 1:]
        if self.inputs.hits_given:
            rest = torch.cat([rest[:, : -len(self.sizes)], (self._hits(cond) + 0.5) / (self.sizes + 1)], dim=1)
        return torch.cat([cond[:, :1], self._logit(rest)], dim=1)

    def _hits(self, cond: Tensor) -> Tensor:
        """Numbers of hits (N, L) that the condition asks for."""
        return hits.count(cond[:, -len(self.sizes) :], self.sizes)

    def _condition(self, cond: Tensor) -> Tensor:
        return self.conditions(self._cond_logit(cond))

    def _standardised(self, x: Tensor) -> tuple[Tensor, Tensor]:
        hit = (x > 0).to(x.dtype)
        return self.voxels(self._logit(x)) * hit, hit

    def encode(self, x: Tensor, cond: Tensor) -> tuple[Tensor, Tensor]:
        y, hit = self._standardised(x)
        mu, logvar = self.encoder(torch.cat([y, hit, self._condition(cond)], dim=1)).chunk(2, dim=1)
        return mu, logvar.clamp(-20, 10)

    def _base(self, z: Tensor, cond: Tensor) -> Tensor:
        """What the decoder says of all voxels before any is drawn, (N, numbers, D)."""
        return self.decoder(torch.cat([z, self._condition(cond)], dim=1)).view(len(z), self.numbers, self.dim)

    @property
    def _k(self) -> int:
        return self.config.components

    def _split(self, numbers: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Logits of hits (N, G); log weights, means and log variances (N, K, G) of the logit of a hit's x."""
        k = self._k
        mean, log_var = numbers[:, 1 : 1 + k], numbers[:, 1 + k : 1 + 2 * k].clamp(*self.config.log_var_range)
        weights = numbers[:, 1 + 2 * k :].log_softmax(1) if k > 1 else torch.zeros_like(mean)
        return numbers[:, 0], weights, mean, log_var

    def _expected(self, base: Tensor) -> tuple[Tensor, Tensor]:
        """Probability of a hit and mean of a hit's standardised logit (N, D), before any voxel is drawn."""
        logit, weights, mean, _ = self._split(base)
        return torch.sigmoid(logit), (weights.exp() * mean).sum(1)

    @property
    def least(self) -> float:
        """x of a hit at least: where numbers of hits are given, none is lost."""
        return TINY if self.inputs.hits_given else 0.0

    def decode(self, z: Tensor, cond: Tensor) -> Tensor:
        if (drawn := hurdle_few_rows.decode(self, z, cond)) is not None:
            return drawn
        base = self._base(z, cond)
        p, average = self._expected(base)
        x, known, left = torch.zeros_like(p), base.new_zeros(len(z), 2, self.dim), p.clone()
        wanted = self._hits(cond) if self.inputs.hits_given else None
        groups = self.near.columns
        for group, columns in enumerate(groups):
            # the first group has no network that would look at it
            rate = left if self.near.groups == 1 else self._rate(wanted, left)
            logit, weights, mean, log_var = self._split(self.near(group, base, known, rate))
            left[:, columns] = 0
            hit = self._draw_hits(group, logit, wanted, left)
            y = draw_mixture(weights, mean, log_var)
            logit_x = y * self.voxels.std[columns] + self.voxels.mean[columns]
            share = alpha_sigmoid(logit_x, self.config.alpha).clamp(self.least, 1)
            x[:, columns] = torch.where(hit, share, torch.zeros_like(share))
            if group == len(groups) - 1:
                break
            hit = hit.to(x.dtype)
            known[:, 0, columns] = hit - p[:, columns]
            known[:, 1, columns] = hit * (y - average[:, columns])
            if wanted is not None:
                wanted = wanted - self._by_layer(hit, columns)
        return x

    def _rate(self, wanted: Tensor | None, left: Tensor) -> Tensor:
        """Hits per voxel (N, D) wanted (N, L) in a layer beyond the sum of the probabilities `left` (N, D)."""
        if wanted is None:
            return torch.zeros_like(left)
        every = torch.arange(self.dim, device=left.device)
        room = self._by_layer((left > 0).to(left.dtype), every).clamp(min=1)
        return ((wanted - self._by_layer(left, every)) / room)[:, self.layer_of]

    def _by_layer(self, x: Tensor, columns: Tensor) -> Tensor:
        """Sums (N, L) of x (N, G) over the columns of each layer."""
        return x.new_zeros(len(x), len(self.sizes)).index_add_(1, self.layer_of[columns], x)

    def _draw_hits(self, group: int, logit: Tensor, wanted: Tensor | None, left: Tensor) -> Tensor:
        """Mask (N, G) of the hits of a group's voxels: independent or, where `wanted` (N, L) hits remain, as many as the rest can take.

        A number of hits is met by Pareto sampling (Rosen 1997): the largest of logits plus logistic noise, of which
        independent hits are those above 0. It comes close to independent hits given their number.
        """
        key = logit + torch.logit(torch.rand_like(logit), eps=1e-6)
        if wanted is None:
            return key > 0
        order, hit = getattr(self, f"order_{group}"), torch.zeros_like(key, dtype=torch.bool)
        n = self._share(logit, key, self.near.columns[group], wanted, left)
        hit[:, order] = hits.by_layer(hits.largest, self.counts[group], key[:, order], n)
        return hit

    def _share(self, logit: Tensor, key: Tensor, columns: Tensor, wanted: Tensor, left: Tensor) -> Tensor:
        """How many of the `wanted` (N, L) hits fall into a group, if those of group and rest were independent.

        Given their sum, the number in the group is its own expectation plus its share of what both expectations miss the
        sum by, in proportion to the variances; its spread is that of the free number, less what the sum fixes.
        """
        if self.near.groups == 1:  # all of them
            return torch.minimum(wanted, self.sizes.to(wanted.dtype))
        every, p = torch.arange(self.dim, device=left.device), torch.sigmoid(logit)
        room = self._by_layer((left > 0).to(left.dtype), every)
        own, rest = self._by_layer(p, columns), self._by_layer(left, every)
        own_var = self._by_layer(p * (1 - p), columns)
        rest_var = self._by_layer(left * (1 - left), every)
        share = own_var / (own_var + rest_var).clamp(min=1e-12)
        noise = self._by_layer((key > 0).to(key.dtype), columns) - own
        n = own + share * (wanted - own - rest) + (1 - share).clamp(min=0).sqrt() * noise
        size = self._by_layer(torch.ones_like(p), columns)
        n = (n + torch.rand_like(n) - 0.5).round()
        return torch.minimum(torch.minimum(torch.maximum(n, (wanted - room).clamp(min=0)), wanted), size)

    def loss(self, x: Tensor, cond: Tensor) -> dict[str, Tensor]:
        mu, logvar = self.encode(x, cond)
        base = self._base(draw(mu, logvar), cond)
        y, hit = self._standardised(x)
        p, average = self._expected(base)
        known = torch.stack([hit - p, hit * (y - average)], dim=1)
        occupancy, energy = x.new_zeros(()), x.new_zeros(())
        wanted, left = (self._hits(cond) if self.inputs.hits_given else None), p
        for group, columns in enumerate(self.near.columns):
            logit, weights, mean, log_var = self._split(self.near(group, base, known, self._rate(wanted, left)))
            a, h = y[:, columns], hit[:, columns]
            occupancy = occupancy + functional.binary_cross_entropy_with_logits(logit, h, reduction="sum")
            energy = energy - (h * mixture_log_likelihood(a, weights, mean, log_var)).sum()
            left = left.index_fill(1, columns, 0)
            if wanted is not None:
                wanted = wanted - self._by_layer(h, columns)
        occupancy, energy = occupancy / len(x), energy / len(x)
        kl = gaussian_kl(mu, logvar).mean()
        loss = occupancy + energy + self.config.beta * kl
        if self.config.groups > 1:  # what is expected before any voxel is drawn must be right too
            later = torch.cat(list(self.near.columns[1:]))
            loss = loss + functional.binary_cross_entropy_with_logits(
                self._split(base)[0][:, later], hit[:, later], reduction="sum"
            ) / len(x)
        return {"loss": loss, "occupancy": occupancy.detach(), "energy": energy.detach(), "kl": kl.detach()}
