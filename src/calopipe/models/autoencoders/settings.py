"""Settings of autoencoders."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from calopipe.config.bounds import LogVariances, Scale, Tiny, Width, Widths
from calopipe.config.chains import AutoencoderSettings, FractionsModel


class BernoulliVAEConfig(AutoencoderSettings, FractionsModel):
    """Settings of ``bernoulli_vae``; the defaults are the published card of CaloChallenge 1 (Table 5)."""

    hidden: Widths = Field(default_factory=lambda: [5000, 1000, 500], description="encoder widths; the decoder mirrors")
    latent: Width = Field(50, description="latent dimensions")
    alpha: Annotated[Tiny, Field(lt=0.5)] = Field(1e-6, description="logit regularisation of the network's input")
    beta: float = Field(1e-5, ge=0, le=1e6, description="weight of the KL term")
    gamma: Scale = Field(1e4, description="weight of the data loss, mean over voxels and halved")
    condition_scale: Scale = Field(
        1.15,
        description="conditions are divided by this times their largest value (at least 1) and go through the logit; one "
        "that is negative in training (after log_condition) is only divided",
    )

    @property
    def latent_dim(self) -> int:
        return self.latent


class HurdleVAEConfig(AutoencoderSettings, FractionsModel):
    """Settings of ``hurdle_vae``."""

    hidden: Widths = Field(default_factory=lambda: [512, 512], description="encoder widths; the decoder mirrors")
    latent: Width = Field(50, description="latent dimensions")
    groups: Literal[1, 2, 4, 8] = Field(
        1,
        description="steps in which the voxels of a shower are drawn, each knowing those before; neighbours differ in step",
    )
    components: int = Field(1, gt=0, le=16, description="normals in the mixture that a hit's logit is drawn from")
    alpha: Annotated[Tiny, Field(lt=0.5)] = Field(1e-6, description="logit regularisation")
    beta: float = Field(1.0, ge=0, le=1e6, description="weight of the KL term; 1 gives the evidence lower bound")
    cell_prior: float = Field(
        0.0,
        ge=0,
        le=1e6,
        description="hits of an average cell that are added to each cell's own when its mean and width are taken; above 0 "
        "for large sparse grids, where a cell with one training hit has no width",
    )
    log_var_range: LogVariances = Field((-10.0, 10.0), description="clip of the decoder's log sigma^2")

    @property
    def latent_dim(self) -> int:
        return self.latent


class DenseConfig(AutoencoderSettings):
    """Settings of fully connected autoencoders of any columns."""

    hidden: Widths = Field(default_factory=lambda: [512, 512], description="encoder widths; the decoder mirrors")
    latent: Width = Field(24, description="latent dimensions")

    @property
    def latent_dim(self) -> int:
        return self.latent


class AEConfig(DenseConfig):
    """Settings of ``ae``."""


class GaussianVAEConfig(DenseConfig):
    """Settings of ``gaussian_vae``."""

    beta: float = Field(1.0, ge=0, le=1e6, description="weight of the KL term; 1 gives the evidence lower bound")
    width: Literal["each", "one", "fixed"] = Field(
        "each",
        description="standard deviation of the decoder: learned for each column and shower, one learned number, or fixed",
    )
    sigma: Scale = Field(
        1.0, description="width: fixed: the standard deviation; the squared error counts 1 / (2 sigma^2)"
    )
    decoded: Literal["draw", "mean"] = Field(
        "draw", description="decode to a draw from the decoder's normal, or to its mean"
    )
    log_var_range: LogVariances = Field(
        (-10.0, 10.0), description="clip of the decoder's log sigma^2 where it is learned"
    )
