"""What is expected of the cells of a shower, given their noisy values.

A cell of preprocessed showers is empty, all such cells having the same value, or hit, with a value that varies. That is what networks of
smooth functions are bad at, and noise of many cells does not pass through a network that is narrower than they are many. Both are
taken from the network here: it says how often a cell is hit and how hits are distributed, as if the cell itself had not been seen, and
the rest is the theorem of Bayes.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

#: the noise that is left at the end has at least this width: velocities are divided by it
LEAST_NOISE = 1e-3
#: values above that of empty cells by this are hits
_GAP = 1e-3


def hits_in(values: Tensor, empty: Tensor) -> Tensor:
    """Which values are of hits, where ``empty`` is that of all cells without one."""
    return values > empty + _GAP


class Cells(NamedTuple):
    """What is said of the cells of showers, as if they had not been seen: empty (a number), or with log-odds ``odds`` (N, ...) hit.

    The values of hits are a mixture of K normal distributions with logarithmic weights, means and logarithmic widths (N, K, ...).
    """

    empty: Tensor
    odds: Tensor
    log_weight: Tensor
    mean: Tensor
    log_width: Tensor

    def log_joint(self, x: Tensor, t: Tensor) -> Tensor:
        """ln of the probability of each kind of cell, empty or one of the K, times the density of x at time t (N, 1 + K, ...), x = t shower + (1 - t) noise."""
        t, noise = _spread(t, x)
        hit = functional.logsigmoid(self.odds)
        none = hit - self.odds - 0.5 * ((x - t * self.empty) / noise).square() - noise.log()
        t, noise = t[:, None], noise[:, None]
        both = (t * self.log_width.exp()).square() + noise.square()  # variance of x where there is a hit
        some = self.log_weight - 0.5 * ((x[:, None] - t * self.mean).square() / both + both.log())
        return torch.cat([none[:, None], hit[:, None] + some], dim=1)

    def posterior(self, x: Tensor, t: Tensor) -> Posterior:
        """The shower's cells, given x (N, ...) at times t (N,)."""
        log_rate = self.log_joint(x, t).log_softmax(1)
        t, noise = (v[:, None] for v in _spread(t, x))
        width = self.log_width.exp()
        both = (t * width).square() + noise.square()
        mean = self.mean + t * width.square() / both * (x[:, None] - t * self.mean)
        return Posterior(self.empty, log_rate, mean, width * noise / both.sqrt())


class Posterior(NamedTuple):
    """What a cell of the shower is, given its noisy value: empty, or normally distributed in one of K ways; ``log_rate`` (N, 1 + K, ...) are logarithms of their probabilities."""

    empty: Tensor
    log_rate: Tensor
    mean: Tensor
    width: Tensor

    @property
    def rate(self) -> Tensor:
        """Probabilities (N, K, ...) of the ways of being hit."""
        return self.log_rate[:, 1:].exp()

    @property
    def expected(self) -> Tensor:
        """Its expectation (N, ...)."""
        return self.empty + (self.rate * (self.mean - self.empty)).sum(1)

    def tilted(self, odds: Tensor, lean: Tensor, sharp: Tensor) -> Posterior:
        """Log-odds of hits higher by ``odds``, their values by ``lean`` times their widths (N, K, ...), whose logarithms are higher by ``sharp`` (N, ...)."""
        log_rate = torch.cat([self.log_rate[:, :1], self.log_rate[:, 1:] + odds], dim=1).log_softmax(1)
        return Posterior(self.empty, log_rate, self.mean + lean * self.width, self.width * sharp[:, None].exp())

    def surprise(self, shower: Tensor) -> Tensor:
        """-ln p(shower) (N, ...) of its cells: probabilities of those that are empty, densities of those that are hit."""
        off = (shower[:, None] - self.mean) / self.width
        value = self.log_rate[:, 1:] - 0.5 * off.square() - self.width.log()
        value = value.logsumexp(1) - 0.5 * math.log(2 * math.pi)
        return -torch.where(hits_in(shower, self.empty), value, self.log_rate[:, 0])

    def values(self) -> tuple[Tensor, Tensor]:
        """A draw of each cell's value as if it were hit (N, ...), and the width of the way of being hit that it is of."""
        rate = self.rate
        mark = torch.rand_like(rate[:, :1]) * rate.sum(1, keepdim=True)
        kind = (mark > rate.cumsum(1)).sum(1, keepdim=True).clamp(max=rate.shape[1] - 1)
        mean, width = (v.gather(1, kind)[:, 0] for v in (self.mean, self.width))
        return mean + width * torch.randn_like(mean), width

    def draw(self) -> Tensor:
        """A draw of each cell (N, ...), independent of the others."""
        hit = torch.rand_like(self.mean[:, 0]) < self.rate.sum(1)
        return torch.where(hit, self.values()[0], self.empty)


def _spread(t: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Times (N,) and the width of the noise at them, as x (N, ...) needs them."""
    t = t.view(-1, *[1] * (x.ndim - 1))
    return t, (1 - t).clamp(min=LEAST_NOISE)


def renoised(x: Tensor, shower: Tensor, t: Tensor, later: Tensor) -> Tensor:
    """A draw of x at a ``later`` time, given that at ``t`` (N,) and the shower (N, ...): x at t is what more noise has made of it.

    Source: Ho 2020, equations 6 and 7, for x = t shower + (1 - t) noise.
    """
    t, s = (v.view(-1, *[1] * (x.ndim - 1)) for v in (t, later))
    kept = (1 - s) * t / (s * (1 - t))  # ratio of the noise in x / time
    noise = (1 - s) * (1 - kept.square()).clamp(min=0).sqrt() * torch.randn_like(x)
    return s * shower + (1 - s) / (1 - t) * kept * (x - t * shower) + noise
