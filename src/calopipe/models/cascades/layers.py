"""Numbers of hits and energies of layers: the total energy, then the layers one after another, each a part of what is left."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from calopipe.models.building import draw_mixture, mixture, mlp
from calopipe.models.cascades.scales import Grid, draw_number, share_logit
from calopipe.models.layer_memory import LayerMemory, seen
from calopipe.models.losses import mixture_log_likelihood

#: layers before that are seen one by one, and how much of all of them is remembered
BACK, DECAYS = 4, (0.6, 0.9)
_EMBEDDED = 16
#: logit of an empty shower before anything is learned
_SELDOM = -8.0
#: smallest log variance of a part of a mixture of shares
LEAST = -12.0


class LayerTotals(nn.Module):
    """p(n_l, E_l | incident energy, layers before).

    ln(E_tot / E_inc) is a mixture of normals. Of each layer it is drawn how many hits it has, whether it has all the energy that is left,
    and if not, which share of what is left above their thresholds. The sum is met exactly.
    """

    def __init__(self, grid: Grid, width: int, components: int, dropout: float) -> None:
        super().__init__()
        self.grid = grid
        self.total = mlp([1, width // 2, 3 * components + 1], nn.SiLU)
        head = self.total[-1]
        assert isinstance(head, nn.Linear)
        nn.init.constant_(head.bias[:1], _SELDOM)
        self.layer = nn.Embedding(grid.layers, _EMBEDDED)
        inputs = 4 * BACK + 4 * len(DECAYS) + 5 + _EMBEDDED
        self.hidden = nn.Sequential(
            nn.Linear(inputs, width),
            nn.SiLU(),
            nn.Dropout(dropout),
            nn.Linear(width, width),
            nn.SiLU(),
            nn.Dropout(dropout),
        )
        self.counts = nn.Linear(width, grid.rings * grid.angles + 1)
        self.energies = mlp([width + 4, width // 2, 3 * components + 1], nn.SiLU)

    def _told(self, n: Tensor, energy: Tensor, left: Tensor) -> Tensor:
        """(..., 4) of what layers (...) with so much energy `left` in front of them tell those behind."""
        grid = self.grid
        part = (n / (grid.rings * grid.angles)).sqrt()
        share = energy / left.clamp(min=1e-12)
        return torch.stack([part, grid.log(energy), grid.log(energy / n.clamp(min=1)), share], dim=-1)

    def _own(self, incident: Tensor, ratio: Tensor, total: Tensor, left: Tensor) -> Tensor:
        rest = left / total.clamp(min=1e-12)
        return torch.stack(
            torch.broadcast_tensors(incident, ratio, rest, (rest + 1e-4).log() / 4, self.grid.log(left)), dim=-1
        )

    def _total(self, incident: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
        """Logit (N,) of an empty shower; log weights, means and log variances (N, K, 1) of ln(E_tot / E_inc)."""
        out = self.total(incident[:, None])
        return out[:, 0], mixture(out[:, 1:], least=LEAST)

    def _counts(self, h: Tensor, last: Tensor) -> Tensor:
        """Log probabilities (..., V + 1) of numbers of hits; the last layer of all that could have the energy has some."""
        logits = self.counts(h)
        none = torch.arange(logits.shape[-1], device=h.device) == 0
        return logits.masked_fill(last[..., None] & none, -1e9).log_softmax(-1)

    def _split(self, h: Tensor, n: Tensor, left: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
        """Logit (M,) of being the last one with energy, and the mixture of the logit of the share of what is free."""
        grid = self.grid
        known = [n / (grid.rings * grid.angles), (n + 1).log() / 4, grid.log(left / n), grid.log(left)]
        out = self.energies(torch.cat([h, torch.stack(known, dim=-1)], dim=-1))
        return out[..., 0], mixture(out[..., 1:], least=LEAST)

    # ---- likelihood ------------------------------------------------------------------------------------------------------
    def log_prob(self, scaled: Tensor, incident: Tensor, n: Tensor, energy: Tensor) -> Tensor:
        """Sum over showers of ln p of hits and energies (N, L). scaled: the incident energies (N,) as a number of order one."""
        grid, total = self.grid, energy.sum(1)
        some = total > 0
        empty, density = self._total(scaled)
        found = -nn.functional.binary_cross_entropy_with_logits(empty, (~some).to(empty.dtype), reduction="sum")
        if not some.any():
            return found
        ratio = (total[some] / incident[some]).log()
        found = found + mixture_log_likelihood(ratio[:, None], *(part[some] for part in density)).sum()
        n, energy, total = n[some], energy[some], total[some]
        left = energy.flip(1).cumsum(1).flip(1)
        told = self._told(n, energy, left)
        own = self._own(scaled[some][:, None], ratio[:, None], total[:, None], left)
        number = torch.arange(grid.layers, device=n.device)
        layer = self.layer(number).expand(len(n), -1, -1)
        h = self.hidden(torch.cat([*seen(told, BACK, DECAYS), own, layer], dim=-1))
        alive = left > 0
        logits = self._counts(h, (number == grid.layers - 1).expand_as(alive))
        found = found + logits.gather(2, n.long()[..., None])[..., 0][alive].sum()
        hit = alive & (n > 0)
        behind = left - energy > 1e-6 * left
        behind[:, :-1] &= (n.flip(1).cumsum(1).flip(1) - n)[:, :-1] > 0
        open_end = hit & (number < grid.layers - 1)
        last, density = self._split(h[open_end], n[open_end], left[open_end])
        goes_on = behind[open_end]
        found = found - nn.functional.binary_cross_entropy_with_logits(last, (~goes_on).to(last.dtype), reduction="sum")
        y = share_logit(grid.free(energy[open_end], n[open_end]), grid.free(left[open_end], n[open_end]))
        return found + mixture_log_likelihood(y[goes_on], *(part[goes_on] for part in density)).sum()

    # ---- sampling --------------------------------------------------------------------------------------------------------
    def draw(self, scaled: Tensor, incident: Tensor) -> tuple[Tensor, Tensor]:
        """Hits and energies (N, L) of layers."""
        grid, rows = self.grid, len(scaled)
        empty, density = self._total(scaled)
        ratio = draw_mixture(*density)[:, 0]
        total = torch.where(
            torch.rand_like(empty) < torch.sigmoid(empty), torch.zeros_like(ratio), incident * ratio.exp()
        )
        n, energy = (total.new_zeros(rows, grid.layers) for _ in range(2))
        left = total.clone()
        memory = LayerMemory(total.new_zeros(rows, 4), BACK, DECAYS)
        for i in range(grid.layers):
            layer = self.layer(torch.full((rows,), i, device=total.device))
            own = self._own(scaled, ratio, total, left)
            h = self.hidden(torch.cat([*memory.seen, own, layer], dim=-1))
            end = torch.full((rows,), i == grid.layers - 1, device=total.device)
            logits = self._counts(h, end)
            number = draw_number(logits).to(left.dtype)
            most = (left / grid.threshold).floor() if grid.threshold > 0 else torch.full_like(left, torch.inf)
            count = torch.minimum(number, most) * (left > 0)
            some = count > 0
            here = torch.zeros_like(left)
            if some.any():
                last, density = self._split(h[some], count[some], left[some])
                share = torch.sigmoid(draw_mixture(*density)[:, 0])
                whole = end[some] | (torch.rand_like(last) < torch.sigmoid(last))
                drawn = count[some] * grid.threshold + share * grid.free(left[some], count[some])
                drawn = torch.minimum(drawn, left[some])
                here[some] = torch.where(whole, left[some], drawn)
            n[:, i], energy[:, i] = count, here
            memory.add(self._told(count, here, left))
            left = torch.where(here >= left, torch.zeros_like(left), left - here)
        return n, energy
