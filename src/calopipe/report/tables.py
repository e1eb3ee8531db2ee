"""Tables of the report: scores with errors and the best marked."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from calopipe.plots.style import slice_label
from calopipe.records.scores import SMALL_SAMPLE, Score
from calopipe.records.slices import Slice
from calopipe.report.numbers import format_measurement, format_value
from calopipe.report.power import floor_of, note_of, power_of, sees_nothing
from calopipe.report.sources import Sourced, sources_of

#: groups of scores with more rows than this show only the leading observables in the main table
LONG_GROUP = 14
_LEADING = ("E_ratio", "E_tot", "voxels", "layer_ratio", "mean_layers")
#: group of the metrics that have one score each
SINGLE = "single scores"
#: groups shown first
_FIRST = ("classifier",)


@dataclass(frozen=True)
class Table:
    """A table of a section (see calopipe.report.figures): texts only, which the page escapes.

    Numbers that were read from files are :class:`calopipe.report.sources.Sourced`: the page links them.

    Attributes:
        columns: headings.
        rows: cells; an empty one is shown as a dash, lines after the first one smaller.
        text_columns: how many leading columns hold words; the others hold numbers, set to the right.
        caption: heading above the table.
        note: explanation below it.
        marked: numbers of rows to stand out, e.g. those of this study among published ones.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    text_columns: int = 1
    caption: str = ""
    note: str = ""
    marked: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Cell:
    """One entry of a score table; `reason` says why there is no text.

    `best` marks a cell that is better than all others of its row by more than the errors; `tied` those that share the
    first place within errors. `remark` is shown beside the value.
    """

    text: str = ""
    reason: str = ""
    n: int | None = None
    n_seeds: int = 0
    best: bool = False
    tied: bool = False
    value: float | None = None
    error: float | None = None
    competes: bool = True
    remark: str = ""


@dataclass(frozen=True)
class Row:
    """One score of all columns; `label` is what its name says within its group, `note` what it does not see."""

    name: str
    label: str
    cells: tuple[Cell, ...]
    counts: tuple[Sourced, ...]
    small: bool
    unequal: bool
    floor: str = ""
    note: str = ""

    @property
    def n(self) -> str:
        """The numbers of showers, where there are several the smallest first."""
        return " / ".join(self.counts)


@dataclass(frozen=True)
class Group:
    """Scores that share the first part of their name, and the slice that they are of."""

    name: str
    rows: tuple[Row, ...]
    rest: int = field(default=0)


Column = tuple[str, str]  # model, sample


def score_groups(columns: Mapping[Column, Sequence[Sequence[Score]]]) -> list[Group]:
    """Arrange scores in groups of rows.

    Args:
        columns: (model, sample) -> the scores of each seed.

    Returns:
        One group per first part of the score names: classifiers first, long groups last, else in order of appearance;
        metrics of one score share the group :data:`SINGLE`. Scores of slices are in groups of their own, after the others.
        The generated sample nearest to the ideal value is marked as best when all others are farther from it by more
        than one combined standard deviation, sqrt(s1^2 + s2^2); those that are not tie with it, and all of them are
        marked as tied. Rows with a value whose error is not known are not ranked, nor are those of a test that sees none of
        the distortions its power was measured with.
    """
    names = dict.fromkeys(s.name for seeds in columns.values() for scores in seeds for s in scores)
    groups: dict[str, list[Row]] = {}
    sliced = set()
    for name in names:
        cells = [_cell(name, key, seeds) for key, seeds in columns.items()]
        found = [s for seeds in columns.values() for scores in seeds for s in scores if s.name == name]
        group, label = _place(found[0])
        groups.setdefault(group, []).append(_row(label, cells, found))
        sliced |= {group} if "slice" in found[0].extra else set()
    alone = [name for name, rows in groups.items() if len(rows) == 1 and name not in _FIRST]
    if len(alone) > 1:
        groups[SINGLE] = [replace(row, label=row.name) for name in alone for row in groups.pop(name)]
    order = sorted(groups, key=lambda g: (g not in _FIRST, g in sliced, len(groups[g]) > LONG_GROUP))
    return [Group(name, tuple(groups[name])) for name in order]


def _place(score: Score) -> tuple[str, str]:
    """The group of a score, and its label there."""
    metric, _, rest = score.name.partition("/")
    if "slice" not in score.extra:
        return metric, rest or metric
    part = Slice(**score.extra["slice"])
    rest = rest.removesuffix(str(part)).removesuffix("/")
    return f"{metric}, {slice_label(part)}", rest or metric


def main_groups(groups: Iterable[Group]) -> list[Group]:
    """The groups for the main table: short ones whole, long ones with their leading rows and how many are left out."""
    found = []
    for group in groups:
        if len(group.rows) <= LONG_GROUP:
            found.append(group)
            continue
        families: dict[str, list[Row]] = {}
        for row in group.rows:
            families.setdefault(row.name.split("/")[1] if "/" in row.name else row.name, []).append(row)
        short = (f for f in _LEADING if f == "mean_layers" or len(families.get(f, ())) <= 8)
        rows = tuple(row for family in short for row in families.get(family, ()))
        found.append(Group(group.name, rows, len(group.rows) - len(rows)))
    return found


def combine(scores: Sequence[Score]) -> tuple[float, float | None] | None:
    """Value and error of one score over seeds; None when a seed has no value: without the worst seed a mean looks better.

    The value is the mean over seeds. The seeds share the reference, so the error of one does not become smaller by their
    number; their trainings are independent, so the variance between them does. The error is sqrt(s^2 + d^2 / k) of the mean
    error s of one and the standard deviation d between k seeds.
    """
    values = [s.value for s in scores if s.value is not None]
    errors = [s.error for s in scores if s.value is not None and s.error is not None]
    if not values or len(values) < len(scores):
        return None
    single = float(np.mean(errors)) if errors else None
    if len(values) == 1:
        return values[0], single
    return float(np.mean(values)), math.hypot(single or 0.0, float(np.std(values, ddof=1)) / math.sqrt(len(values)))


def _cell(name: str, key: Column, seeds: Sequence[Sequence[Score]]) -> Cell:
    found = [s for scores in seeds for s in scores if s.name == name and s.sample == key[1]]
    competes = key[1] == "generated"
    combined = combine(found)
    if combined is None:
        reason = next((s.missing for s in found if s.missing), "not computed" if not found else "no value given")
        lost = sum(s.value is None for s in found)
        if lost < len(found):
            reason = f"{lost} of {len(found)} seeds have no value: {reason}"
        reason = Sourced(reason, sources_of(s for s in found if s.value is None))
        return Cell(reason=reason, n=found[0].n if found else None, competes=competes)
    value, error = combined
    count = sum(s.extra.get("trainings", 1) for s in found if s.value is not None)
    text = Sourced(format_measurement(value, error), sources_of(found))
    remark = _latent_sizes(found)
    return Cell(text, n=found[0].n, n_seeds=count, value=value, error=error, competes=competes, remark=remark)


def _latent_sizes(scores: Sequence[Score]) -> str:
    """The size of the generator's latent space where a score (of the dimension of its showers) states it."""
    sizes = sorted({s.extra["latent_size"] for s in scores if s.extra.get("latent_size") is not None})
    return f"latent size {' / '.join(str(n) for n in sizes)}" if sizes else ""


def _row(label: str, cells: Sequence[Cell], scores: Sequence[Score]) -> Row:
    name = scores[0].name
    counted = {s.n: s for s in reversed(scores) if s.value is not None}
    counts = sorted(counted)
    floor = next((s for s in scores if s.floor is not None), None)
    goal = next((s.target for s in scores if s.value is not None), 0.0)
    return Row(
        name=name,
        label=label,
        cells=tuple(cells if sees_nothing(scores) else _mark_best(cells, goal)),
        counts=tuple(Sourced(_grouped(n), sources_of([counted[n]])) for n in counts),
        small=bool(counts) and counts[0] < SMALL_SAMPLE,
        unequal=len(counts) > 1,
        floor="" if floor is None else _floor(floor, scores),
        note=_note(name, scores),
    )


def _note(name: str, scores: Sequence[Score]) -> str:
    """What the test of a row does not see, or what one feature of its distances makes."""
    if name.startswith("classifier/") and name.endswith("/auc"):
        return note_of(scores)
    return "; ".join(dict.fromkeys(s.extra["one_feature"] for s in scores if "one_feature" in s.extra))


def _grouped(n: int) -> str:
    """``10 000``."""
    return f"{n:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def _floor(first: Score, scores: Sequence[Score]) -> Sourced:
    """The floor of a row: what the power of its test says, or the first score's own."""
    return floor_of(scores) if power_of(scores) else Sourced(format_value(first.floor or 0.0, 2), sources_of([first]))


def _mark_best(cells: Sequence[Cell], goal: float) -> list[Cell]:
    rivals = [c for c in cells if c.competes and c.value is not None]
    if len(rivals) < 2 or any(c.error is None for c in rivals):
        return list(cells)
    best = min(rivals, key=lambda c: abs((c.value or 0.0) - goal))

    def first(cell: Cell) -> bool:
        if cell not in rivals or cell.value is None or best.value is None:
            return False
        margin = math.hypot(cell.error or 0.0, best.error or 0.0)
        return abs(cell.value - goal) - abs(best.value - goal) <= margin

    alone = sum(first(c) for c in rivals) == 1
    return [replace(c, best=first(c) and alone, tied=first(c) and not alone) for c in cells]


def small_sample_note(scores: Iterable[Score], many: str = "showers") -> str:
    """What the smallest of the small samples means for errors; empty where all samples are large enough.

    A mean is known to 1 / sqrt(n) of the standard deviation, a histogram bin to 1 / sqrt(entries), and the AUC of two equal
    samples of m showers scatters by sqrt((2 m + 1) / (12 m^2)) about 0.5 (variance of the Mann-Whitney statistic).
    """
    small = [s for s in scores if s.value is not None and s.n < SMALL_SAMPLE]
    if not small:
        return ""
    n = max(min(s.n for s in small), 1)
    text = (
        f"⚠ marks scores on fewer than {SMALL_SAMPLE} {many} per sample, down to n = {n} here: treat them as "
        f"indications. With {n} {many} a mean is known to {100 / math.sqrt(n):.2g} % of the spread between {many}, and "
        f"a histogram bin that holds 1 % of them to {100 / math.sqrt(0.01 * n):.2g} %"
    )
    tested = [int(s.extra["n_test"]) for s in small if s.extra.get("n_test")]
    if tested:
        m = min(tested)
        text += f"; the AUC of two equal samples, tested on {m} {many} of each, scatters by ±{_auc_scatter(m):.2g}"
    return text + "."


def _auc_scatter(m: int) -> float:
    return math.sqrt((2 * m + 1) / (12 * m**2))
