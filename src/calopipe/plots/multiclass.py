"""The multi-class test: ranking of the models by their log posterior, and the confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator
from numpy.typing import NDArray

from calopipe.plots.style import REFERENCE_LABEL, REFERENCE_LINE, LineStyle, new_figure, styled

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Posterior:
    """Mean log posterior of one sample on held-out showers of the reference.

    Attributes:
        label: name of the sample.
        style: colour of the model; None for the reference.
        value: mean over the trainings.
        spread: standard deviation between the trainings.
        statistical: standard deviation from the number of held-out showers.
    """

    label: str
    style: LineStyle | None
    value: float
    spread: float
    statistical: float


@styled
def ranking_figure(entries: Sequence[Posterior], indistinguishable: float, title: str = "") -> Figure:
    """Log posteriors of the samples, the reference's on top, then the closest model first.

    Args:
        entries: one per sample.
        indistinguishable: value of all samples when nothing can be told apart.
        title: heading.

    The thick bar is the spread between the trainings, the thin one that and the statistical error in quadrature.
    """
    rows = sorted(entries, key=lambda e: (e.style is not None, -e.value))
    height = 0.32 * len(rows) + 0.95
    width = 5.0
    left = (0.35 + 0.075 * max(len(e.label) for e in rows)) / width
    figure = new_figure(width, height)
    axes = figure.add_axes((left, 0.55 / height, 0.965 - left, 0.32 * len(rows) / height))
    text = "all samples alike"
    axes.axvline(indistinguishable, color=REFERENCE_LINE, linewidth=0.9, linestyle=(0, (4, 3)), label=text)
    for y, entry in enumerate(rows):
        color = REFERENCE_LINE if entry.style is None else entry.style.color
        axes.errorbar(
            entry.value, y, xerr=np.hypot(entry.spread, entry.statistical), color=color, elinewidth=0.9, capsize=3
        )
        axes.errorbar(entry.value, y, xerr=entry.spread, color=color, elinewidth=2.6, marker="o", markersize=3)
    axes.set_yticks(range(len(rows)), [e.label for e in rows])
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.set_xlabel(rf"$\langle \log P(\mathrm{{sample}}\,|\,x) \rangle$ of {REFERENCE_LABEL} showers [nats]")
    figure.legend(loc="upper right", bbox_to_anchor=(0.985, 0.995))
    figure.text(0.012, 1 - 0.09 / height, title, fontsize=10.5, fontweight="bold", va="top")
    return figure


@styled
def confusion_figure(confusion: Array, labels: Sequence[str], title: str = "") -> Figure:
    """Confusion matrix: fractions of the held-out showers of each sample (rows) taken for each sample (columns).

    Args:
        confusion: (R, K, K) counts of R trainings; the mean fraction is drawn, with the standard deviation between them.
        labels: of the samples, (K,).
        title: heading.
    """
    fractions = confusion / np.maximum(confusion.sum(axis=2, keepdims=True), 1)
    mean = fractions.mean(axis=0)
    spread = fractions.std(axis=0, ddof=1) if len(fractions) > 1 else None
    k = len(labels)
    cell = 0.62
    longest = max(len(label) for label in labels)
    slanted = longest > 6
    left = 0.45 + 0.072 * longest
    bottom = 0.5 + 0.055 * longest if slanted else 0.55
    width, height = left + cell * k + 0.95, 0.45 + cell * k + bottom
    figure = new_figure(width, height)
    axes = figure.add_axes((left / width, bottom / height, cell * k / width, cell * k / height))
    bar = figure.add_axes(((left + cell * k + 0.12) / width, bottom / height, 0.13 / width, cell * k / height))
    image = axes.imshow(mean, cmap="Blues", vmin=0, vmax=1)
    for i in range(k):
        for j in range(k):
            color = "white" if mean[i, j] > 0.55 else "black"
            axes.text(
                j, i - (0.1 if spread is not None else 0), f"{mean[i, j]:.2f}", ha="center", va="center", color=color
            )
            if spread is not None:
                note = f"$\\pm${spread[i, j]:.2f}"
                axes.text(j, i + 0.22, note, ha="center", va="center", color=color, fontsize=6.5)
    slant: dict[str, Any] = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if slanted else {}
    axes.set_xticks(range(k), labels, **slant)
    axes.set_yticks(range(k), labels)
    axes.tick_params(which="both", length=0)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("Taken for")
    axes.set_ylabel("True sample")
    figure.colorbar(image, cax=bar, label="Fraction of the true sample")
    figure.text(0.1 / width, 1 - 0.09 / height, title, fontsize=10.5, fontweight="bold", va="top")
    return figure
