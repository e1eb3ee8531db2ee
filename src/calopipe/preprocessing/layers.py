"""Layer normalisation with extra dimensions (Ernst 2023, eq. 4; after CaloFlow, arXiv:2106.05285), and the numbers of hits.

Layer energies and numbers of hits beside the normalised voxels: CaloClouds3 (arXiv:2511.01460) and AllShowers
(arXiv:2601.11716) draw both first and make showers meet them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from torch import Tensor

from calopipe import hits
from calopipe.compiled_code import FEW, array, load_compiled
from calopipe.config.parts import STEPS
from calopipe.errors import DataError
from calopipe.extra_dimensions import TINY, energies_of, ratios_of
from calopipe.preprocessing.base import Layout, Step, require_width
from calopipe.preprocessing.noise import below_density
from calopipe.preprocessing.settings import LayerNormaliseConfig


@cache
def _compiled() -> Callable[..., None] | None:
    """The function that restores layers, or None (logged once) where numba does not work on this machine."""

    def load() -> Callable[[str], Callable[..., None]]:
        from calopipe.preprocessing.layers_kernels import entry

        return entry

    return load_compiled("layers", load, "extra_dimensions.py")


@STEPS.register("layer_normalise", config=LayerNormaliseConfig)
class LayerNormalise(Step):
    """Divide each layer by its energy and keep the energies as u_1 = E_tot / E_inc, u_i = E_{i-1} / sum_{j >= i-1} E_j.

    x (N, V) in MeV becomes (N, V) layer fractions, followed by u (N, L) when ``extras: data``; with ``extras:
    condition``
    the condition (N, C) becomes (N, C + L); with ``extras: given`` the layer energies at its end become u, with ``extras:
    energies`` they stay. The inverse renormalises each layer to the energy that u (or the condition) gives it, so the
    total agrees with u_1 whatever the fractions are. The log-det is that of the map of voxels to (fractions, u) with
    the last fraction of each layer left out, which is not a square map: it is reported as 0.

    With ``hits`` the numbers of hits n_l of the layers (voxels of at least the threshold t) follow u, dequantised:
    h_l = (n_l + r) / (V_l + 1), r uniform in [0, 1), drawn anew at every call. Only hits enter the energies then. The
    inverse keeps the n_l largest voxels of a layer, of at least t each, whose energies add up to E_l: numbers of hits
    and energies are met exactly. Where the two contradict each other the hits win: E_l is at least n_l t, and a layer
    without hits has no energy. Fractions are those of what hits have above t. Of voxels as energies n_l are
    told, and nothing makes them be met: the inverse takes what has at least t for hits, and a layer without any is empty.
    """

    u_scale: Tensor
    fill: Tensor
    sizes: Tensor

    def __init__(self, config: LayerNormaliseConfig, layout: Layout, dim: int, cond_dim: int) -> None:
        super().__init__(config, layout, dim, cond_dim)
        require_width("layer_normalise", dim, layout.n_voxels)
        n_layers = len(layout.layer_sizes)
        u_scale = torch.full((n_layers,), config.extras_scale)
        u_scale[0] = config.ratio_scale
        self.register_buffer("u_scale", u_scale, persistent=False)
        self.n_extras = config.n_extras(n_layers)
        self.dim_out, self.cond_dim_out = config.widths(dim, cond_dim, n_layers)
        if config.fill_layers and config.hits:  # mean and deviation of log E, E in MeV
            self.register_buffer("fill", torch.tensor([[0.0, 1.0]] * n_layers))
        self.register_buffer("sizes", torch.tensor(layout.layer_sizes), persistent=False)
        self.cut = float(np.float32(layout.threshold_MeV))  # files are thresholded in float32

    def fit(self, x: Tensor, cond: Tensor) -> None:
        if not (self.config.fill_layers and self.config.hits):
            return
        for i, part in enumerate(x.split(self.layout.layer_sizes, dim=1)):
            hit = part >= self.cut
            n, energy = hit.sum(1), (part * hit).sum(1)
            some = n[n > 0].sort().values
            if len(some):
                few = (n > 0) & (n <= some[len(some) // 20])
                log = energy[few].log()
                self.fill[i] = torch.stack([log.mean(), log.std(correction=0).clamp(min=0.1)])

    def forward(self, x: Tensor, cond: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        extras: list[Tensor] = []
        if self.config.voxels == "energies":
            hit = x >= self.cut
            fractions, energies = x, self.layout.energies(x * hit)
            if self.config.hits:
                extras = [hits.dequantise(self.layout.energies(hit.to(x.dtype)), self.sizes)]
        elif self.config.hits:
            fractions, energies, extras = self._with_hits(x)
        else:
            energies = self.layout.energies(x)
            fractions = self._each(lambda p, e: p * (self.config.scale / (e + TINY))[:, None], x, energies)
        logdet = x.new_zeros(x.shape[0])
        if self.config.given:
            return fractions, self.condition(cond), logdet
        u = torch.cat([ratios_of(self._fill(energies), cond[:, :1]) * self.u_scale, *extras], dim=1)
        if self.config.extras == "data":
            return torch.cat([fractions, u], dim=1), cond, logdet
        return fractions, torch.cat([cond, u], dim=1), logdet

    def volume_of(self, x: Tensor, cond: Tensor, after: Tensor, logdet: Tensor) -> Tensor:
        """log|det| of the map of voxels and one scale s per layer to what the network gets, at s = 1, where data are.

        Fractions: s x / E_l, and u. Voxels as energies: t + s (x - t) of the hits, t the threshold, and u. Layers without energy have no
        scale, and count by their u alone, with the density of what they were filled with.

        Raises:
            DataError: numbers of hits are learned: no such map.
        """
        if self.config.hits:
            raise DataError("layer_normalise with hits: the density of a shower is not known")
        if self.config.voxels == "energies":
            above = self.layout.energies(((x - self.cut) * (x >= self.cut)).clamp(min=0))
            total = torch.where(above > 0, above.clamp(min=TINY).log(), torch.zeros_like(above)).sum(1)
            some = self.layout.energies((x >= self.cut).to(x.dtype)) > 0
        else:
            energies = self.layout.energies(x)
            sizes, some = self.sizes.to(energies) - 1, energies > 0
            total = torch.where(some, -sizes * energies.clamp(min=TINY).log(), torch.zeros_like(energies)).sum(1)
            total = total + math.log(self.config.scale) * self.layout.n_voxels
        if self.config.extras != "data":
            return total
        return total + self._volume_of_ratios(after[:, -self.n_extras :], cond, some)

    def _volume_of_ratios(self, u: Tensor, cond: Tensor, some: Tensor) -> Tensor:
        """log|du/dE| of the layer energies that u holds, and minus log of the density of those that were filled in."""
        energies = energies_of(u / self.u_scale, cond[:, :1])
        rest = energies.flip(1).cumsum(1).flip(1)[:, :-1]
        volume = self.u_scale.to(energies).log().sum() - cond[:, 0].log() - rest.clamp(min=TINY).log().sum(1)
        if not self.config.fill_layers:
            return volume
        log_q = below_density(energies.clamp(min=TINY), self.layout.threshold_MeV, 0.0, 1.0)
        return volume - torch.where(some, torch.zeros_like(log_q), log_q).sum(1)

    def conditions(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Adds ``u_<layer>``, of which ``u_0`` is that of the total energy, and ``hits_<layer>``; ``energy_<layer>`` become u."""
        if self.config.extras in ("data", "energies"):
            return names
        if self.config.extras == "given":
            names = names[: -len(self.layout.layer_sizes)]
        kinds, layers = ("u", "hits") if self.config.hits else ("u",), range(len(self.layout.layer_sizes))
        return (*names, *(f"{kind}_{i}" for kind in kinds for i in layers))

    def _each(self, function: Callable[..., Tensor], x: Tensor, *numbers: Tensor) -> Tensor:
        return hits.by_layer(function, self.layout.layer_sizes, x, *numbers)

    def _with_hits(self, x: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Shares (N, V) of the energy of each layer above the threshold, energies of the hits (N, L), [h (N, L)]."""
        hit = x >= self.cut
        energies, n = self.layout.energies(x * hit), self.layout.energies(hit.to(x.dtype))
        rest = (energies - n * self.cut).clamp(min=TINY)
        shares = self._each(lambda p, e: (p - self.cut) / e[:, None] * self.config.scale + TINY, x, rest)
        return torch.where(hit, shares, torch.zeros_like(x)), energies, [hits.dequantise(n, self.sizes)]

    def _fill(self, energies: Tensor) -> Tensor:
        if not self.config.fill_layers:
            return energies
        if self.config.hits:
            fill = (self.fill[:, 0] + self.fill[:, 1] * torch.randn_like(energies)).exp()
        else:
            fill = self.layout.threshold_MeV * torch.pow(10.0, -torch.randn_like(energies).abs())
        return torch.where(energies <= 0, fill, energies)

    def inverse(self, x: Tensor, cond: Tensor) -> tuple[Tensor, Tensor]:
        if self.config.extras == "data":
            x, u = x[:, : -self.n_extras], x[:, -self.n_extras :]
        else:
            cond, u = cond[:, : -self.n_extras], cond[:, -self.n_extras :]
        x, energies = self._restored_at_once(x, u, cond[:, 0]) or self._restored(x, u, cond[:, :1])
        return x, torch.cat([cond, energies], dim=1) if self.config.given else cond

    def _restored(self, x: Tensor, u: Tensor, incident: Tensor) -> tuple[Tensor, Tensor]:
        """Voxels (N, V) and layer energies (N, L) in MeV."""
        n_layers = len(self.layout.layer_sizes)
        energies = u if self.config.extras == "energies" else energies_of(u[:, :n_layers] / self.u_scale, incident)
        x = x.clamp(min=0)
        if self.config.voxels == "energies":
            return self._each(self._scale_hits, x, energies), energies
        if self.config.hits:
            return self._each(self._keep, x, energies, hits.count(u[:, n_layers:], self.sizes)), energies
        return self._each(lambda p, e: p * (e / (p.sum(1) + TINY))[:, None], x, energies), energies

    def _restored_at_once(self, x: Tensor, u: Tensor, incident: Tensor) -> tuple[Tensor, Tensor] | None:
        """The same by compiled code, or None where PyTorch has to do it: many rows, on a GPU, with gradients, energies of voxels."""
        few = 0 < len(x) <= FEW and x.device.type == "cpu" and x.dtype == torch.float64
        if not few or torch.is_grad_enabled() or self.config.voxels == "energies" or (run := _compiled()) is None:
            return None
        energies, voxels = x.new_empty(len(x), len(self.sizes)), x.new_empty(x.shape)
        incident = incident[:0] if self.config.extras == "energies" else incident
        shape = array(self.u_scale.double()), array(self.sizes), self.cut
        run(array(x), array(u), array(incident), shape, energies.numpy(), voxels.numpy())
        return voxels, energies

    def condition(self, cond: Tensor) -> Tensor:
        if self.config.extras != "given":
            return cond
        n = len(self.layout.layer_sizes)
        u = ratios_of(self._fill(cond[:, -n:]), cond[:, :1]) * self.u_scale
        return torch.cat([cond[:, :-n], u], dim=1)

    def _scale_hits(self, x: Tensor, energy: Tensor) -> Tensor:
        """Hits of x (N, V) in MeV, their energies above the threshold scaled so that they add up to `energy` (N,) in MeV.

        A layer with less than the threshold has no hit. Where there is less than the threshold of each hit, they keep their
        energies.
        """
        hit = (x >= self.cut) & (energy >= self.cut)[:, None]
        above = (x - self.cut) * hit
        rest, total = energy - hit.sum(1) * self.cut, above.sum(1)
        factor = torch.where((rest > 0) & (total > 0), rest / (total + TINY), torch.ones_like(rest))
        return torch.where(hit, self.cut + above * factor[:, None], torch.zeros_like(x))

    def _keep(self, x: Tensor, energy: Tensor, n: Tensor) -> Tensor:
        """The n (N,) largest of shares x (N, V), made layers of `energy` (N,) in MeV; each hit has at least the threshold."""
        hit = hits.largest(x, n)
        share = torch.where(hit, x.clamp(min=TINY), torch.zeros_like(x))
        rest = (energy - n * self.cut).clamp(min=0)
        return torch.where(hit, self.cut + share * (rest / (share.sum(1) + TINY))[:, None], torch.zeros_like(x))
