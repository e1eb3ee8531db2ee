"""Overview of one metric over all observables: dots by observable, or lines against the layer where there are many."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from calopipe.plots.legends import legend_columns
from calopipe.plots.style import REFERENCE_LINE, LineStyle, new_figure, styled

#: a longer list of rows is split into several columns
ROWS_PER_COLUMN = 30
_FLOOR: Mapping[str, Any] = {"color": REFERENCE_LINE, "linestyle": ":", "linewidth": 1.0}

T = TypeVar("T")


@dataclass(frozen=True)
class Dot:
    """One value of one model; `error` None when it is not known."""

    value: float
    error: float | None = None


@styled
def scores_figure(
    columns: Sequence[tuple[LineStyle, Mapping[str, Dot]]], label: str, floors: Mapping[str, float], title: str = ""
) -> Figure:
    """Horizontal dot plot on a logarithmic axis, best values to the left.

    Args:
        columns: style of each model and its values by row name; rows appear in the order of the first column.
        label: axis label.
        floors: row name -> value expected for two independent reference samples (a tick mark), where known.
        title: heading.

    Values at or below zero cannot be shown on the axis; they are drawn at its left end as open symbols.
    """
    rows = list(dict.fromkeys(name for _, values in columns for name in values))
    n_parts = math.ceil(len(rows) / ROWS_PER_COLUMN)
    per_part = math.ceil(len(rows) / max(n_parts, 1))
    handles = _handles([style for style, _ in columns], any(n in rows for n in floors))
    names = max(1.75, 0.1 + 0.06 * max((len(name) for name in rows), default=0))  # inches for the row names
    width = ((4.25, 2.85)[n_parts > 1] + names) * n_parts
    head = 0.42 + 0.18 * math.ceil(len(handles) / _legend_columns(handles, width))
    height = 0.19 * per_part + 0.55 + head
    figure = new_figure(width, height)
    shown = [d.value for _, values in columns for d in values.values() if d.value > 0]
    shown += [f for n, f in floors.items() if n in rows and f > 0]
    limits = 0.5 * min(shown, default=1e-4), 2 * max(shown, default=1.0)
    for i in range(n_parts):
        part = rows[i * per_part : (i + 1) * per_part]
        left = names / width + i / n_parts
        span = 1 / n_parts - (names + 0.18) / width
        tall = 0.19 * len(part)
        axes = figure.add_axes((left, (height - head - tall) / height, span, tall / height))
        _draw_dots(axes, part, columns, floors, limits[0])
        _dress(axes, part, limits)
        axes.set_xlabel(label)
    _legend(figure, handles)
    figure.text(0.012, 1 - 0.09 / height, title, fontsize=10.5, fontweight="bold", va="top")
    return figure


def _draw_dots(
    axes: Axes,
    rows: Sequence[str],
    columns: Sequence[tuple[LineStyle, Mapping[str, Dot]]],
    floors: Mapping[str, float],
    low: float,
) -> None:
    place = {name: i for i, name in enumerate(rows)}
    step = 0.5 / max(len(columns), 1)
    for k, (style, values) in enumerate(columns):
        shift = (k - 0.5 * (len(columns) - 1)) * step
        for name, dot in ((n, d) for n, d in values.items() if n in place):
            y = place[name] + shift
            if dot.error and dot.value > 0:
                ends = max(dot.value - dot.error, low), dot.value + dot.error
                axes.plot(ends, [y, y], color=style.color, linewidth=0.9)
            fill = style.color if style.dash == "-" and dot.value > 0 else "white"
            look: dict[str, Any] = {
                "markersize": 4,
                "markerfacecolor": fill,
                "markeredgecolor": style.color,
                "markeredgewidth": 0.9,
            }
            axes.plot(max(dot.value, low), y, "o", **look)
    for name, floor in floors.items():
        if name in place and floor > 0:
            axes.plot(floor, place[name], "|", color=REFERENCE_LINE, markersize=9, markeredgewidth=1.2)


@styled
def layer_scores_figure(
    columns: Sequence[tuple[LineStyle, Mapping[str, Dot]]], label: str, floors: Mapping[str, float], title: str = ""
) -> Figure:
    """One metric of observables that exist in every layer, against the layer: one small panel per observable.

    Args:
        columns: style of each model and its values by name (``E_layer/7``, ``brightest/7/1``); others are left out.
        label: label of the vertical, logarithmic axis.
        floors: name -> value expected for two independent reference samples (a dotted line), where known.
        title: heading.
    """
    series = [(style, _by_layer(values)) for style, values in columns]
    families = list(dict.fromkeys(family for _, found in series for family in found))
    floor_lines = {f: v for f, v in _by_layer(floors).items() if f in families}
    wide = min(3, len(families))
    rows = math.ceil(len(families) / wide)
    handles = [Line2D([], [], marker="o", markersize=2.5, label=s.label, **s.line) for s, _ in columns]
    if floor_lines:
        handles.append(Line2D([], [], label="two reference halves", **_FLOOR))
    width = max(2.5 * wide + 0.5, 4.5)
    head = 0.6 + 0.18 * math.ceil(len(handles) / _legend_columns(handles, width))
    height = 1.95 * rows + 0.45 + head
    figure = new_figure(width, height)
    grid = figure.add_gridspec(
        rows, wide, left=0.68 / width, right=0.985, top=1 - head / height, bottom=0.45 / height,
        wspace=0.08, hspace=0.3,
    )  # fmt: skip
    shown = [d.value for _, found in series for values in found.values() for d in values.values() if d.value > 0]
    shown += [v for values in floor_lines.values() for v in values.values() if v > 0]
    limits = 0.6 * min(shown, default=1e-4), 1.6 * max(shown, default=1.0)
    for i, name in enumerate(families):
        axes = figure.add_subplot(grid[i // wide, i % wide])
        _draw_layers(axes, [(style, found[name]) for style, found in series if name in found], limits[0])
        if name in floor_lines:
            layers = sorted(floor_lines[name])
            axes.plot(layers, [max(floor_lines[name][k], limits[0]) for k in layers], **_FLOOR)
        axes.set_yscale("log")
        axes.set_ylim(*limits)
        axes.set_title(name, fontsize=8.5, pad=3)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.tick_params(labelleft=i % wide == 0, labelbottom=i + wide >= len(families))
        axes.set_ylabel(label if i % wide == 0 else "", fontsize=8.5)
        axes.set_xlabel("Layer" if i + wide >= len(families) else "", fontsize=8.5)
    _legend(figure, handles)
    figure.text(0.012, 1 - 0.09 / height, title, fontsize=10.5, fontweight="bold", va="top")
    return figure


def _draw_layers(axes: Axes, series: Sequence[tuple[LineStyle, Mapping[int, Dot]]], low: float) -> None:
    for style, values in series:
        layers = sorted(values)
        heights = np.array([values[k].value for k in layers])
        spread = np.array([values[k].error or 0.0 for k in layers])
        axes.plot(layers, np.maximum(heights, low), marker="o", markersize=2, linewidth=0.9, **style.line)
        band = np.maximum(heights - spread, low), np.maximum(heights + spread, low)
        axes.fill_between(layers, *band, color=style.color, alpha=0.2, linewidth=0)


def layer_of(name: str) -> int | None:
    """Layer id in an observable's name: 12 in ``E_layer/12``, 0 in ``EC_eta_difference/0-1`` and ``brightest/0/1``."""
    match = re.search(r"/(\d+)", name)
    return int(match[1]) if match else None


def _by_layer(values: Mapping[str, T]) -> dict[str, dict[int, T]]:
    """Split names such as ``brightest/7/1`` into the family (``brightest 1``) and the layer (7)."""
    families: dict[str, dict[int, T]] = {}
    for name, value in values.items():
        layer = layer_of(name)
        if layer is not None:
            first, _, *rest = name.split("/")
            families.setdefault(" ".join([first, *rest]), {})[layer] = value
    return families


def _legend(figure: Figure, handles: Sequence[Line2D]) -> None:
    width, height = figure.get_size_inches()
    figure.legend(
        handles=handles, loc="upper right", bbox_to_anchor=(0.985, 1 - 0.3 / height), ncols=_legend_columns(handles, width),
        borderaxespad=0, fontsize=8, columnspacing=1.2, handletextpad=0.4,
    )  # fmt: skip


def _legend_columns(handles: Sequence[Line2D], width: float) -> int:
    """At most three columns of a legend in a figure of `width` inches."""
    return legend_columns(handles, width - 0.2, most=3)


def _dress(axes: Axes, rows: Sequence[str], limits: tuple[float, float]) -> None:
    axes.set_xscale("log")
    axes.set_xlim(0.85 * limits[0], limits[1])
    axes.set_yticks(range(len(rows)), rows, fontsize=7.5)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.yaxis.minorticks_off()
    axes.tick_params(axis="y", length=0)
    axes.set_axisbelow(True)
    axes.grid(axis="x", color="#dddddd", linewidth=0.5)
    for i in range(0, len(rows), 2):
        axes.axhspan(i - 0.5, i + 0.5, color="#f5f5f5", zorder=0, linewidth=0)


def _handles(styles: Sequence[LineStyle], floor: bool) -> list[Line2D]:
    found = []
    for s in styles:
        fill = s.color if s.dash == "-" else "white"
        found.append(
            Line2D(
                [],
                [],
                marker="o",
                linestyle="",
                markersize=4,
                markerfacecolor=fill,
                markeredgecolor=s.color,
                label=s.label,
            )
        )
    if floor:
        found.append(
            Line2D([], [], marker="|", linestyle="", markersize=9, color=REFERENCE_LINE, label="two reference halves")
        )
    return found
