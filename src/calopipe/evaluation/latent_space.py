"""What a run's networks make of Geant4 showers: an encoder's latents, and the noise that a flow maps data to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from calopipe import seeds
from calopipe.models.base import Autoencoder, GenerativeModel
from calopipe.models.building import draw
from calopipe.models.latent_target import LatentTarget
from calopipe.records.latent_space import Filling, save_space
from calopipe.sampling.generator import Generator, encode_batch, given_to
from calopipe.sampling.stages import chunks
from calopipe.training.checkpoint import Network


@torch.no_grad()
def measure_latent_space(checkpoints: Sequence[Path], showers: Path, out: Path, seed: int) -> None:
    """Histogram latents of test showers by every network that has some, and write them.

    An autoencoder gives means, log variances and draws of its latents, which the prior should look like, a flow the noise that it
    makes of data, which should be standard normal. Other networks have none.
    """
    generator = Generator.load(checkpoints, energies_known=True)
    torch.manual_seed(seeds.derive(seed, "latent space"))
    filled: dict[tuple[str, str], Filling] = {}
    for cond, voxels in chunks(showers, generator.main, "latent space"):
        for name, kind, values in _spaces(generator, cond, voxels):
            filled.setdefault((name, kind), Filling(kind)).add(values.float().cpu().numpy())
    save_space(out, {key: filling.marginals() for key, filling in filled.items()})


def _spaces(generator: Generator, cond: Tensor, voxels: Tensor) -> Iterator[tuple[str, str, Tensor]]:
    """Network, kind and values (N, D) of showers (N, V) in MeV."""
    energies = generator.data.layout.energies(voxels)
    learned = {"showers": voxels, "layer_energies": energies}
    for name, network in generator.networks.items():
        raw = given_to(network, cond, energies)
        if isinstance(network.model, Autoencoder):
            mu, logvar, extras, _ = encode_batch(network, voxels, raw)
            yield name, "means", mu
            yield name, "log_variances", logvar
            yield name, "latents", draw(mu, logvar)
            learned[name] = torch.cat([mu, logvar, extras], dim=1)
        elif isinstance(network.model, GenerativeModel):
            noise = _noise(network, learned[network.link.learns], raw)
            if noise is not None:
                yield name, "noise", noise


def _noise(network: Network, x: Tensor, raw: Tensor) -> Tensor | None:
    """What a flow makes of what it has learned; None where it cannot be inverted."""
    assert isinstance(network.model, GenerativeModel)
    if network.latent_dim is not None:
        d = network.latent_dim
        x = LatentTarget(network.settings.latents or "mu_sigma", d).assemble(x[:, :d], x[:, d : 2 * d], x[:, 2 * d :])
    y, cond, _ = network.chain(x, raw)
    return network.model.to_noise(y, cond)
