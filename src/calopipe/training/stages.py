"""The training stages of the workflow: an autoencoder; a flow on showers or on latents; an energy regressor."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from calopipe import seeds
from calopipe.config.networks import AutoencoderStage, FlowStage, RegressorStage, Training
from calopipe.devices import pick_device
from calopipe.errors import DataError
from calopipe.geometry import Geometry, load_geometry
from calopipe.io import file_info
from calopipe.io.conditions import TrainedRange
from calopipe.models.latent_target import LatentTarget
from calopipe.preprocessing import Layout
from calopipe.training.checkpoint import Network, build_network, save_network
from calopipe.training.data import block_rows, fit_rows, load_latents, load_showers, reflections
from calopipe.training.fit import export_kept, fit
from calopipe.training.job import TrainingJob
from calopipe.training.module import Assemble, Data
from calopipe.training.rolling import clear
from calopipe.training.schema import Kind

log = logging.getLogger("calopipe")

#: tensors of the training and of the validation split
Tensors = tuple[tuple[Tensor, ...], tuple[Tensor, ...]]


def train_autoencoder(settings: AutoencoderStage, job: TrainingJob) -> None:
    """Train an autoencoder on prepared showers.

    Raises:
        DataError: a file holds no showers, or does not fit the geometry.
        TrainingError: the loss is not finite, or training was interrupted; the rolling checkpoints stay.
    """
    geometry = load_geometry(job.geometry)
    _train("autoencoder", settings.model_dump(mode="json"), geometry, job, _showers(job, geometry))


def train_flow(settings: FlowStage, job: TrainingJob, latent: bool = False) -> None:
    """Train a flow on prepared showers, or (`latent`) on files of latents. Raises like :func:`train_autoencoder`."""
    geometry, values = load_geometry(job.geometry), settings.model_dump(mode="json")
    if not latent:
        _train("flow", values, geometry, job, _showers(job, geometry))
        return
    train, val = load_latents(job.train, job), load_latents(job.val)
    if train.encoded_by != val.encoded_by:
        raise DataError(f"{job.train} and {job.val} hold latents of different autoencoders; encode both anew")
    upstream = {"autoencoder": train.encoded_by}
    target = LatentTarget(settings.latents, train.mu.shape[1])
    extra = {"latents": target.mode, "latent_dim": target.latent_dim}
    if target.mode == "once":
        torch.manual_seed(seeds.derive(job.seed, "latents drawn once"))
        drawn = [(target.assemble(e.mu, e.logvar, e.extras), e.incident) for e in (train, val)]
        _train("latent_flow", values, geometry, job, (drawn[0], drawn[1]), extra=extra, upstream=upstream)
        return

    def assemble(mu: Tensor, logvar: Tensor, extras: Tensor, cond: Tensor) -> tuple[Tensor, Tensor]:
        return target.assemble(mu, logvar, extras), cond

    encoded = [(e.mu, e.logvar, e.extras, e.incident) for e in (train, val)]
    _train("latent_flow", values, geometry, job, (encoded[0], encoded[1]), assemble, extra, upstream)


def train_regressor(settings: RegressorStage, job: TrainingJob) -> None:
    """Train a network that reads the incident energy off prepared showers, with the seed of its own settings.

    Raises:
        GeometryError: the regressor has no grid of its own, and the layers of the geometry are not alike.
        DataError, TrainingError: like :func:`train_autoencoder`.
    """
    geometry, job = load_geometry(job.geometry), replace(job, seed=settings.seed)
    values = {"preprocessing": [], **settings.model_dump(mode="json", include={"model", "training"})}
    _train("regressor", values, geometry, job, _showers(job, geometry))


def _showers(job: TrainingJob, geometry: Geometry) -> Tensors:
    rows = block_rows(job.train, file_info(job.train).n_showers, job)
    return load_showers(job.train, geometry, rows), load_showers(job.val, geometry)


def _as_read(x: Tensor, cond: Tensor) -> tuple[Tensor, Tensor]:
    return x, cond


def _train(
    kind: Kind,
    settings: dict[str, Any],
    geometry: Geometry,
    job: TrainingJob,
    tensors: Tensors,
    assemble: Assemble = _as_read,
    extra: dict[str, Any] | None = None,
    upstream: dict[str, str] | None = None,
) -> None:
    """Fit preprocessing on the training split, train, write the checkpoint, drop the rolling checkpoints."""
    if job.threads:
        torch.set_num_threads(job.threads)
    training, (train, val), seed = Training.model_validate(settings["training"]), tensors, job.seed
    pick_device(training.device)  # one that is not there is said before anything is fitted
    threshold = geometry.threshold_MeV if job.threshold_MeV is None else job.threshold_MeV
    layout = Layout.of(geometry, threshold)
    torch.manual_seed(seeds.derive(seed, kind, "weights"))
    x, cond = assemble(*(t[fit_rows(len(t), seed)] for t in train))
    facts = {"name": geometry.name, "hash": geometry.hash}
    network = build_network(kind, settings, facts, layout, x.shape[1], cond.shape[1], seed, extra, len(train[0]))
    network.upstream = upstream or {}
    network.trained = TrainedRange.of(train[-1][:, 0])
    _fit_inputs(network, x, cond)
    permutations = reflections(geometry) if training.reflections and kind != "latent_flow" else None
    data = Data(train, val, training.batch_size, seed, permutations)
    parameters = sum(p.numel() for p in network.model.parameters())
    log.info("%s '%s': %d parameters, %d steps of %d showers", kind, settings["model"]["name"], parameters,
             training.epochs * data.steps_per_epoch(), training.batch_size)  # fmt: skip
    rolling = job.rolling / _key([settings, seed, len(train[0]), network.upstream])
    rows = fit(network, training, data, assemble, rolling, job.history)
    if job.epochs is not None:
        export_kept(rolling, network, job.epochs, rows)
    save_network(job.checkpoint, network, rows)
    clear(rolling)


@torch.no_grad()
def _fit_inputs(network: Network, x: Tensor, cond: Tensor) -> None:
    network.chain.fit(x, cond)
    x, cond, _ = network.chain(x, cond)
    network.model.fit_input(x, cond)


def _key(facts: list[Any]) -> str:
    """Name of the rolling folder: training continues only from a state of the same settings, seed, data size, latents."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
