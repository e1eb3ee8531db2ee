"""Registries of pluggable parts (models, preprocessing steps, metrics, observables), and how a part is found without importing it.

A part lives in one file of its package, or of a folder of extensions (:mod:`calopipe.extensions`), and carries
``@REGISTRY.register("name", config=FooConfig)``. Files are read, not imported: building Snakemake's DAG must validate settings
without importing torch. The settings class is imported from the module that the part's file imports it from, which must
be a light one (``settings.py`` of the family); a class that is defined beside the part is imported with it, which is right
and slower.
"""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from calopipe import extensions
from calopipe.codedigest import statements
from calopipe.errors import ConfigError, nearest, shown

if TYPE_CHECKING:
    from pydantic import BaseModel

T = TypeVar("T")
#: what may carry a decorator
_DECORATED = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


class Registry(Generic[T]):
    """Named objects of one kind, each defined in a file of the package `package` or of an extension.

    Args:
        kind: what the objects are, for messages ("model").
        package: dotted name of the package whose modules hold the built-in objects.
        symbol: what the registry is called where objects are registered ("MODELS").
        contracts: names of the base classes of which an object must have one; none: objects are functions.
    """

    def __init__(self, kind: str, package: str, symbol: str, contracts: tuple[str, ...] = ()) -> None:
        self.kind, self.package, self.symbol, self.contracts = kind, package, symbol, contracts
        self._items: dict[str, T] = {}
        self._configs: dict[str, type[BaseModel] | None] = {}

    def register(self, name: str, config: type[BaseModel] | None = None) -> Callable[[T], T]:
        """Return a decorator that enters its object as `name`; a name can be taken once only."""

        def enter(item: T) -> T:
            known = self._items.get(name)
            if known is not None and getattr(known, "__module__", None) != getattr(item, "__module__", None):
                raise ConfigError(f"{self.kind} '{name}' is registered twice: {known} and {item}")
            self._items[name], self._configs[name] = item, config
            return item

        return enter

    def names(self) -> list[str]:
        """All names that files register, found without importing them."""
        return sorted(self._parts())

    def module_of(self, name: str) -> str:
        """Dotted module that registers `name`. Raises ConfigError, with the nearest name, when there is none."""
        return self._part(name).module

    def marked(self, name: str, mark: str) -> bool:
        """Whether the class of `name` says ``<mark> = True`` in its own body, found without importing it.

        Marks tell settings what a part can do before anything is imported; one that is inherited must be repeated.
        """
        return mark in self._part(name).marks

    def is_a(self, name: str, contract: str) -> bool:
        """Whether the class of `name` derives from the class called `contract`, found without importing it."""
        part, files = self._part(name), _all_files(self.package, tuple(extensions.folders().items()))
        todo, seen = [_Name(part.module, part.item)], set()
        while todo:
            at = todo.pop()
            if at.name == contract and at.module == f"{self.package}.base":
                return True
            if at not in seen and at.module in files:
                seen.add(at)
                todo += _sources(at.module, files[at.module]).get(at.name, ())
        return False

    def get(self, name: str) -> T:
        """Import the module that registers `name` and return the object."""
        if name not in self._items:
            _import(self.module_of(name))
        return self._items[name]

    def config_class(self, name: str) -> type[BaseModel] | None:
        """The settings class of `name`; None when it takes no settings."""
        part = self._part(name)
        if name not in self._configs:
            if part.config is None:
                self._configs[name] = None
            elif part.config.module == part.module:  # importing the file registers both
                self.get(name)
            else:
                found = getattr(_import(part.config.module), part.config.name, None)
                if found is None:
                    raise ConfigError(f"{part.module}: {part.config.module} has no {part.config.name}")
                self._configs[name] = found
        return self._configs[name]

    def check_extensions(self) -> None:
        """Look through the folders of extensions in use; parts of earlier ones are forgotten.

        Raises:
            ConfigError: in one line, where a file cannot be used: its syntax, a name that is taken, a part that is not what
                the registry holds.
        """
        taken = dict(_scan(self.package, _folder(self.package), self.symbol))
        loaded = {*taken, *(name for name, part in self._parts().items() if part.module in sys.modules)}
        for items in (self._items, self._configs):
            for name in [n for n in items if n not in loaded]:
                del items[name]
        for package, folder in extensions.folders().items():
            for name, part in _scan(package, folder, self.symbol).items():
                if name in taken:
                    raise ConfigError(
                        f"{self.kind} '{name}' is registered twice: by {taken[name].module} and {part.module}"
                    )
                taken[name] = part
                self._check_contract(name, part)

    def _check_contract(self, name: str, part: _Part) -> None:
        if self.contracts and not (part.is_class and any(self.is_a(name, contract) for contract in self.contracts)):
            expected = f"a class derived from {' or '.join(self.contracts)}"
        elif not self.contracts and part.is_class:
            expected = "a function"
        else:
            return
        raise ConfigError(f"{part.module}: {self.kind} '{name}' must be {expected}, found {part.item}")

    def _part(self, name: str) -> _Part:
        found = self._parts()
        if not isinstance(name, str) or name not in found:
            raise ConfigError(
                f"unknown {self.kind} {shown(name)}{nearest(name, found)}; known: {', '.join(sorted(found))}"
            )
        return found[name]

    def _parts(self) -> dict[str, _Part]:
        return _all_parts(self.package, self.symbol, tuple(extensions.folders().items()))


class _Name(NamedTuple):
    """A name in a module."""

    module: str
    name: str


class _Part(NamedTuple):
    """What a source file says of a registered part: its module, name in it and whether that is a class, settings class and
    the module that it is taken from, attributes that are True.
    """

    module: str
    item: str
    is_class: bool
    config: _Name | None
    marks: frozenset[str]


def _import(module: str) -> ModuleType:
    """Import a module. What a file of an extension raises becomes a ConfigError of one line."""
    try:
        return importlib.import_module(module)
    except Exception as error:
        if not module.startswith(extensions.PACKAGE + "."):
            raise
        if isinstance(error, ConfigError):
            raise ConfigError(f"{module}: {error}") from error
        reason = " ".join(str(error).split())[:300]
        raise ConfigError(f"{module} cannot be imported: {type(error).__name__}: {reason}") from error


def _folder(package: str) -> Path:
    """Where the files of a package are."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError(f"package {package} not found")
    return Path(next(iter(spec.submodule_search_locations)))


def _files(package: str, folder: Path) -> Iterator[tuple[str, Path]]:
    """Dotted names and paths of the modules of a package."""
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder).with_suffix("").parts
        yield ".".join([package, *(parts[:-1] if parts[-1] == "__init__" else parts)]), path


Folders = tuple[tuple[str, Path], ...]


@functools.cache
def _all_parts(package: str, symbol: str, folders: Folders) -> dict[str, _Part]:
    """What a package and folders of extensions register; built-in parts come first."""
    found: dict[str, _Part] = {}
    for name, folder in (*folders, (package, _folder(package))):
        found |= _scan(name, folder, symbol)
    return found


@functools.cache
def _all_files(package: str, folders: Folders) -> dict[str, Path]:
    """Paths of the modules of a package and of folders of extensions, by their dotted names."""
    return {module: path for name, at in ((package, _folder(package)), *folders) for module, path in _files(name, at)}


@functools.cache
def _sources(module: str, path: Path) -> dict[str, tuple[_Name, ...]]:
    """What the names of a module stand for: of an imported name where it is from, of a class its bases."""
    tree = _parse(path)
    imported = _imported(tree, module, path.name == "__init__.py")
    found = {own: (source,) for own, source in imported.items()}
    classes = [node for node in statements(tree.body) if isinstance(node, ast.ClassDef)]
    return found | {node.name: tuple(_base(base, module, imported) for base in node.bases) for node in classes}


def _base(node: ast.expr, module: str, imported: dict[str, _Name]) -> _Name:
    """What a base class is called where it is defined."""
    if isinstance(node, ast.Attribute):
        package, name = imported.get(getattr(node.value, "id", ""), _Name("", ""))
        return _Name(f"{package}.{name}", node.attr)
    own = getattr(node, "id", "")
    return imported.get(own, _Name(module, own))


@functools.cache
def _scan(package: str, folder: Path, symbol: str) -> dict[str, _Part]:
    """Each name that `package` registers with the registry called `symbol`, by reading the source files."""
    found: dict[str, _Part] = {}
    own = package.partition(".")[0] == __name__.partition(".")[0]
    for module, path in _files(package, folder):
        if own and b".register(" not in path.read_bytes():
            continue  # most files of the library register nothing; each file of an extension is read, and its syntax checked
        for name, part in _registered(_parse(path), module, path.name == "__init__.py", symbol):
            if name in found:
                raise ConfigError(f"'{name}' is registered twice: by {found[name].module} and {module}")
            found[name] = part
    return found


def _registered(tree: ast.Module, module: str, is_package: bool, symbol: str) -> Iterator[tuple[str, _Part]]:
    """Names and parts that one file registers with the registry called `symbol`."""
    decorated = [
        (node, d) for node in statements(tree.body) if isinstance(node, _DECORATED) for d in node.decorator_list
    ]
    entries = [(node, entry) for node, d in decorated if (entry := _registration(d)) is not None]
    imported = _imported(tree, module, is_package) if entries else {}
    for node, (name, registry, config) in entries:
        if imported.get(registry, _Name("", registry)).name == symbol:
            source = None if config is None else imported.get(config, _Name(module, config))
            yield name, _Part(module, node.name, isinstance(node, ast.ClassDef), source, _marks(node))


def _imported(tree: ast.Module, module: str, is_package: bool) -> dict[str, _Name]:
    """Names that a module takes from others, by its own name for each."""
    found: dict[str, _Name] = {}
    for node in tree.body:
        if isinstance(node, ast.ImportFrom):
            source = node.module or ""
            if node.level:
                parts = module.split(".")
                source = ".".join([*parts[: len(parts) - node.level + is_package], *filter(None, [source])])
            found |= {alias.asname or alias.name: _Name(source, alias.name) for alias in node.names}
    return found


@functools.cache
def _parse(path: Path) -> ast.Module:
    try:
        return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    except (SyntaxError, ValueError) as error:
        line = f" in line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        reason = error.msg if isinstance(error, SyntaxError) else str(error)
        raise ConfigError(f"{path}: no Python{line}: {reason}") from error


def _registration(node: ast.expr) -> tuple[str, str, str | None] | None:
    """(name, registry, settings class) when `node` is ``REGISTRY.register("name", config=Cls)``."""
    if not isinstance(node, ast.Call) or not node.args or not isinstance(node.args[0], ast.Constant):
        return None
    function, name = node.func, node.args[0].value
    if not isinstance(function, ast.Attribute) or function.attr != "register" or not isinstance(name, str):
        return None
    given = next((k.value for k in node.keywords if k.arg == "config"), ast.Constant(None))
    config = None if isinstance(given, ast.Constant) else getattr(given, "id", "")
    return name, getattr(function.value, "id", getattr(function.value, "attr", "")), config


def _marks(node: ast.AST) -> frozenset[str]:
    """Names that a class body sets to True."""
    names = set()
    for statement in getattr(node, "body", []) if isinstance(node, ast.ClassDef) else []:
        targets = [statement.target] if isinstance(statement, ast.AnnAssign) else getattr(statement, "targets", [])
        value = getattr(statement, "value", None)
        if isinstance(value, ast.Constant) and value.value is True:
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return frozenset(names)
