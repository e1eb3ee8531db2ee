"""Settings of models: the named networks of generators, and energy regressors."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from calopipe.config.base import Section, validate
from calopipe.config.bounds import DISTINCT, Seed, Showers
from calopipe.config.chains import AutoencoderSettings, ModelSettings
from calopipe.config.datasets import Energies
from calopipe.config.links import Contract, GeneratorChain, Link, chain_of
from calopipe.config.parts import MODELS, STEPS, AnyModel, GeneratorModel, Part, RegressorModel, StepPart, steps
from calopipe.config.scans import MAX_SETTINGS, ScanPoint, ScanValues, check_scan, with_settings
from calopipe.config.texts import FilePath, Name
from calopipe.config.training import Training
from calopipe.errors import ConfigError, shown

Latents = Literal["mu_sigma", "mean", "resample", "once"]
#: networks of one model
MAX_NETWORKS = 20
#: base classes of the networks of a generator
CONTRACTS: tuple[Contract, ...] = ("GenerativeModel", "Autoencoder", "Refiner")


def check_learnable(steps: list[str], model: str) -> None:
    """Raise ValueError where a learnable step is in front of what makes its log-det meaningless.

    The log-det of a learnable step enters the loss. Where the loss is no likelihood, or a later step maps many x to one
    (layer normalisation, a logit that clips), it can be lowered for ever without anything being learned.
    """
    learnable = next((i for i, step in enumerate(steps) if STEPS.marked(step, "learnable")), None)
    if learnable is None:
        return
    what = f"preprocessing: step '{steps[learnable]}' is learned through its log-det, which"
    if not MODELS.marked(model, "likelihood"):
        able = ", ".join(name for name in MODELS.names() if MODELS.marked(name, "likelihood"))
        raise ValueError(
            f"{what} belongs to a likelihood only; expected a model whose loss is one ({able}), found '{model}'"
        )
    for later in steps[learnable + 1 :]:
        if not STEPS.marked(later, "bijective"):
            able = ", ".join(name for name in STEPS.names() if STEPS.marked(name, "bijective"))
            raise ValueError(f"{what} only steps that keep every x apart may follow ({able}); found '{later}' after it")


class NetworkSettings(Section):
    """What a trained network is: its preprocessing, its model, and how it was trained."""

    preprocessing: list[StepPart] = Field(default_factory=list, description="ordered invertible steps")
    model: AnyModel = Field(description="{name: <registered model>, **its settings}")
    training: Training | None = Field(None, description="how it is trained")
    latents: Latents | None = Field(None, description="how latents are learned")

    @field_validator("preprocessing", mode="before")
    @classmethod
    def _steps(cls, value: Any) -> list[Part]:
        return steps(value)


class NetworkStage(Section):
    """One network of a generator: what it learns, its preprocessing, and its training."""

    learns: Name = Field(
        description="showers; layer_energies; columns (of a dataset of that kind); or the name of the autoencoder before it "
        "whose latents it learns"
    )
    given: Annotated[list[Name], DISTINCT] = Field(
        default_factory=list,
        max_length=2,
        description="what it is given besides the conditions: layer_energies (those of the training showers; when sampling, "
        "what the network that learns them says), and for a refiner the name of the network whose showers it refines",
    )
    latents: Latents | None = Field(
        None,
        description="of the latents of an autoencoder: learn (mu, log sigma^2), mu alone (CaloMan), z drawn anew in every batch, or "
        "z drawn once; null: mu_sigma",
    )
    preprocessing: list[StepPart] = Field(default_factory=list, description="ordered invertible steps")
    model: GeneratorModel = Field(description="{name: <registered model>, **its settings}")
    training: Training = Field(description="how it is trained")

    @field_validator("preprocessing", mode="before")
    @classmethod
    def _steps(cls, value: Any) -> list[Part]:
        return steps(value)

    @model_validator(mode="after")
    def _trainable(self) -> NetworkStage:
        check_learnable([step.name for step in self.preprocessing], self.model.name)
        check_objectives(self.training, self.model)
        return self

    def link(self, name: str) -> Link:
        """Its place in the chain."""
        found = next(c for c in CONTRACTS if MODELS.is_a(self.model.name, c))
        return Link(name, self.learns, tuple(self.given), found)

    @property
    def network(self) -> NetworkSettings:
        """What its checkpoint holds of its settings."""
        kept = ("preprocessing", "model", "training", "latents")
        return NetworkSettings.model_construct(**{key: getattr(self, key) for key in kept})

    @property
    def latent_dim(self) -> int | None:
        """Columns of an autoencoder's latent space, where its settings tell them."""
        settings = self.model.settings
        return settings.latent_dim if isinstance(settings, AutoencoderSettings) else None


def check_objectives(training: Training, model: Part) -> None:
    """Raise ValueError where `training` names an objective that the model does not have."""
    known = model.settings.objectives if isinstance(model.settings, ModelSettings) else ("loss",)
    for name in training.objectives:
        if name not in known:
            raise ValueError(f"training.objectives.{name}: model '{model.name}' has the objectives {', '.join(known)}")


class External(Section):
    """Showers of a generator that is not trained here: files, judged like any other sample."""

    generated: Annotated[list[FilePath], DISTINCT] = Field(
        min_length=1, description="shower files in the dataset's layout and voxels, pooled in this order"
    )
    epochs: dict[Annotated[int, Field(gt=0, le=10**6)], FilePath] = Field(
        default_factory=dict,
        max_length=1000,
        description="samples of epochs of its training, a file each, by number; scored like the kept epochs of a network",
    )

    @field_validator("epochs", mode="before")
    @classmethod
    def _numbers(cls, value: Any) -> Any:
        """Numbers that are keys of JSON are texts."""
        if not isinstance(value, dict):
            return value
        found = {int(k) if isinstance(k, str) and re.fullmatch(r"[1-9]\d{0,6}", k) else k: v for k, v in value.items()}
        if len(found) < len(value):
            raise ValueError("an epoch is given twice, as a number and as a text")
        return found


class Model(Section):
    """A generator: a chain of named networks, in the order in which they make showers; or files of one (external)."""

    description: str = Field("", description="one line for reports: what it is, and which publication it follows")
    networks: dict[Name, NetworkStage] = Field(
        default_factory=dict, max_length=MAX_NETWORKS, description="its networks by name, in order"
    )
    external: External | None = Field(None, description="instead of networks: shower files of another generator")
    training_showers: Annotated[Showers, Field(ge=2)] | None = Field(
        None,
        description="showers that each training learns: seed k of a run takes the k-th block (from 0) of so many showers of "
        "the training split, so that seeds learn different showers; null: all, for every seed",
    )
    training_energies_MeV: Energies | None = Field(
        None,
        description="incident energies of the showers that each training and its validation learn, of which training_showers "
        "counts: a list, [8192], or a range {low: 6000, high: 10000}, or all but it with outside: true; test showers stay all",
    )
    mix: Annotated[int, Field(ge=1, le=100)] = Field(
        1,
        description="trainings for each seed of a run, of the same showers with other seeds of weights and order: each has its own "
        "kept epochs and its own best one, and the generated showers are drawn from them in equal parts (Bieringer 2022: 3)",
    )
    scan: dict[str, ScanValues] = Field(
        default_factory=dict,
        max_length=MAX_SETTINGS,
        description="a list of values for each setting that is scanned, by its path below `networks`: `<network>.training.lr`, or "
        "`training.lr` of the only network; several paths with commas between them take the same value. Every combination becomes a "
        "model of its own, and runs of this model become runs of all of them",
    )
    point: ScanPoint | None = Field(
        None,
        description="which point of a scan the model is: calopipe says so of those that it makes. Models given one by hand (of a "
        "random search, for example) are compared in the report like points of a grid",
    )

    @model_validator(mode="before")
    @classmethod
    def _new_form(cls, value: Any) -> Any:
        """One readable error for the form that had an autoencoder and a flow, and nothing else."""
        old = [key for key in ("autoencoder", "flow") if isinstance(value, dict) and key in value]
        if old:
            learned = {"autoencoder": "showers", "flow": "autoencoder" if len(old) == 2 else "showers"}
            form = ", ".join(f"{key}: {{learns: {learned[key]}, ...}}" for key in old)
            raise ValueError(
                f"networks: every network stands under 'networks' and says what it learns; expected networks: {{{form}}}, "
                f"found {' and '.join(old)} beside it"
            )
        return value

    @model_validator(mode="after")
    def _checked(self) -> Model:
        if (self.external is None) != bool(self.networks):
            found = "both" if self.networks else "neither"
            raise ValueError(f"networks: a model has networks, or is external; found {found}")
        if self.external is not None:
            self._check_external()
            return self
        try:
            chain = self.chain
        except ValueError as error:
            text = str(error)
            raise ValueError(f"networks{text}" if text.startswith(":") else f"networks.{text}") from None
        taken = next((name for name in self.networks if self.mix > 1 and re.fullmatch(r"training\d+", name)), None)
        if taken is not None:
            raise ValueError(
                f"networks.{taken}: this name is that of a folder of a training (mix: {self.mix}); choose another"
            )
        for link in chain.links:
            if self.networks[link.name].latents is not None and not link.learns_latents:
                raise ValueError(
                    f"networks.{link.name}.latents: only of a network that learns an autoencoder's latents"
                )
        if self.scan and self.point is not None:
            raise ValueError("point: expected none of a model that is scanned itself")
        check_scan(self.scan, list(self.networks), NetworkStage.model_fields)
        self._check_point()
        return self

    def _check_external(self) -> None:
        """Files of another generator are not trained."""
        if self.training_energies_MeV is not None:
            raise ValueError(
                "training_energies_MeV: of a model that is trained here; expected null, found it beside external"
            )
        if self.mix > 1:
            raise ValueError(f"mix: of a model that is trained here; expected 1, found {self.mix} beside external")
        if self.scan or self.point is not None:
            raise ValueError("scan: of a model that is trained here; expected none, found it beside external")

    def _check_point(self) -> None:
        """What the model says of its place in a scan is what its networks are: written into them, it changes nothing."""
        plain = {name: stage.model_dump(mode="json") for name, stage in self.networks.items()}
        for key, value in ({} if self.point is None else self.point.settings).items():
            where = f"point.settings.{key}"
            try:
                made = with_settings(plain, {key: value}, NetworkStage.model_fields)
                same = all(validate(NetworkStage, made[name], name) == stage for name, stage in self.networks.items())
            except (ConfigError, ValueError) as error:
                raise ValueError(f"{where}: {str(error).removeprefix('scan: ')}") from None
            if not same:
                raise ValueError(f"{where}: expected the value that stands in the networks, found {shown(value)}")

    @cached_property
    def chain(self) -> GeneratorChain:
        """How its networks work together. Of models that have some."""
        return chain_of([stage.link(name) for name, stage in self.networks.items()])

    @property
    def last(self) -> NetworkStage:
        """The network whose kept epochs are sampled and scored."""
        return self.networks[self.chain.last.name]

    @property
    def kept_epochs(self) -> Sequence[int]:
        """Numbers of the epochs that the training of its last network keeps, or that files are there of."""
        if self.external is not None:
            return sorted(self.external.epochs)
        training = self.last.training
        every = training.keep_every
        return range(every, training.epochs + 1, every) if every else range(0)


class RegressorStage(Section):
    """A network that reads the incident energy off a shower, trained on a dataset's showers (L1 loss), and its training."""

    description: str = Field("", description="one line for reports")
    dataset: Name | None = Field(
        None,
        description="a key of datasets: the showers that it learns, also where it judges runs of other datasets in the same cells; "
        "null: those of the dataset of the run that it judges",
    )
    model: RegressorModel = Field(description="{name: regressor or regressor_plus, **its settings}")
    training: Training = Field(description="how it is trained")
    seed: Seed = Field(0, description="seed of weights and order; one regressor serves all seeds of the generators")

    @model_validator(mode="after")
    def _kept_epochs(self) -> RegressorStage:
        if getattr(self.model.settings, "norm", None) == "batch" and self.training.batch_size < 2:
            raise ValueError("training.batch_size: batch norm needs 2 showers or more, found 1")
        if self.training.keep_every is not None:
            raise ValueError("training.keep_every: the epochs of a regressor are not kept")
        return self

    @property
    def network(self) -> NetworkSettings:
        """What its checkpoint holds of its settings."""
        return NetworkSettings.model_construct(preprocessing=[], model=self.model, training=self.training, latents=None)
