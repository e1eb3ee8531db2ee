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

import numpy as np

from calopipe.errors import GeometryError, nearest, printable, shown
from calopipe.geometry import derived
from calopipe.geometry.binning_xml import from_xml
from calopipe.geometry.core import KINDS, MAX_LAYERS, MAX_VOXELS, Geometry
from calopipe.geometry.layer import Layer, alpha_edges, count, number
from calopipe.yamlfile import load_yaml

_BUILT_IN = Path(__file__).resolve().parent.parent / "geometries"
#: the last step of a derived geometry's name
_STEP = re.compile(
    r"_(?:pool(?P<pool>\d{1,5}x\d{1,5})|crop(?P<crop>\d{1,5}x\d{1,5})(?:at(?P<centre>\d{1,5}x\d{1,5}))?|(?P<image>image)"
    r"|layers(?P<layers>\d{1,4}(?:-\d{1,4})?(?:\+\d{1,4}(?:-\d{1,4})?)*))"
)
MAX_NAME, MAX_STEPS = 1000, 10
_KEYS = {"name", "kind", "threshold_MeV", "description", "eta_axis", "layers"}
_LAYER_KEYS = {
    "cylindrical": {"id", "repeat", "z", "n_alpha", "r_edges"},
    "cartesian": {"id", "repeat", "z", "x_edges", "y_edges"},
}


def available_geometries() -> tuple[str, ...]:
    """Names of the built-in geometries, sorted."""
    return tuple(sorted(path.stem for path in _BUILT_IN.glob("*.yaml")))


def load_geometry(name_or_path: str | Path | Geometry, particle: str | None = None, *, files: bool = True) -> Geometry:
    """Return a geometry.

    Args:
        name_or_path: a built-in name; a path ending in .yaml or .yml; a path of a CaloChallenge binning file ending in
            .xml, optionally "file.xml:photon" or "file.xml:22"; any of these with suffixes "_pool2x1" for pooled,
            "_crop30x30" (or "_crop15x15at15x15", around a cell) for cropped and "_image" for summed geometries, "_layers0-1+3" for some of the layers; or a
            Geometry, which is returned as it is.
        particle: which particle of an XML file that describes several, by its name or pid.
        files: whether paths may be opened. False for names that come out of a file, which could point anywhere.

    Raises:
        GeometryError: unknown name (with the nearest valid one), unreadable or malformed file.
    """
    if isinstance(name_or_path, Geometry):
        return name_or_path
    text = str(name_or_path)
    steps: list[re.Match[str]] = []
    if len(text) > MAX_NAME:
        raise GeometryError(f"expected a name or path of at most {MAX_NAME} characters, found {shown(text)}")
    while found := _STEP.fullmatch(text, max(0, text.rfind("_"))):
        text = text[: found.start()]
        steps.append(found)
    if len(steps) > MAX_STEPS:
        raise GeometryError(f"expected at most {MAX_STEPS} steps of pooling, cropping or summing, found {len(steps)}")
    geometry = _from_file(text, particle) if files else None
    geometry = _built_in(text) if geometry is None else geometry
    for step in reversed(steps):
        geometry = _derived(geometry, step)
    return geometry


def _derived(geometry: Geometry, step: re.Match[str]) -> Geometry:
    """The geometry after one step of a name."""
    if step["layers"]:
        return geometry.selected(derived.listed(step["layers"]))
    if step["image"]:
        return geometry.summed()
    if step["pool"]:
        return geometry.pooled(_pair(step["pool"]))
    return geometry.cropped(_pair(step["crop"]), _pair(step["centre"]) if step["centre"] else None)


def _pair(text: str) -> tuple[int, int]:
    """``15x16`` is (15, 16)."""
    first, second = text.split("x")
    return int(first), int(second)


def _from_file(text: str, particle: str | None) -> Geometry | None:
    """The geometry of a file; None where `text` is no path of one."""
    base, _, suffix = text.rpartition(":")
    if base.lower().endswith(".xml"):
        return from_xml(Path(base), particle or suffix)
    if text.lower().endswith(".xml"):
        return from_xml(Path(text), particle)
    return _from_yaml(Path(text)) if text.lower().endswith((".yaml", ".yml")) else None


@cache
def _built_in(name: str) -> Geometry:
    known = available_geometries()
    if name not in known:
        raise GeometryError(
            f"unknown geometry '{printable(name, 100)}'{nearest(name, known)}; built in: {', '.join(known)}; "
            "or give the path of a .yaml or .xml file"
        )
    return _from_yaml(_BUILT_IN / f"{name}.yaml")


# ---- YAML ---------------------------------------------------------------------------------------------------------
def _from_yaml(path: Path) -> Geometry:
    content = load_yaml(path, GeometryError)
    try:
        return _geometry(content, path.stem)
    except GeometryError as error:
        raise GeometryError(f"geometry file {path}: {error}") from None


def _geometry(content: Any, default_name: str) -> Geometry:
    if not isinstance(content, Mapping):
        raise GeometryError(f"expected keys {', '.join(sorted(_KEYS))}, found {type(content).__name__}")
    _check_keys(content, _KEYS, required={"kind", "layers"}, where="top level")
    kind = content["kind"]
    if not isinstance(kind, str) or kind not in KINDS:
        raise GeometryError(f"kind must be one of {', '.join(KINDS)}, found {shown(kind)}")
    if not isinstance(content["layers"], list):
        raise GeometryError(f"layers must be a list, found {type(content['layers']).__name__}")
    layers: list[Layer] = []
    for i, entry in enumerate(content["layers"]):
        layers += _layers(entry, kind, f"layers[{i}]")
        if len(layers) > MAX_LAYERS:
            raise GeometryError(f"layers[{i}]: expected at most {MAX_LAYERS} layers, found more")
    ids = [i if layer.id < 0 else layer.id for i, layer in enumerate(layers)]
    return Geometry(
        name=_text(content.get("name", default_name), "name"),
        kind=kind,
        layers=tuple(Layer(i, la.first_edges, la.second_edges, la.z) for i, la in zip(ids, layers, strict=True)),
        threshold_MeV=number(content.get("threshold_MeV", 0.0), "threshold_MeV"),
        eta_axis=count(content.get("eta_axis", 0), "eta_axis", minimum=0, maximum=1),
        description=_text(content.get("description", ""), "description", 500),
    )


def _layers(entry: Any, kind: str, where: str) -> Iterator[Layer]:
    if not isinstance(entry, Mapping):
        raise GeometryError(f"{where} must be a mapping, found {type(entry).__name__}")
    names = ("n_alpha", "r_edges") if kind == "cylindrical" else ("x_edges", "y_edges")
    _check_keys(entry, _LAYER_KEYS[kind], required=set(names), where=where)
    if kind == "cylindrical":
        first = alpha_edges(count(entry["n_alpha"], f"{where}.n_alpha"))
    else:
        first = _expand(entry["x_edges"], f"{where}.x_edges")
    second = _expand(entry[names[1]], f"{where}.{names[1]}")
    start = count(entry["id"], f"{where}.id", minimum=0, maximum=2**30) if "id" in entry else None
    z, repeat = entry.get("z"), count(entry.get("repeat", 1), f"{where}.repeat", maximum=MAX_LAYERS)
    voxels = (len(first) - 1) * (len(second) - 1) * repeat
    if voxels > MAX_VOXELS:  # before they are made
        raise GeometryError(f"{where}: expected at most {MAX_VOXELS} voxels, found {voxels}")
    for k in range(repeat):
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
        start, stop = (number(edges[key], f"{where}.{key}") for key in ("start", "stop"))
        return tuple(np.round(np.linspace(start, stop, count(edges["bins"], f"{where}.bins") + 1), 9).tolist())
    if not isinstance(edges, list):
        raise GeometryError(f"{where} must be a list of numbers or a mapping start, stop, bins; found {shown(edges)}")
    return tuple(number(edge, where) for edge in edges)


def _check_keys(found: Mapping[Any, Any], valid: set[str], required: set[str], where: str) -> None:
    for key in found:
        if key not in valid:
            hint = nearest(key, valid)
            raise GeometryError(f"{where}: unknown key {shown(key)}{hint}; valid: {', '.join(sorted(valid))}")
    missing = sorted(required - set(found))
    if missing:
        raise GeometryError(f"{where}: missing key {', '.join(missing)}")


def _text(value: Any, where: str, longest: int = 100) -> str:
    if not isinstance(value, str) or not (value.isprintable() and len(value) <= longest):
        raise GeometryError(f"{where} must be one line of at most {longest} characters, found {shown(value)}")
    return value
