"""Settings of amplification studies."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from calopipe.config.base import Section
from calopipe.config.bounds import DISTINCT, CellPair, Energy, Showers
from calopipe.config.texts import FilePath, Name

Quantiles = Annotated[int, Field(ge=2, le=2**20)]
ImageObservable = Literal["E_vis", "E_peak", "E_pixel", "CG_x", "CG_y"]


class ImageSettings(Section):
    """What is taken for the image of a shower, and for its active pixels."""

    image_pool: CellPair | None = Field(
        None,
        description="judge images: showers summed over their layers, and over patches of so many cells (first, second "
        "index; the paper: [3, 3]) of a regular cartesian grid; null: voxels as they are",
    )
    image_threshold_MeV: Energy | None = Field(
        None,
        description="with image_pool: pixels of the image below are zero (the paper: 0.1 MeV); null: none are",
    )
    pixel_cut_MeV: Energy = Field(5.0, description="smallest energy that enters E_pixel")

    @model_validator(mode="after")
    def _has_images(self) -> Self:
        if self.image_threshold_MeV is not None and self.image_pool is None:
            raise ValueError(
                "image_threshold_MeV: there are no images without image_pool ([1, 1] only sums the layers)"
            )
        return self


class CalomplificationConfig(ImageSettings):
    """Amplification study: how many Geant4 showers describe the truth as well as the generated ones do
    (arXiv:2202.07352). One study per dataset and model, over all its seeds. The end of the test split is the truth;
    training split and the rest of the test split, in this order, are cut into Geant4 samples of each size. With
    ``training_showers`` of the model the first of that size are the showers that the seeds learned.
    """

    truth: Showers | None = Field(
        None, description="showers at the end of the test split that are the truth; null: three quarters of it"
    )
    observables: Annotated[list[list[ImageObservable]], DISTINCT] = Field(
        [
            ["E_vis"], ["E_peak"], ["E_pixel"], ["CG_x"], ["CG_y"],
            ["E_vis", "E_peak"], ["CG_x", "CG_y"], ["E_vis", "E_peak", "CG_x", "CG_y"],
        ],
        min_length=1,
        description="observables, each alone or several jointly",
    )  # fmt: skip
    sizes: Annotated[list[Showers], DISTINCT] = Field(
        default_factory=lambda: [1000, 5000, 10000, 50000],
        max_length=100,
        description="sizes of Geant4 samples to compare with, besides the number of training showers",
    )
    sets: Annotated[int, Field(ge=2, le=1000)] = Field(
        5, description="disjoint Geant4 samples (and fits of estimators) per size, where they suffice"
    )
    estimators: Annotated[list[Literal["kde", "histogram"]], DISTINCT] = Field(
        ["kde", "histogram"], description="density estimators fitted to the observables"
    )
    estimator_sizes: Annotated[list[Annotated[int, Field(ge=10, le=10**7)]], DISTINCT] | None = Field(
        None,
        min_length=1,
        max_length=100,
        description="showers that estimators are fitted to; null: the number of training showers",
    )
    estimator_samples: int = Field(1_000_000, ge=20, le=2 * 10**7, description="values drawn from each estimator")
    max_quantiles: Quantiles = Field(16384, description="largest number of quantiles (a power of 2)")
    quantiles: Annotated[list[Quantiles], DISTINCT] = Field(
        default_factory=lambda: [64],
        min_length=1,
        max_length=20,
        description="numbers of quantiles (powers of 2) that scores are given at",
    )
    subjects: dict[Name, Annotated[list[FilePath], Field(min_length=1, max_length=1000), DISTINCT]] = Field(
        default_factory=dict,
        description="shower files to judge besides the model's: name -> files of one generator, one per training set",
    )

    @field_validator("observables")
    @classmethod
    def _observables(cls, value: list[list[ImageObservable]]) -> list[list[ImageObservable]]:
        for names in value:
            if not names or len(set(names)) < len(names):
                raise ValueError(f"expected different observables in each entry, found {names}")
            if "E_pixel" in names and len(names) > 1:
                raise ValueError(f"E_pixel has several values per shower and no joint distribution, found {names}")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> CalomplificationConfig:
        for number in [self.max_quantiles, *self.quantiles]:
            if number < 2 or number & (number - 1):
                raise ValueError(f"numbers of quantiles must be powers of 2, found {number}")
        if "generated" in self.subjects:
            raise ValueError("subjects: 'generated' is the model's own sample; choose another name")
        return self
