"""What layers see of those before: of all at once, and one after another."""

from __future__ import annotations

import pytest
import torch

from calopipe.models.layer_memory import LayerMemory, seen


@pytest.mark.parametrize(("back", "decays"), [(2, (0.5, 0.85)), (4, (0.6, 0.9))])
def test_layers_see_the_same_at_once_and_one_after_another(back: int, decays: tuple[float, ...]) -> None:
    told = torch.randn(3, 7, 2, dtype=torch.float64)
    at_once, memory = seen(told, back, decays), LayerMemory(told.new_zeros(3, 2), back, decays)
    for layer in range(7):
        for one, other in zip(memory.seen, at_once, strict=True):
            torch.testing.assert_close(one, other[:, layer])
        memory.add(told[:, layer])
