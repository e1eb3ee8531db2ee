"""Figures of what classifiers reveal: showers of extreme weight, and the comparison of all models by one classifier."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from calopipe.evaluation.formats import REFERENCE
from calopipe.plots.histograms import Series, histogram_page
from calopipe.plots.multiclass import Posterior, confusion_figure, ranking_figure
from calopipe.plots.style import COLORS, REFERENCE_LABEL, LineStyle, sample_style
from calopipe.report.data import DatasetData, ModelData
from calopipe.report.drawing import Task, file_name
from calopipe.report.figures import PANELS_PER_PAGE, _is_drawn

#: observables that are drawn of showers of extreme weight (their files hold all)
_TELLING = ("E_ratio", "layer_ratio", "width_eta", "activity", "voxels")
SECTION = "classifiers"


def verdict_tasks(data: DatasetData) -> list[Task]:
    """The figures of one dataset."""
    names = dict.fromkeys(name for model in data.models for seed in model.seeds for name in seed.weights)
    found = [task for name in names for model in data.models for task in _extreme_weights(data, model, name)]
    return [*found, *_comparisons(data)]


def _extreme_weights(data: DatasetData, model: ModelData, name: str) -> Iterator[Task]:
    """Observables of the generated showers of lowest and highest weight of one classifier."""
    seeds = [{h.name: h for h in s.weights[name]} for s in model.seeds if name in s.weights]
    if not seeds:
        return
    kept = [h for h in seeds[0].values() if h.name.split("/")[0] in _TELLING and _is_drawn(h.name, data.geometry)]
    kept.sort(key=lambda h: _TELLING.index(h.name.split("/")[0]))
    parts = [kept[i : i + PANELS_PER_PAGE] for i in range(0, len(kept), PANELS_PER_PAGE)]
    others = [c for c in COLORS if c != model.style.color]
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
        yield Task(SECTION, file, caption, histogram_page, (panels, title), wide=True)


def _comparisons(data: DatasetData) -> Iterator[Task]:
    """Ranking and confusion matrix of each multi-class test (one per evaluation)."""
    styles = {s.run.compared_as: m.style for m in data.models for s in m.seeds if s.run.compared_as}
    tests = {s.run.confusion: s for m in data.models for s in m.seeds if s.run.confusion and s.confusion}
    for number, seed in enumerate(tests.values(), start=1):
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
            arguments = (entries, -np.log(len(names)), data.name)
            yield Task(SECTION, file_name(data.name, "ranking", suffix), caption, ranking_figure, arguments)
        caption = f"{data.name}: confusion matrix of the multi-class classifier"
        arguments = (seed.confusion["confusion"], labels, data.name)
        yield Task(SECTION, file_name(data.name, "confusion", suffix), caption, confusion_figure, arguments)
