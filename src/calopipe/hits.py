"""What is done layer by layer; numbers of hits of a layer as numbers between 0 and 1, and choosing that many of its voxels.

Steps of the preprocessing and decoders both need them. Imports torch, so nothing that builds the workflow may use it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def dequantise(n: Tensor, sizes: Tensor) -> Tensor:
    """h (N, L) = (n + r) / (V_l + 1) of numbers of hits n (N, L) of layers of V_l voxels (`sizes`, (L,)), r uniform in [0, 1)."""
    return (n + torch.rand_like(n)) / (sizes + 1)


def count(h: Tensor, sizes: Tensor) -> Tensor:
    """Numbers of hits n (N, L), 0 to V_l, of h (N, L): the inverse of :func:`dequantise` for h in [0, 1]."""
    return torch.minimum((h.clamp(0, 1) * (sizes + 1)).floor(), sizes.to(h.dtype))


def by_layer(function: Callable[..., Tensor], sizes: Sequence[int], x: Tensor, *numbers: Tensor) -> Tensor:
    """``function`` (M, V_l), (M,)... -> (M, V_l) of x (N, V) and numbers (N, L) of each layer, joined again.

    Layers of one size are one call, of N x L rows: a loop over 45 layers costs more than the arithmetic of one shower.
    """
    if len(set(sizes)) == 1 and sizes[0]:
        return function(x.reshape(-1, sizes[0]), *(of_layer.reshape(-1) for of_layer in numbers)).view(x.shape)
    parts = zip(x.split(list(sizes), dim=1), *(of_layer.T for of_layer in numbers), strict=True)
    return torch.cat([function(*part) for part in parts], dim=1)


def sums(x: Tensor, sizes: Sequence[int]) -> Tensor:
    """Sums (N, L) of x (N, V) over the voxels of each layer."""
    if len(set(sizes)) == 1:
        return x.reshape(len(x), len(sizes), sizes[0]).sum(2)
    return torch.stack([part.sum(1) for part in x.split(list(sizes), dim=1)], dim=1)


def largest(x: Tensor, n: Tensor) -> Tensor:
    """Mask (N, V) of the n (N,) largest values of each row of x (N, V); of equal values the first."""
    order = x.argsort(dim=1, descending=True, stable=True)
    rank = torch.empty_like(order).scatter_(1, order, torch.arange(x.shape[1], device=x.device).expand_as(order))
    return rank < n[:, None]
