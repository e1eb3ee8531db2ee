"""Scores as a table: one CSV row per score, with the labels of the run it belongs to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from calopipe.errors import DataError
from calopipe.io.output import replacing
from calopipe.records.scores import Score

_FIELDS = ("sample", "name", "value", "error", "floor", "n", "seed", "missing")


def score_rows(scores: Iterable[Score], **labels: str | int) -> list[dict[str, str | int | float | None]]:
    """Rows for :func:`write_table`: the labels (dataset, model, ...) followed by the fields of each score."""
    return [{**labels, **{field: getattr(score, field) for field in _FIELDS}} for score in scores]


def write_table(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Write rows to a CSV file (under a temporary name, then renamed); None becomes an empty field.

    Raises:
        DataError: the rows do not all have the same columns, in the same order.
    """
    header = list(rows[0]) if rows else list(_FIELDS)
    if any(list(row) != header for row in rows):
        raise DataError(f"{path}: rows of a table must have the same columns ({', '.join(header)})")
    with replacing(path) as temporary:
        pd.DataFrame(rows, columns=header, dtype=object).to_csv(temporary, index=False, lineterminator="\n")
