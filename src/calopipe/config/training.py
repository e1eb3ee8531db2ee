"""How a network is trained: epochs, optimisers and their schedules, and which weights are kept."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from calopipe.config.base import Section
from calopipe.config.bounds import BatchSize, Epochs, Fraction, LearningRate, Scale, Share
from calopipe.config.texts import Name

Beta = Annotated[float, Field(ge=0, lt=1)]


class Optimisation(Section):
    """The optimiser of one objective of a network that has several; what is not set is that of the training."""

    optimizer: Literal["adam", "adamw"] | None = Field(None, description="optimiser")
    lr: LearningRate | None = Field(None, description="learning rate")
    betas: Annotated[tuple[Beta, Beta], Field(strict=False)] | None = Field(None, description="Adam moment decay rates")
    weight_decay: Fraction | None = Field(None, description="weight decay")
    gradient_clip: Scale | None = Field(None, description="clip the gradient norm at this value")


class Training(Section):
    """How a network is trained."""

    epochs: Epochs = Field(description="passes over the training split")
    batch_size: BatchSize = Field(
        256, description="showers per step, exactly: what is left over at the end of an epoch is not learned in it"
    )
    optimizer: Literal["adam", "adamw"] = Field("adam", description="optimiser")
    lr: LearningRate = Field(1e-3, description="learning rate; the peak of one-cycle and cosine schedules")
    betas: Annotated[tuple[Beta, Beta], Field(strict=False)] = Field(
        (0.9, 0.999), description="Adam moment decay rates"
    )
    weight_decay: Fraction = Field(0.0, description="weight decay")
    schedule: Literal["constant", "one_cycle", "cosine", "exponential"] = Field(
        "constant",
        description="learning-rate schedule, per step; one_cycle rises from lr/25 to lr and falls to lr/250 000 (torch's "
        "defaults; Ernst 2023 says that it stays between 1e-5 and 1e-4); exponential falls after each epoch by `decay`",
    )
    warmup: Fraction = Field(
        0.0, description="fraction of steps of linear warm-up (not one_cycle) or rise (one_cycle, default 0.3)"
    )
    decay: Share = Field(0.95, description="exponential: factor on the learning rate after each epoch")
    final_lr_fraction: Fraction = Field(0.0, description="last learning rate of the cosine schedule over the peak")
    gradient_clip: Scale | None = Field(None, description="clip the gradient norm at this value")
    ema_decay: Beta | None = Field(None, gt=0, description="use an exponential moving average of the weights")
    precision: Literal["32-true", "16-mixed", "bf16-mixed", "64-true"] = Field(
        "32-true", description="Lightning precision"
    )
    objectives: dict[Name, Optimisation] = Field(
        default_factory=dict,
        description="optimisers of the objectives of a network that has several (critic, generator, ...), by name",
    )
    weights: Literal["best", "last"] = Field(
        "best", description="weights kept: those of the lowest validation figure `monitor`, or the last"
    )
    monitor: Name = Field(
        "loss", description="validation figure that chooses the best epoch and stops the training early"
    )
    patience: Epochs | None = Field(
        None, description="stop after so many validations without a lower `monitor`; null: all epochs"
    )
    validate_every: Epochs = Field(1, description="epochs between validations")
    checkpoint_every: Epochs = Field(1, description="epochs between rolling checkpoints")
    keep_every: Epochs | None = Field(
        None,
        description="epochs between checkpoints that are kept; those of the last network of a model are scored "
        "(scores_by_epoch.json)",
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="where to train")
    window_MB: Scale = Field(
        512.0,
        description="training showers (and validation showers) in memory at once, in 1e6 bytes; more are read from disk in windows of "
        "this size, which are shuffled inside and made of other blocks of the file in every epoch",
    )
    reflections: bool = Field(
        False,
        description="reflect training showers at random: along both indices of cartesian cells, or in alpha (only where detector and beam "
        "are symmetric)",
    )
    rotations: bool = Field(
        False,
        description="rotate training showers at random about the beam axis: by quarter turns of square cells, or by whole cells in alpha",
    )

    @model_validator(mode="after")
    def _consistent(self) -> Training:
        for key in ("validate_every", "keep_every", "checkpoint_every"):
            every = getattr(self, key)
            needed = key != "checkpoint_every" or self.weights == "best" or self.patience is not None
            if every is not None and every > self.epochs and needed:
                raise ValueError(f"{key}: expected at most the number of epochs ({self.epochs}), found {every}")
        saved, judged = self.checkpoint_every, self.validate_every
        watched = self.weights == "best" or self.patience is not None
        if watched and saved % judged and judged % saved:
            raise ValueError(
                f"checkpoint_every: epochs that are judged are those that are validated and saved; expected a multiple "
                f"or a divisor of validate_every ({judged}), found {saved}"
            )
        if self.schedule == "one_cycle" and self.warmup >= 1:
            raise ValueError(f"warmup: a one-cycle rate must fall too; expected a rise below 1, found {self.warmup:g}")
        return self

    def of(self, objective: str) -> Training:
        """The settings of one objective's optimiser."""
        own = self.objectives.get(objective)
        return self if own is None else self.model_copy(update=own.model_dump(exclude_none=True))
