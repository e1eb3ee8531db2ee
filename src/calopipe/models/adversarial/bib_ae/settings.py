"""Settings of the BIB-AE."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from calopipe.config.bounds import Channels, Scale, Weight, Width, Widths
from calopipe.config.chains import AutoencoderSettings, ImagesModel
from calopipe.models.adversarial.settings import GameSettings


class BIBAEConfig(ImagesModel, GameSettings, AutoencoderSettings):
    """Settings of ``bib_ae``; the defaults are the published networks for 30 x 30 x 30 cells (Buhmann 2021)."""

    objectives: ClassVar[tuple[str, ...]] = ("image_critic", "latent_critic", "autoencoder")

    channels: Channels = Field(
        8,
        description="channels of the encoder's first convolution and the decoder's first; the others are multiples of it",
    )
    dense: Annotated[Widths, Field(min_length=1)] = Field(
        default_factory=lambda: [4000, 768], description="dense widths of the encoder; the decoder mirrors"
    )
    latent: Width = Field(24, description="latents of the encoder")
    padded: Width = Field(
        512, description="numbers that the decoder is given: the latents, and standard normal noise for the rest"
    )
    critic_channels: Channels = Field(128, description="image critic: channels of the convolutions of both streams")
    critic_features: Width = Field(
        64,
        description="image critic: numbers that it makes of each stream, of the difference image and of the conditions",
    )
    critic_hidden: Widths = Field(
        default_factory=lambda: [256, 256, 256], description="image critic: hidden widths behind these"
    )
    latent_critic: Widths = Field(
        default_factory=lambda: [50, 100, 50], description="latent critic: hidden widths; it judges number by number"
    )
    adversarial: Weight = Field(1.0, description="weight of what the image critic says, in the autoencoder's loss")
    latent_adversarial: Weight = Field(100.0, description="weight of what the latent critic says")
    beta: Weight = Field(0.05, description="weight of the KL term, summed over the latents")
    mmd: Weight = Field(100.0, description="weight of the discrepancy between latents and normal numbers")
    mmd_alphas: Annotated[list[Scale], Field(min_length=1, max_length=16)] = Field(
        default_factory=lambda: [1.0, 0.01], description="its kernels, exp(-alpha d^2)"
    )
    latent_terms: Literal["all", "encoded"] = Field(
        "all",
        description="numbers that the latent critic and the discrepancy see: all that the decoder is given, as published, or the "
        "latents alone (among 512 numbers the kernels are 0 for any two showers)",
    )
    unit: Scale = Field(
        1.0, description="in the networks voxels count in this unit, of x: MeV where x are energies (log(image + 1))"
    )

    @property
    def latent_dim(self) -> int:
        return self.latent

    @model_validator(mode="after")
    def _room(self) -> BIBAEConfig:
        if self.padded < self.latent:
            raise ValueError(f"padded: expected at least the number of latents ({self.latent}), found {self.padded}")
        return self
