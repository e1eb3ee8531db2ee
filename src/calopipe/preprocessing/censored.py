"""Voxels as censored normal variables: empty ones are the hidden part of the distribution whose upper part are the hits."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.special import ndtr, ndtri

from calopipe.config.parts import STEPS
from calopipe.preprocessing.base import Layout, Step, require_at_least
from calopipe.preprocessing.settings import CensoredConfig

#: bins of log E_inc in which occupancies are counted
_BINS = 6
#: normal scores at which the quantiles of hits are kept
_SCORES = torch.linspace(-3.75, 3.75, 61, dtype=torch.float64)


@STEPS.register("censored", config=CensoredConfig)
class Censored(Step):
    """A voxel becomes g, standard normal over the showers: empty ones, drawn anew at every call, below a value tau, and
    hits above it in the order of their energies. Columns behind the voxels pass.

    The share of a voxel with energy E is S = P(more than E) = p F, the share of an empty one uniform between p and 1, and
    g = -Phi^-1(S). The probability p of a hit depends on the voxel and, by a line through its probits, on log E_inc. F is
    the share of hits with more energy: log E is shifted by a line in log E_inc and scaled, voxel by voxel; what is left
    follows one distribution for all voxels of a layer, kept as quantiles.

    So a flow sees one smooth hill for all voxels, instead of a peak of empty ones and hits far from it, between which
    whatever it smears out becomes a soft hit. The model is that of censored regression (Tobin 1958).
    The inverse of a hit is exact; energies below the readout threshold t become 0. The log-det is that of the hits; draws
    have none.
    """

    probit: Tensor
    probit_slope: Tensor
    mean: Tensor
    mean_slope: Tensor
    std: Tensor
    energy_mean: Tensor
    energy_std: Tensor
    quantiles: Tensor

    def __init__(self, config: CensoredConfig, layout: Layout, dim: int, cond_dim: int) -> None:
        super().__init__(config, layout, dim, cond_dim)
        require_at_least("censored", dim, layout.n_voxels)
        if layout.threshold_MeV <= 0:
            raise ValueError("censored needs a readout threshold above 0")
        self.cut = float(np.float32(layout.threshold_MeV))  # files are thresholded in float32
        n = layout.n_voxels
        for name in ("probit", "probit_slope", "mean", "mean_slope"):
            self.register_buffer(name, torch.zeros(n, dtype=torch.float64))
        self.register_buffer("std", torch.ones(n, dtype=torch.float64))
        self.register_buffer("energy_mean", torch.zeros((), dtype=torch.float64))
        self.register_buffer("energy_std", torch.ones((), dtype=torch.float64))
        self.register_buffer("quantiles", _SCORES.repeat(len(layout.layer_sizes), 1))

    def fit(self, x: Tensor, cond: Tensor) -> None:
        x, log_energy = x[:, : self.layout.n_voxels], cond[:, 0].log()
        self.energy_mean.copy_(log_energy.mean())
        self.energy_std.copy_(log_energy.std(correction=0).clamp(min=1e-3))
        where = (log_energy - self.energy_mean) / self.energy_std
        hit = x >= self.cut
        self._fit_probits(hit.double(), where)
        log = torch.where(hit, (x.clamp(min=self.cut) / self.cut).log(), torch.zeros_like(x))
        self._fit_energies(log, hit.double(), where)
        left = (log - self.mean - self.mean_slope * where[:, None]) / self.std
        for i, (part, mask) in enumerate(
            zip(left.split(self.layout.layer_sizes, 1), hit.split(self.layout.layer_sizes, 1), strict=True)
        ):
            values = part[mask].sort().values
            if len(values) > 1:  # quantiles that rise, so that the inverse is one
                at = (ndtr(_SCORES) * (len(values) - 1)).clamp(0, len(values) - 1)
                low = at.long().clamp(max=len(values) - 2)
                rising = values[low] + (at - low) * (values[low + 1] - values[low])
                self.quantiles[i] = torch.maximum(rising, rising[0] + 1e-4 * torch.arange(len(_SCORES))).cummax(
                    0
                ).values + 1e-6 * torch.arange(len(_SCORES))

    def _fit_probits(self, hit: Tensor, where: Tensor) -> None:
        bins = where.argsort().tensor_split(min(_BINS, max(1, len(where) // 50)))
        at = torch.stack([where[rows].mean() for rows in bins])
        probits = torch.stack(
            [
                ndtri(
                    self._smooth(hit[rows].sum(0), torch.full_like(hit[0], len(rows))).clamp(
                        self.config.edge, 1 - self.config.edge
                    )
                )
                for rows in bins
            ]
        )
        off = at - at.mean()
        slope = (off[:, None] * probits).sum(0) / off.square().sum().clamp(min=1e-9)
        self.probit.copy_(probits.mean(0) - slope * at.mean())
        self.probit_slope.copy_(slope)

    def _fit_energies(self, log: Tensor, hit: Tensor, where: Tensor) -> None:
        """Least squares of log E / t on log E_inc over the hits of each voxel, drawn to the layer's by `prior` hits."""
        w, n = where[:, None] * hit, hit.sum(0)
        sums = [n, w.sum(0), (w * where[:, None]).sum(0), log.sum(0), (w * log).sum(0), log.square().sum(0)]
        layer = [self._layer_mean(s, n) for s in sums]
        n, a, b, y, ay, yy = ((s + self.config.prior * m) for s, m in zip(sums, layer, strict=True))
        n = n.clamp(min=1e-9)
        det = b * n - a * a
        slope = torch.where(det > 1e-6 * n * n, (n * ay - a * y) / det.clamp(min=1e-12), torch.zeros_like(n))
        mean = (y - slope * a) / n
        variance = (yy - 2 * mean * y - 2 * slope * ay + n * mean**2 + 2 * mean * slope * a + slope**2 * b) / n
        self.mean.copy_(mean)
        self.mean_slope.copy_(slope)
        self.std.copy_(variance.clamp(min=1e-2).sqrt())

    def _layer_mean(self, k: Tensor, n: Tensor) -> Tensor:
        """Sum of k over sum of n in each layer, at each of its voxels (V,)."""
        sizes = self.layout.layer_sizes
        parts = zip(k.split(sizes), n.split(sizes), strict=True)
        return torch.cat([(a.sum() / b.sum().clamp(min=1e-9)).expand(len(a)) for a, b in parts])

    def _smooth(self, k: Tensor, n: Tensor) -> Tensor:
        """k / n per voxel, drawn to the average of its layer by `prior` counts."""
        return (k + self.config.prior * self._layer_mean(k, n)) / (n + self.config.prior)

    def _of_energy(self, cond: Tensor) -> tuple[Tensor, Tensor]:
        """Probability of a hit and mean of log E / t (N, V)."""
        where = (cond[:, :1].log() - self.energy_mean) / self.energy_std
        p = ndtr(self.probit + self.probit_slope * where).clamp(self.config.edge, 1 - self.config.edge)
        return p, self.mean + self.mean_slope * where

    def _interpolate(self, value: Tensor, back: bool) -> tuple[Tensor, Tensor]:
        """Normal scores of standardised hits (N, V), or (`back`) hits of scores, and the slope; straight lines at the ends."""
        out, slopes = torch.empty_like(value), torch.empty_like(value)
        first = 0
        for table, size in zip(self.quantiles, self.layout.layer_sizes, strict=True):
            x = value[:, first : first + size].contiguous()
            a, b = (_SCORES.to(x), table.to(x)) if back else (table.to(x), _SCORES.to(x))
            i = torch.searchsorted(a, x).clamp(1, len(a) - 1)
            slope = (b[i] - b[i - 1]) / (a[i] - a[i - 1])
            out[:, first : first + size] = b[i - 1] + slope * (x - a[i - 1])
            slopes[:, first : first + size] = slope
            first += size
        return out, slopes

    def forward(self, x: Tensor, cond: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, rest = x[:, : self.layout.n_voxels], x[:, self.layout.n_voxels :]
        hit, (p, mean) = x >= self.cut, self._of_energy(cond)
        log = (x.clamp(min=self.cut) / self.cut).log()
        z, slope = self._interpolate((log - mean) / self.std, back=False)
        z = z.clamp(-8, 8)
        share = torch.where(hit, p * ndtr(-z), p + (1 - p) * torch.rand_like(x))
        g = -ndtri(share.clamp(1e-300, 1 - 1e-12))
        half = 0.5 * (g.square() - z.square())
        logdet = (hit * (half + p.log() + slope.log() - (self.std * x.clamp(min=self.cut)).log())).sum(1)
        return torch.cat([g, rest], dim=1), cond, logdet

    def volume_of(self, x: Tensor, cond: Tensor, after: Tensor, logdet: Tensor) -> Tensor:
        """That of the hits; of the others minus log of the density of their scores, a normal below all hits."""
        voxels, g = x[:, : self.layout.n_voxels], after[:, : self.layout.n_voxels]
        p, _ = self._of_energy(cond)
        log_q = -0.5 * g.square() - 0.5 * math.log(2 * math.pi) - torch.log1p(-p)
        return logdet - (log_q * (voxels < self.cut)).sum(1)

    def inverse(self, x: Tensor, cond: Tensor) -> tuple[Tensor, Tensor]:
        g, rest = x[:, : self.layout.n_voxels], x[:, self.layout.n_voxels :]
        p, mean = self._of_energy(cond)
        share = ndtr(-g.clamp(-8, 8)) / p
        z = -ndtri(share.clamp(1e-300, 1 - 1e-12))
        left, _ = self._interpolate(z.clamp(-8, 8), back=True)
        energy = self.cut * (mean + self.std * left).clamp(max=50).exp()
        hit = (share < 1) & (energy >= self.cut * (1 - 1e-9))
        return torch.cat([torch.where(hit, energy.clamp(min=self.cut), torch.zeros_like(g)), rest], dim=1), cond
