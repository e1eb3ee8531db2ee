"""Cross sections of average showers: mean and spread cell by cell, and mean and width of the middle rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec, GridSpecFromSubplotSpec
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, MaxNLocator, NullFormatter, NullLocator
from numpy.typing import NDArray

from calopipe.plots.histograms import draw_ratio
from calopipe.plots.legends import legend_columns, legend_handles
from calopipe.plots.style import (
    REFERENCE_FILL,
    REFERENCE_LINE,
    LineStyle,
    heading_size,
    new_figure,
    styled,
)

Array = NDArray[np.float64]
_RATIO = (0.5, 1.5)
#: cells are drawn down to this fraction of the largest one
_DECADES = 5.0


@dataclass(frozen=True)
class Profile:
    """One sample along one row of cells: mean energy, its error, and the standard deviation between showers; (B,), MeV."""

    mean: Array
    error: Array
    std: Array


@dataclass(frozen=True)
class ProfilePanel:
    """One row of cells, for the reference and for samples.

    Attributes:
        title: which layer and row.
        xlabel: label of the coordinate along the row, with its unit.
        edges: (B + 1,) bin edges.
        reference: the reference's profile.
        samples: style and profile of each sample.
    """

    title: str
    xlabel: str
    edges: Array
    reference: Profile
    samples: Sequence[tuple[LineStyle, Profile]]


@styled
def cross_section_page(panels: Sequence[ProfilePanel], title: str, columns: int = 3) -> Figure:
    """Rows of cells: mean energy with its error band, standard deviation between showers, and ratio of the means."""
    styles = [style for style, _ in max((p.samples for p in panels), key=len)]
    figure, grid, columns = _page(len(panels), columns, 4.0, styles)
    for i, panel in enumerate(panels):
        cell = grid[i // columns, i % columns]
        inner = GridSpecFromSubplotSpec(3, 1, subplot_spec=cell, height_ratios=(2.4, 1.6, 1), hspace=0.07)
        top = figure.add_subplot(inner[0])
        middle, bottom = (figure.add_subplot(inner[k], sharex=top) for k in (1, 2))
        _draw_profiles(top, panel, spread=False)
        _draw_profiles(middle, panel, spread=True)
        _draw_ratio(bottom, panel)
        top.set_title(panel.title, fontsize=9, pad=3)
        bottom.set_xlabel(panel.xlabel)
        first = i % columns == 0
        for axes, label in ((top, r"$\langle E\rangle$ [MeV]"), (middle, r"$\sigma_E$ [MeV]"), (bottom, "Ratio")):
            axes.set_ylabel(label if first else "", fontsize=8.5)
            axes.yaxis.set_label_coords(-0.18, 0.5)
            axes.minorticks_off()
        for axes in (top, middle):
            axes.tick_params(labelbottom=False, which="both")
    _head(figure, title, styles)
    return figure


def _draw_profiles(axes: Axes, panel: ProfilePanel, spread: bool) -> None:
    """Means with their errors, or the standard deviations, on a logarithmic axis."""
    values = [p.std if spread else p.mean for p in (panel.reference, *(p for _, p in panel.samples))]
    peak = max((float(v.max(initial=0.0)) for v in values), default=0.0) or 1.0
    positive = np.concatenate([v[v > 0] for v in values] + [np.array([peak])])
    floor = max(0.5 * float(positive.min()), peak * 10**-_DECADES)
    _band(axes, panel.edges, panel.reference, spread, floor)
    for style, profile in panel.samples:
        value = profile.std if spread else profile.mean
        axes.stairs(np.maximum(value, 0.1 * floor), panel.edges, baseline=None, **style.line)
        if not spread:
            low, high = np.maximum(value - profile.error, floor), np.maximum(value + profile.error, floor)
            axes.stairs(high, panel.edges, baseline=low, fill=True, color=style.color, alpha=0.22, linewidth=0)
    axes.set_yscale("log")
    axes.set_ylim(floor, 2.5 * peak)
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_xlim(panel.edges[0], panel.edges[-1])
    axes.xaxis.set_major_locator(MaxNLocator(5))


def _band(axes: Axes, edges: Array, reference: Profile, spread: bool, floor: float) -> None:
    value = reference.std if spread else reference.mean
    axes.stairs(np.maximum(value, floor), edges, baseline=floor, fill=True, color=REFERENCE_FILL, linewidth=0)
    axes.stairs(np.maximum(value, 0.1 * floor), edges, baseline=None, color=REFERENCE_LINE, linewidth=0.9)
    if not spread:
        low, high = np.maximum(value - reference.error, floor), np.maximum(value + reference.error, floor)
        axes.stairs(high, edges, baseline=low, fill=True, color=REFERENCE_LINE, alpha=0.35, linewidth=0)


def _draw_ratio(axes: Axes, panel: ProfilePanel) -> None:
    """Ratios of the means where the reference's is known to 50 % or better, as in histograms."""
    reference = panel.reference
    usable = (reference.mean > 0) & (reference.error < 0.5 * reference.mean)
    safe = np.where(usable, reference.mean, np.nan)
    low, high = _RATIO
    relative = reference.error / safe
    axes.stairs(
        np.minimum(1 + relative, high), panel.edges, baseline=np.maximum(1 - relative, low),
        fill=True, color=REFERENCE_FILL, linewidth=0,
    )  # fmt: skip
    axes.axhline(1, color=REFERENCE_LINE, linewidth=0.8)
    for style, profile in panel.samples:
        draw_ratio(axes, panel.edges, profile.mean / safe, profile.error / safe, _RATIO, style)
    axes.set_ylim(low, high)
    axes.yaxis.set_major_locator(FixedLocator([0.75, 1, 1.25]))
    axes.yaxis.set_minor_locator(NullLocator())


@dataclass(frozen=True)
class MomentPanel:
    """Mean position and width of parallel rows of one layer.

    Attributes:
        title: which layer, and along what.
        xlabel: label of the coordinate that tells the rows apart, with its unit.
        offsets: (R,) that coordinate.
        reference: (2, R) positions and (2, R) widths of the reference: values and errors, in mm.
        samples: style, positions and widths of each sample.
    """

    title: str
    xlabel: str
    offsets: Array
    reference: tuple[Array, Array]
    samples: Sequence[tuple[LineStyle, Array, Array]]


@styled
def row_moments_page(panels: Sequence[MomentPanel], title: str, columns: int = 3) -> Figure:
    """Mean and width of the middle rows of average showers against the place of the row, with errors."""
    styles = [style for style, *_ in max((p.samples for p in panels), key=len)]
    figure, grid, columns = _page(len(panels), columns, 2.9, styles)
    for i, panel in enumerate(panels):
        cell = grid[i // columns, i % columns]
        inner = GridSpecFromSubplotSpec(2, 1, subplot_spec=cell, height_ratios=(1, 1), hspace=0.07)
        top = figure.add_subplot(inner[0])
        bottom = figure.add_subplot(inner[1], sharex=top)
        for axes, k in ((top, 0), (bottom, 1)):
            _draw_moments(axes, panel, k)
        top.set_title(panel.title, fontsize=9, pad=3)
        top.tick_params(labelbottom=False, which="both")
        bottom.set_xlabel(panel.xlabel)
        for axes, label in ((top, "Mean [mm]"), (bottom, "Width [mm]")):
            axes.set_ylabel(label if i % columns == 0 else "", fontsize=8.5)
            axes.yaxis.set_label_coords(-0.18, 0.5)
            axes.minorticks_off()
    _head(figure, title, styles, points=True)
    return figure


def _draw_moments(axes: Axes, panel: MomentPanel, k: int) -> None:
    """Points with error bars, slightly beside one another; the reference as steps with a band."""
    x = panel.offsets
    step = float(np.diff(x).mean()) if len(x) > 1 else 1.0
    edges = np.append(x - 0.5 * step, x[-1] + 0.5 * step)
    value, error = panel.reference[k]
    error = np.nan_to_num(error)
    axes.stairs(value + error, edges, baseline=value - error, fill=True, color=REFERENCE_FILL, linewidth=0)
    axes.stairs(value, edges, baseline=None, color=REFERENCE_LINE, linewidth=0.9)
    n = len(panel.samples)
    for j, (style, *moments) in enumerate(panel.samples):
        shift = (j - 0.5 * (n - 1)) * 0.5 * step / max(n, 1)
        fill = style.color if style.dash == "-" else "white"
        axes.errorbar(
            x + shift, moments[k][0], yerr=np.nan_to_num(moments[k][1]), fmt="o", markersize=3, color=style.color,
            markerfacecolor=fill, markeredgewidth=0.8, elinewidth=0.9, linestyle="",
        )  # fmt: skip
    axes.set_xlim(edges[0], edges[-1])
    every: list[tuple[Array, Array]] = [(value, error), *((m[k][0], m[k][1]) for _, *m in panel.samples)]
    ends = [m + sign * np.nan_to_num(e) for m, e in every for sign in (-1, 1)]
    finite = np.concatenate(ends)
    finite = finite[np.isfinite(finite)] if np.isfinite(finite).any() else np.array([0.0, 1.0])
    margin = 0.1 * (finite.max() - finite.min()) or 0.5
    axes.set_ylim(finite.min() - margin, finite.max() + margin)
    axes.yaxis.set_major_locator(MaxNLocator(4))


def _page(n: int, columns: int, height: float, styles: Sequence[LineStyle]) -> tuple[Figure, GridSpec, int]:
    """An empty page of n panels, with room for a heading and a legend: figure, grid and number of columns."""
    columns = min(columns, n)
    rows, width = math.ceil(n / columns), max(3.4 * columns, 4.4)
    handles = legend_handles(styles)
    head = 0.55 + 0.19 * math.ceil(len(handles) / _legend_columns(handles, width))
    total = height * rows + head
    figure = new_figure(width, total)
    grid = figure.add_gridspec(
        rows, columns, hspace=0.27, wspace=0.24, left=0.075 * 3 / columns, right=0.985,
        top=1 - (head + 0.03) / total, bottom=0.45 / total,
    )  # fmt: skip
    return figure, grid, columns


def _legend_columns(handles: Sequence[Patch | Line2D], width: float) -> int:
    return legend_columns(handles, width - 0.2, most=6)


def _head(figure: Figure, title: str, styles: Sequence[LineStyle], points: bool = False) -> None:
    """Heading and legend; with `points` the samples are points, not lines."""
    width, height = figure.get_size_inches()
    size = heading_size(title, width, 11)
    figure.text(0.012, 1 - 0.09 / height, title, fontsize=size, fontweight="bold", va="top")
    handles = legend_handles(styles)
    for style, handle in zip(styles, handles[1:] if points else (), strict=False):
        fill = style.color if style.dash == "-" else "white"
        handle.set(marker="o", markersize=4, markerfacecolor=fill, linestyle="")
    figure.legend(
        handles=handles, loc="upper right", ncols=_legend_columns(handles, width), bbox_to_anchor=(0.99, 1 - 0.26 / height),
        borderaxespad=0,
    )  # fmt: skip
