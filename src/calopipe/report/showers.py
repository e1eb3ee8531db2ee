"""Figures of average showers: layer by layer, and the mean profile along the axis."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from calopipe.geometry import Geometry
from calopipe.plots.layers import pick_layers
from calopipe.plots.showers import average_figure, difference_figure, layers_figure, profile_figure
from calopipe.plots.style import REFERENCE_LABEL, LineStyle, sample_style, slice_label
from calopipe.records.samples import REFERENCE
from calopipe.records.slices import Slice
from calopipe.report.data import DatasetData
from calopipe.report.drawing import Task, file_name
from calopipe.report.sources import files


def average_tasks(data: DatasetData) -> Iterator[Task]:
    """Average showers of the reference and of every model, of all showers and of each slice in energy."""
    geometry = data.geometry
    if geometry is None:
        return
    slices = {key: None for model in data.models for seed in model.seeds for key in seed.averages}
    for part in (None, *sorted(s for s in slices if s is not None)):
        reference, samples, origin = _averages(data, part, geometry)
        if reference is None or not samples:
            continue
        text, short = slice_label(part), "" if part is None else str(part)
        title = f"{data.name}: average showers" + (f", {text}" if text else "")
        some = ""
        if geometry.n_layers > 6:
            some = f" (layers {', '.join(str(geometry.layer_ids[i]) for i in pick_layers(geometry))})"
        means = {style.label: mean for style, mean in samples}
        name = file_name(data.name, "average", short)
        sources = files(path for paths in origin.values() for path in paths)
        arguments = (geometry, reference, means, title)
        yield Task("averages", name, title + some, average_figure, arguments, wide=True, sources=sources)
        if part is None:
            yield from _differences(data.name, geometry, reference, samples, origin, some)
        if geometry.n_layers > 1:
            caption = f"{data.name}: mean energy per layer" + (f", {text}" if text else "")
            name, profile = file_name(data.name, "profile", short), (geometry, reference, samples)
            yield Task("averages", name, caption, profile_figure, profile, sources=sources)
        if geometry.n_layers > 6 and part is None:
            yield from _all_layers(data.name, geometry, reference, samples, origin)


def _differences(
    dataset: str,
    geometry: Geometry,
    reference: np.ndarray,
    samples: Sequence[tuple[LineStyle, np.ndarray]],
    origin: Mapping[str, tuple[str, ...]],
    layers: str,
) -> Iterator[Task]:
    """Of every sample a figure of its average shower less the reference's; `layers` says which are shown."""
    for style, mean in samples:
        title = f"{dataset}: average shower of {style.label} and its difference from {REFERENCE_LABEL}'s"
        name, sources = (
            file_name(dataset, "difference", style.label),
            files([*origin[REFERENCE_LABEL], *origin[style.label]]),
        )
        arguments = (geometry, reference, mean, style.label, title)
        yield Task("averages", name, title + layers, difference_figure, arguments, wide=True, sources=sources)


def _all_layers(
    dataset: str,
    geometry: Geometry,
    reference: np.ndarray,
    samples: Sequence[tuple[LineStyle, np.ndarray]],
    origin: Mapping[str, tuple[str, ...]],
) -> Iterator[Task]:
    for label, mean in [(REFERENCE_LABEL, reference), *((style.label, mean) for style, mean in samples)]:
        title = f"{dataset}: average shower of {label}, all layers"
        arguments = (geometry, mean, title, r"$\langle E\rangle$ [MeV]", reference)
        name, sources = file_name(dataset, "average_layers", label), files([*origin[REFERENCE_LABEL], *origin[label]])
        yield Task("averages", name, title, layers_figure, arguments, sources=sources)


def _averages(
    data: DatasetData, part: Slice | None, geometry: Geometry
) -> tuple[np.ndarray | None, list[tuple[LineStyle, np.ndarray]], dict[str, tuple[str, ...]]]:
    """Reference mean (V,), the mean over seeds of every sample, and the files of each by its label.

    Samples of another geometry are left out.
    """
    reference: np.ndarray | None = None
    found, origin = [], {}
    for model in data.models:
        averages = [(seed.run.histograms, seed.averages[part]) for seed in model.seeds if part in seed.averages]
        averages = [(f, a) for f, a in averages if all(len(m) == geometry.n_voxels for m in a.mean.values())]
        if averages and reference is None:
            reference = averages[0][1].mean.get(REFERENCE)
            origin[REFERENCE_LABEL] = files([averages[0][0]])
        for sample in model.samples():
            same = [(f, a.mean[sample]) for f, a in averages if sample in a.mean]
            if same:
                style = sample_style(model.style, sample, len(same))
                found.append((style, np.stack([mean for _, mean in same]).mean(axis=0, dtype=np.float64)))
                origin[style.label] = files(f for f, _ in same)
    return reference, found, origin
