"""Histograms of the variances that the weights of Bayesian networks have, at kept epochs and at the end (Ernst 2023, figure 11)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calopipe.models.base import GenerativeModel
from calopipe.records.weight_spread import Spread, counted, save_spread
from calopipe.training.checkpoint import Network, load_network


def measure_weight_spread(checkpoints: Sequence[Path], kept: Sequence[Path], out: Path) -> None:
    """Write those of the networks whose weights are distributions.

    Args:
        checkpoints: of all networks of the chain. kept: for each the folder of its kept epochs, in the same order.
    """
    found = {}
    for path, folder in zip(checkpoints, kept, strict=True):
        final = load_network(path)
        if not _uncertain(final):
            continue
        counts = {
            int(p.stem.removeprefix("epoch-")): _counts(load_network(p)) for p in sorted(folder.glob("epoch-*.pt"))
        }
        assert isinstance(final.model, GenerativeModel)
        found[final.link.name] = Spread({**counts, 0: _counts(final)}, final.model.prior_log_variance)
    save_spread(out, found)


def _uncertain(network: Network) -> bool:
    return isinstance(network.model, GenerativeModel) and network.model.weight_draws


def _counts(network: Network) -> NDArray[np.int64]:
    assert isinstance(network.model, GenerativeModel)
    return counted(network.model.log_variances().cpu().numpy())
