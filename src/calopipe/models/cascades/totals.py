"""Numbers of hits and energies of rings, from those of their layers: the layers one after another, the rings from inside out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from calopipe.models.building import draw_mixture, mixture, mlp
from calopipe.models.cascades.scales import Grid, draw_number, share_logit
from calopipe.models.layer_memory import LayerMemory, seen, shifted
from calopipe.models.losses import mixture_log_likelihood

#: how much of a layer's rings later layers remember, from one to the next
BACK, DECAYS = 2, (0.5, 0.85)
_EMBEDDED = 16
#: smallest log variance of a part of a mixture of shares
LEAST = -9.0


class RingTotals(nn.Module):
    """p(n_lr, E_lr | totals of all layers, rings before): how many of the hits that are left are in the ring, and how much of the energy above
    their thresholds.
    """

    def __init__(self, grid: Grid, width: int, components: int) -> None:
        super().__init__()
        self.grid = grid
        rings = grid.rings
        self.layer, self.ring = nn.Embedding(grid.layers, _EMBEDDED), nn.Embedding(rings, _EMBEDDED)
        self.before = mlp([3 * rings * (BACK + len(DECAYS)) + 14 + _EMBEDDED, width, width], nn.SiLU)
        self.hidden = nn.Sequential(nn.Linear(width + 3 * rings + 4 + _EMBEDDED, width), nn.SiLU())
        self.counts = nn.Linear(width, grid.angles + 1)
        self.energies = mlp([width + 4, width // 2, 3 * components], nn.SiLU)

    # ---- what is known ---------------------------------------------------------------------------------------------------
    def of_layer(self, n: Tensor, energy: Tensor, total: Tensor) -> Tensor:
        """What is told of the rings (..., R) of a layer to those behind: hits, energies, and shares of the layer's energy."""
        share = energy / total.clamp(min=1e-12)[..., None]
        return torch.cat([n / self.grid.angles, self.grid.log(energy), share], dim=-1)

    def of_layers(self, incident: Tensor, n: Tensor, energy: Tensor) -> Tensor:
        """(N, L, 14) of incident energies (N,), numbers of hits and energies (N, L) of all layers: a layer, those around it, the shower."""
        logs, part = self.grid.log(energy), (n / (self.grid.rings * self.grid.angles)).sqrt()
        each = self.grid.log(energy / n.clamp(min=1))
        done = energy.cumsum(1) / energy.sum(1, keepdim=True).clamp(min=1e-12)
        beside = [shifted(v, k) for v in (logs, part) for k in (-2, -1, 1, 2)]
        return torch.stack(
            [logs, part, each, done, shifted(done, 1), incident[:, None].expand_as(done), *beside], dim=2
        )

    def context(self, layer: Tensor, told: list[Tensor], own: Tensor) -> Tensor:
        return self.before(torch.cat([*told, own, self.layer(layer)], dim=-1))

    # ---- likelihood ------------------------------------------------------------------------------------------------------
    def log_prob(self, incident: Tensor, n: Tensor, energy: Tensor, part: float) -> Tensor:
        """Sum over all layers of ln p of the rings' hits and energies (N, L, R), estimated with a part of the layers."""
        layers_n, layers_energy = n.sum(2), energy.sum(2)
        told = self.of_layer(n, energy, layers_energy)
        before = seen(told, BACK, DECAYS)
        own = self.of_layers(incident, layers_n, layers_energy)
        chosen = layers_n > 0
        if part < 1:
            chosen = chosen & (torch.rand_like(layers_n) < part)
        layer = torch.arange(self.grid.layers, device=n.device).expand_as(chosen)[chosen]
        context = self.context(layer, [v[chosen] for v in before], own[chosen])
        return self._of_rings(context, told[chosen], n[chosen], energy[chosen]) / part

    def _of_rings(self, context: Tensor, told: Tensor, n: Tensor, energy: Tensor) -> Tensor:
        rings = self.grid.rings
        before = torch.tril(torch.ones(rings, rings, device=n.device), -1)
        left_n = n.sum(1, keepdim=True) - n @ before.T
        left_energy = (energy.sum(1, keepdim=True) - energy @ before.T).clamp(min=0)
        ring = torch.arange(rings, device=n.device)
        h = self._hidden(
            context[:, None].expand(-1, rings, -1), told[:, None] * before.repeat(1, 3), left_n, left_energy, ring
        )
        some = left_n > 0
        logits = self._logits(h, left_n, ring)
        found = logits.gather(2, n.long()[..., None])[..., 0][some].sum()
        split = some & (n > 0) & (n < left_n)
        if split.any():
            density = self._mixture(h[split], n[split], left_n[split], left_energy[split])
            free = self.grid.free(energy[split], n[split]), self.grid.free(left_energy[split], left_n[split])
            found = found + mixture_log_likelihood(share_logit(*free), *density).sum()
        return found

    def _hidden(self, context: Tensor, inner: Tensor, left_n: Tensor, left_energy: Tensor, ring: Tensor) -> Tensor:
        grid = self.grid
        room = (grid.rings - ring) * grid.angles
        numbers = [
            left_n / grid.angles,
            left_n / room,
            grid.log(left_energy),
            grid.log(left_energy / left_n.clamp(min=1)),
        ]
        known = torch.stack(torch.broadcast_tensors(*numbers), dim=-1)
        return self.hidden(torch.cat([context, inner, known, self.ring(ring).expand(*known.shape[:-1], -1)], dim=-1))

    def _logits(self, h: Tensor, left_n: Tensor, ring: Tensor) -> Tensor:
        """Log probabilities (..., A + 1) of numbers of hits: no more than are left, and so many that the rings further out can take the rest."""
        grid = self.grid
        number = torch.arange(grid.angles + 1, device=h.device)
        least = (left_n - (grid.rings - 1 - ring) * grid.angles).clamp(min=0)[..., None]
        allowed = (number >= least) & (number <= left_n[..., None])
        return self.counts(h).masked_fill(~allowed, -1e9).log_softmax(-1)

    def _mixture(self, h: Tensor, n: Tensor, left_n: Tensor, left_energy: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log weights, means and log variances (M, K, 1) of the logit of the share of the energy that is free."""
        part = n / left_n
        known = [n / self.grid.angles, part, self.grid.log(left_energy), self.grid.log(left_energy / left_n)]
        out = self.energies(torch.cat([h, torch.stack(known, dim=-1)], dim=-1))
        weights, mean, log_var = mixture(out, least=LEAST)
        return weights, mean + torch.logit(part)[..., None, None], log_var

    # ---- sampling --------------------------------------------------------------------------------------------------------
    def draw(self, incident: Tensor, layers_n: Tensor, layers_energy: Tensor) -> tuple[Tensor, Tensor]:
        """Hits and energies (N, L, R) of rings, from those of their layers (N, L)."""
        grid, rows = self.grid, len(incident)
        own = self.of_layers(incident, layers_n, layers_energy)
        n, energy = (own.new_zeros(rows, grid.layers, grid.rings) for _ in range(2))
        memory = LayerMemory(own.new_zeros(rows, 3 * grid.rings), BACK, DECAYS)
        for i in range(grid.layers):
            layer = torch.full((rows,), i, device=own.device)
            context = self.context(layer, memory.seen, own[:, i])
            n[:, i], energy[:, i] = self._draw_layer(context, layers_n[:, i], layers_energy[:, i])
            memory.add(self.of_layer(n[:, i], energy[:, i], layers_energy[:, i]))
        return n, energy

    def _draw_layer(self, context: Tensor, total_n: Tensor, total_energy: Tensor) -> tuple[Tensor, Tensor]:
        grid = self.grid
        n, energy, logs, shares = (context.new_zeros(len(context), grid.rings) for _ in range(4))
        left_n, left_energy = total_n.clone(), total_energy.clone()
        for r in range(grid.rings):
            ring = torch.tensor(r, device=context.device)
            inner = torch.cat([n / grid.angles, logs, shares], dim=1)
            h = self._hidden(context, inner, left_n, left_energy, ring)
            logits = self._logits(h, left_n, ring)
            n[:, r] = draw_number(logits)
            part = torch.minimum(n[:, r], left_n)
            split = (part > 0) & (part < left_n)
            here = torch.where((part > 0) & ~split, left_energy, torch.zeros_like(left_energy))
            if split.any():
                density = self._mixture(h[split], part[split], left_n[split], left_energy[split])
                share = torch.sigmoid(draw_mixture(*density)[:, 0])
                free = self.grid.free(left_energy[split], left_n[split])
                here[split] = part[split] * grid.threshold + share * free
            energy[:, r] = here
            logs[:, r], shares[:, r] = grid.log(here), here / total_energy.clamp(min=1e-12)
            left_n, left_energy = left_n - part, (left_energy - here).clamp(min=0)
        return n, energy
