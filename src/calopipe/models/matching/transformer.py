"""What flow matching knows of the cells of a noisy shower: a transformer of patches.

Sources: Peebles 2022 (transformers whose normalisations follow the time and the condition); Favaro 2024 (CaloDREAM: patches of showers
as tokens).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from calopipe.models.building import start_at_zero

#: frequencies of the features of the time, in units of pi
_FREQUENCIES = 8


class PatchTransformer(nn.Module):
    """Some numbers of each cell (N, outputs, L, A, R) at x (N, L, A, R) and times t (N,) between noise, 0, and showers, 1.

    Attention knows how far tokens are apart, and in which layer and at which radius they are; along a periodic first index nothing but
    distances counts, so that of a shower that is turned by whole patches the numbers are turned as much.

    Args:
        grid: layers, and cells along the first and second index. patch: such a number of cells of a token.
        periodic: whether the first index is an angle.
        context: columns of the condition of a shower. local: numbers that are given for each layer. outputs: numbers of a cell.
    """

    def __init__(
        self, grid: tuple[int, int, int], patch: tuple[int, int, int], *, periodic: bool, context: int, local: int,
        width: int, heads: int, blocks: int, outputs: int = 1,
    ) -> None:  # fmt: skip
        super().__init__()
        self.patch, self.outputs = patch, outputs
        self.tokens = (grid[0] // patch[0], grid[1] // patch[1], grid[2] // patch[2])
        cells = math.prod(patch)
        self.embedding = nn.Linear(cells + local * patch[0], width)
        turns = 1 if periodic else self.tokens[1]
        self.places = nn.Parameter(0.02 * torch.randn(self.tokens[0], turns, self.tokens[2], width))
        self.context = nn.Sequential(
            nn.Linear(2 * _FREQUENCIES + context, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU()
        )
        distances, count = _distances(self.tokens, periodic)
        self.register_buffer("distances", distances, persistent=False)
        self.near = nn.Parameter(torch.zeros(heads, count))
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(blocks))
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.scale = start_at_zero(nn.Linear(width, 2 * width))
        self.last = start_at_zero(nn.Linear(width, outputs * cells))

    distances: Tensor

    def forward(self, x: Tensor, t: Tensor, context: Tensor, local: Tensor) -> Tensor:
        """``context`` (N, C) and ``local`` (N, L, F)."""
        token = self.embedding(torch.cat([self._cut(x), self._spread(local)], dim=2))
        token = token + self.places.expand(*self.tokens, -1).reshape(1, token.shape[1], -1)
        told = self.context(torch.cat([_features(t), context], dim=1))
        bias = self.near[:, self.distances]  # (heads, T, T)
        for block in self.blocks:
            token = block(token, told, bias)
        shift, scale = self.scale(told)[:, None].chunk(2, dim=2)
        return self._joined(self.last(self.norm(token) * (1 + scale) + shift))

    def _cut(self, x: Tensor) -> Tensor:
        """Tokens (N, T, cells) of x (N, L, A, R)."""
        (a, b, c), (i, j, k) = self.tokens, self.patch
        return x.view(len(x), a, i, b, j, c, k).permute(0, 1, 3, 5, 2, 4, 6).reshape(len(x), a * b * c, i * j * k)

    def _joined(self, token: Tensor) -> Tensor:
        """The cells (N, outputs, L, A, R) of tokens (N, T, outputs x cells)."""
        (a, b, c), (i, j, k) = self.tokens, self.patch
        apart = token.view(len(token), a, b, c, self.outputs, i, j, k).permute(0, 4, 1, 5, 2, 6, 3, 7)
        return apart.reshape(len(token), self.outputs, a * i, b * j, c * k)

    def _spread(self, local: Tensor) -> Tensor:
        """What is given for layers (N, L, F), for each token (N, T, layers of a patch x F)."""
        (a, b, c), numbers = self.tokens, self.patch[0] * local.shape[2]
        of_layers = local.reshape(len(local), a, 1, 1, numbers)
        return of_layers.expand(-1, a, b, c, numbers).reshape(len(local), a * b * c, numbers)


class Block(nn.Module):
    """Attention and a network of two layers, whose scales, shifts and gates follow the condition; the identity at first."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList(nn.LayerNorm(width, elementwise_affine=False) for _ in range(2))
        self.told = start_at_zero(nn.Linear(width, 6 * width))
        self.asked, self.answer = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.network = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(approximate="tanh"), nn.Linear(4 * width, width)
        )

    def forward(self, token: Tensor, told: Tensor, bias: Tensor) -> Tensor:
        """(N, T, width), given ``told`` (N, width) and ``bias`` (heads, T, T) of the attention."""
        shifts, scales, gates = self.told(told)[:, None].unflatten(2, (3, 2, -1)).unbind(2)
        for i, part in enumerate((self._attention, self._network)):
            seen = self.norms[i](token) * (1 + scales[:, :, i]) + shifts[:, :, i]
            token = token + gates[:, :, i] * part(seen, bias)
        return token

    def _attention(self, seen: Tensor, bias: Tensor) -> Tensor:
        query, key, value = self.asked(seen).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        heard = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias[None].to(query.dtype))
        return self.answer(heard.transpose(1, 2).flatten(2))

    def _network(self, seen: Tensor, _bias: Tensor) -> Tensor:
        return self.network(seen)


def _features(t: Tensor) -> Tensor:
    """Sines and cosines (N, 2 F) of times (N,)."""
    angles = t[:, None] * math.pi * 2.0 ** torch.arange(_FREQUENCIES, device=t.device, dtype=t.dtype) / 2
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def _distances(tokens: tuple[int, int, int], periodic: bool) -> tuple[Tensor, int]:
    """Number (T, T) of the distance from token to token, and how many there are."""
    place = torch.cartesian_prod(*(torch.arange(n) for n in tokens)).view(-1, 3)
    apart = place[:, None] - place[None]
    spans = torch.tensor([2 * n - 1 for n in tokens])
    apart += torch.tensor(tokens) - 1
    if periodic:
        apart[..., 1], spans[1] = (apart[..., 1] + 1) % tokens[1], tokens[1]
    number = (apart[..., 0] * spans[1] + apart[..., 1]) * spans[2] + apart[..., 2]
    return number, int(spans.prod())
