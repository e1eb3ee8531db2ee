"""The reference of all settings, ``docs/config.md``, written by ``make reference``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from calopipe.config.parts import METRICS, MODELS, STEPS, Observable, Part, built_in_observables
from calopipe.config.schema import Study
from calopipe.registry import Registry

_HEAD = """# Settings

Every key of `config.yaml` and of the files in `presets/`. Unknown keys are errors, and so are keys given twice, values of
another type (a boolean is no number, and YAML reads `1e-3` as text: write `1.0e-3`) and numbers outside the bounds below.
`snakemake -n` checks all of it, and what the settings mean together, before anything runs.

**A configuration is a program.** Snakemake reads configuration files through YTE: with `__use_yte__: true` in it, a file
runs Python of its own before calopipe sees it, also with `-n`; and a configuration names files to read and addresses to
fetch. Read a configuration of somebody else before you use it.

This page is made from the library's own descriptions by `make reference`, and so is [config.schema.json](config.schema.json),
the JSON schema with which editors complete and check keys: begin a file of yours, as `config.yaml` does, with
`# yaml-language-server: $schema=docs/config.schema.json`.
"""


def render() -> str:
    """The page as markdown."""
    parts = [_HEAD]
    for section in _sections(Study):
        parts.append(f"## {section.__name__}\n\n{_summary(section)}\n\n{_table(section)}")
    for registry, key in ((MODELS, "name"), (STEPS, "step"), (METRICS, "metric")):
        parts.append(f"## Registered {registry.kind}s\n\nChosen by `{key}:`, with these settings beside it.")
        parts += [_registered(registry, key, name) for name in registry.names()]
        parts += [
            f"### {section.__name__}\n\n{_summary(section)}\n\n{_table(section)}" for section in _within(registry)
        ]
    names = ", ".join(f"`{name}`" for name in built_in_observables())
    parts.append(f"## Observables\n\nNames that settings take: {names}, and those that extensions register.")
    return "\n\n".join(parts).rstrip() + "\n"


def _registered(registry: Registry[Any], key: str, name: str) -> str:
    config = registry.config_class(name)
    body = "No settings." if config is None or not config.model_fields else _table(config)
    return f"### `{key}: {name}`\n\n{body}"


def _within(registry: Registry[Any]) -> list[type[BaseModel]]:
    """Sections that the settings of registered parts hold, each once."""
    configs = [cls for name in registry.names() if (cls := registry.config_class(name)) is not None]
    return list(dict.fromkeys(section for cls in configs for section in _sections(cls)[1:]))


def _sections(top: type[BaseModel]) -> list[type[BaseModel]]:
    """`top` and every section its fields hold, each once, outer ones first."""
    found = [top]
    for section in found:
        for field in section.model_fields.values():
            found += [s for s in _inner(field.annotation) if s not in found]
    return found


def _inner(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [s for arg in get_args(annotation) for s in _inner(arg)]


def _summary(section: type[BaseModel]) -> str:
    return " ".join((section.__doc__ or "").split("\n\n")[0].split())


def _table(section: type[BaseModel]) -> str:
    rows = ["| key | type | default | meaning |", "|---|---|---|---|"]
    for name, field in section.model_fields.items():
        meaning = (field.description or "").replace("|", "\\|")
        rows.append(f"| `{name}` | {_type(field.annotation, field.metadata)} | {_default(field)} | {meaning} |")
    return "\n".join(rows)


def _type(annotation: Any, constraints: Sequence[Any] = ()) -> str:
    """An annotation in words, numbers with their bounds."""
    if annotation in (int, float):
        return f"{annotation.__name__}{_bounds(constraints)}"
    if annotation is type(None):
        return "null"
    if annotation == Observable:
        return "[observable](#observables)"
    if annotation is Part:
        return "a name, or a mapping"
    if isinstance(annotation, type) and not get_args(annotation):
        return f"[{annotation.__name__}](#{annotation.__name__.lower()})" if _inner(annotation) else annotation.__name__
    origin, args = get_origin(annotation), get_args(annotation)
    if hasattr(annotation, "__metadata__"):
        inner = [c for extra in annotation.__metadata__ for c in getattr(extra, "metadata", [extra])]
        return _type(args[0], (*inner, *constraints))
    if str(origin).endswith("Literal"):
        return ", ".join(f"`{a}`" for a in args)
    if origin in (list, dict, tuple):
        items = dict.fromkeys(_type(a) for a in args if a is not Ellipsis)
        return f"{f'list of {len(args)}' if origin is tuple else f'{origin.__name__} of'} {', '.join(items)}"
    return " or ".join(_type(a, constraints) for a in args) if args else str(annotation)


def _bounds(constraints: Sequence[Any]) -> str:
    """`` (1 to 100)``: the narrowest of the bounds; a limit that is not itself allowed is said to be "above" or "below"."""
    low = [(getattr(c, k), k == "gt") for c in constraints for k in ("ge", "gt") if getattr(c, k, None) is not None]
    high = [(-getattr(c, k), k == "lt") for c in constraints for k in ("le", "lt") if getattr(c, k, None) is not None]
    if not low or not high:
        return ""
    (a, above), (b, below) = max(low), max(high)
    return f" ({'above ' if above else ''}{_number(a)} to {'below ' if below else ''}{_number(-b)})"


def _number(value: float) -> str:
    if value == 2**63 - 1:
        return "2^63 - 1"
    return f"{value:.0e}" if value and not 1e-3 <= abs(value) < 1e5 else f"{value:g}"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, list):
        value = [item.plain() if isinstance(item, Part) else item for item in value]
    if isinstance(value, BaseModel) or value is PydanticUndefined:
        return "its defaults"
    if isinstance(value, dict) and any(isinstance(v, BaseModel) for v in value.values()):
        return f"one called {', '.join(value)}"
    return "null" if value is None else f"`{value}`"


if __name__ == "__main__":
    sys.stdout.write(render())
