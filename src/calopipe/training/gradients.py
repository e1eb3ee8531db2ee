"""What is kept of the gradients of an epoch: mean and largest norm, and the largest element (Ernst 2023, section 4.2.1)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


class Gradients:
    """Gradients of one objective in one epoch, before clipping; figures stay on their device until they are asked for."""

    def __init__(self) -> None:
        self.steps = 0
        self._figures: Tensor | None = None  # sum of norms, largest norm, largest element

    def add(self, norm: Tensor, largest: Tensor) -> None:
        """One step: the norm of all gradients together, and the largest of their elements by absolute value."""
        new = torch.stack([norm, norm, largest]).detach()
        if self._figures is not None:
            total = self._figures[:1] + new[:1]
            new = torch.cat([total, torch.maximum(self._figures[1:], new[1:])])
        self._figures = new
        self.steps += 1

    def columns(self) -> dict[str, float]:
        """Columns of the history; none where there was no step."""
        if self._figures is None:
            return {}
        total, norm, element = self._figures.tolist()
        return {"grad_norm": total / self.steps, "largest_grad_norm": norm, "largest_grad_element": element}


def largest_element(gradients: Sequence[Tensor]) -> Tensor:
    """The largest absolute value in the gradients.

    On a GPU the infinity norm of all tensors in one pass; on CPUs torch computes that fifteen times slower than extremes.
    """
    if gradients[0].is_cuda:
        return torch.nn.utils.get_total_norm(gradients, math.inf)
    ends = [gradient.aminmax() for gradient in gradients if gradient.numel()]  # a triangle of one column has no element
    return torch.maximum(-torch.stack([low for low, _ in ends]).min(), torch.stack([high for _, high in ends]).max())
