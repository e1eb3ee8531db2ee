"""From raw shower files to the training, validation and test splits.

Per shower, in this order: voxels below the threshold become zero (the threshold is in physical MeV of the raw file), the
layers are cropped, summed along the beam and pooled where asked, voxel energies are multiplied by `energy_scale`
(incident energies are not). Energy outside the window of a cropped layer is lost. Where layers are summed, the threshold
is that of the image: it comes after summing and pooling, since what cells under it add up to counts.
The attribute threshold_MeV of the written files is the threshold times the scale, i.e. it holds for the values in the
file; energy_scale is an attribute too, to be divided out for physical energies.

The split is one seeded permutation of all rows: the first ones are for training, then validation, then test, and the
order within each file is that of the permutation. Memory stays bounded for files of any length (calopipe.io.shuffle).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from calopipe.errors import DataError
from calopipe.geometry import Geometry, load_geometry, prepared_geometry
from calopipe.geometry.derived import pooled_in_turn
from calopipe.io.checksum import file_hash, repeated
from calopipe.io.output import check_target
from calopipe.io.pooling import crop_showers, pool_showers, sum_showers
from calopipe.io.read import file_info, iter_showers
from calopipe.io.showers import Showers
from calopipe.io.shuffle import Buckets
from calopipe.io.stored import writing
from calopipe.io.temporary import scratch
from calopipe.io.write import ShowerWriter
from calopipe.seeds import generator

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class _Recipe:
    """What happens to each shower."""

    geometry: Geometry
    threshold_MeV: float
    energy_scale: float
    crop: tuple[int, int] | None
    sum_layers: bool
    pool: tuple[tuple[int, int], ...]
    pool_by: Literal["mean", "sum"]
    conditions: tuple[str, ...] = ()

    @property
    def cropped_geometry(self) -> Geometry:
        return prepared_geometry(self.geometry, self.crop)

    @property
    def output_geometry(self) -> Geometry:
        return prepared_geometry(self.geometry, self.crop, self.sum_layers, self.pool)

    def apply(self, showers: Showers) -> Showers:
        """Threshold, crop, sum, pool and scale (n, V) showers; the input's array is changed."""
        voxels = showers.showers
        if not self.sum_layers:
            voxels[voxels < np.float32(self.threshold_MeV)] = 0
        if self.crop is not None:
            voxels = crop_showers(voxels, self.geometry, self.crop)
        if self.sum_layers:
            voxels = sum_showers(voxels, self.cropped_geometry)
        for kernel, before, _ in pooled_in_turn(
            prepared_geometry(self.geometry, self.crop, self.sum_layers), self.pool
        ):
            voxels = pool_showers(voxels, before, kernel, self.pool_by)
        if self.sum_layers:
            voxels[voxels < np.float32(self.threshold_MeV)] = 0
        if self.energy_scale != 1:
            voxels = voxels * np.float32(self.energy_scale)
        return Showers.unchecked(showers.incident_energies, voxels, showers.name, showers.conditions)


@dataclass
class _Tally:
    """Running statistics of one split; `lowest` and `highest` incident energy and conditions."""

    conditions: tuple[str, ...]
    n: int = 0
    filled: int = 0
    energy: float = 0.0
    lowest: Any = math.inf
    highest: Any = -math.inf

    def add(self, showers: Showers) -> None:
        self.n += len(showers)
        self.filled += int(np.count_nonzero(showers.showers))
        self.energy += float(showers.showers.sum(dtype=np.float64))
        condition = showers.condition.astype(np.float64)
        self.lowest = np.minimum(self.lowest, condition.min(axis=0))
        self.highest = np.maximum(self.highest, condition.max(axis=0))

    def summary(self, n_voxels: int) -> dict[str, Any]:
        if self.n == 0:
            nothing = {"n": 0, "incident_energy_MeV": None, "mean_energy_MeV": None, "occupancy": None}
            return {**nothing, "conditions": dict.fromkeys(self.conditions)}
        ranges = np.stack([self.lowest, self.highest], axis=1).tolist()
        return {
            "n": self.n,
            "incident_energy_MeV": ranges[0],
            "mean_energy_MeV": self.energy / self.n,
            "occupancy": self.filled / (self.n * n_voxels),
            "conditions": dict(zip(self.conditions, ranges[1:], strict=True)),
        }


@dataclass
class _Pool:
    """Raw files read one after the other as one long list of showers, and where each row goes."""

    paths: list[Path]
    max_showers: int | None
    rows: list[int] = field(init=False)

    def __post_init__(self) -> None:
        if not self.paths:
            raise DataError("prepare: no input files")
        self.rows, left = [], math.inf if self.max_showers is None else self.max_showers
        for path in self.paths:
            self.rows.append(int(min(file_info(path).n_showers, left)))
            left -= self.rows[-1]
        if self.n == 0:
            raise DataError(f"prepare: no showers in {', '.join(map(str, self.paths))}")

    @property
    def n(self) -> int:
        return sum(self.rows)

    def describe(self) -> list[dict[str, Any]]:
        used = zip(self.paths, self.rows, strict=True)
        return [{"file": str(path), "sha256": file_hash(path), "n_used": n} for path, n in used]

    def scatter(self, recipe: _Recipe, order: NDArray[np.int64], parts: Mapping[str, Buckets]) -> None:
        """Send row order[k] of the pooled files to place k of the concatenated `parts`."""
        places = np.empty(self.n, dtype=np.int64)
        places[order] = np.arange(self.n)
        bounds = np.cumsum([0, *(part.n_rows for part in parts.values())])
        start = 0
        for path, n in zip(self.paths, self.rows, strict=True):
            rows = slice(0, n)
            for piece in iter_showers(path, rows=rows, geometry=recipe.geometry, conditions=recipe.conditions):
                showers, where = recipe.apply(piece), places[start : start + len(piece)]
                for part, first, last in zip(parts.values(), bounds[:-1], bounds[1:], strict=True):
                    mine = np.flatnonzero((where >= first) & (where < last))
                    part.put(where[mine] - first, showers.select(mine))
                start += len(piece)


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
        max_showers: use only the first showers of the pooled files (and of the pooled reference files).
        crop: cells of the central window (first, second index) that are kept, on a cartesian geometry of equal layers.
        sum_layers: sum the layers along the beam into one image, after the crop; the threshold then cuts the image.
        pool: pooling kernel (first, second index) on a cartesian geometry, or several in turn, after crop and sum.
        pool_by: what pooling makes of the merged cells.
        conditions: names of the columns of the raw files that are kept beside the incident energies.
        reference_paths: separate files for the test split (CaloChallenge); the raw files are then split into train and
            val alone, in the ratio of their fractions.
        compression: gzip level of the files written.

    Returns:
        Summary for a JSON file: settings, sources with checksums, and per split n, incident_energy_MeV [min, max],
        mean_energy_MeV, occupancy, conditions (name -> [min, max]), file and sha256.

    Raises:
        DataError: a file listed twice, unreadable input, values that are not energies, empty splits, a file that cannot be written.
        GeometryError: the files do not fit the geometry, or it cannot be cropped, summed or pooled.
    """
    geometry = load_geometry(geometry)
    window = None if crop is None else (int(crop[0]), int(crop[1]))
    kernels = () if pool is None else tuple(map(tuple, np.atleast_2d(np.asarray(pool)).tolist()))
    threshold = geometry.threshold_MeV if threshold_MeV is None else float(threshold_MeV)
    recipe = _Recipe(geometry, threshold, float(energy_scale), window, sum_layers, kernels, pool_by, tuple(conditions))
    _check(recipe, fractions, outputs)
    paths = [raw_paths] if isinstance(raw_paths, str | Path) else raw_paths
    if twice := repeated([*paths, *reference_paths]):
        raise DataError(f"{twice}, and be among those trained on and those judged with")
    raw = _Pool([Path(path) for path in paths], max_showers)
    reference = _Pool([Path(path) for path in reference_paths], max_showers) if reference_paths else None
    counts = split_counts(raw.n, fractions, None if reference is None else reference.n)
    files = {split: Path(outputs[split]) for split in SPLITS}
    folder = files["train"].parent
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    for file in files.values():
        check_target(file, [*raw.paths, *([] if reference is None else reference.paths)])
    with scratch("prepare", folder) as temporary:
        n_voxels = recipe.output_geometry.n_voxels
        parts = {s: Buckets(temporary, s, counts[s], n_voxels, recipe.conditions) for s in SPLITS}
        if reference is None:
            raw.scatter(recipe, generator(seed, "split").permutation(raw.n), parts)
        else:
            raw.scatter(recipe, generator(seed, "split").permutation(raw.n), {s: parts[s] for s in ("train", "val")})
            reference.scatter(
                recipe, generator(seed, "split", "test").permutation(reference.n), {"test": parts["test"]}
            )
        sources = {"raw": raw.describe(), "reference": [] if reference is None else reference.describe()}
        splits = _write(recipe, parts, files, sources, seed, compression)
    return {
        "geometry": recipe.output_geometry.name,
        "geometry_hash": recipe.output_geometry.hash,
        "threshold_MeV": threshold,
        "energy_scale": recipe.energy_scale,
        "crop": None if window is None else list(window),
        "sum_layers": sum_layers,
        "pool": [list(kernel) for kernel in kernels],
        "pool_by": pool_by,
        "conditions": list(recipe.conditions),
        "seed": seed,
        "fractions": list(fractions),
        "max_showers": max_showers,
        "sources": sources,
        "splits": splits,
    }


def _check(recipe: _Recipe, fractions: Sequence[float], outputs: Mapping[str, Any]) -> None:
    if sorted(outputs) != sorted(SPLITS):
        raise DataError(f"prepare: outputs must be {', '.join(SPLITS)}, found {', '.join(outputs) or 'none'}")
    if len(fractions) != 3 or not all(0 <= f <= 1 for f in fractions) or abs(sum(fractions) - 1) > 1e-9:
        raise DataError(f"prepare: fractions must be three numbers in [0, 1] that sum to 1, found {list(fractions)}")
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


def _write(
    recipe: _Recipe,
    parts: Mapping[str, Buckets],
    files: Mapping[str, Path],
    sources: Mapping[str, list[dict[str, Any]]],
    seed: int,
    compression: int,
) -> dict[str, Any]:
    """Write the splits; no file gets its name before the showers of all three are written."""
    geometry, tallies = recipe.output_geometry, {split: _Tally(recipe.conditions) for split in SPLITS}
    with ExitStack() as stack:
        for split in SPLITS:
            origin = sources["reference"] if split == "test" and sources["reference"] else sources["raw"]
            attributes = {
                "threshold_MeV": recipe.threshold_MeV * recipe.energy_scale,
                "energy_scale": recipe.energy_scale,
                "source": " ".join(Path(source["file"]).name for source in origin),
                "source_sha256": " ".join(source["sha256"] for source in origin),
                "seed": seed,
                "split": split,
            }
            how = {"conditions": recipe.conditions, "attributes": attributes, "compression": compression}
            out = stack.enter_context(ShowerWriter(files[split], geometry, **how))
            for showers in parts[split].take():
                out.append(showers)
                tallies[split].add(showers)
            if tallies[split].n and not tallies[split].filled:
                raise DataError(
                    f"prepare: every voxel of the {split} showers is below the threshold of {recipe.threshold_MeV:g} MeV "
                    "(threshold_MeV of the dataset, of its geometry where it has none): nothing is left to learn"
                )
    return {
        split: {
            **tallies[split].summary(geometry.n_voxels),
            "file": str(files[split]),
            "sha256": file_hash(files[split]),
        }
        for split in SPLITS
    }
