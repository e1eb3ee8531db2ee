"""The history of a training: losses, learning rates and gradients of each epoch; a CSV file on disk.

Columns: ``epoch`` and ``step``; ``train_<name>`` and ``val_<name>`` for every named loss; ``lr``, ``grad_norm`` (the mean over the
epoch, before clipping), ``largest_grad_norm`` (of one step) and ``largest_grad_element`` (by absolute value, of one step and
parameter), or ``lr_<objective>`` and so on where a network has several; ``seconds``. What an epoch does not have is left empty.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from calopipe.errors import DataError
from calopipe.io.stored import reading

Array = NDArray[np.float64]


@dataclass(frozen=True)
class History:
    """One training.

    Attributes:
        columns: name of the column -> (E,) values of the epochs, NaN where there is none; with ``step``.
    """

    columns: dict[str, Array]

    def __len__(self) -> int:
        return len(self.columns["step"])

    @property
    def losses(self) -> list[str]:
        """Names of the losses, ``loss`` first, where there is one."""
        names = [key.partition("_")[2] for key in self.columns if key.startswith(("train_", "val_"))]
        return sorted(dict.fromkeys(n for n in names if n in self._known(("train", "val"))), key=lambda n: n != "loss")

    @property
    def rates(self) -> dict[str, Array]:
        """Objective (empty where there is one only) -> learning rates (E,)."""
        return self._by_objective("lr")

    @property
    def norms(self) -> dict[str, Array]:
        """Objective (empty where there is one only) -> mean gradient norms (E,)."""
        return self._by_objective("grad_norm")

    @property
    def largest_norms(self) -> dict[str, Array]:
        """Objective (empty where there is one only) -> largest gradient norms of each epoch (E,)."""
        return self._by_objective("largest_grad_norm")

    @property
    def largest_elements(self) -> dict[str, Array]:
        """Objective (empty where there is one only) -> largest absolute elements of the gradients of each epoch (E,)."""
        return self._by_objective("largest_grad_element")

    @property
    def seconds(self) -> float | None:
        """Time of all epochs; None where it was not measured."""
        known = self.columns.get("seconds", np.zeros(0))
        return float(np.nansum(known)) if np.isfinite(known).any() else None

    @property
    def time(self) -> Array:
        """End of each row in epochs, (E,): steps over steps per epoch, or the epoch column where steps are missing."""
        step = self.columns["step"]
        epoch = self.columns.get("epoch", np.full(len(step), np.nan))
        both = np.isfinite(epoch) & np.isfinite(step)
        if not both.any() or step[both].max() <= 0:
            return epoch
        return (step + 1) / ((step[both].max() + 1) / (epoch[both].max() + 1))

    def of(self, kind: str, name: str) -> Array:
        """(E,) values of a loss in training (`kind` is ``train``) or validation (``val``); NaN where there are none."""
        return self.columns.get(f"{kind}_{name}", np.full(len(self), np.nan))

    def last(self, kind: str, name: str) -> float | None:
        """The last known value of a loss; None where there is none."""
        values = self.of(kind, name)
        known = values[np.isfinite(values)]
        return float(known[-1]) if len(known) else None

    def _known(self, kinds: Iterable[str]) -> set[str]:
        """Losses that have a value in any of the kinds."""
        return {
            key.removeprefix(f"{kind}_")
            for kind in kinds
            for key, values in self.columns.items()
            if key.startswith(f"{kind}_") and np.isfinite(values).any()
        }

    def _by_objective(self, prefix: str) -> dict[str, Array]:
        found = {k: v for k, v in self.columns.items() if k == prefix or k.startswith(f"{prefix}_")}
        return {k.removeprefix(prefix).removeprefix("_"): v for k, v in found.items() if np.isfinite(v).any()}


def read_history(path: str | Path, rows: int | None = None) -> History:
    """Read the history of a training.

    Args:
        path: CSV file.
        rows: how many it must have, where that is known: the epochs of the training.

    Raises:
        DataError: the file is missing, cut, lacks the column `step`, or holds something that is no number.
    """
    with reading(path, "not a training log"):
        text = Path(path).read_text(encoding="utf-8")
        if not text.endswith("\n"):
            raise ValueError("it ends in the middle of a line" if text else "it is empty")
        lines = text.splitlines()
        short = next((i for i, line in enumerate(lines, 1) if line.count(",") != lines[0].count(",")), None)
        if short is not None:
            raise ValueError(f"line {short} has another number of columns than the first")
        if rows is not None and len(lines) - 1 != rows:
            raise ValueError(f"expected {rows} rows, one per epoch, found {len(lines) - 1}")
        table = pd.read_csv(StringIO(text))
    if "step" not in table:
        expected = "epoch, step, train_loss, val_loss, ..."
        raise DataError(f"{path}: expected the columns {expected}, found {', '.join(map(str, table.columns))}")
    with reading(path, "not a training log"):
        return History({str(name): table[name].to_numpy(dtype=float) for name in table.columns})
