"""Hits and energies of the cells of a ring, from the ring's totals, the rings inside it and the layers before."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from calopipe.models.building import draw_mixture, mixture, start_at_zero, wrap
from calopipe.models.cascades.scales import Grid, share_logit
from calopipe.models.losses import mixture_log_likelihood

#: what is remembered of a cell from one layer to the next
DECAY = 0.7
#: cells that are seen on either side
REACH = 2
#: hit and energy of cells in the layer before (three rings), remembered (three), two layers before, and of the two rings inside
CHANNELS = 2 * (3 + 3 + 1 + 2)
NUMBERS = 13
#: cells of a ring that a sweep remembers, and those at its beginning that the last ones see again
BACK, AHEAD = 4, 2
#: logit of what is certain
_CERTAIN = 30.0
#: what a sweep knows of the cells that it has passed: of those just before and at its beginning, which there are, and where its middle is
PASSED = BACK + AHEAD + 4
#: middles of the energy of layers before, of the last of them and of rings inside, as seen from a cell, and how finely in widths of a ring
AXES, FINE = 3, 10.0
#: energies below which there is none, in MeV
NONE = 1e-12
#: scores of cells are within these
FARTHEST = 8.0
#: smallest log variance of a part of a mixture of shares
LEAST = -9.0


@dataclass
class Drawn:
    """Cells as far as they are known, with layers and rings of nothing around them.

    Attributes:
        now: (N, L + 2, R + 3, A, 2) hits and energies; layer l is at l + 2, ring r at r + 2.
        before: of the same shape, what is remembered of all layers before.
        inside: (N, L + 1, R + 1, 3), ``Grid.moments`` of a layer's rings up to one; layer l is at l + 1, ring r at r + 1.
        along: of the same shape, those of that and of all layers before, where one more ring counts for each layer further back: what is known when
            rings are drawn in the order of :meth:`RingCells.draw`.
    """

    now: Tensor
    before: Tensor
    inside: Tensor
    along: Tensor

    @classmethod
    def empty(cls, rows: int, grid: Grid, like: Tensor) -> Drawn:
        cells = (rows, grid.layers + 2, grid.rings + 3, grid.angles, 2)
        rings = (rows, grid.layers + 1, grid.rings + 1, 3)
        return cls(*(like.new_zeros(shape) for shape in (cells, cells, rings, rings)))

    @classmethod
    def of(cls, energy: Tensor, grid: Grid) -> Drawn:
        """All of a shower's cells (N, L, R, A)."""
        drawn = cls.empty(len(energy), grid, energy)
        drawn.now[:, 2:, 2:-1] = torch.stack([(energy > 0).to(energy.dtype), grid.log(energy)], dim=-1)
        for layer in range(3, grid.layers + 2):
            drawn.before[:, layer] = DECAY * drawn.before[:, layer - 1] + (1 - DECAY) * drawn.now[:, layer - 1]
        ring = torch.arange(grid.rings, device=energy.device).expand(energy.shape[:3])
        drawn.inside[:, 1:, 1:] = grid.moments(energy, ring).cumsum(2)
        for layer in range(1, grid.layers + 1):
            wider = torch.cat([drawn.along[:, layer - 1, 2:], drawn.along[:, layer - 1, -1:]], dim=1)
            drawn.along[:, layer, 1:] = drawn.inside[:, layer, 1:] + wider
        return drawn

    def set(self, at: Rings, energy: Tensor, grid: Grid) -> None:
        """Cells (M, A) of some rings; each ring of a layer must follow the same one of the layer before."""
        found = torch.stack([(energy > 0).to(energy.dtype), grid.log(energy)], dim=-1)
        shower, layer, ring = at.shower, at.layer + 2, at.ring + 2
        self.now[shower, layer, ring] = found

    def remember(self, layer: Tensor, ring: Tensor, energy: Tensor, grid: Grid) -> None:
        """Take rings of layers (K,), of all cells (N, L, R, A), into what the next ring and layer know."""
        inside = layer + 3 < self.now.shape[1]
        a, r = layer[inside] + 2, ring[inside] + 2
        self.before[:, a + 1, r] = DECAY * self.before[:, a, r] + (1 - DECAY) * self.now[:, a, r]
        found = self.inside[:, layer + 1, ring] + grid.moments(energy[:, layer, ring], ring.expand(len(energy), -1))
        self.inside[:, layer + 1, ring + 1] = found
        self.along[:, layer + 1, ring + 1] = found + self.along[:, layer, (ring + 2).clamp(max=grid.rings)]

    def middles(self, at: Rings, directions: Tensor) -> Tensor:
        """(M, A, 3) of some rings: how far the middle of the energy lies towards each cell, in the layers before, the last of them, the rings inside."""
        wider = (at.ring + 2).clamp(max=self.inside.shape[2] - 1)
        known = torch.stack(
            [
                self.along[at.shower, at.layer, wider],
                self.inside[at.shower, at.layer, wider],
                self.inside[at.shower, at.layer + 1, at.ring],
            ],
            dim=1,
        )
        return torch.asinh(FINE * (known[..., :2] / known[..., 2:].clamp(min=NONE)) @ directions).transpose(1, 2)


@dataclass
class Rings:
    """Some rings of some showers: (M,) indices of each."""

    shower: Tensor
    layer: Tensor
    ring: Tensor


class RingCells(nn.Module):
    """p(cells of a ring | totals of all rings, cells of rings before).

    Two sweeps along the angle, each knowing the cells of the ring that it has passed: which cells are hit, so that the ring has its number of hits; then
    which share of the energy that is left above the thresholds a hit has, so that the ring has its energy. Of the cells to come a sweep knows scores:
    in proportion to their exponentials hits, and energies of hits, are shared out, before the sweep says how they differ from that.
    """

    follow: Tensor
    there: Tensor
    directions: Tensor

    def __init__(self, grid: Grid, width: int, components: int) -> None:
        super().__init__()
        self.grid = grid
        self.layer, self.ring = nn.Embedding(grid.layers, width), nn.Embedding(grid.rings, width)
        self.numbers = nn.Linear(NUMBERS, width)
        self.near = nn.Linear(CHANNELS * (2 * REACH + 1) + AXES, width)
        self.mixed, self.common = nn.Linear(width, width), nn.Linear(width, width, bias=False)
        self.scores = start_at_zero(nn.Linear(width, 2))
        self.hit_cell, self.hit_swept = nn.Linear(width, width // 2), nn.Linear(PASSED + 4, width // 2, bias=False)
        self.hit = nn.Linear(width // 2, 1)
        self.energy_cell, self.energy_swept = nn.Linear(width, width), nn.Linear(PASSED + 6, width, bias=False)
        self.energy = nn.Linear(width, 3 * components)
        self.closes = grid.periodic and grid.angles > BACK + AHEAD
        index = torch.arange(grid.angles)[:, None]
        follow = (index + torch.arange(1, AHEAD + 1) >= grid.angles).float() * self.closes
        there = torch.cat([index.clamp(max=BACK) / BACK, follow.sum(1, keepdim=True) / AHEAD], dim=1)
        self.register_buffer("follow", follow, persistent=False)
        self.register_buffer("there", there, persistent=False)
        self.register_buffer("directions", grid.directions(there), persistent=False)

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
        """(M, A, channels * (2 reach + 1) + 3) of the cells around each cell, and of the middles of the energy."""
        _, layers, rings, angles, channels = drawn.now.shape
        now, before = (v.view(-1, angles, channels) for v in (drawn.now, drawn.before))
        flat = (at.shower * layers + at.layer + 2) * rings + at.ring + 2
        previous = flat - rings
        seen = [now[previous + k] for k in (-1, 0, 1)] + [before[flat + k] for k in (-1, 0, 1)]
        seen += [now[previous - rings], now[flat - 1], now[flat - 2]]
        x = torch.cat(seen, dim=2)
        x = wrap(x, 1, REACH) if self.grid.periodic else nn.functional.pad(x, (0, 0, REACH, REACH))
        return torch.cat([x.unfold(1, 2 * REACH + 1, 1).flatten(2), drawn.middles(at, self.directions)], dim=2)

    def _hidden(self, drawn: Drawn, at: Rings, numbers: Tensor) -> Tensor:
        """(M, A, width) of some rings with numbers (M, 13)."""
        whole = self.numbers(numbers) + self.layer(at.layer) + self.ring(at.ring)
        h = nn.functional.silu(self.near(self._seen(drawn, at)) + whole[:, None])
        return h + nn.functional.silu(self.mixed(h) + self.common(h.mean(1))[:, None])

    def _passed(self, values: Tensor, weights: Tensor) -> Tensor:
        """(M, A, back + ahead + 4) of the cells (M, A) of a ring that a sweep has passed: those just before each cell, and, where the ring closes,
        those at its beginning that follow the last ones. Behind them: which of them there are, and the middle of the weights passed, as seen from
        the cell.
        """
        padded = nn.functional.pad(values, (BACK, AHEAD))
        if self.closes:
            padded[:, -AHEAD:] = values[:, :AHEAD]
        windows = padded.unfold(1, BACK + AHEAD + 1, 1)
        ahead = windows[..., BACK + 1 :] * self.follow
        sums = nn.functional.pad(self._weighed(weights).cumsum(1)[:, :-1], (0, 0, 1, 0))
        there = self.there.expand(len(values), -1, -1)
        return torch.cat([windows[..., :BACK], ahead, there, self._middle(sums, self.directions)], dim=-1)

    def _weighed(self, weights: Tensor) -> Tensor:
        """(M, A, 3) weights (M, A) times the directions of cells, and weights."""
        return torch.cat([weights[..., None] * self.directions.T, weights[..., None]], dim=-1)

    @staticmethod
    def _middle(sums: Tensor, directions: Tensor) -> Tensor:
        """(M, A, 2) where the middle of sums (M, A, 3) is, towards each of the cells with directions (2, A) and to its side."""
        x, y = (sums[..., :2] / sums[..., 2:].clamp(min=NONE)).unbind(-1)
        cos, sin = directions
        return torch.stack([x * cos + y * sin, y * cos - x * sin], dim=-1)

    def _begin(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """What a sweep over rings has passed before it begins, with room for it: what :meth:`_passed` makes of `rows` (M, A) of nothing."""
        return rows.new_zeros(len(rows), BACK + self.grid.angles + AHEAD), rows.new_zeros(len(rows), 1, 3)

    def _at(self, sweep: tuple[Tensor, Tensor], angle: int) -> Tensor:
        """(M, back + ahead + 4) as :meth:`_passed` has them of one cell, of a sweep that has come to it."""
        cells, sums = sweep
        there = self.there[angle].expand(len(cells), -1)
        middle = self._middle(sums, self.directions[:, angle : angle + 1])[:, 0]
        return torch.cat(
            [cells[:, angle : angle + BACK], cells[:, angle + BACK + 1 :][:, :AHEAD], there, middle], dim=1
        )

    def _pass(self, sweep: tuple[Tensor, Tensor], angle: int, values: Tensor, weights: Tensor) -> None:
        """Take a cell (M,) into a sweep."""
        cells, sums = sweep
        cells[:, BACK + angle] = values
        if self.closes and angle < AHEAD:
            cells[:, BACK + self.grid.angles + angle] = values
        sums += torch.cat([weights[:, None] * self.directions[:, angle], weights[:, None]], dim=1)[:, None]

    def _scores(self, h: Tensor) -> tuple[Tensor, Tensor]:
        """Of the hits of cells, and of the energies that they have where they are hit: (M, A) each."""
        hits, energies = (FARTHEST * torch.tanh(self.scores(h) / FARTHEST)).unbind(-1)
        return hits, energies

    @staticmethod
    def _rates(scores: Tensor) -> Tensor:
        """(M, A) of each cell the part of the hits that go into it and those behind it, if only scores counted."""
        weights = scores.exp()
        return weights / weights.flip(1).cumsum(1).flip(1)

    @staticmethod
    def _shares(scores: Tensor, hit: Tensor) -> Tensor:
        """(M, A) logits of the share of the energy of the hits (M, A) from each cell on that it has, if only scores counted; of the last one anything."""
        weights = scores.exp() * hit
        later = nn.functional.pad(weights.flip(1).cumsum(1).flip(1)[:, 1:], (0, 1))
        return scores - later.clamp(min=NONE).log()

    def _hit_logits(self, cell: Tensor, passed: Tensor, left: Tensor, room: Tensor, part: Tensor) -> Tensor:
        """Logits (...) of a hit, where `left` hits go into the last `room` cells of the ring; certain where there is no choice."""
        rate = (left * part).clamp(1e-3, 1 - 1e-3)
        numbers = [left / self.grid.angles, room / self.grid.angles, rate, torch.logit(rate)]
        known = torch.cat([passed, torch.stack(torch.broadcast_tensors(*numbers), dim=-1)], dim=-1)
        logits = self.hit(nn.functional.silu(cell + self.hit_swept(known)))[..., 0] + torch.logit(rate)
        return torch.where(left >= room, _CERTAIN, torch.where(left <= 0, -_CERTAIN, logits))

    def _mixture(
        self, cell: Tensor, passed: Tensor, left: Tensor, energy: Tensor, share: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Log weights, means and log variances (M, K, 1) of the logit of a hit's share, where `left` hits have so much energy."""
        known = [
            left / self.grid.angles,
            1 / left,
            self.grid.log(energy),
            self.grid.log(energy / left),
            self.grid.log(self.grid.free(energy, left)),
            share / FARTHEST,
        ]
        swept = self.energy_swept(torch.cat([passed, torch.stack(known, dim=-1)], dim=-1))
        weights, mean, log_var = mixture(self.energy(nn.functional.silu(cell + swept)), least=LEAST)
        return weights, mean + share[:, None, None], log_var

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
        hit, energy = hits[chosen], energy[chosen]
        left = hit.flip(1).cumsum(1).flip(1)
        room = torch.arange(self.grid.angles, 0, -1, device=hit.device).to(hit.dtype)
        of_hits, of_energies = self._scores(h)
        logits = self._hit_logits(self.hit_cell(h), self._passed(hit, hit), left, room, self._rates(of_hits))
        found = -nn.functional.binary_cross_entropy_with_logits(logits, hit, reduction="sum")
        open_end = (hit > 0) & (left > 1)
        rest = energy.flip(1).cumsum(1).flip(1)[open_end]
        passed = self._passed(self.grid.log(energy), energy)[open_end]
        share = self._shares(of_energies, hit)[open_end]
        density = self._mixture(self.energy_cell(h[open_end]), passed, left[open_end], rest, share)
        free = (energy[open_end] - self.grid.threshold).clamp(min=0), self.grid.free(rest, left[open_end])
        return found / part, mixture_log_likelihood(share_logit(*free), *density).sum() / part

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
                h = self._hidden(drawn, at, numbers[where])
                hit = self._draw_hits(h, n[where])
                energy[where] = found = self._draw_energies(h, hit, total[where])
                drawn.set(at, found, grid)
            drawn.remember(layer[now], ring[now], energy, grid)
        return energy

    def _draw_hits(self, h: Tensor, n: Tensor) -> Tensor:
        """Hits (M, A) of 0 and 1 of rings with so many (M,)."""
        cell, hit, left = self.hit_cell(h), h.new_zeros(h.shape[:2]), n.clone()
        sweep, uniform = self._begin(hit), torch.logit(torch.rand_like(hit), eps=1e-7)
        part = self._rates(self._scores(h)[0])
        for angle in range(self.grid.angles):
            room = left.new_tensor(float(self.grid.angles - angle))
            logits = self._hit_logits(cell[:, angle], self._at(sweep, angle), left, room, part[:, angle])
            hit[:, angle] = drawn = (logits > uniform[:, angle]).to(hit.dtype)
            self._pass(sweep, angle, drawn, drawn)
            left = left - drawn
        return hit

    def _draw_energies(self, h: Tensor, hit: Tensor, total: Tensor) -> Tensor:
        """Energies (M, A) of the hits (M, A) of rings with so much energy (M,)."""
        grid, rest, sweep = self.grid, total.clone(), self._begin(hit)
        energy, left = torch.zeros_like(hit), hit.flip(1).cumsum(1).flip(1)
        shares = self._shares(self._scores(h)[1], hit)
        for angle in range(grid.angles):
            found = torch.where((hit[:, angle] > 0) & (left[:, angle] == 1), rest, torch.zeros_like(rest))
            rows = ((hit[:, angle] > 0) & (left[:, angle] > 1)).nonzero()[:, 0]
            if len(rows):
                here, many = rest[rows], left[rows, angle]
                known = self._at(sweep, angle)[rows]
                density = self._mixture(self.energy_cell(h[rows, angle]), known, many, here, shares[rows, angle])
                share = torch.sigmoid(draw_mixture(*density)[:, 0])
                found[rows] = grid.threshold + share * grid.free(here, many)
            energy[:, angle] = found
            self._pass(sweep, angle, grid.log(found), found)
            rest = (rest - found).clamp(min=0)
        return energy
