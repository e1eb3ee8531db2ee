"""A comparison of two studies, written for people and as JSON."""

from __future__ import annotations

import json
import math
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from calopipe.report.comparison import (
    AGREES,
    DIFFERS,
    EQUAL,
    NO_ERROR,
    ONLY_A,
    ONLY_B,
    UNDEFINED,
    Comparison,
    Matched,
    ScorePair,
    Side,
)
from calopipe.report.numbers import aligned, format_measurement, format_value
from calopipe.workflow.stale import Absent

#: rows of a list that are printed unless all are asked for
SHOWN = 20
#: characters of a value of a setting, at most, and how many before the first difference are kept
_LONGEST, _BEFORE = 40, 12
#: characters of a line of words
_WIDTH = 110
#: sections of the settings that are listed first
_FIRST = ("models", "datasets", "regressors", "runs", "evaluations")
#: other verdicts, what they are in words, and the studies that have the score
_OTHERS = (
    (NO_ERROR, "without an error, not equal", "ab"),
    (UNDEFINED, "without a value", "ab"),
    (ONLY_A, "only in A", "a"),
    (ONLY_B, "only in B", "b"),
)
_ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"


def comparison_text(found: Comparison, all_rows: bool = False) -> str:
    """The comparison for a terminal; `all_rows`: lists are not cut after :data:`SHOWN` rows."""
    most = None if all_rows else SHOWN
    rows = [(letter, study.name, str(study.page)) for letter, study in (("A", found.a), ("B", found.b))]
    parts = [aligned(rows), *_warnings(found), _settings(found), *_runs(found), _code(found)]
    return "\n\n".join([*parts, _matched(found), *_scores(found, most), *_notes(found)])


def _filled(text: str, indent: str = "") -> str:
    """Words on lines of :data:`_WIDTH` characters; paths are not broken."""
    return textwrap.fill(text, _WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def _listed(heading: str, rows: Sequence[Sequence[str]], most: int | None, columns: Sequence[str]) -> str:
    """A heading, and rows of which no more than `most` are shown."""
    lines = [tuple(columns), *rows[:most]]
    text = f"{heading}\n" + "\n".join(f"  {line}" for line in aligned(lines).splitlines())
    return text if most is None or len(rows) <= most else f"{text}\n  and {len(rows) - most} more (--all)"


def _warnings(found: Comparison) -> Iterator[str]:
    if found.changed:
        more = f" and {len(found.changed) - 1} more" if len(found.changed) > 1 else ""
        yield _filled(
            f"Warning: {found.changed[0]}{more}: made anew after the report, so perhaps by other settings than those "
            "compared here. Start that study again, and keep each study in a folder of results of its own."
        )


# ---- settings, runs, code ---------------------------------------------------------------------------------------------
def _settings(found: Comparison) -> str:
    if not found.settings:
        return "Settings: the same"
    rows = [(key, *_values(a, b)) for key, a, b in found.settings]
    rows.sort(key=lambda row: _FIRST.index(top) if (top := row[0].split(".")[0]) in _FIRST else len(_FIRST))
    return _listed(f"Settings that differ: {len(rows)}", rows, None, ("", "A", "B"))


def _values(a: Any, b: Any) -> tuple[str, str]:
    """Both values of a setting, shortened to where they differ."""
    texts = [_value(value) for value in (a, b)]
    same = next((i for i, (x, y) in enumerate(zip(*texts, strict=False)) if x != y), min(map(len, texts)))
    start = same - _BEFORE if max(map(len, texts)) > _LONGEST and same > _BEFORE else 0
    return _cut(texts[0], start), _cut(texts[1], start)


def _value(value: Any) -> str:
    if value is Absent:
        return "-"
    return value if isinstance(value, str) else json.dumps(value)


def _cut(text: str, start: int) -> str:
    end = start + _LONGEST
    return (_ELLIPSIS if start else "") + text[start:end] + (_ELLIPSIS if len(text) > end else "")


def _runs(found: Comparison) -> Iterator[str]:
    for letter, runs in (("A", found.only_a), ("B", found.only_b)):
        if runs:
            yield f"Runs (dataset/model/seed) only in {letter}: {', '.join(runs)}"


def _code(found: Comparison) -> str:
    made = found.made
    lines = [f"Code: the same in all {len(made.same)} stages"]
    if made.other:
        same = f"; the same in {', '.join(made.same)}" if made.same else ""
        lines = _filled(f"Code: other code in {', '.join(made.other)}{same}").splitlines()
        if made.modules:
            more = f" and {len(made.modules) - SHOWN} more" if len(made.modules) > SHOWN else ""
            lines += _filled(f"Modules that differ: {', '.join(made.modules[:SHOWN])}{more}").splitlines()
    elif not made.same:
        lines = ["Code: not known"]
    for name, versions in made.versions.items():
        lines.append(f"Version of {name}: A {', '.join(versions[0])}; B {', '.join(versions[1])}")
    if not made.known:
        lines.append("Versions of packages: not recorded")
    elif not made.versions:
        lines.append("Versions of packages: the same")
    return "\n".join(lines)


# ---- scores -----------------------------------------------------------------------------------------------------------
def _matched(found: Comparison) -> str:
    """One line per model: how many scores, equal, beyond the errors, by chance, and which study is nearer to the ideal."""
    if not found.matched:
        return "No model is in both studies: there are no scores to compare"
    renamed = any(runs.a != runs.b for runs in found.matched)
    heading = "Models" + (": none of the same name, so the only one of each dataset" if renamed else "")
    columns = (
        "",
        "seeds A",
        "seeds B",
        "scores",
        "equal",
        f"beyond {found.z:g} errors",
        "by chance",
        "nearer to the ideal",
    )
    rows = [(runs.label, *(", ".join(str(run.seed) for run in side) for side in (runs.runs_a, runs.runs_b)), *_counts(found, runs))
            for runs in found.matched]  # fmt: skip
    if len(rows) > 1:
        rows.append(("together", "", "", *_counts(found, None)))
    return _listed(heading, rows, None, columns)


def _counts(found: Comparison, runs: Matched | None) -> tuple[str, ...]:
    differ = found.of(DIFFERS, runs=runs)
    nearer = [sum(s.nearer == letter for s in differ) for letter in "AB"]
    counts = [len(found.of(DIFFERS, AGREES, EQUAL, runs=runs)), len(found.of(EQUAL, runs=runs)), len(differ)]
    chance = format_value(found.by_chance(runs), 2)
    return (*map(str, counts), f"about {chance}", f"A {nearer[0]}, B {nearer[1]}" if differ else "")


def _scores(found: Comparison, most: int | None) -> Iterator[str]:
    """Lists of scores, by verdict."""
    differ = found.of(DIFFERS)
    if found.matched:
        yield _differ(found, differ, most)
    for verdict, what, sides in _OTHERS:
        pairs = found.of(verdict)
        if pairs:
            rows = [(*_name(found, s), *(_side(getattr(s, side)) for side in sides)) for s in pairs]
            yield _listed(f"Scores {what}: {len(pairs)}", rows, most, (*_columns(found), *sides.upper()))


def _differ(found: Comparison, differ: Sequence[ScorePair], most: int | None) -> str:
    n = len(found.of(DIFFERS, AGREES))
    if not n:
        return f"Scores with errors: none to compare, {len(found.of(EQUAL))} equal"
    heading = (
        f"Scores that differ by more than {found.z:g} errors: {len(differ)} of {n} that are not equal "
        f"(by chance about {format_value(found.by_chance(), 2)})"
    )
    rows = [(*_name(found, s), _side(s.a), _side(s.b), f"{s.errors:.1f}", s.nearer) for s in differ]
    return (
        _listed(heading, rows, most, (*_columns(found), "A", "B", "errors", "nearer to the ideal")) if rows else heading
    )


def _columns(found: Comparison) -> tuple[str, ...]:
    return ("", "sample", "model") if len(found.matched) > 1 else ("", "sample")


def _name(found: Comparison, score: ScorePair) -> tuple[str, ...]:
    return (score.name, score.sample, score.runs.label)[: len(_columns(found))]


def _side(side: Side | None) -> str:
    if side is None:
        return ""
    return side.missing or "" if side.value is None else format_measurement(side.value, side.error)


def _notes(found: Comparison) -> Iterator[str]:
    """What keeps the numbers from being read as they stand."""
    if not found.of(DIFFERS, AGREES):
        return
    notes = []
    if any(len(side) == 1 for m in found.matched for side in (m.runs_a, m.runs_b)):
        notes.append(
            "Where a study has one seed of a model, its errors hold no scatter between trainings: with large samples two trainings "
            "with the same settings may differ by more. Further seeds tell"
        )
    alike = [m.same_reference for m in found.matched]
    if True in alike:
        notes.append(
            "Both studies judge with the same reference sample, whose share of the errors is in both and cancels: errors, and what "
            "is expected by chance, are upper bounds"
        )
    if False in alike:
        labels = ", ".join(m.label for m in found.matched if m.same_reference is False)
        notes.append(f"Judged with different reference samples: {labels}")
    if _judged_together(found):
        notes.append(
            "Scores of the multi-class test (multiclass/...) depend on which runs are judged together, and those are not the same in "
            "A and B"
        )
    sizes = sum(s.a is not None and s.b is not None and s.a.n != s.b.n for s in found.of(DIFFERS, AGREES))
    if sizes:
        notes.append(
            f"Scores of other sample sizes in A than in B, on which some scores depend: {sizes} (sizes: --json)"
        )
    if notes:
        yield "\n".join(_filled(f"- {note}.", "  ") for note in notes)


def _judged_together(found: Comparison) -> bool:
    """Whether there are scores of a multi-class test of other runs in A than in B."""
    datasets = {s.runs.a[0] for s in found.of(DIFFERS, AGREES) if s.name.startswith("multiclass/")}
    sides = [{r.name for r in study.runs if r.dataset in datasets} for study in (found.a, found.b)]
    return sides[0] != sides[1]


# ---- JSON -------------------------------------------------------------------------------------------------------------
def comparison_json(found: Comparison) -> str:
    """All of the comparison as JSON: `errors` is the limit, of a score how many of them it is apart."""
    made = found.made
    content = {
        **{
            letter: {"study": study.name, "page": str(study.page)} for letter, study in (("a", found.a), ("b", found.b))
        },
        "errors": found.z,
        "changed_after_report": list(found.changed),
        "settings": [
            {"key": key, **{k: v for k, v in (("a", a), ("b", b)) if v is not Absent}} for key, a, b in found.settings
        ],
        "runs_only_in": {"a": list(found.only_a), "b": list(found.only_b)},
        "code": {"differs": list(made.other), "same": list(made.same), "modules": list(made.modules)},
        "versions": {name: {"a": list(v), "b": list(w)} for name, (v, w) in made.versions.items()},
        "versions_recorded": made.known,
        "models": [_model(found, runs) for runs in found.matched],
        "scores": [_score(score) for score in found.scores],
    }
    return json.dumps(content, indent=1, allow_nan=False)


def _model(found: Comparison, runs: Matched) -> dict[str, Any]:
    sides = (("a", runs.a, runs.runs_a), ("b", runs.b, runs.runs_b))
    named = {k: {"dataset": key[0], "model": key[1], "seeds": [run.seed for run in side]} for k, key, side in sides}
    counts = {verdict: len(found.of(verdict, runs=runs)) for verdict in dict.fromkeys(s.verdict for s in found.scores)}
    same = {"same_reference": runs.same_reference, "expected_by_chance": found.by_chance(runs)}
    return {**named, **same, "scores": counts}


def _score(score: ScorePair) -> dict[str, Any]:
    sides = {letter: None if side is None else asdict(side) for letter, side in (("a", score.a), ("b", score.b))}
    about = {"dataset": score.runs.a[0], "model": score.runs.a[1], "model_b": score.runs.b[1]}
    errors = score.errors if score.errors is not None and math.isfinite(score.errors) else None
    return {**about, "sample": score.sample, "name": score.name, **sides, "verdict": score.verdict, "errors": errors,
            "nearer": score.nearer or None}  # fmt: skip
