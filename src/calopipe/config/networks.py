"""Settings of trained networks: generators and energy regressors, and how they are trained."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from calopipe.config.base import Section
from calopipe.config.bounds import BatchSize, Epochs, Fraction, LearningRate, Scale, Seed, Showers
from calopipe.config.parts import MODELS, STEPS, network, parts

Beta = Annotated[float, Field(ge=0, lt=1)]


class Training(Section):
    """How a network is trained."""

    epochs: Epochs = Field(description="passes over the training split")
    batch_size: BatchSize = Field(256, description="showers per step")
    optimizer: Literal["adam", "adamw"] = Field("adam", description="optimiser")
    lr: LearningRate = Field(1e-3, description="learning rate; the peak of one-cycle and cosine schedules")
    betas: Annotated[tuple[Beta, Beta], Field(strict=False)] = Field(
        (0.9, 0.999), description="Adam moment decay rates"
    )
    weight_decay: Fraction = Field(0.0, description="weight decay")
    schedule: Literal["constant", "one_cycle", "cosine"] = Field(
        "constant",
        description="learning-rate schedule, per step; one_cycle rises from lr/25 to lr and falls to lr/250 000 (torch's "
        "defaults; Ernst 2023 says that it stays between 1e-5 and 1e-4)",
    )
    warmup: Fraction = Field(
        0.0, description="fraction of steps of linear warm-up (cosine) or rise (one_cycle, default 0.3)"
    )
    final_lr_fraction: Fraction = Field(0.0, description="last learning rate of the cosine schedule over the peak")
    gradient_clip: Scale | None = Field(None, description="clip the gradient norm at this value")
    ema_decay: Beta | None = Field(None, gt=0, description="use an exponential moving average of the weights")
    precision: Literal["32-true", "16-mixed", "bf16-mixed", "64-true"] = Field(
        "32-true", description="Lightning precision"
    )
    weights: Literal["best", "last"] = Field("best", description="weights kept: best validation loss, or the last")
    validate_every: Epochs = Field(1, description="epochs between validations")
    checkpoint_every: Epochs = Field(1, description="epochs between rolling checkpoints")
    keep_every: Epochs | None = Field(
        None, description="flows: epochs between checkpoints that are kept and scored (scores_by_epoch.json)"
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="where to train")
    reflections: bool = Field(
        False,
        description="apply random reflections of the cartesian cell grid to training showers (only where the detector "
        "and the beam are symmetric)",
    )

    @model_validator(mode="after")
    def _consistent(self) -> Training:
        for key in ("validate_every", "keep_every", "checkpoint_every"):
            every = getattr(self, key)
            needed = key != "checkpoint_every" or self.weights == "best"
            if every is not None and every > self.epochs and needed:
                raise ValueError(f"{key}: expected at most the number of epochs ({self.epochs}), found {every}")
        saved, judged = self.checkpoint_every, self.validate_every
        if self.weights == "best" and saved % judged and judged % saved:
            raise ValueError(
                f"checkpoint_every: weights 'best' are those of an epoch that is validated and saved; expected a multiple "
                f"or a divisor of validate_every ({judged}), found {saved}"
            )
        if self.schedule == "one_cycle" and self.warmup >= 1:
            raise ValueError(f"warmup: a one-cycle rate must fall too; expected a rise below 1, found {self.warmup:g}")
        return self


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


class _NetworkStage(Section):
    contract: ClassVar[str]

    preprocessing: list[dict[str, Any]] = Field(default_factory=list, description="ordered invertible steps")
    model: dict[str, Any] = Field(description="{name: <registered model>, **its settings}")
    training: Training = Field(description="how it is trained")

    @field_validator("model", mode="before")
    @classmethod
    def _model(cls, value: Any) -> dict[str, Any]:
        return network(value, cls.contract)

    @field_validator("preprocessing", mode="before")
    @classmethod
    def _steps(cls, value: Any) -> list[dict[str, Any]]:
        return parts(STEPS, "step", value, "steps")

    @model_validator(mode="after")
    def _learnable_steps(self) -> _NetworkStage:
        check_learnable([step["step"] for step in self.preprocessing], self.model["name"])
        return self


class AutoencoderStage(_NetworkStage):
    """Preprocessing, autoencoder and its training."""

    contract: ClassVar[str] = "Autoencoder"


class FlowStage(_NetworkStage):
    """Preprocessing, density model (on showers, or on latents) and its training."""

    contract: ClassVar[str] = "GenerativeModel"

    latents: Literal["mu_sigma", "resample", "once"] = Field(
        "mu_sigma",
        description="latent models: learn (mu, log sigma^2), or z drawn anew in every batch, or z drawn once",
    )


class Model(Section):
    """A generator: a flow on the showers, or an autoencoder and a flow in its latent space."""

    description: str = Field("", description="one line for reports: what it is, and which publication it follows")
    autoencoder: AutoencoderStage | None = Field(None, description="present: the flow learns its latent space")
    flow: FlowStage = Field(description="the density model that is sampled")
    training_showers: Annotated[Showers, Field(ge=2)] | None = Field(
        None,
        description="showers that each training learns: seed k of a run takes the k-th block (from 0) of so many showers of "
        "the training split, so that seeds learn different showers; null: all, for every seed",
    )

    @model_validator(mode="after")
    def _kept_epochs(self) -> Model:
        if self.autoencoder is not None and self.autoencoder.training.keep_every is not None:
            raise ValueError("autoencoder.training.keep_every: only the epochs of a flow are kept and scored")
        return self

    @property
    def kept_epochs(self) -> range:
        """Numbers of the epochs that the flow's training keeps."""
        every = self.flow.training.keep_every
        return range(every, self.flow.training.epochs + 1, every) if every else range(0)

    @property
    def is_latent(self) -> bool:
        """Whether showers are decoded from a latent space."""
        return self.autoencoder is not None


class RegressorStage(Section):
    """A network that reads the incident energy off a shower, trained on a dataset's showers (L1 loss), and its training."""

    description: str = Field("", description="one line for reports")
    model: dict[str, Any] = Field(description="{name: regressor or regressor_plus, **its settings}")
    training: Training = Field(description="how it is trained")
    seed: Seed = Field(0, description="seed of weights and order; one regressor serves all seeds of the generators")

    @field_validator("model", mode="before")
    @classmethod
    def _model(cls, value: Any) -> dict[str, Any]:
        return network(value, "EnergyRegressor")

    @model_validator(mode="after")
    def _kept_epochs(self) -> RegressorStage:
        if self.model.get("norm") == "batch" and self.training.batch_size < 2:
            raise ValueError("training.batch_size: batch norm needs 2 showers or more, found 1")
        if self.training.keep_every is not None:
            raise ValueError("training.keep_every: only the epochs of a flow are kept and scored")
        return self
