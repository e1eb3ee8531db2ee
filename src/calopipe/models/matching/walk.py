"""Energies and numbers of hits of layers, one layer after another: a small network that all layers share."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from calopipe.models.building import Standardisation, draw_mixture, mixture, mlp
from calopipe.models.layer_memory import LayerMemory, seen
from calopipe.models.losses import mixture_log_likelihood

#: layers before that are seen one by one, and how much of all of them is remembered
BACK, DECAYS = 4, (0.6, 0.9)
_EMBEDDED, _TOLD = 16, 4
#: smallest log variance of a part of a mixture
_LEAST = -12.0


class LayerWalk(nn.Module):
    """p(v | condition) of v (N, 2 L): logits of the energy ratios u of L layers, then of the parts of their cells that are hit (dequantised).

    u_1, of the total energy, is drawn first; then of each layer how many cells are hit, and which part of the energy that is left it has. Each is a mixture of
    normal distributions of the logit, given the layers before.
    """

    def __init__(self, layers: int, cond_dim: int, width: int, components: int, dropout: float) -> None:
        super().__init__()
        self.layers = layers
        self.standard = Standardisation(2 * layers)
        self.total = mlp([cond_dim, width // 2, 3 * components], nn.SiLU)
        self.embedding = nn.Embedding(layers, _EMBEDDED)
        inputs = _TOLD * (BACK + len(DECAYS)) + cond_dim + 2 + _EMBEDDED
        self.hidden = nn.Sequential(
            nn.Linear(inputs, width), nn.SiLU(), nn.Dropout(dropout),
            nn.Linear(width, width), nn.SiLU(), nn.Dropout(dropout),
        )  # fmt: skip
        self.hits = nn.Linear(width, 3 * components)
        self.energy = mlp([width + 1, width // 2, 3 * components], nn.SiLU)

    def log_prob(self, v: Tensor, cond: Tensor) -> Tensor:
        """(N,), of the standardised numbers, but for (2 pi)^L."""
        return self.parts(v, cond).sum(1)

    def parts(self, v: Tensor, cond: Tensor) -> Tensor:
        """Its parts (N, 2 L), of each number given those before, in the order of v."""
        scaled = self.standard(v)
        u, h = scaled[:, : self.layers], scaled[:, self.layers :]
        # logits; that of the last layer, which has all that is left, is not used
        part = functional.pad(v[:, 1 : self.layers], (0, 1))
        rest = functional.pad(functional.logsigmoid(-part).cumsum(1), (1, -1))  # ln of what is left for each layer
        told = self._told(functional.pad(u[:, 1:], (0, 1)), h, part, rest)
        own = self._own(cond, u[:, :1], rest, torch.arange(self.layers, device=v.device))
        hidden = self.hidden(torch.cat([*seen(told, BACK, DECAYS), *own], dim=2))
        energy = self.energy(torch.cat([hidden, h[:, :, None]], dim=2))[:, :-1]
        numbers = torch.cat([self.total(cond)[:, None], energy, self.hits(hidden)], dim=1)
        return _log_likelihood(scaled, numbers)

    def draw(self, cond: Tensor) -> Tensor:
        """v (N, 2 L)."""
        rows, zero = len(cond), cond.new_zeros(len(cond), 1)
        total = _drawn(self.total(cond))
        rest, memory = zero, LayerMemory(cond.new_zeros(rows, 1, _TOLD), BACK, DECAYS)
        us, hs = [total], list[Tensor]()
        std, mean = self.standard.std, self.standard.mean
        for i in range(self.layers):
            own = self._own(cond, total, rest, torch.tensor([i], device=cond.device))
            hidden = self.hidden(torch.cat([*memory.seen, *own], dim=2))[:, 0]
            h = _drawn(self.hits(hidden))
            last = i == self.layers - 1
            u = zero if last else _drawn(self.energy(torch.cat([hidden, h], dim=1)))
            part = zero if last else u * std[i + 1] + mean[i + 1]
            memory.add(self._told(u, h, part, rest))
            rest = rest + functional.logsigmoid(-part)
            us, hs = [*us, u], [*hs, h]
        return self.standard.inverse(torch.cat([*us[: self.layers], *hs], dim=1))

    def _told(self, u: Tensor, h: Tensor, part: Tensor, rest: Tensor) -> Tensor:
        """(N, L, 4) of what layers (N, L) tell those behind."""
        return torch.stack([h, u, part.sigmoid(), (rest + functional.logsigmoid(part)).clamp(min=-12) / 4], dim=2)

    def _own(self, cond: Tensor, total: Tensor, rest: Tensor, layer: Tensor) -> list[Tensor]:
        """What a layer is given beside those before: the condition, the total, what is left (N, L), and which one it is."""
        rows, n = rest.shape
        each = torch.cat([cond, total], dim=1)[:, None].expand(rows, n, -1)
        return [each, rest.clamp(min=-12)[:, :, None] / 4, self.embedding(layer).expand(rows, n, -1)]


def _log_likelihood(x: Tensor, out: Tensor) -> Tensor:
    """(N, D) of x (N, D), whose mixtures a network says (N, D, 3 K)."""
    each = mixture_log_likelihood(x.flatten()[:, None], *mixture(out.flatten(0, 1).to(x.dtype), _LEAST))
    return each.view_as(x)


def _drawn(out: Tensor) -> Tensor:
    """(N, 1) from mixtures that a network says (N, 3 K)."""
    return draw_mixture(*mixture(out, _LEAST))
