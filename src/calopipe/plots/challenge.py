"""The figures of a CaloChallenge evaluation: average showers, histograms with ratios, classifiers, separation powers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from calopipe.geometry import Geometry
from calopipe.plots.classifier import RocCurve, roc_figure, weights_figure
from calopipe.plots.histograms import Series, histogram_page
from calopipe.plots.layers import MANY_LAYERS, pick_layers
from calopipe.plots.scores import Dot, layer_scores_figure, scores_figure
from calopipe.plots.showers import average_figure, layers_figure, profile_figure
from calopipe.plots.style import REFERENCE_LABEL, LineStyle, slice_label
from calopipe.records.histograms import AverageShowers, Histogram
from calopipe.records.samples import GENERATED, REFERENCE

#: histograms on one page
PANELS = 15

_TITLES = {
    "overview": "Response and voxel energies",
    "E_layer": "Layer energies",
    "EC_eta": "Centres of energy in eta",
    "EC_phi": "Centres of energy in phi",
    "EC_r": "Centres of energy in r",
    "width_eta": "Widths in eta",
    "width_phi": "Widths in phi",
    "width_r": "Widths in r",
    "sparsity": "Sparsity",
    "E_ratio_energies": "Response by incident energy",
}

Drawn = Iterator[tuple[str, Figure]]  # file name without suffix, figure


def average_figures(geometry: Geometry, averages: Sequence[AverageShowers], style: LineStyle) -> Drawn:
    """Average showers over all energies (with every layer, and the longitudinal profile) and at each energy."""
    for average in averages:
        reference, generated = average.mean[REFERENCE], average.mean[GENERATED]
        label = slice_label(average.part)
        title = f"Average shower{', ' + label if label else ''}"
        name = "average" + ("_" + file_label(label) if label else "")
        yield name, average_figure(geometry, reference, {style.label: generated}, title)
        if average.part is not None:
            continue
        if geometry.n_layers > 1:
            yield "average_profile", profile_figure(geometry, reference, [(style, generated)])
        if len(pick_layers(geometry)) < geometry.n_layers:  # the figure above shows some of them only
            for what, mean in ((REFERENCE_LABEL, reference), (style.label, generated)):
                which = "reference" if what == REFERENCE_LABEL else "generated"
                figure = layers_figure(
                    geometry, mean, f"Average shower, {what}", r"$\langle E\rangle$ [MeV]", reference
                )
                yield f"average_layers_{which}", figure


def histogram_figures(histograms: Sequence[Histogram], notes: Mapping[str, str], style: LineStyle) -> Drawn:
    """Pages of histograms with their ratio to the reference, one observable after the other.

    Args:
        histograms: with counts of the reference and of the generated sample.
        notes: histogram name -> text quoted in its panel (its separation power over all energies).
        style: colour and name of the generated sample.
    """
    pages: dict[str, list[Histogram]] = {}
    for h in histograms:
        family = h.name.partition("/")[0]
        if h.part is not None:
            family += "_energies"
        elif "/" not in h.name:
            family = "overview"
        pages.setdefault(family, []).append(h)
    for family, members in pages.items():
        parts = [members[i : i + PANELS] for i in range(0, len(members), PANELS)]
        for number, part in enumerate(parts, start=1):
            suffix = f"_{number}" if len(parts) > 1 else ""
            title = _TITLES.get(family, family) + (f" ({number}/{len(parts)})" if suffix else "")
            texts = [notes.get(h.name, "") if h.part is None else "" for h in part]
            series = [[Series(style, (h,), GENERATED)] for h in part]
            yield f"histograms_{family}{suffix}", histogram_page(series, title, notes=texts)


def classifier_figures(
    curves: Mapping[str, Mapping[str, np.ndarray]],
    texts: Mapping[str, str],
    styles: Mapping[str, LineStyle],
    sample: LineStyle,
) -> Drawn:
    """ROC curves of all classifiers, and the distribution of the weights of each.

    Args:
        curves: classifier -> fpr, tpr, weights_reference and weights_generated; without trainings it is left out.
        texts: classifier -> its AUC with error.
        styles: classifier -> style of its ROC curve.
        sample: colour and name of the generated sample.
    """
    trained = {name: c for name, c in curves.items() if len(c["tpr"])}
    if trained:
        yield "roc", roc_figure([RocCurve(styles[n], c["fpr"], c["tpr"], texts[n]) for n, c in trained.items()])
    for name, c in trained.items():
        weights = c["weights_reference"].ravel(), c["weights_generated"].ravel()
        yield f"weights_{name}", weights_figure(*weights, sample, f"Classifier {name}")


def separation_figures(
    values: Mapping[str, Dot], floors: Mapping[str, float], n_layers: int, style: LineStyle
) -> Drawn:
    """Separation powers of all histograms at a glance: dots, and against the layer where there are many.

    Args:
        values: histogram name -> separation power.
        floors: histogram name -> value expected for two samples of the reference.
    """
    if not values:
        return
    many = n_layers > MANY_LAYERS
    rows = {k: v for k, v in values.items() if "/" not in k or k.startswith("mean_layers/") == many}
    yield "separation", scores_figure([(style, rows)], "Separation power", floors, "Separation powers")
    if many:
        columns = [(style, values)]
        yield (
            "separation_layers",
            layer_scores_figure(columns, "Separation power", floors, "Separation powers by layer"),
        )


def file_label(text: str) -> str:
    """A label of energies as part of a file name: ``1–10 GeV`` becomes ``1-10GeV``."""
    return text.replace("\N{EN DASH}", "-").replace(" ", "")
