"""One file per trained network: weights, fitted preprocessing, settings, seed, geometry, history, range of conditions.

The file is sealed by a checksum (:mod:`calopipe.training.sealed`) and every key of it is checked
(:mod:`calopipe.training.schema`) before anything is computed. A checkpoint of another format is refused; one of the same
format that another version of calopipe wrote is used with a warning, as its numbers may differ by what has been mended.
"""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from calopipe import __version__
from calopipe.config.links import INCIDENT_ENERGY, SHOWERS, Contract, Link
from calopipe.config.networks import NetworkSettings
from calopipe.config.parts import MODELS, Part
from calopipe.errors import CalopipeError, CheckpointError
from calopipe.io.conditions import TrainedRange
from calopipe.models import base
from calopipe.models.base import Autoencoder, Inputs, Learner
from calopipe.preprocessing import Chain, Layout, build_chain
from calopipe.training.facts import DataFacts
from calopipe.training.schema import FORMAT, at_most, check_content, check_finite, check_weights
from calopipe.training.sealed import UNSEALED, read_sealed, write_sealed

log = logging.getLogger("calopipe")


@dataclass
class AsShower:
    """Reconstructions as showers, seen again as a network's input: see :class:`calopipe.models.base.Autoencoder`."""

    chain: Chain
    layout: Layout

    def __call__(self, x: Tensor, cond: Tensor) -> Tensor:
        showers, incident = self.chain.inverse(x, cond)
        return self.chain(self.layout.cut(showers), incident)[0]

    @torch.no_grad()
    def layer_energies(self, cond: Tensor) -> Tensor:
        """Energies (N, L) in MeV of the layers that showers with this condition have."""
        return self.layout.energies(self.chain.inverse(cond.new_ones(len(cond), self.chain.dim_out), cond)[0])


@dataclass
class Network:
    """A network with its preprocessing chain and what is needed to rebuild both.

    Attributes:
        link: its name, and what it learns and is given.
        settings: preprocessing, model, training, and for latents how they are learned.
        data: geometry, threshold and conditions of what it was trained on.
        dim: columns of the chain's input.
        inputs: what the model was told of its data; the seed of the training is among it.
        upstream: :meth:`digest` of the networks whose output it learned, by name.
        latent_dim: of the autoencoder whose latents it learned.
        trained: the conditions it was trained on; None where a checkpoint does not say.
    """

    link: Link
    settings: NetworkSettings
    data: DataFacts
    dim: int
    inputs: Inputs
    chain: Chain
    model: Learner
    upstream: dict[str, str] = field(default_factory=dict)
    latent_dim: int | None = None
    trained: TrainedRange | None = None

    @property
    def seed(self) -> int:
        """Seed of the training."""
        return self.inputs.seed

    @property
    def layout(self) -> Layout:
        """Layers and threshold, as the preprocessing knows them."""
        return self.data.layout

    def prepared(self, x: Tensor, cond: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x, condition and log-det that the model gets in training.

        A refiner's x (N, 2 dim) holds the showers to be refined behind the true ones; its condition then ends with them.
        """
        if self.link.contract != "Refiner":
            return self.chain(x, cond)
        x, given = x.chunk(2, dim=1)
        given = self.chain(given, cond)[0]
        x, cond, logdet = self.chain(x, cond)
        return x, torch.cat([cond, given], dim=1), logdet

    def digest(self) -> str:
        """SHA-256 (64 hexadecimal digits) of all that decides what the network computes, wherever it is stored.

        Not of how it was trained, and not of settings that are at their defaults.
        """
        facts = [
            asdict(self.link),
            [_chosen(part) for part in (*self.settings.preprocessing, self.settings.model)],
            self.settings.latents,
            asdict(self.data),
            self.dim,
            self.seed,
            self.inputs.n_train,
        ]
        digest = hashlib.sha256(json.dumps([*facts, self.latent_dim, self.upstream], sort_keys=True).encode())
        for part, module in self.parts.items():
            for key, value in sorted(module.state_dict().items()):
                digest.update(f"{part}.{key} {value.dtype} {tuple(value.shape)}".encode())
                digest.update(value.cpu().reshape(-1).contiguous().view(torch.uint8).numpy())
        return digest.hexdigest()

    @property
    def parts(self) -> dict[str, torch.nn.Module]:
        """What has weights or fitted numbers, by the key of the checkpoint that holds them."""
        return {"chain": self.chain, "model": self.model}

    def eval(self) -> Network:
        """Put both parts into evaluation mode and return self."""
        self.chain.eval()
        self.model.eval()
        return self


def _chosen(part: Part) -> list[Any]:
    """A step or model with its settings that are no defaults: a setting that is new in a later version changes no digest."""
    return [part.name, {} if part.settings is None else part.settings.model_dump(mode="json", exclude_defaults=True)]


def build_network(
    link: Link,
    settings: NetworkSettings,
    data: DataFacts,
    *,
    dim: int,
    seed: int,
    n_train: int,
    latent_dim: int | None = None,
) -> Network:
    """Build chain and model of a network with fresh weights (drawn from torch's global generator).

    Args:
        dim: columns of what it learns, before preprocessing. latent_dim: of the autoencoder whose latents these are.
    """
    names = data.names(link)
    chain = build_chain(settings.preprocessing, data.layout, dim, len(names))
    inputs = Inputs(dim=chain.dim_out, conditions=chain.conditions(names), n_train=n_train, seed=seed,
                    **_voxels(link, data))  # fmt: skip
    model = MODELS.get(settings.model.name)(settings.model.settings, inputs)
    expected = getattr(base, link.contract)
    if not isinstance(model, expected):
        raise CheckpointError(f"model '{settings.model.name}' is no {link.contract}, but is used as {link.role}")
    if isinstance(model, Autoencoder):
        as_shower = AsShower(chain, data.layout)
        model.as_shower, model.layer_energies = as_shower, as_shower.layer_energies
    return Network(link, settings, data, dim, inputs, chain, model, latent_dim=latent_dim)


def _voxels(link: Link, data: DataFacts) -> dict[str, Any]:
    """What a model may know of the detector, as fields of :class:`calopipe.models.base.Inputs`; other columns are no voxels."""
    layout = data.layout
    if link.learns not in (SHOWERS, INCIDENT_ENERGY):
        return {"threshold_MeV": layout.threshold_MeV}
    return {name: getattr(layout, name) for name in ("layer_shapes", "centres", "periodic", "threshold_MeV")}


def save_network(path: Path, network: Network, history: list[dict[str, float]]) -> None:
    """Write the checkpoint; it appears under its name only when it is complete.

    Raises:
        CheckpointError: weights that are not finite. DataError: it cannot be written.
    """
    content = {
        "format": FORMAT,
        "calopipe_version": __version__,
        "link": {**asdict(network.link), "given": list(network.link.given)},
        "settings": network.settings.model_dump(mode="json"),
        "data": {
            key: list(value) if isinstance(value, tuple) else value for key, value in asdict(network.data).items()
        },
        "dim": network.dim,
        "seed": network.seed,
        "n_train": network.inputs.n_train,
        "latent_dim": network.latent_dim,
        "upstream": network.upstream,
        "trained": None if network.trained is None else asdict(network.trained),
        "history": history,
    }
    states = {
        part: {k: v.detach().cpu().contiguous() for k, v in module.state_dict().items()}
        for part, module in network.parts.items()
    }
    content |= states
    try:
        check_content(content)
        for part, state in states.items():
            check_finite(part, state)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: not written: {error}") from None
    write_sealed(path, content)


def load_network(path: Path, contract: Contract | None = None, device: str | torch.device = "cpu") -> Network:
    """Read a checkpoint (safely: tensors and plain values only) and rebuild the network on `device`.

    Raises:
        CheckpointError: unreadable, damaged, of another format or kind of network, keys or weights that are missing or not as they
            must be.
    """
    path = Path(path)
    content, sealed = read_sealed(path)
    try:
        settings = check_content(content).settings
        found = content["link"]["contract"]
        if contract is not None and found != contract:
            raise CheckpointError(f"expected the checkpoint of a network of kind {contract}, found {found}")
        network = _rebuild(content, settings)
        if not sealed:
            raise CheckpointError(UNSEALED)
    except CalopipeError as error:
        raise CheckpointError(f"{path}: {error}") from error
    if content["calopipe_version"] != __version__:
        log.warning(
            "warning: %s was written by calopipe %s; this is %s", path, content["calopipe_version"], __version__
        )
    for module in network.parts.values():
        module.to(device)
    return network.eval()


def _rebuild(content: dict[str, Any], settings: NetworkSettings) -> Network:
    link = Link(**{**content["link"], "given": tuple(content["link"]["given"])})
    names = {key: tuple(content["data"][key]) for key in ("conditions", "columns")}
    data = DataFacts(**{**content["data"], **names})
    facts = {key: content[key] for key in ("dim", "seed", "n_train", "latent_dim")}
    stored = sum(value.numel() for part in ("chain", "model") for value in content[part].values())
    try:
        with torch.random.fork_rng(devices=[]), at_most(stored):
            network = build_network(link, settings, data, **facts)
    except CalopipeError:
        raise
    except Exception as error:  # settings from a file can make a constructor raise anything
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(
            f"settings: no network can be built of them ({type(error).__name__}: {reason})"
        ) from error
    for part, module in network.parts.items():
        check_weights(part, module, content[part])
        module.load_state_dict(content[part])
    trained = content["trained"]
    network.trained = None if trained is None else TrainedRange(**trained)
    network.upstream = content["upstream"]
    return network
