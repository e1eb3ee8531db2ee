"""Conditional flow matching of showers: noise that is moved along learned velocities (Lipman 2022; Favaro 2024, CaloDREAM)."""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from calopipe.config.parts import MODELS
from calopipe.models.base import GenerativeModel, Inputs, Now, Objective
from calopipe.models.building import Standardisation
from calopipe.models.matching.balance import Energies, Sums, drawn
from calopipe.models.matching.expectation import LEAST_NOISE, Cells, Posterior, hits_in, renoised
from calopipe.models.matching.scale import Scale
from calopipe.models.matching.settings import FlowMatchingConfig
from calopipe.models.matching.transformer import PatchTransformer
from calopipe.models.matching.walk import LayerWalk

#: ln of the energy of layers without hits
_NO_ENERGY = -20.0


class Known(NamedTuple):
    """What is known of showers beside their noisy cells, standardised: conditions and numbers of layers (N, ...); of each layer (N, L, F), and its sums, if anything."""

    given: Tensor
    local: Tensor
    sums: Sums | None


@MODELS.register("flow_matching", config=FlowMatchingConfig)
class FlowMatching(GenerativeModel):
    """x (N, dim): voxels of a regular grid as logarithms or roots of energies, and what is known of L layers after them, 2 L logits, which are drawn first.

    These are logits of the energy ratios u, and of numbers of hits as parts of the cells (``layer_normalise`` with ``hits``, then ``logit``).

    A shower is x_t = (1 - t) noise + t shower at time t, and its velocity shower - noise, which is expected to be
    (E[shower | x_t] - x_t) / (1 - t). A transformer sees x_t, t and the condition and says of each cell how often it is hit, and a mixture of
    normal distributions of its value then, relative to all training showers; what is expected, or drawn, of it follows from these and from the cell itself.

    The same numbers are also linear functions of what is known of the cell's layer, of each layer and radius its own: how many cells of a layer are hit, and with
    how much energy, mostly follows from the layer's numbers. That energies and hits add up to what is known conditions all cells of a layer together (:mod:`calopipe.models.matching.balance`), as much as the
    transformer says, which also sees what the cells show by themselves of the energies and hits of each layer and radius.

    Two objectives: -log p(shower | x_t), cell by cell, whose expectations have the smallest squared error of velocities where the mixture can be as the
    cells are, and which sees edges of spectra too; and -log p of the layers' numbers (:class:`LayerWalk`).
    """

    mean: Tensor
    std: Tensor
    empty: Tensor
    usual: Tensor
    unit: Tensor
    of_energy: Tensor
    of_hits: Tensor

    def __init__(self, config: FlowMatchingConfig, inputs: Inputs) -> None:
        super().__init__(config, inputs)
        self.grid, self.voxels = inputs.grid, inputs.n_voxels
        extra, k = inputs.dim - self.voxels, config.components
        layers, *cells = self.grid
        self.root = config.root
        self.periodic = bool(inputs.periodic) and all(inputs.periodic)
        self.conditions, self.extras = Standardisation(inputs.cond_dim), Standardisation(extra)
        for name, size in (("mean", ()), ("std", ()), ("empty", ()), ("usual", (1 + 3 * k, *self.grid))):
            self.register_buffer(name, torch.zeros(size))  # usual: log-odds; weights, means, widths of hits
        self.std.fill_(1)
        self.first: LayerWalk | None = None
        told = shown = tilts = 0
        if extra:
            self.first = LayerWalk(
                layers, inputs.cond_dim, config.first_width, config.first_components, config.first_dropout
            )
            told, shown, tilts = 3, 2 + 2 * cells[1], 4
            self.register_buffer("unit", torch.zeros(()))  # mean of ln E of hits
            self.register_buffer("of_energy", torch.zeros(1 + inputs.cond_dim, layers))  # ln E_layer less what is known
            self.register_buffer("of_hits", torch.zeros(2, layers))
        self.cells = PatchTransformer(
            self.grid, config.patch or (1, cells[0], cells[1]), periodic=self.periodic, context=inputs.cond_dim + extra,
            local=told + shown, width=config.width, heads=config.heads, blocks=config.blocks, outputs=1 + 3 * k + tilts,
        )  # fmt: skip
        self.layers = Standardisation(told * layers)
        self.direct = nn.Parameter(torch.zeros(layers, cells[1], told, 1 + 3 * k))

    def fit_input(self, x: Tensor, cond: Tensor) -> None:
        self.conditions.fit(cond)
        voxels, extras = x[:, : self.voxels].double(), x[:, self.voxels :]
        self.mean.copy_(voxels.mean())
        self.std.copy_(self._spread(voxels).clamp(min=1e-6))
        shower = (voxels - self.mean) / self.std
        self.empty.copy_(shower.min())
        self.usual.copy_(self._usual(shower.view(-1, *self.grid)))
        if self.first is not None:
            self.extras.fit(extras)
            self.first.standard.fit(extras)
            self.layers.fit(self._of_layer(extras).flatten(1))
            self._fit_units(voxels.view(-1, *self.grid), extras, cond)

    def _spread(self, voxels: Tensor) -> Tensor:
        """What values are divided by: their standard deviation or, of roots, which are 0 but for the hits, half of how large hits are."""
        if self.root is None:
            return voxels.std(correction=0)
        hit = hits_in(voxels, voxels.min())
        return 0.5 * voxels[hit].square().mean().sqrt() if hit.any() else voxels.new_ones(())

    def _fit_units(self, values: Tensor, extras: Tensor, cond: Tensor) -> None:
        """How ln E and numbers of hits of layers follow from what is known of them, but for ln E_inc and units: constants and slopes, by least squares."""
        hit = hits_in(values, values.min())
        logs = values if self.root is None else self.root * values.clamp(min=1e-6).log()
        self.unit.copy_(logs[hit].mean() if hit.any() else logs.mean())
        scale = Scale(self.root, torch.ones_like(self.unit), torch.zeros_like(self.unit), self.unit)
        numbers, energy = hit.sum((2, 3)), (scale.energy(values) * hit).sum((2, 3))
        known, cond = self._of_layer(extras).double(), self.conditions(cond).double()
        for layer in range(self.grid[0]):
            some = numbers[:, layer] > 0
            if some.sum() > cond.shape[1] + 1:
                off = energy[some, layer].log() - known[some, layer, -1]
                self.of_energy[:, layer] = _fitted(cond[some], off)
            self.of_hits[:, layer] = _fitted(known[:, layer, 1:2].sigmoid(), numbers[:, layer].double())

    def _usual(self, shower: Tensor) -> Tensor:
        """Log-odds of hits, and a mixture about their mean and width in each cell (1 + 3 K, L, A, R); cells around the axis are alike."""
        over = (0, 2) if self.periodic else (0,)
        hit = shower > shower.min()
        total = hit.sum(over, keepdim=True) + 1.0
        missing = (~hit).sum(over, keepdim=True) + 1.0
        values = shower * hit
        mean = (values.sum(over, keepdim=True) + values.sum() / hit.sum().clamp(min=1)) / total
        square = ((shower - mean) * hit).square().sum(over, keepdim=True) + 1.0
        width, k = (square / total).sqrt(), cast(FlowMatchingConfig, self.config).components
        at = torch.linspace(-1, 1, k, dtype=mean.dtype, device=mean.device) if k > 1 else mean.new_zeros(1)
        means = [mean + place * width for place in at]
        widths = [
            (width * (1 - at.square().mean()).clamp(min=0.3).sqrt()).log()
        ] * k  # the mixture is as wide as hits are
        numbers = [(total / missing).log(), *[torch.zeros_like(mean)] * k, *means, *widths]
        return torch.cat([v.expand(1, *self.grid) for v in numbers])

    def _of_layer(self, extras: Tensor) -> Tensor:
        """What is known of each layer (N, L, 3), of its numbers (N, 2 L) as they are: both, and ln E_layer / E_inc, but for a constant."""
        u, hits = extras.chunk(2, dim=1)
        rest = functional.logsigmoid(u[:, :1]) + functional.pad(functional.logsigmoid(-u[:, 1:]).cumsum(1), (1, 0))
        energy = rest + functional.pad(functional.logsigmoid(u[:, 1:]), (0, 1))
        return torch.stack([u, hits, energy], dim=2)

    @property
    def scale(self) -> Scale:
        """Energies, in units of the mean of ln E of hits, of cells' values as they are learned."""
        return Scale(self.root, self.std, self.mean, self.unit)

    def objectives(self) -> dict[str, Objective]:
        found = {"matching": Objective([*self.cells.parameters(), self.direct])}
        if self.first is not None:
            every = cast(FlowMatchingConfig, self.config).first_every
            found["layers"] = Objective(list(self.first.parameters()), every)
        return found

    def step(self, objective: str, x: Tensor, cond: Tensor, now: Now) -> dict[str, Tensor]:
        return {"loss": self._of_layers(x, cond) if objective == "layers" else self._matching(x, cond)}

    def validate(self, x: Tensor, cond: Tensor) -> dict[str, Tensor]:
        matching = self._matching(x, cond)
        if self.first is None:
            return {"loss": matching}
        layers = self._of_layers(x, cond)
        return {"loss": matching + layers, "matching": matching, "layers": layers}

    def _matching(self, x: Tensor, cond: Tensor) -> Tensor:
        """Mean of -ln p(shower | x_t) of the cells, in nats, at random times."""
        shower = (x[:, : self.voxels] - self.mean) / self.std
        noise, t = torch.randn_like(shower), self._times(torch.rand(len(x), 1, device=x.device, dtype=x.dtype))
        extras = self.extras(x[:, self.voxels :])
        noisy = ((1 - t) * noise + t * shower).view(-1, *self.grid)
        told = self._told(noisy, t[:, 0], self._known(self.conditions(cond), extras))
        return told.surprise(shower.view_as(noisy)).mean()

    def _times(self, u: Tensor) -> Tensor:
        """Times of numbers between 0 and 1."""
        return u ** cast(FlowMatchingConfig, self.config).near_noise

    def _of_layers(self, x: Tensor, cond: Tensor) -> Tensor:
        """Mean of -log p of what follows the voxels, in nats for each of these numbers."""
        assert self.first is not None
        extras = x[:, self.voxels :]
        return -self.first.log_prob(extras, self.conditions(cond)).mean() / extras.shape[1]

    def draw(self, noise: Tensor, cond: Tensor) -> Tensor:
        cond, x, extras = self.conditions(cond), noise[:, : self.voxels], noise[:, self.voxels :]
        if self.first is not None:
            extras = self.first.draw(cond)
        known = self._known(cond, self.extras(extras))
        steps = cast(FlowMatchingConfig, self.config).steps
        times = self._times(torch.linspace(0, 1, steps + 1, dtype=x.dtype, device=x.device))
        for t, later in zip(times[:-1].expand(len(x), -1).T, times[1:].expand(len(x), -1).T, strict=True):
            x = self._stepped(x, t, later, known)
        return torch.cat([x * self.std + self.mean, extras], dim=1)

    def _stepped(self, x: Tensor, t: Tensor, later: Tensor, known: Known) -> Tensor:
        """x (N, V) at a later time, both (N,)."""
        config = cast(FlowMatchingConfig, self.config)
        if config.solver == "ancestral" and float(t[0]) >= config.drawn_from:
            image = x.view(-1, *self.grid)
            cells = self._told(image, t, known)
            shower = cells.draw() if known.sums is None else drawn(cells, known.sums, self.scale)
            shower = shower.flatten(1)
            return renoised(x, shower, t, later) if float(later[0]) < 1 else shower
        step = (later - t)[:, None]
        velocity = self._velocity(x, t, known)
        if config.solver != "euler":
            velocity = self._velocity(x + 0.5 * step * velocity, 0.5 * (t + later), known)
        return x + step * velocity

    def _velocity(self, x: Tensor, t: Tensor, known: Known) -> Tensor:
        """(N, V) at x (N, V) and times t (N,)."""
        image = x.view(-1, *self.grid)
        clean = self._told(image, t, known).expected.flatten(1)
        return (clean - x) / (1 - t).clamp(min=LEAST_NOISE)[:, None]

    def _known(self, cond: Tensor, extras: Tensor) -> Known:
        """Of standardised conditions and numbers of layers."""
        given = torch.cat([cond, extras], dim=1)
        if self.first is None:
            return Known(given, extras.new_zeros(len(extras), self.grid[0], 0), None)
        known = self._of_layer(self.extras.inverse(extras))
        return Known(given, self.layers(known.flatten(1)).unflatten(1, (self.grid[0], -1)), self._sums(cond, known))

    def _told(self, x: Tensor, t: Tensor, known: Known) -> Posterior:
        """What the cells of the shower are, given x (N, L, A, R) at times t (N,)."""
        seen, local, sums = known.local, known.local, known.sums
        if sums is not None:
            usual = self._said(self.usual[None]).posterior(x, t)
            seen = torch.cat([local, self._energies(usual).shown(sums)], dim=2)
        told = self.cells(x, t, known.given, seen).to(x.dtype)
        told, further = told[:, : len(self.usual)] + self.usual, told[:, len(self.usual) :]
        told = told + torch.einsum("nlf,lrfk->nklr", local, self.direct)[:, :, :, None]
        cells = self._said(told).posterior(x, t)
        if sums is None:
            return cells
        with torch.no_grad():
            odds, lean = self._energies(cells).tilt(sums)
        of_odds, of_lean, more, sharp = (v[:, None] for v in further.unbind(1))
        return cells.tilted(odds * (1 + of_odds), lean * (1 + of_lean) + more, sharp[:, 0].clamp(-2.0, 1.0))

    def _sums(self, cond: Tensor, known: Tensor) -> Sums:
        """What is told of the layers, of standardised conditions and what is known of each (N, L, 3)."""
        one = torch.ones_like(cond[:, :1])
        about = (
            torch.cat([one, cond], dim=1)[:, :, None] * self.of_energy
        )  # no matrix product: sums are exact in mixed precision too
        log_energy = known[:, :, -1] + about.sum(1)
        hits = (self.of_hits[0] + self.of_hits[1] * known[:, :, 1].sigmoid()).round().clamp(min=0)
        return Sums(torch.where(hits > 0, log_energy, log_energy.new_tensor(_NO_ENERGY)), hits)

    def _said(self, told: Tensor) -> Cells:
        """Cells of numbers (N, 1 + 3 K, L, A, R)."""
        log_weight, mean, log_width = told[:, 1:].chunk(3, dim=1)
        return Cells(self.empty, told[:, 0], log_weight.log_softmax(1), mean, log_width.clamp(-7.0, 3.0))

    def _energies(self, cells: Posterior) -> Energies:
        return Energies.of(cells, self.scale)


def _fitted(about: Tensor, wanted: Tensor) -> Tensor:
    """Constant and slopes (1 + F,) of what (N,) follows from (N, F) linearly, by least squares."""
    factors = torch.cat(
        [torch.ones_like(about[:, :1]), about], dim=1
    ).cpu()  # on GPUs there is no driver for deficient ranks
    return torch.linalg.lstsq(factors, wanted[:, None].cpu(), driver="gelsd").solution[:, 0]
