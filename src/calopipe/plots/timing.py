"""Generation time per shower against the batch size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from calopipe.plots.style import REFERENCE_LABEL, REFERENCE_LINE, LineStyle, new_figure, plain_number, styled


@styled
def timing_figure(
    timings: Sequence[tuple[LineStyle, Mapping[str, Any]]], title: str = "", one: str = "shower"
) -> Figure:
    """Median time per shower with its range over repeats, for each batch size, on logarithmic axes.

    Args:
        timings: style and timing record of each model: ``results`` (a list with ``batch_size``, ``median_ms``,
            ``low_ms``, ``high_ms``), ``device``, ``threads`` and ``geant4_ms`` (or None).
        title: heading.
        one: what is generated.
    """
    figure = new_figure(4.7, 3.7)
    axes = figure.add_axes((0.15, 0.14, 0.81, 0.76))
    for style, record in timings:
        results = sorted(record["results"], key=lambda r: r["batch_size"])
        size, median, low, high = (
            np.array([r[k] for r in results], dtype=float) for k in ("batch_size", "median_ms", "low_ms", "high_ms")
        )
        spread = np.maximum([median - low, high - median], 0)
        axes.errorbar(size, median, yerr=spread, marker="o", markersize=4, capsize=2.5, label=style.label, **style.line)
    reference = next((r["geant4_ms"] for _, r in timings if r.get("geant4_ms")), None)
    if reference:
        axes.axhline(reference, color=REFERENCE_LINE, linestyle=(0, (4, 3)), linewidth=1, label=REFERENCE_LABEL)
    axes.set_xscale("log")
    axes.set_yscale("log")
    bottom, top = axes.get_ylim()
    axes.set_ylim(bottom / 1.3, top * 2.2)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(plain_number)
        axis.set_minor_formatter(NullFormatter())
    if top / bottom < 30:  # hardly more than one power of ten is inside
        axes.yaxis.set_minor_locator(LogLocator(subs=(2, 5)))
        axes.yaxis.set_minor_formatter(plain_number)
    axes.set_xlabel("Batch size")
    axes.set_ylabel(f"Time per {one} [ms]")
    axes.legend(ncols=2)
    devices = {f"{r.get('device', '?')}, {_threads(r.get('threads', '?'))}" for _, r in timings}
    if len(devices) == 1:
        axes.set_title(devices.pop(), loc="right", fontsize=8)
    axes.set_title(title, loc="left", fontweight="bold")
    return figure


def _threads(number: Any) -> str:
    return "1 thread" if number == 1 else f"{number} threads"
