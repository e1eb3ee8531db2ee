"""Figures of the histograms: single figures over all energies, and a page per group and slice of incident energy.

Geometries with many layers would give hundreds of panels: of more than eight layers, six evenly spread ones are drawn
(all are in the histogram files, and the separation powers of all are drawn against the layer).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from calopipe.geometry import Geometry
from calopipe.plots.histograms import Series, histogram_figure, histogram_page
from calopipe.plots.layers import MANY_LAYERS, pick_layers
from calopipe.plots.scores import layer_of
from calopipe.plots.style import sample_style, slice_label
from calopipe.records.histograms import Histogram
from calopipe.report.data import DatasetData, Key, ModelData, SeedData
from calopipe.report.drawing import Task, file_name
from calopipe.report.sources import files

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
            same = [s.histograms[key] for s in _alike(model, key, sample)]
            if same:
                style = sample_style(model.style, sample, len(same), len(same[0].draws.get(sample, (0,))))
                found.append(Series(style, tuple(same), sample, data.wording.label))
    return found


def _alike(model: ModelData, key: Key, sample: str) -> list[SeedData]:
    """The seeds whose histograms of a sample have the bins of the first one's."""
    seeds = [s for s in model.seeds if key in s.histograms and sample in s.histograms[key].counts]
    edges = [s.histograms[key].edges for s in seeds]
    return [s for s, e in zip(seeds, edges, strict=True) if e.shape == edges[0].shape and np.allclose(e, edges[0])]


def histogram_files(data: DatasetData, keys: Iterable[Key]) -> tuple[str, ...]:
    """The files that the lines of histograms (:func:`series_of`) come from."""
    keys = list(keys)
    pairs = [(model, sample) for model in data.models for sample in model.samples()]
    return files(s.run.histograms for m, sample in pairs for key in keys for s in _alike(m, key, sample))


def histogram_tasks(data: DatasetData, group: str) -> Iterator[Task]:
    """Figures of one group of observables: one of each over all energies, and pages of single energies and of slices."""
    found = [key for key, h in drawn_histograms(data).items() if h.group == group]
    for key in (k for k in found if k[1] is None):
        caption = f"{data.name}: {key[0]}"
        name = file_name(data.name, group, key[0])
        sources = histogram_files(data, [key])
        yield Task(group, name, caption, histogram_figure, (series_of(data, key),), sources=sources)
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
        panels, sources = [series_of(data, key) for key in part], histogram_files(data, part)
        if len(panels) == 1:
            yield Task(group, name, title, histogram_figure, (panels[0],), sources=sources)
        else:
            yield Task(group, name, title, histogram_page, (panels, title), wide=True, sources=sources)


def is_drawn(name: str, geometry: Geometry | None) -> bool:
    """Whether an observable is drawn: of a geometry with many layers, those of some layers are not."""
    layer = layer_of(name)
    if layer is None or geometry is None or geometry.n_layers <= MANY_LAYERS:
        return True
    return layer in {geometry.layer_ids[i] for i in pick_layers(geometry)}
