"""A trained generator: incident energies in, showers out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from calopipe.devices import pick_device
from calopipe.errors import CheckpointError, DataError, NumericsError
from calopipe.models.base import Autoencoder, GenerativeModel
from calopipe.models.latent_target import LatentTarget
from calopipe.preprocessing import Layout
from calopipe.training.checkpoint import Network, load_network


@dataclass
class Generator:
    """Showers from a flow on voxels, or from a latent flow and the decoder of its autoencoder.

    Attributes:
        flow: network of kind ``flow`` or ``latent_flow``.
        autoencoder: the network that decodes a latent flow's output.
        device: where it computes.
    """

    flow: Network
    autoencoder: Network | None
    device: torch.device

    @classmethod
    def load(cls, flow: Path, autoencoder: Path | None = None, device: str = "auto") -> Generator:
        """Load checkpoints. Raises CheckpointError when they do not belong together."""
        where = pick_device(device)
        network = load_network(flow, device=where)
        if network.kind == "autoencoder":
            raise CheckpointError(f"{flow}: an autoencoder alone cannot generate; pass its flow's checkpoint")
        if network.kind == "regressor":
            raise CheckpointError(f"{flow}: a regressor cannot generate; pass a flow's checkpoint")
        if network.kind == "flow":
            if autoencoder is not None:
                raise CheckpointError(f"{flow}: a flow of showers needs no autoencoder, but {autoencoder} was given")
            return cls(network, None, where)
        if autoencoder is None:
            raise CheckpointError(f"{flow}: a latent flow needs the checkpoint of its autoencoder too")
        decoder = load_network(autoencoder, "autoencoder", where)
        latent_dim = getattr(decoder.model, "latent_dim", None)
        if latent_dim != network.extra["latent_dim"] or decoder.geometry != network.geometry:
            raise CheckpointError(
                f"{flow}: made for latent dimension {network.extra['latent_dim']} and geometry "
                f"{network.geometry['name']}, but {autoencoder} has {latent_dim} and {decoder.geometry['name']}"
            )
        if network.upstream.get("autoencoder") != decoder.digest():
            raise CheckpointError(
                f"{flow}: learned latents of another training (or seed) of the autoencoder than the one in {autoencoder}"
            )
        return cls(network, decoder, where)

    @property
    def n_voxels(self) -> int:
        """Voxels per shower."""
        return self.flow.layout.n_voxels

    @property
    def n_parameters(self) -> int:
        """Learnable parameters of all parts."""
        parts = [self.flow, self.autoencoder] if self.autoencoder else [self.flow]
        return sum(p.numel() for part in parts for m in (part.chain, part.model) for p in m.parameters())

    @torch.no_grad()
    def sample(self, incident: NDArray[np.float32]) -> NDArray[np.float32]:
        """Draw one shower per incident energy, in order.

        Args:
            incident: (N, 1) or (N,) incident energies in MeV.

        Returns:
            (N, V) voxel energies in MeV; below the readout threshold they are 0.

        Raises:
            DataError: an energy that is not finite and positive. NumericsError: the network gave NaN.
        """
        energies = np.asarray(incident, dtype=np.float32).reshape(-1, 1)
        if not np.all(np.isfinite(energies) & (energies > 0)):
            raise DataError(f"incident energies must be finite and > 0 MeV, found {energies.min()} .. {energies.max()}")
        pieces = np.array_split(energies, max(1, -(-len(energies) // self._rows())))
        return np.concatenate([self._sample(torch.from_numpy(piece).to(self.device)) for piece in pieces])

    def _rows(self) -> int:
        """Rows drawn at once: what one piece holds stays in a CPU's cache, or in a small part of a GPU's memory."""
        values = 2**19 if self.device.type == "cpu" else 2**25
        return max(16, values // self.n_voxels)

    def _sample(self, cond: Tensor) -> NDArray[np.float32]:
        model = self.flow.model
        assert isinstance(model, GenerativeModel)
        flow_cond = self.flow.chain.condition(cond)
        x, cond = self.flow.chain.inverse(model.sample(flow_cond), flow_cond)
        if self.autoencoder is not None:
            target = LatentTarget(self.flow.extra["latents"], self.flow.extra["latent_dim"])
            x = decode(self.autoencoder, *target.take_apart(x), cond)
        return _finish(x, self.flow.layout)


def encode_batch(network: Network, showers: Tensor, incident: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(mu, logvar, extras u, the model's full condition) of showers (N, V) in MeV."""
    assert isinstance(network.model, Autoencoder)
    x, cond, _ = network.chain(showers, incident)
    mu, logvar = network.model.encode(x, cond)
    return mu, logvar, cond[:, incident.shape[1] :], cond


def decode(network: Network, z: Tensor, extras: Tensor, incident: Tensor) -> Tensor:
    """Voxel energies (N, V) in MeV of latents z, extras u and incident energies (N, 1) in MeV."""
    assert isinstance(network.model, Autoencoder)
    cond = network.chain.condition(torch.cat([incident, extras], dim=1))
    return network.chain.inverse(network.model.decode(z, cond), cond)[0]


def _finish(x: Tensor, layout: Layout) -> NDArray[np.float32]:
    if not torch.isfinite(x).all():
        rows = (~torch.isfinite(x)).any(1).nonzero().flatten()
        raise NumericsError(f"{len(rows)} of {len(x)} generated showers are not finite (first: row {int(rows[0])})")
    return layout.cut(x).cpu().numpy()
