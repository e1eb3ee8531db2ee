"""Average showers and single showers, layer by layer, and the mean longitudinal profile."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from calopipe.geometry import Geometry
from calopipe.plots.histograms import draw_ratio
from calopipe.plots.layers import Array, axis_labels, draw_layer, energy_norm, has_log_radius, pick_layers
from calopipe.plots.legends import legend_above, legend_handles, legend_height
from calopipe.plots.style import (
    ENERGY_CMAP,
    RATIO_CMAP,
    REFERENCE_FILL,
    REFERENCE_LABEL,
    REFERENCE_LINE,
    LineStyle,
    heading_size,
    new_figure,
    styled,
    wrapped,
)

_RATIO_NORM = (0.5, 1.5)


@styled
def average_figure(
    geometry: Geometry,
    reference: Array,
    samples: Mapping[str, Array],
    title: str = "",
    layers: Sequence[int] | None = None,
) -> Figure:
    """Average showers of the reference and of samples, and the ratios sample / reference.

    Args:
        geometry: voxelisation, V voxels.
        reference: (V,) mean energy per voxel in MeV.
        samples: label -> (V,) mean energy per voxel in MeV.
        title: heading.
        layers: indices of the layers shown, one row each; at most 6, evenly spread, by default.

    Each row has one energy scale, shared by reference and samples; all ratios have the same scale.
    """
    ratios = {f"{name} / {REFERENCE_LABEL}": _ratio(mean, reference) for name, mean in samples.items()}
    beside = _Beside(ratios, lambda *_: Normalize(*_RATIO_NORM), "ratio", "both")
    return _rows_of_layers(geometry, {REFERENCE_LABEL: reference, **samples}, beside, title, layers)


@styled
def averages_figure(
    geometry: Geometry,
    reference: Array,
    samples: Mapping[str, Array],
    title: str = "",
    layers: Sequence[int] | None = None,
) -> Figure:
    """Average showers of the reference and of samples alone, as :func:`average_figure` has them: of the epochs of a training."""
    return _rows_of_layers(geometry, {REFERENCE_LABEL: reference, **samples}, None, title, layers)


@styled
def difference_figure(
    geometry: Geometry,
    reference: Array,
    mean: Array,
    label: str,
    title: str = "",
    layers: Sequence[int] | None = None,
) -> Figure:
    """Average showers of the reference and of a sample, and sample - reference (Albergo 2018, sections 4.3 and 5.1).

    Args:
        geometry: voxelisation, V voxels.
        reference, mean: (V,) mean energy per voxel in MeV.
        label: name of the sample.
        title, layers: as in :func:`average_figure`.

    Differences are in MeV on a linear scale of each row that is symmetric about 0; voxels that are empty in both are left empty.
    """
    difference = np.asarray(mean, dtype=np.float64) - reference
    difference[(np.asarray(mean) == 0) & (np.asarray(reference) == 0)] = np.nan
    beside = _Beside({f"{label} − {REFERENCE_LABEL}": difference}, _symmetric, "difference [MeV]")
    return _rows_of_layers(geometry, {REFERENCE_LABEL: reference, label: mean}, beside, title, layers)


def _symmetric(*values: Array) -> Normalize:
    """A linear colour scale from minus to plus the largest magnitude."""
    largest = max((float(np.nanmax(np.abs(v))) for v in values if np.isfinite(v).any()), default=0.0) or 1.0
    return Normalize(-largest, largest)


@dataclass(frozen=True)
class _Beside:
    """Pictures right of average showers.

    Attributes:
        pictures: heading -> (V,) values.
        norm: function of the values of one layer, of all pictures: their colour scale.
        label, extend: of the colour bar.
    """

    pictures: Mapping[str, Array]
    norm: Callable[..., Normalize]
    label: str
    extend: str = "neither"


def _rows_of_layers(
    geometry: Geometry, showers: Mapping[str, Array], beside: _Beside | None, title: str, layers: Sequence[int] | None
) -> Figure:
    """One row for each layer: average showers with one energy scale, and what stands beside them with another."""
    layers = pick_layers(geometry) if layers is None else list(layers)
    others = {} if beside is None else beside.pictures
    heads = [wrapped(text, 20) for text in (*showers, *others)]
    n_energy, n_beside = len(showers), len(others)
    cell, head = 1.75, (0.42 if title else 0.2) + 0.15 * (1 + max(text.count("\n") for text in heads))
    foot = 0.75 if has_log_radius(geometry) else 0.5
    height = cell * len(layers) + head + foot
    widths = [1.0] * n_energy + [0.06] + ([0.2] + [1.0] * n_beside + [0.06] if others else [])
    width = 1.72 * (sum(widths) + 0.14 * len(widths)) + 1.0
    figure = new_figure(width, height)
    grid = figure.add_gridspec(
        len(layers), len(widths), width_ratios=widths, left=0.72 / width, right=1 - 0.55 / width,
        top=1 - head / height, bottom=foot / height, wspace=0.16, hspace=0.12,
    )  # fmt: skip
    columns = [*range(n_energy), *range(n_energy + 2, n_energy + 2 + n_beside)]
    for row, layer in enumerate(layers):
        part = geometry.layer_slices[layer]
        norm = energy_norm(*(m[part] for m in showers.values()))
        pictures: list[tuple[Array, Normalize, str]] = [(m, norm, ENERGY_CMAP) for m in showers.values()]
        if beside is not None:
            other = beside.norm(*(m[part] for m in others.values()))
            pictures += [(m, other, RATIO_CMAP) for m in others.values()]
        for k, (column, (values, scale, cmap)) in enumerate(zip(columns, pictures, strict=True)):
            axes = figure.add_subplot(grid[row, column])
            draw_layer(axes, geometry, layer, values, scale, cmap)
            _frame(axes, geometry, row == len(layers) - 1, k == 0, heads[k] if row == 0 else "", layer)
        _bar(figure.add_subplot(grid[row, n_energy]), norm, ENERGY_CMAP, r"$\langle E\rangle$ [MeV]")
        if beside is not None and others:
            _bar(figure.add_subplot(grid[row, -1]), other, RATIO_CMAP, beside.label, extend=beside.extend)
    _heading(figure, title)
    return figure


def _ratio(mean: Array, reference: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(reference > 0, np.asarray(mean, dtype=np.float64) / reference, np.nan)


def _frame(axes: Axes, geometry: Geometry, bottom: bool, left: bool, head: str, layer: int) -> None:
    """Labels on the outer panels of a grid only."""
    horizontal, vertical = axis_labels(geometry)
    axes.tick_params(labelbottom=bottom, labelleft=left)
    if bottom:
        axes.set_xlabel(horizontal, fontsize=8)
    if left:
        axes.set_ylabel(f"Layer {geometry.layer_ids[layer]}\n{vertical}", fontsize=8)
    if head:
        axes.set_title(head, fontsize=9)


def _bar(axes: Axes, norm: Normalize, cmap: str, label: str, extend: str = "neither") -> None:
    bar = axes.figure.colorbar(ScalarMappable(norm, cmap), cax=axes, extend=extend)
    bar.set_label(label, fontsize=8)
    bar.ax.tick_params(labelsize=7, direction="out", length=2.5, which="major", left=False)
    bar.ax.minorticks_off()


def _heading(figure: Figure, title: str) -> None:
    if title:
        width, height = figure.get_size_inches()
        figure.text(
            0.1 / width, 1 - 0.09 / height, title, fontsize=heading_size(title, width), fontweight="bold", va="top"
        )


@styled
def layers_figure(
    geometry: Geometry, energies: Array, title: str = "", label: str = r"$E$ [MeV]", scale: Array | None = None
) -> Figure:
    """All layers of one shower, or of one average shower, with one energy scale.

    Args:
        geometry: voxelisation, V voxels.
        energies: (V,) energies in MeV.
        title: heading.
        label: label of the colour bar.
        scale: (V,) energies that set the colour scale (to compare figures); `energies` by default.
    """
    n = geometry.n_layers
    few = n <= 6
    columns = min(n, 3) if few else min(9, math.ceil(math.sqrt(1.8 * n)))
    rows = math.ceil(n / columns)
    cell = 2.2 if few else 0.98 if columns > 6 else 1.35
    left, gap_x, gap_y = (0.62, 0.3, 0.3) if few else (0.12, 0.05, 0.24)
    top = 0.55 if title else 0.25
    bottom = 0.1 if not few else 0.8 if has_log_radius(geometry) else 0.55
    width = left + columns * (cell + gap_x) + 1.0
    height = top + rows * (cell + gap_y) - gap_y + bottom
    figure = new_figure(width, height)
    norm = energy_norm(energies if scale is None else scale)
    for i in range(n):
        row, column = divmod(i, columns)
        x, y = left + column * (cell + gap_x), height - top - row * (cell + gap_y) - cell
        axes = figure.add_axes((x / width, y / height, cell / width, cell / height))
        draw_layer(axes, geometry, i, energies, norm, ENERGY_CMAP, small=not few)
        if few:
            _frame(axes, geometry, i + columns >= n, column == 0, "", i)
            axes.set_ylabel(axis_labels(geometry)[1] if column == 0 else "", fontsize=8)
        elif geometry.kind == "cylindrical":
            axes.axis("off")
        name = str(geometry.layer_ids[i])
        axes.set_title(name if columns > 6 else f"Layer {name}", fontsize=8, pad=2.5)
    bar_height = min(cell * rows, 3.0)
    bar = figure.add_axes(
        ((width - 0.85) / width, (height - top - bar_height) / height, 0.11 / width, bar_height / height)
    )
    _bar(bar, norm, ENERGY_CMAP, label)
    _heading(figure, title)
    return figure


@styled
def profile_figure(geometry: Geometry, reference: Array, samples: Sequence[tuple[LineStyle, Array]]) -> Figure:
    """Mean energy per layer along the shower axis: reference, samples, and their ratio.

    Args:
        geometry: voxelisation, V voxels in L layers.
        reference: (V,) mean energy per voxel in MeV.
        samples: style and (V,) mean energy per voxel in MeV of each sample.
    """
    handles = legend_handles([style for style, _ in samples])
    head = legend_height(handles)
    height = 3.7 + head
    figure = new_figure(4.6, height)
    grid = figure.add_gridspec(
        2, 1, height_ratios=(3, 1), hspace=0.06, left=0.165, right=0.97, top=1 - head / height, bottom=0.48 / height
    )
    top = figure.add_subplot(grid[0])
    bottom = figure.add_subplot(grid[1], sharex=top)
    legend_above(figure, handles)
    edges = np.arange(geometry.n_layers + 1, dtype=np.float64) - 0.5
    expected = _per_layer(geometry, reference)
    top.stairs(expected, edges, baseline=1e-9, fill=True, color=REFERENCE_FILL, linewidth=0)
    top.stairs(expected, edges, baseline=None, color=REFERENCE_LINE, linewidth=0.9)
    bottom.axhline(1, color=REFERENCE_LINE, linewidth=0.8)
    for style, mean in samples:
        value = _per_layer(geometry, mean)
        top.stairs(value, edges, baseline=None, **style.line)
        ratio = np.divide(value, expected, out=np.full_like(value, np.nan), where=expected > 0)
        draw_ratio(bottom, edges, ratio, np.zeros_like(ratio), (0.8, 1.2), style)
    top.set_ylabel("Mean energy per layer [MeV]")
    if geometry.n_layers <= 8:  # few thick layers: the last ones hold a small part of the energy
        top.set_yscale("log")
        top.set_ylim(0.3 * expected[expected > 0].min(initial=expected.max()), 2.5 * expected.max())
    else:
        top.set_ylim(0, 1.1 * expected.max())
    top.set_xlim(edges[0], edges[-1])
    top.tick_params(labelbottom=False, which="both")
    bottom.set_ylim(0.8, 1.2)
    bottom.set_yticks([0.9, 1.0, 1.1], minor=False)
    bottom.set_xlabel("Layer")
    bottom.set_ylabel(f"Model / {REFERENCE_LABEL}", fontsize=8.5)
    _layer_ticks(bottom, geometry)
    for axes in (top, bottom):
        axes.yaxis.set_label_coords(-0.145, 0.5)
    return figure


def _per_layer(geometry: Geometry, mean: Array) -> Array:
    return np.array([mean[part].sum(dtype=np.float64) for part in geometry.layer_slices])


def _layer_ticks(axes: Axes, geometry: Geometry) -> None:
    """Tick marks with the detector's layer numbers (they may jump: CaloChallenge 1 has 0, 1, 2, 3, 12)."""
    if geometry.n_layers <= 12:
        axes.set_xticks(range(geometry.n_layers), [str(i) for i in geometry.layer_ids])
    else:
        axes.xaxis.set_major_locator(MaxNLocator(10, integer=True))
    axes.xaxis.minorticks_off()
