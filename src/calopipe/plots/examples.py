"""Single showers beside one another: generated ones with those of Geant4, and reconstructions with their originals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, SymLogNorm
from matplotlib.figure import Figure

from calopipe.geometry import Geometry
from calopipe.plots.layers import Array, draw_layer, energy_norm
from calopipe.plots.style import ENERGY_CMAP, RATIO_CMAP, new_figure, styled, wrapped

#: panels side by side
MAX_COLUMNS = 6
#: differences are drawn linearly below this fraction of the largest, logarithmically above
_LINEAR = 1e-2

Columns = Sequence[tuple[int, int]]  # number of the example, index of the layer


@styled
def gallery_figure(
    geometry: Geometry, samples: Mapping[str, Array], incident: Array, columns: Columns, title: str = ""
) -> Figure:
    """Showers of several samples, one row each, with one energy scale.

    Args:
        geometry: voxelisation, V voxels.
        samples: label -> (K, V) showers in MeV.
        incident: (K,) incident energies in MeV, named above the columns.
        columns: (example, layer index) of each column, at most :data:`MAX_COLUMNS`.
        title: heading.
    """
    figure, rows = _grid(len(samples), len(columns), title)
    shown = {k for k, _ in columns}
    norm = energy_norm(*(s[k] for s in samples.values() for k in shown))
    for row, (label, showers) in enumerate(samples.items()):
        for column, (k, layer) in enumerate(columns):
            axes = rows[row][column]
            draw_layer(axes, geometry, layer, showers[k], norm, ENERGY_CMAP, small=True)
            _dress(
                axes, geometry, label if column == 0 else "", _head(geometry, incident, k, layer) if row == 0 else ""
            )
    _bar(figure, (rows[0][0], rows[-1][0]), norm, ENERGY_CMAP, "Voxel energy [MeV]")
    return figure


@styled
def reconstruction_figure(
    geometry: Geometry, original: Array, reconstruction: Array, incident: Array, columns: Columns, title: str = ""
) -> Figure:
    """Showers, what an autoencoder makes of them, and the difference (Albergo 2018, figures 5.5 and 5.11).

    Args:
        geometry: voxelisation, V voxels.
        original, reconstruction: (K, V) showers in MeV.
        incident: (K,) incident energies in MeV.
        columns: as in :func:`gallery_figure`.
        title: heading.
    """
    figure, rows = _grid(3, len(columns), title)
    shown = sorted({k for k, _ in columns})
    difference = np.asarray(reconstruction, dtype=np.float64) - original
    norm = energy_norm(original[shown], reconstruction[shown])
    largest = float(np.abs(difference[shown]).max()) or 1.0
    signed = SymLogNorm(_LINEAR * largest, vmin=-largest, vmax=largest)
    labels = ("original", "reconstruction", "reconstruction − original")
    for row, (label, showers) in enumerate(zip(labels, (original, reconstruction, difference), strict=True)):
        scale, cmap = (signed, RATIO_CMAP) if row == 2 else (norm, ENERGY_CMAP)
        for column, (k, layer) in enumerate(columns):
            axes = rows[row][column]
            values = np.where((original[k] == 0) & (reconstruction[k] == 0), np.nan, showers[k])
            draw_layer(axes, geometry, layer, values, scale, cmap, small=True)
            _dress(
                axes, geometry, label if column == 0 else "", _head(geometry, incident, k, layer) if row == 0 else ""
            )
    _bar(figure, (rows[0][0], rows[1][0]), norm, ENERGY_CMAP, "Voxel energy [MeV]")
    _bar(figure, (rows[2][0], rows[2][0]), signed, RATIO_CMAP, "difference [MeV]", _signed_ticks(largest))
    return figure


def example_columns(geometry: Geometry, count: int, layers: Sequence[int]) -> list[list[tuple[int, int]]]:
    """Columns of as many figures as are needed for `count` examples of these layers; examples are not torn apart."""
    layers = list(layers)[:MAX_COLUMNS]
    together = max(1, MAX_COLUMNS // len(layers))
    groups = [range(i, min(i + together, count)) for i in range(0, count, together)]
    return [[(k, layer) for k in group for layer in layers] for group in groups]


def layers_by_energy(geometry: Geometry, energies: Array, at_most: int = MAX_COLUMNS) -> list[int]:
    """Indices of at most `at_most` layers where showers are: at evenly spread quantiles of the energy along the axis."""
    if geometry.n_layers <= at_most:
        return list(range(geometry.n_layers))
    profile = np.array([energies[part].sum(dtype=np.float64) for part in geometry.layer_slices])
    reached = np.cumsum(profile) / max(profile.sum(), 1e-300)
    found = {int(np.searchsorted(reached, (i + 0.5) / at_most)) for i in range(at_most)}
    return sorted(min(i, geometry.n_layers - 1) for i in found)


def _grid(rows: int, columns: int, title: str) -> tuple[Figure, list[list[Axes]]]:
    """A figure of square panels."""
    cell, gap, left, right, head = 1.45, 0.07, 0.62, 0.95, 0.75 if title else 0.45
    width = left + columns * (cell + gap) + right
    height = head + rows * (cell + gap) + 0.08
    figure = new_figure(max(width, 4.2), height)
    width = max(width, 4.2)
    found = [
        [
            figure.add_axes((
                (left + c * (cell + gap)) / width, 1 - (head + r * (cell + gap) + cell) / height,
                cell / width, cell / height,
            ))
            for c in range(columns)
        ]
        for r in range(rows)
    ]  # fmt: skip
    figure.text(0.1 / width, 1 - 0.09 / height, title, fontsize=10.5, fontweight="bold", va="top")
    return figure, found


def _head(geometry: Geometry, incident: Array, k: int, layer: int) -> str:
    energy = f"{incident[k] / 1e3:.3g} GeV" if incident[k] >= 1e3 else f"{incident[k]:.3g} MeV"
    return energy if geometry.n_layers == 1 else f"{energy}\nlayer {geometry.layer_ids[layer]}"


def _dress(axes: Axes, geometry: Geometry, label: str, head: str) -> None:
    axes.set_title(head, fontsize=8, pad=3)
    if geometry.kind == "cylindrical":
        axes.set_frame_on(False)
    axes.set_ylabel(wrapped(label, 18), fontsize=8.5)


def _signed_ticks(largest: float) -> list[float]:
    """Zero and the powers of ten that a symmetric logarithmic scale shows apart from it."""
    powers = 10.0 ** np.arange(np.ceil(np.log10(2 * _LINEAR * largest)), np.floor(np.log10(largest)) + 1)
    return [*(-powers[::-1]), 0.0, *powers]


def _bar(
    figure: Figure, rows: tuple[Axes, Axes], norm: Normalize, cmap: str, label: str, ticks: list[float] | None = None
) -> None:
    """A colour bar right of the grid, as high as from the first to the last of `rows`."""
    top, bottom = rows
    width = figure.get_size_inches()[0]
    right = max(axes.get_position().x1 for axes in figure.axes if axes.get_label() != "<colorbar>")
    low, high = bottom.get_position().y0, top.get_position().y1
    place = (right + 0.1 / width, low + 0.04 * (high - low), 0.11 / width, 0.92 * (high - low))
    bar = figure.colorbar(ScalarMappable(norm, cmap), cax=figure.add_axes(place, label="<colorbar>"), ticks=ticks)
    bar.set_label(label, fontsize=8)
    bar.ax.tick_params(labelsize=7, direction="out", length=2.5, which="major", left=False)
    bar.ax.minorticks_off()
