"""Decides which figures the report has of energy regressors and of scores by epoch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from calopipe.plots.epochs import EpochScores, epochs_figure
from calopipe.plots.histograms import Series, histogram_page
from calopipe.plots.layers import pick_layers
from calopipe.plots.regression import linearity_figure, resolution_figure
from calopipe.plots.scores import Dot
from calopipe.plots.showers import averages_figure
from calopipe.plots.style import REFERENCE_LABEL, LineStyle, sample_style
from calopipe.records.samples import REFERENCE
from calopipe.records.spectra import Spectra
from calopipe.report.data import DatasetData, ModelData, SeedData
from calopipe.report.drawing import Task, file_name
from calopipe.report.sources import Sourced, files
from calopipe.report.tables import Table

#: epochs, and layers, whose average showers are drawn, at most
EPOCHS, LAYERS = 5, 3
#: scores of each column (data that are no showers) that are drawn against the epoch; those of slices are not
_OF_COLUMNS = ("wasserstein", "kl", "mean_difference", "fwhm_difference", "kurtosis_difference")


def regression_tasks(data: DatasetData) -> Iterator[Task]:
    """Linearity, resolution and histograms of energies by every regressor."""
    names = dict.fromkeys(name for model in data.models for seed in model.seeds for name in seed.regression)
    for name in names:
        reference, samples = None, []
        seeds = [(m, seed) for m in data.models if (seed := next((s for s in m.seeds if name in s.regression), None))]
        for model, seed in seeds:
            first = seed.regression[name]
            for sample in model.samples():
                if f"{sample}/energy" in first:
                    samples.append((sample_style(model.style, sample), _curves_of(first, sample)))
            if reference is None and "reference/energy" in first:
                reference = _curves_of(first, "reference")
        if reference is None:
            continue
        for what, function in (("linearity", linearity_figure), ("resolution", resolution_figure)):
            caption = f"{data.name}: {what} of the regressor {name}{_of(data, name)} (first seed of each model)"
            file, arguments = file_name(data.name, name, what), (reference, samples, f"{data.name}: energy by {name}")
            sources = files(seed.run.regression[name]["curves"] for _, seed in seeds)
            yield Task("regression", file, caption, function, arguments, sources=sources)
        yield from _spectra_tasks(data, name, seeds)


def _spectra_tasks(data: DatasetData, name: str, seeds: Sequence[tuple[ModelData, SeedData]]) -> Iterator[Task]:
    """One page of what a regressor reads off the showers of single incident energies, a panel for each."""
    panels: dict[float, list[Series]] = {}
    for model, seed in seeds:
        spectra = Spectra.of(seed.regression[name])
        if spectra is None:
            continue
        for sample in (s for s in model.samples() if s in spectra.counts):
            style = sample_style(model.style, sample)
            for energy, histogram in spectra.histograms(sample).items():
                panels.setdefault(energy, []).append(Series(style, (histogram,), sample))
    if not panels:
        return
    what = f"reconstructed energies at single incident energies of the regressor {name}{_of(data, name)}"
    caption, file = f"{data.name}: {what} (first seed of each model)", file_name(data.name, name, "spectra")
    arguments = ([panels[energy] for energy in sorted(panels)], f"{data.name}: energy by {name}", _columns(len(panels)))
    sources = files(seed.run.regression[name]["curves"] for _, seed in seeds)
    yield Task("regression", file, caption, histogram_page, arguments, wide=True, sources=sources)


def _columns(panels: int) -> int:
    """Panels side by side: 8 make two full rows."""
    return 4 if panels % 4 == 0 or panels > 9 else 3


def _of(data: DatasetData, name: str) -> str:
    """What a regressor has learned, where that is a dataset of its own."""
    return f", trained on {data.learned[name]}" if name in data.learned else ""


def _curves_of(curves: Mapping[str, np.ndarray], sample: str) -> dict[str, np.ndarray]:
    prefix = f"{sample}/"
    return {k.removeprefix(prefix): v for k, v in curves.items() if k.startswith(prefix)}


def epoch_tasks(data: DatasetData) -> Iterator[Task]:
    """One figure per score, with the curves of all models (first seed of each) that kept epochs."""
    runs = [(m, s) for m in data.models for s in m.seeds[:1] if s.epochs]
    names = dict.fromkeys(name for _, seed in runs for name in _names(seed))
    for name in names:
        found = [(seed, _scores(seed, name, sample_style(model.style, "generated"))) for model, seed in runs]
        found = [(seed, curve) for seed, curve in found if curve.dots]
        if found:
            caption, file = f"{data.name}: {name} against the epoch", file_name(data.name, "epochs", name)
            arguments = ([curve for _, curve in found], *_words(data.name, name))
            sources = files(seed.run.epochs for seed, _ in found)
            yield Task("epochs", file, caption, epochs_figure, arguments, sources=sources)
    yield from epoch_average_tasks(data)


def epoch_average_tasks(data: DatasetData) -> Iterator[Task]:
    """Of every model that kept epochs (its first seed) the average showers of some of them, the first and the last among them."""
    for model in data.models:
        seed = model.seeds[0]
        if seed.epoch_average is None or data.geometry is None:
            continue
        means = seed.epoch_average.mean
        epochs = sorted(int(name.removeprefix("epoch ")) for name in means if name != REFERENCE)
        shown = [
            epochs[i] for i in np.unique(np.linspace(0, len(epochs) - 1, min(EPOCHS, len(epochs))).round().astype(int))
        ]
        showers = {f"epoch {epoch}": means[f"epoch {epoch}"] for epoch in shown}
        title = f"{data.name}: average showers of {model.name} by epoch"
        layers = pick_layers(data.geometry, LAYERS)
        arguments = (data.geometry, means[REFERENCE], showers, title, layers)
        name, sources = file_name(data.name, "epochs_average", model.name), files([seed.run.epoch_histograms])
        yield Task("epochs", name, title, averages_figure, arguments, wide=True, sources=sources)


def epoch_tables(data: DatasetData) -> Iterator[Table]:
    """The best epoch of every run that kept epochs, and where its showers come from."""
    runs = [(m.name, key, t) for m in data.models for s in m.seeds for key, t in s.trainings.items() if t.epochs]
    if runs:
        yield Table(
            columns=(
                "Model",
                "Chosen by",
                "Generated showers from",
                "Seed",
                "Best epoch",
                "As good within errors",
                "n",
            ),
            rows=tuple(_epoch_row(*run) for run in runs),
            text_columns=3,
            note="Epochs are judged with validation showers unless it says training showers (n of the smaller sample), the "
            "generated showers with test showers. "
            "generation.epoch in the evaluation says which epoch the showers are drawn from.",
        )


def _epoch_row(model: str, training: str, seed: SeedData) -> tuple[str, ...]:
    assert seed.epochs is not None
    best, sampled = seed.epochs["best"], seed.run.sampled_epoch
    used = {"final": "final checkpoint", "best": f"epoch {best.get('epoch')}, the best"}.get(str(sampled))
    others = ", ".join(str(e) for e in best.get("as_good", ()) if e != best["epoch"])
    n = max((s["n"] for row in seed.epochs["epochs"] for s in row["scores"] if s["name"] == best["score"]), default="")
    chosen = str(best.get("epoch", f"none: {best.get('missing')}"))
    numbers = (Sourced(text, [seed.source("epochs")]) for text in (chosen, others or "none", str(n)))
    by = " (training showers)" if seed.epochs.get("reference") == "training" else ""
    return model, f"{best['score']}{by}", used or f"epoch {sampled}", training, *numbers


def _words(dataset: str, name: str) -> tuple[str, str]:
    """Label of a score's axis, and heading of its figure."""
    kind, *rest = name.split("/")
    if kind == "frd":
        return "FRD, fresh weights" if rest[1:] else "FRD", f"{dataset}: {rest[0]}"
    if kind == "energy_regression":
        return f"{rest[1]} / {REFERENCE_LABEL}'s $-$ 1", f"{dataset}: {rest[0]}"
    return name, dataset


def _names(seed: SeedData) -> list[str]:
    """Scores that are drawn: totals, and those that the choice of the epoch follows."""
    assert seed.epochs is not None
    found = dict.fromkeys(s["name"] for row in seed.epochs["epochs"] for s in row["scores"])
    select = seed.epochs["best"]["score"]
    return [name for name in found if name == select or _drawn(name)]


def _drawn(name: str) -> bool:
    family, *rest = name.split("/")
    if family in ("image_moments", "kl_average"):
        return "layer" not in rest
    return not rest or family in ("frd", "energy_regression") or (family in _OF_COLUMNS and len(rest) == 1)


def _scores(seed: SeedData, name: str, style: LineStyle) -> EpochScores:
    assert seed.epochs is not None
    found = [(row["epoch"], s) for row in seed.epochs["epochs"] for s in row["scores"]]
    found = [(epoch, s) for epoch, s in found if s["name"] == name and s["value"] is not None]
    best = seed.epochs["best"]
    floor = next((s["floor"] for _, s in found if s["floor"] is not None), None)
    dots = {epoch: Dot(s["value"], s["error"]) for epoch, s in found}
    return EpochScores(style, dots, floor, best.get("epoch"), best["score"])
