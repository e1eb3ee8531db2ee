"""Scores: what metrics and tests find, with all that is needed to read the number; a JSON list on disk.

A metric gives scores without seed and sample, which it does not know; the evaluation that calls it adds them. What could not
be computed has no value and says why: it never becomes 0, NaN or a gap in a list.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from calopipe.io.stored import read_json, reading
from calopipe.records.files import write_json
from calopipe.records.samples import GENERATED

#: scores on fewer showers than this carry a warning
SMALL_SAMPLE = 2000
#: parts of the names of scores that are perfect at 0.5
PERFECT_AT_HALF = frozenset({"auc", "accuracy"})


@dataclass(frozen=True)
class Score:
    """One number with its error, the sample size it rests on and the seed; or the reason why it is missing.

    Attributes:
        name: metric and what it is of: ``separation_power/E_ratio``, ``separation_power/E_layer/3``.
        value: the score; None, with the reason in `missing`, when it could not be computed.
        error: one standard deviation (bootstrap or repeats); None when not estimated.
        n: showers of the smaller sample.
        seed: seed of the random numbers used; None when none are.
        sample: which sample was judged against the reference: ``generated``, ``reconstructed``, ...
        floor: value expected for two independent samples of the reference of these sizes, when known.
        missing: why there is no value.
        extra: further facts, JSON-able.

    Raises:
        ValueError: neither a value nor a reason.
    """

    name: str
    value: float | None
    error: float | None
    n: int
    seed: int | None = field(default=None, kw_only=True)
    sample: str = field(default=GENERATED, kw_only=True)
    floor: float | None = field(default=None, kw_only=True)
    missing: str | None = field(default=None, kw_only=True)
    extra: dict[str, Any] = field(default_factory=dict, kw_only=True)

    def __post_init__(self) -> None:
        if self.value is None and not isinstance(self.missing, str):
            raise ValueError(f"score '{self.name}' has neither a value nor a reason why")

    @classmethod
    def absent(cls, name: str, n: int, why: object, **more: Any) -> Score:
        """A score that could not be computed, with the reason; `more` are further attributes."""
        return cls(name, None, None, n, missing=str(why), **more)

    @property
    def target(self) -> float:
        """The value of a perfect generator: as the metric states it (``extra["target"]``), or 1/2 for an AUC, else 0."""
        half = PERFECT_AT_HALF & set(self.name.lower().split("/"))
        return float(self.extra.get("target", 0.5 if half else 0.0))

    def finite(self) -> Score:
        """The score, where a value that is no finite number is a missing one, and an error or floor that is none is not known."""
        if self.value is not None and not math.isfinite(self.value):
            return replace(self, value=None, error=None, missing=f"the result is {self.value}").finite()
        error, floor = (x if x is not None and math.isfinite(x) else None for x in (self.error, self.floor))
        return self if (error, floor) == (self.error, self.floor) else replace(self, error=error, floor=floor)


def save_scores(path: Path, scores: Sequence[Score]) -> None:
    """Write scores as a JSON list."""
    write_json(path, [asdict(s) for s in scores])


def load_scores(path: Path) -> list[Score]:
    """Read scores written by :func:`save_scores`. Raises DataError when the file is missing, damaged or something else."""
    items = read_json(path)
    with reading(path, "not a list of scores"):
        return [parsed_score(item) for item in items]


def parsed_score(item: Mapping[str, Any]) -> Score:
    """A score from parsed JSON. Raises TypeError or ValueError when it is none."""
    score = Score(**item)
    numbers = {k: getattr(score, k) for k in ("value", "error", "floor")}
    wrong = [k for k, v in numbers.items() if v is not None and not is_number(v)]
    wrong += [k for k in ("name", "sample") if not isinstance(getattr(score, k), str)]
    wrong += [k for k, kind in (("n", int), ("extra", dict)) if not isinstance(getattr(score, k), kind)]
    if wrong:
        raise TypeError(f"{wrong[0]} of a score is {getattr(score, wrong[0])!r}")
    return score


def is_number(value: Any) -> bool:
    """Whether parsed JSON is a number."""
    return isinstance(value, int | float) and not isinstance(value, bool)
