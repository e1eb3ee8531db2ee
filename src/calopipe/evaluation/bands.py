"""Bands of Bayesian networks beside those of ensembles, from the histograms of their runs (:mod:`calopipe.metrics.bands`)."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from calopipe.errors import DataError, MetricUnavailable
from calopipe.metrics.bands import BAND, Array, Band, Comparison, Panel, by_chance, compare_bands
from calopipe.records.histograms import Histogram, load_histograms
from calopipe.records.samples import GENERATED, REFERENCE
from calopipe.records.scores import Score, save_scores
from calopipe.records.slices import Slice
from calopipe.seeds import generator

log = logging.getLogger("calopipe")

#: a kind of score, and whether counting errors are in it
KINDS = {"": True, "_without_counts": False}
Key = tuple[str, Slice | None]


class Run(NamedTuple):
    """One run: its model and its seed."""

    model: str
    seed: int


def evaluate_bands(
    bayesian: Mapping[Run, Path], ensembles: Mapping[str, Sequence[Path]], *, seed: int, out: Path
) -> None:
    """Compare the band of each Bayesian run with that of each ensemble, and write the scores.

    ``bands/covered``, ``bands/width_ratio`` and the same ``_without_counts``, of all observables together, of each (``/<name>``) and of all in each
    slice (``/<slice>``). A score's `seed` is that of the Bayesian run, its `floor` the covered fraction of networks that do not
    differ at all, counts drawn with `seed`; ``extra`` names both models and holds draws, trainings, used bins and BAND.

    Args:
        bayesian: run -> its histograms, which hold draws. ensembles: model -> the histograms of its seeds.

    Raises:
        DataError: a file is damaged, holds no draws, or has other bins than the others.
    """
    scores = []
    for run, path in bayesian.items():
        own = histograms_of(path)
        for model, paths in ensembles.items():
            others = [histograms_of(p) for p in paths]
            panels = {key: _panel(key, h, others, (path, paths)) for key, h in own.items()}
            extra = {"bayesian": run.model, "ensemble": model, "trainings": len(paths), "band": BAND}
            scores += _scores(panels, run.seed, extra, seed)
    save_scores(out, scores)
    log.info("%d comparisons of bands: %s", len(bayesian) * len(ensembles), out)


def histograms_of(path: Path) -> dict[Key, Histogram]:
    """The histograms of a file to which a shower adds one entry, by name and slice."""
    return {(h.name, h.part): h for h in load_histograms(path)[0] if h.group != "voxels"}


def band_of_draws(histogram: Histogram) -> Band:
    """That of the draws of a network's weights. MetricUnavailable where there are too few, or without entries."""
    return Band(np.asarray(histogram.draws[GENERATED]), np.asarray(histogram.draw_totals[GENERATED]))


def reference_shares(histogram: Histogram) -> Array:
    """(B,) shares of the reference's entries."""
    return np.asarray(histogram.counts[REFERENCE], dtype=np.float64) / max(histogram.totals[REFERENCE], 1)


def panel_of(bayesian: Histogram, ensemble: Sequence[Histogram]) -> Panel:
    """One histogram: of a sample by several draws, and of samples of several trainings. Raises like :func:`band_of_draws`."""
    seeds = Band(np.stack([h.counts[GENERATED] for h in ensemble]), np.array([h.totals[GENERATED] for h in ensemble]))
    counts = np.asarray(bayesian.counts[REFERENCE], dtype=np.float64)
    return Panel(reference_shares(bayesian), counts, band_of_draws(bayesian), seeds)


def _panel(
    key: Key, own: Histogram, others: Sequence[Mapping[Key, Histogram]], paths: tuple[Path, Sequence[Path]]
) -> Panel | MetricUnavailable:
    if GENERATED not in own.draws:
        raise DataError(f"{paths[0]}: expected histograms of several draws of weights, found '{own.name}' without any")
    for found, path in zip(others, paths[1], strict=True):
        if key not in found or not np.array_equal(found[key].edges, own.edges):
            raise DataError(
                f"{path}: '{own.name}' has other bins than in {paths[0]}; make both anew with one evaluation"
            )
    try:
        return panel_of(own, [found[key] for found in others])
    except MetricUnavailable as error:
        return error


def _scores(
    panels: Mapping[Key, Panel | MetricUnavailable], run: int, extra: Mapping[str, Any], seed: int
) -> list[Score]:
    groups: dict[str, list[Panel | MetricUnavailable]] = {"": []}
    for (name, part), panel in panels.items():
        for group in ("", f"/{name}") if part is None else (f"/{part}",):
            groups.setdefault(group, []).append(panel)
    found = []
    for group, several in groups.items():
        there = [p for p in several if isinstance(p, Panel)]
        for end, counting in KINDS.items():
            names = (f"bands/covered{end}{group}", f"bands/width_ratio{end}{group}")
            found += _scores_of(names, there, counting, {"seed": run, "extra": dict(extra)}, seed)
    return found


def _scores_of(
    names: tuple[str, str], panels: Sequence[Panel], counting: bool, more: dict[str, Any], seed: int
) -> list[Score]:
    """Both scores of some panels, with counting errors or without."""
    n = int(min((t for p in panels for band in (p.bayesian, p.ensemble) for t in band.totals), default=0))
    rng = generator(seed, names[0])
    try:
        if not panels:
            raise MetricUnavailable("draws or trainings without entries")
        comparison = compare_bands(panels, counting, rng)
    except MetricUnavailable as error:
        return [Score.absent(name, n, error, **more) for name in names]
    floor = by_chance(panels, counting, rng)
    extra = {**more["extra"], "draws": len(panels[0].bayesian.counts), "bins": comparison.bins, "target": 1.0}
    more = {**more, "extra": extra}
    return [Score(names[0], *comparison.covered, n, floor=floor, **more), _ratio(names[1], comparison, n, more)]


def _ratio(name: str, comparison: Comparison, n: int, more: dict[str, Any]) -> Score:
    value, error = comparison.ratio
    if not np.isfinite(value):
        return Score.absent(name, n, "the ensemble is no wider than its counting errors", **more)
    return Score(name, value, error, n, **more)
