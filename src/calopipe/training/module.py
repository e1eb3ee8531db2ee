"""The Lightning side of training: one module for every network, with one optimiser or several."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, cast

import lightning.pytorch as pl
import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR

from calopipe import seeds
from calopipe.config.networks import check_learnable
from calopipe.config.training import Training
from calopipe.convolutions import check_gradients
from calopipe.errors import ConfigError, TrainingError
from calopipe.models.base import Now
from calopipe.training.checkpoint import Network
from calopipe.training.gradients import Gradients, largest_element
from calopipe.training.rows import Batches, Rows

#: maps a batch's tensors to (x, cond) of the chain (a refiner's x holds the showers to refine behind the true ones), drawing
#: random numbers where the network needs them
Assemble = Callable[..., tuple[Tensor, Tensor]]


class TrainingModule(pl.LightningModule):
    """Trains the model and the learnable parts of the chain of a :class:`Network`.

    A network with one objective is trained by Lightning's automatic optimisation, one with several by the manual one:
    each objective's optimiser moves its own parameters only, every so many steps.

    Random numbers are seeded anew at the start of every epoch, so that a training continued from the checkpoint of an
    epoch's end repeats the uninterrupted one exactly.

    Attributes:
        gradients: of each objective in this epoch, before clipping.

    Raises:
        ConfigError: the chain has learnable steps, and their log-det has no place in the loss (:func:`check_learnable`).
    """

    def __init__(self, network: Network, training: Training, assemble: Assemble, steps_per_epoch: int) -> None:
        super().__init__()
        self.chain, self.model = network.chain, network.model
        self.learnable_chain = any(p.requires_grad for p in network.chain.parameters())
        if self.learnable_chain:
            _check_learnable(network)
        self.settings, self.assemble, self.steps_per_epoch = training, assemble, steps_per_epoch
        self.training_seed, self.n_train = network.seed, network.inputs.n_train
        self.prepared = network.prepared
        self.every = {name: objective.every for name, objective in self.model.objectives().items()}
        self.automatic_optimization = len(self.every) == 1
        self.gradients = {name: Gradients() for name in self.every}

    def on_train_start(self) -> None:
        data: Data = self.trainer.datamodule  # type: ignore[attr-defined]  # Lightning sets it
        batch = [tensor.to(self.device) for tensor in data.train.read(slice(0, 2))]
        check_gradients(self.model, lambda: self.model.validate(*self._batch(tuple(batch))[:2]))

    def on_train_epoch_start(self) -> None:
        torch.manual_seed(seeds.derive(self.training_seed, "epoch", self.current_epoch))
        self.gradients = {name: Gradients() for name in self.every}

    def on_validation_epoch_start(self) -> None:
        self._state = torch.get_rng_state()
        torch.manual_seed(seeds.derive(self.training_seed, "validation"))

    def on_validation_epoch_end(self) -> None:
        torch.set_rng_state(self._state)

    def _batch(self, batch: tuple[Tensor, ...]) -> tuple[Tensor, Tensor, Tensor]:
        """x, condition and log-det that the model gets of a batch."""
        return self.prepared(*self.assemble(*batch))

    def _now(self, batch_idx: int) -> Now:
        epochs, per_epoch = self.settings.epochs, self.steps_per_epoch
        step = self.current_epoch * per_epoch + batch_idx
        return Now(self.current_epoch, epochs, step, epochs * per_epoch, self.n_train)

    def _losses(self, objective: str, batch: tuple[Tensor, ...], batch_idx: int) -> dict[str, Tensor]:
        x, cond, logdet = self._batch(batch)
        losses = self.model.step(objective, x, cond, self._now(batch_idx))
        if self.learnable_chain:
            losses["loss"] = losses["loss"] - logdet.mean()
        if not torch.isfinite(losses["loss"]):
            where = f"epoch {self.current_epoch}, step {self.global_step}"
            of = "" if self.automatic_optimization else f" of {objective}"
            raise TrainingError(f"loss{of} is {losses['loss'].item()} in {where}")
        return losses

    def _log_losses(self, objective: str, losses: dict[str, Tensor], size: int) -> None:
        for name, value in losses.items():
            of = f"{objective}_" if name == "loss" and not self.automatic_optimization else ""
            self.log(f"train_{of}{name}", value.detach(), on_step=False, on_epoch=True, batch_size=size)

    def training_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> Tensor | None:
        if not self.automatic_optimization:
            self._manual_step(batch, batch_idx)
            return None
        (objective,) = self.every
        losses = self._losses(objective, batch, batch_idx)
        self._log_losses(objective, losses, len(batch[0]))
        return losses["loss"]

    def _manual_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> None:
        step, optimizers = self._now(batch_idx).step, cast("list[LightningOptimizer]", self.optimizers())
        found: Any = self.lr_schedulers()
        schedulers = [] if found is None else found if isinstance(found, list) else [found]
        for i, (objective, every) in enumerate(self.every.items()):
            if step % every:
                continue
            optimizer = optimizers[i]
            self.toggle_optimizer(optimizer)
            losses = self._losses(objective, batch, batch_idx)
            optimizer.zero_grad()
            self.manual_backward(losses["loss"])
            self._clip(objective, optimizer.optimizer)
            optimizer.step()
            self.untoggle_optimizer(optimizer)
            if schedulers:
                schedulers[i].step()
            self._log_losses(objective, losses, len(batch[0]))

    def configure_gradient_clipping(
        self, optimizer: Optimizer, gradient_clip_val: Any = None, gradient_clip_algorithm: Any = None
    ) -> None:
        (objective,) = self.every
        self._clip(objective, optimizer)

    def _clip(self, objective: str, optimizer: Optimizer) -> None:
        """Clip the gradients where the settings say so; remember what they were before."""
        parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        gradients = [p.grad for p in parameters]
        largest, limit = largest_element(gradients), self.settings.of(objective).gradient_clip
        if limit is None:
            norm = torch.nn.utils.get_total_norm(gradients)
        else:
            norm = torch.nn.utils.clip_grad_norm_(parameters, limit)
        self.gradients[objective].add(norm, largest)

    def validation_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> None:
        x, cond, logdet = self._batch(batch)
        figures = self.model.validate(x, cond)
        if self.learnable_chain and "loss" in figures:
            figures["loss"] = figures["loss"] - logdet.mean()
        for name, value in figures.items():
            self.log(
                f"val_{name}", value, on_step=False, on_epoch=True, batch_size=len(batch[0]), prog_bar=name == "loss"
            )

    def configure_optimizers(self) -> Any:
        found: list[dict[str, Any]] = []
        for name, objective in self.model.objectives().items():
            settings, own = self.settings.of(name), list(objective.parameters)
            if not found:  # a learnable chain moves with the first objective
                own = [*self.chain.parameters(), *own]
            cls = torch.optim.AdamW if settings.optimizer == "adamw" else torch.optim.Adam
            optimizer = cls(own, lr=settings.lr, betas=settings.betas, weight_decay=settings.weight_decay)
            steps = -(-self.settings.epochs * self.steps_per_epoch // objective.every)
            scheduler = make_schedule(optimizer, settings, steps)
            found.append({"optimizer": optimizer})
            if scheduler is not None:
                found[-1]["lr_scheduler"] = {"scheduler": scheduler, "interval": "step"}
        return found[0] if len(found) == 1 else found


def _check_learnable(network: Network) -> None:
    """Raise ConfigError like the settings do, also for networks that were not built from settings that were checked."""
    try:
        check_learnable([step.name for step in network.settings.preprocessing], network.settings.model.name)
    except ValueError as error:
        raise ConfigError(str(error)) from None


def make_schedule(optimizer: Optimizer, training: Training, total_steps: int) -> LRScheduler | None:
    """The schedule of a training: None (constant), one-cycle (arXiv:1708.07120), or linear warm-up and a decay.

    The decay is that of a cosine, or by a factor after each epoch, counted in the steps that this optimiser makes.
    """
    if training.schedule == "one_cycle":
        rise = training.warmup or 0.3
        if rise * total_steps == 1:  # a rise of no length is divided by its length
            rise = 0.99 / total_steps
        return OneCycleLR(optimizer, training.lr, total_steps=total_steps, pct_start=rise, cycle_momentum=False)
    warmup = int(training.warmup * total_steps)

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        if training.schedule == "constant":
            return 1.0
        if training.schedule == "exponential":
            return training.decay ** (step * training.epochs // max(1, total_steps))
        progress = (step - warmup) / max(1, total_steps - warmup)
        low = training.final_lr_fraction
        return low + (1 - low) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))

    return None if training.schedule == "constant" and warmup == 0 else LambdaLR(optimizer, factor)


class Data(pl.LightningDataModule):
    """Training batches in an order seeded by the epoch; validation batches in file order."""

    def __init__(
        self,
        train: Rows,
        val: Rows,
        batch_size: int,
        seed: int,
        permutations: Tensor | None,
    ) -> None:
        super().__init__()
        self.train, self.val, self.batch_size, self.seed, self.permutations = train, val, batch_size, seed, permutations

    def steps_per_epoch(self) -> int:
        """Optimiser steps of one epoch."""
        return len(Batches(self.train, self.batch_size, 0))

    def train_dataloader(self) -> Batches:
        epoch = self.trainer.current_epoch if self.trainer is not None else 0
        return Batches(self.train, self.batch_size, seeds.derive(self.seed, "order", epoch), self.permutations)

    def val_dataloader(self) -> Batches:
        return Batches(self.val, max(self.batch_size, 512))
