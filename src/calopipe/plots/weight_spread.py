"""How uncertain the weights of a Bayesian network are, against the epoch (Ernst 2023, figure 11)."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from calopipe.plots.histograms import draw_steps
from calopipe.plots.style import REFERENCE_LINE, LineStyle, new_figure, styled
from calopipe.records.weight_spread import EDGES, Spread


@styled
def spread_figure(spread: Spread, style: LineStyle, title: str = "") -> Figure:
    """Fractions of weights by ln of their variance, at kept epochs in rising opacity and at the end; the prior is a line."""
    figure = new_figure(5.2, 3.4)
    axes = figure.add_axes((0.14, 0.15, 0.83, 0.72))
    kept = sorted(epoch for epoch in spread.counts if epoch)
    width, highest, seen = np.diff(EDGES), 0.0, [spread.prior]
    for i, epoch in enumerate([*kept, 0]):
        density = spread.counts[epoch] / (max(spread.counts[epoch].sum(), 1) * width)
        alpha = 0.25 + 0.75 * i / max(len(kept), 1)
        label = f"epoch {epoch}" if epoch else "final"
        draw_steps(axes, density, EDGES, color=style.color, alpha=alpha, linewidth=1.1, label=label)
        highest = max(highest, density.max())
        filled = np.flatnonzero(density)
        seen += [EDGES[filled[0]], EDGES[filled[-1] + 1]] if len(filled) else []
    axes.axvline(spread.prior, color=REFERENCE_LINE, linestyle="--", linewidth=0.9, label=r"prior, $\ln \sigma_p^2$")
    axes.set_xlim(min(seen) - 1, max(seen) + 1)
    axes.set_ylim(0, 1.08 * highest)
    axes.set_xlabel(r"$\ln \sigma_q^2$ of the weights")
    axes.set_ylabel("Fraction of weights per unit")
    axes.legend(fontsize=7.5, ncols=2 if len(kept) > 5 else 1)
    figure.text(0.02, 0.97, title, fontsize=9.5, fontweight="bold", va="top")
    return figure
