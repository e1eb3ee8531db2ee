"""Base of every settings class: frozen, unknown keys rejected, one readable message for whatever is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Tag, ValidationError

from calopipe.errors import ConfigError, nearest, printable, shown

S = TypeVar("S", bound=BaseModel)
#: problems that one message names, at most
MAX_PROBLEMS = 8


class Section(BaseModel):
    """A group of settings. Frozen; a key that is not a field is an error, not a default; nothing is converted."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, protected_namespaces=(), allow_inf_nan=False)


def validate(cls: type[S], data: Any, where: str) -> S:
    """Build `cls` from plain data; on failure raise ConfigError naming every key, what was expected and found."""
    try:
        return cls.model_validate(data)
    except ValidationError as error:
        found = error.errors()
        lines = [_line(cls, item, where) for item in found[:MAX_PROBLEMS]]
        if len(found) > MAX_PROBLEMS:
            lines.append(f"and {len(found) - MAX_PROBLEMS} more")
        raise ConfigError("; ".join(lines)) from None


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Merge `over` onto `base`: mappings key by key, anything else (lists too) replaced."""
    merged = dict(base)
    for key, value in over.items():
        if isinstance(value, Mapping) and isinstance(merged.get(key), Mapping):
            merged[key] = merge(merged[key], value)
        else:
            merged[key] = value
    return merged


def _line(cls: type[BaseModel], item: Any, where: str) -> str:
    path = [p for p in item["loc"] if not (isinstance(p, str) and p.endswith("]") and p != "[key]")]
    key = ".".join(
        ([where] if where else []) + [str(p) if isinstance(p, int) else printable(str(p), 100) for p in path]
    )
    if item["type"] == "extra_forbidden":
        fields = _fields_at(cls, list(item["loc"][:-1]))
        known = ", ".join(sorted(fields))
        return f"{key}: unknown key{nearest(str(path[-1]), fields)}; known keys: {known or 'none'}"
    if item["type"] == "missing":
        return f"{key}: required key is missing"
    message = item["msg"].removeprefix("Value error, ")
    if item["type"] == "value_error":  # of a whole section: its message may begin with the key that it is about
        if message.startswith("."):  # of something within the field, see calopipe.config.parts
            return f"{key}{message}"
        inner = message.partition(":")[0].partition(".")[0]
        return f"{key}.{message}" if key and inner in _fields_at(cls, list(item["loc"])) else f"{key}: {message}"
    return f"{key}: {message[0].lower() + message[1:]} (found {shown(item['input'])}){_hint(item)}"


def _hint(item: Any) -> str:
    """Why a number can be a text: YAML wants a point in numbers with an exponent."""
    value = item["input"]
    if isinstance(value, str) and item["type"] in ("int_type", "float_type"):
        try:
            number = float(value)
        except ValueError:
            return ""
        plain = f"{number:.1e}" if "e" in value.lower() else value.strip()
        return f"; YAML reads it as text, write {plain} without quotes"
    return ""


def _fields_at(cls: Any, path: list[Any]) -> list[str]:
    """Names of the fields of the section found by following `path` from `cls`."""
    for part in path:
        section = _section_in(cls)
        if section is not None and part in section.model_fields:
            cls = section.model_fields[part].annotation
        elif isinstance(part, str):  # the kind of a section, see AnyDataset, or the key of a mapping
            cls = _of_kind(cls, part) or cls
    section = _section_in(cls)
    return [] if section is None else list(section.model_fields)


def _of_kind(annotation: Any, tag: str) -> Any:
    """The member of a union that carries this tag."""
    if any(isinstance(mark, Tag) and mark.tag == tag for mark in getattr(annotation, "__metadata__", ())):
        return annotation
    return next((found for inner in getattr(annotation, "__args__", ()) if (found := _of_kind(inner, tag))), None)


def _section_in(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in getattr(annotation, "__args__", ()):
        found = _section_in(inner)
        if found is not None:
            return found
    return None
