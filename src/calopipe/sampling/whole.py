"""All networks of a model trained one after the other, outside of the workflow: for benchmarks, tests and notebooks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from calopipe.config import Model, NetworkStage
from calopipe.config.links import Link
from calopipe.sampling.generator import CHECKPOINT
from calopipe.sampling.stages import encode, remake
from calopipe.training import train_network
from calopipe.training.job import TrainingJob

Settings = Callable[[str, NetworkStage], NetworkStage]


def train_model(
    model: Model, data: TrainingJob, folder: Path, settings: Settings = lambda _, stage: stage
) -> dict[str, Path]:
    """Train every network that has no checkpoint in `folder` yet, as the workflow would: ``<network>/model.pt``.

    Args:
        data: prepared showers and how to train; its outputs are not used.
        settings: changes the settings of a network, given its name.

    Returns:
        the checkpoints by name, in the order of the chain. Raises like :func:`calopipe.training.train_network`.
    """
    made: dict[str, Path] = {}
    for link in model.chain.links:
        made[link.name] = folder / link.name / CHECKPOINT
        if not made[link.name].exists():
            job = replace(data, **_inputs(model, link, made, data, folder))
            own = folder / link.name
            files: dict[str, Any] = {
                "checkpoint": made[link.name],
                "history": own / "history.csv",
                "rolling": own / "rolling",
            }
            job = replace(job, **files, epochs=None if data.epochs is None else own / "epochs")
            train_network(settings(link.name, model.networks[link.name]), link, job)
    return made


def _inputs(model: Model, link: Link, made: dict[str, Path], data: TrainingJob, folder: Path) -> dict[str, Any]:
    """What a network learns instead of showers, or besides them, made where it is not there yet."""
    if not model.chain.before(link):
        return {}
    found = []
    for name, showers in (("train", data.train), ("val", data.val)):
        found.append(folder / link.name / "learned" / f"{name}.hdf5")
        if found[-1].exists():
            continue
        found[-1].parent.mkdir(parents=True, exist_ok=True)
        if link.learns_latents:
            encode(made[link.learns], showers, found[-1])
        else:
            remake([made[other.name] for other in model.chain.before(link)], showers, found[-1], data.seed)
    return {"train": found[0], "val": found[1]} if link.learns_latents else {"refined": (found[0], found[1])}
