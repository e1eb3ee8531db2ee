"""The configured metrics of every sample against the reference: from files to ``metrics.json``."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from calopipe.config import parts
from calopipe.config.parts import METRICS, Part
from calopipe.config.scores import MetricSettings
from calopipe.errors import ConfigError, MetricUnavailable
from calopipe.evaluation.inputs import Readout, check_samples, with_reference
from calopipe.evaluation.reconstruction import evaluate_reconstruction
from calopipe.evaluation.samples import load_sample
from calopipe.metrics.base import Sample
from calopipe.records.histograms import load_histograms
from calopipe.records.samples import RECONSTRUCTED, REFERENCE
from calopipe.records.scores import Score, save_scores
from calopipe.records.slices import Slice
from calopipe.seeds import derive, generator

log = logging.getLogger("calopipe")


def evaluate_metrics(
    reference: Path,
    samples: Mapping[str, Path],
    readout: Readout,
    *,
    metrics: Sequence[Any],
    histograms: Path,
    seed: int,
    out: Path,
    latent: int | None = None,
) -> None:
    """Compute each metric of each sample and write the scores; those marked ``sliced`` also of each slice.

    A sample called ``reconstructed`` is compared shower by shower too (:mod:`calopipe.evaluation.reconstruction`).
    A metric that is not defined on its input is written as a score without a value that says why; the others go on.

    Args:
        reference: shower file of the reference.
        samples: name -> shower file.
        readout: what they are compared in.
        metrics: ``{"metric": <registered name>, **settings}`` each, or what :func:`calopipe.config.parts.metrics` made of it.
        histograms: what :func:`evaluate_observables` wrote for the same samples; its slices are those of the metrics.
        seed: seed of bootstraps; every metric and sample draws from a stream of its own.
        out: JSON file of scores.
        latent: dimension of the latent space of the samples' generator, where it has one.

    Raises:
        DataError: a file does not fit the geometry, or holds values that are not energies.
        ConfigError: unknown metric or settings.
    """
    check_samples(with_reference(reference, samples), readout.geometry)
    chosen = parsed(metrics)
    sliced = [m for m in chosen if isinstance(m.settings, MetricSettings) and m.settings.sliced]
    slices: list[Slice | None] = [None, *(_slices(histograms) if sliced else ())]
    scores: dict[str, list[Score]] = {name: [] for name in samples}
    for part in slices:
        base = load_sample(REFERENCE, reference, readout, histograms=histograms, part=part)
        for name, path in samples.items():
            sample = load_sample(name, path, readout, histograms=histograms, reference=base, latent=latent, part=part)
            scores[name] += measure_metrics(base, sample, name, sliced if part else chosen, seed, part)
    if RECONSTRUCTED in samples:
        found = evaluate_reconstruction(reference, samples[RECONSTRUCTED], readout)
        scores[RECONSTRUCTED] += [replace(score.finite(), sample=RECONSTRUCTED) for score in found]
    save_scores(out, [score for found in scores.values() for score in found])


def parsed(metrics: Sequence[Any]) -> list[Part]:
    """Metrics and their settings, validated. Raises ConfigError."""
    try:
        return parts.metrics(list(metrics))
    except ValueError as error:
        raise ConfigError(f"metrics{'' if str(error).startswith('.') else ': '}{error}") from None


def _slices(histograms: Path) -> list[Slice]:
    """The slices that were configured: those with average showers. Where there are none, single incident energies with histograms."""
    pages, averages = load_histograms(histograms)
    configured = [average.part for average in averages if average.part is not None]
    return configured or list(dict.fromkeys(h.part for h in pages if h.part is not None))


def measure_metrics(
    base: Sample,
    sample: Sample,
    name: str,
    metrics: Sequence[Part],
    seed: int,
    part: Slice | None = None,
) -> list[Score]:
    """The scores of one sample, or of a slice of it, against the reference `base`; otherwise as :func:`evaluate_metrics`."""
    scores: list[Score] = []
    for entry in metrics:
        found = [score.finite() for score in _measure(entry, base, sample, derive(seed, "metric", name), part)]
        if part is not None:
            facts = {"slice": asdict(part)}
            found = [replace(s, name=f"{s.name}/{part}", extra={**s.extra, **facts}) for s in found]
        scores += [replace(score, seed=seed, sample=name) for score in found]
        log.info("metric %s of %s%s: done", entry.name, name, f", {part}" if part else "")
    return scores


def _measure(entry: Part, base: Sample, sample: Sample, seed: int, part: Slice | None) -> list[Score]:
    name, arguments = entry.name, [] if entry.settings is None else [entry.settings]
    rng = generator(seed, name, *([] if part is None else [str(part)]))
    try:
        if not min(base.n, sample.n):
            raise MetricUnavailable("no showers in this slice")
        found = METRICS.get(name)(base, sample, rng, *arguments)
    except MetricUnavailable as error:
        log.warning("metric %s: %s", name, error)
        return [Score.absent(name, min(base.n, sample.n), error)]
    return [found] if isinstance(found, Score) else list(found)
