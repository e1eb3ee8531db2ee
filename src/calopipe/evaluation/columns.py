"""Judging samples of real numbers, which have no calorimeter: histograms, moments, distances, and one classifier test."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from calopipe.config.evaluation import ClassifierConfig, HistogramConfig
from calopipe.errors import MetricUnavailable
from calopipe.evaluation.observables import slices_of
from calopipe.io import Columns, column_attributes, read_columns
from calopipe.metrics.classifier import classifier_test
from calopipe.metrics.column_distortions import COLUMN_DISTORTIONS
from calopipe.metrics.column_diversity import NAMES, condition_groups, diversity_scores
from calopipe.metrics.columns import difference_score, distance_score, kl_score, separation_score
from calopipe.observables.columns import Edges, column_edges, fwhm, moments, summarise_columns
from calopipe.records.histograms import Histogram, save_histograms
from calopipe.records.power import finding
from calopipe.records.samples import GENERATED, REFERENCE, draw_of, draws_of
from calopipe.records.scores import Score, save_scores
from calopipe.records.slices import Slice
from calopipe.seeds import derive, generator

log = logging.getLogger("calopipe")

#: page of the report
GROUP = "columns"
MOMENTS = ("mean", "std", "skewness", "kurtosis")
#: rows of each sample whose moments and distances are resampled, at most
MAX_ROWS = 20_000


def evaluate_columns(
    reference: Path,
    generated: Path,
    *,
    config: HistogramConfig,
    classifier: ClassifierConfig | None,
    others: Path | None = None,
    halved: bool = False,
    seed: int,
    histograms: Path,
    scores: Path,
) -> None:
    """Compare columns, overall and in slices of the conditions; write histograms and scores.

    Scores, each with error: separation power of the histograms, Wasserstein distance and KL divergence (with floors), differences of mean,
    standard deviation, skewness, excess kurtosis and FWHM, how much values differ at equal conditions, and the AUC of a classifier that sees columns and conditions.

    Args:
        reference, generated: files of columns, with the same columns and conditions.
        config: number of bins, and slices.
        classifier: boosted trees; None: no test.
        others: further data of the reference's kind, on which the power of the test is measured; None: it is not.
        halved: the power is measured with halves of the reference instead: where no other data have its conditions.
        seed: of resampling and trainings.
        histograms, scores: files to write.

    Raises:
        DataError: a file is none of columns, or has other ones.
    """
    base = read_columns(reference)
    sample = read_columns(generated, list(base.values), list(base.conditions))
    draws = draws_of(column_attributes(generated))
    save_histograms(histograms, list(column_histograms(base, {GENERATED: sample}, config, draws)))
    found = compare_columns(base, sample, config, seed)
    if classifier is not None:
        found.append(_test(base, sample, classifier, seed))
        pair = _halves(base, seed) if halved else None
        if pair is None and others is not None:
            pair = base, read_columns(others, list(base.values), list(base.conditions))
        if pair is not None and found[-1].value is not None:
            try:
                found[-1].extra["power"] = _power(*pair, len(sample), classifier, seed)
            except MetricUnavailable as error:
                found[-1].extra["power"] = {"missing": str(error)}
    save_scores(scores, [score.finite() for score in found])
    log.info("%d columns of %d and %d rows compared", len(base.values), len(base), len(sample))


def compare_columns(base: Columns, sample: Columns, config: HistogramConfig, seed: int) -> list[Score]:
    """All scores of :func:`evaluate_columns` but that of the classifier, overall and in slices of the conditions."""
    edges = _edges(base, config)
    found = [score for (name, part), bins in edges.items() for score in _scores(base, sample, name, bins, part, seed)]
    parts = dict.fromkeys(part for _, part in edges)
    return found + [score for part in parts for score in _diversity(base, sample, part, seed)]


def _edges(base: Columns, config: HistogramConfig) -> Edges:
    """Bins of each column, overall and in those slices of conditions that the data have."""
    slices = [part for part in slices_of(config) if part.condition in base.conditions]
    return column_edges(base.values, config.bins, base.conditions, slices)


def column_histograms(
    base: Columns, samples: Mapping[str, Columns], config: HistogramConfig, draws: int = 1
) -> Iterator[Histogram]:
    """Of every column, overall and in slices, of the reference and of samples by name; with the counts of each draw of a network's
    weights where there are several, of all samples alike.
    """
    edges = _edges(base, config)
    by_draw = {name: _by_draw(sample, draws) for name, sample in samples.items()}
    every = {REFERENCE: base, **samples}
    parts = [c for columns in by_draw.values() for c in columns]
    each = zip(*(summarise_columns(c.values, c.conditions, edges) for c in (*every.values(), *parts)), strict=True)
    for found in each:
        whole = dict(zip(every, found, strict=False))
        counts, totals = {k: v.counts for k, v in whole.items()}, {k: v.moments.n for k, v in whole.items()}
        of_draws, entered = {}, {}
        if draws > 1:
            for k, name in enumerate(samples):
                mine = found[len(every) + k * draws : len(every) + (k + 1) * draws]
                of_draws[name] = np.stack([part.counts for part in mine])
                entered[name] = np.array([part.moments.n for part in mine])
        one = found[0]
        label = one.column.replace("_", " ")
        yield Histogram(
            one.column, GROUP, label, one.edges, counts, totals, part=one.part, draws=of_draws, draw_totals=entered
        )


def _by_draw(sample: Columns, draws: int) -> list[Columns]:
    """The rows of each draw of the weights; none where there is one draw only."""
    which = draw_of(np.arange(len(sample)), draws)
    return [sample.select(np.flatnonzero(which == k)) for k in range(draws)] if draws > 1 else []


def _scores(
    base: Columns, sample: Columns, name: str, edges: np.ndarray, part: Slice | None, seed: int
) -> Iterator[Score]:
    rows = [_rows(columns, part) for columns in (base, sample)]
    end = "" if part is None else f"/{part}"
    values = [c.values[name][r].astype(np.float64) for c, r in zip((base, sample), rows, strict=True)]
    counts = [np.histogram(v, edges)[0] for v in values]
    rng = generator(seed, "columns", f"{name}{end}")
    sizes = len(values[0]), len(values[1])
    yield separation_score(f"separation_power/{name}{end}", counts[0], counts[1], sizes, rng)
    few = [v if len(v) <= MAX_ROWS else rng.choice(v, MAX_ROWS, replace=False) for v in values]
    yield distance_score(f"wasserstein/{name}{end}", few[0], few[1], rng)
    yield kl_score(f"kl/{name}{end}", few[0], few[1], rng)
    for moment in MOMENTS:
        statistic = partial(_moment, moment)
        yield difference_score(f"{moment}_difference/{name}{end}", statistic, few[0], few[1], rng)
    width = partial(_width, edges)
    yield difference_score(f"fwhm_difference/{name}{end}", width, few[0], few[1], rng)


def _diversity(base: Columns, sample: Columns, part: Slice | None, seed: int) -> Iterator[Score]:
    """How much the values of each column differ at equal conditions (:mod:`calopipe.metrics.column_diversity`)."""
    rng = generator(seed, "diversity", str(part))
    rows = [np.flatnonzero(_rows(columns, part)) for columns in (base, sample)]
    rows = [r if len(r) <= MAX_ROWS else rng.choice(r, MAX_ROWS, replace=False) for r in rows]
    end, facts = ("", {}) if part is None else (f"/{part}", {"slice": asdict(part)})
    try:
        groups = condition_groups(base.condition[rows[0]], sample.condition[rows[1]], rng)
    except MetricUnavailable as error:
        n = min(map(len, rows))
        yield from (Score.absent(f"diversity/{k}/{c}{end}", n, error, extra=facts) for c in base.values for k in NAMES)
        return
    for name in base.values:
        values = [columns.values[name][r] for columns, r in zip((base, sample), rows, strict=True)]
        for score in diversity_scores(name, values[0], values[1], groups, rng):
            yield replace(score, name=f"{score.name}{end}", extra={**score.extra, **facts})


def _rows(columns: Columns, part: Slice | None) -> np.ndarray:
    if part is None:
        return np.ones(len(columns), dtype=bool)
    return part.holds(columns.conditions[part.condition].astype(np.float64))


def _moment(name: str, values: np.ndarray) -> float | None:
    value = getattr(moments(values), name)
    return None if value is None else float(value)


def _width(edges: np.ndarray, values: np.ndarray) -> float | None:
    return fwhm(np.histogram(values, edges)[0], edges)


def _test(base: Columns, sample: Columns, config: ClassifierConfig, seed: int) -> Score:
    """AUC of boosted trees on columns and conditions, cross-validated, with its whole error."""
    try:
        result = classifier_test(_table(base), _table(sample), config, derive(seed, "columns"))
    except MetricUnavailable as error:
        return Score.absent("classifier/trees/auc", min(len(base), len(sample)), error)
    return Score("classifier/trees/auc", float(result.auc.mean()), result.auc_error, result.n, floor=0.5)


def _table(columns: Columns) -> np.ndarray:
    return np.hstack([columns.x, columns.condition])


def _halves(columns: Columns, seed: int) -> tuple[Columns, Columns]:
    """Two random halves of the rows."""
    rows = generator(seed, "halves").permutation(len(columns))
    half = len(rows) // 2
    return columns.select(np.sort(rows[:half])), columns.select(np.sort(rows[half : 2 * half]))


def _power(base: Columns, others: Columns, n: int, config: ClassifierConfig, seed: int) -> dict[str, Any]:
    """What the test finds in `n` other rows of data (as far as there are so many), as they are and distorted a little."""
    rows = generator(seed, "power").permutation(len(others))[:n]
    second, (mean, std) = others.select(np.sort(rows)), (getattr(np, f)(base.x, axis=0) for f in ("mean", "std"))
    config = config.model_copy(update={"repeats": 1})

    def judge(text: str, values: np.ndarray) -> dict[str, Any]:
        table = np.hstack([values, second.condition])
        result = classifier_test(_table(base), table, config, seed, progress=lambda line: None)
        auc, error = float(result.auc.mean()), result.errors["auc"]
        log.info("classifier trees, %s: AUC %.4f +- %.4f", text, auc, error)
        return finding(text, auc, error)

    distortions = {
        key: judge(distortion.text, distortion.apply(second.x, mean, std, generator(seed, "distortion", key)))
        for key, distortion in COLUMN_DISTORTIONS.items()
        if base.conditions or not distortion.of_conditions
    }
    sizes = {"n_reference": len(base), "n_distorted": len(second)}
    return {**sizes, "floor": judge("two samples of the data", second.x), "distortions": distortions}
