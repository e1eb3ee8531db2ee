"""The post-processor of the BIB-AE (Buhmann 2021, arXiv:2005.05334): hit energies made right voxel by voxel."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from calopipe.config.parts import MODELS
from calopipe.convolutions import Conv3d
from calopipe.models.base import Inputs, Now, Refiner
from calopipe.models.building import Standardisation, in_pieces, mlp, output
from calopipe.models.discrepancies import sorted_hit_mmd
from calopipe.models.losses import mse
from calopipe.models.refiners.settings import PostProcessorConfig

#: voxels that pass the network at once, outside of training steps: some GB of its channels
_VOXELS = 2**21


class Block(nn.Module):
    """A convolution of 1 x 1 x 1, layer norm of each channel over the cells (but not of the last block), LeakyReLU."""

    def __init__(self, before: int, config: PostProcessorConfig, grid: tuple[int, int, int] | None) -> None:
        super().__init__()
        self.convolution = Conv3d(before, config.channels, 1)
        self.norm = nn.Identity() if grid is None else nn.LayerNorm(grid)
        self.activation = nn.LeakyReLU(config.negative_slope)

    def forward(self, x: Tensor, more: Tensor | float = 0.0) -> Tensor:
        return self.activation(self.norm(self.convolution(x)) + more)


@MODELS.register("post_processor", config=PostProcessorConfig)
class PostProcessor(Refiner):
    """Each voxel's new energy follows from its own, its place, the shower's mean and spread, its sum and the conditions.

    The features of sum and conditions go through a dense layer without bias and are added to the second block's channels behind
    their normalisation. In the source they are further channels of that block's input, the same in all cells, which a layer norm
    over the cells takes away again; the weights are the same. They are needed: the same normalisation takes away the scale of a
    shower's energies, which nothing else would tell.

    The loss is the squared difference from the input; after `identity_epochs`, that and the discrepancy of the sorted hits
    from those of the true shower.
    """

    def __init__(self, config: PostProcessorConfig, inputs: Inputs) -> None:
        super().__init__(config, inputs)
        self.grid = inputs.grid
        activation = partial(nn.LeakyReLU, config.negative_slope)
        self.scales = Standardisation(1 + inputs.cond_dim)
        self.features = mlp([1 + inputs.cond_dim, *[config.features] * 3], activation).append(activation())
        self.given = nn.Linear(config.features, config.channels, bias=False)
        norms = [self.grid] * (config.layers - 1) + [None]
        self.blocks = nn.ModuleList(Block(config.channels if i else 1, config, norm) for i, norm in enumerate(norms))
        self.last = nn.Sequential(Conv3d(config.channels, 1, 1, bias=False), output(config.output))

    def fit_input(self, x: Tensor, cond: Tensor) -> None:
        alone, given = self.apart(cond)
        self.scales.fit(self._of(given, alone))

    def refine(self, x: Tensor, cond: Tensor) -> Tensor:
        return in_pieces(self._refined, max(1, _VOXELS // self.dim), x, cond[:, : self.cond_dim])

    def _refined(self, x: Tensor, cond: Tensor) -> Tensor:
        told = self.given(self.features(self.scales(self._of(x, cond))))[..., None, None, None]
        image = (x / self.config.unit).unflatten(1, (1, *self.grid))
        for i, block in enumerate(self.blocks):
            image = block(image, told) if i == 1 else block(image)
        return self.last(image).flatten(1) * self.config.unit

    def step(self, objective: str, x: Tensor, cond: Tensor, now: Now) -> dict[str, Tensor]:
        return self._losses(x, cond, now.epoch >= self.config.identity_epochs)

    def validate(self, x: Tensor, cond: Tensor) -> dict[str, Tensor]:
        return self._losses(x, cond, True)

    def _losses(self, x: Tensor, cond: Tensor, hits: bool) -> dict[str, Tensor]:
        alone, given = self.apart(cond)
        settings, refined = self.config, self.refine(given, alone)
        true, given, refined = (showers / settings.unit for showers in (x, given, refined))
        change = mse(given, refined)
        if not hits:
            return {"loss": change, "change": change.detach()}
        apart = sorted_hit_mmd(
            true, refined, kernel=settings.kernel, stride=settings.stride, first=settings.first, alpha=settings.alpha
        )
        return {"loss": change + settings.hits * apart, "change": change.detach(), "hits": apart.detach()}

    @staticmethod
    def _of(x: Tensor, cond: Tensor) -> Tensor:
        """A shower's sum and its conditions, (N, 1 + C)."""
        return torch.cat([x.sum(1, keepdim=True), cond], dim=1)
