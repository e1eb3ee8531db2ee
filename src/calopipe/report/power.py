"""What the report says of the power of classifier tests (:mod:`calopipe.evaluation.power`), read from their scores."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from calopipe.records.scores import Score
from calopipe.report.numbers import format_measurement
from calopipe.report.sources import Sourced, sources_of


def _measured(scores: Iterable[Score]) -> Score | None:
    """The score that states the power of its test; None where that was not measured."""
    return next((s for s in scores if "distortions" in (s.extra.get("power") or {})), None)


def power_of(scores: Iterable[Score]) -> Mapping[str, Any]:
    """The power that belongs to a test's AUC; empty where it was not measured."""
    score = _measured(scores)
    return {} if score is None else score.extra["power"]


def floor_of(scores: Sequence[Score]) -> Sourced:
    """The AUC of two Geant4 samples by the same test, with its error, where it was measured; else 0.5."""
    floor = power_of(scores).get("floor")
    return _sourced(format_measurement(floor["auc"], floor["error"]), scores) if floor else Sourced("0.5")


def blind_spots(scores: Sequence[Score]) -> Sourced:
    """Distortions that the test does not see: ``10 % more hits in layer 2 (0.505 ± 0.010)``."""
    return _spots(scores, seen=False)


def seen_spots(scores: Sequence[Score]) -> Sourced:
    """Distortions that the test sees."""
    return _spots(scores, seen=True)


def _spots(scores: Sequence[Score], seen: bool) -> Sourced:
    found = [_line(d) for d in power_of(scores).get("distortions", {}).values() if bool(d["seen"]) == seen]
    return _sourced("; ".join(found), scores)


def _sourced(text: str, scores: Sequence[Score]) -> Sourced:
    """A text on the power of a test, with the file that states it."""
    score = _measured(scores)
    return Sourced(text, () if score is None else sources_of([score]))


def note_of(scores: Sequence[Score]) -> str:
    """What stands under an AUC: what its test is blind to, or that this is not known; empty where it sees everything."""
    blind = blind_spots(scores)
    if blind:
        return _sourced(f"blind to: {blind}", scores)
    if power_of(scores) or all(s.value is None for s in scores):
        return ""
    reason = next((p["missing"] for s in scores if (p := s.extra.get("power")) and "missing" in p), "")
    return "what it is blind to was not measured" + (f": {reason}" if reason else "")


def sees_nothing(scores: Iterable[Score]) -> bool:
    """Whether the power was measured, and the test sees none of the distortions."""
    distortions = power_of(scores).get("distortions", {})
    return bool(distortions) and not any(d["seen"] for d in distortions.values())


def _line(distortion: Mapping[str, Any]) -> str:
    return f"{distortion['text']} ({format_measurement(distortion['auc'], distortion['error'])})"
