"""Histograms of observables: reference and generated densities with errors, and their ratio.

Densities are counts / (all entries x bin width): entries outside the plotted range count in the normalisation, so what
a model loses there is seen. Bands are the Poisson standard deviation sqrt(counts) of one sample, or, for several seeds
of a model, the standard deviation between the seeds around their mean. A sample by several draws of a Bayesian network's weights has the
standard deviation between draws around their mean instead; where its model has several seeds, too, dotted lines are the ends of
that band, of the first seed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpecFromSubplotSpec
from matplotlib.patches import StepPatch
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator
from numpy.typing import NDArray

from calopipe.plots.legends import legend_above, legend_columns, legend_handles, legend_height
from calopipe.plots.style import (
    REFERENCE_FILL,
    REFERENCE_LABEL,
    REFERENCE_LINE,
    LineStyle,
    new_figure,
    power_of_ten,
    slice_label,
    styled,
    unit_of,
)
from calopipe.records.histograms import Histogram
from calopipe.records.samples import REFERENCE
from calopipe.records.slices import INCIDENT_ENERGY

Array = NDArray[np.float64]
#: ratios are drawn in bins with at least this many reference entries (an error of 50 % or better)
MIN_REFERENCE = 4


@dataclass(frozen=True)
class Series:
    """One sample of one model, to be drawn as one line.

    Attributes:
        style: colour, dashes and legend entry.
        histograms: the same observable for each seed, each with its own reference counts.
        sample: name of the sample in the histograms' counts.
        reference: what the reference is called.
    """

    style: LineStyle
    histograms: tuple[Histogram, ...]
    sample: str = "generated"
    reference: str = REFERENCE_LABEL

    def density(self) -> tuple[Array, Array]:
        """Mean density over seeds and its error, both (B,)."""
        values = np.stack([_density(h, self.sample) for h in self.histograms])
        if len(values) > 1:
            return _band(values)
        return self.draws() or (values[0], _error(self.histograms[0], self.sample))

    def draws(self) -> tuple[Array, Array] | None:
        """Mean density over the draws of the first seed's weights and its standard deviation, both (B,); None: there are none."""
        first = self.histograms[0]
        if self.sample not in first.draws:
            return None
        totals = np.asarray(first.draw_totals[self.sample], dtype=np.float64)
        filled = totals > 0
        if filled.sum() < 2:
            return None
        counts = np.asarray(first.draws[self.sample], dtype=np.float64)[filled]
        return _band(counts / (totals[filled, None] * np.diff(first.edges)))

    def ratio(self) -> tuple[Array, Array]:
        """Density over the reference's and the error of the numerator, both (B,).

        NaN where the reference has fewer than :data:`MIN_REFERENCE` entries: such ratios say nothing.
        """
        return self._over_reference(*self.density())

    def _over_reference(self, value: Array, error: Array) -> tuple[Array, Array]:
        first = self.histograms[0]
        usable = np.asarray(first.counts[REFERENCE]) >= MIN_REFERENCE
        safe = np.where(usable, _density(first, REFERENCE), np.nan)
        return value / safe, error / safe

    def draws_beside(self, ratio: bool = False) -> tuple[Array, Array] | None:
        """The band of the draws, where that of several seeds is drawn already; with `ratio` over the reference."""
        found = self.draws() if len(self.histograms) > 1 else None
        return self._over_reference(*found) if ratio and found is not None else found


def _band(values: Array) -> tuple[Array, Array]:
    """Mean and standard deviation, both (B,), of several histograms (K, B): of seeds, or of draws of weights."""
    return values.mean(axis=0), values.std(axis=0, ddof=1)


def _density(histogram: Histogram, sample: str) -> Array:
    counts = np.asarray(histogram.counts[sample], dtype=np.float64)
    return counts / (max(histogram.totals[sample], 1) * np.diff(histogram.edges))


def _error(histogram: Histogram, sample: str) -> Array:
    counts = np.asarray(histogram.counts[sample], dtype=np.float64)
    return np.sqrt(counts) / (max(histogram.totals[sample], 1) * np.diff(histogram.edges))


@styled
def histogram_figure(series: Sequence[Series], ratio_range: tuple[float, float] = (0.5, 1.5)) -> Figure:
    """One observable: densities above, ratios to the reference below.

    Args:
        series: one or more samples of the same observable; the first one's reference is drawn.
        ratio_range: range of the ratio axis; bins beyond it are marked by arrows.
    """
    handles = legend_handles([s.style for s in series], series[0].reference)
    head = legend_height(handles)
    height = 3.9 + head
    figure = new_figure(4.6, height)
    grid = figure.add_gridspec(
        2, 1, height_ratios=(3, 1), hspace=0.06, left=0.165, right=0.96, top=1 - head / height, bottom=0.5 / height
    )
    top = figure.add_subplot(grid[0])
    draw_histogram(top, figure.add_subplot(grid[1], sharex=top), series, ratio_range)
    legend_above(figure, handles)
    return figure


@styled
def histogram_page(
    observables: Sequence[Sequence[Series]],
    title: str,
    columns: int = 3,
    ratio_range: tuple[float, float] = (0.5, 1.5),
    notes: Sequence[str] = (),
) -> Figure:
    """Several observables on one page, each with its ratio panel, under one legend.

    Args:
        observables: for each panel what :func:`histogram_figure` takes.
        title: heading of the page.
        columns: panels side by side.
        ratio_range: as in :func:`histogram_figure`.
        notes: a line above each panel, e.g. the separation power; none by default.
    """
    columns = min(columns, len(observables))
    rows = math.ceil(len(observables) / columns)
    width = max(3.4 * columns, 4.4)
    longest = max(observables, key=len)
    handles = legend_handles([s.style for s in longest], longest[0].reference)
    beside = width - 0.3 - 0.1 * len(title)  # inches beside the title
    entries = legend_columns(handles, beside, len(handles))
    below = entries < len(handles)  # too long for it: the legend gets lines of its own
    if below:
        entries = legend_columns(handles, width - 0.3, len(handles))
    head = 0.62 + below * 0.21 * math.ceil(len(handles) / entries)
    height = 3.05 * rows + 0.03 + head
    figure = new_figure(width, height)
    grid = figure.add_gridspec(
        rows,
        columns,
        hspace=0.24,
        wspace=0.3,
        left=0.075 * 3 / columns,
        right=0.985,
        top=1 - head / height,
        bottom=0.45 / height,
    )
    for i, series in enumerate(observables):
        inner = GridSpecFromSubplotSpec(
            2, 1, subplot_spec=grid[i // columns, i % columns], height_ratios=(3, 1), hspace=0.06
        )
        top = figure.add_subplot(inner[0])
        note = notes[i] if notes else ""
        draw_histogram(top, figure.add_subplot(inner[1], sharex=top), series, ratio_range, short=True, note=note)
    figure.text(0.012, 1 - 0.12 / height, title, fontsize=11, fontweight="bold", va="top")
    place = (0.99, 1 - (0.29 if below else 0.04) / height)
    figure.legend(handles=handles, loc="upper right", ncols=entries, bbox_to_anchor=place)
    return figure


def draw_histogram(
    top: Axes,
    bottom: Axes,
    series: Sequence[Series],
    ratio_range: tuple[float, float],
    short: bool = False,
    note: str = "",
) -> None:
    """Draw densities into `top` and ratios into `bottom`; axis labels are shortened for small panels.

    The `note` stands above the panel, where it hides nothing.
    """
    first = series[0].histograms[0]
    reference, error = _density(first, REFERENCE), _error(first, REFERENCE)
    floor = _floor([first, *(h for s in series for h in s.histograms)])
    _draw_reference(top, first.edges, reference, error, floor if first.log_y else 0.0)
    for s in series:
        value, spread = s.density()
        edges = s.histograms[0].edges
        low = np.maximum(value - spread, floor if first.log_y else 0.0)
        draw_steps(top, value + spread, edges, low, color=s.style.color, alpha=0.22)
        draw_steps(top, value, edges, **s.style.line)
        _draw_ends(top, s, floor if first.log_y else 0.0)
    _scale(top, first, series, floor)
    _draw_ratios(bottom, series, ratio_range)
    _label(top, bottom, first, "" if short else series[0].reference, note)


def _draw_ends(axes: Axes, s: Series, low: float, high: float = math.inf, ratio: bool = False) -> None:
    """Dotted lines at the ends of the band of draws, where the area is that of several seeds."""
    found = s.draws_beside(ratio)
    if found is None:
        return
    for sign in (-1, 1):
        ends = np.clip(found[0] + sign * found[1], low, high)
        draw_steps(axes, ends, s.histograms[0].edges, color=s.style.color, linewidth=0.8, linestyle=":")


def _label(top: Axes, bottom: Axes, first: Histogram, reference: str, note: str) -> None:
    """Ticks, axis labels, the slice and the note of a panel and its ratio; in small panels `reference` has no name."""
    short = not reference
    top.tick_params(labelbottom=False, which="both")
    if not first.log_x:
        top.xaxis.set_major_locator(MaxNLocator(nbins=5 if short else 7))
    if first.part is not None:
        text = slice_label(first.part)
        text = rf"$E_\mathrm{{inc}}$: {text}" if first.part.condition == INCIDENT_ENERGY else text
        top.text(0.97, 0.955, text, transform=top.transAxes, ha="right", va="top", fontsize=8.5)
    unit = unit_of(first.label)
    name = "Density" if short else "Normalised density"
    power = 0 if first.log_y else power_of_ten(top, top.get_ylim()[1])
    one = rf"$10^{{{power}}}$" if power else "1"
    top.set_ylabel(f"{name} [{one}/{unit}]" if unit else name + (f" [{one}]" if power else ""))
    bottom.set_xlabel(first.label)
    bottom.set_ylabel("Ratio" if short else f"Model / {reference}", fontsize=8.5)
    for axes in (top, bottom):
        axes.yaxis.set_label_coords(-0.145 if not short else -0.165, 0.5)
        # a fixed height: else all tick labels are laid out twice, in search of a place for the title
        axes.set_title(note if axes is top else "", loc="right", fontsize=8, pad=3, y=1)
        if short:  # there is no room for them, and they take a quarter of the drawing time
            axes.minorticks_off()


def draw_steps(axes: Axes, values: Array, edges: Array, baseline: Array | float | None = None, **look: Any) -> None:
    """Draw (B,) values as steps over (B + 1,) edges: a line, or, with a baseline, the area between the two.

    As ``axes.stairs``, but limits are left to the caller: matplotlib would search every step for its extent.
    """
    if baseline is not None:
        look = {"fill": True, "linewidth": 0, **look}
    look = {"fill": False, **look, "baseline": baseline}  # matplotlib takes None and arrays, its types say float only
    axes.add_artist(StepPatch(values, edges, **look))


def _draw_reference(axes: Axes, edges: Array, value: Array, error: Array, bottom: float) -> None:
    draw_steps(axes, value, edges, bottom, color=REFERENCE_FILL)
    draw_steps(axes, value, edges, color=REFERENCE_LINE, linewidth=0.9)
    draw_steps(axes, value + error, edges, np.maximum(value - error, bottom), color=REFERENCE_LINE, alpha=0.35)


def _floor(histograms: Sequence[Histogram]) -> float:
    """Half the smallest density that one entry makes: where logarithmic axes end."""
    smallest = np.inf
    for h in histograms:
        for sample in h.counts:
            density = _density(h, sample)
            if (density > 0).any():
                smallest = min(smallest, density[density > 0].min())
    return 0.5 * smallest if np.isfinite(smallest) else 1e-3


def _scale(axes: Axes, first: Histogram, series: Sequence[Series], floor: float) -> None:
    """Axis scales and limits: whole range in x, unless the right half of it is empty, and some room above the highest bin in y."""
    peak = max(_density(first, REFERENCE).max(), *(s.density()[0].max() for s in series))
    peak = max(peak, 2 * floor)  # an empty histogram still has an axis
    if first.log_x:
        axes.set_xscale("log")
        few = first.edges[-1] < 200 * max(first.edges[0], 1e-300)  # about two decades: label 1, 2, 5
        short = first.edges[-1] < 5 * first.edges[0]  # where LogLocator would label every step of a linear axis
        by_decades = LogLocator(subs=(1, 2, 5) if few else (1,), numticks=6)
        axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]) if short else by_decades)
        if few:
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
    if first.log_y:
        axes.set_yscale("log")
        axes.set_ylim(floor, peak * (peak / floor) ** 0.12)
        axes.yaxis.set_major_locator(LogLocator(numticks=7))
        axes.yaxis.set_minor_formatter(NullFormatter())
    else:
        axes.set_ylim(0, 1.15 * peak)
    positive = first.edges[first.edges > 0]
    if first.log_x:
        axes.set_xlim(positive[0] if len(positive) else first.edges[0], first.edges[-1])
        return
    low, high = first.edges[0], first.edges[-1]
    filled = np.any([_density(h, sample) > 0 for s in series for h in s.histograms for sample in h.counts], axis=0)
    if filled.any() and (end := first.edges[1:][filled].max()) < 0.5 * (low + high):
        high = low + 1.15 * (end - low)
    axes.set_xlim(low, high)


def _draw_ratios(axes: Axes, series: Sequence[Series], limits: tuple[float, float]) -> None:
    """Ratio of each series with its own error band, the reference's relative error around one, arrows out of range."""
    first = series[0].histograms[0]
    counts = np.asarray(first.counts[REFERENCE], dtype=np.float64)
    relative = np.where(counts >= MIN_REFERENCE, 1 / np.sqrt(np.maximum(counts, 1)), np.nan)
    low, high = limits
    below, above = np.maximum(1 - relative, low), np.minimum(1 + relative, high)
    draw_steps(axes, above, first.edges, below, color=REFERENCE_FILL)
    axes.axhline(1, color=REFERENCE_LINE, linewidth=0.8)
    for s in series:
        value, spread = s.ratio()
        draw_ratio(axes, s.histograms[0].edges, value, spread, limits, s.style)
        _draw_ends(axes, s, low, high, ratio=True)
    axes.set_ylim(low, high)
    axes.yaxis.set_major_locator(FixedLocator([0.5 * (1 + low), 1, 0.5 * (1 + high)]))
    axes.yaxis.set_minor_locator(NullLocator())


def draw_ratio(
    axes: Axes, edges: Array, value: Array, spread: Array, limits: tuple[float, float], style: LineStyle
) -> None:
    """One ratio (B,) with its error band, cut at `limits`; bins beyond them by more than their error get an arrow."""
    low, high = limits
    bottom, top = np.clip(value - spread, low, high), np.clip(value + spread, low, high)
    draw_steps(axes, top, edges, bottom, color=style.color, alpha=0.22)
    inside = np.where((value >= low) & (value <= high), value, np.nan)
    draw_steps(axes, inside, edges, **{**style.line, "linewidth": 1.1})
    logarithmic = axes.get_xscale() == "log" and edges[0] > 0
    middle = np.sqrt(edges[:-1] * edges[1:]) if logarithmic else 0.5 * (edges[:-1] + edges[1:])
    margin = 0.06 * (high - low)
    for beyond, place, marker in (
        (value - spread > high, high - margin, "^"),
        (value + spread < low, low + margin, "v"),
    ):
        height = np.full(beyond.sum(), place)
        axes.plot(middle[beyond], height, marker, color=style.color, markersize=3.2, markeredgewidth=0)
