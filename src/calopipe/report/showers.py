"""Figures of average showers: layer by layer, and the mean profile along the axis."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from calopipe.geometry import Geometry
from calopipe.plots.layers import pick_layers
from calopipe.plots.showers import average_figure, layers_figure, profile_figure
from calopipe.plots.style import REFERENCE_LABEL, LineStyle, sample_style, slice_label
from calopipe.records.slices import Slice
from calopipe.report.data import DatasetData
from calopipe.report.drawing import Task, file_name


def average_tasks(data: DatasetData) -> Iterator[Task]:
    """Average showers of the reference and of every model, of all showers and of each slice in energy."""
    geometry = data.geometry
    if geometry is None:
        return
    slices = {key: None for model in data.models for seed in model.seeds for key in seed.averages}
    for part in (None, *sorted(s for s in slices if s is not None)):
        reference, samples = _averages(data, part, geometry)
        if reference is None or not samples:
            continue
        text, short = slice_label(part), "" if part is None else str(part)
        title = f"{data.name}: average showers" + (f", {text}" if text else "")
        some = ""
        if geometry.n_layers > 6:
            some = f" (layers {', '.join(str(geometry.layer_ids[i]) for i in pick_layers(geometry))})"
        means = {style.label: mean for style, mean in samples}
        name = file_name(data.name, "average", short)
        yield Task("averages", name, title + some, average_figure, (geometry, reference, means, title), wide=True)
        if geometry.n_layers > 1:
            caption = f"{data.name}: mean energy per layer" + (f", {text}" if text else "")
            yield Task(
                "averages",
                file_name(data.name, "profile", short),
                caption,
                profile_figure,
                (geometry, reference, samples),
            )
        if geometry.n_layers > 6 and part is None:
            yield from _all_layers(data.name, geometry, reference, samples)


def _all_layers(
    dataset: str, geometry: Geometry, reference: np.ndarray, samples: Sequence[tuple[LineStyle, np.ndarray]]
) -> Iterator[Task]:
    for label, mean in [(REFERENCE_LABEL, reference), *((style.label, mean) for style, mean in samples)]:
        title = f"{dataset}: average shower of {label}, all layers"
        arguments = (geometry, mean, title, r"$\langle E\rangle$ [MeV]", reference)
        yield Task("averages", file_name(dataset, "average_layers", label), title, layers_figure, arguments)


def _averages(
    data: DatasetData, part: Slice | None, geometry: Geometry
) -> tuple[np.ndarray | None, list[tuple[LineStyle, np.ndarray]]]:
    """Reference mean (V,) and the mean over seeds of every sample; samples of another geometry are left out."""
    reference, found = None, []
    for model in data.models:
        averages = [seed.averages[part] for seed in model.seeds if part in seed.averages]
        averages = [a for a in averages if all(len(m) == geometry.n_voxels for m in a.mean.values())]
        if averages and reference is None:
            reference = averages[0].mean.get("reference")
        for sample in model.samples():
            means = [a.mean[sample] for a in averages if sample in a.mean]
            if means:
                style = sample_style(model.style, sample, len(means))
                found.append((style, np.stack(means).mean(axis=0, dtype=np.float64)))
    return reference, found
