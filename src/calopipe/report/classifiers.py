"""Figures of classifier tests: ROC curves, weights, showers of extreme weight, and the comparison of all models by one."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from calopipe.plots.classifier import RocCurve, roc_figure, weights_figure
from calopipe.plots.histograms import Series, histogram_page
from calopipe.plots.multiclass import Posterior, confusion_figure, ranking_figure
from calopipe.plots.style import COLORS, REFERENCE_LABEL, LineStyle, sample_style
from calopipe.records.samples import GENERATED, REFERENCE
from calopipe.report.data import DatasetData, ModelData
from calopipe.report.drawing import Task, file_name
from calopipe.report.histograms import PANELS_PER_PAGE, is_drawn
from calopipe.report.numbers import format_measurement
from calopipe.report.sources import files, paths_of
from calopipe.report.tables import combine

#: observables that are drawn of showers of extreme weight (their files hold all)
_TELLING = ("E_ratio", "layer_ratio", "width_eta", "activity", "voxels")
SECTION = "classifiers"
_SAMPLES = (REFERENCE, GENERATED)


def classifier_tasks(data: DatasetData) -> Iterator[Task]:
    """All figures of the classifier tests of one dataset."""
    yield from _roc_tasks(data)
    yield from verdict_tasks(data)


def _roc_tasks(data: DatasetData) -> Iterator[Task]:
    """ROC curves of all models by each classifier, and the weights of each model."""
    names = dict.fromkeys(name for model in data.models for seed in model.seeds for name in seed.curves)
    for name in names:
        curves: list[RocCurve] = []
        sources: list[str | None] = []
        for model in data.models:
            seeds = [s for s in model.seeds if name in s.curves]
            seeds = [s for s in seeds if {"fpr", "tpr"} <= set(s.curves[name]) and np.size(s.curves[name]["tpr"])]
            found = [s.curves[name] for s in seeds]
            if found:
                scores = [s for seed in model.seeds for s in seed.scores if s.name == f"classifier/{name}/auc"]
                scores = [s for s in scores if s.sample == GENERATED]
                auc = combine(scores)
                sources += [*(s.run.classifiers[name]["curves"] for s in seeds), *paths_of(scores)]
                style = sample_style(model.style, "generated", len(found))
                tpr = np.concatenate([np.atleast_2d(c["tpr"]) for c in found])
                text = format_measurement(*auc) if auc else "not known"
                curves.append(RocCurve(style, np.asarray(found[0]["fpr"]), tpr, text))
        if curves:
            caption = f"{data.name}: ROC of the classifier {name}"
            file, arguments = file_name(data.name, "roc", name), (curves, f"Classifier {name}")
            yield Task(SECTION, file, caption, roc_figure, arguments, sources=files(sources))
        yield from _weight_tasks(data, name)


def _weight_tasks(data: DatasetData, name: str) -> Iterator[Task]:
    for model in data.models:
        seeds = [s for s in model.seeds if name in s.curves]
        seeds = [s for s in seeds if all(np.size(s.curves[name].get(f"weights_{k}", ())) for k in _SAMPLES)]
        found = [s.curves[name] for s in seeds]
        if found:
            reference, generated = (np.concatenate([np.ravel(c[f"weights_{k}"]) for c in found]) for k in _SAMPLES)
            title = f"{model.name}: weights of the classifier {name}"
            style = sample_style(model.style, "generated", len(found))
            file = file_name(data.name, model.name, "weights", name)
            arguments = (reference, generated, style, title)
            sources = files(s.run.classifiers[name]["curves"] for s in seeds)
            yield Task(SECTION, file, f"{data.name}: {title}", weights_figure, arguments, sources=sources)


def verdict_tasks(data: DatasetData) -> list[Task]:
    """What the classifiers reveal: showers of extreme weight, and the multi-class comparison."""
    names = dict.fromkeys(name for model in data.models for seed in model.seeds for name in seed.weights)
    found = [task for name in names for model in data.models for task in _extreme_weights(data, model, name)]
    return [*found, *_comparisons(data)]


def _extreme_weights(data: DatasetData, model: ModelData, name: str) -> Iterator[Task]:
    """Observables of the generated showers of lowest and highest weight of one classifier."""
    seeds = [{h.name: h for h in s.weights[name]} for s in model.seeds if name in s.weights]
    if not seeds:
        return
    kept = [h for h in seeds[0].values() if h.name.split("/")[0] in _TELLING and is_drawn(h.name, data.geometry)]
    kept.sort(key=lambda h: _TELLING.index(h.name.split("/")[0]))
    parts = [kept[i : i + PANELS_PER_PAGE] for i in range(0, len(kept), PANELS_PER_PAGE)]
    others = [c for c in COLORS if c != model.style.color]
    sources = files(s.run.classifiers[name]["weights"] for s in model.seeds if name in s.weights)
    for number, part in enumerate(parts, start=1):
        panels = []
        for first in part:
            same = [s[first.name] for s in seeds if first.name in s]
            same = [h for h in same if np.array_equal(h.edges, first.edges) and h.counts.keys() == first.counts.keys()]
            styles = {"generated": sample_style(model.style, "generated", len(same))}
            extremes = [s for s in first.counts if s not in (REFERENCE, "generated")]
            styles |= {s: LineStyle(s, others[i], (0, (4, 1.5))) for i, s in enumerate(extremes)}
            panels.append([Series(style, tuple(same), sample) for sample, style in styles.items()])
        title = f"{model.name}: weights of the classifier {name}" + (f" ({number}/{len(parts)})" if parts[1:] else "")
        caption = f"{data.name}: observables of showers of extreme weight, {title}"
        file = file_name(data.name, model.name, "extreme_weights", name, str(number))
        yield Task(SECTION, file, caption, histogram_page, (panels, title), wide=True, sources=sources)


def _comparisons(data: DatasetData) -> Iterator[Task]:
    """Ranking and confusion matrix of each multi-class test (one per evaluation)."""
    styles = {s.run.compared_as: m.style for m in data.models for s in m.seeds if s.run.compared_as}
    tests = {s.run.confusion: s for m in data.models for s in m.seeds if s.run.confusion and s.confusion}
    for number, (confusion, seed) in enumerate(tests.items(), start=1):
        names = [str(n) for n in seed.confusion["names"]]
        if not seed.confusion["confusion"].size:
            continue
        suffix = str(number) if len(tests) > 1 else ""
        labels = [REFERENCE_LABEL if n == REFERENCE else n for n in names]
        scores = {s.sample: s for s in seed.comparison if s.name == "multiclass/log_posterior"}
        entries = [
            Posterior(labels[k], styles.get(n), s.value, s.error or 0.0, s.extra.get("statistical_error") or 0.0)
            for k, n in enumerate(names)
            if (s := scores.get(n)) is not None and s.value is not None
        ]
        if entries:
            caption = f"{data.name}: models ranked by the multi-class classifier"
            ranking = (entries, -np.log(len(names)), data.name)
            file, sources = file_name(data.name, "ranking", suffix), files([*paths_of(scores.values()), confusion])
            yield Task(SECTION, file, caption, ranking_figure, ranking, sources=sources)
        caption = f"{data.name}: confusion matrix of the multi-class classifier"
        matrix = (seed.confusion["confusion"], labels, data.name)
        file = file_name(data.name, "confusion", suffix)
        yield Task(SECTION, file, caption, confusion_figure, matrix, sources=files([confusion]))
