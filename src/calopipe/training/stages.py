"""The training stages of the workflow: one network of a generator, or an energy regressor."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from calopipe import seeds
from calopipe.config.links import INCIDENT_ENERGY, LAYER_ENERGIES, Link
from calopipe.config.networks import NetworkSettings, NetworkStage, RegressorStage
from calopipe.config.training import Training
from calopipe.devices import pick_device
from calopipe.errors import DataError
from calopipe.geometry import load_geometry, symmetries
from calopipe.io import read_columns
from calopipe.io.columns import column_rows
from calopipe.io.conditions import TrainedRange
from calopipe.models.latent_target import LatentTarget
from calopipe.training.checkpoint import Network, build_network, save_network
from calopipe.training.data import Encoded, ShowerPart, load_latents, own_block, refined_by
from calopipe.training.facts import DataFacts
from calopipe.training.fit import export_kept, fit
from calopipe.training.job import TrainingJob
from calopipe.training.module import Assemble, Data
from calopipe.training.rolling import clear
from calopipe.training.rows import InMemory, Rows, fit_rows

log = logging.getLogger("calopipe")


def _as_read(x: Tensor, cond: Tensor) -> tuple[Tensor, Tensor]:
    return x, cond


@dataclass(frozen=True)
class Material:
    """What a network learns from.

    Attributes:
        train, val: rows of the two splits; `assemble` makes x and the condition of their tensors.
        upstream: digests of the networks that made them, by name. latent_dim: of latents.
    """

    train: Rows
    val: Rows
    assemble: Assemble = _as_read
    upstream: dict[str, str] = field(default_factory=dict)
    latent_dim: int | None = None


def train_network(settings: NetworkStage, link: Link, job: TrainingJob) -> None:
    """Train one network of a generator.

    Raises:
        DataError: a file holds no showers (or latents), or does not fit the geometry.
        TrainingError: the loss is not finite, or training was interrupted; the rolling checkpoints stay.
    """
    data = _facts(job)
    if link.learns_latents:
        material = _latents(settings, link, job)
    elif data.columns:
        material = _columns(job)
    else:
        material = _material(link, job, data, settings.network)
    _train(link, settings.network, data, job, material)


def train_regressor(settings: RegressorStage, name: str, job: TrainingJob) -> None:
    """Train a network that reads the incident energy off prepared showers, with the seed of its own settings.

    Raises:
        GeometryError: the regressor has no grid of its own, and the layers of the geometry are not alike.
        DataError, TrainingError: like :func:`train_network`.
    """
    job = replace(job, seed=settings.seed)
    link = Link(name, INCIDENT_ENERGY, contract="EnergyRegressor")
    data = DataFacts.of(load_geometry(str(job.geometry)), job.threshold_MeV)
    _train(link, settings.network, data, job, _material(link, job, data, settings.network))


def _facts(job: TrainingJob) -> DataFacts:
    if job.geometry is None:
        return DataFacts.of_columns(job.columns, job.conditions)
    return DataFacts.of(load_geometry(job.geometry), job.threshold_MeV, job.conditions)


def _columns(job: TrainingJob) -> Material:
    """Columns of numbers and what they depend on."""
    rows = own_block(job.train, column_rows(job.train, job.columns), job.learned)
    splits = []
    for path, part in ((job.train, rows), (job.val, None)):
        found = read_columns(path, job.columns, job.conditions, rows=part)
        if not len(found):
            raise DataError(f"{path}: no rows to train on")
        splits.append(InMemory((torch.from_numpy(found.x), torch.from_numpy(found.condition))))
    return Material(splits[0], splits[1])


def _material(link: Link, job: TrainingJob, data: DataFacts, settings: NetworkSettings) -> Material:
    """Showers, their layer energies, or showers beside what the chain made of them; layer energies given as they are."""
    assert settings.training is not None
    made, paths = job.refined or (None, None), (job.train, job.val)
    parts = [ShowerPart.of(paths[i], job, link, data, made[i], validation=i == 1) for i in range(2)]
    upstream = {} if made[0] is None else refined_by(made[0], str(link.refined))
    train, val = (part.rows(settings.training.window_MB) for part in parts)
    return Material(train, val, upstream=upstream)


def _latents(settings: NetworkStage, link: Link, job: TrainingJob) -> Material:
    train, val = load_latents(job.train, job.learned), load_latents(job.val, job.learned, validation=True)
    if train.encoded_by != val.encoded_by:
        raise DataError(f"{job.train} and {job.val} hold latents of different autoencoders; encode both anew")
    target = LatentTarget(settings.latents or "mu_sigma", train.mu.shape[1])
    facts: dict[str, Any] = {"upstream": {link.learns: train.encoded_by}, "latent_dim": target.latent_dim}

    def cond(part: Encoded) -> Tensor:
        return torch.cat([part.conditions, part.layer_energies], dim=1) if link.gets_energies else part.conditions

    if target.mode == "once":
        torch.manual_seed(seeds.derive(job.seed, "latents drawn once"))
        drawn = [InMemory((target.assemble(e.mu, e.logvar, e.extras), cond(e))) for e in (train, val)]
        return Material(drawn[0], drawn[1], **facts)

    def assemble(mu: Tensor, logvar: Tensor, extras: Tensor, cond: Tensor) -> tuple[Tensor, Tensor]:
        return target.assemble(mu, logvar, extras), cond

    encoded = [InMemory((e.mu, e.logvar, e.extras, cond(e))) for e in (train, val)]
    return Material(encoded[0], encoded[1], assemble, **facts)


def _train(link: Link, settings: NetworkSettings, data: DataFacts, job: TrainingJob, material: Material) -> None:
    """Fit preprocessing on the training split, train, write the checkpoint, drop the rolling checkpoints."""
    if job.threads:
        torch.set_num_threads(job.threads)
    training, train, seed = settings.training, material.train, job.seed
    assert training is not None
    pick_device(training.device)  # one that is not there is said before anything is fitted
    torch.manual_seed(seeds.derive(seed, link.role, "weights"))
    x, cond = material.assemble(*fit_rows(train, seed))
    dim = x.shape[1] // 2 if link.contract == "Refiner" else x.shape[1]
    network = build_network(link, settings, data, dim=dim, seed=seed, n_train=len(train),
                            latent_dim=material.latent_dim)  # fmt: skip
    network.upstream = material.upstream
    network.trained = _trained(train.conditions, data)
    _fit_inputs(network, x, cond)
    batches = Data(train, material.val, training.batch_size, seed, _permutations(link, training, data))
    parameters = sum(p.numel() for p in network.model.parameters())
    log.info("%s '%s': %d parameters, %d steps of %d showers", link.name, settings.model.name, parameters,
             training.epochs * batches.steps_per_epoch(), training.batch_size)  # fmt: skip
    if training.batch_size > len(train):
        log.warning("warning: batch_size %d, but there are %d showers to learn: every step takes them all",
                    training.batch_size, len(train))  # fmt: skip
    learned = [len(train), *([] if job.energies is None else [job.energies.model_dump(mode="json")])]
    rolling = job.rolling / _key([asdict(link), settings.model_dump(mode="json"), seed, *learned, network.upstream])
    rows = fit(network, training, batches, material.assemble, rolling, job.history)
    if job.epochs is not None:
        export_kept(rolling, network, job.epochs, rows)
    save_network(job.checkpoint, network, rows)
    clear(rolling)


def _trained(cond: Tensor, data: DataFacts) -> TrainedRange | None:
    """The range of the conditions; None where there are none."""
    if not data.columns:
        return TrainedRange.of(cond, data.further)
    return TrainedRange.of_columns(cond, data.conditions) if data.conditions else None


def _permutations(link: Link, training: Training, data: DataFacts) -> Tensor | None:
    """Reflections and rotations of the columns of x, where they are asked for and x are voxels."""
    asked = {"reflections": training.reflections, "rotations": training.rotations}
    if not any(asked.values()) or data.shape is None or link.learns_latents or link.learns == LAYER_ENERGIES:
        return None
    found = torch.from_numpy(symmetries(data.shape, **asked))
    return torch.cat([found, found + found.shape[1]], dim=1) if link.contract == "Refiner" else found


@torch.no_grad()
def _fit_inputs(network: Network, x: Tensor, cond: Tensor) -> None:
    """Fit preprocessing, and what the model wants to know of its input; a refiner's x holds what it refines, too."""
    network.chain.fit(x[:, : network.dim], cond)
    x, cond, _ = network.prepared(x, cond)
    network.model.fit_input(x, cond)


def _key(facts: list[Any]) -> str:
    """Name of the rolling folder: training continues only from a state of the same settings, seed, data size, latents."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
