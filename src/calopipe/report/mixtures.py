"""Mixtures of trainings: which of them is so much worse than the others that it spoils the sample."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from calopipe.records.scores import Score
from calopipe.report.data import SeedData
from calopipe.report.numbers import format_measurement, format_value
from calopipe.report.scans import epoch_scores
from calopipe.report.sources import Sourced
from calopipe.report.strongest import CLEAR

#: how many times as far from a perfect score as the others' median
_FAR = 3.0


def mixture_warnings(seed: SeedData) -> Iterator[str]:
    """A line for each training of a mixture whose epoch that is sampled (of the final networks: its last kept one) scores far worse than
    those of the other trainings.
    """
    scores = {name: found for name, training in seed.trainings.items() if (found := _sampled(training)) is not None}
    if len(scores) < 3:  # of two nobody knows which is the odd one
        return
    for name, (epoch, score) in scores.items():
        others = [other for key, (_, other) in scores.items() if key != name]
        usual = median(abs(_value(other) - other.target) for other in others)
        excess = abs(_value(score) - score.target) - usual
        if excess > max((_FAR - 1) * usual, CLEAR * (score.error or 0.0)):
            text = (
                f"seed {name} is far worse than the {len(others)} others that the sample is mixed of: {score.name} of "
            )
            text += f"{format_measurement(_value(score), score.error or 0.0)} at epoch {epoch}, theirs are at {format_value(usual, 2)}"
            yield Sourced(text, [seed.trainings[name].source("epochs")])


def _sampled(training: SeedData) -> tuple[int, Score] | None:
    """The epoch that a training's showers are drawn from, and its score among those by which epochs are chosen."""
    if not training.epochs or not training.epochs.get("epochs"):
        return None
    best, asked = training.epochs["best"], training.run.sampled_epoch
    epoch = {"final": training.epochs["epochs"][-1]["epoch"], "best": best.get("epoch")}.get(str(asked), asked)
    found = [s for s in epoch_scores(training, epoch) if s.name == best["score"] and s.value is not None]
    return (int(epoch), found[0]) if found else None


def _value(score: Score) -> float:
    assert score.value is not None
    return score.value
