"""Decides which figures a report has.

Geometries with many layers would give hundreds of panels: of more than eight layers, six evenly spread ones are drawn
(all are in the histogram files, and the separation powers of all are drawn against the layer).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np

from calopipe.geometry import Geometry
from calopipe.plots.classifier import RocCurve, roc_figure, weights_figure
from calopipe.plots.histograms import Series, histogram_figure, histogram_page
from calopipe.plots.layers import pick_layers
from calopipe.plots.scores import ROWS_PER_COLUMN, Dot, layer_scores_figure, scores_figure
from calopipe.plots.showers import average_figure, layers_figure, profile_figure
from calopipe.plots.style import REFERENCE_LABEL, REFERENCE_LINE, LineStyle, sample_style, slice_label
from calopipe.plots.timing import timing_figure
from calopipe.plots.training import losses_figure
from calopipe.report.calomplification import amplification_tasks
from calopipe.report.data import DatasetData, Key, ModelData
from calopipe.report.drawing import Task, file_name
from calopipe.report.numbers import format_measurement
from calopipe.report.regression import epoch_tasks, regression_tasks
from calopipe.report.tables import combine

#: geometries with more layers are drawn for some layers only
MANY_LAYERS = 8
PANELS_PER_PAGE = 12
#: order of the groups of observables; others follow
GROUPS = ("energies", "centroids", "widths", "brightest", "activity", "voxels")


def dataset_tasks(data: DatasetData) -> list[Task]:
    """All figures of one dataset, in the order of the page."""
    parts = (
        _score_tasks, _histogram_tasks, _average_tasks, _loss_tasks, _classifier_tasks, regression_tasks, epoch_tasks,
        amplification_tasks, _timing_tasks,
    )  # fmt: skip
    return [task for part in parts for task in part(data)]


# ---- histograms ---------------------------------------------------------------------------------------------------
def series_of(models: Sequence[ModelData], key: Key) -> list[Series]:
    """Lines of one histogram: every sample of every model that has it."""
    found = []
    for model in models:
        for sample in model.samples():
            seeds = [s.histograms[key] for s in model.seeds if key in s.histograms]
            seeds = [h for h in seeds if sample in h.counts]
            same = [h for h in seeds if h.edges.shape == seeds[0].edges.shape and np.allclose(h.edges, seeds[0].edges)]
            if same:
                found.append(Series(sample_style(model.style, sample, len(same)), tuple(same), sample))
    return found


def _histogram_tasks(data: DatasetData) -> Iterator[Task]:
    found = {key: h for model in data.models for seed in model.seeds for key, h in seed.histograms.items()}
    found = {key: h for key, h in found.items() if _is_drawn(h.name, data.geometry)}
    groups = sorted({h.group for h in found.values()}, key=lambda g: (GROUPS.index(g) if g in GROUPS else 99, g))
    slices = sorted({key[1] for key in found}, key=lambda s: (s is not None, s or (0, 0)))
    for group in groups:
        for energies in slices:
            keys = [key for key, h in found.items() if h.group == group and key[1] == energies]
            yield from _pages(data, group, keys, slice_label(energies))
        for key in (k for k, h in found.items() if h.group == group and k[1] is None):
            caption = f"{data.name}: {key[0]}"
            yield Task(
                group, file_name(data.name, group, key[0]), caption, histogram_figure, (series_of(data.models, key),)
            )


def _pages(data: DatasetData, group: str, keys: Sequence[Key], energies: str) -> Iterator[Task]:
    if len(keys) < 2 and not energies:
        return
    parts = [keys[i : i + PANELS_PER_PAGE] for i in range(0, len(keys), PANELS_PER_PAGE)]
    for number, part in enumerate(parts, start=1):
        title = f"{data.name}: {group}" + (f", {energies}" if energies else "")
        title += f" ({number}/{len(parts)})" if len(parts) > 1 else ""
        name = file_name(data.name, group, energies, "page", str(number))
        panels = [series_of(data.models, key) for key in part]
        yield Task(group, name, title, histogram_page, (panels, title), wide=True)


def _is_drawn(name: str, geometry: Geometry | None) -> bool:
    layer = _layer_of(name)
    if layer is None or geometry is None or geometry.n_layers <= MANY_LAYERS:
        return True
    return layer in {geometry.layer_ids[i] for i in pick_layers(geometry)}


def _layer_of(name: str) -> int | None:
    """Layer id in an observable's name: 12 in ``E_layer/12``, 0 in ``EC_eta_difference/0-1`` and ``brightest/0/1``."""
    match = re.search(r"/(\d+)", name)
    return int(match[1]) if match else None


# ---- scores -------------------------------------------------------------------------------------------------------
def _score_tasks(data: DatasetData) -> Iterator[Task]:
    """Separation powers: dots for all observables; those of many layers against the layer."""
    prefix = "separation_power/"
    columns: list[tuple[LineStyle, dict[str, Dot]]] = []
    floors: dict[str, float] = {}
    for model in data.models:
        for sample in model.samples():
            dots: dict[str, Dot] = {}
            scores = [s for seed in model.seeds for s in seed.scores if s.sample == sample]
            for name in dict.fromkeys(s.name for s in scores if s.name.startswith(prefix)):
                same = [s for s in scores if s.name == name]
                combined = combine(same)
                if combined is not None:
                    dots[name.removeprefix(prefix)] = Dot(*combined)
                floors |= {name.removeprefix(prefix): s.floor for s in same if s.floor is not None}
            if dots:
                columns.append((sample_style(model.style, sample, len(model.seeds)), dots))
    if not columns:
        return
    many = data.geometry is not None and data.geometry.n_layers > MANY_LAYERS
    rows = [name for _, dots in columns for name in dots if not many or _layer_of(name) is None]
    rows = [name for name in dict.fromkeys(rows) if many or not name.startswith("mean_layers/")]
    if rows:
        shown = [(style, {k: v for k, v in dots.items() if k in rows}) for style, dots in columns]
        caption = f"{data.name}: separation powers of the observables"
        arguments = (shown, "Separation power", floors, data.name)
        wide = len(rows) > ROWS_PER_COLUMN
        yield Task("scores", file_name(data.name, "separation"), caption, scores_figure, arguments, wide=wide)
    if many:
        caption = f"{data.name}: separation powers against the layer"
        families = _families(columns)
        if families:
            arguments = (families, "Separation power", data.name)
            yield Task(
                "scores", file_name(data.name, "separation_layers"), caption, layer_scores_figure, arguments, wide=True
            )


def _families(columns: Sequence[tuple[LineStyle, dict[str, Dot]]]) -> dict[str, list[tuple[LineStyle, dict[int, Dot]]]]:
    """Split names such as ``brightest/7/1`` into the family (``brightest 1``) and the layer (7)."""
    families: dict[str, list[tuple[LineStyle, dict[int, Dot]]]] = {}
    for style, dots in columns:
        mine: dict[str, dict[int, Dot]] = {}
        for name, dot in dots.items():
            layer = _layer_of(name)
            if layer is not None:
                first, _, *rest = name.split("/")
                mine.setdefault(" ".join([first, *rest]), {})[layer] = dot
        for family, values in mine.items():
            families.setdefault(family, []).append((style, values))
    return families


# ---- average showers ----------------------------------------------------------------------------------------------
def _average_tasks(data: DatasetData) -> Iterator[Task]:
    geometry = data.geometry
    if geometry is None:
        return
    slices = {key: None for model in data.models for seed in model.seeds for key in seed.averages}
    for energies in sorted(slices, key=lambda s: (s is not None, s or (0, 0))):
        reference, samples = _averages(data, energies, geometry)
        if reference is None or not samples:
            continue
        text = slice_label(energies)
        title = f"{data.name}: average showers" + (f", {text}" if text else "")
        some = ""
        if geometry.n_layers > 6:
            some = f" (layers {', '.join(str(geometry.layer_ids[i]) for i in pick_layers(geometry))})"
        means = {style.label: mean for style, mean in samples}
        name = file_name(data.name, "average", text)
        yield Task("averages", name, title + some, average_figure, (geometry, reference, means, title), wide=True)
        if geometry.n_layers > 1:
            caption = f"{data.name}: mean energy per layer" + (f", {text}" if text else "")
            yield Task(
                "averages",
                file_name(data.name, "profile", text),
                caption,
                profile_figure,
                (geometry, reference, samples),
            )
        if geometry.n_layers > 6 and energies is None:
            yield from _all_layers(data.name, geometry, reference, samples)


def _all_layers(
    dataset: str, geometry: Geometry, reference: np.ndarray, samples: Sequence[tuple[LineStyle, np.ndarray]]
) -> Iterator[Task]:
    for label, mean in [(REFERENCE_LABEL, reference), *((style.label, mean) for style, mean in samples)]:
        title = f"{dataset}: average shower of {label}, all layers"
        arguments = (geometry, mean, title, r"$\langle E\rangle$ [MeV]", reference)
        yield Task("averages", file_name(dataset, "average_layers", label), title, layers_figure, arguments)


def _averages(
    data: DatasetData, energies: tuple[float, float] | None, geometry: Geometry
) -> tuple[np.ndarray | None, list[tuple[LineStyle, np.ndarray]]]:
    """Reference mean (V,) and the mean over seeds of every sample; samples of another geometry are left out."""
    reference, found = None, []
    for model in data.models:
        averages = [seed.averages[energies] for seed in model.seeds if energies in seed.averages]
        averages = [a for a in averages if all(len(m) == geometry.n_voxels for m in a.mean.values())]
        if averages and reference is None:
            reference = averages[0].mean.get("reference")
        for sample in model.samples():
            means = [a.mean[sample] for a in averages if sample in a.mean]
            if means:
                style = sample_style(model.style, sample, len(means))
                found.append((style, np.mean(means, axis=0, dtype=np.float64)))
    return reference, found


# ---- training, classifiers, timing --------------------------------------------------------------------------------
def _loss_tasks(data: DatasetData) -> Iterator[Task]:
    for model in data.models:
        for stage in ("autoencoder", "flow"):
            curves = {f"seed {s.run.seed}": s.losses[stage] for s in model.seeds if stage in s.losses}
            if curves:
                title = f"{model.name}: {stage}"
                name = file_name(data.name, model.name, stage, "losses")
                yield Task(
                    "losses", name, f"{data.name}: losses of {title}", losses_figure, (curves, model.style, title)
                )
    for name in _regressors(data):  # all runs share it
        losses = next(s.losses for m in data.models for s in m.seeds if f"regressor {name}" in s.losses)
        title, style = f"regressor {name}", LineStyle(name, REFERENCE_LINE)
        caption, file = f"{data.name}: losses of the {title}", file_name(data.name, title, "losses")
        yield Task("losses", file, caption, losses_figure, ({name: losses[title]}, style, title))


def _regressors(data: DatasetData) -> list[str]:
    """Names of the energy regressors whose training log is known."""
    found = (stage for m in data.models for s in m.seeds for stage in s.losses)
    return list(dict.fromkeys(s.removeprefix("regressor ") for s in found if s.startswith("regressor ")))


def _classifier_tasks(data: DatasetData) -> Iterator[Task]:
    names = dict.fromkeys(name for model in data.models for seed in model.seeds for name in seed.curves)
    for name in names:
        curves = []
        for model in data.models:
            found = [s.curves[name] for s in model.seeds if name in s.curves]
            found = [c for c in found if {"fpr", "tpr"} <= set(c) and np.size(c["tpr"])]
            if found:
                scores = [s for seed in model.seeds for s in seed.scores if s.name == f"classifier/{name}/auc"]
                auc = combine([s for s in scores if s.sample == "generated"])
                style = sample_style(model.style, "generated", len(found))
                tpr = np.concatenate([np.atleast_2d(c["tpr"]) for c in found])
                text = format_measurement(*auc) if auc else "not known"
                curves.append(RocCurve(style, np.asarray(found[0]["fpr"]), tpr, text))
        if curves:
            caption = f"{data.name}: ROC of the classifier {name}"
            yield Task(
                "classifiers", file_name(data.name, "roc", name), caption, roc_figure, (curves, f"Classifier {name}")
            )
        yield from _weight_tasks(data, name)


def _weight_tasks(data: DatasetData, name: str) -> Iterator[Task]:
    for model in data.models:
        found = [s.curves[name] for s in model.seeds if name in s.curves]
        found = [c for c in found if all(np.size(c.get(f"weights_{k}", ())) for k in ("reference", "generated"))]
        if found:
            reference, generated = (
                np.concatenate([np.ravel(c[f"weights_{k}"]) for c in found]) for k in ("reference", "generated")
            )
            title = f"{model.name}: weights of the classifier {name}"
            style = sample_style(model.style, "generated", len(found))
            file = file_name(data.name, model.name, "weights", name)
            yield Task(
                "classifiers", file, f"{data.name}: {title}", weights_figure, (reference, generated, style, title)
            )


def _timing_tasks(data: DatasetData) -> Iterator[Task]:
    timings = []
    for model in data.models:
        record = next((s.timing for s in model.seeds if s.timing and s.timing.get("results")), None)
        if record:
            timings.append((model.style, record))
    if timings:
        caption = f"{data.name}: generation time per shower"
        yield Task("timing", file_name(data.name, "timing"), caption, timing_figure, (timings, data.name))
