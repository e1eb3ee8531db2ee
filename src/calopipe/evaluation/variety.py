"""Mode collapse: what scores say together of a generator whose showers are too much alike.

A conditional generator may collapse at one energy and be fine elsewhere: scores of slices are judged like those of all showers.

Limits are set so that two samples of Geant4, and bad showers that are varied, stay silent, and 1000 showers repeated three times, or those of
one kind alone, do not (docs/metrics.md, "Diversity").
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping

from calopipe.records.scores import Score
from calopipe.records.slices import Slice

#: a loss is told from so many errors on
SIGMAS = 5.0
#: showers below which errors of recall and coverage, from a few blocks, are not trusted
LEAST = 200
#: part of what Geant4 itself has of recall and of coverage, at equal precision, below which it is told
RECALL, COVERAGE = 0.7, 0.9
#: relative loss of the distances from which it is told, of showers and of the values of columns
SPREAD, NEAREST = 0.1, 0.2
COLUMN_DISTANCE = 0.3


def collapse_warnings(scores: Iterable[Score], label: Callable[[Slice], str] = str) -> list[str]:
    """Lines that say which scores find a loss of variety, from scores of one sample: of all showers, and of each slice; none where
    there is none.

    Recall and coverage are low for any bad generator, whose showers lie elsewhere. They tell of lost variety where they are below the
    precision, each over what Geant4 itself has: showers that are good, and all alike. Recall alone is also low where all voxels are a
    fifth too low, which brings showers together; coverage is not, so both must be below.

    Args:
        scores: of any metrics.
        label: text for a slice.
    """
    parts = _by_slice(scores)
    return [
        *_told({part: "; ".join(_losses(known)) for part, known in parts.items()}, "Geant4", label),
        *_told({part: _column_losses(known) for part, known in parts.items()}, "the data", label),
    ]


def _told(found: Mapping[Slice | None, str], reference: str, label: Callable[[Slice], str]) -> list[str]:
    """Lines of what was found in all showers or rows (None) and in each slice; "" is nothing."""
    whole = found[None]
    slices = {label(part): text for part, text in found.items() if part is not None}
    if whole:
        named = [", ".join(part for part, text in slices.items() if bool(text) == lost) for lost in (True, False)]
        places = (f"; {word} {names}" for word, names in zip(("at", "not at"), named, strict=True) if names)
        return [f"less variety than {reference} (mode collapse?): {whole}{''.join(places)}"]
    return [
        f"less variety than {reference} at {part} (mode collapse?): {text}" for part, text in slices.items() if text
    ]


def _by_slice(scores: Iterable[Score]) -> dict[Slice | None, dict[str, Score]]:
    """The scores in question, if they have an error, by their names without the slice's: first those of all showers."""
    found: dict[Slice | None, dict[str, Score]] = {None: {}}
    for score in scores:
        small = score.name.startswith("prdc/") and score.n < LEAST
        if (
            score.name.startswith(("diversity/", "prdc/"))
            and score.value is not None
            and score.error is not None
            and not small
        ):
            part = Slice(**score.extra["slice"]) if "slice" in score.extra else None
            found.setdefault(part, {})[score.name.removesuffix(f"/{part}")] = score
    return found


def _losses(known: Mapping[str, Score]) -> Iterator[str]:
    """What each score finds, in words, of scores by name."""
    covered, error_of_covered = _beside_precision(known, "coverage")
    for name, least in (("recall", RECALL), ("coverage", COVERAGE)):
        share, error = _beside_precision(known, name)
        if share < least and 1 - share > SIGMAS * error and 1 - covered > SIGMAS * error_of_covered:
            score = known[f"prdc/{name}"]
            yield f"{name} {score.value:.2g}, Geant4 {score.floor:.2g}"
    for name, most, what in (
        ("spread", SPREAD, "showers of one energy are {:.0%} less far from one another than Geant4's"),
        ("nearest", NEAREST, "the nearest other shower is {:.0%} nearer than among Geant4's"),
    ):
        one = known.get(f"diversity/{name}")
        if one is not None and one.value is not None and one.value < -max(most, SIGMAS * (one.error or 0.0)):
            yield what.format(-one.value)


def _column_losses(known: Mapping[str, Score]) -> str:
    """What is found of the column that has lost most, and how many others have lost some."""
    found: dict[str, tuple[float, str]] = {}
    for name, score in known.items():
        kind, _, column = name.removeprefix("diversity/").partition("/")
        if name.startswith("diversity/") and column and (text := _column_loss(kind, score)):
            assert score.value is not None
            found[column] = max(found.get(column, (0.0, "")), (abs(score.value), text))
    if not found:
        return ""
    worst = max(found, key=lambda column: found[column][0])
    more = f", and {len(found) - 1} more columns" if len(found) > 1 else ""
    return f"{worst}: {found[worst][1]}{more}"


def _column_loss(kind: str, score: Score) -> str:
    assert score.value is not None and score.error is not None
    if kind == "lost":
        floor, groups = score.floor or 0.0, score.extra["groups"]
        chance = math.sqrt(max(2 * floor * (1 - floor) / groups, 1 / groups**2))
        lost = score.value - floor > SIGMAS * chance
        return f"hardly varies at {score.value:.0%} of the conditions (the data {floor:.0%})" if lost else ""
    texts = {
        "spread": "values at equal conditions are {:.0%} less far from one another than the data's",
        "nearest": "the nearest other value is {:.0%} nearer than in the data",
    }
    lost = kind in texts and score.value < -max(COLUMN_DISTANCE, SIGMAS * score.error)
    return texts[kind].format(-score.value) if lost else ""


def _beside_precision(known: Mapping[str, Score], name: str) -> tuple[float, float]:
    """A score over its floor, over that of the precision where this is below 1, and its error; (1, 0) where it is not known."""
    one, precision = known.get(f"prdc/{name}"), known.get("prdc/precision")
    if one is None or precision is None or not one.floor or not precision.floor:
        return 1.0, 0.0
    assert one.value is not None and precision.value is not None
    scale = one.floor * min(1.0, precision.value / precision.floor)
    return (one.value / scale, (one.error or 0.0) / scale) if scale > 0 else (1.0, 0.0)
