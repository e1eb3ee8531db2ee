"""Settings of the metrics, and the names of their scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator

from calopipe.config.bounds import DISTINCT, Bins, PositiveEnergy, Resamplings, Seed, Showers, Times, Tiny
from calopipe.config.calomplification import ImageSettings
from calopipe.config.parts import Observable
from calopipe.config.scores import MetricSettings
from calopipe.config.texts import Condition
from calopipe.metrics.defaults import FIDELITY, IMAGE, SIX


class SeparationPowerConfig(MetricSettings):
    """Separation power of the observables' histograms (bins: see `histograms` of the evaluation)."""

    observables: Annotated[list[Observable], DISTINCT] | None = Field(
        None, description="observables to use, e.g. [E_ratio, layer_ratio]; null: all"
    )
    bootstrap: Resamplings = Field(200, description="Poisson resamplings for the error")

    def score_names(self) -> tuple[str, ...]:
        names: Sequence[str] = self.observables or ["*"]
        each = (f"{family}{o}{rest}" for o in names for family, rest in (("", ""), ("", "/*"), ("mean_layers/", "")))
        return (*each, *(["average"] if self.observables is None or set(SIX) <= set(self.observables) else []))


class FidelityConfig(MetricSettings):
    """Weighted Jensen-Shannon divergence of the observables' histograms."""

    weights: dict[Observable, Annotated[float, Field(ge=0, le=1e6)]] | None = Field(
        None, description="observable -> weight, e.g. {voxels: 2, E_tot: 1}; null: the default observables, equally"
    )
    bootstrap: Resamplings = Field(50, description="resamplings of the showers for the error")
    splits: Times = Field(10, description="random halves of the reference for the floor")

    @field_validator("weights")
    @classmethod
    def _some_weight(cls, value: dict[str, float] | None) -> dict[str, float] | None:
        if value is not None and not sum(value.values()) > 0:
            raise ValueError(f"expected at least one weight above 0, found {value}")
        return value

    def score_names(self) -> tuple[str, ...]:
        return ("", *(FIDELITY if self.weights is None else (name for name, w in self.weights.items() if w > 0)))


class KlAverageConfig(MetricSettings):
    """KL divergence of the average showers."""

    epsilon: Tiny = Field(1e-5, description="added to the probability of every voxel (Albergo 2018: 1e-5)")
    layers: bool = Field(True, description="also of each layer's average, normalised within the layer")

    def score_names(self) -> tuple[str, ...]:
        return ("shower", "layer/*") if self.layers else ("shower",)


class ImageMomentsConfig(MetricSettings):
    """Mean energy of a voxel, and means and widths of the middle rows of average showers, relative to the reference's."""

    layers: bool = Field(True, description="rows also layer by layer, where there are several")
    splits: Times = Field(20, description="random halves of the reference's blocks of showers for the floor")

    def score_names(self) -> tuple[str, ...]:
        return ("pixel_energy", "row_mean/*", "row_width/*")


class ImageDivergenceConfig(MetricSettings, ImageSettings):
    """Mean Jensen-Shannon divergence of five observables of showers as images."""

    bins: Bins = Field(100, description="bins between the reference's smallest and largest value")
    splits: Times = Field(20, description="random halves of the reference for the floor")

    def score_names(self) -> tuple[str, ...]:
        return ("", *IMAGE)


class EnergyResponseConfig(MetricSettings):
    """Differences of mean and standard deviation of E_tot / E_inc."""

    def score_names(self) -> tuple[str, ...]:
        return ("mean_difference", "width_difference")


class MeanDepositConfig(MetricSettings):
    """Mean E_tot at each of a few values of a condition, relative to the reference's."""

    condition: Condition | None = Field(
        None,
        description="a further condition of the showers, with 20 different values or fewer; null: the incident energy",
    )

    def score_names(self) -> tuple[str, ...]:
        return ("*",)


class ChallengeSeparationConfig(MetricSettings):
    """Separation powers in the CaloChallenge's histograms (cylindrical geometries only)."""

    bootstrap: Resamplings = Field(200, description="resamplings of blocks of showers for the errors")

    def score_names(self) -> tuple[str, ...]:
        return ("*",)


class FpdConfig(MetricSettings):
    """Frechet physics distance of the CaloChallenge's high-level features; the defaults are the challenge's."""

    min_samples: Annotated[Showers, Field(ge=2)] = Field(10_000, description="smallest batch of the extrapolation")
    max_samples: Annotated[Showers, Field(ge=2)] = Field(
        50_000, description="largest batch; of smaller samples: all their showers"
    )
    num_batches: Times = Field(20, description="batches of each size")
    num_points: Annotated[Times, Field(ge=3)] = Field(10, description="batch sizes, equally spaced in 1/n")
    normalise: bool = Field(True, description="divide each feature by its largest magnitude in the reference")
    seed: Seed = Field(42, description="seed of the batches (42 in jetnet and in the challenge)")
    floor: bool = Field(True, description="also measure two halves of the reference (doubles the time)")

    def score_names(self) -> tuple[str, ...]:
        return ("",)


class KpdConfig(MetricSettings):
    """Kernel physics distance of the CaloChallenge's high-level features; the defaults are the challenge's."""

    batch_size: int = Field(
        10_000, ge=2, le=50_000, description="showers of a batch; of smaller samples: all their showers"
    )
    num_batches: Resamplings = Field(10, description="batches of which the median is taken")
    normalise: bool = Field(True, description="divide each feature by its largest magnitude in the reference")
    seed: Seed = Field(42, description="seed of the batches (42 in jetnet and in the challenge)")
    floor: bool = Field(True, description="also measure two halves of the reference (doubles the time)")

    def score_names(self) -> tuple[str, ...]:
        return ("",)


class PrdcConfig(MetricSettings):
    """Precision, recall, density and coverage of showers; the defaults are the CaloChallenge's."""

    k: Times = Field(5, description="nearest neighbours that a ball reaches to")
    zero_MeV: PositiveEnergy = Field(0.1, description="energy that empty voxels get before the logarithm, in MeV")
    max_showers: Annotated[Showers, Field(ge=20)] = Field(
        10_000, description="use at most this many showers of each sample, drawn at random"
    )
    blocks: Resamplings = Field(10, description="disjoint blocks of showers whose spread gives the errors")

    def score_names(self) -> tuple[str, ...]:
        return ("precision", "recall", "density", "coverage")


class DiversityConfig(MetricSettings):
    """Distances between showers of one sample."""

    needs_slices: ClassVar[bool] = False

    sliced: bool = Field(
        True,
        description="also in every slice of the evaluation's histograms, or, where there are none, at each of a few incident energies: "
        "modes may collapse in one alone",
    )
    group: Annotated[Times, Field(ge=2, le=1000)] = Field(
        20, description="showers of neighbouring incident energies whose pairs are taken"
    )
    zero_MeV: PositiveEnergy = Field(0.1, description="energy that empty voxels get before the logarithm, in MeV")
    max_showers: Annotated[Showers, Field(ge=20)] = Field(
        5000, description="use at most this many showers of each sample, drawn at random"
    )

    def score_names(self) -> tuple[str, ...]:
        return ("spread", "nearest")


class FidConfig(MetricSettings):
    """Frechet distance of Inception features of shower images; needs a file of the network."""

    inception: str | None = Field(
        None,
        description="TorchScript file: images (n, 3, 299, 299), 0-255 -> features (n, D)",
        json_schema_extra={"format": "file"},
    )
    images: Literal["summed", "layers"] = Field("summed", description="summed over the layers, or the mean over layers")
    splits: Times = Field(2, description="random halves of the reference over which value and floor are averaged")
    bootstrap: Resamplings = Field(5, description="resamplings for the error")

    def score_names(self) -> tuple[str, ...]:
        return (self.images,)


class IntrinsicDimensionConfig(MetricSettings):
    """Levina-Bickel intrinsic dimension of generated and reference showers."""

    data: Annotated[list[Literal["raw", "preprocessed", "log"]], DISTINCT] = Field(
        ["raw", "preprocessed", "log"],
        min_length=1,
        description="raw: voxels in MeV; preprocessed: voxels / E_layer and the energy ratios u; log: log10 of preprocessed",
    )
    neighbours: Annotated[list[Annotated[int, Field(ge=3, le=1000)]], DISTINCT] = Field(
        [5, 10, 15, 20], min_length=1, max_length=100, description="numbers of neighbours k: the mean is reported"
    )
    showers: int = Field(2000, ge=10, le=10**5, description="showers of each subsample, the same for both samples")
    subsamples: Resamplings = Field(5, description="disjoint subsamples, fewer when the showers do not suffice")
    log_floor: Tiny = Field(1e-6, description="log: smaller values, and empty voxels, count as this")

    def score_names(self) -> tuple[str, ...]:
        return tuple(self.data)
