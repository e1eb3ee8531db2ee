"""Classifier tests: ROC curves and distributions of the classifier weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, NullFormatter
from numpy.typing import NDArray

from calopipe.plots.style import (
    REFERENCE_FILL,
    REFERENCE_LABEL,
    REFERENCE_LINE,
    LineStyle,
    new_figure,
    plain_number,
    styled,
)

Array = NDArray[np.float64]


@dataclass(frozen=True)
class RocCurve:
    """ROC curves of one model.

    Attributes:
        style: colour and name of the model.
        fpr: (G,) false positive rates.
        tpr: (R, G) true positive rates of R trainings of the classifier.
        auc: text of the area under the curve with its error, e.g. ``0.570 ± 0.004``.
    """

    style: LineStyle
    fpr: Array
    tpr: Array
    auc: str


@styled
def roc_figure(curves: Sequence[RocCurve], title: str = "") -> Figure:
    """ROC curves: mean over the classifier trainings with a band of one standard deviation; chance is the diagonal."""
    figure = new_figure(4.2, 4.3)
    axes = figure.add_axes((0.15, 0.125, 0.81, 0.79))
    axes.plot([0, 1], [0, 1], color=REFERENCE_LINE, linewidth=0.9, linestyle=(0, (4, 3)), label="chance: AUC 0.5")
    for curve in curves:
        mean = curve.tpr.mean(axis=0)
        axes.plot(curve.fpr, mean, label=f"{curve.style.label}: AUC {curve.auc}", **curve.style.line)
        if len(curve.tpr) > 1:
            spread = curve.tpr.std(axis=0, ddof=1)
            low, high = np.clip(mean - spread, 0, 1), np.clip(mean + spread, 0, 1)
            axes.fill_between(curve.fpr, low, high, color=curve.style.color, alpha=0.22, linewidth=0)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_aspect("equal")
    axes.set_xlabel(f"{REFERENCE_LABEL} showers taken as generated")
    axes.set_ylabel("Generated showers recognised")
    axes.legend(loc="lower right", fontsize=8)
    axes.set_title(title, loc="left", fontweight="bold")
    return figure


@styled
def weights_figure(reference: Array, generated: Array, style: LineStyle, title: str = "") -> Figure:
    """Distributions of the weights w = p / (1 - p), p the probability to be a reference shower: linear and log axes.

    Args:
        reference: (N,) weights of reference showers.
        generated: (M,) weights of generated showers.
        style: colour and name of the model.
        title: heading.

    A perfect generator has w = 1 throughout. A tail of the generated showers at w << 1 shows showers that the reference
    does not have; a tail of the reference at w >> 1 shows showers that the generator never makes. Weights beyond the
    logarithmic axis count in its outermost bins; how many are beyond the linear one is written into it.
    """
    figure = new_figure(7.0, 3.5)
    left = figure.add_axes((0.085, 0.15, 0.395, 0.7))
    right = figure.add_axes((0.585, 0.15, 0.395, 0.7))
    everything = np.concatenate([reference, generated])
    positive = everything[everything > 0]
    high = max(3.0, float(np.quantile(everything, 0.995))) if len(everything) else 3.0
    _densities(left, np.linspace(0, min(high, 10.0), 61), reference, generated, style)
    _note_beyond(left, reference, generated)
    low_log, high_log = np.log10(np.clip([positive.min(), positive.max()], 1e-6, 1e6)) if len(positive) else (-1, 1)
    reach = max(0.6, abs(low_log), abs(high_log))
    right.set_xscale("log")
    ends = 10.0**-reach, 10.0**reach
    inside = np.clip(reference, *ends), np.clip(generated, *ends)
    _densities(right, np.logspace(-reach, reach, 61), *inside, style)
    right.set_yscale("log")
    right.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if reach < 1.1 else (1,), numticks=9))
    right.xaxis.set_major_formatter(plain_number)
    right.xaxis.set_minor_formatter(NullFormatter())
    left.set_ylabel("Fraction of showers per bin")
    right.set_ylabel("Fraction of showers per bin")
    handles = [
        Patch(facecolor=REFERENCE_FILL, edgecolor=REFERENCE_LINE, linewidth=0.8, label=REFERENCE_LABEL),
        Line2D([], [], label=style.label, **style.line),
    ]
    figure.legend(handles=handles, loc="upper right", ncols=2, bbox_to_anchor=(0.99, 0.995))
    figure.text(0.012, 0.975, title, fontsize=10.5, fontweight="bold", va="top")
    return figure


def _note_beyond(axes: Axes, reference: Array, generated: Array) -> None:
    """Say which fraction of either sample lies beyond the right end of the axis."""
    limit = axes.get_xlim()[1]
    reference_part, generated_part = (float(np.mean(v > limit)) if len(v) else 0.0 for v in (reference, generated))
    if reference_part or generated_part:
        text = f"$w > {limit:.3g}$:\n{REFERENCE_LABEL} {100 * reference_part:.2g} %\nmodel {100 * generated_part:.2g} %"
        axes.text(0.97, 0.95, text, transform=axes.transAxes, ha="right", va="top", fontsize=8)


def _densities(axes: Axes, edges: Array, reference: Array, generated: Array, style: LineStyle) -> None:
    peaks = []
    for values, is_reference in ((reference, True), (generated, False)):
        fraction = np.histogram(values, edges)[0] / max(len(values), 1)
        error = np.sqrt(fraction / max(len(values), 1))
        peaks.append(fraction.max(initial=0.0))
        if is_reference:
            axes.stairs(fraction, edges, baseline=1e-12, fill=True, color=REFERENCE_FILL, linewidth=0)
            axes.stairs(fraction, edges, baseline=None, color=REFERENCE_LINE, linewidth=0.9)
        else:
            axes.stairs(fraction, edges, baseline=None, **style.line)
            low = np.maximum(fraction - error, 1e-12)
            axes.stairs(fraction + error, edges, baseline=low, fill=True, color=style.color, alpha=0.22, linewidth=0)
    axes.axvline(1, color=REFERENCE_LINE, linewidth=0.7, linestyle=(0, (4, 3)))
    axes.set_xlim(edges[0], edges[-1])
    peak = max(peaks) or 1.0
    floor = 0.5 / max(len(reference), len(generated), 1)
    logarithmic = axes.get_xscale() == "log"
    axes.set_ylim(floor if logarithmic else 0, peak * (2 if logarithmic else 1.15))
    axes.set_xlabel(r"Classifier weight $w = p\,/\,(1-p)$")
