"""Sampling stages of the workflow: encode, generate, reconstruct."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from calopipe import seeds
from calopipe.config.evaluation import Generation
from calopipe.devices import pick_device
from calopipe.errors import DataError, GeometryError
from calopipe.geometry import Geometry, load_geometry
from calopipe.io import ShowerWriter, file_info, iter_showers, read_incident_energies
from calopipe.io.output import check_target, hdf5_output
from calopipe.io.stored import read_json, reading
from calopipe.sampling.generator import Generator, decode, encode_batch
from calopipe.training.checkpoint import Network, load_network

log = logging.getLogger("calopipe")

#: rows encoded or decoded at once
ROWS = 2000


def encode(autoencoder: Path, showers: Path, latents: Path) -> None:
    """Encode a shower file: write mu, logvar (N, latent), extras u (N, L) and incident_energies (N, 1).

    The attribute `encoded_by` holds the digest of the autoencoder, which a flow that learns the latents passes on.
    """
    check_target(latents, [autoencoder, showers])
    network = load_network(autoencoder, "autoencoder", pick_device("auto"))
    torch.manual_seed(seeds.derive(network.seed, "encode", showers.name))
    info = file_info(showers)
    _check_voxels(network, info.n_voxels, showers)
    with hdf5_output(latents) as output:
        start = 0
        output.file.attrs["encoded_by"] = network.digest()
        for energies, voxels in _chunks(showers, info.n_showers, "encode"):
            with torch.no_grad():
                x, incident = (torch.from_numpy(a).to(_device(network)) for a in (voxels, energies))
                mu, logvar, extras, _ = encode_batch(network, x, incident)
            parts = {"mu": mu, "logvar": logvar, "extras": extras, "incident_energies": incident}
            for name, part in parts.items():
                if name not in output.file:  # with checksums: damage is noticed when the file is read
                    output.file.create_dataset(name, (info.n_showers, part.shape[1]), "f4", fletcher32=True)
                output.file[name][start : start + len(part)] = part.cpu().numpy()
            output.check()
            start += len(energies)


def reconstruct(autoencoder: Path, showers: Path, out: Path, config: Generation, seed: int) -> None:
    """Encode showers, draw latents, decode: the best that a latent flow can reach with this autoencoder."""
    check_target(out, [autoencoder, showers])
    network = load_network(autoencoder, "autoencoder", pick_device(config.device))
    torch.manual_seed(seeds.derive(seed, "reconstruct"))
    info = file_info(showers)
    _check_voxels(network, info.n_voxels, showers)
    with _writer(out, network, seed, f"reconstruction of {showers.name} by {autoencoder.name}") as writer:
        for energies, voxels in _chunks(showers, info.n_showers, "reconstruct"):
            with torch.no_grad():
                x, incident = (torch.from_numpy(a).to(_device(network)) for a in (voxels, energies))
                mu, logvar, extras, _ = encode_batch(network, x, incident)
                z = mu + (0.5 * logvar).exp() * torch.randn_like(mu)
                y = decode(network, z, extras, incident)
            writer.append_arrays(energies, network.layout.cut(y).cpu().numpy())


def generate(
    flow: Path,
    autoencoder: Path | None,
    energies: Path,
    out: Path,
    config: Generation,
    seed: int,
    scores: Path | None = None,
) -> None:
    """Draw `config.factor` showers for every incident energy of a shower file.

    Args:
        flow: checkpoint of the flow; where `config.epoch` is not ``final``, the folder of the epochs that were kept.
        autoencoder: checkpoint of the decoder of a latent flow.
        energies: shower file with the incident energies.
        out: file to write; its attribute `source` says which epoch it was drawn from.
        scores: scores by epoch, which name the best one; needed where `config.epoch` is ``best``.

    Raises:
        DataError: no epoch is the best, or the asked one was not kept.
    """
    source = "generated"
    if config.epoch != "final":
        flow, source = kept_epoch(flow, config.epoch, scores)
        log.info("%s", source)
    check_target(out, [flow, autoencoder, energies])
    generator = Generator.load(flow, autoencoder, config.device)
    incident = read_incident_energies(energies)
    sample_to_file(generator, np.repeat(incident, config.factor, axis=0), out, config.batch_size, seed, source)


def kept_epoch(folder: Path, epoch: int | str, scores: Path | None) -> tuple[Path, str]:
    """The checkpoint of a kept epoch (its number, or ``best``: the one named in `scores`), and what to call its showers.

    Raises:
        DataError: no epoch is the best, or the asked one was not kept.
    """
    source = f"generated from epoch {epoch}"
    if epoch == "best":
        if scores is None:
            raise DataError("generation.epoch: 'best' needs scores_by_epoch.json, found no such file")
        best = read_json(scores)
        with reading(scores, "not the scores of epochs"):
            best = best["best"]
            if "epoch" not in best:
                raise DataError(f"{scores}: no epoch is the best by '{best['score']}': {best['missing']}")
            epoch = int(best["epoch"])
        source = f"generated from epoch {epoch}, the best by {best['score']}"
    path = folder / f"epoch-{epoch:05d}.pt"
    if not path.is_file():
        kept = ", ".join(str(int(p.stem.removeprefix("epoch-"))) for p in sorted(folder.glob("epoch-*.pt"))) or "none"
        raise DataError(f"{folder}: epoch {epoch} was not kept; found {kept}")
    return path, source


def sample_to_file(
    generator: Generator,
    incident: NDArray[np.float32],
    out: Path,
    batch_size: int,
    seed: int,
    source: str = "generated",
) -> None:
    """Draw one shower per incident energy (N, 1) in MeV into a CaloChallenge file, `batch_size` at a time.

    Energies outside those that the network was trained on are warned about; the file's attributes hold that range.
    """
    _warn(generator.flow, incident)
    torch.manual_seed(seeds.derive(seed, "generate"))
    with _writer(out, generator.flow, seed, source) as writer:
        for start in tqdm(range(0, len(incident), batch_size), "generate", disable=None, unit="batch"):
            part = incident[start : start + batch_size]
            writer.append_arrays(part, generator.sample(part))
    log.info("generated %d showers into %s", len(incident), out)


def _chunks(path: Path, n: int, label: str) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    with tqdm(total=n, desc=label, disable=None, unit="shower") as bar:
        for chunk in iter_showers(path, chunk_rows=ROWS):
            yield chunk.incident_energies, chunk.showers
            bar.update(len(chunk.showers))


def _device(network: Network) -> torch.device:
    return next(network.model.parameters()).device


def _check_voxels(network: Network, found: int, path: Path) -> None:
    if found != network.layout.n_voxels:
        raise GeometryError(
            f"{path}: {found} voxels per shower, but the checkpoint was trained on {network.layout.n_voxels}"
        )


def _warn(network: Network, incident: NDArray[np.float32]) -> None:
    complaint = network.trained.complaint(incident) if network.trained is not None else None
    if complaint is not None:
        log.warning("warning: %s", complaint)


def _writer(out: Path, network: Network, seed: int, source: str) -> ShowerWriter:
    attributes = {"seed": seed, "source": source, "threshold_MeV": network.layout.threshold_MeV}
    if network.trained is not None:
        attributes |= network.trained.attributes
    return ShowerWriter(out, geometry=_geometry(network), n_voxels=network.layout.n_voxels, attributes=attributes)


def _geometry(network: Network) -> Geometry | None:
    """The geometry a network was trained on, when it can still be found under its name."""
    try:
        geometry = load_geometry(network.geometry["name"], files=False)
    except GeometryError:
        return None
    return geometry if geometry.hash == network.geometry["hash"] else None
