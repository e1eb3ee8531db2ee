"""Read a binning XML of the CaloChallenge: `Bin` elements, one per particle, with the `Layer` elements of each.

A particle is known by the attribute `name` ("photon"), by `pid` ("22", the numbering of the Particle Data Group), or both.
The file is read in the encoding that it declares. A document type is refused: a binning needs none, and entities that
expand to others are the usual bomb.
"""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from calopipe.errors import GeometryError, nearest, printable, repeated, shown
from calopipe.geometry.core import Geometry
from calopipe.geometry.layer import Layer, alpha_edges, count
from calopipe.yamlfile import read_text

KEYS = ("name", "pid")


class _Builder(ElementTree.TreeBuilder):
    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise GeometryError("a document type (<!DOCTYPE ...>) is not read; expected <Bins> with <Bin> elements alone")


def from_xml(path: Path, particle: str | None) -> Geometry:
    """The binning of `particle` (its name or pid), which may be None where the file has one particle only.

    Layers with a single r edge (``r_edges="0"``) hold no voxels.

    Raises:
        GeometryError: unreadable, not XML, not a binning; the particle is missing or not unique; a layer is malformed.
    """
    try:
        return _geometry(_parsed(path), path, particle)
    except GeometryError as error:
        text = str(error)
        raise GeometryError(text if text.startswith(str(path)) else f"geometry file {path}: {text}") from None


def _parsed(path: Path) -> ElementTree.Element:
    content = read_text(path, GeometryError, encoding=None)
    try:
        return ElementTree.fromstring(content, ElementTree.XMLParser(target=_Builder()))
    except (ElementTree.ParseError, ValueError, LookupError) as error:  # the latter two: encodings that Python lacks
        raise GeometryError(f"not valid XML ({printable(str(error))})") from None


def _geometry(root: ElementTree.Element, path: Path, particle: str | None) -> Geometry:
    bins = list(root.iter("Bin"))
    if not bins:
        raise GeometryError("expected <Bin> elements of a CaloChallenge binning, found none")
    for outer in (*bins, *root.iter("Layer")):
        inner = next((e for e in outer.iter(outer.tag) if e is not outer), None)
        if inner is not None:
            raise GeometryError(
                f"<{outer.tag}> elements must not lie in one another, found {_label(inner)} in {_label(outer)}"
            )
    chosen = _choose(bins, particle)
    elements = list(chosen.iter("Layer"))
    again = repeated(element.get("id") for element in elements)
    if again is not None:
        raise GeometryError(f"{_label(chosen)}: layer {shown(again)} is given more than once")
    layers = tuple(layer for element in elements if (layer := _layer(element)) is not None)
    return Geometry(path.stem, "cylindrical", layers, description=f"CaloChallenge binning of {_label(chosen)}")


def _choose(bins: list[ElementTree.Element], particle: str | None) -> ElementTree.Element:
    labels = ", ".join(map(_label, bins[:10])) + ", ..." * (len(bins) > 10)
    if particle is None:
        if len(bins) > 1:
            raise GeometryError(f"several particles: {labels}; name one of them (file.xml:name or file.xml:pid)")
        return bins[0]
    found = [element for element in bins if particle in (element.get(key) for key in KEYS)]
    if not found:
        known = [value for element in bins for key in KEYS if (value := element.get(key))]
        raise GeometryError(f"no particle {shown(particle)}{nearest(particle, known)}; has {labels}")
    if len(found) > 1:
        raise GeometryError(f"{len(found)} <Bin> elements are called {shown(particle)}, expected one: {labels}")
    return found[0]


def _label(element: ElementTree.Element) -> str:
    """What to call an element: ``photon (pid 22)``, ``211``, or its attributes where it has neither name nor pid."""
    if element.tag == "Layer":
        return f"layer {shown(element.get('id'))}"
    name, pid = (printable(value, 40) if (value := element.get(key)) else None for key in KEYS)
    if name and pid:
        return f"{name} (pid {pid})"
    return name or pid or f"a <Bin> without name or pid ({printable(str(element.attrib), 60)})"


def _layer(element: ElementTree.Element) -> Layer | None:
    text = {key: element.get(key) for key in ("id", "r_edges", "n_bin_alpha")}
    try:
        edges = tuple(float(edge) for edge in (text["r_edges"] or "").split(","))
        number, n_alpha = int(text["id"] or ""), int(text["n_bin_alpha"] or "")
    except ValueError:
        raise GeometryError(f"<Layer> needs id, r_edges and n_bin_alpha as numbers, found {shown(text)}") from None
    if len(edges) == 1:
        return None
    return Layer(number, alpha_edges(count(n_alpha, f"layer {number}: n_bin_alpha")), edges)
