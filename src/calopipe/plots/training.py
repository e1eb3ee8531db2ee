"""How a network was trained: its named losses, learning rates and gradients against the epoch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter
from numpy.typing import NDArray

from calopipe.plots.style import DASHES, REFERENCE_LINE, LineStyle, literal, new_figure, power_of_ten, styled
from calopipe.records.history import Array, History

#: heights in inches of the panel of the loss and of all others, and of title and legend
_MAIN, _SMALL, _HEAD = 2.35, 1.12, 0.32
#: inches left of a panel, and from it to its label
_LEFT, _TO_LABEL = 0.9, 0.55
#: words in names of losses that are written in capitals
_ACRONYMS = ("kl", "bce", "mse", "mmd", "gp")
#: more panels than this beside that of the loss stand in two columns
_ONE_COLUMN = 3
#: what the largest gradients are of, and up to how many objectives both stand in one panel
_KINDS, _TOGETHER = ("norm", "element"), 2
#: trainings that the legend names; of more it says how many they are
_NAMED = 3
#: the axis of mean gradient norms and losses is logarithmic where they span more than this
_LOGARITHMIC = 20.0


@dataclass(frozen=True)
class _Panel:
    """One panel: its axis label, what draws it and returns the values that its axis must show, and how the axis is chosen.

    axis: ``logarithmic``; ``zero`` (it begins there); ``fitting`` (logarithmic where values span much).
    """

    label: str
    draw: Callable[[Axes], list[Array]]
    axis: Literal["fitting", "zero", "logarithmic"] = "fitting"


@styled
def training_figure(histories: Mapping[str, History], style: LineStyle, title: str = "") -> Figure:
    """Training and validation losses by name, learning rates, mean gradient norms and largest gradients, against the epoch.

    Args:
        histories: name of each training (its seed) -> its history.
        style: colour of the model; several trainings share it, in fading shades; several objectives of a network have
            dashes of their own.
        title: heading.

    The loss that is minimised has the large panel. Axes show the validation losses and the training losses after the first
    twentieth of the training, so that the steep start does not flatten the rest; they are logarithmic where the values still
    span more than a factor of 20. The axis of the largest gradients is logarithmic and shows all of them.
    """
    panels = list(_panels(histories, style))
    main = [p for p in panels if p.label == "Loss"]
    small = [p for p in panels if p.label != "Loss"]
    columns = 1 if len(small) <= _ONE_COLUMN else 2
    rows = math.ceil(len(small) / columns)
    gap = 0.08 if columns == 1 else 0.2
    width = 5.2 if columns == 1 else 6.6
    height = _HEAD + _MAIN * len(main) + _SMALL * rows + gap * max(rows - (not main), 0) + 0.44
    figure = new_figure(width, height)
    left, right = _LEFT / width, 1 - 0.15 / width
    top = 1 - _HEAD / height
    every: list[tuple[Axes, bool]] = []
    if main:
        axes = figure.add_axes((left, top - _MAIN / height, right - left, _MAIN / height))
        _fill(axes, main[0])
        every.append((axes, not small))
        top -= (_MAIN + gap) / height
    beside = _LEFT / width if columns == 2 else 0.0
    wide = (right - left - beside * (columns - 1)) / columns
    for i, panel in enumerate(small):
        row, column = divmod(i, columns)
        place = left + column * (wide + beside), top - (_SMALL + row * (_SMALL + gap)) / height
        axes = figure.add_axes((*place, wide, _SMALL / height), sharex=every[0][0] if every else None)
        _fill(axes, panel)
        every.append((axes, i + columns >= len(small)))
    for axes, lowest in every:
        axes.tick_params(labelbottom=lowest, which="both")
        axes.set_xlabel("Epoch" if lowest else "")
        axes.yaxis.set_label_coords(-_TO_LABEL / (axes.get_position().width * width), 0.5)
    _dress(figure, histories, style, title)
    return figure


def _dress(figure: Figure, histories: Mapping[str, History], style: LineStyle, title: str) -> None:
    """Heading and legend, above the panels."""
    height, width = figure.get_size_inches()[1], figure.get_size_inches()[0]
    figure.text(0.1 / width, 1 - 0.08 / height, title, fontsize=9.5, fontweight="bold", va="top")
    names = ", ".join(histories) if len(histories) <= _NAMED else f"{len(histories)} trainings"
    suffix = f" ({names})" if len(histories) > 1 else ""
    handles = [
        Line2D([], [], color=REFERENCE_LINE, linewidth=0.8, label="training"),
        Line2D([], [], color=style.color, marker="o", markersize=2.6, label=f"validation{suffix}"),
    ]
    place: dict[str, Any] = {"loc": "upper right", "bbox_to_anchor": (1 - 0.12 / width, 1 - 0.02 / height), "ncols": 2}
    figure.legend(handles=handles, borderaxespad=0, fontsize=8, columnspacing=1.2, handletextpad=0.5, **place)


def _panels(histories: Mapping[str, History], style: LineStyle) -> Iterator[_Panel]:
    """The panels that have anything to show: losses by name (not a term of weight 0), learning rates, mean gradient norms, largest gradients."""
    for name in dict.fromkeys(name for history in histories.values() for name in history.losses):
        values = [history.of(split, name) for history in histories.values() for split in ("train", "val")]
        if not any(np.any(np.isfinite(v) & (v != 0)) for v in values):
            continue
        label = "Loss" if name == "loss" else _label(name)
        yield _Panel(label, partial(_draw_loss, histories=histories, name=name, style=style))
    if any(h.rates for h in histories.values()):
        yield _Panel("Learning rate", lambda axes: _draw_rates(axes, histories, style), "zero")
    if any(h.norms for h in histories.values()):
        yield _Panel("Mean gradient\nnorm", lambda axes: _draw_norms(axes, histories, style))
    if any(len(h.largest_norms) > _TOGETHER for h in histories.values()):
        for kind in _KINDS:
            yield _Panel(
                f"Largest\ngradient {kind}",
                partial(_draw_largest, histories=histories, style=style, kinds=(kind,)),
                "logarithmic",
            )
    elif any(h.largest_norms for h in histories.values()):
        yield _Panel("Largest\ngradient", partial(_draw_largest, histories=histories, style=style), "logarithmic")


def _label(name: str) -> str:
    """The name of a loss as an axis label, in two lines where it is long."""
    words = " ".join(word.upper() if word in _ACRONYMS else word for word in literal(name).split("_"))
    if len(words) <= 16 or " " not in words:
        return words
    middle = min((i for i, c in enumerate(words) if c == " "), key=lambda i: abs(i - len(words) / 2))
    return f"{words[:middle]}\n{words[middle + 1 :]}"


def _fill(axes: Axes, panel: _Panel) -> None:
    shown = panel.draw(axes)
    _limits(axes, np.concatenate([*shown, np.zeros(0)]), panel.axis)
    label, large = panel.label, panel.label == "Loss"
    if label == "Learning rate" and (power := power_of_ten(axes, axes.get_ylim()[1])):
        label = rf"{label}{chr(10)}[$10^{{{power}}}$]"
    axes.set_ylabel(label, fontsize=9.5 if large else 8.5, linespacing=0.95)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, steps=[1, 2, 5, 10]))


def _shade(i: int, n: int) -> float:
    """Opacity of the i-th of n trainings."""
    return 1.0 - 0.6 * i / max(n, 2)


def _late(history: History) -> NDArray[np.bool_]:
    """Which rows are after the first twentieth of the training."""
    time = history.time
    return time > 0.05 * (np.nanmax(time) if np.isfinite(time).any() else 0.0)


def _draw_loss(axes: Axes, histories: Mapping[str, History], name: str, style: LineStyle) -> list[Array]:
    shown = []
    for i, history in enumerate(histories.values()):
        time, alpha, late = history.time, _shade(i, len(histories)), _late(history)
        train, val = history.of("train", name), history.of("val", name)
        ok, seen = np.isfinite(train), np.isfinite(val)
        axes.plot(time[ok], train[ok], color=REFERENCE_LINE, linewidth=0.8, alpha=0.75 * alpha)
        marker = "o" if seen.sum() <= 60 else ""
        axes.plot(time[seen], val[seen], color=style.color, alpha=alpha, marker=marker, markersize=2.6)
        shown += [train[ok & late], val[seen & late]]
    return shown


def _draw_rates(axes: Axes, histories: Mapping[str, History], style: LineStyle) -> list[Array]:
    return _draw_lines(axes, [h.rates for h in histories.values()], list(histories.values()), style)


def _draw_norms(axes: Axes, histories: Mapping[str, History], style: LineStyle) -> list[Array]:
    return _draw_lines(axes, [h.norms for h in histories.values()], list(histories.values()), style)


def _draw_largest(
    axes: Axes, histories: Mapping[str, History], style: LineStyle, kinds: Sequence[str] = _KINDS
) -> list[Array]:
    """Largest norms, largest elements, or both, of each objective."""
    lines = []
    for history in histories.values():
        found = {"norm": history.largest_norms, "element": history.largest_elements}
        ends = {kind: f" {kind}" if len(kinds) > 1 else "" for kind in kinds}
        lines.append({f"{name}{ends[kind]}".strip(): v for kind in kinds for name, v in found[kind].items()})
    return _draw_lines(axes, lines, list(histories.values()), style, late=False, columns=len(kinds))


def _draw_lines(
    axes: Axes,
    by_objective: list[dict[str, Array]],
    histories: list[History],
    style: LineStyle,
    late: bool = True,
    columns: int = 1,
) -> list[Array]:
    """One line per objective, told apart by dashes and named where there are several; `late`: the axis need not show the start."""
    names = list(dict.fromkeys(name for found in by_objective for name in found))
    shown = []
    for i, (found, history) in enumerate(zip(by_objective, histories, strict=True)):
        for name, values in found.items():
            ok, dash = np.isfinite(values), DASHES[names.index(name) % len(DASHES)]
            look = {"color": style.color, "alpha": _shade(i, len(histories)), "linewidth": 1.1, "linestyle": dash}
            axes.plot(history.time[ok], values[ok], label=literal(name) if i == 0 else None, **look)
            shown.append(values[ok & _late(history)] if late else values[ok])
    if len(names) > 1:
        place: dict[str, Any] = {"loc": "upper right", "borderaxespad": 0.3, "labelspacing": 0.25, "columnspacing": 1.0}
        axes.legend(fontsize=7.5 if columns == 1 else 6.5, handlelength=2.4, ncols=columns, **place)
    return shown


def _tick(value: float, _: int | None = None) -> str:
    power = math.log10(value) if value > 0 else 0.0
    if abs(power) >= 4 and power == round(power):
        return f"$10^{{{power:.0f}}}$"
    return f"{value:g}".replace("-", "\N{MINUS SIGN}")


def _limits(axes: Axes, values: Array, axis: str) -> None:
    """Limits of the vertical axis that show `values`, and ticks without a common factor; `axis` as in :class:`_Panel`."""
    values = values[np.isfinite(values)]
    axes.yaxis.set_major_formatter(FuncFormatter(_tick))
    axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
    if not len(values):
        return
    low, high = np.quantile(values, [0.0, 0.995])
    if axis == "logarithmic":
        low, high = values[values > 0].min(initial=values.max()), values.max()
    if axis == "zero":
        axes.set_ylim(0, 1.08 * max(high, 1e-12))
    elif low > 0 and (axis == "logarithmic" or high / low > _LOGARITHMIC):
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(_tick))
        axes.yaxis.set_minor_formatter(NullFormatter())
        room = (high / low) ** 0.45 if axis == "logarithmic" else 1.0  # for the legend
        axes.set_ylim(low / 1.2, high * 1.2 * room)
    else:
        margin = 0.06 * max(high - low, 1e-6 * max(abs(high), 1.0))
        axes.set_ylim(low - margin, high + margin)
