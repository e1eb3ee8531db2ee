"""The compiled sampler of a ring cascade, on the CPU: weights as it takes them, and the threads that run it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from calopipe.compiled_code import array, load_compiled
from calopipe.models.cascades.cells import CHANNELS, REACH

if TYPE_CHECKING:
    from calopipe.models.cascades.ring_cascade import RingCascade

#: showers that a thread takes at a time
_SHOWERS = 16
#: showers for each thread up to which the CPU is faster than a GPU, whose walk launches the same thousands of small kernels for any number
#: (an H100 takes some 1 s and 0.2 ms for each shower, a thread 8 ms for each)
_FEW = 128


def on_cpu(cond: Tensor) -> bool:
    """Whether compiled code draws the showers of cond (N, 1): all that are asked of a CPU, and few that are asked of a GPU."""
    few = cond.device.type == "cpu" or len(cond) <= _FEW * torch.get_num_threads()
    return cond.dtype == torch.float32 and len(cond) > 0 and few


@cache
def compiled() -> Callable[..., None] | None:
    """The function that draws showers, or None (logged once) where numba does not work on this machine."""

    def load() -> Callable[[str], Callable[..., None]]:
        from calopipe.models.cascades.kernels import entry

        return entry

    return load_compiled("cascades", load, "models/dense_kernels.py", "models/cascades/*.py", "models/splines/lanes.py")


def draw_showers(run: Callable[..., None], model: RingCascade, scaled: Tensor, incident: Tensor) -> Tensor:
    """Energies (N, L, R, A) of cells in MeV for incident energies (N,), of :func:`compiled` code, in torch's number of threads."""
    grid, rows = model.grid, len(incident)
    showers = np.zeros((rows, grid.layers, grid.rings, grid.angles), np.float32)
    seeds = torch.randint(-(2**63), 2**63 - 1, (rows,)).numpy().view(np.uint64)
    _run(run, model, scaled, incident, seeds, showers, np.zeros((rows, 4)), follows=False)
    return torch.from_numpy(showers).to(incident.device)


def log_prob(run: Callable[..., None], model: RingCascade, scaled: Tensor, incident: Tensor, cells: Tensor) -> Tensor:
    """ln p (N, 4) of layers, rings, hits and energies of cells (N, L, R, A) in MeV, along the way on which they are drawn."""
    found, seeds = np.zeros((len(cells), 4)), np.zeros(len(cells), np.uint64)
    showers = np.array(cells.detach().contiguous().numpy(), np.float32)
    _run(run, model, scaled, incident, seeds, showers, found, follows=True)
    return torch.from_numpy(found)


def _run(
    run: Callable[..., None],
    model: RingCascade,
    scaled: Tensor,
    incident: Tensor,
    seeds: np.ndarray,
    showers: np.ndarray,
    found: np.ndarray,
    *,
    follows: bool,
) -> None:
    shape, *weights = _weights(model)
    networks = tuple(weights)
    rows = [v.detach().double().cpu().contiguous().numpy() for v in (scaled, incident)] + [seeds]

    def part(first: int) -> None:
        here = slice(first, first + _SHOWERS)
        run(shape, networks, tuple(v[here] for v in rows), follows, showers[here], found[here])

    starts, threads = range(0, len(showers), _SHOWERS), torch.get_num_threads()
    if threads == 1 or len(starts) == 1:
        for first in starts:
            part(first)
        return
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(part, starts))


def _weights(model: RingCascade) -> Sequence[Any]:
    """Shape of the detector, and the weights of the three networks as :mod:`calopipe.models.cascades.kernels` has them."""
    from calopipe.models.cascades import arithmetic_kernels, cell_kernels, layer_kernels, ring_kernels
    from calopipe.models.dense_kernels import Affine

    def affine(layer: nn.Module) -> Any:
        assert isinstance(layer, nn.Linear)
        bias = layer.weight.new_zeros(layer.out_features) if layer.bias is None else layer.bias
        return Affine(array(layer.weight.T), array(bias))

    def affines(*networks: nn.Module) -> list[Any]:
        return [affine(layer) for network in networks for layer in network.modules() if isinstance(layer, nn.Linear)]

    grid, layers, totals, cells = model.grid, model.layers, model.totals, model.cells
    near = affine(cells.near)
    window = CHANNELS * (2 * REACH + 1)  # by cell, not by channel
    of_cells = near.weight[:window].reshape(CHANNELS, 2 * REACH + 1, -1).swapaxes(0, 1).reshape(window, -1)
    by_cell = np.concatenate([of_cells, near.weight[window:]])
    return (
        arithmetic_kernels.Shape(
            grid.layers,
            grid.rings,
            grid.angles,
            grid.periodic,
            cells.closes,
            float(grid.threshold),
            max(grid.threshold, 1e-3),
        ),
        layer_kernels.Layers(
            array(layers.layer.weight), *affines(layers.total, layers.hidden, layers.counts, layers.energies)
        ),
        ring_kernels.Totals(
            array(totals.layer.weight),
            array(totals.ring.weight),
            *affines(totals.before, totals.hidden, totals.counts, totals.energies),
        ),
        cell_kernels.Cells(
            array(cells.layer.weight),
            array(cells.ring.weight),
            affine(cells.numbers),
            Affine(np.ascontiguousarray(by_cell), near.bias),
            *affines(cells.mixed, cells.common, cells.scores, cells.hit_cell, cells.hit_swept, cells.hit),
            *affines(cells.energy_cell, cells.energy_swept, cells.energy),
        ),
    )
