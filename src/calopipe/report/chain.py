"""The chain of networks of a model as a drawing: what makes a shower out of its conditions.

Read from left to right, in the order in which a shower is generated. Rectangles draw what their arrow says, trapezes decode;
from the line below every network gets the conditions, arcs carry what else a network is given. The drawing is SVG that takes
its colours from the page.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape

from calopipe.report.numbers import format_count

#: what networks learn besides the latents of another one
SHOWERS, LAYER_ENERGIES = "showers", "layer_energies"
#: pixels: size of a box, room for what its arrow carries, margin, and the heights above (per arc) and below the boxes
_WIDE, _HIGH, _BETWEEN, _MARGIN, _ARC, _BELOW = 172, 70, 112, 6, 30, 46
#: narrow pages shrink the drawing to this width, and scroll then
_LEAST = 620
#: by how much an arrow from nowhere keeps away from the box before it
_LOOSE = 22
#: by how much a trapeze is lower where it begins
_SLANT = 9
#: letters of a name that fit into a box, or beside an arrow
_FIT, _FIT_BESIDE = 20, 15
_WORDS = {
    "incident_energies": "incident energy",
    "incident_theta": "\N{GREEK SMALL LETTER THETA}",
    "incident_phi": "\N{GREEK SMALL LETTER PHI}",
}


@dataclass(frozen=True)
class Network:
    """One network of a chain.

    Attributes:
        name: its name in the model.
        learns: ``showers``, ``layer_energies``, another kind of target, or the name of the network whose latents it learns.
        given: what it is given besides the conditions: ``layer_energies``, or the name of the network that it refines.
        model: registered name of its kind.
        role: ``autoencoder`` where it encodes and decodes.
        parameters: how many it has, where that is known.
    """

    name: str
    learns: str
    given: tuple[str, ...] = ()
    model: str = ""
    role: str = ""
    parameters: int | None = None

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Network:
        """From what the workflow says of a network; further keys do not matter here."""
        known = {k: record[k] for k in cls.__dataclass_fields__ if record.get(k) is not None}
        return cls(**{**known, "given": tuple(record.get("given", ()))})

    @property
    def kind(self) -> str:
        """What stands below its name: the kind of network and its size."""
        size = "" if self.parameters is None else f"{format_count(self.parameters)} parameters"
        return ", ".join(part for part in (self.model, size) if part)


def in_order(networks: Iterable[Network]) -> list[Network]:
    """The networks in the order in which they generate a shower: what is given, latents, what decodes them, refiners."""
    networks = list(networks)
    names = {n.name for n in networks}

    def rank(network: Network) -> int:
        if network.learns == LAYER_ENERGIES:
            return 0
        if network.learns in names:
            return 1
        return 3 if names & set(network.given) else 2

    return sorted(networks, key=rank)


@dataclass(frozen=True)
class _Edge:
    """What is handed from one box to another (by number; the last number is the end of the chain)."""

    source: int
    target: int
    label: str


def _edges(order: Sequence[Network]) -> list[_Edge]:
    """What each network makes, and who takes it; what nobody takes leaves the chain."""
    place = {n.name: i for i, n in enumerate(order)}
    found = []
    for i, network in enumerate(order):
        if network.learns == LAYER_ENERGIES:
            takers = [j for j, other in enumerate(order) if LAYER_ENERGIES in other.given]
            found += [_Edge(i, j, "layer energies") for j in takers or [len(order)]]
        elif network.learns in place:
            found.append(_Edge(i, place[network.learns], "latents"))
        else:
            takers = [j for j, other in enumerate(order) if j != i and network.name in other.given]
            found += [_Edge(i, j, network.learns.replace("_", " ")) for j in takers or [len(order)]]
    return found


def _prior(order: Sequence[Network]) -> int | None:
    """Number of the autoencoder whose latents are drawn from its prior; None where a network learned them, or there is none."""
    learned = {n.learns for n in order}
    return next((i for i, n in enumerate(order) if n.role == "autoencoder" and n.name not in learned), None)


def chain_svg(networks: Iterable[Network], conditions: Sequence[str] = (), color: str = "currentColor") -> Markup:
    """The drawing.

    Args:
        networks: of one model, in any order.
        conditions: names of what every network is given; none: no line is drawn.
        color: of the model.
    """
    order = in_order(networks)
    edges = _edges(order)
    prior = _prior(order)
    arcs = [e for e in edges if e.target - e.source > 1 or (e.target == prior and e.target < len(order))]
    top = _MARGIN + _ARC * len(arcs)
    middle, bottom = top + _HIGH / 2, top + _HIGH
    left = _MARGIN + (_BETWEEN if prior == 0 else 0)
    places = [left + i * (_WIDE + _BETWEEN) for i in range(len(order) + 1)]
    width, height = places[-1] + _MARGIN, bottom + (_BELOW if conditions else _MARGIN)
    parts = [_box(network, x, top, color) for network, x in zip(order, places, strict=False)]
    for edge in edges:
        start, end = places[edge.source] + _WIDE, places[edge.target]
        if edge in arcs:
            level = arcs.index(edge)
            y = top - _ARC * (level + 0.72)
            parts.append(_arc((start, end), (top, y), edge.label, f"{12 + 10 * level}"))
        else:
            parts.append(_arrow(start, end, middle, edge.label))
    if prior is not None:  # from nowhere: it does not touch the box before
        start = places[prior] - _BETWEEN + (_LOOSE if prior else 0)
        parts.append(_arrow(start, places[prior], middle, "latents", "from the prior"))
    if conditions:
        parts.append(_conditions([p + _WIDE / 2 for p in places[:-1]], bottom, conditions))
    told = f"Chain of networks: {' then '.join(f'{n.name} ({n.kind})' for n in order)}."
    return Markup(
        f'<svg class="chain" role="img" aria-label="{escape(told)}" viewBox="0 0 {width:g} {height:g}" '
        f'width="{width:g}" height="{height:g}" style="min-width: {min(width, _LEAST):g}px">{"".join(parts)}</svg>'
    )


def _short(text: str, letters: int) -> str:
    """Text that fits, for SVG; the whole of it is the title of its box."""
    return str(escape(text if len(text) <= letters else f"{text[: letters - 1]}\N{HORIZONTAL ELLIPSIS}"))


def _box(network: Network, x: float, y: float, color: str) -> str:
    """A network: a trapeze that opens to the right where it decodes, a rectangle elsewhere."""
    decodes = network.role == "autoencoder"
    name, below = (network.name, f"decoder of {network.model}" if decodes else network.model)
    size = "" if network.parameters is None else f"{format_count(network.parameters)} parameters"
    look = f'class="box" style="stroke: {escape(color)}"'
    if decodes:
        corners = ((x, y + _SLANT), (x + _WIDE, y), (x + _WIDE, y + _HIGH), (x, y + _HIGH - _SLANT))
        shape = f'<polygon points="{" ".join(f"{a:g},{b:g}" for a, b in corners)}" {look}/>'
    else:
        shape = f'<rect x="{x:g}" y="{y:g}" width="{_WIDE}" height="{_HIGH}" rx="6" {look}/>'
    lines = [line for line in (below, size) if line]
    first = y + _HIGH / 2 - 8 * len(lines) + 5
    text = f'<text x="{x + _WIDE / 2:g}" y="{first:g}" class="name">{_short(name, _FIT)}</text>'
    for i, line in enumerate(lines, start=1):
        text += f'<text x="{x + _WIDE / 2:g}" y="{first + 16 * i:g}">{_short(line, _FIT + 4)}</text>'
    return f"<g><title>{escape(network.name)}: {escape(network.kind)}</title>{shape}{text}</g>"


def _head(x: float, y: float, up: bool = False) -> str:
    """The head of an arrow that ends at (x, y), pointing to the right or down; `up`: upwards."""
    points = ((x, y), (x - 4, y + 8), (x + 4, y + 8)) if up else ((x, y), (x - 8, y - 4), (x - 8, y + 4))
    return f'<polygon points="{" ".join(f"{a:g},{b:g}" for a, b in points)}" class="head"/>'


def _arrow(start: float, end: float, y: float, label: str, below: str = "") -> str:
    line = f'<path d="M{start + 3:g} {y:g}H{end - 7:g}" class="line"/>{_head(end - 2, y)}'
    middle = (start + end) / 2 - 3
    words = label if len(label) <= _FIT_BESIDE or " " not in label else label.rpartition(" ")[0]
    rest = label.removeprefix(words).strip() or below
    text = f'<text x="{middle:g}" y="{y - 7:g}" class="what">{_short(words, _FIT_BESIDE)}</text>'
    if rest:
        text += f'<text x="{middle:g}" y="{y + 16:g}" class="what">{_short(rest, _FIT_BESIDE)}</text>'
    return line + text


def _arc(ends: tuple[float, float], heights: tuple[float, float], label: str, inset: str) -> str:
    """From the upper right corner of one box over others to the upper left corner of another."""
    start, end = ends[0] - float(inset), ends[1] + float(inset)
    top, y = heights
    path = f"M{start:g} {top - 3:g}V{y + 8:g}q0 -8 8 -8H{end - 8:g}q8 0 8 8V{top - 9:g}"
    head = f'<polygon points="{end:g},{top - 3:g} {end - 4:g},{top - 11:g} {end + 4:g},{top - 11:g}" class="head"/>'
    text = f'<text x="{(start + end) / 2:g}" y="{y - 4:g}" class="what">{escape(label)}</text>'
    return f'<path d="{path}" class="line"/>{head}{text}'


def _conditions(middles: Sequence[float], bottom: float, names: Sequence[str]) -> str:
    """The line below, from which every network gets the conditions."""
    y = bottom + 24
    words = ", ".join(_WORDS.get(n, n.replace("_", " ")) for n in names)
    last = f"H{middles[-1]:g}" if len(middles) > 1 else ""
    lines = "".join(
        f'<path d="M{x:g} {y:g}V{bottom + 9:g}" class="line"/>{_head(x, bottom + 3, up=True)}' for x in middles
    )
    text = f'<text x="{middles[0]:g}" y="{y + 16:g}" class="what{" start" if last else ""}">{escape(words)}</text>'
    return f'<path d="M{middles[0]:g} {y:g}{last}" class="line"/>{lines}{text}'
