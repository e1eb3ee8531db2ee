"""Figures of cross sections of average showers, and of example showers: generated, reconstructed, and in 3D."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import numpy as np
from matplotlib.figure import Figure

from calopipe.plots.cross_sections import MomentPanel, Profile, ProfilePanel, cross_section_page, row_moments_page
from calopipe.plots.events import event_figure
from calopipe.plots.examples import example_columns, gallery_figure, layers_by_energy, reconstruction_figure
from calopipe.plots.style import REFERENCE_LABEL, LineStyle, sample_style
from calopipe.records.histograms import CrossSections
from calopipe.records.samples import GENERATED, RECONSTRUCTED, REFERENCE
from calopipe.report.data import DatasetData
from calopipe.report.drawing import Task, file_name
from calopipe.report.sources import files

T = TypeVar("T")
_Key = tuple[int, str]  # layer, axis
PANELS_PER_PAGE = 6
_AXES = {"eta": r"$\eta$ [mm]", "phi": r"$\varphi$ [mm]", "r": r"$r$ along a diameter [mm]"}
_SYMBOLS = {"eta": r"$\varphi$", "phi": r"$\eta$"}  # the other coordinate, which tells rows apart


# ---- cross sections -----------------------------------------------------------------------------------------------
def cross_section_tasks(data: DatasetData) -> Iterator[Task]:
    """Rows through the middle of each layer, and mean and width of the middle rows; some layers where there are many.

    Of geometries with one layer (images) all middle rows along eta are drawn, as in Albergo 2018; of others one row each.
    """
    found = {key: None for model in data.models for seed in model.seeds for key in seed.cross_sections}
    if data.geometry is None or not found:
        return
    shown = _shown_layers(data)
    keys = [key for key in found if key[0] in shown]
    one_layer = len({layer for layer, _ in found}) == 1
    panels = [(key, p) for key in keys for p in _profile_panels(data, key, every_row=one_layer)]
    title = f"{data.name}: cross sections of the average shower"
    yield from _pages(data, "cross_sections", panels, title, cross_section_page)
    moments = [(key, p) for key in keys for p in _moment_panels(data, key)]
    title = f"{data.name}: mean and width of the middle rows"
    yield from _pages(data, "row_moments", moments, title, row_moments_page)


def _pages(
    data: DatasetData,
    name: str,
    panels: Sequence[tuple[_Key, T]],
    title: str,
    function: Callable[[Sequence[T], str], Figure],
) -> Iterator[Task]:
    """Pages of panels, each of which comes with the cross section that it is of."""
    parts = [panels[i : i + PANELS_PER_PAGE] for i in range(0, len(panels), PANELS_PER_PAGE)]
    for number, part in enumerate(parts, start=1):
        text = f"{title} ({number}/{len(parts)})" if len(parts) > 1 else title
        file, arguments = file_name(data.name, name, str(number)), ([panel for _, panel in part], text)
        sources = files(path for key in dict.fromkeys(key for key, _ in part) for path in _files_of(data, key))
        yield Task("cross_sections", file, text, function, arguments, wide=True, sources=sources)


def _shown_layers(data: DatasetData) -> set[int]:
    """Ids of the layers drawn: those that hold the energy, where a geometry has many."""
    geometry = data.geometry
    means = [
        a.mean[REFERENCE] for m in data.models for s in m.seeds for a in s.averages.values() if REFERENCE in a.mean
    ]
    means = [m for m in means if geometry is not None and len(m) == geometry.n_voxels]
    if geometry is None or not means:
        return set() if geometry is None else set(geometry.layer_ids)
    return {geometry.layer_ids[i] for i in layers_by_energy(geometry, means[0])}


def _samples(data: DatasetData, key: tuple[int, str]) -> list[tuple[LineStyle, str, list[CrossSections]]]:
    """Style, name and cross sections of every seed, of all samples of all models."""
    found = []
    for model in data.models:
        seeds = [s.cross_sections[key] for s in model.seeds if key in s.cross_sections]
        for sample in model.samples():
            same = [c for c in seeds if sample in c.mean]
            if same:
                found.append((sample_style(model.style, sample, len(same)), sample, same))
    return found


def _files_of(data: DatasetData, key: _Key) -> Iterator[str | None]:
    """The files that the cross sections of :func:`_samples` come from."""
    for model in data.models:
        seeds = [s for s in model.seeds if key in s.cross_sections]
        yield from (s.run.histograms for s in seeds if set(model.samples()) & set(s.cross_sections[key].mean))


def _profile(seeds: Sequence[CrossSections], sample: str, row: int) -> Profile:
    """Statistical errors of one seed; the standard deviation between several."""
    mean = np.stack([c.mean[sample][row] for c in seeds])
    std = np.stack([c.std[sample][row] for c in seeds]).mean(axis=0)
    error = mean.std(axis=0, ddof=1) if len(mean) > 1 else std / math.sqrt(max(seeds[0].n[sample], 1))
    return Profile(mean.mean(axis=0), error, std)


def _profile_panels(data: DatasetData, key: tuple[int, str], every_row: bool) -> Iterator[ProfilePanel]:
    samples = _samples(data, key)
    if not samples or REFERENCE not in samples[0][2][0].mean:
        return
    first = samples[0][2][0]
    layer, axis = key
    middle = int(np.argmin(np.abs(first.offsets))) if axis == "r" else len(first.offsets) // 2
    for row in range(len(first.offsets)) if every_row and axis != "phi" else [middle]:
        offset = float(first.offsets[row])
        where = f"angle {math.degrees(offset):.0f}°" if axis == "r" else f"{_SYMBOLS[axis]} = {offset:.3g} mm"
        yield ProfilePanel(
            title=f"Layer {layer}, {where}",
            xlabel=_AXES[axis],
            edges=first.edges,
            reference=_profile([first], REFERENCE, row),
            samples=[(style, _profile(seeds, name, row)) for style, name, seeds in samples],
        )


def _moment_panels(data: DatasetData, key: tuple[int, str]) -> Iterator[MomentPanel]:
    samples = _samples(data, key)
    if not samples or REFERENCE not in samples[0][2][0].position or len(samples[0][2][0].offsets) < 2:
        return
    first = samples[0][2][0]
    layer, axis = key
    across = {"eta": r"$\varphi$ of the row [mm]", "phi": r"$\eta$ of the row [mm]", "r": "angle of the diameter [°]"}
    along = {"eta": r"along $\eta$", "phi": r"along $\varphi$", "r": "along diameters"}
    yield MomentPanel(
        title=f"Layer {layer}, {along[axis]}",
        xlabel=across[axis],
        offsets=np.degrees(first.offsets) if axis == "r" else first.offsets,
        reference=(first.position[REFERENCE], first.width[REFERENCE]),
        samples=[
            (style, _over_seeds([c.position[name] for c in seeds]), _over_seeds([c.width[name] for c in seeds]))
            for style, name, seeds in samples
        ],
    )


def _over_seeds(values: Sequence[np.ndarray]) -> np.ndarray:
    """Value and error (2, R): of one seed, or mean and standard deviation of several."""
    if len(values) == 1:
        return values[0]
    stack = np.stack([v[0] for v in values])
    return np.stack([stack.mean(axis=0), stack.std(axis=0, ddof=1)])


# ---- example showers ----------------------------------------------------------------------------------------------
def example_tasks(data: DatasetData) -> Iterator[Task]:
    """Generated showers below Geant4's of the same incident energies, and one of each in three dimensions."""
    geometry = data.geometry
    found = [(m, s.examples, s.run.histograms) for m in data.models for s in m.seeds[:1] if s.examples]
    found = [f for f in found if geometry and f[1].showers[REFERENCE].shape[1] == geometry.n_voxels]
    if geometry is None or not found:
        return
    _, first, path = found[0]
    showers, origin = {REFERENCE_LABEL: first.showers[REFERENCE]}, {REFERENCE_LABEL: path}
    for model, examples, path in found:
        if GENERATED in examples.showers and len(examples.showers[GENERATED]) == len(showers[REFERENCE_LABEL]):
            showers[model.name], origin[model.name] = examples.showers[GENERATED], path
    incident = first.incident[REFERENCE]
    layers = layers_by_energy(geometry, first.showers[REFERENCE].mean(axis=0))
    title = f"{data.name}: single showers of the same incident energy"
    for number, columns in enumerate(example_columns(geometry, len(incident), layers), start=1):
        name, arguments = file_name(data.name, "examples", str(number)), (geometry, showers, incident, columns, title)
        yield Task("examples", name, title, gallery_figure, arguments, wide=True, sources=files(origin.values()))
    if geometry.n_layers > 1:
        yield from _event_tasks(data, showers, origin, incident)


def _event_tasks(
    data: DatasetData, showers: dict[str, np.ndarray], origin: dict[str, str | None], incident: np.ndarray
) -> Iterator[Task]:
    """One shower of each sample in 3D, of the incident energy in the middle, all with the same scales."""
    k = len(incident) // 2
    for label, values in showers.items():
        energy = rf"$E_\mathrm{{inc}}$ = {incident[k] / 1e3:.3g} GeV"
        caption = f"{data.name}: a shower of {label}, {incident[k] / 1e3:.3g} GeV, in three dimensions"
        arguments = (data.geometry, values[k], f"{label}, {energy}")
        options = {"scale": showers[REFERENCE_LABEL][k]}
        name, sources = file_name(data.name, "event", label), files([origin[REFERENCE_LABEL], origin[label]])
        yield Task("examples", name, caption, event_figure, arguments, options, sources=sources)


def reconstruction_tasks(data: DatasetData) -> Iterator[Task]:
    """Original, reconstruction and difference of some showers, for every model with an autoencoder (its first seed)."""
    geometry = data.geometry
    for model in data.models if geometry is not None else ():
        seed = next((s for s in model.seeds if s.examples), None)
        examples = None if seed is None else seed.examples
        if seed is None or examples is None or RECONSTRUCTED not in examples.showers or geometry is None:
            continue
        original, made = examples.showers[REFERENCE], examples.showers[RECONSTRUCTED]
        same = np.array_equal(examples.rows[REFERENCE], examples.rows[RECONSTRUCTED])
        if not same or original.shape[1] != geometry.n_voxels:
            continue
        layers = layers_by_energy(geometry, original.mean(axis=0))
        title = f"{data.name}: showers reconstructed by the autoencoder of {model.name}"
        for number, columns in enumerate(example_columns(geometry, len(original), layers), start=1):
            name = file_name(data.name, model.name, "reconstruction", str(number))
            arguments = (geometry, original, made, examples.incident[REFERENCE], columns, title)
            sources = files([seed.run.histograms])
            yield Task("reconstructions", name, title, reconstruction_figure, arguments, wide=True, sources=sources)
