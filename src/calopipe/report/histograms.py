"""Figures of the histograms: single figures over all energies, and a page per group and slice of incident energy.

Geometries with many layers would give hundreds of panels: of more than eight layers, six evenly spread ones are drawn
(all are in the histogram files, and the separation powers of all are drawn against the layer).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from calopipe.geometry import Geometry
from calopipe.plots.histograms import Series, histogram_figure, histogram_page
from calopipe.plots.layers import MANY_LAYERS, pick_layers
from calopipe.plots.scores import layer_of
from calopipe.plots.style import sample_style, slice_label
from calopipe.records.histograms import Histogram
from calopipe.report.data import DatasetData, Key
from calopipe.report.drawing import Task, file_name

PANELS_PER_PAGE = 12
#: groups of observables and their headings, in the order of the report; groups not named here follow them
GROUPS = {
    "energies": "Energies",
    "centroids": "Centroids",
    "widths": "Widths",
    "brightest": "Brightest voxels",
    "activity": "Activity",
    "voxels": "Voxel energies",
}


def series_of(data: DatasetData, key: Key) -> list[Series]:
    """Lines of one histogram: every sample of every model that has it."""
    found = []
    for model in data.models:
        for sample in model.samples():
            seeds = [s.histograms[key] for s in model.seeds if key in s.histograms]
            seeds = [h for h in seeds if sample in h.counts]
            same = [h for h in seeds if h.edges.shape == seeds[0].edges.shape and np.allclose(h.edges, seeds[0].edges)]
            if same:
                found.append(
                    Series(sample_style(model.style, sample, len(same)), tuple(same), sample, data.wording.label)
                )
    return found


def histogram_tasks(data: DatasetData, group: str) -> Iterator[Task]:
    """Figures of one group of observables: one of each over all energies, and pages of single energies and of slices."""
    found = [key for key, h in drawn_histograms(data).items() if h.group == group]
    for key in (k for k in found if k[1] is None):
        caption = f"{data.name}: {key[0]}"
        name = file_name(data.name, group, key[0])
        yield Task(group, name, caption, histogram_figure, (series_of(data, key),))
    points = sorted(key for key in found if key[1] and key[1].single)
    yield from _pages(data, group, points, "single incident energies", "energies")
    for part in sorted({key[1] for key in found if key[1] and not key[1].single}):
        yield from _pages(data, group, [key for key in found if key[1] == part], slice_label(part), str(part))


def other_histogram_tasks(data: DatasetData) -> Iterator[Task]:
    """Figures of groups that :data:`GROUPS` does not name."""
    for group in sorted({h.group for h in drawn_histograms(data).values()} - set(GROUPS)):
        yield from histogram_tasks(data, group)


def drawn_histograms(data: DatasetData) -> dict[Key, Histogram]:
    """One histogram of each key that is drawn, in the order of the files."""
    found = {key: h for model in data.models for seed in model.seeds for key, h in seed.histograms.items()}
    return {key: h for key, h in found.items() if is_drawn(h.name, data.geometry)}


def _pages(data: DatasetData, group: str, keys: Sequence[Key], which: str, short: str) -> Iterator[Task]:
    """Pages of the histograms `keys`; `which` of them in words, `short` in the file's name."""
    parts = [keys[i : i + PANELS_PER_PAGE] for i in range(0, len(keys), PANELS_PER_PAGE)]
    for number, part in enumerate(parts, start=1):
        title = f"{data.name}: {group}, {which}"
        title += f" ({number}/{len(parts)})" if len(parts) > 1 else ""
        name = file_name(data.name, group, short, "page", str(number))
        panels = [series_of(data, key) for key in part]
        if len(panels) == 1:
            yield Task(group, name, title, histogram_figure, (panels[0],))
        else:
            yield Task(group, name, title, histogram_page, (panels, title), wide=True)


def is_drawn(name: str, geometry: Geometry | None) -> bool:
    """Whether an observable is drawn: of a geometry with many layers, those of some layers are not."""
    layer = layer_of(name)
    if layer is None or geometry is None or geometry.n_layers <= MANY_LAYERS:
        return True
    return layer in {geometry.layer_ids[i] for i in pick_layers(geometry)}
