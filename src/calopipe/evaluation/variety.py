"""Mode collapse: what scores say together of a generator whose showers are too much alike.

Limits are set so that two samples of Geant4, and bad showers that are varied, stay silent, and 1000 showers repeated three times, or those of
one kind alone, do not (docs/metrics.md, "Diversity").
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from calopipe.records.scores import Score

#: a loss is told from so many errors on
SIGMAS = 5.0
#: part of what Geant4 itself has of recall and of coverage, at equal precision, below which it is told
RECALL, COVERAGE = 0.7, 0.9
#: relative loss of the distances from which it is told
SPREAD, NEAREST = 0.1, 0.2


def collapse_warnings(scores: Iterable[Score]) -> list[str]:
    """One line that says which scores find a loss of variety, from scores of one sample; none where there is none.

    Recall and coverage are low for any bad generator, whose showers lie elsewhere. They tell of lost variety where they are below the
    precision, each over what Geant4 itself has: showers that are good, and all alike.
    """
    known = {s.name: s for s in scores if s.value is not None and s.error is not None and "slice" not in s.extra}
    found = []
    for name, least in (("recall", RECALL), ("coverage", COVERAGE)):
        share, error = _beside_precision(known, name)
        if share < least and 1 - share > SIGMAS * error:
            score = known[f"prdc/{name}"]
            found.append(f"{name} {score.value:.2g}, Geant4 {score.floor:.2g}")
    for name, most, what in (
        ("spread", SPREAD, "showers of one energy are {:.0%} less far from one another than Geant4's"),
        ("nearest", NEAREST, "the nearest other shower is {:.0%} nearer than among Geant4's"),
    ):
        one = known.get(f"diversity/{name}")
        if one is not None and one.value is not None and one.value < -max(most, SIGMAS * (one.error or 0.0)):
            found.append(what.format(-one.value))
    return [f"less variety than Geant4 (mode collapse?): {'; '.join(found)}"] if found else []


def _beside_precision(known: Mapping[str, Score], name: str) -> tuple[float, float]:
    """A score over its floor, over that of the precision where this is below 1, and its error; (1, 0) where it is not known."""
    one, precision = known.get(f"prdc/{name}"), known.get("prdc/precision")
    if one is None or precision is None or not one.floor or not precision.floor:
        return 1.0, 0.0
    assert one.value is not None and precision.value is not None
    scale = one.floor * min(1.0, precision.value / precision.floor)
    return (one.value / scale, (one.error or 0.0) / scale) if scale > 0 else (1.0, 0.0)
