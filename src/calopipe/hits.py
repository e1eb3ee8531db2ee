"""Numbers of hits of a layer as numbers between 0 and 1, and choosing that many of its voxels.

Steps of the preprocessing and decoders both need them. Imports torch, so nothing that builds the workflow may use it.
"""

from __future__ import annotations

import torch
from torch import Tensor


def dequantise(n: Tensor, sizes: Tensor) -> Tensor:
    """h (N, L) = (n + r) / (V_l + 1) of numbers of hits n (N, L) of layers of V_l voxels (`sizes`, (L,)), r uniform in [0, 1)."""
    return (n + torch.rand_like(n)) / (sizes + 1)


def count(h: Tensor, sizes: Tensor) -> Tensor:
    """Numbers of hits n (N, L), 0 to V_l, of h (N, L): the inverse of :func:`dequantise` for h in [0, 1]."""
    return torch.minimum((h.clamp(0, 1) * (sizes + 1)).floor(), sizes.to(h.dtype))


def largest(x: Tensor, n: Tensor) -> Tensor:
    """Mask (N, V) of the n (N,) largest values of each row of x (N, V); of equal values the first."""
    order = x.argsort(dim=1, descending=True, stable=True)
    rank = torch.empty_like(order).scatter_(1, order, torch.arange(x.shape[1], device=x.device).expand_as(order))
    return rank < n[:, None]
