"""How uncertain the weights of a run's Bayesian networks are: histograms of ln of their variances, by epoch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calopipe.io.stored import read_npz, reading
from calopipe.records.files import write_npz

#: bins of ln of the variances; what is beyond them counts in the outermost ones
EDGES = np.linspace(-30.0, 5.0, 141)


@dataclass(frozen=True)
class Spread:
    """Of one network.

    Attributes:
        counts: epoch -> (bins of :data:`EDGES`,) weights; epoch 0 is the final network.
        prior: ln of the variance of the prior.
    """

    counts: Mapping[int, NDArray[np.int64]]
    prior: float


def counted(values: NDArray[np.float32]) -> NDArray[np.int64]:
    """Histogram of ln of the variances (N,)."""
    return np.histogram(np.clip(values.astype(np.float64), EDGES[0], EDGES[-1]), EDGES)[0]


def save_spread(path: Path, found: Mapping[str, Spread]) -> None:
    """Write those of networks by name as NPZ: ``<network>/{epochs, counts, prior}``."""
    arrays: dict[str, NDArray[np.generic]] = {"networks": np.array(list(found), dtype=str)}
    for name, spread in found.items():
        arrays[f"{name}/epochs"] = np.array(list(spread.counts))
        arrays[f"{name}/counts"] = np.stack(list(spread.counts.values()))
        arrays[f"{name}/prior"] = np.array(spread.prior)
    write_npz(path, arrays)


def load_spread(path: str | Path) -> dict[str, Spread]:
    """Read what :func:`save_spread` wrote. Raises DataError when it is missing or damaged."""
    arrays = read_npz(path, ("networks",))
    found = {}
    with reading(path, "not the spread of a run's weights"):
        for name in map(str, arrays["networks"]):
            epochs, counts = arrays[f"{name}/epochs"], arrays[f"{name}/counts"]
            if counts.shape != (len(epochs), len(EDGES) - 1):
                raise ValueError(f"{name}: counts of shape {counts.shape}")
            by_epoch = {int(epoch): row for epoch, row in zip(epochs, counts, strict=True)}
            found[name] = Spread(by_epoch, float(arrays[f"{name}/prior"]))
    return found
