"""Mean energy deposit at each value of a condition: reference, samples, and their ratio (Albergo 2018, figure 5.13)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from calopipe.plots.style import REFERENCE_LABEL, REFERENCE_LINE, LineStyle, new_figure, styled


@dataclass(frozen=True)
class Deposits:
    """One sample: values (B,) of the condition in the unit of the axis, mean energies in MeV and their errors."""

    at: NDArray[np.float64]
    mean: NDArray[np.float64]
    error: NDArray[np.float64]


@styled
def deposit_figure(
    reference: Deposits, samples: Sequence[tuple[LineStyle, Deposits]], label: str, title: str = ""
) -> Figure:
    """Means with error bars against the condition; below, their ratio to the reference's.

    Args:
        reference: that of the reference.
        samples: style and means of each sample, at values that the reference has.
        label: axis label of the condition, with its unit.
        title: heading.

    Values stand side by side at equal distances, in the order of the condition: a few energies may span decades.
    """
    many = len(reference.at) > 8
    figure, foot = new_figure(5.2, 4.4), 0.17 if many else 0.13
    grid = figure.add_gridspec(2, 1, height_ratios=(2.2, 1), hspace=0.07, left=0.16, right=0.97, top=0.925, bottom=foot)
    top = figure.add_subplot(grid[0])
    bottom = figure.add_subplot(grid[1], sharex=top)
    every = [(LineStyle(REFERENCE_LABEL, REFERENCE_LINE), reference), *samples]
    step = min(0.12, 0.7 / len(every))
    for i, (style, found) in enumerate(every):
        rows = np.searchsorted(reference.at, found.at)
        x, base = rows.astype(np.float64) + step * (i - 0.5 * (len(every) - 1)), reference.mean[rows]
        _points(top, style, x, found.mean, found.error)
        _points(bottom, style, x, found.mean / base, found.error / base)
    top.set_title(title, loc="left", fontweight="bold")
    low, high = reference.mean.min(), reference.mean.max()
    if low > 0 and high > 30 * low:
        top.set_yscale("log")
    else:
        top.set_ylim(0, None)
    top.set_ylabel("Mean energy deposit [MeV]")
    top.legend(loc="upper left")
    top.tick_params(labelbottom=False, which="both")
    bottom.axhline(1, color="#999999", linewidth=0.7, linestyle=(0, (4, 3)), zorder=0)
    bottom.set_ylabel(f"Ratio to {REFERENCE_LABEL}")
    bottom.yaxis.set_major_locator(MaxNLocator(4))
    names = [f"{value:.4g}" for value in reference.at]
    bottom.set_xticks(np.arange(len(names)), names, rotation=45 if many else 0, fontsize=7.5 if many else None)
    bottom.xaxis.minorticks_off()
    bottom.set_xlim(-0.6, len(reference.at) - 0.4)
    bottom.set_xlabel(label)
    for axes in (top, bottom):
        axes.yaxis.set_label_coords(-0.125, 0.5)
    return figure


def _points(
    axes: Axes, style: LineStyle, x: NDArray[np.float64], y: NDArray[np.float64], error: NDArray[np.float64]
) -> None:
    fill = style.color if style.dash == "-" else "white"
    axes.errorbar(
        x, y, yerr=error, fmt="o", color=style.color, markersize=3.6, markerfacecolor=fill, markeredgewidth=0.9,
        elinewidth=1.0, capsize=0, label=style.label,
    )  # fmt: skip
