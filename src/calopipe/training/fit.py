"""Run one training: rolling checkpoints to continue from, history, progress, best or last weights."""

from __future__ import annotations

import copy
import logging
import os
import sys
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pandas as pd
import torch
from lightning.fabric.plugins.environments import LightningEnvironment
from lightning.pytorch.callbacks import Callback, EMAWeightAveraging, TQDMProgressBar

from calopipe import seeds
from calopipe.config.training import Training
from calopipe.devices import pick_device
from calopipe.errors import TrainingError
from calopipe.io.output import replacing, writing
from calopipe.training.checkpoint import Network, save_network
from calopipe.training.module import Assemble, Data, TrainingModule
from calopipe.training.rolling import BEST, RollingStates, SealedFiles, kept_states, load_weights

log = logging.getLogger("calopipe")


class History(Callback):
    """One row per epoch (epoch, step, losses, rates, gradients), kept in the rolling checkpoint, logged as plain lines.

    Rates and gradients (before clipping) of a network with several objectives have its name in theirs.
    """

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs
        self.rows: list[dict[str, float]] = []
        self._start = time.monotonic()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        row: dict[str, float] = {"epoch": trainer.current_epoch, "step": trainer.global_step}
        row.update({k: float(v) for k, v in trainer.callback_metrics.items()})
        assert isinstance(pl_module, TrainingModule)
        row |= self._rates(trainer, pl_module)
        row["seconds"] = round(time.monotonic() - self._start, 3)
        self.rows.append(row)
        said = ("loss", "lr") if "train_loss" in row else ("loss", "lr", *(k for k in row if k.startswith("val_")))
        shown = [f"{key} {value:.5g}" for key, value in row.items() if key.endswith(said)]
        log.info("epoch %d/%d: %s", trainer.current_epoch + 1, self.epochs, ", ".join(shown))

    @staticmethod
    def _rates(trainer: pl.Trainer, module: TrainingModule) -> dict[str, float]:
        found, several = {}, len(trainer.optimizers) > 1
        for objective, optimizer in zip(module.every, trainer.optimizers, strict=True):
            end = f"_{objective}" if several else ""
            found[f"lr{end}"] = optimizer.param_groups[0]["lr"]
            found |= {f"{name}{end}": value for name, value in module.gradients[objective].columns().items()}
        return found

    @property
    def state_key(self) -> str:
        return "calopipe.History"

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows = list(state_dict["rows"])


def fit(
    network: Network, training: Training, data: Data, assemble: Assemble, rolling: Path, history: Path
) -> list[dict[str, float]]:
    """Train `network` in place, continuing from `rolling` when an earlier training of the same settings stopped there.

    Args:
        network: fresh network with fitted preprocessing; holds the chosen weights afterwards.
        training: epochs, optimisers, schedule, ...
        data: batches. assemble: batch tensors -> (x, cond).
        rolling: folder of the states to continue from, see :mod:`calopipe.training.rolling`.
        history: CSV written at the end.

    Returns:
        The history, one row per epoch.

    Raises:
        NumericsError: this machine computes gradients of convolutions wrongly.
        TrainingError: non-finite loss, or training was interrupted (SIGTERM, Ctrl-C); rolling checkpoints stay.
        DataError: a file cannot be written (disk full); run again when it can, training goes on.
    """
    module = TrainingModule(network, training, assemble, data.steps_per_epoch())
    rows = History(training.epochs)
    states = RollingStates(rolling, training)
    trainer = _trainer(training, rolling, [rows, states])
    start = states.newest(network)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning")
        warnings.filterwarnings("ignore", message=".*lr_scheduler.step.*")
        torch.manual_seed(seeds.derive(network.seed, "training"))
        trainer.fit(module, datamodule=data, ckpt_path=None if start is None else str(start), weights_only=True)
    if trainer.interrupted or (trainer.current_epoch < training.epochs and not states.stopped):
        raise TrainingError(f"training stopped in epoch {trainer.current_epoch}; run again to continue from {rolling}")
    if states.best is not None and training.weights == "best":
        load_weights(rolling / BEST, network)
    with replacing(history) as temporary, writing(history):
        pd.DataFrame(rows.rows).to_csv(temporary, index=False)
    network.eval()
    return rows.rows


def export_kept(rolling: Path, network: Network, folder: Path, rows: list[dict[str, float]]) -> None:
    """Write the epochs that a training kept as checkpoints ``epoch-<number>.pt`` like the final one into `folder`.

    The weights are those that the final checkpoint would hold had training ended there (averaged, if averages are
    used). The folder is made also where nothing was kept.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.glob("epoch-*.pt"):
            path.unlink()
    for number, path in kept_states(rolling).items():
        copied = replace(network, chain=copy.deepcopy(network.chain), model=copy.deepcopy(network.model))
        load_weights(path, copied)
        save_network(folder / f"epoch-{number:05d}.pt", copied, rows[:number])


def _trainer(training: Training, rolling: Path, callbacks: list[Callback]) -> pl.Trainer:
    if training.ema_decay is not None:
        callbacks.append(EMAWeightAveraging(decay=training.ema_decay, use_buffers=False))
    progress = sys.stderr.isatty() and "SLURM_JOB_ID" not in os.environ
    if progress:
        callbacks.append(TQDMProgressBar(refresh_rate=10))
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    return pl.Trainer(
        max_epochs=training.epochs,
        accelerator="gpu" if pick_device(training.device).type == "cuda" else "cpu",
        devices=1,
        precision=training.precision,
        check_val_every_n_epoch=training.validate_every,
        reload_dataloaders_every_n_epochs=1,
        num_sanity_val_steps=0,
        callbacks=callbacks,
        logger=False,
        default_root_dir=rolling,
        enable_progress_bar=progress,
        enable_model_summary=False,
        plugins=[LightningEnvironment(), SealedFiles()],  # one process: Snakemake talks to SLURM, Lightning must not
    )
