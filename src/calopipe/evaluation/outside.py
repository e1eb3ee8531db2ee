"""What scores of histograms cannot see: entries outside the range, and entries that a sample does not have at all.

A separation power normalises both histograms to one. A sample half of whose showers are empty has the voxel spectrum of
the other half, and a perfect score. So scores carry the share of entries outside, and the entries that a shower has inside
on average, of both samples (:func:`calopipe.metrics.separation_power.entries`); here is what is said about them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from calopipe.records.scores import Score

#: share of entries outside, beyond the reference's, from which it is told
OUTSIDE = 0.05
#: relative difference of the entries inside per shower from which it is told
INSIDE = 0.1
#: standard deviations by which either must exceed what chance does
SIGMAS = 4.0


def unseen(score: Score) -> str | None:
    """What the score does not see of its samples, in words; None where it is little, or not known."""
    extra = score.extra
    try:
        outside = [float(extra[f"outside_{s}"]) for s in ("reference", "generated")]
        inside = [float(extra[f"inside_per_shower_{s}"]) for s in ("reference", "generated")]
    except (KeyError, TypeError, ValueError):
        return None
    chance = SIGMAS * math.sqrt(2 / max(score.n, 1))
    parts = []
    spread = math.sqrt(max(outside[0] * (1 - outside[0]), 1 / max(score.n, 1)))
    if outside[1] - outside[0] > OUTSIDE + chance * spread:
        parts.append(f"{outside[1]:.0%} of the entries are outside the histogram (reference {outside[0]:.0%})")
    if inside[0] > 0 and abs(inside[1] / inside[0] - 1) > INSIDE + chance:
        parts.append(f"{inside[1] / inside[0]:.3g} times as many entries inside per shower as in the reference")
    return ", ".join(parts) or None


def outside_warnings(scores: Iterable[Score]) -> list[str]:
    """One line on the scores that do not see a part of their samples: the worst of them, and how many there are."""
    found = {s.name: text for s in scores if s.value is not None and (text := unseen(s)) is not None}
    if not found:
        return []
    first = next((name for name in found if "/mean_layers/" not in name), next(iter(found)))
    more = f", and {len(found) - 1} more" if len(found) > 1 else ""
    return [f"{first}{more}: these scores do not see the whole difference: {found[first]}"]
