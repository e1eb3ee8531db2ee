"""The figures of a report on amplification studies."""

from __future__ import annotations

from collections.abc import Iterator

from calopipe.plots.calomplification import amplification_figure, count, divergence_figure
from calopipe.plots.style import LineStyle
from calopipe.records.divergences import DivergenceCurve
from calopipe.report.data import DatasetData
from calopipe.report.drawing import Task, file_name
from calopipe.report.sources import files


def amplification_tasks(data: DatasetData) -> Iterator[Task]:
    """Divergences of all generators; Geant4 samples and estimators, common to them, from the first that has them."""
    common: list[DivergenceCurve] = []
    lines, truth = [], 0
    for model in data.models:
        truth = truth or model.n_truth
        common = common or [c for c in model.divergences if c.kind != "generator"]
        for curve in (c for c in model.divergences if c.kind == "generator"):
            own = curve.name == "generated"
            label = f"{model.name if own else curve.name}, {count(curve.n)}"
            lines.append((curve, LineStyle(label, model.style.color, "-" if own else "--")))
    sources = files(model.studied.divergences for model in data.models if model.divergences and model.studied)
    if lines:
        trainings = max(curve.n_sets for curve, _ in lines)
        bands = f"standard deviations of {trainings} trainings" if trainings > 1 else "errors of the finite samples"
        for what, function in (("divergence", divergence_figure), ("amplification", amplification_figure)):
            title = f"{data.name}: {what} in quantiles of the truth"
            caption = f"{title}; bands: {bands}, of the samples of Geant4, and of fits of the estimators"
            arguments = (common, lines, truth, title)
            name = file_name(data.name, what)
            yield Task("amplification", name, caption, function, arguments, wide=True, sources=sources)
