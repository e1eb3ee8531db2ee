"""Showers of the hurdle decoder one at a time: drawn by compiled code on the CPU.

Voxels in groups, each with its networks, layer by layer, are hundreds of calls of PyTorch, which for one shower take far longer than what
they compute.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import Tensor, nn

from calopipe.compiled_code import FEW, Network, Packing, array, load_compiled

if TYPE_CHECKING:
    from calopipe.models.autoencoders.hurdle_kernels import Decoder
    from calopipe.models.autoencoders.hurdle_vae import HurdleVAE


@cache
def compiled() -> Callable[..., None] | None:
    """The function that draws showers, or None (logged once) where numba does not work on this machine."""

    def load() -> Callable[[str], Callable[..., None]]:
        from calopipe.models.autoencoders.hurdle_kernels import entry

        return entry

    return load_compiled("hurdle decoders", load, "models/dense_kernels.py", "models/splines/lanes.py")


def decode(model: HurdleVAE, z: Tensor, cond: Tensor) -> Tensor | None:
    """x (N, D) of latents z, or None where PyTorch has to draw: many rows, on a GPU, with gradients, in other than float32."""
    floats = z.dtype == cond.dtype == torch.float32 and z.device.type == "cpu"
    if not 0 < len(z) <= FEW or not floats or torch.is_grad_enabled():
        return None
    run = compiled()
    if run is None or (decoder := _decoder(model)) is None:
        return None
    noise, rounding = random_numbers(model, len(z))
    x = torch.empty(len(z), model.dim)
    run(array(z), array(cond), decoder, noise.numpy(), rounding.numpy(), x.numpy())
    return x


def random_numbers(model: HurdleVAE, n: int) -> tuple[Tensor, Tensor]:
    """Of hits (uniform), components (uniform) and energies (normal), (n, 3, D), and of the numbers of hits of groups, (n, G, L) (uniform)."""
    noise = torch.rand(n, 3, model.dim)
    noise[:, 2].normal_()
    return noise, torch.rand(n, model.near.groups, len(model.sizes))


def _pack(model: HurdleVAE) -> Decoder | None:
    """The decoder as compiled code takes it, or None where it cannot."""
    if any(p.dtype != torch.float32 or p.device.type != "cpu" for p in model.parameters()):
        return None
    from calopipe.models.autoencoders.hurdle_kernels import Decoder

    parts: list[tuple[int, ...]] = []
    voxels: list[np.ndarray] = []
    neighbours: list[np.ndarray] = []
    nets, widths = [np.zeros(0, np.float32)], []
    for group in range(model.near.groups):
        for name, places in model.near.parts_of(group):
            starts = [sum(map(len, found)) for found in (voxels, neighbours, nets)]
            parts.append((group, starts[0], *places.neighbours.shape, *starts[1:]))
            voxels.append(places.voxels.numpy())
            neighbours.append(places.neighbours.reshape(-1).numpy())
            if group:
                net = Network.of(cast("nn.Sequential", model.near.nets[name]))
                nets.append(net.weights)
            widths.append(net.widths if group else np.zeros(4, np.int64))
    *hidden, last = (layer for layer in model.decoder if isinstance(layer, nn.Linear))
    order = [columns[getattr(model, f"order_{group}")] for group, columns in enumerate(model.near.columns)]
    return Decoder(
        Network.of(hidden) if hidden else Network(np.zeros(0, np.float32), np.array([last.in_features])),
        array(last.weight),
        array(last.bias),
        np.concatenate(nets),
        np.concatenate(voxels),
        np.concatenate(neighbours),
        np.array(widths),
        np.array(parts),
        torch.cat(order).numpy(),
        np.array(model.counts),
        model.layer_of.numpy(),
        model.sizes.numpy(),
        np.stack([array(model.voxels.mean), array(model.voxels.std)]),
        np.stack([array(model.conditions.mean), array(model.conditions.std)]),
        np.array(model.config.log_var_range),
        model.config.components,
        model.inputs.hits_given,
        model.config.alpha,
        model.least,
    )


def _parts(model: HurdleVAE) -> Iterable[nn.Module]:
    return (*model.decoder, *model.near.nets.modules(), model.voxels, model.conditions)


_decoder = Packing(_pack, _parts)
