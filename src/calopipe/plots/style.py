"""The one look of all plots, and the one way in which figures are saved.

Colours are the Okabe-Ito set (distinguishable with every common colour vision deficiency) without its black and yellow:
black and grey belong to the reference, yellow is hard to see as a line. A model has the same colour in all figures of
a study; line dashes tell its samples apart (generated solid, reconstructed dashed, unrefined dotted).

Figures are built with matplotlib's object interface and the Agg canvas: no display, no global state, no LaTeX.
"""

from __future__ import annotations

import functools
import json
import math
import textwrap
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from calopipe.errors import printable
from calopipe.io.output import replacing
from calopipe.io.stored import writing
from calopipe.records.slices import INCIDENT_ENERGY, Slice
from calopipe.records.wording import SHOWERS

if TYPE_CHECKING:
    from matplotlib.typing import RcKeyType  # for the type checker only: older versions of matplotlib lack it

P = ParamSpec("P")
T = TypeVar("T")

#: generated samples, in the order of the study's models
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
#: dashes told apart when a study has more models than colours
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.2)), (0, (1, 1)), (0, (5, 1, 1, 1)))
#: of samples beside the generated one; others are dashed
_DOTS = {"unrefined": (0, (1, 1.2))}
REFERENCE_FILL = "#d4d4d4"
REFERENCE_LINE = "#4d4d4d"
REFERENCE_LABEL = SHOWERS.label
ENERGY_CMAP = "viridis"
RATIO_CMAP = "RdBu_r"

STYLE: dict[RcKeyType, Any] = {
    "font.family": "DejaVu Sans",
    "mathtext.fontset": "dejavusans",
    "font.size": 9.0,
    "axes.labelsize": 9.5,
    "axes.titlesize": 9.5,
    "axes.linewidth": 0.8,
    "axes.axisbelow": False,
    "axes.formatter.use_mathtext": True,
    "axes.formatter.limits": (-3, 4),
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "legend.handlelength": 1.8,
    "lines.linewidth": 1.3,
    "patch.linewidth": 1.3,
    "xtick.direction": "in",
    "ytick.direction": "in",
    "xtick.top": True,
    "ytick.right": True,
    "xtick.minor.visible": True,
    "ytick.minor.visible": True,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "pdf.fonttype": 42,
    "svg.hashsalt": "calopipe",
}


@dataclass(frozen=True)
class LineStyle:
    """How one sample is drawn.

    Attributes:
        label: legend entry, in mathtext (:func:`literal` for names).
        color: matplotlib colour.
        dash: matplotlib line style.
    """

    label: str
    color: str
    dash: Any = "-"

    @property
    def line(self) -> dict[str, Any]:
        """Keyword arguments of a matplotlib line."""
        return {"color": self.color, "linestyle": self.dash}


def literal(text: str) -> str:
    """A name as it is, for titles and labels: no mathtext, no control codes, and shown in legends whatever it begins with."""
    shown = printable(text).replace("$", r"\$")
    return f"\N{ZERO WIDTH SPACE}{shown}" if shown.startswith("_") else shown


def heading_size(title: str, width: float, size: float = 10.5) -> float:
    """Size of the letters of a bold heading that fits into `width` inches, at most `size`."""
    return min(size, (width - 0.2) / (0.0085 * max(len(title), 1)))


def wrapped(text: str, width: int) -> str:
    """Text in lines of some `width` letters, broken at spaces and behind underscores."""
    return textwrap.fill(text.replace("_", "_ "), width).replace("_ ", "_")


def model_styles(models: Iterable[str]) -> dict[str, LineStyle]:
    """One style per model in the order given, equal for equal positions; the dashes change when colours run out."""
    names = list(dict.fromkeys(models))
    n = len(COLORS)
    return {m: LineStyle(literal(m), COLORS[i % n], DASHES[(i // n) % len(DASHES)]) for i, m in enumerate(names)}


def sample_style(model: LineStyle, sample: str, n_seeds: int = 1, n_draws: int = 1) -> LineStyle:
    """Style of one sample of a model: ``generated`` as the model, any other sample dashed, or dotted, and named in the legend."""
    label = model.label if sample == "generated" else f"{model.label}, {sample}"
    if n_seeds > 1:
        label += f" ({n_seeds} seeds)"
    if n_draws > 1:
        label += f" ({n_draws} draws)"
    return LineStyle(label, model.color, model.dash if sample == "generated" else _DOTS.get(sample, (0, (4, 1.5))))


def styled(function: Callable[P, T]) -> Callable[P, T]:
    """Decorator: run a drawing function under :data:`STYLE`, leaving the global settings untouched."""

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        with mpl.rc_context():
            mpl.rcdefaults()
            mpl.rcParams.update(STYLE)
            return function(*args, **kwargs)

    return wrapper


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of `width` x `height` inches on an Agg canvas."""
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure


@styled
def save_figure(
    figure: Figure, path: str | Path, provenance: Mapping[str, Any], *, dpi: int = 150, pdf: bool = True
) -> list[Path]:
    """Save a figure as PNG, and as PDF beside it, with its provenance inside; equal figures give equal files.

    Args:
        figure: the figure.
        path: file name; its suffix is replaced by ``.png`` and ``.pdf``. Folders are created.
        provenance: flat text (:func:`calopipe.provenance.collect`): each entry becomes a PNG text chunk, and all
            together, as JSON, the keywords of the PDF.
        dpi: resolution of the PNG.
        pdf: write the PDF too.

    Returns:
        The files written, PNG first. Each is written under a temporary name and renamed; no timestamps inside.
    """
    base = Path(path).with_suffix("") if Path(path).suffix in {".png", ".pdf"} else Path(path)
    entries = {str(k): printable(str(v)) for k, v in provenance.items()}
    title = entries.get("title", printable(base.name))
    png = {"Title": title, "Software": "calopipe", **{f"calopipe:{k}": v for k, v in entries.items()}}
    keywords = json.dumps(entries, sort_keys=True, ensure_ascii=True)
    document = {"Title": title, "Creator": "calopipe", "Keywords": keywords, "CreationDate": None}
    written = [_save(figure, base, "png", {"dpi": dpi, "metadata": png})]
    if pdf:
        written.append(_save(figure, base, "pdf", {"dpi": max(dpi, 200), "metadata": document}))
    return written


def _save(figure: Figure, base: Path, suffix: str, options: dict[str, Any]) -> Path:
    path = base.with_name(f"{base.name}.{suffix}")
    with replacing(path) as temporary, writing(path):
        figure.savefig(temporary, format=suffix, **options)
    return path


def read_provenance(path: str | Path) -> dict[str, str]:
    """The provenance inside a PNG written by :func:`save_figure`; empty when there is none."""
    from PIL import Image

    with Image.open(path) as image:
        text = dict(image.info)
    return {
        k.removeprefix("calopipe:"): str(v) for k, v in text.items() if isinstance(k, str) and k.startswith("calopipe:")
    }


def unit_of(label: str) -> str | None:
    """The unit in the last square brackets of an axis label: ``$E$ [MeV]`` gives ``MeV``; None without brackets."""
    start, end = label.rfind("["), label.rfind("]")
    return label[start + 1 : end].strip() or None if 0 <= start < end else None


#: conditions with a symbol of their own, and their unit
_CONDITIONS = {
    "incident_theta": ("\N{GREEK SMALL LETTER THETA}", " rad"),
    "incident_phi": ("\N{GREEK SMALL LETTER PHI}", " rad"),
}


def slice_label(part: Slice | None) -> str:
    """Text for a slice: ``1-5 GeV`` of the incident energy, ``θ 0.5-1 rad`` of another condition; empty for all showers."""
    if part is None:
        return ""
    symbol, unit = _CONDITIONS.get(part.condition, (literal(part.condition.replace("_", " ")), ""))
    factor = 1.0
    if part.condition == INCIDENT_ENERGY:
        factor, unit = (1e-3, " GeV") if part.high >= 1000 else (1.0, " MeV")
    ends = [f"{end * factor:g}" for end in dict.fromkeys((part.low, part.high))]
    text = "\N{EN DASH}".join(ends) + unit
    return text if part.condition == INCIDENT_ENERGY else f"{symbol} {text}"


def plain_number(value: float, _: float | None = None) -> str:
    """Tick label of a logarithmic axis: 0.01, 200, and powers of ten below 0.001 and from a million on."""
    return f"{value:g}" if 1e-3 <= value < 1e6 else f"$10^{{{round(math.log10(value))}}}$"


def power_of_ten(axes: Axes, largest: float) -> int:
    """Label a linear vertical axis of small values (up to `largest`) in units of a power of ten, and return the power.

    The caller names it beside the unit; 0 leaves the axis as it is. Matplotlib would print the power above the axis,
    in the way of headings and legends.
    """
    power = math.floor(math.log10(largest)) if largest > 0 else 0
    if power >= -2:
        return 0
    axes.yaxis.set_major_formatter(lambda value, _: f"{value / 10.0**power:.3g}")
    return power
