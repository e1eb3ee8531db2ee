"""From raw shower files to the training, validation and test splits.

Per shower, in this order: negative voxels become zero where they are not refused, voxels below the threshold become zero
(the threshold is in physical MeV of the raw file), some of the layers are kept, and they are cropped, summed along the beam
and pooled where asked, voxel energies are multiplied by `energy_scale` (incident energies are not). Energy in other layers,
and outside the window of a cropped layer, is lost. Where layers are summed, the threshold
is that of the image: it comes after summing and pooling, since what cells under it add up to counts.
The attribute threshold_MeV of the written files is the threshold times the scale, i.e. it holds for the values in the
file; energy_scale is an attribute too, to be divided out for physical energies.

The split is one seeded permutation of all rows that are used (those of the chosen incident energies): the first ones are for training, then validation, then test, and the
order within each file is that of the permutation. Memory stays bounded for files of any length (calopipe.io.shuffle).
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from calopipe.config.base import validate
from calopipe.config.datasets import Crop, EnergySelection
from calopipe.config.layouts import Layout
from calopipe.errors import DataError
from calopipe.geometry import Geometry, load_geometry
from calopipe.io.checksum import file_hash, repeated
from calopipe.io.output import check_target
from calopipe.io.raw import RawFiles, Reading
from calopipe.io.recipe import Recipe
from calopipe.io.shuffle import Buckets
from calopipe.io.splits import SPLITS, check_split, origin, split_counts
from calopipe.io.stored import writing
from calopipe.io.tally import Tally
from calopipe.io.temporary import scratch
from calopipe.io.write import ShowerWriter
from calopipe.seeds import generator

log = logging.getLogger("calopipe")


def prepare(
    raw_paths: str | Path | Sequence[str | Path],
    outputs: Mapping[str, str | Path],
    geometry: Geometry | str,
    *,
    threshold_MeV: float | None = None,
    fractions: Sequence[float] = (0.7, 0.1, 0.2),
    seed: int = 0,
    energy_scale: float = 1.0,
    max_showers: int | None = None,
    layers: Sequence[int] | None = None,
    crop: Any = None,
    sum_layers: bool = False,
    pool: Sequence[int] | Sequence[Sequence[int]] | None = None,
    pool_by: Literal["mean", "sum"] = "mean",
    conditions: Sequence[str] = (),
    energies_MeV: Any = None,
    negative: Literal["refuse", "zero"] = "refuse",
    layout: Any = None,
    reference_paths: Sequence[str | Path] = (),
    compression: int = 2,
) -> dict[str, Any]:
    """Clean, shuffle and split showers into three files; peak memory does not depend on the length of the files.

    Args:
        raw_paths: one or more shower files (any layout that calopipe reads), pooled in this order.
        outputs: paths of the files to write, keys "train", "val" and "test".
        geometry: geometry (or its name) of the raw files.
        threshold_MeV: voxels below become zero; None takes the geometry's readout threshold.
        fractions: shares of (train, val, test), summing to 1.
        seed: seed of the permutation.
        energy_scale: factor on voxel energies.
        max_showers: use only the first showers of the pooled files (and of the pooled reference files), of those with the
            chosen energies.
        layers: numbers (from 0, increasing) of the layers that are kept, before all that follows; None: all.
        crop: cells of the central window (first, second index) that are kept, on a cartesian geometry of equal layers; or
            {"window": (15, 15), "centre": (15, 15)}, a :class:`~calopipe.config.datasets.Crop`.
        sum_layers: sum the layers along the beam into one image, after the crop; the threshold then cuts the image.
        pool: pooling kernel (first, second index) on a cartesian geometry, or several in turn, after crop and sum.
        pool_by: what pooling makes of the merged cells.
        conditions: names of the columns of the raw files that are kept beside the incident energies.
        energies_MeV: incident energies that are used, also of the reference: a list, {"low": ..., "high": ...}, or an
            :class:`~calopipe.config.datasets.EnergySelection`; None: all.
        negative: what negative voxels are: an error, or set to "zero" before anything else.
        layout: how the raw files (and those of the reference) are laid out, where it is not recognised: the name of a preset, a
            mapping or a :class:`~calopipe.config.layouts.Layout`.
        reference_paths: separate files for the test split (CaloChallenge); the raw files are then split into train and
            val alone, in the ratio of their fractions.
        compression: gzip level of the files written.

    Returns:
        Summary for a JSON file: settings, sources with checksums, and per split n, incident_energy_MeV [min, max],
        mean_energy_MeV, occupancy, conditions (name -> [min, max]), number and sum of negative voxels set to zero, file and sha256.

    Raises:
        DataError: a file listed twice, unreadable input, values that are not energies, no shower of the chosen energies,
            empty splits, a file that cannot be written.
        ConfigError: `energies_MeV` is no selection, `layout` no layout, or `crop` no window.
        GeometryError: the files do not fit the geometry, which has no such layers or cannot be cropped, summed or pooled.
    """
    geometry = load_geometry(geometry)
    kernels = () if pool is None else tuple(map(tuple, np.atleast_2d(np.asarray(pool)).tolist()))
    recipe = Recipe(
        geometry,
        geometry.threshold_MeV if threshold_MeV is None else float(threshold_MeV),
        float(energy_scale),
        None if layers is None else tuple(layers),
        None if crop is None else validate(Crop, crop, "crop"),
        sum_layers,
        kernels,
        pool_by,
    )
    check_split(fractions, outputs)
    chosen = energies_MeV if energies_MeV is None else validate(EnergySelection, energies_MeV, "energies_MeV")
    mapping = layout if layout is None else validate(Layout, layout, "layout")
    reading = Reading(geometry, tuple(conditions), chosen, max_showers, negative, mapping)
    pools = _pools([raw_paths] if isinstance(raw_paths, str | Path) else raw_paths, reference_paths, reading)
    job = _Job(recipe, reading, pools, {split: Path(outputs[split]) for split in SPLITS}, seed, compression)
    counts = split_counts(pools[0].n, fractions, pools[1].n if len(pools) > 1 else None)
    folder = job.check_files()
    with scratch("prepare", folder) as temporary:
        sources, splits = job.run(counts, temporary)
    return {
        **recipe.facts(),
        **reading.facts(),
        "seed": seed,
        "fractions": list(fractions),
        "sources": sources,
        "points_outside_MeV": sum(pool.outside_MeV for pool in pools),
        "splits": splits,
    }


def _pools(
    raw_paths: Sequence[str | Path], reference_paths: Sequence[str | Path], reading: Reading
) -> tuple[RawFiles, ...]:
    """The raw files and, where there are such, those of the reference."""
    if twice := repeated([*raw_paths, *reference_paths]):
        raise DataError(f"{twice}, and be among those trained on and those judged with")
    groups = (raw_paths, reference_paths) if reference_paths else (raw_paths,)
    return tuple(RawFiles([Path(path) for path in paths], reading) for paths in groups)


@dataclass(frozen=True)
class _Job:
    """Raw files (and those of the reference, if there are such) on their way to the files of the splits."""

    recipe: Recipe
    reading: Reading
    pools: tuple[RawFiles, ...]
    files: Mapping[str, Path]
    seed: int
    compression: int

    def check_files(self) -> Path:
        """Folder of the files to be written, which are none of those being read."""
        folder = self.files["train"].parent
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        for file in self.files.values():
            check_target(file, [path for pool in self.pools for path in pool.paths])
        return folder

    def run(self, counts: Mapping[str, int], temporary: Path) -> tuple[dict[str, Any], dict[str, Any]]:
        """Shuffle through files in the folder `temporary`, write: what is used of each raw file, and what each split holds."""
        n_voxels = self.recipe.output_geometry.n_voxels
        tallies = {split: Tally(self.reading.conditions) for split in SPLITS}
        parts = {s: Buckets(temporary, s, counts[s], n_voxels, self.reading.conditions) for s in SPLITS}
        raw, reference = self.pools[0], self.pools[1:]
        order = generator(self.seed, "split").permutation(raw.n)
        mine = {split: parts[split] for split in (SPLITS[:2] if reference else SPLITS)}
        _scatter(raw, self.recipe, order, mine, tallies)
        for pool in reference:
            order = generator(self.seed, "split", "test").permutation(pool.n)
            _scatter(pool, self.recipe, order, {"test": parts["test"]}, tallies)
        self._tell(tallies.values())
        sources = {"raw": raw.describe(), "reference": [file for pool in reference for file in pool.describe()]}
        return sources, self._write(sources, parts, tallies)

    def _tell(self, tallies: Collection[Tally]) -> None:
        """Log what the policy on negative voxels has cut off, and what the projection of points has lost."""
        if self.reading.negative != "refuse":
            number, total = sum(t.negative_voxels for t in tallies), sum(t.negative_MeV for t in tallies)
            log.info("%d negative voxels (%g MeV in all) are set to zero", number, total)
        points, outside = (sum(getattr(pool, name) for pool in self.pools) for name in ("points_MeV", "outside_MeV"))
        if points:
            log.info("%.2g %% of the points' energy lies outside the geometry", 100 * outside / points)

    def _write(
        self, sources: Mapping[str, list[dict[str, Any]]], parts: Mapping[str, Buckets], tallies: Mapping[str, Tally]
    ) -> dict[str, Any]:
        """Write the splits; no file gets its name before the showers of all three are written."""
        with ExitStack() as stack:
            for split in SPLITS:
                tally = tallies[split]
                out = stack.enter_context(self._writer(split, tally, origin(split, sources)))
                for showers in parts[split].take():
                    out.append(showers)
                    tally.add(showers)
                if tally.n and not tally.filled:
                    raise DataError(
                        f"prepare: every voxel of the {split} showers is below the threshold of "
                        f"{self.recipe.threshold_MeV:g} MeV (threshold_MeV of the dataset, of its geometry where it has "
                        "none): nothing is left to learn"
                    )
        n_voxels = self.recipe.output_geometry.n_voxels
        summaries = {split: tallies[split].summary(n_voxels) for split in SPLITS}
        return {s: {**summaries[s], "file": str(self.files[s]), "sha256": file_hash(self.files[s])} for s in SPLITS}

    def _writer(self, split: str, tally: Tally, source: Mapping[str, str]) -> ShowerWriter:
        zeroed = self.reading.negative == "zero"
        attributes = {
            "threshold_MeV": self.recipe.threshold_MeV * self.recipe.energy_scale,
            "energy_scale": self.recipe.energy_scale,
            **source,
            "seed": self.seed,
            "split": split,
            "negative_voxels": tally.negative_voxels if zeroed else None,
            "negative_MeV": tally.negative_MeV if zeroed else None,
        }
        return ShowerWriter(
            self.files[split],
            self.recipe.output_geometry,
            conditions=self.reading.conditions,
            attributes=attributes,
            compression=self.compression,
        )


def _scatter(
    raw: RawFiles, recipe: Recipe, order: NDArray[np.int64], parts: Mapping[str, Buckets], tallies: Mapping[str, Tally]
) -> None:
    """Send row order[k] of the pooled files to place k of the concatenated `parts`; count what is cut off."""
    places = np.empty(raw.n, dtype=np.int64)
    places[order] = np.arange(raw.n)
    bounds = np.cumsum([0, *(part.n_rows for part in parts.values())])
    start = 0
    for piece, cut in raw.pieces():
        showers, where = recipe.apply(piece), places[start : start + len(piece)]
        for (split, part), first, last in zip(parts.items(), bounds[:-1], bounds[1:], strict=True):
            mine = np.flatnonzero((where >= first) & (where < last))
            part.put(where[mine] - first, showers.select(mine))
            if cut is not None:
                tallies[split].cut_off(cut, mine)
        start += len(piece)
