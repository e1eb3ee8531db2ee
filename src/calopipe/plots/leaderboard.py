"""Quality against generation time of the published submissions and of own scores (arXiv:2410.21611, section 6)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter

from calopipe.plots.style import COLORS, REFERENCE_LABEL, REFERENCE_LINE, new_figure, styled

Value = tuple[float, float | None]  # value, error

_OWN_COLOR = "#000000"
#: own rows, in order: the first is a star
_OWN_MARKERS = (("*", 12.0), ("D", 6.5), ("^", 7.5), ("s", 6.5), ("P", 8.0), ("X", 8.0))


@dataclass(frozen=True)
class Contender:
    """One generator in the plot.

    Attributes:
        name: legend entry.
        quality: value and error of the score on the vertical axis, or None.
        times: (device, batch size) -> value and error in ms per shower; empty where not measured.
        own: drawn in black, the first as a star; the published ones are numbered circles.
        other_data: its quality was measured on other data than the official files: its marker is open.
    """

    name: str
    quality: Value | None
    times: Mapping[tuple[str, int], Value]
    own: bool = False
    other_data: bool = False


@styled
def quality_speed_figure(
    contenders: Sequence[Contender],
    label: str,
    goal: Value | None,
    title: str,
    *,
    linear: bool,
    devices: Sequence[str] = ("GPU", "CPU"),
    batch_sizes: Sequence[int] = (1, 100, 10000),
) -> Figure:
    """One panel per device and batch size: time per shower across, quality upwards (better towards the lower left).

    Args:
        contenders: the published ones keep the order, and thereby their number and colour, in every figure.
        label: axis label of the quality.
        goal: value of the simulation compared with itself, drawn as a line, where there is one.
        title: heading.
        linear: linear vertical axis (AUC); else logarithmic, without the values that are not positive.

    Own scores without a time on this device and batch size are drawn as a horizontal dashed line.
    """
    shown = [c for c in contenders if c.quality is not None and (linear or c.quality[0] > 0)]
    numbers = {c.name: i for i, c in enumerate([c for c in contenders if not c.own], start=1)}
    numbers |= {c.name: i for i, c in enumerate(c for c in contenders if c.own)}
    width, height = 2.45 * len(batch_sizes) + 2.75, 2.3 * len(devices) + 0.95
    figure = new_figure(width, height)
    grid = figure.add_gridspec(
        len(devices),
        len(batch_sizes),
        left=0.72 / width,
        right=1 - 2.1 / width,
        top=1 - 0.5 / height,
        bottom=0.5 / height,
        wspace=0.08,
        hspace=0.16,
    )
    limits = _limits(shown, linear, goal)
    for row, device in enumerate(devices):
        for column, size in enumerate(batch_sizes):
            axes = figure.add_subplot(grid[row, column])
            _draw(axes, shown, numbers, (device, size), goal)
            axes.set_yscale("linear" if linear else "log")
            axes.set_ylim(*limits)
            lowest = row == len(devices) - 1
            axes.tick_params(labelleft=column == 0, labelbottom=lowest)
            axes.set_title(f"{device}, batch {size}", loc="left", fontsize=8, pad=3)
            axes.set_ylabel(label if column == 0 else "")
            axes.set_xlabel("Time per shower [ms]" if lowest else "")
    handles = list(_handles(shown, numbers, goal, devices, batch_sizes))
    figure.legend(
        handles=handles, loc="upper left", bbox_to_anchor=(1 - 2.02 / width, 1 - 0.5 / height), fontsize=7.5,
        labelspacing=0.55, handletextpad=0.6, borderaxespad=0,
    )  # fmt: skip
    figure.text(0.1 / width, 1 - 0.1 / height, title, fontsize=10.5, fontweight="bold", va="top")
    return figure


def _color(number: int) -> str:
    return COLORS[(number - 1) % len(COLORS)]


def _own_marker(number: int) -> tuple[str, float]:
    return _OWN_MARKERS[number % len(_OWN_MARKERS)]


def _draw(
    axes: Axes, shown: Sequence[Contender], numbers: Mapping[str, int], key: tuple[str, int], goal: Value | None
) -> None:
    axes.set_xscale("log")
    axes.set_xlim(*_times(shown))
    axes.xaxis.set_major_locator(LogLocator(numticks=7))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid(color="#e4e4e4", linewidth=0.5)
    axes.set_axisbelow(True)
    if goal is not None:
        axes.axhline(goal[0], color=REFERENCE_LINE, linewidth=0.9, linestyle=(0, (4, 3)))
    for c in sorted(shown, key=lambda c: c.own):
        assert c.quality is not None
        y, time = c.quality[0], c.times.get(key)
        if time is None:
            if c.own:
                axes.axhline(y, color=_OWN_COLOR, linewidth=1, linestyle=(0, (1, 1.5)))
            continue
        color = _OWN_COLOR if c.own else _color(numbers[c.name])
        axes.errorbar(time[0], y, yerr=c.quality[1], xerr=_left(time), color=color, linewidth=0.7, capsize=0, zorder=2)
        if c.own:
            fill = "white" if c.other_data else _OWN_COLOR
            marker, size = _own_marker(numbers[c.name])
            axes.plot(time[0], y, marker, markersize=size, color=color, markerfacecolor=fill, zorder=5)
        else:
            axes.plot(time[0], y, "o", markersize=8.5, color=color, markeredgewidth=0, alpha=0.85, zorder=3)
            axes.text(
                time[0], y, str(numbers[c.name]), color="white", fontsize=5.5, ha="center", va="center_baseline",
                fontweight="bold", zorder=4,
            )  # fmt: skip


def _left(time: Value) -> list[list[float]] | None:
    """Error bar of a time that does not reach zero on a logarithmic axis."""
    value, error = time
    return None if error is None else [[min(error, 0.9 * value)], [error]]


def _times(shown: Sequence[Contender]) -> tuple[float, float]:
    every = [value for c in shown for value, _ in c.times.values() if value > 0] or [1.0, 1e3]
    return 0.35 * min(every), 3 * max(every)


def _limits(shown: Sequence[Contender], linear: bool, goal: Value | None) -> tuple[float, float]:
    values = [c.quality[0] for c in shown if c.quality is not None] + ([goal[0]] if goal is not None else [])
    low, high = min(values, default=0.5), max(values, default=1.0)
    if linear:
        margin = 0.06 * max(high - low, 0.05)
        return low - margin, high + margin
    low = min(v for v in values if v > 0) if any(v > 0 for v in values) else 1e-4
    return 0.6 * low, high * 1.7


def _handles(
    shown: Sequence[Contender],
    numbers: Mapping[str, int],
    goal: Value | None,
    devices: Sequence[str],
    batch_sizes: Sequence[int],
) -> Iterator[Line2D]:
    for c in (c for c in shown if c.own):
        text = f"{c.name} (other data)" if c.other_data else c.name
        marker, size = _own_marker(numbers[c.name])
        look: dict[str, Any] = {"markerfacecolor": "white" if c.other_data else _OWN_COLOR, "markersize": 0.92 * size}
        yield Line2D([], [], marker=marker, linestyle="", color=_OWN_COLOR, label=text, **look)
    if any((d, b) not in c.times for c in shown if c.own for d in devices for b in batch_sizes):
        yield Line2D([], [], color=_OWN_COLOR, linewidth=1, linestyle=(0, (1, 1.5)), label="time not measured")
    for c in (c for c in shown if not c.own):
        number = numbers[c.name]
        marker = f"${number}$"
        size = 4.2 if number < 10 else 6.5
        yield Line2D([], [], marker=marker, linestyle="", color=_color(number), markersize=size, label=c.name)
    if goal is not None:
        text = f"{REFERENCE_LABEL} against itself"
        yield Line2D([], [], color=REFERENCE_LINE, linestyle=(0, (4, 3)), linewidth=0.9, label=text)
