"""Linearity and resolution of an energy regressor on the samples of a dataset, with the ratio to the reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from calopipe.plots.style import REFERENCE_LABEL, REFERENCE_LINE, LineStyle, new_figure, styled
from calopipe.units import GeV

#: curves of one sample: energy (MeV), linearity, linearity_error, resolution, resolution_error, (B,) each
Curves = Mapping[str, NDArray[np.float64]]


@styled
def linearity_figure(reference: Curves, samples: Sequence[tuple[LineStyle, Curves]], title: str = "") -> Figure:
    """mu_90 of the reconstructed energy against the incident energy; below, mu_90 over the incident energy.

    Args:
        reference: curves of the reference.
        samples: style and curves of each sample.
        title: heading.
    """
    figure, top, bottom = _panels(title)
    for style, curves, shift in _all(reference, samples):
        energy = curves["energy"] / GeV
        _points(
            top, style, energy, curves["linearity"] * energy, curves["linearity_error"] * energy, 0
        )  # on the diagonal
        _points(bottom, style, energy, curves["linearity"], curves["linearity_error"], shift)
    known = reference["energy"][np.isfinite(reference["energy"])] / GeV
    if len(known):
        ends = np.array([0, 1.05 * known.max()])
        top.plot(ends, ends, color="#999999", linewidth=0.7, linestyle=(0, (4, 3)), zorder=0)
    bottom.axhline(1, color="#999999", linewidth=0.7, linestyle=(0, (4, 3)), zorder=0)
    top.set_ylabel(r"$\mu_{90}$ [GeV]")
    top.set_ylim(0, None)
    _dress(top, bottom, r"$\mu_{90}\,/\,E_\mathrm{inc}$")
    return figure


@styled
def resolution_figure(reference: Curves, samples: Sequence[tuple[LineStyle, Curves]], title: str = "") -> Figure:
    """sigma_90 / mu_90 against the incident energy; below, its ratio to the reference's. Arguments as above."""
    figure, top, bottom = _panels(title)
    for style, curves, shift in _all(reference, samples):
        energy, value, error = curves["energy"] / GeV, curves["resolution"], curves["resolution_error"]
        _points(top, style, energy, value, error, shift)
        base = reference["resolution"]
        _points(bottom, style, energy, value / base, error / base, shift)
    bottom.axhline(1, color="#999999", linewidth=0.7, linestyle=(0, (4, 3)), zorder=0)
    top.set_ylabel(r"$\sigma_{90}\,/\,\mu_{90}$")
    top.set_ylim(0, None)
    _dress(top, bottom, f"Ratio to {REFERENCE_LABEL}")
    return figure


def _panels(title: str) -> tuple[Figure, Axes, Axes]:
    figure = new_figure(5.2, 4.4)
    grid = figure.add_gridspec(2, 1, height_ratios=(2.4, 1), hspace=0.07, left=0.16, right=0.97, top=0.925, bottom=0.11)
    top = figure.add_subplot(grid[0])
    top.set_title(title, loc="left", fontweight="bold")
    return figure, top, figure.add_subplot(grid[1], sharex=top)


def _all(reference: Curves, samples: Sequence[tuple[LineStyle, Curves]]) -> list[tuple[LineStyle, Curves, float]]:
    """Reference and samples, with the sideways shift (in points) that keeps error bars apart."""
    every = [(LineStyle(REFERENCE_LABEL, REFERENCE_LINE), reference), *samples]
    return [(style, curves, 2.5 * (i - 0.5 * (len(every) - 1))) for i, (style, curves) in enumerate(every)]


def _points(
    axes: Axes,
    style: LineStyle,
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    error: NDArray[np.float64],
    shift: float,
) -> None:
    from matplotlib.transforms import ScaledTranslation

    figure = axes.get_figure()
    assert figure is not None
    moved = axes.transData + ScaledTranslation(shift / 72, 0, figure.dpi_scale_trans)
    ok = np.isfinite(x) & np.isfinite(y)
    fill = style.color if style.dash == "-" else "white"
    axes.errorbar(
        x[ok], y[ok], yerr=error[ok], fmt="o", color=style.color, markersize=3.6, markerfacecolor=fill,
        markeredgewidth=0.9, elinewidth=1.0, capsize=0, label=style.label, transform=moved,
    )  # fmt: skip
    axes.update_datalim(np.column_stack([np.tile(x[ok], 2), np.concatenate([y[ok] - error[ok], y[ok] + error[ok]])]))
    axes.autoscale_view()


def _dress(top: Axes, bottom: Axes, label: str) -> None:
    top.legend()
    top.tick_params(labelbottom=False, which="both")
    top.set_xlim(0, None)
    bottom.set_ylabel(label)
    bottom.yaxis.set_major_locator(MaxNLocator(4))
    bottom.set_xlabel(r"$E_\mathrm{inc}$ [GeV]")
    for axes in (top, bottom):
        axes.yaxis.set_label_coords(-0.125, 0.5)
