"""Hits and energies of the cells of a ring, from the ring's totals, the rings inside it and the layers before."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from calopipe.models.building import mlp, wrap
from calopipe.models.cascades.scales import Grid
from calopipe.models.cascades.sums import (
    dirichlet_log_prob,
    draw_hits,
    draw_shares,
    log_prob_of_hits,
)

#: what is remembered of a cell from one layer to the next
DECAY = 0.7
#: cells that are seen on either side
_REACH = 2
#: hit and energy of cells in the layer before (three rings), remembered (three), two layers before, and of the two rings inside
_CHANNELS = 2 * (3 + 3 + 1 + 2)
_NUMBERS = 13
#: bounds of ln of a Dirichlet distribution's numbers
_ALPHA = (-3.0, 8.0)


@dataclass
class Drawn:
    """Cells as far as they are known, with layers and rings of nothing around them.

    Attributes:
        now: (N, L + 2, R + 3, A, 2) hits and energies; layer l is at l + 2, ring r at r + 2.
        before: of the same shape, what is remembered of all layers before.
    """

    now: Tensor
    before: Tensor

    @classmethod
    def empty(cls, rows: int, grid: Grid, like: Tensor) -> Drawn:
        shape = (rows, grid.layers + 2, grid.rings + 3, grid.angles, 2)
        return cls(like.new_zeros(shape), like.new_zeros(shape))

    @classmethod
    def of(cls, energy: Tensor, grid: Grid) -> Drawn:
        """All of a shower's cells (N, L, R, A)."""
        drawn = cls.empty(len(energy), grid, energy)
        drawn.now[:, 2:, 2:-1] = torch.stack([(energy > 0).to(energy.dtype), grid.log(energy)], dim=-1)
        for layer in range(3, grid.layers + 2):
            drawn.before[:, layer] = DECAY * drawn.before[:, layer - 1] + (1 - DECAY) * drawn.now[:, layer - 1]
        return drawn

    def set(self, at: Rings, energy: Tensor, grid: Grid) -> None:
        """Cells (M, A) of some rings; each ring of a layer must follow the same one of the layer before."""
        found = torch.stack([(energy > 0).to(energy.dtype), grid.log(energy)], dim=-1)
        shower, layer, ring = at.shower, at.layer + 2, at.ring + 2
        self.now[shower, layer, ring] = found

    def remember(self, layer: Tensor, ring: Tensor) -> None:
        """Take rings of layers (K,) into what the next layer remembers."""
        inside = layer + 3 < self.now.shape[1]
        a, r = layer[inside] + 2, ring[inside] + 2
        self.before[:, a + 1, r] = DECAY * self.before[:, a, r] + (1 - DECAY) * self.now[:, a, r]


@dataclass
class Rings:
    """Some rings of some showers: (M,) indices of each."""

    shower: Tensor
    layer: Tensor
    ring: Tensor


class RingCells(nn.Module):
    """p(cells of a ring | totals of all rings, cells of rings before).

    First how many of the hits are in even cells; which even cells these are; then, given those, which odd ones; then the energies. Of cells
    whose number of hits is known the hits are conditional Bernoulli variables; shares of the energy above the thresholds are drawn from a mixture of
    Dirichlet distributions. So every ring has its number of hits and its energy.
    """

    def __init__(self, grid: Grid, width: int, components: int) -> None:
        super().__init__()
        self.grid, self.width, self.components = grid, width, components
        self.layer, self.ring = nn.Embedding(grid.layers, width), nn.Embedding(grid.rings, width)
        self.numbers = nn.Linear(_NUMBERS, width)
        self.near = nn.Linear(_CHANNELS * (2 * _REACH + 1), width)
        self.mixed, self.common = nn.Linear(width, width), nn.Linear(width, width, bias=False)
        self.even = nn.Linear(width, 1)
        self.odd = mlp([width + 2, width // 2, 1], nn.SiLU)
        self.number_even = mlp([2 * width + 1, width, grid.angles // 2 + 1], nn.SiLU)
        self.alpha = mlp([width + 5, width, components], nn.SiLU)
        self.weights = nn.Linear(width, components)

    # ---- what is known ---------------------------------------------------------------------------------------------------
    def of_rings(self, incident: Tensor, n: Tensor, energy: Tensor) -> Tensor:
        """(N, L, R, 13) of incident energies (N,), hits and energies (N, L, R): of a ring, those around it, its layer, the shower."""
        logs, part = self.grid.log(energy), n / self.grid.angles
        each = self.grid.log(energy / n.clamp(min=1))
        layer_n = (n.sum(2) / (self.grid.angles * self.grid.rings)).sqrt()[..., None].expand_as(n)
        layer_energy = self.grid.log(energy.sum(2))[..., None].expand_as(n)
        found = [part, logs, each, layer_n, layer_energy, incident[:, None, None].expand_as(n)]
        for v in (part, logs):
            padded = nn.functional.pad(v, (0, 1, 1, 1))
            found += [padded[:, 1:-1, 1:], padded[:, 2:, :-1], padded[:, :-2, :-1]]
        found.append(nn.functional.pad(each, (0, 0, 1, 0))[:, :-1])
        return torch.stack(found, dim=-1)

    def _seen(self, drawn: Drawn, at: Rings) -> Tensor:
        """(M, A, channels * (2 reach + 1)) of the cells around each cell."""
        _, layers, rings, angles, channels = drawn.now.shape
        now, before = (v.view(-1, angles, channels) for v in (drawn.now, drawn.before))
        flat = (at.shower * layers + at.layer + 2) * rings + at.ring + 2
        previous = flat - rings
        seen = [now[previous + k] for k in (-1, 0, 1)] + [before[flat + k] for k in (-1, 0, 1)]
        seen += [now[previous - rings], now[flat - 1], now[flat - 2]]
        x = torch.cat(seen, dim=2)
        x = wrap(x, 1, _REACH) if self.grid.periodic else nn.functional.pad(x, (0, 0, _REACH, _REACH))
        return x.unfold(1, 2 * _REACH + 1, 1).flatten(2)

    def _hidden(self, drawn: Drawn, at: Rings, numbers: Tensor) -> Tensor:
        """(M, A, width) of some rings with numbers (M, 13)."""
        whole = self.numbers(numbers) + self.layer(at.layer) + self.ring(at.ring)
        h = nn.functional.silu(self.near(self._seen(drawn, at)) + whole[:, None])
        return h + nn.functional.silu(self.mixed(h) + self.common(h.mean(1))[:, None])

    def _numbers_even(self, h: Tensor, n: Tensor) -> Tensor:
        """Log probabilities (M, A / 2 + 1) of numbers of hits in even cells."""
        half = self.grid.angles // 2
        known = [h[:, 0::2].mean(1), h[:, 1::2].mean(1), (n / self.grid.angles)[:, None]]
        number = torch.arange(half + 1, device=h.device)
        allowed = (number >= n[:, None] - half) & (number <= n[:, None])
        return self.number_even(torch.cat(known, dim=1)).masked_fill(~allowed, -1e9).log_softmax(1)

    def _odd_logits(self, h: Tensor, even: Tensor) -> Tensor:
        """Logits (M, A / 2) of the odd cells, given the hits in even ones (M, A / 2)."""
        right = even.roll(-1, 1)
        if not self.grid.periodic:
            right = nn.functional.pad(even[:, 1:], (0, 1))
        return self.odd(torch.cat([h[:, 1::2], torch.stack([even, right], dim=2)], dim=2))[..., 0]

    def _shares(self, h: Tensor, hit: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """Log numbers (M, K, A) of Dirichlet distributions, and their log weights (M, K)."""
        padded = wrap(hit, 1) if self.grid.periodic else nn.functional.pad(hit, (1, 1))
        known = [hit, padded[:, :-2], padded[:, 2:], *(numbers[:, i, None].expand_as(hit) for i in (0, 2))]
        log_alpha = self.alpha(torch.cat([h, torch.stack(known, dim=2)], dim=2)).clamp(*_ALPHA)
        pooled = (h * hit[..., None]).sum(1) / hit.sum(1, keepdim=True).clamp(min=1)
        return log_alpha.transpose(1, 2), self.weights(pooled).log_softmax(1)

    # ---- likelihood ------------------------------------------------------------------------------------------------------
    def log_prob(self, incident: Tensor, energy: Tensor, part: float) -> tuple[Tensor, Tensor]:
        """Sums over all rings of ln p of hits, and of energies of cells (N, L, R, A), estimated with a part of the rings."""
        hits = (energy > 0).to(energy.dtype)
        n, total = hits.sum(3), energy.sum(3)
        chosen = n > 0
        if part < 1:
            chosen = chosen & (torch.rand_like(n) < part)
        at = Rings(*chosen.nonzero().unbind(1))
        numbers = self.of_rings(incident, n, total)[chosen]
        h = self._hidden(Drawn.of(energy, self.grid), at, numbers)
        hit, n = hits[chosen], n[chosen]
        even, odd = hit[:, 0::2], hit[:, 1::2]
        found = self._numbers_even(h, n).gather(1, even.sum(1).long()[:, None]).sum()
        found = found + log_prob_of_hits(self.even(h[:, 0::2])[..., 0], even).sum()
        found = found + log_prob_of_hits(self._odd_logits(h, even), odd).sum()
        several = n > 1
        hit, n, total, energy = hit[several], n[several], total[chosen][several], energy[chosen][several]
        log_alpha, weights = self._shares(h[several], hit, numbers[several])
        shares = (energy - self.grid.threshold).clamp(min=0) * hit / self.grid.free(total, n)[:, None]
        return found / part, dirichlet_log_prob(log_alpha, weights, shares, hit).sum() / part

    # ---- sampling --------------------------------------------------------------------------------------------------------
    def draw(self, incident: Tensor, n: Tensor, total: Tensor) -> Tensor:
        """Energies (N, L, R, A) of cells, from hits and energies (N, L, R) of rings.

        A ring waits for the one inside it, and for the next one out in the layer before: rings of one 2 layer + ring are drawn at once.
        """
        grid = self.grid
        drawn, energy = Drawn.empty(len(n), grid, total), total.new_zeros(*n.shape, grid.angles)
        numbers = self.of_rings(incident, n, total)
        layer, ring = torch.meshgrid(
            torch.arange(grid.layers, device=n.device), torch.arange(grid.rings, device=n.device), indexing="ij"
        )
        when = 2 * layer + ring
        for step in range(int(when.max()) + 1):
            now = when == step
            at = Rings(*((n > 0) & now).nonzero().unbind(1))
            if len(at.shower):
                where = (at.shower, at.layer, at.ring)
                found = self._draw(drawn, at, n[where], total[where], numbers[where])
                energy[where] = found
                drawn.set(at, found, grid)
            drawn.remember(layer[now], ring[now])
        return energy

    def _draw(self, drawn: Drawn, at: Rings, n: Tensor, total: Tensor, numbers: Tensor) -> Tensor:
        h = self._hidden(drawn, at, numbers)
        logits = self._numbers_even(h, n)
        gumbel = -torch.empty_like(logits).exponential_().log()
        n_even = (logits + gumbel).argmax(1)
        even = draw_hits(self.even(h[:, 0::2])[..., 0], n_even).to(h.dtype)
        odd = draw_hits(self._odd_logits(h, even), n - n_even).to(h.dtype)
        hit = torch.stack([even, odd], dim=2).flatten(1)
        log_alpha, weights = self._shares(h, hit, numbers)
        shares = draw_shares(log_alpha, weights, hit > 0)
        return hit * self.grid.threshold + shares * self.grid.free(total, n)[:, None]
