"""Legends of histograms: the reference and one line per sample, above the axes, where they hide no data."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from calopipe.plots.style import REFERENCE_FILL, REFERENCE_LABEL, REFERENCE_LINE, LineStyle

#: inches of a legend's width, of the line and gaps of an entry, and of a letter
_LEGEND, _ENTRY, _LETTER = 4.2, 0.56, 0.066


def legend_handles(styles: Sequence[LineStyle], reference: str = REFERENCE_LABEL) -> list[Patch | Line2D]:
    """Legend entries: the filled reference, then one line per sample."""
    filled = Patch(facecolor=REFERENCE_FILL, edgecolor=REFERENCE_LINE, label=reference, linewidth=0.8)
    return [filled, *(Line2D([], [], label=style.label, **style.line) for style in styles)]


def legend_height(handles: Sequence[Patch | Line2D]) -> float:
    """Height in inches that :func:`legend_above` takes in a figure of 4.6 inches width."""
    return 0.12 + 0.19 * math.ceil(len(handles) / legend_columns(handles))


def legend_above(figure: Figure, handles: Sequence[Patch | Line2D]) -> None:
    """Put the legend above the axes, where it hides no data."""
    figure.legend(
        handles=handles,
        loc="upper center",
        ncols=legend_columns(handles),
        bbox_to_anchor=(0.567, 0.998),
        borderaxespad=0.2,
    )


def legend_columns(
    handles: Sequence[Patch | Line2D], width: float = _LEGEND, in_one_row: int = 3, most: int | None = None
) -> int:
    """As many columns as fit into `width` inches; up to `in_one_row` entries in one row, more in two columns, or `most`."""
    widths = [_ENTRY + _LETTER * len(str(h.get_label())) for h in handles]
    first = most or (len(handles) if len(handles) <= in_one_row else 2)
    for columns in range(min(first, len(handles)), 1, -1):
        rows = math.ceil(len(handles) / columns)
        if sum(max(widths[i : i + rows]) for i in range(0, len(widths), rows)) <= width:
            return columns
    return 1
