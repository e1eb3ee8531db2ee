"""One calorimeter layer as a picture: an image for cartesian geometries, a disc for cylindrical ones.

Both are drawn in the transverse plane in mm, eta to the right and phi upwards. Discs whose radial bins span very
different sizes (CaloChallenge 1: 5 mm to 600 mm) get a logarithmic radius, log(1 + r / width of the innermost bin),
with true radii on the ticks; otherwise the core, where nearly all energy is, would be a dot.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import LogNorm, Normalize
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from calopipe.geometry import Geometry

Array = NDArray[np.floating[Any]]

#: geometries with more layers are drawn for some layers only, and scores against the layer
MANY_LAYERS = 8
#: colour of voxels without energy (or without a ratio)
EMPTY = "#f0f0f0"
_ARC = 64  # straight pieces per full circle
_LOG_RADIUS_FROM = 25.0  # outer radius over innermost bin width above which the radius is drawn logarithmically


def energy_norm(*energies: Array, decades: float = 4.0) -> LogNorm:
    """Logarithmic colour scale shared by `energies` (any shapes, MeV): their maximum and at most `decades` below it."""
    positive = np.concatenate([e[e > 0].ravel() for e in energies] + [np.zeros(0)])
    if not len(positive):
        return LogNorm(1e-3, 1.0)
    high = float(positive.max())
    low = max(float(positive.min()), high * 10**-decades)
    return LogNorm(low if low < high else 0.5 * high, high, clip=True)


def draw_layer(
    axes: Axes, geometry: Geometry, layer: int, values: Array, norm: Normalize, cmap: str, *, small: bool = False
) -> QuadMesh:
    """Draw one layer.

    Args:
        axes: where to draw.
        geometry: gives the layer's bins.
        layer: index of the layer.
        values: (V,) values of the whole shower; zeros and NaN are left empty on logarithmic scales.
        norm, cmap: colour scale.
        small: leave out ticks and axis labels (for grids of many layers).

    Returns:
        The mesh, for a colour bar.
    """
    grid = np.asarray(geometry.reshape_layer(values, layer), dtype=np.float64)
    grid = np.ma.masked_invalid(grid)
    if isinstance(norm, LogNorm):
        grid = np.ma.masked_less_equal(grid, 0)
    axes.set_facecolor(EMPTY)
    if geometry.kind == "cylindrical":
        mesh = _draw_disc(axes, geometry, layer, grid, {"norm": norm, "cmap": cmap})
    else:
        mesh = _draw_image(axes, geometry, layer, grid, {"norm": norm, "cmap": cmap})
    axes.tick_params(which="both", top=False, right=False, direction="out", length=2.5, labelsize=7)
    axes.minorticks_off()
    if small:
        axes.set_xticks([])
        axes.set_yticks([])
    return mesh


def _draw_image(axes: Axes, geometry: Geometry, layer: int, grid: Array, color: dict[str, Any]) -> QuadMesh:
    first, second = geometry.edges(layer)
    if geometry.eta_axis == 0:
        eta, phi, grid = first, second, grid.T
    else:
        eta, phi = second, first
    mesh = axes.pcolormesh(eta, phi, grid, rasterized=True, linewidth=0, **color)
    axes.set_aspect("equal")
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    return mesh


def _draw_disc(axes: Axes, geometry: Geometry, layer: int, grid: Array, color: dict[str, Any]) -> QuadMesh:
    alpha, r = geometry.edges(layer)
    scaled = _radius(geometry, r)
    pieces = max(1, _ARC // (len(alpha) - 1))
    fine = np.concatenate(
        [np.linspace(a, b, pieces, endpoint=False) for a, b in zip(alpha[:-1], alpha[1:], strict=True)]
    )
    fine = np.append(fine, alpha[-1])
    x, y = np.outer(np.cos(fine), scaled), np.outer(np.sin(fine), scaled)
    mesh = axes.pcolormesh(x, y, np.repeat(grid, pieces, axis=0), rasterized=True, linewidth=0, **color)
    outer = _radius(geometry, np.array([max(la.second_edges[-1] for la in geometry.layers)]))[0]
    circle = np.linspace(0, 2 * np.pi, 200)
    axes.plot(scaled[-1] * np.cos(circle), scaled[-1] * np.sin(circle), color="#888888", linewidth=0.6)
    axes.set_aspect("equal")
    axes.set_xlim(-1.04 * outer, 1.04 * outer)
    axes.set_ylim(-1.04 * outer, 1.04 * outer)
    axes.set_facecolor("none")
    _disc_ticks(axes, geometry)
    return mesh


def has_log_radius(geometry: Geometry) -> bool:
    """Whether discs of this geometry are drawn with a logarithmic radius."""
    return geometry.kind == "cylindrical" and _outermost(geometry) / _innermost(geometry) > _LOG_RADIUS_FROM


def _innermost(geometry: Geometry) -> float:
    return min(la.second_edges[1] - la.second_edges[0] for la in geometry.layers)


def _outermost(geometry: Geometry) -> float:
    return max(la.second_edges[-1] for la in geometry.layers)


def _radius(geometry: Geometry, r: Array) -> Array:
    return np.log1p(np.asarray(r) / _innermost(geometry)) if has_log_radius(geometry) else np.asarray(r)


def _disc_ticks(axes: Axes, geometry: Geometry) -> None:
    if not has_log_radius(geometry):
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.yaxis.set_major_locator(MaxNLocator(4))
        return
    powers = 10.0 ** np.arange(np.ceil(np.log10(_innermost(geometry))), np.floor(np.log10(_outermost(geometry))) + 1)
    ticks = np.concatenate([-powers[::-1], [0.0], powers])
    places = np.sign(ticks) * _radius(geometry, np.abs(ticks))
    labels = [f"{t:g}" for t in ticks]
    axes.set_xticks(places, labels, rotation=90 if len(ticks) > 5 else 0)
    axes.set_yticks(places, labels)


def axis_labels(geometry: Geometry) -> tuple[str, str]:
    """Labels of the horizontal and the vertical axis."""
    note = ", log radius" if has_log_radius(geometry) else ""
    return rf"$\eta$ [mm{note}]", rf"$\varphi$ [mm{note}]"


def pick_layers(geometry: Geometry, at_most: int = 6) -> list[int]:
    """Indices of at most `at_most` layers, evenly spread from the first to the last."""
    if geometry.n_layers <= at_most:
        return list(range(geometry.n_layers))
    return sorted({round(x) for x in np.linspace(0, geometry.n_layers - 1, at_most).tolist()})
