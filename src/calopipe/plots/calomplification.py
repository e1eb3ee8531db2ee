"""Amplification studies: divergence from the truth, and amplification factor, against the number of quantiles.

After figures 6, 7, 9 and 10 of Bieringer 2022.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullFormatter

from calopipe.observables.image import IMAGE_LABELS
from calopipe.plots.style import REFERENCE_LABEL, REFERENCE_LINE, LineStyle, new_figure, plain_number, styled
from calopipe.records.divergences import DivergenceCurve

#: estimators: colours that no model has
ESTIMATORS = {"kde": ("kernel density", "#7a5195"), "histogram": ("histogram estimator", "#8a6d3b")}
_GREYS = ("#b8b8b8", "#8f8f8f", "#666666", "#333333", "#000000")
_DASHES = ("-", (0, (4, 1.5)), (0, (1, 1)))

#: legend entry of the open circles
OUTSIDE = Line2D(
    [], [], marker="o", linestyle="", markersize=3, markerfacecolor="white", color=REFERENCE_LINE,
    label="outside the measured sizes",
)  # fmt: skip

#: smallest amplification factor shown; errors at few quantiles reach far below
LOWEST_FACTOR = 0.1

Generators = Sequence[tuple[DivergenceCurve, LineStyle]]


@styled
def divergence_figure(
    common: Sequence[DivergenceCurve], generators: Generators, n_truth: int, title: str = ""
) -> Figure:
    """Jensen-Shannon divergence of Geant4 samples of several sizes, estimators and generators; bands: errors.

    Args:
        common: curves of Geant4 samples, of density estimators and of the truth's own scatter (kind ``floor``).
        generators: curve and style of each generator.
        n_truth: showers of the truth sample.
        title: heading.
    """
    panels, styles = _observables(common, generators), _styles(common)
    figure, every = _panels(panels, [*styles.values(), *(s for _, s in generators)], title, _floor(n_truth))
    for name, axes in zip(panels, every, strict=True):
        for curve in (c for c in common if c.observables == name):
            style = styles[curve.kind, curve.n]
            if curve.kind == "floor":
                axes.plot(curve.quantiles, curve.values, color=REFERENCE_LINE, linestyle=(0, (1, 1.5)), linewidth=0.9)
                continue
            _band(axes, curve.quantiles, curve.values, curve.errors, style)
        for curve, style in (g for g in generators if g[0].observables == name):
            _band(axes, curve.quantiles, curve.values, curve.errors, style)
        axes.set_yscale("log")
    floors = [c.values[min(1, len(c.values) - 1)] for c in common if c.kind == "floor"]
    _share(every, "Jensen\N{EN DASH}Shannon divergence", min(floors, default=0.0), room=0.02)
    return figure


@styled
def amplification_figure(
    common: Sequence[DivergenceCurve], generators: Generators, n_truth: int, title: str = ""
) -> Figure:
    """Amplification factor; open circles where the equivalent number of showers is outside the samples measured.

    Arguments as :func:`divergence_figure`; lines end where the truth sample can resolve no more.
    """
    styles = {k: s for k, s in _styles(common).items() if k[0] in ESTIMATORS}
    lines = [(c, styles[c.kind, c.n]) for c in common if c.kind in ESTIMATORS] + list(generators)
    drawn = {c.observables for c, _ in lines}
    panels = [name for name in _observables(common, generators) if name in drawn]
    figure, every = _panels(panels, [*styles.values(), *(s for _, s in generators)], title, OUTSIDE)
    for name, axes in zip(panels, every, strict=True):
        axes.axhline(1, color=REFERENCE_LINE, linewidth=0.9, linestyle=(0, (4, 3)))
        for curve, style in (line for line in lines if line[0].observables == name):
            _band(axes, curve.quantiles, curve.amplification, curve.amplification_errors, style)
            outside = curve.extrapolated & np.isfinite(curve.amplification)
            look: dict[str, Any] = {"markersize": 3, "markerfacecolor": "white", "color": style.color}
            axes.plot(curve.quantiles[outside], curve.amplification[outside], "o", **look)
        axes.set_yscale("log")
    largest = max((np.nanmax(c.amplification) for c, _ in lines if np.isfinite(c.amplification).any()), default=np.inf)
    _share(every, "Amplification factor", LOWEST_FACTOR, 1.5 * largest)
    return figure


def _styles(common: Sequence[DivergenceCurve]) -> dict[tuple[str, int], LineStyle]:
    """Style of each kind and size: darker greys for larger samples of Geant4."""
    found: dict[tuple[str, int], LineStyle] = {}
    sizes = sorted({c.n for c in common if c.kind == "geant4"})
    for i, n in enumerate(sizes):
        grey = _GREYS[round(i * (len(_GREYS) - 1) / max(len(sizes) - 1, 1))]
        found["geant4", n] = LineStyle(f"{REFERENCE_LABEL}, {count(n)}", grey)
    for kind, (label, color) in ESTIMATORS.items():
        for i, n in enumerate(sorted({c.n for c in common if c.kind == kind})):
            found[kind, n] = LineStyle(f"{label}, {count(n)}", color, _DASHES[i % len(_DASHES)])
    for curve in common:
        found.setdefault((curve.kind, curve.n), LineStyle("", REFERENCE_LINE, ":"))
    return found


def _floor(n_truth: int) -> Line2D:
    """Legend entry of the truth's own scatter."""
    label = f"resolution of the truth ({count(n_truth)})"
    return Line2D([], [], label=label, color=REFERENCE_LINE, linestyle=(0, (1, 1.5)), linewidth=0.9)


def _observables(common: Sequence[DivergenceCurve], generators: Generators) -> list[str]:
    return list(dict.fromkeys(c.observables for c in [*common, *(c for c, _ in generators)]))


def _panels(names: Sequence[str], styles: Sequence[LineStyle], title: str, last: Line2D) -> tuple[Figure, list[Axes]]:
    """A grid of panels with a heading and one legend."""
    handles = {s.label: Line2D([], [], label=s.label, **s.line) for s in styles if s.label}
    entries = [*handles.values(), last]
    columns = min(4, max(len(names), 1))
    rows = math.ceil(len(names) / columns)
    per_row = max(1, int(2.4 * columns // 2.2))
    head = 0.5 + 0.18 * math.ceil(len(entries) / per_row)
    width, height = max(2.3 * columns + 0.7, 5.2), 2.4 * rows + 0.5 + head
    figure = new_figure(width, height)
    grid = figure.add_gridspec(
        rows, columns, left=0.68 / width, right=1 - 0.12 / width, top=1 - head / height, bottom=0.48 / height,
        wspace=0.1, hspace=0.12,
    )  # fmt: skip
    figure.legend(
        handles=entries, loc="upper left", bbox_to_anchor=(0.6 / width, 1 - 0.27 / height),
        ncols=per_row, borderaxespad=0, fontsize=8, columnspacing=1.2, handletextpad=0.5,
    )  # fmt: skip
    figure.text(0.012, 1 - 0.07 / height, title, fontsize=10.5, fontweight="bold", va="top")
    every = [figure.add_subplot(grid[i // columns, i % columns]) for i in range(len(names))]
    for i, (name, axes) in enumerate(zip(names, every, strict=True)):
        label = ", ".join(IMAGE_LABELS.get(part, part) for part in name.split("+"))
        axes.text(0.04, 0.95, label, transform=axes.transAxes, fontsize=8.5, va="top", ha="left")
        axes.set_xscale("log")
        axes.tick_params(labelleft=i % columns == 0, labelbottom=i + columns >= len(names))
        axes.set_xlabel("Number of quantiles" if i + columns >= len(names) else "")
    return figure, every


def _band(axes: Axes, x: np.ndarray, values: np.ndarray, errors: np.ndarray, style: LineStyle) -> None:
    axes.plot(x, values, linewidth=1.3, **style.line)
    low, high = values - np.nan_to_num(errors), values + np.nan_to_num(errors)
    axes.fill_between(x, np.maximum(low, values / 20), high, color=style.color, alpha=0.25, linewidth=0)


def _share(every: Sequence[Axes], label: str, lowest: float, highest: float = np.inf, room: float = 0.12) -> None:
    """The same limits in all panels, from `lowest` to `highest` at most, with room above for labels; plain numbers."""
    limits = [(*a.get_xlim(), *a.get_ylim()) for a in every]
    if not limits:
        return
    x0, x1, y0, y1 = (f(column) for f, column in zip((min, max, min, max), zip(*limits, strict=True), strict=True))
    y0, y1 = max(y0, lowest), min(y1, highest)
    small = y0 < 1e-3  # then powers of ten throughout
    power = FuncFormatter(lambda v, _: f"$10^{{{round(np.log10(v))}}}$")
    plain = FuncFormatter(plain_number)
    for axes in every:
        axes.set_xlim(x0, x1)
        axes.set_ylim(y0, y1 * (y1 / y0) ** room)
        for axis, form in ((axes.xaxis, plain), (axes.yaxis, power if small else plain)):
            axis.set_major_formatter(form)
            axis.set_minor_formatter(NullFormatter())
        place = axes.get_subplotspec()
        if place is not None and place.is_first_col():
            axes.set_ylabel(label)


def count(n: int) -> str:
    """``5000`` as 5k."""
    return f"{n / 1000:g}k" if n >= 1000 else str(n)
