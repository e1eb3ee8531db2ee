"""The figures of a report on amplification studies."""

from __future__ import annotations

from collections.abc import Iterator

from calopipe.plots.calomplification import amplification_figure, divergence_figure
from calopipe.plots.style import LineStyle
from calopipe.report.data import DatasetData
from calopipe.report.drawing import Task, file_name


def amplification_tasks(data: DatasetData) -> Iterator[Task]:
    """Divergences of all generators; Geant4 samples and estimators, common to them, from the first that has them."""
    common, lines, truth = [], [], 0
    for model in data.models:
        for seed in (s for s in model.seeds if s.divergences):
            truth = truth or seed.n_truth
            common = common or [c for c in seed.divergences if c.kind != "generator"]
            for curve in (c for c in seed.divergences if c.kind == "generator"):
                label = model.name if curve.name == "generated" else curve.name
                label += f", seed {seed.run.seed}" if len(model.seeds) > 1 else ""
                lines.append((curve, LineStyle(label, model.style.color, "-" if curve.name == "generated" else "--")))
    if lines:
        for what, function in (("divergence", divergence_figure), ("amplification", amplification_figure)):
            title = f"{data.name}: {what} in quantiles of the truth"
            yield Task(
                "amplification", file_name(data.name, what), title, function, (common, lines, truth, title), wide=True
            )
