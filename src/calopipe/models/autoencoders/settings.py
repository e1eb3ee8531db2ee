"""Settings of autoencoders."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from calopipe.config.bounds import Channels, Dropout, LogVariances, Output, Scale, Slope, Tiny, Width, Widths
from calopipe.config.chains import AutoencoderSettings, Columns, FractionsModel
from calopipe.models.autoencoders.terms.settings import BCE, AnyTerm, DataMSE, LogitMAE, Losses


def _data_and_logit() -> list[AnyTerm]:
    return [DataMSE(weight=1e4), LogitMAE(weight=1.0)]


def _cross_entropy() -> list[AnyTerm]:
    return [BCE(weight=1e4)]


class ShowerVAEConfig(AutoencoderSettings, FractionsModel):
    """Settings of ``shower_vae``; the defaults are the final card of the CaloGAN data (Ernst 2023, table 2)."""

    hidden: Widths = Field(default_factory=lambda: [4500, 1000, 150], description="encoder widths; the decoder mirrors")
    latent: Width = Field(50, description="latent dimensions")
    alpha: Annotated[Tiny, Field(lt=0.5)] = Field(1e-6, description="logit regularisation of the network's input")
    alpha_1: Annotated[Tiny, Field(lt=0.5)] | None = Field(
        None, description="regularisation at 1, of voxels; null: alpha. A large one (0.1) keeps gradients finite"
    )
    beta: float = Field(1e-5, ge=0, le=1e6, description="weight of the KL term")
    losses: Losses = Field(
        default_factory=_data_and_logit,
        description="terms of the loss: half their weighted sum is minimised, with beta times the KL term, "
        "-1/2 sum(1 + log s^2 - mu^2 - s^2); each is in the history by its name",
    )
    compared: Literal["thresholded", "normalised"] = Field(
        "normalised",
        description="reconstructions that the terms see: scaled to the layers' energies (normalised), and cut at the readout "
        "threshold and normalised again (thresholded; not behind noise or fill_empty)",
    )
    dropout: Dropout = Field(0.0, description="fraction of the hidden neurons that is dropped in training")
    batch_norm: bool = Field(False, description="batch normalisation of the hidden layers")
    learnable_norm: bool = Field(
        False,
        description="instead of standardising the logits of voxels and u: a learned scale and shift of each, undone with the same "
        "numbers behind the decoder",
    )
    condition_scale: Scale = Field(
        1.15,
        description="conditions are divided by this times their largest value (at least 1) and go through the logit; one "
        "that is negative in training (after log_condition) is only divided",
    )

    @property
    def latent_dim(self) -> int:
        return self.latent

    def takes(self, given: Columns) -> None:
        """A reconstruction becomes a shower by all steps again: what they draw would be another draw than the shower's."""
        super().takes(given)
        if self.compared == "thresholded" and given.drawn:
            raise ValueError(
                f"needs compared: normalised behind {' and '.join(given.drawn)}, of which showers and their reconstructions would "
                "have different draws, found thresholded"
            )


class BernoulliVAEConfig(ShowerVAEConfig):
    """Settings of ``bernoulli_vae``; the defaults are the published card of CaloChallenge 1 (Table 5)."""

    hidden: Widths = Field(default_factory=lambda: [5000, 1000, 500], description="encoder widths; the decoder mirrors")
    losses: Losses = Field(default_factory=_cross_entropy, description="terms of the loss, see shower_vae")
    compared: Literal["thresholded", "normalised"] = Field(
        "thresholded", description="reconstructions that the terms see, see shower_vae"
    )


class KernelVAEConfig(BernoulliVAEConfig):
    """Settings of ``kernel_vae``; the defaults are the published card of CaloChallenge 2 (Table 5)."""

    hidden: Widths = Field(
        default_factory=lambda: [1500, 1000, 500],
        description="widths of the inner network that gathers the blocks; mirrored",
    )
    alpha: Annotated[Tiny, Field(lt=0.5)] = Field(1e-8, description="logit regularisation of the network's input")
    learnable_norm: bool = Field(True, description="learned scale and shift of the logits, see shower_vae")
    kernel: int = Field(7, ge=1, le=999, description="layers of a block; an odd number")
    stride: int = Field(3, ge=1, le=999, description="layers between the middles of two blocks; at most kernel")
    kernel_hidden: Widths = Field(
        default_factory=lambda: [1500, 800, 300], description="widths of the encoder of a block; its decoder mirrors"
    )
    kernel_latent: Width = Field(50, description="numbers that a block is compressed to")

    @model_validator(mode="after")
    def _sees_every_layer(self) -> KernelVAEConfig:
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel: expected an odd number of layers, found {self.kernel}")
        if self.stride > self.kernel:
            raise ValueError(
                f"stride: expected at most the kernel's {self.kernel} layers, found {self.stride}: no block would see some"
            )
        return self


class ConvVAEConfig(ShowerVAEConfig):
    """Settings of ``conv_vae``."""

    hidden: Widths = Field(
        default_factory=lambda: [5000, 1000, 500],
        description="encoder widths behind the layers' own networks; mirrored",
    )
    channels: Annotated[list[Channels], Field(min_length=1, max_length=8)] = Field(
        default_factory=lambda: [16, 16],
        description="channels of the 3x3 convolutions on layers of more than one cell along both indices",
    )
    features: Width = Field(32, description="numbers that other layers, and the conditions, become")


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
    activation: Literal["silu", "relu", "leaky_relu"] = Field("silu", description="activation of the hidden layers")
    conditioned: bool = Field(
        True,
        description="give encoder and decoder the conditions; false: what learns the latents knows them alone (CaloMan)",
    )

    @property
    def latent_dim(self) -> int:
        return self.latent


class AEConfig(DenseConfig):
    """Settings of ``ae``."""


class GaussianVAEConfig(DenseConfig):
    """Settings of ``gaussian_vae``."""

    beta: float = Field(1.0, ge=0, le=1e6, description="weight of the KL term; 1 gives the evidence lower bound")
    width: Literal["each", "shower", "one", "fixed"] = Field(
        "each",
        description="standard deviation of the decoder: learned for each column and shower; one number of each shower, which the "
        "decoder gives (CaloMan); one learned number; or fixed",
    )
    sigma: Scale = Field(
        1.0, description="width: fixed: the standard deviation; the squared error counts 1 / (2 sigma^2)"
    )
    output: Output = Field("linear", description="activation of the decoder's mean; leaky_relu makes images sparse")
    output_slope: Slope = Field(0.04, description="output: leaky_relu: its slope below 0")
    decoded: Literal["draw", "mean"] = Field(
        "draw", description="decode to a draw from the decoder's normal, or to its mean"
    )
    log_var_range: LogVariances = Field(
        (-10.0, 10.0), description="clip of the decoder's log sigma^2 where it is learned"
    )
