"""Sampling stages of the workflow: encode, reconstruct, remake, generate."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from tqdm import tqdm

from calopipe import seeds
from calopipe.config.evaluation import Generation
from calopipe.devices import pick_device
from calopipe.errors import DataError, GeometryError
from calopipe.io import Columns, ShowerWriter, file_info, iter_showers, read_columns, read_conditions, write_columns
from calopipe.io.output import check_target, hdf5_output
from calopipe.io.stored import read_json, reading
from calopipe.records.samples import DRAWS, TRAININGS, draw_of, training_of
from calopipe.sampling.generator import Generator, decode, draw, encode_batch, given_to, refine
from calopipe.sampling.mixture import Mixture
from calopipe.training.checkpoint import Network, load_network
from calopipe.training.facts import DataFacts

log = logging.getLogger("calopipe")

#: rows read, encoded or written at once
ROWS = 2000


def encode(autoencoder: Path, showers: Path, latents: Path) -> None:
    """Encode a shower file: write mu, logvar (N, latent), extras (N, E), conditions (N, C) and layer_energies (N, L).

    The attribute `encoded_by` holds the digest of the autoencoder, which a network that learns the latents passes on.
    """
    check_target(latents, [autoencoder, showers])
    network = load_network(autoencoder, "Autoencoder", pick_device("auto"))
    torch.manual_seed(seeds.derive(network.seed, "encode", showers.name))
    info = file_info(showers)
    _check_voxels(network, info.n_voxels, showers)
    with hdf5_output(latents) as output:
        start = 0
        output.file.attrs["encoded_by"] = network.digest()
        for cond, voxels in chunks(showers, network, "encode"):
            with torch.no_grad():
                energies = network.layout.energies(voxels)
                mu, logvar, extras, _ = encode_batch(network, voxels, given_to(network, cond, energies))
            parts = {"mu": mu, "logvar": logvar, "extras": extras, "conditions": cond, "layer_energies": energies}
            for name, part in parts.items():
                if name not in output.file:  # with checksums: damage is noticed when the file is read
                    output.file.create_dataset(name, (info.n_showers, part.shape[1]), "f4", fletcher32=True)
                output.file[name][start : start + len(part)] = part.cpu().numpy()
            output.check()
            start += len(cond)


def reconstruct(autoencoder: Path, showers: Path, out: Path, config: Generation, seed: int) -> None:
    """Encode showers, draw latents, decode: the best that what is learned of the latents can reach with this autoencoder."""
    check_target(out, [autoencoder, showers])
    network = load_network(autoencoder, "Autoencoder", pick_device(config.device))
    torch.manual_seed(seeds.derive(seed, "reconstruct"))
    _check_voxels(network, file_info(showers).n_voxels, showers)
    with _writer(out, network, seed, f"reconstruction of {showers.name} by {autoencoder.name}") as writer:
        for cond, voxels in chunks(showers, network, "reconstruct"):
            with torch.no_grad():
                made = _reconstructed(network, cond, voxels)
            _append(writer, cond, network.layout.cut(made))


def _reconstructed(network: Network, cond: Tensor, voxels: Tensor) -> Tensor:
    """Showers (N, V) in MeV through an autoencoder, given their own layer energies."""
    raw = given_to(network, cond, network.layout.energies(voxels))
    mu, logvar, extras, _ = encode_batch(network, voxels, raw)
    z = mu + (0.5 * logvar).exp() * torch.randn_like(mu)
    return decode(network, z, extras, raw)


def remake(checkpoints: Sequence[Path], showers: Path, out: Path, seed: int) -> None:
    """Showers as a chain makes them, one for each shower of a file, for a refiner to learn from: reconstructed where the
    chain has an autoencoder, else drawn at its conditions (and layer energies); and refined by the refiners of the chain.

    The attribute `made_by` holds the digest of the last network, which the refiner passes on.
    """
    check_target(out, [*checkpoints, showers])
    generator = Generator.load(checkpoints, energies_known=True)
    maker = generator.networks[generator.chain.maker.name]
    last = generator.networks[generator.chain.last.name]
    torch.manual_seed(seeds.derive(seed, "remake", showers.name))
    _check_voxels(maker, file_info(showers).n_voxels, showers)
    attributes = {"made_by": last.digest()}
    with _writer(out, maker, seed, f"{showers.name}, remade by {last.link.name}", attributes) as writer:
        for cond, voxels in chunks(showers, maker, "remake"):
            energies = maker.layout.energies(voxels)
            with torch.no_grad():
                if generator.chain.autoencoder is None:
                    made = draw(maker, given_to(maker, cond, energies))[0]
                else:
                    made = _reconstructed(maker, cond, voxels)
                for link in generator.chain.refiners:
                    made = refine(generator.networks[link.name], maker.layout.cut(made), cond, energies)
            _append(writer, cond, maker.layout.cut(made))


def generate(
    checkpoints: Sequence[Path],
    energies: Path,
    out: Path,
    config: Generation,
    seed: int,
    scores: Sequence[Path] = (),
    *,
    trainings: int = 1,
) -> None:
    """Draw `config.factor` showers for every shower of a file: for its conditions and, where asked for, layer energies.

    Args:
        checkpoints: of all networks of the chain, in order; the last is the folder of the epochs that were kept where
            `config.epoch` is not ``final``. Of several trainings: of one after the other.
        energies: shower file with the conditions.
        out: file to write; its attribute `source` says which epoch it was drawn from.
        scores: scores by epoch of each training, which name its best one; needed where `config.epoch` is ``best``.
        trainings: how many trainings the showers are drawn from, in equal parts.

    Raises:
        DataError: no epoch is the best, or the asked one was not kept.
        CheckpointError: the trainings are not of the same data, or two are the same.
    """
    size = len(checkpoints) // trainings
    parts = [
        _chosen(checkpoints[i * size : (i + 1) * size], config, scores[i] if scores else None) for i in range(trainings)
    ]
    check_target(out, [*(path for files, _ in parts for path in files), energies])
    known = config.layer_energies == "true"
    generators = [Generator.load(files, config.device, energies_known=known) for files, _ in parts]
    generator, source = generators[0], parts[0][1]
    names = [f"{', '.join(map(str, files))}: {what}" for files, what in parts]
    mixture = Mixture.of(generators, names) if trainings > 1 else None
    conditions = np.repeat(conditions_of(energies, generator.data), config.factor, axis=0)
    given = None
    if config.layer_energies == "true":
        given = np.repeat(
            _layer_energies(energies, generator.networks[generator.chain.maker.name]), config.factor, axis=0
        )
    if config.draws > len(conditions):
        raise DataError(f"generation.draws: {config.draws}, but {energies} asks for {len(conditions)} showers only")
    draws = config.draws if generator.has_draws and mixture is None else 1
    sample_to_file(
        mixture or generator, conditions, out, config.batch_size, seed, source=source, layer_energies=given, draws=draws
    )


def _chosen(files: Sequence[Path], config: Generation, scores: Path | None) -> tuple[list[Path], str]:
    """Checkpoints of one training, of the epoch that is asked for, and what to call their showers."""
    *others, last = files
    if config.epoch == "final":
        return [*others, last], "generated"
    chosen, source = kept_epoch(last, config.epoch, scores)
    log.info("%s", source)
    return [*others, chosen], source


def conditions_of(path: Path, data: DataFacts) -> NDArray[np.float32]:
    """What the rows of a file depend on, (N, C), of showers or of columns."""
    if not data.columns:
        return read_conditions(path, data.further)
    return read_columns(path, data.columns, data.conditions).condition


def _layer_energies(showers: Path, network: Network) -> NDArray[np.float32]:
    """Layer energies (N, L) in MeV of a shower file."""
    return np.concatenate([network.layout.energies(x).cpu().numpy() for _, x in chunks(showers, network, "energies")])


def kept_epoch(folder: Path, epoch: int | str, scores: Path | None) -> tuple[Path, str]:
    """The checkpoint of a kept epoch (its number, or ``best``: the one named in `scores`), and what to call its showers.

    Raises:
        DataError: no epoch is the best, or the asked one was not kept.
    """
    source = f"generated from epoch {epoch}"
    if epoch == "best":
        epoch, source = best_of(scores)
    path = folder / f"epoch-{epoch:05d}.pt"
    if not path.is_file():
        kept = ", ".join(str(int(p.stem.removeprefix("epoch-"))) for p in sorted(folder.glob("epoch-*.pt"))) or "none"
        raise DataError(f"{folder}: epoch {epoch} was not kept; found {kept}")
    return path, source


def best_of(scores: Path | None) -> tuple[int, str]:
    """Number of the best epoch, and what to call its showers. DataError where none is the best."""
    if scores is None:
        raise DataError("generation.epoch: 'best' needs scores_by_epoch.json, found no such file")
    found = read_json(scores)
    with reading(scores, "not the scores of epochs"):
        best = found["best"]
        if "epoch" not in best:
            raise DataError(f"{scores}: no epoch is the best by '{best['score']}': {best['missing']}")
        epoch = int(best["epoch"])
    return epoch, f"generated from epoch {epoch}, the best by {best['score']}"


def sample_to_file(
    generator: Generator | Mixture,
    conditions: NDArray[np.float32],
    out: Path,
    batch_size: int | None,
    seed: int,
    *,
    source: str = "generated",
    layer_energies: NDArray[np.float32] | None = None,
    draws: int = 1,
) -> None:
    """Draw one shower per row of conditions (N, C), incident energies in MeV first, into a CaloChallenge file; or one row of
    columns, into a file of columns.

    `batch_size` showers pass the networks at once; None: what is fast on the device. With several `draws` of the weights row i is made by
    draw i modulo `draws`, and the attribute `draws` says so. Each training of a mixture makes an equal part of the rows, in random order
    (:func:`calopipe.records.samples.training_of`), and the attribute `trainings` names them.

    Conditions outside those that the networks were trained on are warned about; the file's attributes hold that range.
    """
    main = generator.main
    complaint = main.trained.complaint(conditions) if main.trained is not None else None
    if complaint is not None:
        log.warning("warning: %s", complaint)
    torch.manual_seed(seeds.derive(seed, "generate"))
    further: dict[str, Any] = {DRAWS: draws} if draws > 1 else {}
    which = draw_of(np.arange(len(conditions)), draws) if draws > 1 else None
    if isinstance(generator, Mixture):
        which, source = training_of(len(conditions), len(generator.parts), seed), generator.source
        further[TRAININGS] = "\n".join(generator.names)
    if generator.data.columns:
        _columns_to_file(generator, conditions, which, out, batch_size, {"seed": seed, "source": source, **further})
        return
    with _writer(out, main, seed, source, further) as writer:
        step = batch_size or ROWS
        for start in tqdm(range(0, len(conditions), step), "generate", disable=None, unit="batch"):
            part = slice(start, start + step)
            given = None if layer_energies is None else layer_energies[part]
            makers = None if which is None else which[part]
            _append(writer, conditions[part], _by_maker(generator, conditions[part], given, batch_size, makers))
    log.info("generated %d showers into %s", len(conditions), out)


def _by_maker(
    generator: Generator | Mixture,
    conditions: NDArray[np.float32],
    energies: NDArray[np.float32] | None,
    batch_size: int | None,
    which: NDArray[np.int64] | None,
) -> NDArray[np.float32]:
    """Showers (n, V), or rows of columns, each by the draw of the weights, or the training of the mixture, that `which` (n,) says."""
    if which is None:
        assert isinstance(generator, Generator)
        return generator.sample(conditions, energies, batch_size)
    out = np.empty((len(conditions), generator.n_columns), dtype=np.float32)
    for number in np.unique(which):
        rows, maker = which == number, _maker(generator, int(number))
        out[rows] = maker.sample(conditions[rows], None if energies is None else energies[rows], batch_size)
    return out


def _maker(generator: Generator | Mixture, number: int) -> Generator:
    """What makes the rows of one draw of the weights, or of one training of a mixture."""
    if isinstance(generator, Mixture):
        return generator.parts[number]
    generator.use_weights(number)
    return generator


def _columns_to_file(
    generator: Generator | Mixture,
    conditions: NDArray[np.float32],
    which: NDArray[np.int64] | None,
    out: Path,
    batch_size: int | None,
    facts: Mapping[str, Any],
) -> None:
    """Draw one row of columns per row of conditions."""
    data, trained = generator.data, generator.main.trained
    drawn = _by_maker(generator, conditions, None, batch_size, which)
    values = {name: drawn[:, i] for i, name in enumerate(data.columns)}
    given = {name: conditions[:, i] for i, name in enumerate(data.conditions)}
    attributes = {**facts, **({} if trained is None else trained.attributes)}
    write_columns(out, Columns(values, given, "generated columns"), attributes=attributes)
    log.info("generated %d rows into %s", len(drawn), out)


def chunks(path: Path, network: Network, label: str) -> Iterator[tuple[Tensor, Tensor]]:
    """Conditions and voxel energies of a shower file, piece by piece, where the network is."""
    names = network.data.conditions[1:]
    with tqdm(total=file_info(path).n_showers, desc=label, disable=None, unit="shower") as bar:
        for chunk in iter_showers(path, chunk_rows=ROWS, conditions=names):
            cond, voxels = (torch.from_numpy(a).to(_device(network)) for a in (chunk.condition, chunk.showers))
            yield cond, voxels
            bar.update(len(chunk.showers))


def _append(writer: ShowerWriter, cond: ArrayLike, showers: ArrayLike) -> None:
    writer.append_arrays(*(x.cpu().numpy() if isinstance(x, Tensor) else x for x in (cond, showers)))


def _device(network: Network) -> torch.device:
    return next(network.model.parameters()).device


def _check_voxels(network: Network, found: int, path: Path) -> None:
    if found != network.layout.n_voxels:
        raise GeometryError(
            f"{path}: {found} voxels per shower, but the checkpoint was trained on {network.layout.n_voxels}"
        )


def _writer(
    out: Path, network: Network, seed: int, source: str, further: Mapping[str, Any] | None = None
) -> ShowerWriter:
    attributes = {"seed": seed, "source": source, "threshold_MeV": network.layout.threshold_MeV, **(further or {})}
    if network.trained is not None:
        attributes |= network.trained.attributes
    names = network.data.conditions[1:]
    return ShowerWriter(out, network.data.shape, network.layout.n_voxels, conditions=names, attributes=attributes)
