"""Distributions that keep a sum: so many of a few cells are hit, and shares that add up to 1.

The conditional Bernoulli distribution is that of independent hits given their number (Chen 1997).
"""

from __future__ import annotations

import torch
from torch import Tensor

#: shares below are rounded to nothing
TINY_SHARE = 1e-6


def log_symmetric(logits: Tensor) -> Tensor:
    """ln of the elementary symmetric polynomials of exp(logits) (M, A): (M, A + 1, A + 1), of the first i cells in row i, by degree."""
    m, cells = logits.shape
    row = logits.new_full((m, cells + 1), -torch.inf)
    row[:, 0] = 0
    rows = [row]
    for i in range(cells):
        more = torch.cat([torch.full_like(row[:, :1], -torch.inf), row[:, :-1] + logits[:, i : i + 1]], dim=1)
        row = _log_add(row, more)
        rows.append(row)
    return torch.stack(rows, dim=1)


def _log_add(a: Tensor, b: Tensor) -> Tensor:
    """ln(exp(a) + exp(b)), with gradients that are finite where both are minus infinity."""
    largest = torch.maximum(a, b)
    empty = torch.isinf(largest)
    low, high = (torch.where(empty, 0.0, f(a, b)) for f in (torch.minimum, torch.maximum))
    return torch.where(empty, -torch.inf, high + torch.log1p(torch.exp(low - high)))


def log_prob_of_hits(logits: Tensor, hit: Tensor) -> Tensor:
    """ln of the probability (M,) of the hits (M, A) of 0 and 1, given their number, of cells with these logits (M, A)."""
    number = hit.sum(1).round().long()
    last = log_symmetric(logits)[:, -1]
    return (logits * hit).sum(1) - last.gather(1, number[:, None])[:, 0]


def draw_hits(logits: Tensor, number: Tensor) -> Tensor:
    """Mask (M, A) with exactly `number` (M,) hits of cells with these logits."""
    table, left = log_symmetric(logits), number.long()
    hit = torch.zeros_like(logits, dtype=torch.bool)
    uniform = torch.rand_like(logits)
    for i in range(logits.shape[1] - 1, -1, -1):
        with_it = logits[:, i] + table[:, i].gather(1, (left - 1).clamp(min=0)[:, None])[:, 0]
        p = torch.where(left > 0, (with_it - table[:, i + 1].gather(1, left[:, None])[:, 0]).exp(), 0.0)
        hit[:, i] = uniform[:, i] < p
        left = left - hit[:, i].long()
    return hit


def dirichlet_log_prob(log_alpha: Tensor, weights: Tensor, shares: Tensor, hit: Tensor) -> Tensor:
    """ln of the density (M,) of shares (M, A) of the hit cells (M, A), of mixtures of Dirichlet distributions.

    Args:
        log_alpha: (M, K, A). weights: log weights (M, K). hit: 1 where a cell has a share; at least two have.
    """
    alpha = log_alpha.exp() * hit[:, None]
    logs = shares.clamp(min=TINY_SHARE).log() * hit
    safe = torch.where(hit[:, None] > 0, alpha, torch.ones_like(alpha))
    each = torch.lgamma(alpha.sum(2)) - torch.lgamma(safe).sum(2) + ((safe - 1) * logs[:, None]).sum(2)
    return torch.logsumexp(weights + each, dim=1)


def draw_shares(log_alpha: Tensor, weights: Tensor, hit: Tensor) -> Tensor:
    """Shares (M, A), 0 where there is no hit, that add up to 1; see :func:`dirichlet_log_prob`."""
    gumbel = -torch.empty_like(weights).exponential_().log()
    chosen = (weights + gumbel).argmax(1)
    alpha = log_alpha[torch.arange(len(chosen)), chosen].exp()
    drawn = torch.zeros_like(alpha)
    drawn[hit] = torch._standard_gamma(alpha[hit]).clamp(min=1e-30)
    return drawn / drawn.sum(1, keepdim=True).clamp(min=1e-30)
