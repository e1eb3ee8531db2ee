"""Conditional flow matching of showers: noise that is moved along learned velocities (Lipman 2022; Favaro 2024, CaloDREAM)."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from calopipe.config.parts import MODELS
from calopipe.models.base import GenerativeModel, Inputs, Now, Objective
from calopipe.models.building import Standardisation
from calopipe.models.flows.coupling import CouplingFlow, make_flow
from calopipe.models.matching.expectation import LEAST_NOISE, Cells, renoised
from calopipe.models.matching.settings import FlowMatchingConfig
from calopipe.models.matching.transformer import PatchTransformer


@MODELS.register("flow_matching", config=FlowMatchingConfig)
class FlowMatching(GenerativeModel):
    """x (N, dim): voxels of a regular grid, and what is known of layers after them (energies, numbers of hits), which a flow draws first.

    A shower is x_t = (1 - t) noise + t shower at time t, and its velocity shower - noise, which is expected to be
    (E[shower | x_t] - x_t) / (1 - t). A transformer sees x_t, t and the condition and says of each cell how often it is hit, and a mixture of
    normal distributions of its value then, relative to all training showers; what is expected, or drawn, of it follows from these and from the cell itself.

    The same numbers are also linear functions of what is known of the cell's layer, of each layer and radius its own: how many cells of a layer are hit, and with
    how much energy, mostly follows from the layer's numbers.

    Two objectives: -log p(shower | x_t), cell by cell, whose expectations have the smallest squared error of velocities where the mixture can be as the
    cells are, and which sees edges of spectra too; and -log p of the layers' numbers, whose flow knows the training showers by heart long before the transformer has learned from them, and therefore learns from every so many batches only.
    """

    mean: Tensor
    std: Tensor
    empty: Tensor
    usual: Tensor

    def __init__(self, config: FlowMatchingConfig, inputs: Inputs) -> None:
        super().__init__(config, inputs)
        self.grid, self.voxels = inputs.grid, inputs.n_voxels
        extra = inputs.dim - self.voxels
        layers, *cells = self.grid
        local = extra // layers if extra % layers == 0 else 0
        self.conditions, self.extras = Standardisation(inputs.cond_dim), Standardisation(extra)
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("std", torch.ones(()))
        self.first: CouplingFlow | None = None
        if extra:
            self.first = make_flow(
                extra, inputs.cond_dim, config.first_blocks, hidden=tuple(config.first_hidden), bins=config.first_bins,
                seed=inputs.seed,
            )  # fmt: skip
        periodic = bool(inputs.periodic) and all(inputs.periodic)
        self.register_buffer("empty", torch.zeros(()))
        k = config.components
        self.register_buffer("usual", torch.zeros(1 + 3 * k, *self.grid))  # log-odds; weights, means, widths of hits
        self.periodic = periodic
        features = local + (1 if config.ratios else 0)
        self.cells = PatchTransformer(
            self.grid, config.patch or (1, cells[0], cells[1]), periodic=periodic, context=inputs.cond_dim + extra,
            local=features, width=config.width, heads=config.heads, blocks=config.blocks, outputs=1 + 3 * k,
        )  # fmt: skip
        self.local = local
        self.layers = Standardisation(features * layers)
        self.direct = nn.Parameter(torch.zeros(layers, cells[1], features, 1 + 3 * k))

    def fit_input(self, x: Tensor, cond: Tensor) -> None:
        self.conditions.fit(cond)
        voxels = x[:, : self.voxels].double()
        self.mean.copy_(voxels.mean())
        self.std.copy_(voxels.std(correction=0).clamp(min=1e-6))
        self.extras.fit(x[:, self.voxels :])
        if self.local:
            self.layers.fit(self._of_layer(x[:, self.voxels :]).flatten(1))
        shower = (voxels - self.mean) / self.std
        self.empty.copy_(shower.min())
        self.usual.copy_(self._usual(shower.view(-1, *self.grid)))

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
        """What is known of each layer (N, L, F), of numbers of layers (N, E) as they are: these, and ln E_layer / E_inc, but for a constant, where there are ratios."""
        layers = self.grid[0]
        known = extras.unflatten(1, (self.local, layers)).transpose(1, 2)
        if not cast(FlowMatchingConfig, self.config).ratios:
            return known
        u = extras[:, :layers]
        rest = functional.logsigmoid(u[:, :1]) + functional.pad(functional.logsigmoid(-u[:, 1:]).cumsum(1), (1, 0))
        energy = rest + functional.pad(functional.logsigmoid(u[:, 1:]), (0, 1))
        return torch.cat([known, energy[:, :, None]], dim=2)

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
        noise, t = torch.randn_like(shower), torch.rand(len(x), 1, device=x.device, dtype=x.dtype)
        extras = self.extras(x[:, self.voxels :])
        noisy = ((1 - t) * noise + t * shower).view(-1, *self.grid)
        told = self._cells(noisy, t[:, 0], self.conditions(cond), extras)
        return told.surprise(shower.view_as(noisy), noisy, t[:, 0]).mean()

    def _of_layers(self, x: Tensor, cond: Tensor) -> Tensor:
        """Mean of -log p of what follows the voxels, in nats for each of these numbers."""
        assert self.first is not None
        extras = self.extras(x[:, self.voxels :])
        return -self.first.log_prob(extras, self.conditions(cond)).mean() / extras.shape[1]

    def draw(self, noise: Tensor, cond: Tensor) -> Tensor:
        cond, x, extras = self.conditions(cond), noise[:, : self.voxels], noise[:, self.voxels :]
        if self.first is not None:
            extras = self.first.inverse(extras, cond)[0]
        times = noise.new_tensor(self.times)
        for t, later in zip(times[:-1].expand(len(x), -1).T, times[1:].expand(len(x), -1).T, strict=True):
            x = self._stepped(x, t, later, cond, extras)
        return torch.cat([x * self.std + self.mean, self.extras.inverse(extras)], dim=1)

    @property
    def times(self) -> list[float]:
        """The times between steps, 0 and 1 at the ends."""
        config = cast(FlowMatchingConfig, self.config)
        return [1 - (1 - i / config.steps) ** config.late for i in range(config.steps + 1)]

    def _stepped(self, x: Tensor, t: Tensor, later: Tensor, cond: Tensor, extras: Tensor) -> Tensor:
        """x (N, V) at a later time, both (N,)."""
        solver = cast(FlowMatchingConfig, self.config).solver
        if solver == "ancestral":
            image = x.view(-1, *self.grid)
            shower = self._cells(image, t, cond, extras).posterior(image, t).draw().flatten(1)
            return renoised(x, shower, t, later) if float(later[0]) < 1 else shower
        step = (later - t)[:, None]
        velocity = self._velocity(x, t, cond, extras)
        if solver == "midpoint":
            velocity = self._velocity(x + 0.5 * step * velocity, 0.5 * (t + later), cond, extras)
        return x + step * velocity

    def _velocity(self, x: Tensor, t: Tensor, cond: Tensor, extras: Tensor) -> Tensor:
        """(N, V) at x (N, V) and times t (N,), for standardised conditions and numbers of layers."""
        image = x.view(-1, *self.grid)
        clean = self._cells(image, t, cond, extras).posterior(image, t).expected.flatten(1)
        return (clean - x) / (1 - t).clamp(min=LEAST_NOISE)[:, None]

    def _cells(self, x: Tensor, t: Tensor, cond: Tensor, extras: Tensor) -> Cells:
        """What is said of the cells of the shower at x (N, L, A, R)."""
        local = x.new_zeros(len(x), self.grid[0], 0)
        if self.local:
            local = self.layers(self._of_layer(self.extras.inverse(extras)).flatten(1)).unflatten(1, (self.grid[0], -1))
        told = self.cells(x, t, torch.cat([cond, extras], dim=1), local).to(x.dtype) + self.usual
        told = told + torch.einsum("nlf,lrfk->nklr", local, self.direct)[:, :, :, None]
        log_weight, mean, log_width = told[:, 1:].chunk(3, dim=1)
        return Cells(self.empty, told[:, 0], log_weight.log_softmax(1), mean, log_width.clamp(-7.0, 3.0))
