"""Two studies compared (``calopipe compare``): settings, code and versions that differ, and scores beyond their errors.

A score differs when |a - b| > z sqrt(s_a^2 + s_b^2). Values and errors are those of the report (:func:`.tables.combine`), over
the seeds that each study has. The formula takes the two errors as independent. Where both studies judge with the same
reference sample they are not: what the reference contributes is in both and cancels in the difference, so that the combined
error is an upper bound, and so is the number of scores expected to differ by chance, erfc(z / sqrt 2) of those that are not
equal. A study with one seed knows nothing of the scatter between trainings: there the errors are too small, by much where
samples are large.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from calopipe.evaluation.outside import unseen
from calopipe.records.scores import Score
from calopipe.report.artifacts import RunArtifacts
from calopipe.report.circumstances import Circumstances, compare_circumstances
from calopipe.report.data import amplification_scores, run_scores, score_files
from calopipe.report.power import sees_nothing
from calopipe.report.studies import Study
from calopipe.report.tables import combine
from calopipe.workflow.stale import differing

Key = tuple[str, str]  # dataset, model; or sample, score
#: verdicts on a pair of scores, in the order in which they are listed
VERDICTS = ("differs", "agrees", "equal", "no error", "undefined", "only in A", "only in B")
DIFFERS, AGREES, EQUAL, NO_ERROR, UNDEFINED, ONLY_A, ONLY_B = VERDICTS


@dataclass(frozen=True)
class Side:
    """A score of one study: combined over seeds; `missing` says why there is no value, `n` is the sample size, `seeds` says how many there are."""

    value: float | None
    error: float | None
    n: int
    seeds: int
    missing: str | None = None

    @classmethod
    def of(cls, scores: Sequence[Score]) -> Side | None:
        """From the scores of all seeds; None without any."""
        if not scores:
            return None
        value, error = combine(scores) or (None, None)
        lost = [s for s in scores if s.value is None]
        missing = None
        if value is None:
            missing = next((s.missing for s in lost if s.missing), "no value given")
            missing = missing if len(lost) == len(scores) else f"{len(lost)} of {len(scores)} seeds: {missing}"
        return cls(value, error, min(s.n for s in scores), len(scores), missing)


@dataclass(frozen=True)
class ScorePair:
    """One score in both studies.

    Attributes:
        runs: the models that it is of. sample, name: of the score.
        a, b: None where a study does not have it.
        verdict: one of the constants of this module.
        errors: |a - b| in combined errors; None where there is none.
        nearer: ``A`` or ``B``, whichever is nearer to the value of a perfect generator; empty where neither is, or that means
            nothing.
    """

    runs: Matched
    sample: str
    name: str
    a: Side | None
    b: Side | None
    verdict: str
    errors: float | None
    nearer: str


@dataclass(frozen=True)
class Matched:
    """Runs of both studies that are compared: all seeds of one model on one dataset.

    Attributes:
        a, b: dataset and model in each study.
        runs_a, runs_b: their seeds, in order.
        same_reference: whether both were judged with the same reference sample; None where the records do not say.
    """

    a: Key
    b: Key
    runs_a: tuple[RunArtifacts, ...]
    runs_b: tuple[RunArtifacts, ...]
    same_reference: bool | None

    @property
    def label(self) -> str:
        """``dataset/model``, or ``dataset/model A | model B``."""
        return "/".join(self.a) + ("" if self.a == self.b else f" | {self.b[1]}")


@dataclass(frozen=True)
class Comparison:
    """What :func:`compare_studies` finds; `z` is the number of errors from which a score differs.

    Attributes:
        settings: (dotted key, value in A, value in B) where they differ; :class:`calopipe.workflow.stale.Absent` for none.
        matched: the models that are compared.
        only_a, only_b: runs that only one of them has, as ``dataset/model/seed``.
        scores: all scores of the matched models, the largest differences first.
        made: code and versions that differ.
        changed: files of scores that were made anew after the report, whose settings are therefore not known.
    """

    a: Study
    b: Study
    z: float
    settings: tuple[tuple[str, Any, Any], ...]
    matched: tuple[Matched, ...]
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]
    scores: tuple[ScorePair, ...]
    made: Circumstances
    changed: tuple[str, ...]

    def of(self, *verdicts: str, runs: Matched | None = None) -> list[ScorePair]:
        """The scores with one of these verdicts, all or of one model."""
        return [s for s in self.scores if s.verdict in verdicts and runs in (None, s.runs)]

    def by_chance(self, runs: Matched | None = None) -> float:
        """How many scores chance alone makes differ, at most: of those with errors that are not equal."""
        return math.erfc(self.z / math.sqrt(2)) * len(self.of(DIFFERS, AGREES, runs=runs))


def compare_studies(a: Study, b: Study, z: float = 2.0) -> Comparison:
    """Compare two studies.

    Args:
        z: a score differs when it does by more than so many combined errors.

    Raises:
        DataError: a file of scores of the models to compare is missing or damaged.
    """
    matched = _matched(a, b)
    scores = [pair for runs in matched for pair in _score_pairs(a, b, runs, z)]
    scores.sort(key=lambda s: (VERDICTS.index(s.verdict), -(s.errors or 0.0)))
    return Comparison(
        a, b, z,
        settings=tuple(differing(_config(a, {m.a[1]: m for m in matched}), _config(b, {m.b[1]: m for m in matched}))),
        matched=tuple(matched),
        only_a=_alone(a, {m.a: m.runs_b for m in matched}),
        only_b=_alone(b, {m.b: m.runs_a for m in matched}),
        scores=tuple(scores),
        made=compare_circumstances(a, b, [(m.runs_a, m.runs_b) for m in matched]),
        changed=(*_changed(a, [m.runs_a for m in matched]), *_changed(b, [m.runs_b for m in matched])),
    )  # fmt: skip


def _models(study: Study) -> dict[Key, tuple[RunArtifacts, ...]]:
    """The runs of each model on each dataset, by seed."""
    found: dict[Key, list[RunArtifacts]] = {}
    for run in study.runs:
        found.setdefault((run.dataset, run.model), []).append(run)
    return {key: tuple(sorted(runs, key=lambda run: run.seed)) for key, runs in found.items()}


def _matched(a: Study, b: Study) -> list[Matched]:
    """Models of the same name on the same dataset; without any, the only model that each has on a dataset."""
    in_a, in_b = _models(a), _models(b)
    pairs = [(key, key) for key in in_a if key in in_b]
    if not pairs:
        for dataset in dict.fromkeys(dataset for dataset, _ in in_a):
            here = [[key for key in models if key[0] == dataset] for models in (in_a, in_b)]
            pairs += [(here[0][0], here[1][0])] if len(here[0]) == len(here[1]) == 1 else []
    return [
        Matched(key, other, in_a[key], in_b[other], _same_reference(a, b, in_a[key], in_b[other]))
        for key, other in pairs
    ]


def _same_reference(a: Study, b: Study, *runs: Sequence[RunArtifacts]) -> bool | None:
    """Whether the reference sample was the same, according to the records of the reports."""
    found = [s.checksum(r[0].reference) if r[0].reference else None for s, r in zip((a, b), runs, strict=True)]
    return None if None in found else found[0] == found[1]


def _alone(study: Study, others: Mapping[Key, Sequence[RunArtifacts]]) -> tuple[str, ...]:
    """Runs of a study that the other one does not have; `others`: the other one's of each model that is compared."""
    seeds = {key: {run.seed for run in runs} for key, runs in others.items()}
    return tuple(run.name for run in study.runs if run.seed not in seeds.get((run.dataset, run.model), ()))


def _changed(study: Study, models: Iterable[Sequence[RunArtifacts]]) -> list[str]:
    """Files of the scores of these models that are not those that the report was made from."""
    paths = [path for runs in models for run in runs for path in (*score_files(run), run.calomplification)]
    return [str(path) for path in study.changed(dict.fromkeys(path for path in paths if path))]


def _config(study: Study, matched: Mapping[str, Matched]) -> dict[str, Any]:
    """The configuration of a study; a model that is compared with one of another name is under both names."""
    models = study.config.get("models")
    if not isinstance(models, dict):
        return dict(study.config)
    both = {name: name if runs.a == runs.b else f"{runs.a[1]} | {runs.b[1]}" for name, runs in matched.items()}
    return {**study.config, "models": {both.get(name, name): settings for name, settings in models.items()}}


def _score_pairs(a: Study, b: Study, runs: Matched, z: float) -> Iterator[ScorePair]:
    """All scores that either study has of a model."""
    in_a, in_b = _scores(a, runs.runs_a), _scores(b, runs.runs_b)
    for key in {**in_a, **in_b}:
        scores_a, scores_b = in_a.get(key, []), in_b.get(key, [])
        side_a, side_b = Side.of(scores_a), Side.of(scores_b)
        verdict, errors = _verdict(side_a, side_b, z)
        ranked = verdict != EQUAL and not sees_nothing([*scores_a, *scores_b])
        nearer = _nearer(scores_a, scores_b) if ranked else ""
        yield ScorePair(runs, *key, side_a, side_b, verdict, errors, nearer)


def _scores(study: Study, runs: Sequence[RunArtifacts]) -> dict[Key, list[Score]]:
    """Scores of all seeds by sample and name."""
    found: dict[Key, list[Score]] = {}
    each = [score for run in runs for score in run_scores(run, study.scores)]
    for score in [*each, *amplification_scores(runs, study.scores)]:
        found.setdefault((score.sample, score.name), []).append(score)
    return found


def _verdict(a: Side | None, b: Side | None, z: float) -> tuple[str, float | None]:
    """What the two sides say together, and by how many errors they differ."""
    if a is None or b is None:
        return (ONLY_B if a is None else ONLY_A), None
    if a.value is None or b.value is None:
        return UNDEFINED, None
    if a.value == b.value:
        return EQUAL, None
    error = 0.0 if a.error is None or b.error is None else math.hypot(a.error, b.error)
    if not error > 0:
        return NO_ERROR, None
    errors = abs(a.value - b.value) / error
    return (DIFFERS if errors > z else AGREES), errors


def _nearer(a: Sequence[Score], b: Sequence[Score]) -> str:
    """Which of two scores is nearer to that of a perfect generator."""
    combined_a, combined_b = combine(a), combine(b)
    if combined_a is None or combined_b is None or any(unseen(s) is not None for s in (*a, *b)):
        return ""
    distance_a, distance_b = abs(combined_a[0] - a[0].target), abs(combined_b[0] - b[0].target)
    if distance_a == distance_b:
        return ""
    return "A" if distance_a < distance_b else "B"
