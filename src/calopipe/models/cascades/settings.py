"""Settings of cascades."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from calopipe.config.bounds import Dropout, Width
from calopipe.config.chains import Columns, ModelSettings


class RingCascadeConfig(ModelSettings):
    """Settings of ``ring_cascade``."""

    layers_width: Width = Field(256, description="width of the networks of layers")
    rings_width: Width = Field(128, description="width of the networks of rings")
    cells_width: Width = Field(64, description="width of the networks of cells")
    components: Annotated[int, Field(gt=0, le=64)] = Field(
        6, description="parts of the mixtures that energies are drawn from"
    )
    dropout: Dropout = Field(0.0, description="fraction of the hidden neurons of layers that is dropped in training")
    part: float = Field(
        0.25,
        gt=0,
        le=1,
        description="part of a batch's layers and rings, drawn at random, that a training step learns from",
    )

    def takes(self, given: Columns) -> None:
        if not (given.energies and given.raw_energy and given.cond_dim == 1):
            raise ValueError(
                "needs voxels and the incident energy in MeV, alone (no preprocessing), found other columns"
            )
        if given.threshold_MeV <= 0:
            raise ValueError("needs a readout threshold above 0, which tells hits, found 0")
        _ = given.grid  # raises where layers are not alike
