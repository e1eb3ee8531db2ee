"""The Lightning side of training: one module for every stage, optimisers and schedules."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR, OneCycleLR

from calopipe import seeds
from calopipe.config.networks import Training, check_learnable
from calopipe.convolutions import check_gradients
from calopipe.errors import ConfigError, TrainingError
from calopipe.training.checkpoint import Network
from calopipe.training.data import Batches

#: maps a batch's tensors to (x, cond) of the chain, drawing random numbers where the stage needs them
Assemble = Callable[..., tuple[Tensor, Tensor]]


class TrainingModule(pl.LightningModule):
    """Trains the model and the learnable parts of the chain of a :class:`Network`.

    Random numbers are seeded anew at the start of every epoch, so that a training continued from the checkpoint of an
    epoch's end repeats the uninterrupted one exactly.

    Raises:
        ConfigError: the chain has learnable steps, and their log-det has no place in the loss (:func:`check_learnable`).
    """

    def __init__(self, network: Network, training: Training, assemble: Assemble, total_steps: int) -> None:
        super().__init__()
        self.chain, self.model = network.chain, network.model
        self.learnable_chain = any(p.requires_grad for p in network.chain.parameters())
        if self.learnable_chain:
            _check_learnable(network)
        self.settings, self.assemble, self.total_steps = training, assemble, total_steps
        self.training_seed = network.seed

    def on_train_start(self) -> None:
        batch = [tensor[:2].to(self.device) for tensor in self.trainer.datamodule.train]
        check_gradients(self.model, lambda: self._losses(tuple(batch)))

    def on_train_epoch_start(self) -> None:
        torch.manual_seed(seeds.derive(self.training_seed, "epoch", self.current_epoch))

    def on_validation_epoch_start(self) -> None:
        self._state = torch.get_rng_state()
        torch.manual_seed(seeds.derive(self.training_seed, "validation"))

    def on_validation_epoch_end(self) -> None:
        torch.set_rng_state(self._state)

    def _losses(self, batch: tuple[Tensor, ...]) -> dict[str, Tensor]:
        x, cond = self.assemble(*batch)
        x, cond, logdet = self.chain(x, cond)
        losses = self.model.loss(x, cond)
        if self.learnable_chain:
            losses["loss"] = losses["loss"] - logdet.mean()
        return losses

    def training_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> Tensor:
        losses = self._losses(batch)
        if not torch.isfinite(losses["loss"]):
            raise TrainingError(
                f"loss is {losses['loss'].item()} in epoch {self.current_epoch}, step {self.global_step}"
            )
        for name, value in losses.items():
            self.log(f"train_{name}", value.detach(), on_step=False, on_epoch=True, batch_size=len(batch[0]))
        return losses["loss"]

    def validation_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> None:
        for name, value in self._losses(batch).items():
            self.log(
                f"val_{name}", value, on_step=False, on_epoch=True, batch_size=len(batch[0]), prog_bar=name == "loss"
            )

    def configure_optimizers(self) -> Any:
        s = self.settings
        cls = torch.optim.AdamW if s.optimizer == "adamw" else torch.optim.Adam
        optimizer = cls(self.parameters(), lr=s.lr, betas=s.betas, weight_decay=s.weight_decay)
        scheduler = make_schedule(optimizer, s, self.total_steps)
        if scheduler is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def _check_learnable(network: Network) -> None:
    """Raise ConfigError like the settings do, also for networks that were not built from settings that were checked."""
    try:
        check_learnable([s["step"] for s in network.settings["preprocessing"]], network.settings["model"]["name"])
    except ValueError as error:
        raise ConfigError(str(error)) from None


def make_schedule(optimizer: torch.optim.Optimizer, training: Training, total_steps: int) -> Any:
    """The schedule of a training: None (constant), one-cycle (arXiv:1708.07120) or linear warm-up and cosine decay."""
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
        progress = (step - warmup) / max(1, total_steps - warmup)
        low = training.final_lr_fraction
        return low + (1 - low) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))

    return None if training.schedule == "constant" and warmup == 0 else LambdaLR(optimizer, factor)


class Data(pl.LightningDataModule):
    """Training batches in an order seeded by the epoch; validation batches in file order."""

    def __init__(
        self,
        train: tuple[Tensor, ...],
        val: tuple[Tensor, ...],
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
