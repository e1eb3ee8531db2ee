"""Settings of evaluations: how samples are drawn and judged."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from calopipe.config.base import Section
from calopipe.config.bounds import (
    DISTINCT,
    BatchSize,
    Bins,
    Channels,
    ConditionSlices,
    Dropout,
    EnergySlices,
    Epochs,
    Few,
    LearningRate,
    PositiveEnergy,
    RatioRange,
    Resamplings,
    Scale,
    Seed,
    Showers,
    Slope,
    Times,
    Width,
    Widths,
)
from calopipe.config.calomplification import CalomplificationConfig
from calopipe.config.classifiers import ALWAYS, PRESETS
from calopipe.config.datasets import Split
from calopipe.config.parts import METRICS, MetricPart, Part, metrics, part
from calopipe.config.scores import MetricSettings
from calopipe.config.texts import Condition, Name
from calopipe.errors import nearest, shown


class Generation(Section):
    """How showers are drawn for an evaluation: one per incident energy of the test split, repeated `factor` times."""

    epoch: Literal["final", "best"] | Epochs = Field(
        "final",
        description="checkpoint of the last network that is sampled: final, the best of the kept epochs (evaluation's "
        "`epochs.select`), or the number of a kept epoch (`training.keep_every`)",
    )
    factor: Times = Field(1, description="generated showers per test shower")
    draws: Annotated[Times, Field(le=1000)] = Field(
        1,
        description="draws of the weights of Bayesian networks (published: 30) that generated showers are dealt to in turn; with `factor` "
        "as large each draw makes all test showers. Histograms then have a band: mean and standard deviation over the draws, "
        "that of counts included. Other networks ignore it",
    )
    layer_energies: Literal["learned", "true"] = Field(
        "learned",
        description="layer energies that networks are given: what a network of the chain draws, or the test showers' own",
    )
    batch_size: BatchSize | None = Field(
        None,
        description="showers that pass the networks at once; null: as many as stay in a CPU's cache, or in a part of a GPU's memory",
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="where to sample")

    @field_validator("epoch", mode="before")
    @classmethod
    def _epoch(cls, value: Any) -> Any:
        if value in ("final", "best") or (isinstance(value, int) and not isinstance(value, bool) and value > 0):
            return value
        raise ValueError(f"expected final, best or the number of a kept epoch, found {shown(value)}")


class ClassifierConfig(Section):
    """A classifier test: a network tells generated from reference showers; AUC 0.5 is the floor."""

    preset: str | None = Field(
        None,
        description="start from settings by name; keys given beside it override them: " + ", ".join(PRESETS),
    )
    features: Literal["low", "low_raw", "low_normed", "low_log", "high", "observables"] = Field(
        "low",
        description="low: log10 E_inc and voxels / E_inc; low_raw: voxels in GeV; low_normed: voxels / E_layer and "
        "log10 E_layer; low_log: log10 of voxels, empty ones a decade below the threshold; high: the challenge's "
        "observables; observables: those and ratios of energies, undefined ones left open (for trees)",
    )
    groups: (
        Annotated[
            list[Literal["energies", "centroids", "widths", "brightest", "activity"]], Field(min_length=1), DISTINCT
        ]
        | None
    ) = Field(
        None,
        description="observables: those of these groups alone, with log10 E_inc; null: all. Tests of one group each tell what to mend",
    )
    network: Literal["mlp", "cnn", "trees"] = Field(
        "mlp",
        description="mlp: fully connected; cnn: 3D ResNet-18, for cylindrical geometries with equal layers, on voxels; "
        "trees: gradient-boosted trees",
    )
    hidden: Widths = Field(default_factory=lambda: [512, 512], description="mlp: neurons of the hidden layers")
    negative_slope: Slope = Field(0.01, description="mlp: slope of LeakyReLU")
    channels: list[Channels] = Field(
        default_factory=lambda: [32, 64, 64, 128],
        min_length=1,
        max_length=16,
        description="cnn: channels of each stage of two residual blocks; fewer or smaller ones make it cheaper",
    )
    dropout: Dropout = Field(0.0, description="dropout after each hidden layer (mlp), before the last layer (cnn)")
    leaves: Annotated[Width, Field(ge=2)] = Field(15, description="trees: most leaves of a tree")
    epochs: Epochs = Field(150, description="passes over the training part (trees: most trees)")
    batch_size: Annotated[BatchSize, Field(ge=2)] = Field(1000, description="showers per step (not for trees)")
    lr: LearningRate = Field(2e-4, description="Adam learning rate (trees: weight of each tree)")
    weight_decay: float = Field(0.0, ge=0, le=100, description="decoupled weight decay of the networks (AdamW)")
    plateau: bool = Field(False, description="reduce the rate by 0.1 after 10 epochs without better validation loss")
    choose: Literal["accuracy", "loss", "auc"] = Field(
        "accuracy", description="what the validation part chooses the weights by (trees: always the loss)"
    )
    patience: Epochs | None = Field(
        None, description="end a training after so many epochs without better weights; null: train all epochs"
    )
    repeats: Times = Field(5, description="independent trainings, or cross-validations with `folds`: averaged")
    standardise: bool = Field(
        False, description="shift and scale each input by its training mean and deviation (not published)"
    )
    voxel_scale: Scale = Field(
        1.0, description="factor on voxel inputs of low and low_raw (100 in the challenge's script)"
    )
    max_per_class: Showers | None = Field(None, ge=10, description="use at most this many showers of each sample")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="where to train")
    split: Split = Field(
        default_factory=lambda: Split(train=0.6, val=0.2, test=0.2), description="split of the joint sample"
    )
    power: bool = Field(False, description="also measure what this test finds in slightly distorted reference showers")
    folds: Times | None = Field(
        None,
        ge=3,
        le=100,
        description="cross-validation instead of one split: each repeat trains so many classifiers in turn, which score "
        "every shower once; samples of different size are used whole, weighted to equal classes",
    )

    @model_validator(mode="before")
    @classmethod
    def _from_preset(cls, data: Any) -> Any:
        name = data.get("preset") if isinstance(data, dict) else None
        if name is None:
            return data
        if not isinstance(name, str) or name not in PRESETS:
            known = ", ".join(PRESETS)
            raise ValueError(f"no classifier preset {shown(name)}{nearest(name, PRESETS)}; known: {known}")
        return {**PRESETS[name], **data}

    @model_validator(mode="after")
    def _fits_network(self) -> ClassifierConfig:
        if self.network == "cnn" and self.features in ("high", "observables"):
            raise ValueError(
                f"network 'cnn' looks at voxels: expected features low, low_raw or low_normed, found {self.features}"
            )
        if self.network != "trees" and self.features == "observables":
            raise ValueError(f"features 'observables' may be undefined: expected network trees, found {self.network}")
        if self.groups is not None and self.features != "observables":
            raise ValueError(f"groups: expected features observables, found {self.features}")
        if self.split.test == 0:
            raise ValueError("split.test: expected above 0, found 0")
        return self


class HistogramConfig(Section):
    """Histograms of the observables."""

    bins: Bins = Field(50, description="bins per histogram")
    energy_ratio_range: RatioRange = Field((0.0, 1.1), description="range of E_tot / E_inc")
    layer_ratio_bins: Bins = Field(50, description="bins of E_layer / E_inc, between the reference's extremes")
    brightest: Few = Field(3, description="N of the N-th brightest voxel per layer")
    energy_slices: EnergySlices = Field(
        default_factory=list,
        description="slices of the incident energy, MeV, lower end included: observables, average showers and the scores of "
        "metrics with `sliced: true` of each",
    )
    slices: dict[Condition, ConditionSlices] = Field(
        default_factory=dict,
        description="the same of further conditions, in their unit: {incident_theta: [[0.5, 1.0], [1.0, 1.57]]}",
    )
    per_energy: bool = Field(
        True, description="fill E_tot / E_inc for every incident energy, where the reference has at most 20 of them"
    )
    examples: Few = Field(4, description="single showers of each sample kept as pictures for the report")


class RegressionConfig(Section):
    """Energy regression of the samples: linearity, resolution and Frechet regression distance (FRD)."""

    regressors: Annotated[list[Name], DISTINCT] = Field(
        default_factory=list, description="keys of `regressors`; none: nothing is done"
    )
    bins: Times = Field(8, description="equally filled bins of incident energy (discrete energies: one bin each)")
    energies_MeV: Annotated[list[PositiveEnergy], Field(max_length=20), DISTINCT] | None = Field(
        None,
        description="incident energies, within 0.1 %, at which reconstructed energies fill a histogram each in the report, e.g. [20000, "
        "30000]; null: all of a reference that has at most 20 of them",
    )
    bootstrap: Resamplings = Field(50, description="resamplings of the showers for all errors")
    splits: Times = Field(10, description="random halves of the reference over which FRD and its floor are averaged")
    untrained: Few = Field(3, description="networks with fresh weights whose FRD is the control; 0: none")
    max_showers: Showers | None = Field(None, ge=10, description="use at most this many showers of each sample")
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="where networks are applied (for scores by epoch: and sampled)"
    )


class EpochsConfig(Section):
    """Scores of the epochs that a network's training keeps (``training.keep_every``), at a small number of showers."""

    reference: Literal["validation", "training"] = Field(
        "validation",
        description="what every epoch is compared with: validation showers, or those that the training learned (of which a network "
        "that has learned them by heart looks best)",
    )
    showers: Annotated[Showers, Field(ge=20)] = Field(
        1000, description="showers of the reference (at most) that every epoch is compared with"
    )
    factor: Times = Field(1, description="generated showers per shower of the reference")
    metrics: list[MetricPart] = Field(
        default_factory=lambda: [part(METRICS, "metric", "fidelity")], description="registered metrics"
    )
    select: str = Field(
        "fidelity",
        description="score by which the best epoch is chosen, e.g. fidelity or frd/<regressor>; of columns the default is "
        "wasserstein/<first column>",
    )
    select_from: Epochs = Field(1, description="first epoch that can be chosen; earlier ones are scored only")

    @field_validator("metrics", mode="before")
    @classmethod
    def _metrics(cls, value: Any) -> list[Part]:
        return metrics(value)


class TimingConfig(Section):
    """Generation time per shower."""

    batch_sizes: Annotated[list[Annotated[BatchSize, Field(le=10**5)]], DISTINCT] = Field(
        default_factory=lambda: [1, 100, 10000], min_length=1, max_length=100, description="showers per call"
    )
    repeats: Times = Field(5, description="timed calls per batch size (after warm-up): the median is reported")
    max_seconds: float = Field(60.0, gt=0, le=86400, description="stop repeating a batch size after this long")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="where to sample")


class Evaluation(Section):
    """How a sample is judged."""

    generation: Generation = Field(default_factory=Generation, description="what is drawn")
    classifiers: dict[Name, ClassifierConfig | None] = Field(
        default_factory=dict,
        validate_default=True,
        description="classifier tests by name; `trees` and `low_log` (presets of these names) are always among them unless "
        "set to null",
    )
    multiclass: ClassifierConfig | None = Field(
        None, description="one classifier that tells all runs of a dataset and Geant4 apart (two runs or more)"
    )
    weight_fraction: Annotated[float, Field(ge=1e-4, le=0.5)] = Field(
        0.1,
        description="observables are drawn of this fraction of lowest and of highest classifier weights",
    )
    histograms: HistogramConfig = Field(default_factory=HistogramConfig, description="histograms of observables")
    metrics: list[MetricPart] = Field(default_factory=list, description="registered metrics")
    epochs: EpochsConfig = Field(default_factory=EpochsConfig, description="scores of kept epochs")
    regression: RegressionConfig = Field(default_factory=RegressionConfig, description="energy regression and FRD")
    timing: TimingConfig = Field(default_factory=TimingConfig, description="generation timing")
    scan_by: Annotated[str, Field(min_length=1, max_length=200)] | None = Field(
        None,
        description="score that points of a scan are compared by, e.g. classifier/trees/auc; null: `epochs.select` or its "
        "default. Where it is not among the scores of the generated showers, that of the best kept epoch",
    )
    calomplification: CalomplificationConfig | None = Field(None, description="amplification study; null: none")
    seed: Seed = Field(0, description="seed of splits, bootstraps and classifier trainings")

    @field_validator("metrics", mode="before")
    @classmethod
    def _metrics(cls, value: Any) -> list[Part]:
        return metrics(value)

    @field_validator("multiclass")
    @classmethod
    def _one_network(cls, value: ClassifierConfig | None) -> ClassifierConfig | None:
        if value is not None and (value.network == "trees" or value.folds):
            found = "network trees" if value.network == "trees" else f"folds {value.folds}"
            raise ValueError(f"one network tells several samples apart by one split; found {found}")
        return value

    @field_validator("classifiers", mode="before")
    @classmethod
    def _always(cls, value: Any) -> Any:
        """Add the tests that are always made; their presets are what settings given under their names change."""
        if not isinstance(value, dict):
            return value
        found = {name: {"preset": name} for name in ALWAYS} | value
        return {
            name: {"preset": name, **config} if name in ALWAYS and isinstance(config, dict) else config
            for name, config in found.items()
        }

    @model_validator(mode="after")
    def _has_slices(self) -> Evaluation:
        """A metric that is sliced has slices, where it needs them named."""
        histograms = self.histograms
        for i, metric in enumerate(self.metrics):
            needed = (
                isinstance(metric.settings, MetricSettings) and metric.settings.sliced and metric.settings.needs_slices
            )
            if needed and not (histograms.energy_slices or histograms.slices):
                raise ValueError(
                    f"metrics.{i}.sliced: expected slices under histograms (energy_slices or slices), found none"
                )
        return self

    @property
    def tests(self) -> dict[str, ClassifierConfig]:
        """The classifier tests that are made, those of every evaluation first."""
        return {name: config for name, config in self.classifiers.items() if config is not None}
