"""The chain of a result as a drawing (SVG): files as boxes, raw files left, the result right, each below its stage."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from calopipe.io.output import replacing
from calopipe.io.stored import writing
from calopipe.provenance.chain import Chain, Node

_WIDE, _HIGH, _ACROSS, _DOWN, _MARGIN = 210, 46, 70, 20, 14
#: letters that fit into a box
_FIT = 30
_STYLE = (
    "text{font:11px sans-serif;fill:#222}.stage{font-weight:600;fill:#0b5a8f}.sha{font:10px monospace;fill:#666}"
    "rect{fill:#f5f7f9;stroke:#8a97a3}.raw rect{fill:#eef5ea;stroke:#6c9a58}.result rect{fill:#e3eff8;stroke:#0b5a8f;"
    "stroke-width:2}.wrong rect{fill:#fbe6e2;stroke:#b3361e;stroke-width:2}path{fill:none;stroke:#9aa5af}"
)


def write_graph(chain: Chain, path: Path, wrong: Mapping[str, str] | None = None) -> None:
    """Write the drawing; files in `wrong` are red, with the reason as their title. Raises DataError where that is impossible."""
    with replacing(path) as temporary, writing(path):
        temporary.write_text(graph_svg(chain, wrong), encoding="utf-8")


def graph_svg(chain: Chain, wrong: Mapping[str, str] | None = None) -> str:
    """The drawing as text."""
    columns = _columns(chain)
    rows = _rows(chain, columns)
    tallest = max(len(names) for names in rows.values())
    places = {}
    for column, names in rows.items():
        top = _MARGIN + (tallest - len(names)) * (_HIGH + _DOWN) / 2
        for i, name in enumerate(names):
            places[name, column] = (_MARGIN + column * (_WIDE + _ACROSS), top + i * (_HIGH + _DOWN))
    width = 2 * _MARGIN + len(rows) * (_WIDE + _ACROSS) - _ACROSS
    height = 2 * _MARGIN + tallest * (_HIGH + _DOWN) - _DOWN
    edges = [
        _edge([places[source, i] for i in range(columns[source], columns[name])] + [places[name, columns[name]]])
        for name, node in chain.nodes.items()
        for source in node.inputs
        if source in columns
    ]
    folder = os.path.commonpath([os.path.dirname(os.path.abspath(n.path)) for n in chain.nodes.values() if n.record])
    boxes = [
        _box(node, places[name, columns[name]], node is chain.result, folder, wrong or {})
        for name, node in chain.nodes.items()
    ]
    title = escape(f"What {chain.asked} was made from")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{title}" viewBox="0 0 {width:g} {height:g}" '
        f'width="{width:g}" height="{height:g}"><title>{title}</title><style>{_STYLE}</style>'
        f'<rect width="100%" height="100%" style="fill:#fff;stroke:none"/>{"".join(edges)}{"".join(boxes)}</svg>\n'
    )


def _columns(chain: Chain) -> dict[str, int]:
    """Column of each file: one behind the last of what it was made from."""
    found: dict[str, int] = {}
    for node in reversed(list(chain.nodes.values())):
        before = [found[source] for source in node.inputs if source in found]
        found[node.path] = max(before) + 1 if before else 0
    return found


def _rows(chain: Chain, columns: Mapping[str, int]) -> dict[int, list[str]]:
    """What each column holds from top to bottom: its files, and lanes for those that a later column needs.

    Each is near the middle of what it was made from.
    """
    last = dict(columns)  # column before which a file is needed
    for name, node in chain.nodes.items():
        for source in node.inputs:
            if source in last:
                last[source] = max(last[source], columns[name] - 1)
    rows: dict[int, list[str]] = {}
    height: dict[str, float] = {}
    for column in range(max(columns.values()) + 1):
        names = [name for name in columns if columns[name] <= column <= last[name]]
        middle = {}
        for name in names:
            before = [name] if columns[name] < column else chain.nodes[name].inputs
            known = [height[source] for source in before if source in height]
            middle[name] = sum(known) / len(known) if known else 0.0
        rows[column] = sorted(names, key=lambda name: (middle[name], name))
        height |= {name: i - (len(names) - 1) / 2 for i, name in enumerate(rows[column])}
    return rows


def _box(node: Node, place: tuple[float, float], result: bool, folder: str, wrong: Mapping[str, str]) -> str:
    x, y = place
    kind = "wrong" if node.path in wrong else "result" if result else "" if node.record else "raw"
    name = os.path.relpath(os.path.abspath(node.path), folder)
    name = Path(node.path).name if name.startswith("..") else name
    shown = name if len(name) <= _FIT else f"…{name[1 - _FIT :]}"
    told = escape(wrong.get(node.path) or f"{node.path}\n{node.job or node.note}\nsha256 {node.sha256}")
    return (
        f'<g class="{kind}"><title>{told}</title><rect x="{x:g}" y="{y:g}" width="{_WIDE}" height="{_HIGH}" rx="5"/>'
        f'<text class="stage" x="{x + 8:g}" y="{y + 15:g}">{escape(node.stage or node.note or "not known")}</text>'
        f'<text x="{x + 8:g}" y="{y + 28:g}">{escape(shown)}</text>'
        f'<text class="sha" x="{x + 8:g}" y="{y + 41:g}">{escape(node.sha256[:24])}</text></g>'
    )


def _edge(places: Sequence[tuple[float, float]]) -> str:
    """A line from the right of the first box to the left of the last, along the lanes between them."""
    x, y = places[0][0] + _WIDE, places[0][1] + _HIGH / 2
    path = f"M{x:g} {y:g}"
    for u, top in places[1:]:
        v = top + _HIGH / 2
        path += f"C{x + _ACROSS / 2:g} {y:g} {u - _ACROSS / 2:g} {v:g} {u:g} {v:g}"
        x, y = u + _WIDE, v
        path += f"H{x:g}" if (u, top) != places[-1] else ""
    return f'<path d="{path}"/>'
