"""Data that are no showers: rows of real numbers, and the conditions they depend on, as named columns of HDF5 files.

A file holds one dataset (N,) or (N, 1) of numbers for each column. calopipe writes (N, 1), float32, gzip, and the attributes
kind ("columns"), columns and conditions (their names, joined by spaces).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import calopipe
from calopipe.config.layouts import Column
from calopipe.errors import DataError
from calopipe.io.column import StoredColumn
from calopipe.io.hdf5 import attributes, open_hdf5
from calopipe.io.output import HDF5Output, hdf5_output
from calopipe.io.showers import as_column, check_finite

#: the attribute `kind` of files that calopipe writes
KIND = "columns"
#: rows that a file may declare: all of them are held in memory
MAX_ROWS = 10**8


@dataclass(frozen=True, eq=False)
class Columns:
    """N rows, checked when built; treat the arrays as read-only.

    Args:
        values: what is learned, by name: (N,) or (N, 1) each, kept as (N,) float32, finite.
        conditions: what it depends on, likewise.
        name: what messages call it, e.g. the file's path.

    Raises:
        DataError: no column, different N, a name twice, values that are no finite numbers.
    """

    values: Mapping[str, NDArray[np.float32]]
    conditions: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    name: str = "columns"

    def __post_init__(self) -> None:
        if not self.values:
            raise DataError(f"{self.name}: expected one column or more, found none")
        twice = set(self.values) & set(self.conditions)
        if twice:
            raise DataError(f"{self.name}: '{min(twice)}' is a column and a condition")
        n = len(np.atleast_1d(next(iter(self.values.values()))))
        for part in ("values", "conditions"):
            checked = {key: as_column(v, n, f"{self.name}: {key}") for key, v in getattr(self, part).items()}
            for key, column in checked.items():
                check_finite(column, f"{self.name}: {key}")
            object.__setattr__(self, part, checked)

    def __len__(self) -> int:
        return len(next(iter(self.values.values())))

    @property
    def x(self) -> NDArray[np.float32]:
        """What is learned, (N, columns)."""
        return np.column_stack(list(self.values.values()))

    @property
    def condition(self) -> NDArray[np.float32]:
        """What it depends on, (N, conditions); there may be none."""
        return np.column_stack([np.empty((len(self), 0), dtype=np.float32), *self.conditions.values()])

    def select(self, rows: Any) -> Columns:
        """The rows of a slice, an index array or a boolean mask."""
        values, conditions = ({k: v[rows] for k, v in columns.items()} for columns in (self.values, self.conditions))
        return Columns(values, conditions, self.name)


def column_rows(path: str | Path, names: Sequence[str], layout: Mapping[str, Column] | None = None) -> int:
    """Number of rows N of a file that holds all the named columns, without reading them; raises like :func:`read_columns`."""
    with open_hdf5(path) as file:
        return _opened(file, Path(path), names, layout or {})[0].n_rows


def column_attributes(path: str | Path) -> dict[str, Any]:
    """The attributes of a file of columns; DataError where it cannot be read."""
    with open_hdf5(path) as file:
        return attributes(file, Path(path))


def read_columns(
    path: str | Path,
    columns: Sequence[str] | None = None,
    conditions: Sequence[str] | None = None,
    *,
    rows: slice | None = None,
    layout: Mapping[str, Column] | None = None,
) -> Columns:
    """Read columns into memory.

    Args:
        path: HDF5 file.
        columns, conditions: names, in the order wanted; None: those that the file's attributes name (calopipe's own files).
        rows: a slice with a step of 1; None: all.
        layout: where columns stand that have another name in the file, share a dataset or have a unit.

    Raises:
        DataError: missing, not HDF5, damaged; a column missing, of another shape or number of rows, not finite.
    """
    path = Path(path)
    with open_hdf5(path) as file:
        if columns is None or conditions is None:
            named = _named(attributes(file, path), path)
            columns, conditions = (given or found for given, found in zip((columns, conditions), named, strict=True))
        names, part = [*columns, *conditions], slice(None) if rows is None else rows
        opened = _opened(file, path, names, layout or {})
        for column in opened:
            column.check_stored()
        loaded = dict(zip(names, (column.load(part) for column in opened), strict=True))
    return Columns({key: loaded[key] for key in columns}, {key: loaded[key] for key in conditions}, str(path))


def _named(found: Mapping[str, Any], path: Path) -> tuple[list[str], list[str]]:
    """Names of the columns and conditions of a file that calopipe wrote."""
    if found.get("kind") != KIND:
        raise DataError(
            f"{path}: does not say which columns it holds (attribute kind: {found.get('kind', 'none')!r:.40})"
        )
    columns, conditions = (str(found.get(key, "")).split() for key in ("columns", "conditions"))
    return columns, conditions


def _opened(file: Any, path: Path, names: Sequence[str], layout: Mapping[str, Column]) -> list[StoredColumn]:
    """All columns, with the same number of rows."""
    n: int | None = None
    opened = []
    for name in names:
        opened.append(StoredColumn(file, path, layout.get(name) or Column(key=name), n))
        n = opened[0].n_rows
    if not opened:
        raise DataError(f"{path}: expected one column or more, found none")
    if opened[0].n_rows > MAX_ROWS:
        raise DataError(f"{path}: expected at most {MAX_ROWS} rows, found {opened[0].n_rows}")
    return opened


def write_columns(
    path: str | Path, columns: Columns, *, attributes: Mapping[str, Any] | None = None, compression: int = 4
) -> None:
    """Write a file that :func:`read_columns` reads; it appears under its name only when it is complete.

    Args:
        path: file to write; its folder is made when missing.
        columns: the rows.
        attributes: more attributes, customarily source, source_sha256, seed; None is left out.
        compression: gzip level.

    Raises:
        DataError: the file cannot be written.
    """
    with hdf5_output(path) as output:
        fill_columns(output, columns, attributes or {}, compression)


def fill_columns(output: HDF5Output, columns: Columns, attributes: Mapping[str, Any], compression: int = 4) -> None:
    """Write columns and attributes into a file that is open for writing, see :func:`write_columns`."""
    names = {"columns": " ".join(columns.values), "conditions": " ".join(columns.conditions)}
    for key, value in {"calopipe_version": calopipe.__version__, "kind": KIND, **names, **attributes}.items():
        if value is not None:
            output.file.attrs[key] = value
    for key, values in {**columns.values, **columns.conditions}.items():
        packed = {"compression": "gzip", "compression_opts": compression, "shuffle": True} if len(values) else {}
        output.file.create_dataset(key, data=values[:, None], **packed)
        output.check()
