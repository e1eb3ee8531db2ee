"""Showers one at a time: the inverse of a flow of RQS coupling blocks for a few rows, by compiled code on the CPU.

A block is some twenty calls of PyTorch, which for one row take far longer than what they compute. Here all blocks are one call, and a
hidden neuron that ReLU set to 0 costs nothing, which halves the weights that have to be read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from calopipe.compiled_code import FEW, Network, Packing, load_compiled
from calopipe.models.building import DropoutReLU
from calopipe.models.splines.compiled import uses_compiled

if TYPE_CHECKING:
    from calopipe.models.flows.coupling import CouplingFlow, RQSCoupling
    from calopipe.models.flows.few_rows_kernels import Blocks


@cache
def compiled() -> Callable[..., None] | None:
    """The function that inverts flows, or None (logged once) where numba does not work on this machine."""

    def load() -> Callable[[str], Callable[..., None]]:
        from calopipe.models.flows.few_rows_kernels import entry

        return entry

    splines = (f"models/splines/{name}.py" for name in ("jobs", "kernels", "lanes"))
    return load_compiled("flows", load, "models/dense_kernels.py", *splines)


def inverse(flow: CouplingFlow, z: Tensor, cond: Tensor | None) -> tuple[Tensor, Tensor] | None:
    """x (N, D) and log|det dx/dz| (N,) of z (N, D), or None where PyTorch has to do it: for many rows, on a GPU, in training, for blocks other
    than RQS couplings of plain networks in float32, and for a z in float64, whose inverse is exact only with the very logits of :meth:`forward`.
    """
    if not 0 < len(z) <= FEW or z.device.type != "cpu" or z.dtype != torch.float32 or flow.training:
        return None
    blocks, run = _blocks(flow), compiled()
    if blocks is None or run is None or not uses_compiled(z, z, cast("RQSCoupling", flow.module_list[0]).backend):
        return None
    x, logdet = np.array(z.numpy(), np.float64, order="C"), np.zeros(len(z))
    given = np.zeros((len(z), 0), np.float32) if cond is None else np.ascontiguousarray(cond.float().numpy())
    run(x, given, blocks, logdet)
    return torch.from_numpy(x).to(z.dtype), torch.from_numpy(logdet).to(z.dtype)


def _known(flow: CouplingFlow) -> bool:
    """Whether a flow is a sequence of RQS coupling blocks alike, of plain networks in float32."""
    from calopipe.models.flows.coupling import RQSCoupling

    blocks, plain = list(flow.module_list), (nn.Linear, nn.ReLU, nn.LeakyReLU, DropoutReLU)
    return (
        len(blocks) > 0
        and all(type(block) is RQSCoupling and block.near is None for block in blocks)
        and len({(block.per_column, block.backend, len(block.net)) for block in flow.blocks}) == 1
        and all(type(layer) in plain for block in flow.blocks for layer in block.net)
        and all(p.dtype == torch.float32 and p.device.type == "cpu" for p in flow.parameters())
    )


def _pack(flow: CouplingFlow) -> Blocks | None:
    """The blocks of a flow as compiled code takes them, or None where it cannot."""
    if not _known(flow):
        return None
    from calopipe.models.flows.few_rows_kernels import Blocks

    weights: list[np.ndarray] = []
    columns: list[np.ndarray] = []
    widths, starts, constants = [], [], []
    for block in cast("Sequence[RQSCoupling]", flow.blocks):
        starts.append((sum(map(len, weights)), sum(map(len, columns))))
        net = Network.of(block.net)
        weights.append(net.weights)
        widths.append(net.widths)
        columns += [block.active.numpy(), block.passive.numpy()]
        constants.append(_constants(block))
    sizes = [(len(block.active), len(block.passive)) for block in flow.blocks]
    integers = (np.array(v, np.int64) for v in (widths, starts, sizes))
    made: list[Any] = [np.concatenate(weights), np.concatenate(columns), *integers, np.array(constants)]
    return Blocks(*made)


def _constants(block: RQSCoupling) -> list[float]:
    spline = block.spline
    slopes = [layer.negative_slope for layer in block.net if isinstance(layer, nn.LeakyReLU)]
    numbers = [spline.bounds, spline.min_bin, spline.min_derivative, spline.shift, spline.heat]
    return [*numbers, slopes[0] if slopes else 0.0]


_blocks = Packing(_pack, lambda flow: flow.modules())
