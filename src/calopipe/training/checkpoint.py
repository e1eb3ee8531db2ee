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
from calopipe.config.base import validate
from calopipe.config.parts import MODELS
from calopipe.errors import CalopipeError, CheckpointError
from calopipe.io.conditions import TrainedRange
from calopipe.models.base import Autoencoder, EnergyRegressor, GenerativeModel, Inputs, Learner
from calopipe.preprocessing import Chain, Layout, build_chain
from calopipe.training.schema import FORMAT, Kind, at_most, check_content, check_finite, check_weights
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


@dataclass
class Network:
    """A network with its preprocessing chain and what is needed to rebuild both.

    Attributes:
        kind: ``autoencoder``, ``flow`` (on showers), ``latent_flow`` or ``regressor``.
        settings: the stage's configuration (preprocessing, model, training, ...).
        geometry: {"name", "hash"}; layout: voxels per layer and threshold.
        dim, cond_dim: columns of the chain's input.
        seed: training seed.
        extra: further facts: ``latents`` and ``latent_dim`` of a latent flow.
        upstream: :meth:`digest` of the networks whose output it learned, by name (``autoencoder``).
        trained: the incident energies it was trained on; None where a checkpoint does not say.
    """

    kind: Kind
    settings: dict[str, Any]
    geometry: dict[str, str]
    layout: Layout
    dim: int
    cond_dim: int
    seed: int
    chain: Chain
    model: Learner
    extra: dict[str, Any]
    trained: TrainedRange | None = None
    upstream: dict[str, str] = field(default_factory=dict)

    def digest(self) -> str:
        """SHA-256 (64 hexadecimal digits) of all that decides what the network computes, wherever it is stored."""
        layout = {"layer_shapes": self.layout.layer_shapes, "threshold_MeV": self.layout.threshold_MeV}
        facts = [self.kind, self.settings, self.geometry, layout, self.dim, self.cond_dim, self.seed]
        digest = hashlib.sha256(json.dumps([*facts, self.extra, self.upstream], sort_keys=True).encode())
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


def build_network(
    kind: Kind,
    settings: dict[str, Any],
    geometry: dict[str, str],
    layout: Layout,
    dim: int,
    cond_dim: int,
    seed: int,
    extra: dict[str, Any] | None = None,
    n_train: int = 0,
) -> Network:
    """Build chain and model of a stage with fresh weights (drawn from torch's global generator)."""
    chain = build_chain(settings["preprocessing"], layout, dim, cond_dim)
    name = settings["model"]["name"]
    config_class = MODELS.config_class(name)
    values = {k: v for k, v in settings["model"].items() if k != "name"}
    config = validate(config_class, values, name) if config_class else None
    model = MODELS.get(name)(config, _inputs(kind, chain, layout, cond_dim, n_train, seed))
    expected = {"autoencoder": Autoencoder, "regressor": EnergyRegressor}.get(kind, GenerativeModel)
    if not isinstance(model, expected):
        raise CheckpointError(f"model '{name}' is no {expected.__name__}, but is used as {kind}")
    if isinstance(model, Autoencoder):
        model.as_shower = AsShower(chain, layout)
    return Network(kind, settings, geometry, layout, dim, cond_dim, seed, chain, model, extra or {})


def _inputs(kind: Kind, chain: Chain, layout: Layout, cond_dim: int, n_train: int, seed: int) -> Inputs:
    """What a network behind `chain` may know; the columns of latents are no voxels."""
    names = ("incident_energy", *(f"condition_{i}" for i in range(1, cond_dim)))
    known = {"threshold_MeV": layout.threshold_MeV, "n_train": n_train, "seed": seed}
    if kind != "latent_flow":
        known |= {"layer_shapes": layout.layer_shapes, "centres": layout.centres, "periodic": layout.periodic}
    return Inputs(chain.dim_out, chain.conditions(names), **known)


def save_network(path: Path, network: Network, history: list[dict[str, float]]) -> None:
    """Write the checkpoint; it appears under its name only when it is complete.

    Raises:
        CheckpointError: weights that are not finite. DataError: it cannot be written.
    """
    content = {
        "format": FORMAT,
        "calopipe_version": __version__,
        "kind": network.kind,
        "settings": network.settings,
        "geometry": network.geometry,
        "layer_shapes": [list(shape) for shape in network.layout.layer_shapes],
        "centres": network.layout.centres,
        "periodic": list(network.layout.periodic),
        "threshold_MeV": float(network.layout.threshold_MeV),
        "dim": network.dim,
        "cond_dim": network.cond_dim,
        "seed": network.seed,
        "extra": network.extra,
        "upstream": network.upstream,
        "trained": None if network.trained is None else asdict(network.trained),
        "history": history,
    }
    for part, module in network.parts.items():
        content[part] = {k: v.detach().cpu().contiguous() for k, v in module.state_dict().items()}
    try:
        check_content(content)
        for part in network.parts:
            check_finite(part, content[part])
    except CheckpointError as error:
        raise CheckpointError(f"{path}: not written: {error}") from None
    write_sealed(path, content)


def load_network(path: Path, kind: Kind | None = None, device: str | torch.device = "cpu") -> Network:
    """Read a checkpoint (safely: tensors and plain values only) and rebuild the network on `device`.

    Raises:
        CheckpointError: unreadable, damaged, of another format or kind, keys or weights that are missing or not as they
            must be.
    """
    path = Path(path)
    content, sealed = read_sealed(path)
    try:
        check_content(content)
        if kind is not None and content["kind"] != kind:
            raise CheckpointError(f"expected a checkpoint of kind '{kind}', found '{content['kind']}'")
        network = _rebuild(content)
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


def _rebuild(content: dict[str, Any]) -> Network:
    shapes = tuple((a, b) for a, b in content["layer_shapes"])
    layout = Layout(shapes, content["threshold_MeV"], content["centres"], tuple(content["periodic"]))
    keys = ("kind", "settings", "geometry")
    rest = ("dim", "cond_dim", "seed", "extra")
    trained = content["trained"]
    n_train = 0 if trained is None else trained["n"]
    stored = sum(value.numel() for part in ("chain", "model") for value in content[part].values())
    try:
        with torch.random.fork_rng(devices=[]), at_most(stored):
            network = build_network(*(content[k] for k in keys), layout, *(content[k] for k in rest), n_train)
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
    network.trained = None if trained is None else TrainedRange(**trained)
    network.upstream = content["upstream"]
    return network
