"""What the report says of the power of classifier tests (:mod:`calopipe.evaluation.power`), read from their scores."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from calopipe.records.scores import Score
from calopipe.report.numbers import format_measurement


def power_of(scores: Iterable[Score]) -> Mapping[str, Any]:
    """The power that belongs to a test's AUC; empty where it was not measured."""
    return next((p for s in scores if (p := s.extra.get("power")) and "distortions" in p), {})


def floor_of(scores: Iterable[Score]) -> str:
    """The AUC of two Geant4 samples by the same test, with its error, where it was measured; else 0.5."""
    floor = power_of(scores).get("floor")
    return format_measurement(floor["auc"], floor["error"]) if floor else "0.5"


def blind_spots(scores: Iterable[Score]) -> list[str]:
    """Distortions that the test does not see: ``10 % more hits in layer 2 (0.505 ± 0.010)``."""
    return [_line(d) for d in power_of(scores).get("distortions", {}).values() if not d["seen"]]


def seen_spots(scores: Iterable[Score]) -> list[str]:
    """Distortions that the test sees."""
    return [_line(d) for d in power_of(scores).get("distortions", {}).values() if d["seen"]]


def note_of(scores: Sequence[Score]) -> str:
    """What stands under an AUC: what its test is blind to, or that this is not known; empty where it sees everything."""
    blind = blind_spots(scores)
    if blind:
        return f"blind to: {'; '.join(blind)}"
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
