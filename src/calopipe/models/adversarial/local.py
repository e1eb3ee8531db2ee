"""Layers of critics and generators of images: locally connected ones, and minibatch discrimination."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


class LocallyConnected2d(nn.Module):
    """A convolution whose weights differ from place to place: x (N, C, a, b) to (N, channels, a', b').

    Weights and biases start uniformly within 1 / sqrt(inputs of one number), as those of torch's convolutions do.
    Source: LAGAN (Oliveira 2017, arXiv:1701.05927), where a calorimeter's image is not the same everywhere.
    """

    windows: Tensor

    def __init__(
        self, image: tuple[int, int], inputs: int, channels: int, kernel: tuple[int, int], *,
        stride: int = 1, padding: int = 0, bias: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        self.padding = padding
        rows, columns = ((n + 2 * padding - k) // stride + 1 for n, k in zip(image, kernel, strict=True))
        self.out = (rows, columns)
        places, seen = rows * columns, inputs * kernel[0] * kernel[1]
        bound = 1 / math.sqrt(seen)
        self.weight = nn.Parameter(torch.empty(channels, places, seen).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(channels, *self.out).uniform_(-bound, bound)) if bias else None
        padded = [n + 2 * padding for n in image]
        numbers = torch.arange(inputs * math.prod(padded), dtype=torch.float64).view(1, inputs, *padded)
        windows = functional.unfold(numbers, kernel, stride=stride)[
            0
        ].T.long()  # (places, seen): which numbers of x each place sees
        self.register_buffer("windows", windows.reshape(-1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        numbers = functional.pad(x, (self.padding,) * 4).flatten(1).T.contiguous()
        # samples last: rows are copied, and no transposed copies of the windows are made
        seen = numbers.index_select(0, self.windows).view(*self.weight.shape[1:], len(x))  # (places, seen, N)
        out = torch.bmm(self.weight.transpose(0, 1), seen).permute(2, 1, 0).unflatten(2, self.out)
        return out if self.bias is None else out + self.bias


class MinibatchDiscrimination(nn.Module):
    """What a critic may know of the other samples in a batch: x (N, features) to o (N, kernels).

    o_ik = sum over j != i of exp(-|M_ik - M_jk|_1) with M = x T, M_ik of `dim` numbers. Samples that are all alike have
    large numbers. Source: Salimans 2016 (arXiv:1606.03498), section 3.2.
    """

    def __init__(self, features: int, kernels: int, dim: int) -> None:
        super().__init__()
        self.kernels = kernels
        self.tensor = nn.Parameter(torch.randn(features, kernels * dim) / math.sqrt(features))

    def forward(self, x: Tensor) -> Tensor:
        rows = (x @ self.tensor).unflatten(1, (self.kernels, -1))
        distances = (rows[:, None] - rows[None]).abs().sum(3)  # (N, N, kernels)
        return (-distances).exp().sum(1) - 1  # less that of the sample itself
