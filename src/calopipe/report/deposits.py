"""Figures of the mean energy deposit at each value of a condition, from the scores of the metric ``mean_deposit``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from calopipe.plots.deposits import Deposits, deposit_figure
from calopipe.plots.style import LineStyle, sample_style
from calopipe.records.samples import GENERATED, REFERENCE
from calopipe.records.scores import Score
from calopipe.records.slices import INCIDENT_ENERGY
from calopipe.report.data import DatasetData
from calopipe.report.drawing import Task, file_name
from calopipe.report.sources import files
from calopipe.units import GeV


def deposit_tasks(data: DatasetData) -> Iterator[Task]:
    """One figure for each condition, with all samples of all models (first seed of each)."""
    found: dict[str, list[tuple[LineStyle, list[Score], str | None]]] = {}
    for model in data.models:
        seed = model.seeds[0]
        scores = [s for s in seed.scores if s.name.startswith("mean_deposit/") and s.value is not None]
        scores = [s for s in scores if "slice" not in s.extra]
        for condition in dict.fromkeys(str(s.extra["condition"]) for s in scores):
            for sample in model.samples():
                same = [s for s in scores if (s.sample, s.extra["condition"]) == (sample, condition)]
                if same:
                    style = sample_style(model.style, sample)
                    found.setdefault(condition, []).append((style, same, seed.run.metrics))
    for condition, each in found.items():
        every, energy = [score for _, scores, _ in each for score in scores], condition == INCIDENT_ENERGY
        unit = GeV if energy and max(s.extra["at"] for s in every) >= 10 * GeV else 1.0
        reference = _deposits(every, REFERENCE, unit)
        samples = [(style, _deposits(scores, GENERATED, unit)) for style, scores, _ in each]
        label = condition.replace("_", " ")
        if energy:
            label = rf"$E_\mathrm{{inc}}$ [{'MeV' if unit == 1 else 'GeV'}]"
        title = f"{data.name}: mean energy deposit by {'incident energy' if energy else condition.replace('_', ' ')}"
        name, arguments = file_name(data.name, "mean_deposit", condition), (reference, samples, label, data.name)
        sources = files(path for _, _, path in each)
        yield Task("deposits", name, title, deposit_figure, arguments, sources=sources)


def _deposits(scores: Sequence[Score], which: str, unit: float) -> Deposits:
    """Means of the reference or of the sample that the scores are of, in the order of the condition; each value once."""
    found = {float(s.extra["at"]): s.extra[which] for s in scores}
    at = sorted(found)
    mean, error = (np.array([found[x][key] for x in at]) for key in ("mean_MeV", "error_MeV"))
    return Deposits(np.array(at) / unit, mean, error)
