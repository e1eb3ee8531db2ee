"""From raw shower files to the training, validation and test splits.

Per shower, in this order: negative voxels become zero where they are not refused, voxels below the threshold become zero
(the threshold is in physical MeV of the raw file), the layers are cropped, summed along the beam and pooled where asked, voxel energies are multiplied by `energy_scale`
(incident energies are not). Energy outside the window of a cropped layer is lost. Where layers are summed, the threshold
is that of the image: it comes after summing and pooling, since what cells under it add up to counts.
The attribute threshold_MeV of the written files is the threshold times the scale, i.e. it holds for the values in the
file; energy_scale is an attribute too, to be divided out for physical energies.

The split is one seeded permutation of all rows that are used (those of the chosen incident energies): the first ones are for training, then validation, then test, and the
order within each file is that of the permutation. Memory stays bounded for files of any length (calopipe.io.shuffle).
"""

from __future__ import annotations

import logging
import math
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from calopipe.config.base import validate
from calopipe.config.datasets import EnergySelection
from calopipe.config.layouts import Layout
from calopipe.errors import DataError
from calopipe.geometry import Geometry, load_geometry
from calopipe.io.checksum import file_hash, repeated
from calopipe.io.output import check_target
from calopipe.io.raw import Cut, RawFiles, Reading
from calopipe.io.recipe import Recipe
from calopipe.io.showers import Showers
from calopipe.io.shuffle import Buckets
from calopipe.io.stored import writing
from calopipe.io.temporary import scratch
from calopipe.io.write import ShowerWriter
from calopipe.seeds import generator

log = logging.getLogger("calopipe")

SPLITS = ("train", "val", "test")


@dataclass
class _Tally:
    """Running statistics of one split; `lowest` and `highest` incident energy and conditions."""

    conditions: tuple[str, ...]
    n: int = 0
    filled: int = 0
    energy: float = 0.0
    negative_voxels: int = 0
    negative_MeV: float = 0.0
    lowest: Any = math.inf
    highest: Any = -math.inf

    def add(self, showers: Showers) -> None:
        self.n += len(showers)
        self.filled += int(np.count_nonzero(showers.showers))
        self.energy += float(showers.showers.sum(dtype=np.float64))
        condition = showers.condition.astype(np.float64)
        self.lowest = np.minimum(self.lowest, condition.min(axis=0))
        self.highest = np.maximum(self.highest, condition.max(axis=0))

    def cut_off(self, cut: Cut, rows: NDArray[np.int64]) -> None:
        self.negative_voxels += int(cut.voxels[rows].sum())
        self.negative_MeV += float(cut.sum_MeV[rows].sum())

    def summary(self, n_voxels: int) -> dict[str, Any]:
        ranges = (
            np.stack([self.lowest, self.highest], axis=1).tolist() if self.n else [None] * (1 + len(self.conditions))
        )
        return {
            "n": self.n,
            "incident_energy_MeV": ranges[0],
            "mean_energy_MeV": self.energy / self.n if self.n else None,
            "occupancy": self.filled / (self.n * n_voxels) if self.n else None,
            "conditions": dict(zip(self.conditions, ranges[1:], strict=True)),
            "negative_voxels": self.negative_voxels,
            "negative_MeV": self.negative_MeV,
        }


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
    crop: Sequence[int] | None = None,
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
        crop: cells of the central window (first, second index) that are kept, on a cartesian geometry of equal layers.
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
        ConfigError: `energies_MeV` is no selection, or `layout` no layout.
        GeometryError: the files do not fit the geometry, or it cannot be cropped, summed or pooled.
    """
    geometry = load_geometry(geometry)
    window = None if crop is None else (int(crop[0]), int(crop[1]))
    kernels = () if pool is None else tuple(map(tuple, np.atleast_2d(np.asarray(pool)).tolist()))
    threshold = geometry.threshold_MeV if threshold_MeV is None else float(threshold_MeV)
    recipe = Recipe(geometry, threshold, float(energy_scale), window, sum_layers, kernels, pool_by)
    check_split(fractions, outputs)
    _check(recipe)
    chosen = energies_MeV if energies_MeV is None else validate(EnergySelection, energies_MeV, "energies_MeV")
    mapping = layout if layout is None else validate(Layout, layout, "layout")
    reading = Reading(geometry, tuple(conditions), chosen, max_showers, negative, mapping)
    paths = [raw_paths] if isinstance(raw_paths, str | Path) else raw_paths
    if twice := repeated([*paths, *reference_paths]):
        raise DataError(f"{twice}, and be among those trained on and those judged with")
    raw = RawFiles([Path(path) for path in paths], reading)
    reference = RawFiles([Path(path) for path in reference_paths], reading) if reference_paths else None
    counts = split_counts(raw.n, fractions, None if reference is None else reference.n)
    files = {split: Path(outputs[split]) for split in SPLITS}
    folder = files["train"].parent
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    for file in files.values():
        check_target(file, [*raw.paths, *([] if reference is None else reference.paths)])
    tallies = {split: _Tally(reading.conditions) for split in SPLITS}
    with scratch("prepare", folder) as temporary:
        n_voxels = recipe.output_geometry.n_voxels
        parts = {s: Buckets(temporary, s, counts[s], n_voxels, reading.conditions) for s in SPLITS}
        order = generator(seed, "split").permutation(raw.n)
        if reference is None:
            _scatter(raw, recipe, order, parts, tallies)
        else:
            _scatter(raw, recipe, order, {s: parts[s] for s in ("train", "val")}, tallies)
            order = generator(seed, "split", "test").permutation(reference.n)
            _scatter(reference, recipe, order, {"test": parts["test"]}, tallies)
        pools = [raw] if reference is None else [raw, reference]
        _tell(negative, tallies.values(), pools)
        sources = {"raw": raw.describe(), "reference": [] if reference is None else reference.describe()}
        splits = _write(_Job(recipe, reading, files, sources, seed, compression), parts, tallies)
    return {
        "geometry": recipe.output_geometry.name,
        "geometry_hash": recipe.output_geometry.hash,
        "threshold_MeV": threshold,
        "energy_scale": recipe.energy_scale,
        "crop": None if window is None else list(window),
        "sum_layers": sum_layers,
        "pool": [list(kernel) for kernel in kernels],
        "pool_by": pool_by,
        "conditions": list(reading.conditions),
        "energies_MeV": None if chosen is None else chosen.model_dump(mode="json"),
        "negative": negative,
        "layout": None if mapping is None else mapping.model_dump(mode="json"),
        "seed": seed,
        "fractions": list(fractions),
        "max_showers": max_showers,
        "sources": sources,
        "points_outside_MeV": sum(pool.outside_MeV for pool in pools),
        "splits": splits,
    }


def _scatter(
    raw: RawFiles, recipe: Recipe, order: NDArray[np.int64], parts: Mapping[str, Buckets], tallies: Mapping[str, _Tally]
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


def _tell(negative: str, tallies: Collection[_Tally], pools: Collection[RawFiles]) -> None:
    """Log what the policy on negative voxels has cut off, and what the projection of points has lost."""
    if negative != "refuse":
        number, total = sum(t.negative_voxels for t in tallies), sum(t.negative_MeV for t in tallies)
        log.info("%d negative voxels (%g MeV in all) are set to zero", number, total)
    points, outside = sum(pool.points_MeV for pool in pools), sum(pool.outside_MeV for pool in pools)
    if points:
        log.info("%.2g %% of the points' energy lies outside the geometry", 100 * outside / points)


def check_split(fractions: Sequence[float], outputs: Mapping[str, Any]) -> None:
    """Raise DataError unless there is an output for each split, and the fractions are such."""
    if sorted(outputs) != sorted(SPLITS):
        raise DataError(f"prepare: outputs must be {', '.join(SPLITS)}, found {', '.join(outputs) or 'none'}")
    if len(fractions) != 3 or not all(0 <= f <= 1 for f in fractions) or abs(sum(fractions) - 1) > 1e-9:
        raise DataError(f"prepare: fractions must be three numbers in [0, 1] that sum to 1, found {list(fractions)}")


def _check(recipe: Recipe) -> None:
    if not (math.isfinite(recipe.threshold_MeV) and recipe.threshold_MeV >= 0):
        raise DataError(f"prepare: threshold_MeV must be a number >= 0, found {recipe.threshold_MeV}")
    if not (math.isfinite(recipe.energy_scale) and recipe.energy_scale > 0):
        raise DataError(f"prepare: energy_scale must be a number > 0, found {recipe.energy_scale}")
    _ = recipe.output_geometry  # raises GeometryError when it cannot be cropped, summed or pooled


def split_counts(n: int, fractions: Sequence[float], n_reference: int | None) -> dict[str, int]:
    """Showers per split; a split that was asked for must get at least one."""
    train, val, test = fractions
    if n_reference is not None:
        if train + val <= 0:
            raise DataError("prepare: with reference files the fractions of train and val must not both be 0")
        train, val, test = train / (train + val), val / (train + val), 0.0
    first, second = round(train * n), round((train + val) * n)
    counts = {"train": first, "val": second - first, "test": n - second}
    for split, share in zip(SPLITS, (train, val, test), strict=True):
        if share > 0 and counts[split] < 1:
            raise DataError(f"prepare: {n} showers are too few for a {split} split of fraction {share:g}")
    if n_reference is not None:
        counts["test"] = n_reference
    return counts


@dataclass(frozen=True)
class _Job:
    """What the attributes of the written files say."""

    recipe: Recipe
    reading: Reading
    files: Mapping[str, Path]
    sources: Mapping[str, list[dict[str, Any]]]
    seed: int
    compression: int

    def writer(self, split: str, tally: _Tally) -> ShowerWriter:
        origin = self.sources["reference"] if split == "test" and self.sources["reference"] else self.sources["raw"]
        zeroed = self.reading.negative == "zero"
        attributes = {
            "threshold_MeV": self.recipe.threshold_MeV * self.recipe.energy_scale,
            "energy_scale": self.recipe.energy_scale,
            "source": " ".join(Path(source["file"]).name for source in origin),
            "source_sha256": " ".join(source["sha256"] for source in origin),
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


def _write(job: _Job, parts: Mapping[str, Buckets], tallies: Mapping[str, _Tally]) -> dict[str, Any]:
    """Write the splits; no file gets its name before the showers of all three are written."""
    with ExitStack() as stack:
        for split in SPLITS:
            out = stack.enter_context(job.writer(split, tallies[split]))
            for showers in parts[split].take():
                out.append(showers)
                tallies[split].add(showers)
            if tallies[split].n and not tallies[split].filled:
                raise DataError(
                    f"prepare: every voxel of the {split} showers is below the threshold of {job.recipe.threshold_MeV:g} MeV "
                    "(threshold_MeV of the dataset, of its geometry where it has none): nothing is left to learn"
                )
    n_voxels = job.recipe.output_geometry.n_voxels
    summaries = {split: tallies[split].summary(n_voxels) for split in SPLITS}
    return {s: {**summaries[s], "file": str(job.files[s]), "sha256": file_hash(job.files[s])} for s in SPLITS}
