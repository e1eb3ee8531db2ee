"""A score against a scanned setting; colours and markers tell the values of the other settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from calopipe.plots.epochs import LOG_SPAN, make_room
from calopipe.plots.scores import Dot
from calopipe.plots.style import COLORS, ENERGY_CMAP, REFERENCE_LINE, literal, new_figure, power_of_ten, styled

#: values that span this factor get a logarithmic axis
DECADE = 10
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*")
#: lines of the third of the other settings
LINES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1, 1)), (0, (5, 1, 1, 1)))
#: more values than this are not all written below the axis
MANY_VALUES = 9


@dataclass(frozen=True)
class ScanDot:
    """The score of one point.

    Attributes:
        values: scanned settings and their values, as texts for people.
        numbers: those that are numbers.
        dot: the score.
        best: whether it is the best, or as good within errors.
    """

    values: Mapping[str, str]
    numbers: Mapping[str, float]
    dot: Dot
    best: bool = False


@styled
def scan_figure(
    points: Sequence[ScanDot], setting: str, names: Mapping[str, str], label: str, floor: float | None, title: str = ""
) -> Figure:
    """Values with error bars against a setting; points that differ in nothing else are joined, and the best have rings.

    Args:
        points: all that have a score.
        setting: key of the setting along the axis: a number (logarithmic where its values span a decade), or anything else
            in the order of its first appearance.
        names: what the settings are called; those that vary are told apart by colour, marker and line, in this order.
        label: name of the score.
        floor: value expected for two samples of the reference, where known.
        title: heading.
    """
    figure = new_figure(6.8, 3.5)
    axes = figure.add_axes((0.12, 0.15, 0.6, 0.75))
    places, ticks, log = _places(points, setting)
    others = [key for key in names if key != setting and len({p.values[key] for p in points}) > 1]
    looks, handles = _looks(points, others[:3], names)
    groups: dict[tuple[str, ...], list[int]] = {}
    for i, point in enumerate(points):
        groups.setdefault(tuple(point.values[key] for key in others), []).append(i)
    places = places + _shifts(groups, places, len(points))
    shown = 10.0**places if log else places
    for group in groups.values():
        members = sorted(group, key=lambda i: places[i])
        heights = [points[i].dot.value for i in members]
        errors = [points[i].dot.error or 0.0 for i in members]
        axes.errorbar(shown[members], heights, yerr=errors, markersize=4, linewidth=0.9, **looks[members[0]])
    _rings(axes, [(shown[i], p.dot.value) for i, p in enumerate(points) if p.best], handles)
    if floor is not None:
        handles.append(axes.axhline(floor, color=REFERENCE_LINE, linewidth=0.9, linestyle=(0, (4, 2)), label="floor"))
    _dress(axes, points, label, log)
    if len(ticks) <= MANY_VALUES:
        axes.set_xticks([10.0**x if log else x for x in ticks.values()], [literal(text) for text in ticks])
        axes.xaxis.minorticks_off()
    axes.set_xlabel(literal(setting))
    axes.set_title(title, loc="left", fontweight="bold")
    axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.02, 1.0), borderaxespad=0)
    return figure


def _places(points: Sequence[ScanDot], setting: str) -> tuple[np.ndarray, dict[str, float], bool]:
    """Where points are along the axis (its logarithm where that is drawn), the same of each value, and whether it is."""
    texts = [p.values[setting] for p in points]
    log = False
    if all(setting in p.numbers for p in points):
        numbers = np.array([float(p.numbers[setting]) for p in points])
        log = bool(numbers.min() > 0 and numbers.max() >= DECADE * numbers.min())
        places = np.log10(numbers) if log else numbers
    else:
        order = list(dict.fromkeys(texts))
        places = np.array([float(order.index(text)) for text in texts])
    return places, dict(zip(texts, places.tolist(), strict=True)), log


def _shifts(groups: Mapping[Any, Sequence[int]], places: np.ndarray, n: int) -> np.ndarray:
    """Small shifts along the axis, so that error bars of different groups do not cover one another."""
    distinct = np.unique(places)
    step = 0.25 * (float(np.diff(distinct).min()) if len(distinct) > 1 else 0.0) / max(len(groups), 1)
    found = np.zeros(n)
    for k, members in enumerate(groups.values()):
        found[list(members)] = step * (k - 0.5 * (len(groups) - 1))
    return found


def _looks(
    points: Sequence[ScanDot], others: Sequence[str], names: Mapping[str, str]
) -> tuple[list[dict[str, Any]], list[Line2D]]:
    """Colour, marker and line of each point by its values of up to three other settings, and what the legend says of them."""
    kinds = ("color", "marker", "linestyle")
    looks: list[dict[str, Any]] = [{"color": COLORS[0], "marker": "o", "linestyle": "-"} for _ in points]
    handles: list[Line2D] = []
    for kind, key in zip(kinds, others, strict=False):
        values = list(dict.fromkeys(p.values[key] for p in points))
        choice = _choice(kind, len(values))
        for look, point in zip(looks, points, strict=True):
            look[kind] = choice[values.index(point.values[key])]
        for value, chosen in zip(values, choice, strict=True):
            line: dict[str, Any] = {
                "color": REFERENCE_LINE,
                "marker": "o",
                "linestyle": "-",
                "markersize": 4,
                "linewidth": 0.9,
            }
            line |= {kind: chosen} | ({"linestyle": ""} if kind == "marker" else {})
            handles.append(Line2D([], [], label=literal(f"{names[key]} = {value}"), **line))
    return looks, handles


def _choice(kind: str, n: int) -> list[Any]:
    if kind == "color" and n > len(COLORS):
        return [tuple(c) for c in mpl.colormaps[ENERGY_CMAP](np.linspace(0, 0.92, n))]
    several = {"color": COLORS, "marker": MARKERS, "linestyle": LINES}[kind]
    return [several[i % len(several)] for i in range(n)]


def _rings(axes: Axes, best: Sequence[tuple[float, float]], handles: list[Line2D]) -> None:
    ring: dict[str, Any] = {
        "marker": "o",
        "linestyle": "",
        "markerfacecolor": "none",
        "markeredgecolor": REFERENCE_LINE,
    }
    if best:
        axes.plot(*zip(*best, strict=True), markersize=10, **ring)
        label = "best" if len(best) == 1 else "best within errors"
        handles.append(Line2D([], [], markersize=8, label=label, **ring))


def _dress(axes: Axes, points: Sequence[ScanDot], label: str, log: bool) -> None:
    values = np.array([p.dot.value for p in points])
    if log:
        axes.set_xscale("log")
    if values.min() > 0 and values.max() > LOG_SPAN * values.min():
        axes.set_yscale("log")
    else:
        power = power_of_ten(axes, float(np.abs(values).max()))
        label += rf" [$10^{{{power}}}$]" if power else ""
    make_room(axes, above=0.04)
    axes.set_ylabel(label.replace("_", " "))
