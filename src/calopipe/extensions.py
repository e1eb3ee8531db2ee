"""Folders of a user's own Python files, importable as ``calopipe_extensions.<folder>``.

A study names folders whose models, steps, metrics and observables register like built-in ones. Their files are read while the
DAG is built, like the library's own, and imported when a part of them is used. Only the standard library is used here.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

from calopipe.errors import ConfigError, shown

PACKAGE = "calopipe_extensions"
#: folders by the dotted name of their package
_folders: dict[str, Path] = {}


def folders() -> dict[str, Path]:
    """The folders of extensions in use, by the dotted name of their package."""
    return dict(_folders)


def use_folders(paths: Iterable[str | Path]) -> None:
    """Make these folders importable, and no others; what was imported from others is forgotten.

    Raises:
        ConfigError: no folder, a name that is no Python name, or two folders of the same name.
    """
    found: dict[str, Path] = {}
    for path in paths:
        name, folder = _named(Path(path).resolve())
        if found.get(name, folder) != folder:
            raise ConfigError(f"extensions: two folders are called '{folder.name}': {found[name]} and {folder}")
        found[name] = folder
    gone = tuple(f"{name}." for name, folder in _folders.items() if found.get(name) != folder)
    for name in [n for n in sys.modules if f"{n}.".startswith(gone)] if gone else []:
        del sys.modules[name]
    _folders.clear()
    _folders.update(found)
    if found and not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())
    importlib.invalidate_caches()


def _named(folder: Path) -> tuple[str, Path]:
    if not folder.is_dir():
        raise ConfigError(f"extensions: expected a folder, found {folder}")
    if not folder.name.isidentifier():
        raise ConfigError(f"extensions: expected a folder whose name Python can import, found {shown(folder.name)}")
    return f"{PACKAGE}.{folder.name}", folder


class _Finder(MetaPathFinder):
    """Finds the packages of the folders; what is in them is found by Python itself."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname == PACKAGE:
            spec = ModuleSpec(PACKAGE, None, is_package=True)
            spec.submodule_search_locations = []
            return spec
        if fullname not in _folders:
            return None
        folder, first = str(_folders[fullname]), _folders[fullname] / "__init__.py"
        if first.is_file():
            return importlib.util.spec_from_file_location(fullname, first, submodule_search_locations=[folder])
        spec = ModuleSpec(fullname, None, is_package=True)
        spec.submodule_search_locations = [folder]
        return spec
