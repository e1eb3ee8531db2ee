"""Latent distributions of a run's networks: histograms of every dimension, beside the standard normal that they should be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calopipe.io.stored import read_npz, reading
from calopipe.records.files import write_npz

#: what is histogrammed: latents against the prior; means and log variances of the encoder; noise that a flow makes of data
KINDS = ("latents", "means", "log_variances", "noise")
#: bins of each
EDGES = {
    "latents": np.linspace(-5, 5, 81),
    "means": np.linspace(-5, 5, 81),
    "log_variances": np.linspace(-14, 4, 91),
    "noise": np.linspace(-5, 5, 81),
}


@dataclass(frozen=True)
class Marginals:
    """Distributions of the columns of one kind, for one network.

    Attributes:
        counts: (D, bins of :data:`EDGES`) of each column. mean, deviation: (D,) of each. n: rows.
    """

    counts: NDArray[np.int64]
    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]
    n: int


#: by network and kind
Space = dict[tuple[str, str], Marginals]


class Filling:
    """Fills the histograms of one network's kind, piece by piece."""

    def __init__(self, kind: str) -> None:
        self.edges = EDGES[kind]
        self.n = 0

    def add(self, values: NDArray[np.float32]) -> None:
        """Count more rows (N, D); what is outside of all bins counts in mean and deviation alone."""
        n, width = values.shape
        if not self.n:
            self.counts = np.zeros((width, len(self.edges) - 1), dtype=np.int64)
            self.sums = np.zeros((2, width))
        place = np.searchsorted(self.edges, values, side="right") - 1
        inside = (place >= 0) & (place < self.counts.shape[1])
        rows = np.broadcast_to(np.arange(width), values.shape)
        np.add.at(self.counts, (rows[inside], place[inside]), 1)
        wide = values.astype(np.float64)
        self.sums += [wide.sum(0), np.square(wide).sum(0)]
        self.n += n

    def marginals(self) -> Marginals:
        """What was filled."""
        mean = self.sums[0] / self.n
        return Marginals(self.counts, mean, np.sqrt(np.clip(self.sums[1] / self.n - mean**2, 0, None)), self.n)


def save_space(path: Path, space: Mapping[tuple[str, str], Marginals]) -> None:
    """Write marginals as NPZ: ``<network>/<kind>/{counts, mean, deviation, n}``."""
    arrays = {
        f"{network}/{kind}/{name}": np.asarray(getattr(found, name))
        for (network, kind), found in space.items()
        for name in ("counts", "mean", "deviation", "n")
    }
    write_npz(path, {"kinds": np.array([f"{network}/{kind}" for network, kind in space], dtype=str), **arrays})


def load_space(path: str | Path) -> Space:
    """Read what :func:`save_space` wrote. Raises DataError when it is missing or damaged."""
    arrays = read_npz(path, ("kinds",))
    found: Space = {}
    with reading(path, "not the latent distributions of a run"):
        for name in map(str, arrays["kinds"]):
            network, kind = name.rsplit("/", 1)
            counts, n = arrays[f"{name}/counts"], int(arrays[f"{name}/n"])
            if counts.ndim != 2 or counts.shape[1] != len(EDGES[kind]) - 1:
                raise ValueError(f"{name}: counts of shape {counts.shape}")
            found[network, kind] = Marginals(counts, arrays[f"{name}/mean"], arrays[f"{name}/deviation"], n)
    return found
