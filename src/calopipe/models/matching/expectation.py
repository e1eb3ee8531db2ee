"""What is expected of the cells of a shower, given their noisy values.

A cell of preprocessed showers is empty, all such cells having the same value, or hit, with a value that varies. That is what networks of
smooth functions are bad at, and noise of many cells does not pass through a network that is narrower than they are many. Both are
taken from the network here: it says how often a cell is hit and with what mean and width, as if the cell itself had not been seen, and
the rest is the theorem of Bayes.
"""

from __future__ import annotations

import torch
from torch import Tensor

#: the noise that is left at the end has at least this width: velocities are divided by it
LEAST_NOISE = 1e-3


def expected(x: Tensor, t: Tensor, empty: Tensor, odds: Tensor, mean: Tensor, log_width: Tensor) -> Tensor:
    """E[shower | x] for x = t shower + (1 - t) noise, of the shape of x (N, ...); t (N,) from 0 to 1.

    A shower's cell is ``empty`` (a number), or with log-odds ``odds`` normally distributed about ``mean`` with a width of
    exp(``log_width``), each of the shape of x.
    """
    t = t.view(-1, *[1] * (x.ndim - 1))
    noise = (1 - t).clamp(min=LEAST_NOISE)
    width = log_width.exp()
    both = (t * width).square() + noise.square()  # variance of x where there is a hit
    off = x - t * mean
    hit = mean + t * width.square() / both * off
    gain = 0.5 * (((x - t * empty) / noise).square() - off.square() / both - (both / noise.square()).log())
    return torch.lerp(empty.expand_as(x), hit, torch.sigmoid(odds + gain))
