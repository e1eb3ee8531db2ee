"""From raw files of columns, or of showers that numbers are taken of, to the training, validation and test splits: the same
seeded permutation as for showers.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from calopipe.config.base import validate
from calopipe.config.layouts import Column, Layout
from calopipe.errors import DataError
from calopipe.geometry import Geometry, load_geometry
from calopipe.io.checksum import file_hash, repeated
from calopipe.io.columns import Columns, fill_columns, read_columns
from calopipe.io.output import check_target, hdf5_output
from calopipe.io.shower_columns import ShowerNumbers
from calopipe.io.splits import SPLITS, check_split, origin, split_counts
from calopipe.seeds import generator

log = logging.getLogger("calopipe")


@dataclass(frozen=True)
class _Wanted:
    """Which columns are read, and how many rows at most."""

    columns: Sequence[str]
    conditions: Sequence[str]
    layout: Mapping[str, Column]
    max_rows: int | None

    def facts(self) -> dict[str, Any]:
        """What the summary of a preparation says of it."""
        return {"layout": {key: place.model_dump(mode="json") for key, place in self.layout.items()}}

    def pooled(self, paths: Sequence[Path]) -> tuple[Columns, list[dict[str, Any]]]:
        """The rows of all files in their order, and what is used of each."""
        found, used, left = [], [], self.max_rows
        for path in paths:
            one = read_columns(path, self.columns, self.conditions, rows=slice(0, left), layout=self.layout)
            left = None if left is None else left - len(one)
            found.append(one)
            used.append({"file": str(path), "sha256": file_hash(path), "n_used": len(one)})
        if not sum(map(len, found)):
            raise DataError(f"prepare: no rows in {', '.join(map(str, paths)) or 'no files'}")
        values, conditions = (
            {key: np.concatenate([getattr(one, part)[key] for one in found]) for key in names}
            for part, names in (("values", self.columns), ("conditions", self.conditions))
        )
        return Columns(values, conditions, ", ".join(map(str, paths))), used


def prepare_columns(
    raw_paths: Sequence[str | Path],
    outputs: Mapping[str, str | Path],
    columns: Sequence[str],
    *,
    conditions: Sequence[str] = (),
    layout: Mapping[str, Any] | None = None,
    geometry: Geometry | str | None = None,
    shower_layout: Any = None,
    fractions: Sequence[float] = (0.7, 0.1, 0.2),
    seed: int = 0,
    max_rows: int | None = None,
    reference_paths: Sequence[str | Path] = (),
    compression: int = 2,
) -> dict[str, Any]:
    """Shuffle and split rows into three files; all rows are held in memory.

    Args:
        raw_paths: one or more files, pooled in this order.
        outputs: paths of the files to write, keys "train", "val" and "test".
        columns: names of what is learned.
        conditions: names of what it depends on.
        layout: name -> :class:`~calopipe.config.layouts.Column` (or its settings), where a column does not stand under its name.
        geometry: that of the showers in the files (or its name): columns and conditions are then numbers of them, named as
            in :mod:`calopipe.io.shower_columns`; None: the files hold columns.
        shower_layout: how files of showers are laid out, where it is not recognised, like `layout` of
            :func:`calopipe.io.prepare.prepare`.
        fractions: shares of (train, val, test), summing to 1.
        seed: seed of the permutation.
        max_rows: use only the first rows of the pooled files (and of the pooled reference files).
        reference_paths: separate files for the test split; the raw files are then split into train and val alone.
        compression: gzip level of the files written.

    Returns:
        Summary for a JSON file: settings, sources with checksums, number of rows that are copies of others, and per split n,
        [min, max] of each column and condition, file and sha256.

    Raises:
        DataError: a file listed twice or unreadable, a column missing or not finite, one that is the same in all training
            rows, empty splits, a file that cannot be written; showers have no such numbers.
        GeometryError: unknown, or the files do not fit it.
    """
    check_split(fractions, outputs)
    wanted: _Wanted | ShowerNumbers
    if geometry is None:
        places = {key: Column.model_validate(place) for key, place in (layout or {}).items()}
        wanted = _Wanted(columns, conditions, places, max_rows)
    else:
        mapping = None if shower_layout is None else validate(Layout, shower_layout, "shower_layout")
        wanted = ShowerNumbers(columns, conditions, load_geometry(geometry), mapping, max_rows)
    if twice := repeated([*raw_paths, *reference_paths]):
        raise DataError(f"{twice}, and be among those trained on and those judged with")
    paths, others = [Path(path) for path in raw_paths], [Path(path) for path in reference_paths]
    raw, used = wanted.pooled(paths)
    reference, judged = wanted.pooled(others) if others else (None, [])
    sources = {"raw": used, "reference": judged}
    counts = split_counts(len(raw), fractions, None if reference is None else len(reference))
    copies = _copies(raw, reference)
    if copies:
        log.warning("warning: %d of %d rows are copies of others", copies, len(raw) + len(reference or ()))
    parts = _split(raw, reference, counts, seed)
    _check_varies(parts["train"])
    files = {split: Path(outputs[split]) for split in SPLITS}
    with ExitStack() as stack:  # no file gets its name before all three are written
        for split in SPLITS:
            check_target(files[split], [*paths, *others])
            facts = {**origin(split, sources), "seed": seed, "split": split}
            fill_columns(stack.enter_context(hdf5_output(files[split])), parts[split], facts, compression)
    return {
        "columns": list(columns),
        "conditions": list(conditions),
        **wanted.facts(),
        "seed": seed,
        "fractions": list(fractions),
        "max_rows": max_rows,
        "copies": copies,
        "sources": sources,
        "splits": {split: _summary(parts[split], files[split]) for split in SPLITS},
    }


def _split(raw: Columns, reference: Columns | None, counts: Mapping[str, int], seed: int) -> dict[str, Columns]:
    order = generator(seed, "split").permutation(len(raw))
    train, val = order[: counts["train"]], order[counts["train"] : counts["train"] + counts["val"]]
    parts = {"train": raw.select(train), "val": raw.select(val)}
    if reference is None:
        return {**parts, "test": raw.select(order[counts["train"] + counts["val"] :])}
    return {**parts, "test": reference.select(generator(seed, "split", "test").permutation(len(reference)))}


def _copies(raw: Columns, reference: Columns | None) -> int:
    """Rows that are equal to another one, in all columns and conditions."""
    rows = np.concatenate([np.hstack([part.x, part.condition]) for part in (raw, reference) if part is not None])
    keys = np.ascontiguousarray(rows + np.float32(0)).view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1])))
    return len(rows) - len(np.unique(keys))


def _check_varies(train: Columns) -> None:
    for key, values in train.values.items():
        if len(values) and values.min() == values.max():
            raise DataError(
                f"prepare: column '{key}' is {values[0]:g} in all {len(values)} training rows: nothing is left to learn"
            )


def _summary(part: Columns, file: Path) -> dict[str, Any]:
    ranges = {
        key: [float(values.min()), float(values.max())] if len(values) else None
        for key, values in {**part.values, **part.conditions}.items()
    }
    return {"n": len(part), "ranges": ranges, "file": str(file), "sha256": file_hash(file)}
