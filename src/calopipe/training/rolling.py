"""The states of a training on disk: what an interrupted training goes on from, and how files of it are trusted.

``last.ckpt`` is the state after the last epoch, ``best.ckpt`` that of the lowest validation figure, ``kept-<n>.ckpt`` those
of the epochs that ``training.keep_every`` asks for. Each is written beside its final name and renamed, sealed by a
checksum, and read without running anything. A file that is damaged, or does not fit the network, is put aside under the
name ``<file>.damaged``, and training goes on from the newest state that has all it needs, or from the start; either way it
ends at the same weights.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.fabric.plugins import CheckpointIO
from lightning.pytorch.callbacks import Checkpoint

from calopipe.config.training import Training
from calopipe.errors import CheckpointError, TrainingError
from calopipe.io.output import writing
from calopipe.training.checkpoint import Network
from calopipe.training.schema import check_weights
from calopipe.training.sealed import UNSEALED, read_sealed, write_sealed

log = logging.getLogger("calopipe")

LAST, BEST = "last.ckpt", "best.ckpt"
#: what Lightning needs of a state, with its type
_STATE = {"epoch": int, "global_step": int, "state_dict": Mapping, "optimizer_states": list, "lr_schedulers": list,
          "loops": Mapping, "callbacks": Mapping}  # fmt: skip


class SealedFiles(CheckpointIO):
    """How Lightning writes and reads states. Its own way goes through TMPDIR, and a copy from there can be cut."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        write_sealed(Path(path), checkpoint)

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        return read_state(Path(path))

    def remove_checkpoint(self, path: str | Path) -> None:
        Path(path).unlink(missing_ok=True)


class RollingStates(Checkpoint):
    """Writes the states of a training, and stops one that no longer gets better.

    Attributes:
        best: the lowest value of the validation figure `monitor` so far (None: not watched).
        waited: validations since then. stopped: `patience` has run out.
    """

    def __init__(self, folder: Path, training: Training) -> None:
        self.folder, self.training = folder, training
        self.best: float | None = None
        self.waited, self.stopped = 0, False

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        trainer.should_stop = self.stopped  # a training that was killed between its stop and its end

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        done, settings = trainer.current_epoch + 1, self.training
        if settings.keep_every and done % settings.keep_every == 0:
            trainer.save_checkpoint(self.folder / f"kept-{done:05d}.ckpt")
        if done % settings.checkpoint_every == 0:
            if self._improved(trainer.callback_metrics, done) and settings.weights == "best":
                trainer.save_checkpoint(self.folder / BEST)
            trainer.save_checkpoint(self.folder / LAST)
        if self.stopped:
            trainer.should_stop = True
            log.info("no lower %s in %d validations: training ends after epoch %d", settings.monitor, self.waited, done)

    def _improved(self, metrics: Mapping[str, Any], done: int) -> bool:
        """Whether the figure that is watched is the lowest so far; without one, no epoch is the best."""
        settings = self.training
        if settings.weights == "last" and settings.patience is None:
            return False
        if f"val_{settings.monitor}" not in metrics:
            if done >= settings.validate_every and (settings.monitor != "loss" or settings.patience is not None):
                known = ", ".join(sorted(k[4:] for k in metrics if k.startswith("val_"))) or "none"
                raise TrainingError(
                    f"training.monitor: the validation has no figure '{settings.monitor}'; it has {known}"
                )
            return False
        value = float(metrics[f"val_{settings.monitor}"])
        value = math.inf if math.isnan(value) else value
        if self.best is None or value < self.best:
            self.best, self.waited = value, 0
            return True
        if done % settings.validate_every == 0:
            self.waited += 1
            self.stopped = settings.patience is not None and self.waited >= settings.patience
        return False

    @property
    def state_key(self) -> str:
        return "calopipe.RollingStates"

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "waited": self.waited, "stopped": self.stopped}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best, self.waited, self.stopped = (state_dict[key] for key in ("best", "waited", "stopped"))

    def newest(self, network: Network) -> Path | None:
        """The newest state that training can go on from: whole, and with the best and the kept ones that belong to it.

        Files that are not whole are put aside first.
        """
        found = {path.name: self._needs(path, network) for path in sorted(self.folder.glob("*.ckpt"))}
        whole = {name: needs for name, needs in found.items() if needs is not None}
        usable = [(done, name == LAST, name) for name, (done, needs) in whole.items() if needs <= whole.keys()]
        if found and not usable:
            log.warning("warning: %s holds no state to continue from; training starts anew", self.folder)
        return self.folder / max(usable)[2] if usable else None

    def _needs(self, path: Path, network: Network) -> tuple[int, set[str]] | None:
        """Epochs done in a state, and the files that a training continued from it relies on; None: put aside."""
        try:
            state = read_state(path)
            fit_weights(state, network)
            best = state["callbacks"][self.state_key]["best"]
        except (CheckpointError, KeyError, TypeError) as error:
            aside = path.with_name(f"{path.name}.damaged")
            with writing(path):
                os.replace(path, aside)
            log.warning("warning: %s; put aside as %s", error, aside.name)
            return None
        done, every = state["epoch"] + 1, self.training.keep_every
        needs = {f"kept-{n:05d}.ckpt" for n in range(every, done + 1, every)} if every else set()
        return done, needs | ({BEST} if best is not None and self.training.weights == "best" else set())


def read_state(path: Path) -> dict[str, Any]:
    """A state of a training. Raises CheckpointError when it is damaged or something else."""
    state, sealed = read_sealed(path)
    if not sealed:
        raise CheckpointError(f"{path}: {UNSEALED}")
    for key, kind in _STATE.items():
        if not isinstance(state, Mapping) or not isinstance(state.get(key), kind):
            raise CheckpointError(f"{path}: not the state of a training: '{key}' is missing or of another type")
    return state


def fit_weights(state: Mapping[str, Any], network: Network) -> dict[str, dict[str, Any]]:
    """The weights in a state by part of the network, checked against it (CheckpointError)."""
    weights = {}
    for part, module in network.parts.items():
        own = {k.removeprefix(f"{part}."): v for k, v in state["state_dict"].items() if k.startswith(f"{part}.")}
        check_weights(part, module, own)
        weights[part] = own
    return weights


def load_weights(path: Path, network: Network) -> None:
    """Give a network the weights of a state. Raises CheckpointError when it is damaged or does not fit."""
    for part, weights in fit_weights(read_state(path), network).items():
        network.parts[part].load_state_dict(weights)


def kept_states(folder: Path) -> dict[int, Path]:
    """States of the epochs that were kept, by number of epochs done."""
    numbers = {path.stem.removeprefix("kept-"): path for path in sorted(folder.glob("kept-*.ckpt"))}
    return {int(number): path for number, path in numbers.items() if number.isdecimal()}


def clear(folder: Path) -> None:
    """Remove the states once the final checkpoint is safely written; what is not theirs stays."""
    for pattern in ("*.ckpt", "*.damaged", ".*.part"):
        for path in folder.glob(pattern):
            path.unlink(missing_ok=True)
    with suppress(OSError):
        folder.rmdir()
