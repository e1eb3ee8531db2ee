"""Latent spaces: the distributions of all columns beside the standard normal that they should be."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from calopipe.plots.style import REFERENCE_LINE, LineStyle, new_figure, styled
from calopipe.records.latent_space import EDGES, Marginals

_LABELS = {
    "latents": r"Latent $z$", "means": r"Mean $\mu$ of the encoder", "log_variances": r"$\log\,\sigma^2$ of the encoder",
    "noise": r"Noise $z$ of data",
}  # fmt: skip


@styled
def latent_figure(space: Mapping[str, Marginals], style: LineStyle, title: str = "") -> Figure:
    """Marginals of one network's latent space.

    Args:
        space: by kind (:data:`calopipe.records.latent_space.KINDS`): ``noise`` of a flow, or ``latents``, ``means`` and
            ``log_variances`` of an autoencoder.
        style: colour of the model.
        title: heading.

    Distributions: the median column, and the range of the middle 68 % and of all columns; dashed is the standard normal. Of a flow, the
    second panel has a point per column, with the circle in which 99 % would be for the number of showers. Of an autoencoder, the last has
    the spread of a column's means against its mean log sigma^2: columns at (0, 0) say nothing of the shower.
    """
    kinds = [kind for kind in ("latents", "noise", "means", "log_variances") if kind in space]
    rows = (len(kinds) + 2) // 2
    figure = new_figure(7.6, 2.75 * rows + 0.35)
    grid = figure.subplots(rows, 2, squeeze=False)
    figure.subplots_adjust(0.085, 0.18 / rows + 0.02, 0.985, 1 - 0.12 / rows, wspace=0.25, hspace=0.36)
    panels = list(grid.ravel())
    for axes, kind in zip(panels, kinds, strict=False):
        _marginals(axes, space[kind], kind, style)
    last = panels[len(kinds)]
    if "noise" in space:
        _moments(last, space["noise"], style)
    else:
        _activity(last, space["means"], space["log_variances"], style)
    for axes in panels[len(kinds) + 1 :]:
        axes.remove()
    panels[0].set_title(title, loc="left", fontweight="bold")
    return figure


def _marginals(axes: Axes, found: Marginals, kind: str, style: LineStyle) -> None:
    edges = EDGES[kind]
    density = found.counts / (found.n * np.diff(edges))
    low, first, middle, third, high = np.quantile(density, [0, 0.16, 0.5, 0.84, 1], axis=0)
    color = style.line["color"]
    n = len(density)
    if n > 1:
        axes.stairs(
            high, edges, baseline=low, fill=True, color=color, alpha=0.15, linewidth=0, label=f"all {n} columns"
        )
        axes.stairs(third, edges, baseline=first, fill=True, color=color, alpha=0.3, linewidth=0, label="middle 68 %")
    axes.stairs(middle, edges, color=color, linewidth=1.3, label="median column" if n > 1 else "the only column")
    if kind in ("latents", "noise"):
        z = np.linspace(edges[0], edges[-1], 400)
        normal = np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
        axes.plot(z, normal, color=REFERENCE_LINE, linestyle=(0, (4, 3)), linewidth=1, label="standard normal")
    axes.set_xlabel(_LABELS[kind])
    axes.set_ylabel("Density")
    axes.set_xlim(*_range(edges, high, kind))
    axes.set_ylim(0, 1.45 * min(float(high.max()), 8 * max(float(middle.max()), 1e-3)))
    axes.legend(ncols=2, fontsize=7)


def _range(edges: np.ndarray, high: np.ndarray, kind: str) -> tuple[float, float]:
    """All bins, or for log variances those that hold something."""
    if kind != "log_variances":
        return float(edges[0]), float(edges[-1])
    filled = np.flatnonzero(high > 0)
    if not len(filled):
        return float(edges[0]), float(edges[-1])
    return float(edges[max(filled[0] - 3, 0)]), float(edges[min(filled[-1] + 4, len(edges) - 1)])


def _moments(axes: Axes, found: Marginals, style: LineStyle) -> None:
    axes.plot(
        found.mean, found.deviation, ".", color=style.line["color"], markersize=4, alpha=0.6, label="a column each"
    )
    angle = np.linspace(0, 2 * np.pi, 200)
    radius = np.sqrt(-2 * np.log(0.01) / found.n)  # of two normal numbers; that of the deviation has half the variance
    axes.plot(
        radius * np.cos(angle), 1 + radius / np.sqrt(2) * np.sin(angle), color=REFERENCE_LINE, linestyle=(0, (4, 3)), linewidth=1,
        label=f"99 % of standard normals ({found.n} showers)",
    )  # fmt: skip
    axes.set_xlabel("Mean of a column")
    axes.set_ylabel("Standard deviation")
    bottom, top = axes.get_ylim()
    axes.set_ylim(bottom, top + 0.25 * (top - bottom))
    axes.legend(fontsize=7)


def _activity(axes: Axes, means: Marginals, log_variances: Marginals, style: LineStyle) -> None:
    axes.plot(
        log_variances.mean,
        means.deviation,
        ".",
        color=style.line["color"],
        markersize=6,
        alpha=0.7,
        label="a latent column each",
    )
    axes.plot(0, 0, "+", color=REFERENCE_LINE, markersize=9, label="says nothing")
    axes.set_xlabel(r"Mean of $\log\,\sigma^2$")
    axes.set_ylabel(r"Standard deviation of $\mu$")
    bottom, top = axes.get_ylim()
    axes.set_ylim(bottom, top + 0.25 * (top - bottom))
    axes.legend(fontsize=7)
