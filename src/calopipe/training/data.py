"""Training data in memory and reproducible batches of it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from calopipe import seeds
from calopipe.errors import ConfigError, DataError
from calopipe.geometry import Geometry
from calopipe.io import file_info, read_incident_energies, read_showers
from calopipe.io.hdf5 import at, dataset, open_hdf5
from calopipe.io.read import Rows
from calopipe.io.selection import check_selection, chosen_rows
from calopipe.io.storage import check_stored
from calopipe.io.stored import remedy
from calopipe.training.job import Learned

log = logging.getLogger("calopipe")

#: rows that preprocessing and input standardisation are fitted on, at most
FIT_ROWS = 50_000


@dataclass(frozen=True)
class Encoded:
    """Latents of showers: mu, logvar (N, latent), extras (N, E), conditions (N, C), layer energies (N, L) in MeV.

    extras: columns that the autoencoder's preprocessing has added to its condition (energy ratios, numbers of hits).
    encoded_by: digest of the autoencoder they are of.
    """

    mu: Tensor
    logvar: Tensor
    extras: Tensor
    conditions: Tensor
    layer_energies: Tensor
    encoded_by: str


def own_block(path: Path, n: int, learned: Learned) -> slice:
    """Of n showers those that a training learns: all, or its own block of ``learned.showers``.

    Raises:
        ConfigError: there is no block of that number.
    """
    size, block = learned.showers, learned.block
    if size is None:
        return slice(0, n)
    first, last = block * size, (block + 1) * size
    if last > n:
        which = "" if learned.energies is None else " of the chosen energies"
        raise ConfigError(
            f"training_showers: {path} has {n} showers{which}, {n // size} blocks of {size}; seed {block} needs block {block} "
            "(they count from 0)"
        )
    log.info("training showers %d to %d of %d: block %d", first, last - 1, n, block)
    return slice(first, last)


def learned_rows(
    path: Path, learned: Learned, n: int, energies: Callable[[], NDArray[np.floating]], *, validation: bool = False
) -> Rows:
    """Rows that a training learns of its training split, or validates with: those of ``learned.energies``, or all.

    Of the training split only its own block of ``learned.showers`` of these.

    Args:
        n: rows of the file. energies: reads their incident energies (n,) in MeV.

    Raises:
        ConfigError: the split has no block of that number.
        DataError: no shower of the chosen energies.
    """
    chosen = None
    if learned.energies is not None:
        found = np.asarray(energies(), dtype=np.float64)
        try:
            check_selection(found, learned.energies, str(path))
        except DataError as error:
            raise DataError(f"training_energies_MeV: {error}") from None
        chosen = chosen_rows(found, learned.energies)
        log.info("%d of the %d showers of %s have the chosen incident energies", len(chosen), n, path)
    block = slice(0, n) if validation else own_block(path, n if chosen is None else len(chosen), learned)
    return block if chosen is None else chosen[block]


def shower_rows(path: Path, learned: Learned, validation: bool = False) -> Rows:
    """The rows of a file of showers, see :func:`learned_rows`."""
    n = file_info(path).n_showers
    return learned_rows(path, learned, n, lambda: read_incident_energies(path)[:, 0], validation=validation)


def load_showers(
    path: Path, geometry: Geometry, rows: Rows = None, conditions: Sequence[str] = ()
) -> tuple[Tensor, Tensor]:
    """Voxel energies (N, V) and conditions (N, 1 + C), incident energies in MeV first; DataError when there are none."""
    showers = read_showers(path, rows=rows, geometry=geometry, conditions=conditions)
    if len(showers.showers) == 0:
        raise DataError(f"{path}: no showers to train on")
    return torch.from_numpy(np.ascontiguousarray(showers.showers)), torch.from_numpy(showers.condition)


def load_latents(path: Path, learned: Learned | None = None, validation: bool = False) -> Encoded:
    """Read a file written by the encode stage: all of it, or the rows that a training learns, or validates with.

    Raises:
        DataError: missing, damaged, incomplete, or no file of latents.
    """
    try:
        return _read_latents(path, learned, validation)
    except DataError as error:
        raise DataError(f"{error}; {remedy(path)}" if remedy(path) else str(error)) from error


def _read_latents(path: Path, learned: Learned | None, validation: bool) -> Encoded:
    with open_hdf5(path) as file:
        found = {k: dataset(file, path, k) for k in ("mu", "logvar", "extras", "conditions", "layer_energies")}
        n, dim = found["conditions"].shape[:1], found["mu"].shape[1:]
        for key, part in found.items():
            if part.ndim != 2 or part.shape[:1] != n or (key == "logvar" and part.shape[1:] != dim):
                raise DataError(f"{path}: not a file of latents: '{key}' has shape {part.shape}")
            check_stored(part, path, key)
        with at(path):
            rows: Rows = slice(None)
            if learned is not None:
                rows = learned_rows(path, learned, n[0], lambda: found["conditions"][:, 0], validation=validation)
            arrays = {k: torch.from_numpy(np.asarray(part[rows], dtype=np.float32)) for k, part in found.items()}
            encoded_by = file.attrs.get("encoded_by")
    for key, array in arrays.items():
        if not torch.isfinite(array).all():
            raise DataError(f"{path}: '{key}' holds values that are not finite")
    if not isinstance(encoded_by, str):
        raise DataError(f"{path}: does not say which autoencoder its latents are of")
    return Encoded(**arrays, encoded_by=encoded_by)


def fit_rows(n: int, seed: int) -> Tensor:
    """Rows to fit preprocessing on: all, or a seeded random choice of FIT_ROWS."""
    if n <= FIT_ROWS:
        return torch.arange(n)
    return torch.from_numpy(np.sort(seeds.generator(seed, "fit rows").choice(n, FIT_ROWS, replace=False)))


def reflections(geometry: Geometry) -> Tensor:
    """Voxel permutations (4, V): identity, and the reflections of the first, the second and both cell indices."""
    if geometry.kind != "cartesian":
        raise ConfigError(f"reflections need a cartesian geometry, '{geometry.name}' is {geometry.kind}")
    rows = []
    for axes in ((), (0,), (1,), (0, 1)):
        parts = []
        for layer, part in enumerate(geometry.layer_slices):
            grid = np.arange(part.start, part.stop).reshape(geometry.layer_shape(layer))
            parts.append(np.flip(grid, axes).ravel() if axes else grid.ravel())
        rows.append(np.concatenate(parts))
    return torch.from_numpy(np.stack(rows))


class Batches:
    """Batches of rows of several tensors, in an order fixed by `seed`; the last, incomplete training batch is dropped.

    Args:
        tensors: tensors with the same number of rows.
        batch_size: rows per batch.
        seed: seed of the order, or None for file order and no dropped rows.
        permutations: (P, V) column permutations, one drawn per row for the first tensor; None for none.
    """

    def __init__(
        self, tensors: tuple[Tensor, ...], batch_size: int, seed: int | None = None, permutations: Tensor | None = None
    ) -> None:
        self.tensors, self.seed, self.permutations = tensors, seed, permutations
        self.n = tensors[0].shape[0]
        self.batch_size = min(batch_size, self.n)

    def __len__(self) -> int:
        return self.n // self.batch_size if self.seed is not None else -(-self.n // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        generator = None if self.seed is None else torch.Generator().manual_seed(self.seed)
        order = torch.arange(self.n) if generator is None else torch.randperm(self.n, generator=generator)
        for i in range(len(self)):
            rows = order[i * self.batch_size : (i + 1) * self.batch_size]
            first, *rest = (t[rows] for t in self.tensors)
            if self.permutations is not None and generator is not None:
                choice = torch.randint(len(self.permutations), (len(rows),), generator=generator)
                first = first.gather(1, self.permutations[choice])
            yield (first, *rest)


def refined_by(path: Path, name: str) -> dict[str, str]:
    """The digest of the network that made the showers a refiner learns from, by its name. DataError where none is told."""
    digest = file_info(path).attributes.get("made_by")
    if not isinstance(digest, str):
        raise DataError(f"{path}: does not say which network made its showers; {remedy(path) or 'make it anew'}")
    return {name: digest}
