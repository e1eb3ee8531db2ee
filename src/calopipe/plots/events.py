"""A single shower in three dimensions: hit voxels as coloured plates in the middle of their layers."""

from __future__ import annotations

import numpy as np
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator
from mpl_toolkits.mplot3d.art3d import Line3DCollection, Poly3DCollection
from mpl_toolkits.mplot3d.axes3d import Axes3D
from numpy.typing import NDArray

from calopipe.geometry import Geometry
from calopipe.plots.layers import Array, energy_norm
from calopipe.plots.style import ENERGY_CMAP, new_figure, styled

#: plates drawn at most, the most energetic first (a 3D plot of more is slow and shows no more)
MAX_PLATES = 6000
_ARC = 8  # straight pieces of an arc


@styled
def event_figure(
    geometry: Geometry, energies: Array, title: str = "", window: float = 0.995, scale: Array | None = None
) -> Figure:
    """Event display of one shower: layers along the horizontal axis, eta and phi across.

    Args:
        geometry: voxelisation, V voxels.
        energies: (V,) energies in MeV; voxels below the geometry's threshold are not drawn.
        title: heading, e.g. the incident energy.
        window: the transverse range is cut where this fraction of the energy is inside (the core is small).
        scale: (V,) energies that set colours and transverse range (to compare figures); `energies` by default.
    """
    energies = np.asarray(energies, dtype=np.float64)
    hit = np.flatnonzero((energies > 0) & (energies >= geometry.threshold_MeV))
    hit = hit[np.argsort(energies[hit])[::-1][:MAX_PLATES]]
    scale = energies if scale is None else np.asarray(scale, dtype=np.float64)
    norm = energy_norm(scale[(scale > 0) & (scale >= geometry.threshold_MeV)])
    reach = _reach(geometry, scale, window)
    figure = new_figure(6.6, 4.0)
    axes: Axes3D = figure.add_axes((-0.06, -0.02, 0.93, 1.04), projection="3d", computed_zorder=False)
    hit = hit[np.maximum(np.abs(geometry.eta[hit]), np.abs(geometry.phi[hit])) <= reach]
    plates = [_plate(geometry, int(v)) for v in hit]
    if geometry.kind == "cartesian":  # cells of coarse layers are cut at the border of the picture
        plates = [np.clip(p, [-np.inf, -reach, -reach], [np.inf, reach, reach]) for p in plates]
    else:
        reach = _outer_edge(geometry, reach)
    scaled = np.asarray(norm(energies[hit]), dtype=np.float64)
    colors = colormaps[ENERGY_CMAP](scaled)
    colors[:, 3] = 0.4 + 0.55 * scaled
    _dress(axes, geometry, reach)  # limits first: they switch the (costly) automatic ones off
    frames = Line3DCollection(_frames(geometry, reach), colors="#bbbbbb", linewidths=0.4, zorder=0)
    axes.add_collection3d(frames)
    axes.add_collection3d(Poly3DCollection(plates, facecolors=colors, edgecolors="none", zorder=1))
    for collection in axes.collections:
        collection.set_clip_on(False)  # the axes' own box is a square in the middle of the wide picture
    bar = figure.colorbar(ScalarMappable(norm, ENERGY_CMAP), cax=figure.add_axes((0.885, 0.2, 0.018, 0.6)))
    bar.set_label("Voxel energy [MeV]")
    if title:
        figure.text(0.02, 0.965, title, fontsize=10.5, fontweight="bold", va="top")
    return figure


def _reach(geometry: Geometry, energies: Array, window: float) -> float:
    """Half width in mm of the square around the axis that holds the fraction `window` of the energy, with a margin."""
    distance = np.maximum(np.abs(geometry.eta), np.abs(geometry.phi))
    order = np.argsort(distance)
    total = np.cumsum(energies[order])
    largest = max(_extent(geometry, i) for i in range(geometry.n_layers))
    if total[-1] <= 0:
        return largest
    cell = largest / 10
    inside = distance[order][np.searchsorted(total, window * total[-1])]
    return float(min(largest, 1.15 * inside + 0.3 * cell))


def _outer_edge(geometry: Geometry, reach: float) -> float:
    """Largest radius in mm of the rings that have a voxel with its centre inside the square of half width `reach`."""
    inside = np.maximum(np.abs(geometry.eta), np.abs(geometry.phi)) <= reach
    radius = np.hypot(geometry.eta, geometry.phi)
    found = []
    for layer, part in enumerate(geometry.layer_slices):
        centres = radius[part][inside[part]]
        if len(centres):
            edges = geometry.edges(layer)[1]
            found.append(float(edges[min(np.searchsorted(edges, centres.max()), len(edges) - 1)]))
    return max(found, default=reach)


def _extent(geometry: Geometry, layer: int) -> float:
    first, second = geometry.edges(layer)
    if geometry.kind == "cylindrical":
        return float(second[-1])
    return float(max(np.abs(first).max(), np.abs(second).max()))


def _depth(geometry: Geometry) -> NDArray[np.float64]:
    """Where layers are drawn: their index (true depths would let thin layers vanish beside thick ones)."""
    return np.arange(geometry.n_layers, dtype=np.float64)


def _plate(geometry: Geometry, voxel: int) -> NDArray[np.float64]:
    """Corners (K, 3) of one voxel as (depth, eta, phi)."""
    layer = int(geometry.layer_index[voxel])
    first, second = geometry.edges(layer)
    i, j = divmod(voxel - geometry.layer_slices[layer].start, geometry.layer_shape(layer)[1])
    if geometry.kind == "cylindrical":
        steps = max(2, _ARC * 4 // geometry.layer_shape(layer)[0])
        arc = np.linspace(first[i], first[i + 1], steps)
        rim = np.concatenate([second[j] * np.exp(1j * arc), second[j + 1] * np.exp(1j * arc[::-1])])
        eta, phi = rim.real, rim.imag
    else:
        a = np.array([first[i], first[i + 1], first[i + 1], first[i]])
        b = np.array([second[j], second[j], second[j + 1], second[j + 1]])
        eta, phi = (a, b) if geometry.eta_axis == 0 else (b, a)
    return np.stack([np.full(len(eta), _depth(geometry)[layer]), eta, phi], axis=1)


def _frames(geometry: Geometry, reach: float) -> list[NDArray[np.float64]]:
    """Outline of some layers, to guide the eye."""
    step = max(1, geometry.n_layers // 9)
    if geometry.kind == "cylindrical":
        angle = np.linspace(0, 2 * np.pi, 60)
        eta, phi = np.cos(angle), np.sin(angle)
    else:
        eta, phi = np.array([-1, 1, 1, -1, -1]), np.array([-1, -1, 1, 1, -1])
    size = [min(reach, _extent(geometry, i)) for i in range(geometry.n_layers)]
    depth = _depth(geometry)
    return [
        np.stack([np.full(len(eta), depth[i]), size[i] * eta, size[i] * phi], axis=1)
        for i in range(0, geometry.n_layers, step)
    ]


def _dress(axes: Axes3D, geometry: Geometry, reach: float) -> None:
    axes.set_xlim(-0.5, geometry.n_layers - 0.5)
    axes.set_ylim(-reach, reach)
    axes.set_zlim(-reach, reach)
    axes.set_xlabel("Layer", labelpad=10)
    axes.set_ylabel(r"$\eta$ [mm]", labelpad=1)
    axes.set_zlabel(r"$\varphi$ [mm]", labelpad=-1)
    ticks = range(geometry.n_layers) if geometry.n_layers <= 12 else range(0, geometry.n_layers, 5)
    axes.set_xticks(list(ticks), [str(geometry.layer_ids[i]) for i in ticks])
    axes.set_box_aspect((2.1, 1, 1), zoom=1.22)
    axes.view_init(elev=17, azim=-62)
    axes.tick_params(labelsize=7, pad=-1)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.zaxis.set_major_locator(MaxNLocator(5))
    for axis in (axes.xaxis, axes.yaxis, axes.zaxis):
        axis.set_minor_locator(NullLocator())
        axis.set_pane_color((1, 1, 1, 0))
        axis._axinfo["grid"].update(color="#e6e6e6", linewidth=0.4)
