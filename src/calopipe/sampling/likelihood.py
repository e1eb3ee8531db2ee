"""How likely showers are by a generator whose network is a density, and which of them are unlike those it has learned.

The density is that of voxel energies in MeV: what the network says of preprocessed showers times the determinant of the
preprocessing (:meth:`calopipe.preprocessing.base.Step.volume_of`). Preprocessing that draws (fills empty voxels, adds noise)
is averaged over: with filled voxels p is the probability of which voxels are hit times the density of the hits' energies.
Layer normalisation adds one scale per layer, which is 1 in data; p is taken there, so it has a factor in common that depends
on the network alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from calopipe.errors import DataError
from calopipe.models.base import GenerativeModel
from calopipe.sampling.generator import Generator, thresholded

#: showers of the reference, nearest in incident energy, that a shower is compared with
NEIGHBOURS = 200


@torch.no_grad()
def log_prob(
    generator: Generator,
    showers: NDArray[np.float32],
    conditions: NDArray[np.float32],
    draws: int = 1,
    batch: int = 500,
) -> NDArray[np.float64]:
    """log p(shower | condition) in nats (N,), with energies in MeV; random numbers are torch's.

    Args:
        generator: one network that learns showers or columns and has a likelihood.
        showers: (N, V) in MeV; voxels below the readout threshold are empty. conditions: (N, C).
        draws: draws of the preprocessing that p is averaged over.

    Raises:
        DataError: the generator has no such density, or showers of another size.
    """
    network = generator.main
    if len(generator.networks) != 1 or not isinstance(network.model, GenerativeModel) or not network.model.likelihood:
        names = ", ".join(f"{name} ({n.settings.model.name})" for name, n in generator.networks.items())
        raise DataError(f"expected a generator of one network that has a likelihood, found {names}")
    if showers.ndim != 2 or showers.shape[1] != generator.n_columns:
        raise DataError(f"expected showers (N, {generator.n_columns}), found {showers.shape}")
    found = np.empty((draws, len(showers)))
    kind = next(network.model.parameters()).dtype
    for first in range(0, len(showers), batch):
        part = slice(first, first + batch)
        x = thresholded(torch.from_numpy(showers[part]).to(generator.device), network.layout)
        cond = torch.from_numpy(conditions[part]).to(generator.device)
        for k in range(draws):
            y, c, volume = network.chain.volume(x, cond)
            log_p = network.model.log_prob(y.to(kind), c.to(kind)).double() + volume
            found[k, part] = log_p.cpu().numpy()
    return np.logaddexp.reduce(found, axis=0) - math.log(draws)


@dataclass(frozen=True)
class Typical:
    """What log p is usual at an incident energy, learned from reference showers.

    Attributes:
        energies: incident energies (N,) of the reference, in order. log_p: its log p (N,).
    """

    energies: NDArray[np.float64]
    log_p: NDArray[np.float64]

    @classmethod
    def of(cls, energies: NDArray[np.float32], log_p: NDArray[np.float64]) -> Typical:
        """Learn from reference showers. Raises DataError where there are too few."""
        if len(energies) < 20:
            raise DataError(f"expected at least 20 reference showers, found {len(energies)}")
        order = np.argsort(energies, kind="stable")
        return cls(np.asarray(energies, dtype=float)[order], log_p[order])

    def oddness(self, energies: NDArray[np.float32], log_p: NDArray[np.float64]) -> NDArray[np.float64]:
        """How far below what is usual at its energy a shower's log p is, in (robust) standard deviations (N,).

        The median of the nearest reference showers is 0, and 1 is as far as the 16 % of them that are least likely begin.
        """
        n = min(NEIGHBOURS, len(self.energies))
        first = np.clip(np.searchsorted(self.energies, energies) - n // 2, 0, len(self.energies) - n)
        odd = np.empty(len(log_p))
        for start in np.unique(first):
            rows = first == start
            low, middle = np.quantile(self.log_p[start : start + n], [0.1587, 0.5])
            odd[rows] = (middle - log_p[rows]) / max(middle - low, 1e-12)
        return odd
