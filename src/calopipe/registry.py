"""Registries of pluggable parts (models, metrics, preprocessing steps), and how a part is found without importing it.

A part lives in one file of its package and carries ``@register("name")``; its settings are a class
``<Something>Config``
in the same file, named in the decorator: ``@register("name", config=FooConfig)``. Building Snakemake's DAG must
validate
those settings without importing torch, so :func:`config_class` reads just the config class out of the source file.
"""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.util
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from calopipe.errors import ConfigError, nearest, shown

T = TypeVar("T")

#: top-level packages a config class may use; anything else in its module is skipped when only the config is read
_LIGHT = ("__future__", "typing", "collections", "math", "pydantic", "dataclasses", "calopipe.config")


class Registry(Generic[T]):
    """Named objects of one kind, defined one per file in the package `package`.

    Args:
        kind: what the objects are, for messages ("model").
        package: dotted name of the package whose modules hold the objects.
    """

    def __init__(self, kind: str, package: str) -> None:
        self.kind = kind
        self.package = package
        self._items: dict[str, T] = {}
        self._configs: dict[str, type] = {}

    def register(self, name: str, config: type | None = None) -> Callable[[T], T]:
        """Return a decorator that enters its object as `name`; a name can be taken once only."""

        def enter(item: T) -> T:
            known = self._items.get(name)
            if known is not None and getattr(known, "__module__", None) != getattr(item, "__module__", None):
                raise ConfigError(f"{self.kind} '{name}' is registered twice: {known} and {item}")
            self._items[name] = item
            if config is not None:
                self._configs[name] = config
            return item

        return enter

    def names(self) -> list[str]:
        """All names that the package's files register, found without importing them."""
        return sorted(_scan(self.package))

    def module_of(self, name: str) -> str:
        """Dotted module that registers `name`. Raises ConfigError, with the nearest name, when there is none."""
        found = _scan(self.package)
        if not isinstance(name, str) or name not in found:
            raise ConfigError(
                f"unknown {self.kind} {shown(name)}{nearest(name, found)}; known: {', '.join(sorted(found))}"
            )
        return found[name].module

    def marked(self, name: str, mark: str) -> bool:
        """Whether the class of `name` says ``<mark> = True`` in its own body, found without importing it.

        Marks tell settings what a part can do before anything is imported; one that is inherited must be repeated.
        """
        self.module_of(name)
        return mark in _scan(self.package)[name].marks

    def is_a(self, name: str, contract: str) -> bool:
        """Whether the class of `name` derives from the class called `contract`, found without importing it."""
        self.module_of(name)
        bases, todo, seen = _bases(self.package), [_scan(self.package)[name].item], set()
        while todo:
            seen.add(todo[-1])
            todo += bases.get(todo.pop(), frozenset()) - seen
        return contract in seen

    def get(self, name: str) -> T:
        """Import the module that registers `name` and return the object."""
        if name not in self._items:
            importlib.import_module(self.module_of(name))
        return self._items[name]

    def config_class(self, name: str) -> type | None:
        """The settings class of `name` (None when it takes no settings), without importing its module's heavy parts."""
        module = self.module_of(name)
        if name in self._configs:
            return self._configs[name]
        class_name = _scan(self.package)[name].config
        return None if class_name is None else _load_config_class(module, class_name)


def _package_dir(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError(f"package {package} not found")
    return Path(next(iter(spec.submodule_search_locations)))


class _Part(NamedTuple):
    """What a source file says of a registered part: its module, name in it, settings class, attributes that are True."""

    module: str
    item: str
    config: str | None
    marks: frozenset[str]


@functools.cache
def _scan(package: str) -> dict[str, _Part]:
    """Each registered name of `package`, by reading the source files."""
    found: dict[str, _Part] = {}
    for path in sorted(_package_dir(package).rglob("*.py")):
        relative = path.relative_to(_package_dir(package)).with_suffix("")
        module = ".".join([package, *relative.parts])
        for node in ast.walk(_parse(path)):
            for decorator in getattr(node, "decorator_list", []):
                entry = _registration(decorator)
                if entry is not None:
                    found[entry[0]] = _Part(module, node.name, entry[1], _marks(node))
    return found


@functools.cache
def _bases(package: str) -> dict[str, frozenset[str]]:
    """Names of the base classes of every class in the sources of `package`, by its name."""
    found: dict[str, frozenset[str]] = {}
    for path in sorted(_package_dir(package).rglob("*.py")):
        for node in ast.walk(_parse(path)):
            if isinstance(node, ast.ClassDef):
                names = [b.attr if isinstance(b, ast.Attribute) else getattr(b, "id", "") for b in node.bases]
                found[node.name] = found.get(node.name, frozenset()).union(names)
    return found


@functools.cache
def _parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def _registration(node: ast.expr) -> tuple[str, str | None] | None:
    """(name, config class name) when `node` is ``register("name", config=Cls)`` or ``REGISTRY.register(...)``."""
    if not isinstance(node, ast.Call) or not node.args or not isinstance(node.args[0], ast.Constant):
        return None
    function = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    if function != "register" or not isinstance(node.args[0].value, str):
        return None
    config = next((k.value.id for k in node.keywords if k.arg == "config" and isinstance(k.value, ast.Name)), None)
    return node.args[0].value, config


def _marks(node: ast.AST) -> frozenset[str]:
    """Names that a class body sets to True."""
    names = set()
    for statement in getattr(node, "body", []) if isinstance(node, ast.ClassDef) else []:
        targets = [statement.target] if isinstance(statement, ast.AnnAssign) else getattr(statement, "targets", [])
        value = getattr(statement, "value", None)
        if isinstance(value, ast.Constant) and value.value is True:
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return frozenset(names)


@functools.cache
def _load_config_class(module: str, class_name: str) -> type:
    """Execute only the light imports, constants and ``*Config`` classes of `module` and return the class asked for."""
    spec = importlib.util.find_spec(module)
    assert spec is not None and spec.origin is not None
    kept: list[ast.stmt] = []
    for node in _parse(Path(spec.origin)).body:
        light_from = isinstance(node, ast.ImportFrom) and (node.module or "").startswith(_LIGHT)
        light_import = isinstance(node, ast.Import) and all(a.name.startswith(_LIGHT) for a in node.names)
        is_config = isinstance(node, ast.ClassDef) and node.name.endswith("Config")
        if light_from or light_import or is_config:
            kept.append(node)
    light = types.ModuleType(module + ".__config__")
    sys.modules[light.__name__] = light  # pydantic resolves annotations through sys.modules
    code = compile(ast.Module(body=kept, type_ignores=[]), spec.origin, "exec")
    try:
        exec(code, light.__dict__)
    except NameError as error:
        raise ConfigError(f"{module}: {class_name} may use only {', '.join(_LIGHT)} ({error})") from error
    return light.__dict__[class_name]
