"""Settings of adversarial networks."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from calopipe.config.bounds import Slope, Times, Width, Widths
from calopipe.config.chains import ModelSettings


class WGANGPConfig(ModelSettings):
    """Settings of ``wgan_gp``; penalty and critic's steps are those of Gulrajani 2017 (arXiv:1704.00028)."""

    objectives: ClassVar[tuple[str, ...]] = ("critic", "generator")

    generator: Widths = Field(default_factory=lambda: [256, 512, 512], description="hidden widths of the generator")
    critic: Widths = Field(default_factory=lambda: [512, 512, 256], description="hidden widths of the critic")
    noise: Width = Field(100, description="numbers of noise that a sample is made of")
    penalty: float = Field(10.0, ge=0, le=1e6, description="weight of the gradient penalty")
    n_critic: Annotated[Times, Field(le=1000)] = Field(5, description="steps of the critic for each of the generator")
    negative_slope: Slope = Field(0.2, description="slope of LeakyReLU in both networks")
    output: Literal["linear", "relu", "sigmoid"] = Field(
        "linear", description="last activation of the generator: linear for columns of any sign"
    )
