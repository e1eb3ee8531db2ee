"""Loss curves of a training, read from its CSV log."""

from __future__ import annotations

from collections.abc import Mapping
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter
from numpy.typing import NDArray

from calopipe.errors import DataError
from calopipe.io.stored import reading
from calopipe.plots.style import REFERENCE_LINE, LineStyle, new_figure, styled

Array = NDArray[np.float64]
COLUMNS = ("epoch", "step", "train_loss", "val_loss", "lr")


def read_losses(path: str | Path, rows: int | None = None) -> dict[str, Array]:
    """Read a training log: columns epoch, step, train_loss, val_loss and lr, each (rows,), NaN where left empty.

    Args:
        path: CSV file.
        rows: how many it must have, where that is known: the epochs of the training.

    Raises:
        DataError: the file is missing, cut, lacks the column `step`, or holds something that is no number.
    """
    with reading(path, "not a training log"):
        text = Path(path).read_text(encoding="utf-8")
        if not text.endswith("\n"):
            raise ValueError("it ends in the middle of a line" if text else "it is empty")
        lines = text.splitlines()
        short = next((i for i, line in enumerate(lines, 1) if line.count(",") != lines[0].count(",")), None)
        if short is not None:
            raise ValueError(f"line {short} has another number of columns than the first")
        if rows is not None and len(lines) - 1 != rows:
            raise ValueError(f"expected {rows} rows, one per epoch, found {len(lines) - 1}")
        table = pd.read_csv(StringIO(text))
    if "step" not in table:
        raise DataError(
            f"{path}: expected the columns {', '.join(COLUMNS)}, found {', '.join(map(str, table.columns))}"
        )
    with reading(path, "not a training log"):
        return {name: table.reindex(columns=[name])[name].to_numpy(dtype=float) for name in COLUMNS}


@styled
def losses_figure(curves: Mapping[str, Mapping[str, Array]], style: LineStyle, title: str = "") -> Figure:
    """Training and validation loss against the epoch, and the learning rate below.

    Args:
        curves: name of each training (its seed) -> columns of :func:`read_losses`.
        style: colour of the model; several trainings share it, in fading shades.
        title: heading.

    The loss axis shows the validation losses and the training losses after the first twentieth of the training, so that
    the steep start does not flatten the rest; it is logarithmic where they still span more than a factor of 20.
    """
    figure = new_figure(5.2, 4.2)
    grid = figure.add_gridspec(2, 1, height_ratios=(3, 1), hspace=0.07, left=0.16, right=0.97, top=0.925, bottom=0.115)
    top = figure.add_subplot(grid[0])
    bottom = figure.add_subplot(grid[1], sharex=top)
    shown: list[Array] = []
    for i, columns in enumerate(curves.values()):
        alpha = 1.0 - 0.6 * i / max(len(curves), 2)
        time = epochs(columns)
        train, val = columns["train_loss"], columns["val_loss"]
        ok = np.isfinite(train)
        top.plot(time[ok], train[ok], color=REFERENCE_LINE, linewidth=0.8, alpha=0.75 * alpha)
        seen = np.isfinite(val)
        marker = "o" if seen.sum() <= 60 else ""
        top.plot(time[seen], val[seen], color=style.color, alpha=alpha, marker=marker, markersize=2.6)
        rate = np.isfinite(columns["lr"])
        bottom.plot(time[rate], columns["lr"][rate], color=style.color, alpha=alpha, linewidth=1.1)
        last = np.nanmax(time) if len(time) else 0.0
        shown += [train[ok & (time > 0.05 * last)], val[seen & (time > 0.05 * last)]]
    _limits(top, np.concatenate([*shown, np.zeros(0)]))
    suffix = f" ({', '.join(curves)})" if len(curves) > 1 else ""
    top.legend(
        handles=[
            Line2D([], [], color=REFERENCE_LINE, linewidth=0.8, label="training"),
            Line2D([], [], color=style.color, marker="o", markersize=2.6, label=f"validation{suffix}"),
        ]
    )
    top.set_title(title, loc="left", fontweight="bold")
    top.set_ylabel("Loss")
    top.tick_params(labelbottom=False, which="both")
    bottom.set_ylabel("Learning rate")
    bottom.set_ylim(0, None)
    bottom.yaxis.set_major_locator(MaxNLocator(3))
    bottom.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    bottom.set_xlabel("Epoch")
    for axes in (top, bottom):
        axes.yaxis.set_label_coords(-0.135, 0.5)
    return figure


def epochs(columns: Mapping[str, Array]) -> Array:
    """Time of each row in epochs, (rows,): steps over steps per epoch, or the epoch column where steps are missing."""
    epoch, step = columns["epoch"], columns["step"]
    both = np.isfinite(epoch) & np.isfinite(step)
    if not both.any() or step[both].max() <= 0:
        return epoch
    per_epoch = (step[both].max() + 1) / (epoch[both].max() + 1)
    return (step + 1) / per_epoch


def _limits(axes: Axes, values: Array) -> None:
    values = values[np.isfinite(values)]
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    if not len(values):
        return
    low, high = np.quantile(values, [0.0, 0.995])
    if low > 0 and high / low > 20:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set_ylim(low / 1.2, high * 1.2)
    else:
        margin = 0.06 * max(high - low, 1e-6 * max(abs(high), 1.0))
        axes.set_ylim(low - margin, high + margin)
