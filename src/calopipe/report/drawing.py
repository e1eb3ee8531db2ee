"""Draws the figures of a report, in several processes where asked, and makes their thumbnails.

The page shows thumbnails, small WebP files beside the plots that browsers load when they come into view: a report of
hundreds of plots opens at once, and its page stays small. They carry the provenance of their plot too.
"""

from __future__ import annotations

import json
import multiprocessing
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from PIL import Image
from PIL.ExifTags import Base

from calopipe.io.output import replacing
from calopipe.plots.style import save_figure
from calopipe.report.sources import Origin, Origins

#: folder of the thumbnails, within that of the plots
THUMBNAILS = "thumbnails"
#: widths of thumbnails in pixels, about twice the width on the page of single figures
WIDE_PIXELS, SINGLE_PIXELS = 1200, 640
QUALITY = 80


@dataclass(frozen=True)
class Task:
    """One figure still to be drawn: ``function(*args, **kwargs)`` gives it.

    Attributes:
        section: part of the report: scores, averages, losses, classifiers, timing, or a group of observables.
        name: file name without suffix, unique within a study.
        caption: one line below it.
        wide: whether it takes the full width of the page (else it goes into a grid).
        sources: paths of the files that it is drawn from, see :func:`calopipe.report.sources.files`.
    """

    section: str
    name: str
    caption: str
    function: Callable[..., Figure]
    args: tuple[Any, ...]
    kwargs: dict[str, Any] = field(default_factory=dict)
    wide: bool = False
    sources: tuple[str, ...] = field(kw_only=True)


@dataclass(frozen=True)
class Drawn:
    """A figure on disk, its thumbnail, the thumbnail's size in pixels, and what it was drawn from."""

    section: str
    name: str
    caption: str
    wide: bool
    png: Path
    pdf: Path | None
    thumbnail: Path
    size: tuple[int, int]
    inputs: tuple[Origin, ...] = ()

    @property
    def alt(self) -> str:
        """Text for those who cannot see the picture: what it is of."""
        return f"Plot. {self.caption}"


def file_name(*parts: str) -> str:
    """A file name without suffix from words of any kind; empty ones are left out."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", "_".join(p for p in parts if p))


def draw(
    tasks: Sequence[Task],
    out: Path,
    provenance: Mapping[str, str],
    origins: Origins,
    *,
    dpi: int,
    pdf: bool,
    workers: int = 1,
) -> list[Drawn]:
    """Draw and save all tasks into the folder `out`, with several processes when `workers` > 1; in the order given.

    The provenance of each picture is `provenance`, its caption as ``title``, and the files it is drawn from as ``inputs``.
    """
    jobs = []
    for task in tasks:
        inputs = tuple(origins[path] for path in task.sources)
        record = {**provenance, "title": task.caption, "inputs": "; ".join(map(str, inputs))}
        jobs.append((task, out, record, inputs, dpi, pdf))
    if workers > 1 and len(jobs) > 4 and "fork" in multiprocessing.get_all_start_methods():
        with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("fork")) as pool:
            return list(pool.map(_draw_one, jobs, chunksize=2))
    return [_draw_one(job) for job in jobs]


def _draw_one(job: tuple[Task, Path, dict[str, str], tuple[Origin, ...], int, bool]) -> Drawn:
    task, out, provenance, inputs, dpi, pdf = job
    figure = task.function(*task.args, **task.kwargs)
    written = save_figure(figure, out / task.name, provenance, dpi=dpi, pdf=pdf)
    thumbnail = out / THUMBNAILS / f"{task.name}.webp"
    size = save_thumbnail(written[0], thumbnail, WIDE_PIXELS if task.wide else SINGLE_PIXELS, provenance)
    pdf_file = written[1] if pdf else None
    return Drawn(task.section, task.name, task.caption, task.wide, written[0], pdf_file, thumbnail, size, inputs)


def save_thumbnail(png: Path, path: Path, width: int, provenance: Mapping[str, str]) -> tuple[int, int]:
    """Write a small copy of a picture, at most `width` pixels wide, as WebP; returns its size in pixels.

    Its EXIF description (the tag ImageDescription) is the provenance as JSON, without the input files: those are in
    the picture that it names.
    """
    with Image.open(png) as image:
        small = image.convert("RGB")
    if small.width > width:
        small = small.resize((width, round(small.height * width / small.width)), Image.Resampling.LANCZOS)
    record = {k: v for k, v in provenance.items() if k != "inputs"} | {"picture": png.name}
    exif = Image.Exif()
    exif[Base.ImageDescription] = json.dumps(record, sort_keys=True)
    with replacing(path) as temporary:
        small.save(temporary, format="WEBP", quality=QUALITY, method=4, exif=exif)
    return small.size
