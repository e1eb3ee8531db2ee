"""How far apart two samples are, as a number that can be minimised: maximum mean discrepancies (Gretton 2012).

Both are means over all pairs, those of a number with itself among them (the biased estimate): 0 for equal samples.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def gaussian_mmd(x: Tensor, y: Tensor, alphas: Sequence[float]) -> Tensor:
    """Squared discrepancy of rows x (N, D) and y (M, D): <k(x, x)> + <k(y, y)> - 2 <k(x, y)>.

    The kernel k is the sum of exp(-a |x - y|^2) over `alphas`. Source: Buhmann 2021, and code.
    """

    def mean(a: Tensor, b: Tensor) -> Tensor:
        squares = a.square().sum(1)[:, None] + b.square().sum(1) - 2 * a @ b.T
        return torch.stack([(-alpha * squares.clamp(min=0)).exp().mean() for alpha in alphas]).sum()

    return mean(x, x) + mean(y, y) - 2 * mean(x, y)


def sorted_hit_mmd(x: Tensor, y: Tensor, *, kernel: int, stride: int, first: int, alpha: float) -> Tensor:
    """Mean discrepancy of the hit energies of showers x and y (N, V), row by row and window by window.

    The voxels of each shower are sorted, the largest first. Windows of `kernel` voxels start at 0, `stride`, 2 `stride`, ...
    below `first`; the last ones are as long as there are voxels. In each, the energies of x and y are two samples of numbers,
    with the kernel exp(-alpha (a - b)^2): large hits are compared with large ones alone. Source: Buhmann 2021,
    and code.
    """
    above, below = (showers.sort(dim=1, descending=True).values for showers in (x, y))
    starts = range(0, min(first, x.shape[1]), stride)
    total = x.new_zeros(())
    for start in starts:
        a, b = (showers[:, start : start + kernel] for showers in (above, below))
        total = total + _kernel(a, a, alpha) + _kernel(b, b, alpha) - 2 * _kernel(a, b, alpha)
    return total / len(starts)


def _kernel(a: Tensor, b: Tensor, alpha: float) -> Tensor:
    """Mean of exp(-alpha (a - b)^2) over rows and all pairs of numbers of a row, of a (N, K) and b (N, L)."""
    return (-alpha * (a[:, :, None] - b[:, None]).square()).exp().mean()
