"""One file per trained network: weights, fitted preprocessing, settings, seed, geometry, history, range of conditions."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from calopipe import __version__
from calopipe.config.base import validate
from calopipe.config.parts import MODELS
from calopipe.errors import CheckpointError
from calopipe.io.conditions import TrainedRange
from calopipe.io.output import replacing
from calopipe.models.base import Autoencoder, EnergyRegressor, GenerativeModel
from calopipe.preprocessing import Chain, Layout, build_chain

FORMAT = 1
Kind = Literal["autoencoder", "flow", "latent_flow", "regressor"]


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
        extra: further facts, e.g. ``latent_dim`` of the autoencoder that a latent flow belongs to.
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
    model: GenerativeModel | Autoencoder | EnergyRegressor
    extra: dict[str, Any]
    trained: TrainedRange | None = None

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
) -> Network:
    """Build chain and model of a stage with fresh weights (drawn from torch's global generator)."""
    chain = build_chain(settings["preprocessing"], layout, dim, cond_dim)
    name = settings["model"]["name"]
    config_class = MODELS.config_class(name)
    values = {k: v for k, v in settings["model"].items() if k != "name"}
    config = validate(config_class, values, name) if config_class else None
    model = MODELS.get(name)(config, chain.dim_out, chain.cond_dim_out, seed)
    expected = {"autoencoder": Autoencoder, "regressor": EnergyRegressor}.get(kind, GenerativeModel)
    if not isinstance(model, expected):
        raise CheckpointError(f"model '{name}' is no {expected.__name__}, but is used as {kind}")
    if isinstance(model, Autoencoder):
        model.as_shower = AsShower(chain, layout)
    return Network(kind, settings, geometry, layout, dim, cond_dim, seed, chain, model, extra or {})


def save_network(path: Path, network: Network, history: list[dict[str, float]]) -> None:
    """Write the checkpoint under a temporary name and rename."""
    content = {
        "format": FORMAT,
        "calopipe_version": __version__,
        "kind": network.kind,
        "settings": network.settings,
        "geometry": network.geometry,
        "layer_sizes": list(network.layout.layer_sizes),
        "threshold_MeV": network.layout.threshold_MeV,
        "dim": network.dim,
        "cond_dim": network.cond_dim,
        "seed": network.seed,
        "extra": network.extra,
        "trained": None if network.trained is None else asdict(network.trained),
        "history": history,
        "chain": {k: v.cpu() for k, v in network.chain.state_dict().items()},
        "model": {k: v.cpu() for k, v in network.model.state_dict().items()},
    }
    with replacing(path) as temporary:
        torch.save(content, temporary)


def load_network(path: Path, kind: Kind | None = None, device: str | torch.device = "cpu") -> Network:
    """Read a checkpoint (safely: tensors and plain values only) and rebuild the network on `device`.

    Raises:
        CheckpointError: unreadable, of another format or kind, or weights that do not fit the settings.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such checkpoint") from None
    except Exception as error:  # a broken file can make the unpickler raise anything
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise CheckpointError(f"{path}: not a checkpoint that can be read ({reason})") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        found = content.get("format") if isinstance(content, dict) else type(content).__name__
        raise CheckpointError(f"{path}: expected a calopipe checkpoint of format {FORMAT}, found {found}")
    if kind is not None and content["kind"] != kind:
        raise CheckpointError(f"{path}: expected a checkpoint of kind '{kind}', found '{content['kind']}'")
    layout = Layout(tuple(content["layer_sizes"]), content["threshold_MeV"])
    keys = ("kind", "settings", "geometry")
    rest = ("dim", "cond_dim", "seed", "extra")
    with torch.random.fork_rng(devices=[]):
        network = build_network(*(content[k] for k in keys), layout, *(content[k] for k in rest))
    try:
        network.chain.load_state_dict(content["chain"])
        network.model.load_state_dict(content["model"])
    except RuntimeError as error:
        raise CheckpointError(f"{path}: weights do not fit the settings: {' '.join(str(error).split())}") from error
    network.trained = _trained(content.get("trained"), path)
    network.chain.to(device)
    network.model.to(device)
    return network.eval()


def _trained(content: Any, path: Path) -> TrainedRange | None:
    if content is None:
        return None
    try:
        return TrainedRange(float(content["low"]), float(content["high"]), int(content["n"]))
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: 'trained': expected low, high and n, found {content!r:.80}") from error
