"""What networks that walk through the layers of a shower see of those before."""

from __future__ import annotations

import torch
from torch import Tensor


def shifted(x: Tensor, by: int) -> Tensor:
    """x (N, L, ...) with what layer l - by has in layer l, and 0 where there is none."""
    moved = torch.zeros_like(x)
    if by > 0:
        moved[:, by:] = x[:, :-by]
    else:
        moved[:, :by] = x[:, -by:]
    return moved


def remembered(told: Tensor, decay: float) -> Tensor:
    """(N, L, F) averages of what the layers before each layer have told (N, L, F), older ones with less weight; 0 for the first."""
    age = torch.arange(told.shape[1], device=told.device)
    age = age[:, None] - 1 - age  # of each layer, seen from each
    weights = torch.where(age >= 0, (1 - decay) * decay ** age.clamp(min=0).to(told.dtype), told.new_zeros(()))
    return torch.einsum("ij,njf->nif", weights, told)


def seen(told: Tensor, back: int, decays: tuple[float, ...]) -> list[Tensor]:
    """Of all layers at once: what each of the ``back`` layers before has told (N, L, F), the last first, and averages of all."""
    return [*(shifted(told, k) for k in range(1, back + 1)), *(remembered(told, decay) for decay in decays)]


class LayerMemory:
    """The same, :func:`seen`, of one layer after another."""

    def __init__(self, nothing: Tensor, back: int, decays: tuple[float, ...]) -> None:
        self._before, self._states, self._decays = [nothing] * back, [nothing] * len(decays), decays

    @property
    def seen(self) -> list[Tensor]:
        """What the next layer sees of those before."""
        return [*self._before, *self._states]

    def add(self, told: Tensor) -> None:
        """What a layer tells those behind."""
        self._before = [told, *self._before[:-1]]
        self._states = [d * s + (1 - d) * told for d, s in zip(self._decays, self._states, strict=True)]
