"""Tables of a report on amplification studies: what the cross-validation chose (Bieringer 2022, table 1), and all divergences."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from calopipe.plots.calomplification import ESTIMATORS, count
from calopipe.records.divergences import DivergenceCurve
from calopipe.records.scores import Score
from calopipe.report.data import DatasetData, ModelData
from calopipe.report.numbers import format_measurement
from calopipe.report.sources import Source, Sourced, sources_of
from calopipe.report.tables import Table

#: settings of an estimator that its cross-validation chooses
_CHOSEN = {"kde": "bandwidth", "histogram": "bins"}
_HEADS = {"kde": "KDE bandwidth", "histogram": "histogram bins"}


def amplification_tables(data: DatasetData) -> Iterator[Table]:
    """Settings of the estimators, and divergences and amplification of all samples of the dataset's studies."""
    estimated = next((model.estimators for model in data.models if model.estimators), [])
    if estimated:
        yield _settings_table(estimated)
    studied = [model for model in data.models if model.divergences]
    if studied:
        yield from _divergence_table(studied)


# ---- estimators ---------------------------------------------------------------------------------------------------------
def _settings_table(scores: Sequence[Score]) -> Table:
    """Bandwidths and numbers of bins, a row for each set of observables."""
    known = {(_observables(s), s.sample): s for s in scores}
    samples = sorted({s.sample for s in scores}, key=lambda s: (list(_CHOSEN).index(_kind(s)[0]), _kind(s)[1]))
    names = dict.fromkeys(_observables(s) for s in scores)
    heads = [f"{_HEADS[kind]}, {count(n)}" for kind, n in map(_kind, samples)]
    rows = [(_label(name), *(_chosen(known.get((name, sample))) for sample in samples)) for name in names]
    fits = sorted({len(s.extra["fits"]) for s in scores})
    return Table(
        columns=("Observables", *heads),
        rows=tuple(rows),
        caption="What cross-validation chose for the estimators",
        note=f"Mean and standard deviation over fits to {'-'.join(map(str, fits))} disjoint Geant4 samples of the size named. Bandwidths are in "
        "standard deviations of the observables; bins are per dimension. Bieringer 2022, table 1, of its own images.",
    )


def _kind(sample: str) -> tuple[str, int]:
    """``("kde", 1000)`` of the sample ``kde_1000``."""
    kind, _, n = sample.rpartition("_")
    return kind, int(n)


def _chosen(score: Score | None) -> str:
    """Mean and standard deviation of what the fits chose, dimension by dimension."""
    if score is None:
        return ""
    key = _CHOSEN[_kind(score.sample)[0]]
    values = np.array([np.atleast_1d(fit[key]) for fit in score.extra["fits"]], dtype=np.float64)
    spread = values.std(axis=0, ddof=1) if len(values) > 1 else np.zeros(values.shape[1])
    texts = (format_measurement(float(m), float(s)) for m, s in zip(values.mean(axis=0), spread, strict=True))
    return Sourced(" × ".join(texts), sources_of([score]))


# ---- divergences --------------------------------------------------------------------------------------------------------
def _divergence_table(models: Sequence[ModelData]) -> Iterator[Table]:
    """D and amplification factor at the numbers of quantiles that scores are given at: a row for each of them and the observables."""
    first = models[0]
    asked = sorted({int(s.name.split("/")[2]) for model in models for s in model.amplification})
    columns: dict[str, list[tuple[DivergenceCurve, Source]]] = {}
    for model in models:
        source = Source(model.studied.divergences or "" if model.studied else "")
        for curve in model.divergences:
            if curve.kind != "floor" and (curve.kind == "generator" or model is first):
                columns.setdefault(_head(curve, model.name), []).append((curve, source))
    rows = []
    for name in dict.fromkeys(curve.observables for found in columns.values() for curve, _ in found):
        for q in asked:
            cells = [_divergence(found, name, q) for found in columns.values()]
            if any(cells):
                rows.append((_label(name), str(q), *cells))
    if rows:
        yield Table(
            columns=("Observables", "Quantiles", *columns),
            rows=tuple(rows),
            text_columns=1,
            caption="Divergence from the truth, and below it the amplification factor",
            note="Of Geant4 samples of the sizes named, and of what was learned from so many showers. Errors: standard deviations between samples, fits or "
            "trainings, or the statistical error of a single one. Dashes: too few showers for so many quantiles (n/10 rule).",
        )


def _head(curve: DivergenceCurve, model: str) -> str:
    if curve.kind == "generator":
        what = model if curve.name == "generated" else curve.name
    else:
        what = ESTIMATORS[curve.kind][0] if curve.kind in ESTIMATORS else "Geant4"
    return f"{what}, {count(curve.n)}"


def _divergence(found: Iterable[tuple[DivergenceCurve, Source]], name: str, q: int) -> str:
    """D ± its error and, where there is one, the factor in the line below; empty where the curve does not reach so many quantiles."""
    for curve, source in found:
        at = np.flatnonzero(curve.quantiles == q)
        if curve.observables == name and len(at):
            k = int(at[0])
            text = format_measurement(float(curve.values[k]), float(curve.errors[k]))
            if np.isfinite(curve.amplification[k]):
                factor = format_measurement(float(curve.amplification[k]), float(curve.amplification_errors[k]))
                text += f"\nfactor {factor}{' (extrapolated)' if curve.extrapolated[k] else ''}"
            return Sourced(text, [source])
    return ""


def _observables(score: Score) -> str:
    return score.name.split("/")[1]


def _label(observables: str) -> str:
    return observables.replace("+", ", ")
