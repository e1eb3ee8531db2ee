"""What networks learn: showers of prepared files, and latents."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from calopipe.config.links import LAYER_ENERGIES, Link
from calopipe.errors import ConfigError, DataError
from calopipe.geometry import Geometry
from calopipe.io import file_info, read_conditions, read_incident_energies, read_showers
from calopipe.io.hdf5 import at, dataset, open_hdf5
from calopipe.io.selection import check_selection, chosen_rows
from calopipe.io.storage import check_stored
from calopipe.io.stored import remedy
from calopipe.training.facts import DataFacts
from calopipe.training.job import Learned, TrainingJob
from calopipe.training.rows import Rows, rows_of

log = logging.getLogger("calopipe")

#: rows of a file
Numbers = slice | NDArray[np.int64]


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
) -> Numbers:
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


def shower_rows(path: Path, learned: Learned, validation: bool = False) -> Numbers:
    """The rows of a file of showers, see :func:`learned_rows`."""
    n = file_info(path).n_showers
    return learned_rows(path, learned, n, lambda: read_incident_energies(path)[:, 0], validation=validation)


def load_showers(
    path: Path, geometry: Geometry, rows: Numbers | None = None, conditions: Sequence[str] = ()
) -> tuple[Tensor, Tensor]:
    """Voxel energies (N, V) and conditions (N, 1 + C), incident energies in MeV first; DataError when there are none."""
    showers = read_showers(path, rows=rows, geometry=geometry, conditions=conditions)
    if len(showers.showers) == 0:
        raise DataError(f"{path}: no showers to train on")
    return torch.from_numpy(np.ascontiguousarray(showers.showers)), torch.from_numpy(showers.condition)


@dataclass(frozen=True)
class ShowerPart:
    """What a network learns of a prepared file: some of its showers, or their layer energies, and what it is given.

    Attributes:
        numbers: rows of the file. conditions: names of further ones, after the incident energy.
        made: file of the same showers as the chain before a refiner made them.
    """

    path: Path
    numbers: Numbers
    conditions: tuple[str, ...]
    link: Link
    data: DataFacts
    made: Path | None = None

    @classmethod
    def of(
        cls, path: Path, job: TrainingJob, link: Link, data: DataFacts, made: Path | None, validation: bool
    ) -> ShowerPart:
        """Of one of the splits of a training. Raises DataError: there are no showers; ConfigError like :func:`own_block`."""
        return cls(path, shower_rows(path, job.learned, validation), job.conditions, link, data, made)

    def rows(self, window_MB: float) -> Rows:
        """x (N, V or L), of a refiner followed by what it refines (N, V), and conditions (N, C); in windows of so many MB."""
        conditions = torch.from_numpy(read_conditions(self.path, self.conditions)[self.numbers])
        if not len(conditions):
            raise DataError(f"{self.path}: no showers to train on")
        x, cond = self.read(slice(0, 1))
        return rows_of(conditions, 4 * (x.shape[1] + cond.shape[1]), window_MB, self.read)

    def read(self, part: slice) -> tuple[Tensor, Tensor]:
        """x and conditions of some of the rows."""
        numbers, geometry = _part_of(self.numbers, part), self.data.shape
        assert geometry is not None
        x, cond = load_showers(self.path, geometry, numbers, self.conditions)
        if self.link.gets_energies:
            cond = torch.cat([cond, self.data.layout.energies(x)], dim=1)
        if self.link.learns == LAYER_ENERGIES:
            x = self.data.layout.energies(x)
        elif self.made is not None:
            x = torch.cat([x, load_showers(self.made, geometry, numbers, self.conditions)[0]], dim=1)
        return x, cond


def _part_of(numbers: Numbers, part: slice) -> Numbers:
    if isinstance(numbers, slice):
        return slice(numbers.start + part.start, min(numbers.start + part.stop, numbers.stop))
    return numbers[part]


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
            rows: Numbers = slice(None)
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


def refined_by(path: Path, name: str) -> dict[str, str]:
    """The digest of the network that made the showers a refiner learns from, by its name. DataError where none is told."""
    digest = file_info(path).attributes.get("made_by")
    if not isinstance(digest, str):
        raise DataError(f"{path}: does not say which network made its showers; {remedy(path) or 'make it anew'}")
    return {name: digest}
