"""Settings of adversarial networks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from calopipe.config.base import Section
from calopipe.config.bounds import Channels, ChannelTriple, Dropout, Output, Slope, Times, Width, Widths
from calopipe.config.chains import Columns, ModelSettings

Kernel = Annotated[int, Field(ge=1, le=99)]
#: weight of the penalty where none is set
_PENALTY = {"gan": 0.0, "gan_dp": 1.0, "wgan_gp": 10.0}


class GameSettings(ModelSettings):
    """How a generator and a critic play against one another."""

    objectives: ClassVar[tuple[str, ...]] = ("critic", "generator")

    loss: Literal["gan", "gan_dp", "wgan_gp"] = Field(
        "wgan_gp",
        description="cross entropy; the same with a penalty of the critic's gradient at data (R1); Wasserstein distance with a "
        "penalty of the gradient between data and samples",
    )
    penalty: Annotated[float, Field(ge=0, le=1e6)] | None = Field(
        None, description="weight of the gradient penalty: gamma of gan_dp (null: 1), lambda of wgan_gp (null: 10)"
    )
    n_critic: Annotated[Times, Field(le=1000)] = Field(5, description="steps of the critic for each of the generator")
    label_smoothing: float = Field(
        0.0, ge=0, lt=0.5, description="the critic's labels are this and 1 minus this (not of wgan_gp)"
    )

    @property
    def penalty_weight(self) -> float:
        """Weight of the gradient penalty."""
        return _PENALTY[self.loss] if self.penalty is None else self.penalty


class GANConfig(GameSettings):
    """Settings of ``gan``."""

    generator: Widths = Field(default_factory=lambda: [256, 512, 512], description="hidden widths of the generator")
    critic: Widths = Field(default_factory=lambda: [512, 512, 256], description="hidden widths of the critic")
    noise: Width = Field(100, description="numbers of noise that a sample is made of")
    negative_slope: Slope = Field(0.2, description="slope of LeakyReLU in both networks; 0: ReLU")
    output: Output = Field("linear", description="last activation of the generator: linear for columns of any sign")
    output_slope: Slope = Field(0.01, description="output: leaky_relu: its slope below 0, which makes images sparse")
    conditions: Literal["standardised", "as_they_are"] = Field(
        "standardised", description="conditions in front of both networks"
    )


class Convolution(Section):
    """One convolution; a list, [64, 4, 2, 1], is channels, kernel, stride and padding."""

    channels: Channels = Field(description="channels of the output")
    kernel: Kernel = Field(description="cells along either index")
    stride: Kernel = Field(1, description="cells between two windows")
    padding: Annotated[int, Field(ge=0, le=99)] = Field(
        0, description="cells around the image (of the output, going up)"
    )

    def up(self, cells: int) -> int:
        """Cells along an index behind a transposed convolution of so many."""
        return (cells - 1) * self.stride - 2 * self.padding + self.kernel

    def down(self, cells: int) -> int:
        """Cells along an index behind a convolution of so many; 0 or less where there is no window."""
        return (cells + 2 * self.padding - self.kernel) // self.stride + 1


def _listed(value: Any) -> Any:
    if isinstance(value, list | tuple):
        names = ("channels", "kernel", "stride", "padding")
        if len(value) > len(names):
            raise ValueError(f"expected {', '.join(names)}, found {len(value)} numbers")
        return dict(zip(names, value, strict=False))
    return value


Convolutions = Annotated[
    list[
        Annotated[
            Convolution,
            BeforeValidator(_listed, json_schema_input_type=Convolution | Annotated[list[int], Field(max_length=4)]),
        ]
    ],
    Field(min_length=1, max_length=16),
]


def _convolutions(*rows: tuple[int, int, int, int]) -> Callable[[], list[Convolution]]:
    names = ("channels", "kernel", "stride", "padding")
    return lambda: [Convolution.model_validate(dict(zip(names, row, strict=True))) for row in rows]


class DCGANConfig(GameSettings):
    """Settings of ``dcgan``; the defaults are those of 64 x 64 images (Albergo 2018, table 4.2)."""

    loss: Literal["gan", "gan_dp", "wgan_gp"] = Field("gan_dp", description="see gan")
    n_critic: Annotated[Times, Field(le=1000)] = Field(3, description="steps of the critic for each of the generator")
    noise: Width = Field(100, description="numbers of noise that a sample is made of")
    generator: Convolutions = Field(
        default_factory=_convolutions((512, 4, 1, 0), (256, 4, 2, 1), (128, 4, 2, 1), (64, 4, 2, 1), (1, 4, 2, 1)),
        description="transposed convolutions from one cell to the image, the last to one channel for each layer of the detector",
    )
    critic: Convolutions = Field(
        default_factory=_convolutions((64, 4, 2, 1), (128, 4, 2, 1), (256, 4, 2, 1), (512, 4, 2, 1), (1, 4, 1, 0)),
        description="convolutions from the image to one cell of one channel",
    )
    critic_norm: bool = Field(
        True, description="batch normalisation in the critic, except at its ends (never with wgan_gp)"
    )
    output: Output = Field("sigmoid", description="last activation of the generator, see gan")
    output_slope: Slope = Field(0.01, description="output: leaky_relu: its slope below 0")

    def takes(self, given: Columns) -> None:
        if given.dim != given.n_voxels:
            raise ValueError(f"needs voxels alone, found {given.dim} columns of {given.n_voxels} voxels")
        layers, *image = given.grid
        if self.generator[-1].channels != layers or self.critic[-1].channels != 1:
            raise ValueError(
                f"needs {layers} channels (layers) at the end of its generator and 1 of its critic, found "
                f"{self.generator[-1].channels} and {self.critic[-1].channels}"
            )
        made, left = [1, 1], list(image)
        for layer in self.generator:
            made = [layer.up(cells) for cells in made]
        for layer in self.critic:
            left = [layer.down(cells) for cells in left]
        if made != image or left != [1, 1]:
            raise ValueError(
                f"needs convolutions that go from 1x1 to the image of {image[0]}x{image[1]} and back, found a generator that ends "
                f"at {made[0]}x{made[1]} and a critic that ends at {left[0]}x{left[1]}"
            )


class VAEGANConfig(GameSettings):
    """Settings of ``vae_gan``; the defaults are for images of 10 x 10 pixels (Bieringer 2022, section 2)."""

    loss: Literal["gan", "gan_dp", "wgan_gp"] = Field("gan", description="see gan")
    n_critic: Annotated[Times, Field(le=1000)] = Field(2, description="steps of the critic for each of the generator")
    label_smoothing: float = Field(0.1, ge=0, lt=0.5, description="see gan")
    latent: Width = Field(24, description="latent dimensions")
    beta: float = Field(1.0, ge=0, le=1e6, description="weight of the KL term beside the generator's loss")
    encoder: ChannelTriple = Field((16, 32, 64), description="channels of the encoder's 3x3 convolutions")
    dense: Channels = Field(128, description="channels of the coarse image that the generator starts with")
    upper: Channels = Field(64, description="channels of the generator's 5x5 convolution")
    local: Channels = Field(6, description="channels of the generator's locally connected layers")
    critic: Channels = Field(32, description="channels of the critic's 5x5 convolution")
    critic_local: Channels = Field(8, description="channels of the critic's locally connected layers")
    dropout: Dropout = Field(0.2, description="dropout behind each layer of the critic")
    kernels: Width = Field(
        20, description="minibatch discrimination: numbers that a critic has of an image's neighbours in the batch"
    )
    kernel_dim: Width = Field(10, description="minibatch discrimination: dimensions in which they are neighbours")

    def takes(self, given: Columns) -> None:
        if given.dim != given.n_voxels or len(given.layer_shapes) != 1 or min(given.layer_shapes[0]) < 6:
            raise ValueError(
                f"needs images alone, one layer of 6x6 cells or more (sum_layers), found {given.dim} columns of layers of "
                f"{', '.join(f'{a}x{b}' for a, b in given.layer_shapes)}"
            )
