"""Kernel VAE: overlapping groups of layers are compressed by networks of their own, and a VAE gathers them (Ernst 2023, sections 4.4.2 and
4.4.3, figure 49; details after the authors' code, heidelberg-hepml/CaloINN).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor, nn

from calopipe.config.parts import MODELS
from calopipe.models.autoencoders.bernoulli_vae import BernoulliVAE
from calopipe.models.autoencoders.settings import KernelVAEConfig


def blocks_of(layers: int, kernel: int, stride: int) -> list[tuple[int, int]]:
    """First layer, and the one after the last, of each block: block b has those at most kernel // 2 from layer b * stride."""
    reach = kernel // 2
    return [(max(0, at - reach), min(layers, at + reach + 1)) for at in range(0, layers, stride)]


class KernelEncoder(nn.Module):
    """Voxels and conditions (N, V + C) to `codes` numbers: one network per block, and one that gathers what they say.

    Args:
        blocks: networks of (voxels of a block, conditions). parts: columns of their voxels. inner: of (all codes, conditions).
    """

    def __init__(self, blocks: Sequence[nn.Module], parts: Sequence[slice], inner: nn.Module, n_voxels: int) -> None:
        super().__init__()
        self.blocks, self.inner = nn.ModuleList(blocks), inner
        self.parts, self.n_voxels = tuple(parts), n_voxels

    def forward(self, both: Tensor) -> Tensor:
        x, cond = both[:, : self.n_voxels], both[:, self.n_voxels :]
        codes = [
            block(torch.cat([x[:, part], cond], dim=1)) for block, part in zip(self.blocks, self.parts, strict=True)
        ]
        return self.inner(torch.cat([*codes, cond], dim=1))


class KernelDecoder(nn.Module):
    """Latents and conditions (N, latent + C) to `numbers` values of each voxel, one number after the other.

    What blocks say of the same voxel is summed.
    """

    def __init__(
        self,
        blocks: Sequence[nn.Module],
        parts: Sequence[slice],
        inner: nn.Module,
        n_latent: int,
        n_voxels: int,
        numbers: int,
    ) -> None:
        super().__init__()
        self.blocks, self.inner = nn.ModuleList(blocks), inner
        self.parts, self.n_latent, self.n_voxels, self.numbers = tuple(parts), n_latent, n_voxels, numbers

    def forward(self, both: Tensor) -> Tensor:
        cond = both[:, self.n_latent :]
        codes = self.inner(both).chunk(len(self.blocks), dim=1)
        out = both.new_zeros(len(both), self.numbers, self.n_voxels)
        for block, part, code in zip(self.blocks, self.parts, codes, strict=True):
            said = block(torch.cat([code, cond], dim=1))
            out[:, :, part] = out[:, :, part] + said.view(len(both), self.numbers, -1)
        return out.flatten(1)


@MODELS.register("kernel_vae", config=KernelVAEConfig)
class KernelVAE(BernoulliVAE):
    """A ``bernoulli_vae`` for many layers: ``kernel`` layers around every ``stride``-th one are a block, with an encoder and a decoder of
    its own; an inner VAE (``hidden``) gathers the blocks' codes. The conditions go into every one of these networks.
    """

    def make_networks(self) -> tuple[nn.Module, nn.Module]:
        config, c, k = self.config, self.inputs.cond_dim, self.config.kernel_latent
        ends = [0, *accumulate(self.inputs.layer_sizes)]
        blocks = blocks_of(len(ends) - 1, config.kernel, config.stride)
        parts = [slice(ends[first], ends[last]) for first, last in blocks]
        widths = [part.stop - part.start for part in parts]
        encoders = [self.dense([width + c, *config.kernel_hidden, k]) for width in widths]
        decoders = [self.dense([k + c, *reversed(config.kernel_hidden), self.numbers * width]) for width in widths]
        gather = self.dense([len(blocks) * k + c, *config.hidden, 2 * self.latent_dim])
        spread = self.dense([self.latent_dim + c, *reversed(config.hidden), len(blocks) * k])
        return (
            KernelEncoder(encoders, parts, gather, self.dim),
            KernelDecoder(decoders, parts, spread, self.latent_dim, self.dim, self.numbers),
        )
