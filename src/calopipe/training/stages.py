"""The training stages of the workflow: an autoencoder; a flow on showers or on latents; an energy regressor."""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from calopipe import seeds
from calopipe.config.schema import Model, RegressorStage, Training
from calopipe.errors import ConfigError
from calopipe.geometry import Geometry, load_geometry
from calopipe.models.base import Autoencoder, EnergyRegressor
from calopipe.models.latent_target import LatentTarget
from calopipe.preprocessing import Layout
from calopipe.training.checkpoint import Kind, Network, build_network, save_network
from calopipe.training.data import fit_rows, load_latents, load_showers, reflections
from calopipe.training.fit import clear, export_kept, fit
from calopipe.training.module import Assemble, Data

log = logging.getLogger("calopipe")


def train_autoencoder(
    model: Model,
    train: Path,
    val: Path,
    geometry: str,
    seed: int,
    checkpoint: Path,
    history: Path,
    rolling: Path,
    threads: int = 0,
    threshold_MeV: float | None = None,
) -> None:
    """Train ``model.autoencoder`` on prepared showers.

    Args:
        model: the generator's configuration.
        train, val: shower files.
        geometry: geometry name or file.
        seed: seed of weights, order and noise.
        checkpoint, history: outputs (checkpoint; CSV of losses).
        rolling: folder for rolling checkpoints, outside the declared outputs; training continues from there.
        threads: CPU threads (0: torch's default).
        threshold_MeV: readout threshold; None takes the geometry's.
    """
    if model.autoencoder is None:
        raise ConfigError("train_autoencoder: the model has no autoencoder")
    geo = load_geometry(geometry)
    shower_data = [load_showers(path, geo) for path in (train, val)]
    settings = model.autoencoder.model_dump(mode="json")
    _train(
        "autoencoder", settings, geo, seed, shower_data[0], shower_data[1], lambda x, cond: (x, cond), checkpoint,
        history, rolling, threads, threshold_MeV, {},
    )  # fmt: skip


def train_flow(
    model: Model,
    train: Path,
    val: Path,
    geometry: str,
    seed: int,
    checkpoint: Path,
    history: Path,
    rolling: Path,
    threads: int = 0,
    threshold_MeV: float | None = None,
    epochs: Path | None = None,
) -> None:
    """Train ``model.flow``: on shower files for a direct model, on files of latents for a latent one.

    Arguments as in :func:`train_autoencoder`; `epochs` is a folder for the checkpoints that ``training.keep_every``
    asks for.
    """
    geo = load_geometry(geometry)
    settings = model.flow.model_dump(mode="json")
    if not model.is_latent:
        data = [load_showers(path, geo) for path in (train, val)]
        _train(
            "flow", settings, geo, seed, data[0], data[1], lambda x, cond: (x, cond), checkpoint, history, rolling,
            threads, threshold_MeV, {}, epochs,
        )  # fmt: skip
        return
    encoded = [load_latents(path) for path in (train, val)]
    target = LatentTarget(model.flow.latents, encoded[0].mu.shape[1])
    extra = {"latents": target.mode, "latent_dim": target.latent_dim}
    if target.mode == "once":
        torch.manual_seed(seeds.derive(seed, "latents drawn once"))
        tensors = [(target.assemble(e.mu, e.logvar, e.extras), e.incident) for e in encoded]
        assemble: Assemble = lambda x, cond: (x, cond)  # noqa: E731
    else:
        tensors = [(e.mu, e.logvar, e.extras, e.incident) for e in encoded]
        assemble = lambda mu, logvar, extras, cond: (target.assemble(mu, logvar, extras), cond)  # noqa: E731
    _train(
        "latent_flow", settings, geo, seed, tensors[0], tensors[1], assemble, checkpoint, history, rolling, threads,
        threshold_MeV, extra, epochs,
    )  # fmt: skip


def train_regressor(
    regressor: RegressorStage,
    train: Path,
    val: Path,
    geometry: str,
    checkpoint: Path,
    history: Path,
    rolling: Path,
    threads: int = 0,
    threshold_MeV: float | None = None,
) -> None:
    """Train a network that reads the incident energy off prepared showers. The seed is the regressor's own.

    Other arguments as in :func:`train_autoencoder`.

    Raises:
        GeometryError: the regressor has no grid of its own, and the layers of the geometry are not alike.
    """
    geo = load_geometry(geometry)
    data = [load_showers(path, geo) for path in (train, val)]
    settings = regressor_settings(regressor, geo)
    _train(
        "regressor", settings, geo, regressor.seed, data[0], data[1], lambda x, cond: (x, cond), checkpoint, history,
        rolling, threads, threshold_MeV, {},
    )  # fmt: skip


def regressor_settings(regressor: RegressorStage, geometry: Geometry) -> dict[str, Any]:
    """Settings of a regressor's network, with the geometry's grid where it has none of its own."""
    settings = regressor.model_dump(mode="json", include={"model", "training"})
    if settings["model"].get("grid", ()) is None:
        settings["model"]["grid"] = list(geometry.grid)
    return {"preprocessing": [], **settings}


def _train(
    kind: Kind,
    settings: dict[str, Any],
    geometry: Geometry,
    seed: int,
    train: tuple[Tensor, ...],
    val: tuple[Tensor, ...],
    assemble: Assemble,
    checkpoint: Path,
    history: Path,
    rolling: Path,
    threads: int,
    threshold_MeV: float | None,
    extra: dict[str, Any],
    epochs: Path | None = None,
) -> None:
    """Fit preprocessing on the training split, train, write the checkpoint, drop the rolling checkpoints."""
    if threads:
        torch.set_num_threads(threads)
    training = Training.model_validate(settings["training"])
    layout = Layout(geometry.layer_sizes, geometry.threshold_MeV if threshold_MeV is None else threshold_MeV)
    torch.manual_seed(seeds.derive(seed, kind, "weights"))
    sample = [t[fit_rows(len(t), seed)] for t in train]
    x, cond = assemble(*sample)
    facts = {"name": geometry.name, "hash": geometry.hash}
    network = build_network(kind, settings, facts, layout, x.shape[1], cond.shape[1], seed, extra)
    _fit_inputs(network, x, cond)
    permutations = reflections(geometry) if training.reflections and kind != "latent_flow" else None
    data = Data(train, val, training.batch_size, seed, permutations)
    parameters = sum(p.numel() for p in network.model.parameters())
    log.info("%s '%s': %d parameters, %d steps of %d showers", kind, settings["model"]["name"], parameters,
             training.epochs * data.steps_per_epoch(), training.batch_size)  # fmt: skip
    rolling = rolling / _key(settings, seed, len(train[0]))
    rows = fit(network, training, data, assemble, rolling, history)
    if epochs is not None:
        export_kept(rolling, network, epochs, rows)
    save_network(checkpoint, network, rows)
    clear(rolling)


@torch.no_grad()
def _fit_inputs(network: Network, x: Tensor, cond: Tensor) -> None:
    network.chain.fit(x, cond)
    if isinstance(network.model, Autoencoder | EnergyRegressor):
        x, cond, _ = network.chain(x, cond)
        network.model.fit_input(x, cond)


def _key(settings: dict[str, Any], seed: int, n: int) -> str:
    """Name of the rolling folder: training continues only from a checkpoint of the same settings, seed and data size."""
    text = json.dumps([settings, seed, n], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
