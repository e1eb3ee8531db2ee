"""JSON schema of configuration files, for editors: ``docs/config.schema.json``, written by ``make reference``.

It is made from the settings classes, like ``docs/config.md``. Files are merged onto presets, so a file may hold any part of
a study: no key is required but those that entries of lists need. What several settings mean together, and that names
exist, only calopipe itself checks (``snakemake -n``).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

from calopipe.config.parts import METRICS, MODELS, STEPS
from calopipe.config.schema import Study
from calopipe.registry import Registry

Schema = dict[str, Any]
#: fields that hold a registered part, or a list of such, with the key that names the part
PARTS: dict[str, tuple[Registry[Any], str]] = {
    "model": (MODELS, "name"),
    "preprocessing": (STEPS, "step"),
    "metrics": (METRICS, "metric"),
}
_REF = "#/$defs/"
_ANYTHING = {"type": "object", "additionalProperties": True}


def json_schema() -> Schema:
    """The schema (draft 2020-12) of ``config.yaml`` and of the files in ``presets/``."""
    schema = Study.model_json_schema()
    definitions: Schema = schema["$defs"]
    sections = [schema, *definitions.values()]
    for name, (registry, key) in PARTS.items():
        holders = [s["properties"] for s in sections if name in s.get("properties", {})]
        definition = registry.kind.split()[-1]
        definitions[definition] = _choice(registry, key, definitions, complete=any("items" in h[name] for h in holders))
        for holder in holders:
            holder[name] = _filled(holder[name], {"$ref": _REF + definition})
    listed = {ref for inner in _schemas(schema) for ref in _references(inner.get("items"))}
    for name, section in [("", schema), *definitions.items()]:
        if name not in listed:
            section.pop("required", None)
    for inner in _schemas(schema):
        inner.pop("title", None)
        if "oneOf" in inner:  # of a file that holds a part of a study, the kind may be in another file
            inner["anyOf"] = inner.pop("oneOf")
        if "patternProperties" in inner:
            inner["additionalProperties"] = False
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "calopipe", **schema}


def _filled(field: Schema, part: Schema) -> Schema:
    """`field` with `part` where it would take any mapping."""
    if field.items() >= _ANYTHING.items():
        return {**{k: v for k, v in field.items() if k not in _ANYTHING}, **part}
    return {**field, "items": part} if field.get("items") == _ANYTHING else field


def _choice(registry: Registry[Any], key: str, definitions: Schema, complete: bool) -> Schema:
    """Schema of any one part: its name alone, or a mapping; `complete`: the mapping must name the part.

    Of a part with another name, which an extension may have, nothing is known.
    """
    names = registry.names()
    known = [_part(registry, key, name, definitions, complete) for name in names]
    own = {"type": "object", "properties": {key: {"type": "string", "not": {"enum": names}}}, "required": [key]}
    return {"anyOf": [{"enum": names}, {"type": "string"}, *known, own]}


def _part(registry: Registry[Any], key: str, name: str, definitions: Schema, complete: bool) -> Schema:
    """Schema of one part: its settings beside the key that names it."""
    own: Schema = {"type": "object", "additionalProperties": False}
    found = registry.config_class(name)
    if found is not None:
        own = found.model_json_schema()
    definitions.update(own.pop("$defs", {}))
    required = [key, *own.pop("required", [])]
    own["properties"] = {key: {"const": name}, **own.get("properties", {})}
    return {**own, "required": required} if complete else own


def _schemas(node: Any) -> Iterator[Schema]:
    """Every schema in `node`, itself first."""
    if isinstance(node, list):
        for item in node:
            yield from _schemas(item)
    elif isinstance(node, dict):
        yield node
        for key, value in node.items():
            if key in ("properties", "patternProperties", "$defs"):  # names -> schemas
                yield from _schemas(list(value.values()))
            elif key not in ("default", "const", "enum", "required"):
                yield from _schemas(value)


def _references(node: Any) -> Iterator[str]:
    """Names of the definitions that `node` refers to."""
    return (inner["$ref"].removeprefix(_REF) for inner in _schemas(node) if "$ref" in inner)


def render() -> str:
    """The schema as text."""
    return json.dumps(json_schema(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(render())
