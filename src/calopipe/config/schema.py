"""The settings of a study. Every field has a description; ``docs/config.md`` is generated from them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from calopipe.config.base import Section, validate
from calopipe.config.classifiers import PRESETS
from calopipe.errors import ConfigError, nearest
from calopipe.registry import Registry

MODELS: Registry[Any] = Registry("model", "calopipe.models")
STEPS: Registry[Any] = Registry("preprocessing step", "calopipe.preprocessing")
METRICS: Registry[Any] = Registry("metric", "calopipe.metrics")

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
Fraction = Annotated[float, Field(ge=0, le=1)]
#: observables of a shower seen as one image, see calopipe.observables.image
ImageObservable = Literal["E_vis", "E_peak", "E_pixel", "CG_x", "CG_y"]


def _part(registry: Registry[Any], key: str, data: Any) -> dict[str, Any]:
    """Validate ``{key: name, **settings}`` against the settings class that `name` registers; return it complete."""
    if isinstance(data, str):
        data = {key: data}
    if not isinstance(data, dict) or key not in data:
        raise ValueError(f"expected a mapping with the key '{key}'")
    settings = {k: v for k, v in data.items() if k != key}
    try:
        cls = registry.config_class(data[key])
        if cls is None:
            if settings:
                raise ValueError(f"{registry.kind} '{data[key]}' takes no settings, found {sorted(settings)}")
            return {key: data[key]}
        return {key: data[key], **validate(cls, settings, data[key]).model_dump(mode="json")}
    except ConfigError as error:  # pydantic collects ValueErrors and adds the path of the key
        raise ValueError(str(error)) from None


def _parts(registry: Registry[Any], key: str, value: Any, what: str) -> list[dict[str, Any]]:
    """Validate a list of parts, see :func:`_part`."""
    if not isinstance(value, list):
        raise ValueError(f"expected a list of {what}")
    return [_part(registry, key, item) for item in value]


class Source(Section):
    """Where a dataset's files come from."""

    kind: Literal["bundled", "local", "download"] = Field(description="how the files are obtained")
    name: str | None = Field(None, description="bundled sample (resources/<name>.hdf5) or registered download")
    paths: list[str] = Field(default_factory=list, description="local files, pooled in this order")
    urls: list[str] = Field(default_factory=list, description="files to download when not registered by name")
    checksums: list[str] = Field(default_factory=list, description="one 'sha256:...' or 'md5:...' per file")

    @model_validator(mode="after")
    def _complete(self) -> Source:
        if self.kind == "bundled" and not self.name:
            raise ValueError("a bundled source needs 'name'")
        if self.kind == "local" and not self.paths:
            raise ValueError("a local source needs 'paths'")
        if self.kind == "download" and not (self.name or self.urls):
            raise ValueError("a download needs 'name' (a registered dataset) or 'urls'")
        files = self.paths or self.urls
        if self.checksums and files and len(self.checksums) != len(files):
            raise ValueError(f"{len(self.checksums)} checksums for {len(files)} files")
        return self


class Split(Section):
    """Seeded split into training, validation and test showers."""

    train: Fraction = Field(0.7, description="fraction used to fit networks and preprocessing")
    val: Fraction = Field(0.1, description="fraction used to choose weights")
    test: Fraction = Field(0.2, description="fraction held out: the reference of every evaluation")
    seed: int = Field(0, ge=0, description="seed of the permutation")

    @model_validator(mode="after")
    def _sums_to_one(self) -> Split:
        if abs(self.train + self.val + self.test - 1) > 1e-9:
            raise ValueError(f"train + val + test must be 1, found {self.train + self.val + self.test:g}")
        return self


class Dataset(Section):
    """Showers of one particle in one calorimeter."""

    source: Source = Field(description="files to learn from")
    reference: Source | None = Field(
        None, description="separate files for the test split (CaloChallenge); else split off"
    )
    geometry: str = Field(description="built-in geometry name, geometry YAML, or CaloChallenge binning XML")
    threshold_MeV: float | None = Field(
        None, ge=0, description="voxels below are zero; null: the geometry's readout threshold"
    )
    energy_scale: float = Field(1.0, gt=0, description="factor on voxel energies, kept in all files from then on")
    max_showers: int | None = Field(None, gt=0, description="use only the first showers of the files")
    geant4_ms_per_GeV: float | None = Field(
        None, gt=0, description="Geant4's time in ms per GeV of incident energy, where known, to compare timings with"
    )
    pool: tuple[int, int] | None = Field(None, description="average-pooling kernel (first, second index), e.g. [2, 1]")
    split: Split = Field(default_factory=Split, description="how showers are split")


class Training(Section):
    """How a network is trained."""

    epochs: int = Field(gt=0, description="passes over the training split")
    batch_size: int = Field(256, gt=0, description="showers per step")
    optimizer: Literal["adam", "adamw"] = Field("adam", description="optimiser")
    lr: float = Field(1e-3, gt=0, description="learning rate; the peak of one-cycle and cosine schedules")
    betas: tuple[float, float] = Field((0.9, 0.999), description="Adam moment decay rates")
    weight_decay: float = Field(0.0, ge=0, description="weight decay")
    schedule: Literal["constant", "one_cycle", "cosine"] = Field(
        "constant", description="learning-rate schedule, per step"
    )
    warmup: Fraction = Field(
        0.0, description="fraction of steps of linear warm-up (cosine) or rise (one_cycle, default 0.3)"
    )
    final_lr_fraction: Fraction = Field(0.0, description="last learning rate of the cosine schedule over the peak")
    gradient_clip: float | None = Field(None, gt=0, description="clip the gradient norm at this value")
    ema_decay: float | None = Field(None, gt=0, lt=1, description="use an exponential moving average of the weights")
    precision: Literal["32-true", "16-mixed", "bf16-mixed", "64-true"] = Field(
        "32-true", description="Lightning precision"
    )
    weights: Literal["best", "last"] = Field("best", description="weights kept: best validation loss, or the last")
    validate_every: int = Field(1, gt=0, description="epochs between validations")
    checkpoint_every: int = Field(1, gt=0, description="epochs between rolling checkpoints")
    keep_every: int | None = Field(
        None, gt=0, description="flows: epochs between checkpoints that are kept and scored (scores_by_epoch.json)"
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="where to train")
    reflections: bool = Field(
        False,
        description="apply random reflections of the cartesian cell grid to training showers (only where the detector "
        "and the beam are symmetric)",
    )


class _NetworkStage(Section):
    preprocessing: list[dict[str, Any]] = Field(default_factory=list, description="ordered invertible steps")
    model: dict[str, Any] = Field(description="{name: <registered model>, **its settings}")
    training: Training = Field(description="how it is trained")

    @field_validator("model", mode="before")
    @classmethod
    def _model(cls, value: Any) -> dict[str, Any]:
        return _part(MODELS, "name", value)

    @field_validator("preprocessing", mode="before")
    @classmethod
    def _steps(cls, value: Any) -> list[dict[str, Any]]:
        return _parts(STEPS, "step", value, "steps")


class AutoencoderStage(_NetworkStage):
    """Preprocessing, autoencoder and its training."""


class FlowStage(_NetworkStage):
    """Preprocessing, density model (on showers, or on latents) and its training."""

    latents: Literal["mu_sigma", "resample", "once"] = Field(
        "mu_sigma",
        description="latent models: learn (mu, log sigma^2), or z drawn anew in every batch, or z drawn once",
    )


class Model(Section):
    """A generator: a flow on the showers, or an autoencoder and a flow in its latent space."""

    description: str = Field("", description="one line for reports: what it is, and which publication it follows")
    autoencoder: AutoencoderStage | None = Field(None, description="present: the flow learns its latent space")
    flow: FlowStage = Field(description="the density model that is sampled")

    @model_validator(mode="after")
    def _kept_epochs(self) -> Model:
        if self.autoencoder is not None and self.autoencoder.training.keep_every is not None:
            raise ValueError("autoencoder.training.keep_every: only the epochs of a flow are kept and scored")
        return self

    @property
    def is_latent(self) -> bool:
        """Whether showers are decoded from a latent space."""
        return self.autoencoder is not None


class RegressorStage(Section):
    """A network that reads the incident energy off a shower, trained on a dataset's showers (L1 loss), and its training."""

    description: str = Field("", description="one line for reports")
    model: dict[str, Any] = Field(description="{name: regressor or regressor_plus, **its settings}")
    training: Training = Field(description="how it is trained")
    seed: int = Field(
        0, ge=0, description="seed of weights and order; one regressor serves all seeds of the generators"
    )

    @field_validator("model", mode="before")
    @classmethod
    def _model(cls, value: Any) -> dict[str, Any]:
        return _part(MODELS, "name", value)

    @model_validator(mode="after")
    def _kept_epochs(self) -> RegressorStage:
        if self.training.keep_every is not None:
            raise ValueError("training.keep_every: only the epochs of a flow are kept and scored")
        return self


class Generation(Section):
    """How showers are drawn for an evaluation: one per incident energy of the test split, repeated `factor` times."""

    factor: int = Field(1, gt=0, description="generated showers per test shower")
    batch_size: int = Field(2000, gt=0, description="showers drawn at once (bounds memory)")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="where to sample")


class ClassifierConfig(Section):
    """A classifier test: a network told generated from reference showers; AUC 0.5 is the floor."""

    preset: str | None = Field(
        None,
        description="start from published settings; keys given beside it override them: " + ", ".join(PRESETS),
    )
    features: Literal["low", "low_raw", "low_normed", "high"] = Field(
        "low",
        description="low: log10 E_inc and voxels / E_inc; low_raw: voxels in GeV; low_normed: voxels / E_layer and "
        "log10 E_layer; high: observables",
    )
    network: Literal["mlp", "cnn"] = Field(
        "mlp",
        description="mlp: fully connected; cnn: 3D ResNet-18, for cylindrical geometries with equal layers, on voxels",
    )
    hidden: list[int] = Field(default_factory=lambda: [512, 512], description="mlp: neurons of the hidden layers")
    negative_slope: float = Field(0.01, description="mlp: slope of LeakyReLU")
    channels: list[Annotated[int, Field(gt=0)]] = Field(
        default_factory=lambda: [32, 64, 64, 128],
        min_length=1,
        description="cnn: channels of each stage of two residual blocks; fewer or smaller ones make it cheaper",
    )
    dropout: Fraction = Field(0.0, description="dropout after each hidden layer (mlp), before the last layer (cnn)")
    epochs: int = Field(150, gt=0, description="passes over the training part")
    batch_size: int = Field(1000, gt=1, description="showers per step")
    lr: float = Field(2e-4, gt=0, description="Adam learning rate")
    plateau: bool = Field(False, description="reduce the rate by 0.1 after 10 epochs without better validation loss")
    repeats: int = Field(5, gt=0, description="independent trainings: mean and standard deviation are reported")
    standardise: bool = Field(
        False, description="shift and scale each input by its training mean and deviation (not published)"
    )
    voxel_scale: float = Field(
        1.0, gt=0, description="factor on voxel inputs of low and low_raw (100 in the challenge's script)"
    )
    max_per_class: int | None = Field(None, gt=0, description="use at most this many showers of each sample")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="where to train")
    split: Split = Field(
        default_factory=lambda: Split(train=0.6, val=0.2, test=0.2), description="split of the joint sample"
    )

    @model_validator(mode="before")
    @classmethod
    def _from_preset(cls, data: Any) -> Any:
        name = data.get("preset") if isinstance(data, dict) else None
        if name is None:
            return data
        if name not in PRESETS:
            known = ", ".join(PRESETS)
            raise ValueError(f"no classifier preset '{name}'{nearest(str(name), PRESETS)}; known: {known}")
        return {**PRESETS[name], **data}

    @model_validator(mode="after")
    def _fits_network(self) -> ClassifierConfig:
        if self.network == "cnn" and self.features == "high":
            raise ValueError("network 'cnn' looks at voxels: expected features low, low_raw or low_normed, found high")
        return self


class HistogramConfig(Section):
    """Histograms of the observables."""

    bins: int = Field(50, gt=1, description="bins per histogram")
    energy_ratio_range: tuple[float, float] = Field((0.0, 1.1), description="range of E_tot / E_inc")
    layer_ratio_bins: int = Field(50, gt=1, description="bins of E_layer / E_inc, between the reference's extremes")
    brightest: int = Field(3, ge=0, description="N of the N-th brightest voxel per layer")
    energy_slices: list[tuple[float, float]] = Field(default_factory=list, description="incident-energy slices in MeV")
    per_energy: bool = Field(
        True, description="fill E_tot / E_inc for every incident energy, where the reference has at most 20 of them"
    )
    examples: int = Field(4, ge=0, description="single showers of each sample kept as pictures for the report")


class RegressionConfig(Section):
    """Energy regression of the samples: linearity, resolution and Frechet regression distance (FRD)."""

    regressors: list[Name] = Field(default_factory=list, description="keys of `regressors`; none: nothing is done")
    bins: int = Field(8, gt=0, description="equally filled bins of incident energy (discrete energies: one bin each)")
    bootstrap: int = Field(50, ge=2, description="resamplings of the showers for all errors")
    splits: int = Field(
        10, gt=0, description="random halves of the reference over which FRD and its floor are averaged"
    )
    untrained: int = Field(3, ge=0, description="networks with fresh weights whose FRD is the control; 0: none")
    max_showers: int | None = Field(None, gt=0, description="use at most this many showers of each sample")
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="where networks are applied (for scores by epoch: and sampled)"
    )


class EpochsConfig(Section):
    """Scores of the epochs that a flow's training keeps (``training.keep_every``), at a small number of showers."""

    showers: int = Field(1000, gt=0, description="test showers that every epoch is compared with")
    metrics: list[dict[str, Any]] = Field(
        default_factory=lambda: [_part(METRICS, "metric", "fidelity")], description="registered metrics"
    )
    select: str = Field(
        "fidelity", description="score by which the best epoch is chosen, e.g. fidelity or frd/<regressor>"
    )

    @field_validator("metrics", mode="before")
    @classmethod
    def _metrics(cls, value: Any) -> list[dict[str, Any]]:
        return _parts(METRICS, "metric", value, "metrics")


class TimingConfig(Section):
    """Generation time per shower."""

    batch_sizes: list[int] = Field(default_factory=lambda: [1, 100, 10000], description="showers per call")
    repeats: int = Field(5, gt=0, description="timed calls per batch size (after warm-up): the median is reported")
    max_seconds: float = Field(60.0, gt=0, description="stop repeating a batch size after this long")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="where to sample")


class CalomplificationConfig(Section):
    """Amplification study: how many Geant4 showers describe the truth as well as the generated ones do
    (arXiv:2202.07352). The end of the test split is the truth; training split and the rest of the test split, in this
    order, are cut into Geant4 samples of each size, the first of which are the showers that the generator learned.
    """

    truth: int | None = Field(
        None, gt=0, description="showers at the end of the test split that are the truth; null: three quarters of it"
    )
    observables: list[list[ImageObservable]] = Field(
        default_factory=lambda: [
            ["E_vis"], ["E_peak"], ["E_pixel"], ["CG_x"], ["CG_y"],
            ["E_vis", "E_peak"], ["CG_x", "CG_y"], ["E_vis", "E_peak", "CG_x", "CG_y"],
        ],
        min_length=1,
        description="observables, each alone or several jointly",
    )  # fmt: skip
    pixel_cut_MeV: float = Field(5.0, ge=0, description="smallest energy that enters E_pixel")
    sizes: list[Annotated[int, Field(gt=0)]] = Field(
        default_factory=lambda: [1000, 5000, 10000, 50000],
        description="sizes of Geant4 samples to compare with, besides the number of training showers",
    )
    sets: int = Field(
        5, ge=2, description="disjoint Geant4 samples (and fits of estimators) per size, where they suffice"
    )
    estimators: list[Literal["kde", "histogram"]] = Field(
        default_factory=lambda: ["kde", "histogram"], description="density estimators fitted to the observables"
    )
    estimator_sizes: list[Annotated[int, Field(ge=10)]] | None = Field(
        None, description="showers that estimators are fitted to; null: the number of training showers"
    )
    estimator_samples: int = Field(1_000_000, ge=20, description="values drawn from each estimator")
    max_quantiles: int = Field(16384, ge=2, description="largest number of quantiles (a power of 2)")
    quantiles: list[int] = Field(
        default_factory=lambda: [64], description="numbers of quantiles (powers of 2) that scores are given at"
    )
    subjects: dict[Name, list[str]] = Field(
        default_factory=dict,
        description="shower files to judge besides the run's: name -> files of one generator, one per training set",
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
            raise ValueError("subjects: 'generated' is the run's own sample; choose another name")
        return self


class Evaluation(Section):
    """How a sample is judged."""

    generation: Generation = Field(default_factory=Generation, description="what is drawn")
    classifiers: dict[Name, ClassifierConfig] = Field(default_factory=dict, description="classifier tests by name")
    multiclass: ClassifierConfig | None = Field(
        None, description="one classifier that tells all runs of a dataset and Geant4 apart (two runs or more)"
    )
    weight_fraction: float = Field(
        0.1,
        gt=0,
        le=0.5,
        description="observables are drawn of this fraction of lowest and of highest classifier weights",
    )
    histograms: HistogramConfig = Field(default_factory=HistogramConfig, description="histograms of observables")
    metrics: list[dict[str, Any]] = Field(default_factory=list, description="registered metrics")
    epochs: EpochsConfig = Field(default_factory=EpochsConfig, description="scores of kept epochs")
    regression: RegressionConfig = Field(default_factory=RegressionConfig, description="energy regression and FRD")
    timing: TimingConfig = Field(default_factory=TimingConfig, description="generation timing")
    calomplification: CalomplificationConfig | None = Field(None, description="amplification study; null: none")
    seed: int = Field(0, ge=0, description="seed of splits, bootstraps and classifier trainings")

    @field_validator("metrics", mode="before")
    @classmethod
    def _metrics(cls, value: Any) -> list[dict[str, Any]]:
        return _parts(METRICS, "metric", value, "metrics")


class Run(Section):
    """A dataset, a model, and the seeds to train it with."""

    dataset: Name = Field(description="a key of datasets")
    model: Name = Field(description="a key of models")
    seeds: list[int] = Field(default_factory=lambda: [0], description="one training per seed")
    evaluation: Name = Field("default", description="a key of evaluations")


class Plots(Section):
    """Appearance of plots. Changing it retrains and re-evaluates nothing."""

    dpi: int = Field(150, ge=50, le=600, description="resolution of PNG files")
    pdf: bool = Field(True, description="write a PDF beside every PNG")


class Study(Section):
    """A study: datasets, models, evaluations, and the runs that combine them."""

    study: Name = Field("study", description="name of the report")
    results: str = Field("results", description="folder of everything the workflow writes")
    presets: list[str] = Field(
        default_factory=list, description="names of files in presets/, merged in order, below this file"
    )
    datasets: dict[Name, Dataset] = Field(description="datasets by name")
    models: dict[Name, Model] = Field(description="models by name")
    regressors: dict[Name, RegressorStage] = Field(
        default_factory=dict, description="energy regressors by name; an evaluation names those it uses"
    )
    evaluations: dict[Name, Evaluation] = Field(
        default_factory=lambda: {"default": Evaluation()}, description="by name"
    )
    runs: list[Run] = Field(min_length=1, description="what to train and judge")
    plots: Plots = Field(default_factory=Plots, description="appearance of plots")
