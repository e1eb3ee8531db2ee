"""Draws the figures of a report, in several processes where asked, and makes their thumbnails."""

from __future__ import annotations

import base64
import io
import multiprocessing
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from PIL import Image

from calopipe.plots.style import save_figure


@dataclass(frozen=True)
class Task:
    """One figure still to be drawn: ``function(*args, **kwargs)`` gives it.

    Attributes:
        section: part of the report: scores, averages, losses, classifiers, timing, or a group of observables.
        name: file name without suffix, unique within a study.
        caption: one line below it.
        wide: whether it takes the full width of the page (else it goes into a grid).
    """

    section: str
    name: str
    caption: str
    function: Callable[..., Figure]
    args: tuple[Any, ...]
    kwargs: dict[str, Any] = field(default_factory=dict)
    wide: bool = False


@dataclass(frozen=True)
class Drawn:
    """A figure on disk, and a small copy of it as a ``data:`` address."""

    section: str
    name: str
    caption: str
    wide: bool
    png: Path
    pdf: Path | None
    thumbnail: str


def file_name(*parts: str) -> str:
    """Name of a figure's file, of the parts that are not empty."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", "_".join(p for p in parts if p))


def draw(
    tasks: Sequence[Task], out: Path, provenance: dict[str, str], dpi: int, pdf: bool, workers: int = 1
) -> list[Drawn]:
    """Draw and save all tasks into the folder `out`, with several processes when `workers` > 1; in the order given."""
    jobs = [(task, out, {**provenance, "title": task.caption}, dpi, pdf) for task in tasks]
    if workers > 1 and len(jobs) > 4 and "fork" in multiprocessing.get_all_start_methods():
        with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("fork")) as pool:
            return list(pool.map(_draw_one, jobs, chunksize=2))
    return [_draw_one(job) for job in jobs]


def _draw_one(job: tuple[Task, Path, dict[str, str], int, bool]) -> Drawn:
    task, out, provenance, dpi, pdf = job
    figure = task.function(*task.args, **task.kwargs)
    written = save_figure(figure, out / task.name, provenance, dpi=dpi, pdf=pdf)
    thumbnail = thumbnail_uri(written[0], 1000 if task.wide else 640)
    return Drawn(task.section, task.name, task.caption, task.wide, written[0], written[1] if pdf else None, thumbnail)


def thumbnail_uri(png: Path, width: int) -> str:
    """A small copy of a picture, at most `width` pixels wide, as a ``data:`` address for an HTML page."""
    with Image.open(png) as image:
        small = image.convert("RGB")
    if small.width > width:
        small = small.resize((width, round(small.height * width / small.width)), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    small.save(stream, format="WEBP", quality=82, method=4)
    return "data:image/webp;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
