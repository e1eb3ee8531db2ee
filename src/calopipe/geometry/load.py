"""Read geometries: built-in ones by name, any YAML file, any binning XML of the CaloChallenge.

YAML format (lengths in mm)::

    kind: cylindrical                 # or cartesian
    threshold_MeV: 1.0                # default readout threshold, optional
    description: one line             # optional
    eta_axis: 0                       # cartesian only: the index that runs along eta, optional
    layers:
      - {id: 0, n_alpha: 10, r_edges: [0, 5, 10, 30]}
      - {id: 1, repeat: 44, n_alpha: 16, r_edges: {start: 0, stop: 41.85, bins: 9}, z: [3.4, 6.8]}

Cartesian layers have `x_edges` and `y_edges` instead. `repeat` makes that many equal layers, with ids counting up and
`z` moving on by the layer's own thickness. Ids default to the position in the list.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from calopipe.errors import GeometryError, nearest
from calopipe.geometry.core import KINDS, Geometry
from calopipe.geometry.layer import Layer

_BUILT_IN = Path(__file__).resolve().parent.parent / "geometries"
_DERIVED = re.compile(r"(?P<base>.+?)(?P<steps>(?:_(?:pool|crop)\d+x\d+)+)")
_KEYS = {"name", "kind", "threshold_MeV", "description", "eta_axis", "layers"}
_LAYER_KEYS = {
    "cylindrical": {"id", "repeat", "z", "n_alpha", "r_edges"},
    "cartesian": {"id", "repeat", "z", "x_edges", "y_edges"},
}


def available_geometries() -> tuple[str, ...]:
    """Names of the built-in geometries, sorted."""
    return tuple(sorted(path.stem for path in _BUILT_IN.glob("*.yaml")))


def load_geometry(name_or_path: str | Path | Geometry, particle: str | None = None) -> Geometry:
    """Return a geometry.

    Args:
        name_or_path: a built-in name; a path ending in .yaml or .yml; a path of a CaloChallenge binning file ending in
            .xml, optionally "file.xml:photon"; any of these with suffixes "_pool2x1" for pooled and "_crop30x30" for
            cropped geometries; or a Geometry, which is returned as it is.
        particle: which particle of an XML file that describes several.

    Raises:
        GeometryError: unknown name (with the nearest valid one), unreadable or malformed file.
    """
    if isinstance(name_or_path, Geometry):
        return name_or_path
    text = str(name_or_path)
    made = _DERIVED.fullmatch(text)
    if made:
        geometry = load_geometry(made["base"], particle)
        for step, first, second in re.findall(r"_(pool|crop)(\d+)x(\d+)", made["steps"]):
            change = geometry.pooled if step == "pool" else geometry.cropped
            geometry = change((int(first), int(second)))
        return geometry
    base, _, suffix = text.rpartition(":")
    if base.lower().endswith(".xml"):
        return _from_xml(Path(base), particle or suffix)
    if text.lower().endswith(".xml"):
        return _from_xml(Path(text), particle)
    if text.lower().endswith((".yaml", ".yml")):
        return _from_yaml(Path(text))
    if text not in available_geometries():
        known = available_geometries()
        raise GeometryError(
            f"unknown geometry '{text}'{nearest(text, known)}; built in: {', '.join(known)}; "
            "or give the path of a .yaml or .xml file"
        )
    return _built_in(text)


@cache
def _built_in(name: str) -> Geometry:
    return _from_yaml(_BUILT_IN / f"{name}.yaml")


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a text file"
        raise GeometryError(f"geometry file {path}: {reason}") from error


# ---- YAML ---------------------------------------------------------------------------------------------------------
def _from_yaml(path: Path) -> Geometry:
    import yaml

    try:
        content = yaml.safe_load(_read_text(path))
    except yaml.YAMLError as error:
        raise GeometryError(f"geometry file {path}: not valid YAML ({' '.join(str(error).split())})") from error
    try:
        return _geometry(content, path.stem)
    except GeometryError as error:
        raise GeometryError(f"geometry file {path}: {error}") from error


def _geometry(content: Any, default_name: str) -> Geometry:
    if not isinstance(content, Mapping):
        raise GeometryError(f"expected keys {', '.join(sorted(_KEYS))}, found {type(content).__name__}")
    _check_keys(content, _KEYS, required={"kind", "layers"}, where="top level")
    kind = content["kind"]
    if kind not in KINDS:
        raise GeometryError(f"kind must be one of {', '.join(KINDS)}, found {kind!r}")
    if not isinstance(content["layers"], list):
        raise GeometryError(f"layers must be a list, found {type(content['layers']).__name__}")
    layers = [layer for i, entry in enumerate(content["layers"]) for layer in _layers(entry, kind, f"layers[{i}]")]
    ids = [i if layer.id < 0 else layer.id for i, layer in enumerate(layers)]
    return Geometry(
        name=str(content.get("name", default_name)),
        kind=kind,
        layers=tuple(Layer(i, la.first_edges, la.second_edges, la.z) for i, la in zip(ids, layers, strict=True)),
        threshold_MeV=_number(content.get("threshold_MeV", 0.0), "threshold_MeV"),
        eta_axis=content.get("eta_axis", 0),
        description=str(content.get("description", "")),
    )


def _layers(entry: Any, kind: str, where: str) -> Iterator[Layer]:
    if not isinstance(entry, Mapping):
        raise GeometryError(f"{where} must be a mapping, found {type(entry).__name__}")
    names = ("n_alpha", "r_edges") if kind == "cylindrical" else ("x_edges", "y_edges")
    _check_keys(entry, _LAYER_KEYS[kind], required=set(names), where=where)
    if kind == "cylindrical":
        first = _alpha_edges(_count(entry["n_alpha"], f"{where}.n_alpha"))
    else:
        first = _expand(entry["x_edges"], f"{where}.x_edges")
    second = _expand(entry[names[1]], f"{where}.{names[1]}")
    start = _count(entry["id"], f"{where}.id", minimum=0) if "id" in entry else None
    z = entry.get("z")
    for k in range(_count(entry.get("repeat", 1), f"{where}.repeat")):
        layer = Layer(-1 if start is None else start + k, first, second, z)
        if layer.z is not None and k:
            front, back = layer.z
            shift = k * (back - front)
            layer = Layer(
                layer.id,
                first,
                second,
                (round(front + shift, 9), round(back + shift, 9)),
            )
        yield layer


def _expand(edges: Any, where: str) -> tuple[float, ...]:
    """Edges from a list, or evenly spaced ones from {start, stop, bins}, rounded to 1e-9 mm."""
    if isinstance(edges, Mapping):
        _check_keys(
            edges,
            {"start", "stop", "bins"},
            required={"start", "stop", "bins"},
            where=where,
        )
        start, stop = (_number(edges[key], f"{where}.{key}") for key in ("start", "stop"))
        return tuple(np.round(np.linspace(start, stop, _count(edges["bins"], f"{where}.bins") + 1), 9).tolist())
    if not isinstance(edges, list):
        raise GeometryError(f"{where} must be a list of numbers or a mapping start, stop, bins; found {edges!r}")
    return tuple(_number(edge, where) for edge in edges)


def _alpha_edges(n_alpha: int) -> tuple[float, ...]:
    return tuple(np.linspace(-np.pi, np.pi, n_alpha + 1).tolist())


def _check_keys(found: Mapping[Any, Any], valid: set[str], required: set[str], where: str) -> None:
    for key in found:
        if key not in valid:
            hint = nearest(str(key), valid)
            raise GeometryError(f"{where}: unknown key '{key}'{hint}; valid: {', '.join(sorted(valid))}")
    missing = sorted(required - set(found))
    if missing:
        raise GeometryError(f"{where}: missing key {', '.join(missing)}")


def _number(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise GeometryError(f"{where} must be a number, found {value!r}")
    return float(value)


def _count(value: Any, where: str, minimum: int = 1) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
        raise GeometryError(f"{where} must be an integer >= {minimum}, found {value!r}")
    return value


# ---- CaloChallenge binning XML ------------------------------------------------------------------------------------
def _from_xml(path: Path, particle: str | None) -> Geometry:
    """Read a CaloChallenge binning file; layers with a single r edge (``r_edges="0"``) hold no voxels."""
    try:
        root = ElementTree.fromstring(_read_text(path))
    except ElementTree.ParseError as error:
        raise GeometryError(f"geometry file {path}: not valid XML ({error})") from error
    bins = {element.get("name", ""): element for element in root.iter("Bin")}
    if not bins:
        raise GeometryError(f"geometry file {path}: expected <Bin> elements of a CaloChallenge binning, found none")
    if particle is None and len(bins) > 1:
        raise GeometryError(f"geometry file {path}: several particles, name one of {', '.join(bins)} (file.xml:name)")
    chosen = particle if particle is not None else next(iter(bins))
    if chosen not in bins:
        raise GeometryError(
            f"geometry file {path}: no particle '{chosen}'{nearest(chosen, bins)}; has {', '.join(bins)}"
        )
    try:
        layers = [layer for element in bins[chosen].iter("Layer") if (layer := _xml_layer(element)) is not None]
        return Geometry(
            path.stem,
            "cylindrical",
            tuple(layers),
            description=f"CaloChallenge binning of {chosen}",
        )
    except GeometryError as error:
        raise GeometryError(f"geometry file {path}: {error}") from error


def _xml_layer(element: ElementTree.Element) -> Layer | None:
    text = {key: element.get(key) for key in ("id", "r_edges", "n_bin_alpha")}
    try:
        edges = tuple(float(edge) for edge in (text["r_edges"] or "").split(","))
        number, n_alpha = int(text["id"] or ""), int(text["n_bin_alpha"] or "")
    except ValueError as error:
        raise GeometryError(f"<Layer> needs id, r_edges and n_bin_alpha as numbers, found {text}") from error
    if len(edges) == 1:
        return None
    return Layer(number, _alpha_edges(_count(n_alpha, f"layer {number}: n_bin_alpha")), edges)
