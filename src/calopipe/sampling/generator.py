"""A trained generator: conditions in, showers out, through its chain of networks."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from calopipe.config.links import GeneratorChain, Link, chain_of
from calopipe.devices import pick_device, synchronise
from calopipe.errors import CheckpointError, DataError, NumericsError
from calopipe.models.base import Autoencoder, GenerativeModel, Refiner
from calopipe.models.latent_target import LatentTarget
from calopipe.preprocessing import Layout
from calopipe.training.checkpoint import Network, load_network
from calopipe.training.facts import DataFacts

#: file of a network's checkpoint in the folder of its name
CHECKPOINT = "model.pt"


@dataclass
class Generator:
    """Draws showers from the networks of a chain.

    Attributes:
        networks: by name, in the order of the chain.
        chain: how they work together.
        device: where they compute.
        seconds: None, or time spent in each network by name, to which sampling adds (and for which it waits for a GPU).
    """

    networks: dict[str, Network]
    chain: GeneratorChain
    device: torch.device
    seconds: dict[str, float] | None = None

    @classmethod
    def load(cls, checkpoints: Path | Sequence[Path], device: str = "auto", energies_known: bool = False) -> Generator:
        """Load checkpoints, or those in the folder of a run (``<network>/model.pt``), in any order.

        Args:
            energies_known: layer energies will be given to :meth:`sample`, so that no network needs to draw them.

        Raises:
            CheckpointError: unreadable, or they do not make one chain: one is missing, or two do not belong together.
        """
        where = pick_device(device)
        files = _files(checkpoints)
        loaded: dict[str, tuple[Path, Network]] = {}
        for path in files:
            network = load_network(path, device=where)
            name = network.link.name
            if network.link.contract == "EnergyRegressor":
                raise CheckpointError(f"{path}: a regressor cannot generate")
            if name in loaded:
                raise CheckpointError(f"{path}: a second checkpoint of network '{name}' besides {loaded[name][0]}")
            loaded[name] = path, network
        chain = _chain([network.link for _, network in loaded.values()], files, energies_known)
        _check_together(chain, loaded)
        return cls({link.name: loaded[link.name][1] for link in chain.links}, chain, where)

    @property
    def data(self) -> DataFacts:
        """Calorimeter, threshold and conditions of what it was trained on."""
        return self.main.data

    @property
    def main(self) -> Network:
        """The network whose output is the shower, before refinement, or the latents it is decoded from."""
        return self.networks[(self.chain.latents or self.chain.maker).name]

    @property
    def n_columns(self) -> int:
        """Voxels per shower, or columns."""
        return self.networks[self.chain.maker.name].dim

    @property
    def parameters(self) -> dict[str, int]:
        """Number of parameters of each network, with those of its preprocessing, in the order of the chain."""
        return {
            name: sum(p.numel() for part in network.parts.values() for p in part.parameters())
            for name, network in self.networks.items()
        }

    @property
    def has_draws(self) -> bool:
        """Whether weights of a network are distributions, of which :meth:`use_weights` chooses a draw."""
        models = (network.model for network in self.networks.values())
        return any(isinstance(model, GenerativeModel) and model.weight_draws for model in models)

    def use_weights(self, number: int | None) -> None:
        """Sample with draw `number` of weights that are distributions, from 0 on (as it is at first: 0), or with their means."""
        for network in self.networks.values():
            if isinstance(network.model, GenerativeModel) and network.model.weight_draws:
                network.model.use_weights(number)

    @torch.no_grad()
    def sample(
        self, conditions: ArrayLike, layer_energies: ArrayLike | None = None, batch_size: int | None = None
    ) -> NDArray[np.float32]:
        """Draw one shower per row of conditions, in order.

        Args:
            conditions: (N, C), or (N,) of incident energies alone; incident energies in MeV first.
            layer_energies: (N, L) in MeV, instead of those that a network of the chain draws.
            batch_size: rows that pass the networks at once, exactly; None: what is fast on the device.

        Returns:
            (N, V) voxel energies in MeV; below the readout threshold they are 0.

        Raises:
            DataError: another number of conditions, or values that are not finite (energies: positive).
            NumericsError: the network gave NaN.
        """
        rows = self._checked(conditions)
        given = None if layer_energies is None else torch.as_tensor(np.asarray(layer_energies, dtype=np.float32))
        every, pieces = np.arange(len(rows)), []
        if batch_size is None:
            parts = np.array_split(every, max(1, -(-len(rows) // self._rows())))
        else:
            parts = [every[i : i + batch_size] for i in range(0, max(1, len(rows)), batch_size)]
        for part in parts:
            energies = None if given is None else given[part].to(self.device)
            pieces.append(self._sample(rows[part].to(self.device), energies))
        return np.concatenate(pieces)

    def _checked(self, conditions: ArrayLike) -> Tensor:
        rows = np.asarray(conditions, dtype=np.float32)
        rows = rows[:, None] if rows.ndim == 1 else rows
        names = self.data.conditions
        if rows.ndim != 2 or rows.shape[1] != len(names):
            raise DataError(f"expected conditions ({', '.join(names)}) of shape (N, {len(names)}), found {rows.shape}")
        energies = np.ones(1) if self.data.columns else rows[:, 0]
        if not np.all(np.isfinite(energies) & (energies > 0)):
            raise DataError(f"incident energies must be finite and > 0 MeV, found {energies.min()} .. {energies.max()}")
        if not np.isfinite(rows).all():
            raise DataError(f"{names[int((~np.isfinite(rows)).any(0).argmax())]}: conditions must be finite")
        return torch.from_numpy(rows)

    @property
    def most_rows(self) -> int:
        """Rows at once that certainly fit into memory: one GiB for the showers alone; networks need a few times as much."""
        return max(1, 2**28 // self.n_columns)

    def _rows(self) -> int:
        """Rows drawn at once: what one piece holds stays in a CPU's cache, or in a small part of a GPU's memory."""
        models = (network.model for network in self.networks.values())
        wanted = [m.rows_at_once for m in models if isinstance(m, GenerativeModel) and m.rows_at_once is not None]
        values = 2**19 if self.device.type == "cpu" else 2**25
        return max(16, values // self.n_columns, *wanted)

    def _sample(self, cond: Tensor, energies: Tensor | None) -> NDArray[np.float32]:
        chain = self.chain
        if chain.energies is not None and energies is None:
            with self._clock(chain.energies):
                energies = draw(self.networks[chain.energies.name], cond)[0].clamp(min=0)
        maker = self.networks[chain.maker.name]
        if chain.autoencoder is None:
            with self._clock(chain.maker):
                x = draw(maker, given_to(maker, cond, energies))[0]
        else:
            x = self._decoded(maker, cond, energies)
        for link in chain.refiners:
            with self._clock(link):
                x = refine(self.networks[link.name], thresholded(x, maker.layout), cond, energies)
        return _finish(x, maker.layout)

    @contextmanager
    def _clock(self, link: Link) -> Iterator[None]:
        """Add the time of what is done in it to that of a network, where that is wanted."""
        if self.seconds is None:
            yield
            return
        synchronise(self.device.type)
        start = time.perf_counter()
        yield
        synchronise(self.device.type)
        self.seconds[link.name] = self.seconds.get(link.name, 0.0) + time.perf_counter() - start

    def _decoded(self, maker: Network, cond: Tensor, energies: Tensor | None) -> Tensor:
        """Showers of latents that a network has learned, or of the prior."""
        raw = given_to(maker, cond, energies)
        if self.chain.latents is None:
            assert isinstance(maker.model, Autoencoder)
            with self._clock(self.chain.maker):
                return decode(maker, maker.model.prior(maker.chain.condition(raw)), raw[:, :0], raw)
        latents = self.networks[self.chain.latents.name]
        assert latents.latent_dim is not None
        with self._clock(self.chain.latents):
            x, _ = draw(latents, given_to(latents, cond, energies))
        target = LatentTarget(latents.settings.latents or "mu_sigma", latents.latent_dim)
        with self._clock(self.chain.maker):
            return decode(maker, *target.take_apart(x), raw)


def _files(checkpoints: Path | Sequence[Path]) -> list[Path]:
    if not isinstance(checkpoints, Path):
        return list(checkpoints)
    if not checkpoints.is_dir():
        return [checkpoints]
    found = sorted(checkpoints.glob(f"*/{CHECKPOINT}"))
    if not found:
        raise CheckpointError(f"{checkpoints}: expected the folder of a run, found no <network>/{CHECKPOINT} in it")
    return found


def _chain(links: Sequence[Link], files: Sequence[Path], energies_known: bool) -> GeneratorChain:
    """The chain of these links, whatever their order."""
    order = {"layer_energies": 0, "autoencoder": 1, "flow": 1, "latent_flow": 2, "refiner": 3}
    first = sorted((link for link in links if link.role != "refiner"), key=lambda link: order[link.role])
    rest, last = [link for link in links if link.role == "refiner"], {link.name for link in first}
    while rest:
        following = next((link for link in rest if link.refined in last), rest[0])
        rest.remove(following)
        first.append(following)
        last.add(following.name)
    try:
        return chain_of(first, energies_known)
    except ValueError as error:
        names = ", ".join(f"{path}" for path in files)
        raise CheckpointError(
            f"{names}: these checkpoints make no generator: {str(error).removeprefix(': ')}"
        ) from None


def _check_together(chain: GeneratorChain, loaded: Mapping[str, tuple[Path, Network]]) -> None:
    """Raise CheckpointError where a network has learned the output of others, or of another calorimeter."""
    maker_path, maker = loaded[chain.maker.name]
    added = maker.inputs.conditions[len(maker.data.names(maker.link)) :]
    if chain.autoencoder is not None and chain.latents is None and added:
        raise CheckpointError(
            f"{maker_path}: an autoencoder whose condition holds {added[0]}, ... of the showers cannot generate alone; pass the "
            "checkpoint of the network that learned its latents too"
        )
    for link in chain.links:
        path, network = loaded[link.name]
        if network.data != maker.data:
            raise CheckpointError(f"{path}: trained on {_data(network.data)}, but {maker_path} on {_data(maker.data)}")
        for other, digest in network.upstream.items():
            if loaded[other][1].digest() != digest:
                raise CheckpointError(
                    f"{path}: learned the output of another training (or seed) of '{other}' than the one in {loaded[other][0]}"
                )


def _data(data: DataFacts) -> str:
    name = f"columns {', '.join(data.columns)}" if data.shape is None else f"geometry {data.shape.name}"
    return f"{name} (threshold {data.threshold_MeV:g} MeV, conditions {', '.join(data.conditions)})"


def given_to(network: Network, cond: Tensor, energies: Tensor | None) -> Tensor:
    """What a network is given, before its preprocessing: conditions (N, C), and layer energies (N, L) where it wants them."""
    if not network.link.gets_energies:
        return cond
    if energies is None:
        raise CheckpointError(
            f"network '{network.link.name}' needs layer energies, and none of the networks draws them"
        )
    return torch.cat([cond, energies], dim=1)


def draw(network: Network, raw: Tensor) -> tuple[Tensor, Tensor]:
    """Draw what a generative model has learned, given `raw` (see :func:`given_to`): x and the condition, postprocessed."""
    assert isinstance(network.model, GenerativeModel)
    cond = network.chain.condition(raw)
    return network.chain.inverse(network.model.sample(cond), cond)


def encode_batch(network: Network, showers: Tensor, raw: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(mu, logvar, extras, the model's full condition) of showers (N, V) in MeV."""
    assert isinstance(network.model, Autoencoder)
    x, cond, _ = network.chain(showers, raw)
    mu, logvar = network.model.encode(x, cond)
    return mu, logvar, cond[:, raw.shape[1] :], cond


def decode(network: Network, z: Tensor, extras: Tensor, raw: Tensor) -> Tensor:
    """Voxel energies (N, V) in MeV of latents z, extras (N, E) and what the network is given."""
    assert isinstance(network.model, Autoencoder)
    cond = network.chain.condition(torch.cat([raw, extras], dim=1))
    return network.chain.inverse(network.model.decode(z, cond), cond)[0]


def refine(network: Network, showers: Tensor, cond: Tensor, energies: Tensor | None) -> Tensor:
    """Showers (N, V) in MeV made better by a refiner."""
    assert isinstance(network.model, Refiner)
    x, given, _ = network.chain(showers, given_to(network, cond, energies))
    return network.chain.inverse(network.model.refine(x, given), given)[0]


def thresholded(x: Tensor, layout: Layout) -> Tensor:
    """Showers (N, V) in MeV without what is below the readout threshold; other columns as they are."""
    return layout.cut(x) if layout.layer_shapes else x


def _finish(x: Tensor, layout: Layout) -> NDArray[np.float32]:
    if not torch.isfinite(x).all():
        rows = (~torch.isfinite(x)).any(1).nonzero().flatten()
        raise NumericsError(f"{len(rows)} of {len(x)} generated showers are not finite (first: row {int(rows[0])})")
    return thresholded(x, layout).cpu().numpy()
