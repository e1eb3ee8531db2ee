"""A score against the epoch of the training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from calopipe.plots.scores import Dot
from calopipe.plots.style import REFERENCE_LINE, LineStyle, new_figure, power_of_ten, styled

#: a curve whose largest value is this many times its smallest gets a logarithmic axis
LOG_SPAN = 20
#: room for the legend above the curves, as a fraction of their height
LEGEND = 0.4


@dataclass(frozen=True)
class EpochScores:
    """One score of one model at the epochs that were kept.

    Attributes:
        style: look of the model.
        dots: epoch -> value and error.
        floor: value expected for two independent reference samples, when known.
        best: the epoch that was chosen.
        chosen_by: the score that chose it.
    """

    style: LineStyle
    dots: Mapping[int, Dot]
    floor: float | None = None
    best: int | None = None
    chosen_by: str = ""


@styled
def epochs_figure(curves: Sequence[EpochScores], label: str, title: str = "") -> Figure:
    """Values with error bars against the epoch; a ring marks the chosen epoch, a dashed line the floor.

    Args:
        curves: one per model.
        label: name of the score.
        title: heading.
    """
    figure = new_figure(5.2, 3.5)
    axes = figure.add_axes((0.16, 0.14, 0.81, 0.77))
    values = np.array([dot.value for curve in curves for dot in curve.dots.values()])
    for curve in curves:
        epochs = np.array(sorted(curve.dots))
        heights = np.array([curve.dots[e].value for e in epochs])
        errors = np.array([curve.dots[e].error or 0.0 for e in epochs])
        axes.errorbar(epochs, heights, yerr=errors, marker="o", markersize=3.2, linewidth=1, **curve.style.line)
        if curve.best is not None and curve.best in curve.dots:
            ring: dict[str, Any] = {"markersize": 10, "markerfacecolor": "none", "markeredgecolor": curve.style.color}
            axes.plot(curve.best, curve.dots[curve.best].value, "o", **ring)
        if curve.floor is not None:
            axes.axhline(curve.floor, color=REFERENCE_LINE, linewidth=0.9, linestyle=(0, (4, 2)))
    if values.min() > 0 and values.max() > LOG_SPAN * values.min():
        axes.set_yscale("log")
    else:
        power = power_of_ten(axes, float(np.abs(values).max()))
        label += rf" [$10^{{{power}}}$]" if power else ""
    make_room(axes)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    axes.set_xlabel("Epoch")
    axes.set_ylabel(label.replace("_", " "))
    axes.set_title(title, loc="left", fontweight="bold")
    axes.legend(handles=_handles(curves), loc="upper right")
    return figure


def make_room(axes: Axes, above: float = LEGEND) -> None:
    """Stretch the vertical axis, so that the legend (as high as a fraction `above`) covers no error bar and the floor is not the frame."""
    to_axis, to_value = axes.yaxis.get_transform(), axes.yaxis.get_transform().inverted()
    low, high = to_axis.transform(np.array(axes.get_ylim()))
    ends = np.array([low - 0.04 * (high - low), high + above * (high - low)])
    axes.set_ylim(*to_value.transform(ends))


def _handles(curves: Sequence[EpochScores]) -> list[Line2D]:
    found = [
        Line2D([], [], marker="o", markersize=3.2, linewidth=1, label=c.style.label, **c.style.line) for c in curves
    ]
    chosen = [c.chosen_by for c in curves if c.best in c.dots]
    if chosen:
        ring: dict[str, Any] = {
            "marker": "o",
            "markersize": 8,
            "markerfacecolor": "none",
            "markeredgecolor": REFERENCE_LINE,
        }
        label = f"best epoch by {chosen[0]}" if chosen[0] and len(set(chosen)) == 1 else "best epoch"
        found.append(Line2D([], [], linestyle="", label=label.replace("_", " "), **ring))
    if any(c.floor is not None for c in curves):
        found.append(Line2D([], [], color=REFERENCE_LINE, linewidth=0.9, linestyle=(0, (4, 2)), label="floor"))
    return found
