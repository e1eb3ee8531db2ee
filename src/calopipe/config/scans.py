"""Scans of settings: a grid of values, of which every combination becomes a model of its own with a name that tells them."""

from __future__ import annotations

import copy
import itertools
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Any

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from calopipe.canonical import digest
from calopipe.config.base import Section
from calopipe.config.texts import Name
from calopipe.errors import nearest, repeated, shown

#: combinations of values of one scan, at most
MAX_POINTS = 200
#: settings that one scan varies, at most
MAX_SETTINGS = 10
#: numbers from the first to below the second are written without a power of ten
_PLAIN = (0.01, 1e5)
_NAME: TypeAdapter[str] = TypeAdapter(Name)


def value_text(value: Any) -> str:
    """A scanned value in few characters: ``1e-4``, ``0.5``, ``256x256``, ``true``."""
    if isinstance(value, list | tuple):
        return "x".join(value_text(item) for item in value) or "empty"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if not isinstance(value, int | float) or not math.isfinite(value):
        return str(value)
    number = Decimal(repr(value)).normalize()
    if value == 0 or _PLAIN[0] <= abs(value) < _PLAIN[1]:
        return f"{number:f}"
    power = number.adjusted()
    return f"{number.scaleb(-power).normalize():f}e{power}"


def _is_value(value: Any, depth: int = 0) -> bool:
    if isinstance(value, list | tuple):
        return depth < 2 and len(value) <= 32 and all(_is_value(item, depth + 1) for item in value)
    return value is None or isinstance(value, bool | int | float | str)


def _values(values: list[Any]) -> list[Any]:
    for value in values:
        if not _is_value(value):
            raise ValueError(f"expected numbers, texts, true, false, null or lists of them, found {shown(value)}")
    again = repeated(value_text(value) for value in values)
    if again is not None:
        raise ValueError(f"expected each value once, found {shown(again)} twice")
    return values


#: values of one scanned setting
ScanValues = Annotated[list[Any], Field(min_length=1, max_length=MAX_POINTS), AfterValidator(_values)]


class ScanPoint(Section):
    """What a scan has set in a model, so that the report can compare the points."""

    scan: Name = Field(description="name of the scan: that of the model that it was asked of")
    settings: dict[str, Any] = Field(
        min_length=1,
        max_length=MAX_SETTINGS,
        description="scanned settings and their values here, by keys as in `scan`",
    )


def check_scan(scan: Mapping[str, Sequence[Any]], networks: Sequence[str], settings: Iterable[str]) -> None:
    """Raise ValueError where a scan names settings of no network (the `settings` of each) or one twice, or has too many points."""
    paths = [path for key in scan for path in paths_of(key, networks, settings)]
    again = repeated(".".join(path) for path in paths)
    if again is not None:
        raise ValueError(f"scan: the setting {again} is in it twice")
    points = math.prod(len(values) for values in scan.values())
    if points > MAX_POINTS:
        sizes = " x ".join(str(len(values)) for values in scan.values())
        raise ValueError(f"scan: expected at most {MAX_POINTS} combinations, found {sizes} = {points}")


def paths_of(key: str, networks: Sequence[str], settings: Iterable[str]) -> Iterator[tuple[str, ...]]:
    """The settings that a key of a scan names, separated by commas: network first, added where there is only one."""
    alone = list(settings) if len(networks) == 1 else []
    for text in key.split(","):
        path = tuple(text.strip().split("."))
        if path[0] not in networks and path[0] in alone:
            path = (networks[0], *path)
        if path[0] not in networks:
            known, what = [*networks, *alone], "network or its setting" if alone else "network"
            raise ValueError(
                f"scan: '{text.strip()}' begins with no {what}{nearest(path[0], known)}; known: {', '.join(known)}"
            )
        if len(path) < 2 or not all(path):
            raise ValueError(
                f"scan: expected the path of a setting, such as {networks[0]}.training.lr, found {shown(key)}"
            )
        yield path


def points_of(scan: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    """Every combination of the values, the last setting changing fastest."""
    for values in itertools.product(*scan.values()):
        yield dict(zip(scan, values, strict=True))


def with_settings(networks: Mapping[str, Any], point: Mapping[str, Any], settings: Iterable[str]) -> dict[str, Any]:
    """Networks as written in a configuration, with these values in them. Raises ValueError where a path leads nowhere."""
    made, known = copy.deepcopy(dict(networks)), list(settings)
    for key, value in point.items():
        for path in paths_of(key, list(networks), known):
            _put(made, path, copy.deepcopy(value))
    return made


def _put(node: Any, path: Sequence[str], value: Any) -> None:
    for i, name in enumerate(path):
        where = ".".join(path[: i + 1])
        place: Any = name
        if isinstance(node, list):
            if not name.isdecimal() or int(name) >= len(node):
                raise ValueError(f"scan: {where}: expected a number from 0 to {len(node) - 1}, found '{name}'")
            place = int(name)
        if i == len(path) - 1:
            node[place] = value
            return
        inner = node[place] if isinstance(node, list) else node.get(place)
        if isinstance(inner, str) and (isinstance(node, list) or name == "model"):  # a part by its name alone
            inner = {"step" if isinstance(node, list) else "name": inner}
        inner = {} if inner is None else inner
        if not isinstance(inner, dict | list):
            raise ValueError(f"scan: {'.'.join(path)}: {where} is {shown(inner)} and has no settings")
        node[place] = inner
        node = inner


def short_names(keys: Iterable[str]) -> dict[str, str]:
    """Short names of scanned settings that tell them apart: ``lr``, or ``flow_lr`` where several networks have one."""
    paths = {key: [text.strip().split(".") for text in key.split(",")] for key in keys}
    for parts in (slice(-1, None), None, slice(None)):
        found = {key: "_".join(dict.fromkeys(_joined(p, parts) for p in listed)) for key, listed in paths.items()}
        if len(set(found.values())) == len(found):
            return found
    return {key: key for key in paths}


def _joined(path: Sequence[str], parts: slice | None) -> str:
    """Some parts of a path; None: the first and the last."""
    if len(path) > 1 and path[-1].isdecimal():  # a number in a list: with the name of the list
        path = [*path[:-2], f"{path[-2]}_{path[-1]}"]
    return "_".join(dict.fromkeys((path[0], path[-1])) if parts is None else path[parts])


def point_name(scan: str, point: Mapping[str, Any]) -> str:
    """Name of a point as a model: ``toy-lr_1e-4-penalty_0.5``; its end is a digest where that is too long for a name."""
    short = short_names(point)
    texts = [f"{short[key]}_{value_text(value)}" for key, value in point.items()]
    name = re.sub(r"[^A-Za-z0-9_.-]+", "_", "-".join([scan, *texts]))
    try:
        return _NAME.validate_python(name)
    except ValidationError:
        end = digest(point)
        return f"{name[: 63 - len(end)]}-{end}"
