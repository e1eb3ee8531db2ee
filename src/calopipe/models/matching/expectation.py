"""What is expected of the cells of a shower, given their noisy values.

A cell of preprocessed showers is empty, all such cells having the same value, or hit, with a value that varies. That is what networks of
smooth functions are bad at, and noise of many cells does not pass through a network that is narrower than they are many. Both are
taken from the network here: it says how often a cell is hit and with what mean and width, as if the cell itself had not been seen, and
the rest is the theorem of Bayes.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

#: the noise that is left at the end has at least this width: velocities are divided by it
LEAST_NOISE = 1e-3


class Posterior(NamedTuple):
    """What a cell of the shower is, given its noisy value: empty, or with probability ``rate`` normally distributed; each of the shape of x."""

    empty: Tensor
    rate: Tensor
    mean: Tensor
    width: Tensor

    @property
    def expected(self) -> Tensor:
        """Its expectation."""
        return torch.lerp(self.empty.expand_as(self.mean), self.mean, self.rate)

    def draw(self) -> Tensor:
        """A draw of each cell, independent of the others."""
        hit = self.mean + self.width * torch.randn_like(self.mean)
        return torch.where(torch.rand_like(self.rate) < self.rate, hit, self.empty)


def posterior(x: Tensor, t: Tensor, empty: Tensor, odds: Tensor, mean: Tensor, log_width: Tensor) -> Posterior:
    """p(shower | x) of each cell for x = t shower + (1 - t) noise, of the shape of x (N, ...); t (N,) from 0 to 1.

    A shower's cell is ``empty`` (a number), or with log-odds ``odds`` normally distributed about ``mean`` with a width of
    exp(``log_width``), each of the shape of x.
    """
    t = t.view(-1, *[1] * (x.ndim - 1))
    noise = (1 - t).clamp(min=LEAST_NOISE)
    width = log_width.exp()
    both = (t * width).square() + noise.square()  # variance of x where there is a hit
    off = x - t * mean
    gain = 0.5 * (((x - t * empty) / noise).square() - off.square() / both - (both / noise.square()).log())
    return Posterior(
        empty, torch.sigmoid(odds + gain), mean + t * width.square() / both * off, width * noise / both.sqrt()
    )


def renoised(x: Tensor, shower: Tensor, t: Tensor, later: Tensor) -> Tensor:
    """A draw of x at a ``later`` time, given that at ``t`` (N,) and the shower (N, ...): x at t is what more noise has made of it.

    Source: Ho 2020, equations 6 and 7, for x = t shower + (1 - t) noise.
    """
    t, s = (v.view(-1, *[1] * (x.ndim - 1)) for v in (t, later))
    kept = (1 - s) * t / (s * (1 - t))  # ratio of the noise in x / time
    noise = (1 - s) * (1 - kept.square()).clamp(min=0).sqrt() * torch.randn_like(x)
    return s * shower + (1 - s) / (1 - t) * kept * (x - t * shower) + noise
