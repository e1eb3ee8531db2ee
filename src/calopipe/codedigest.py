"""Digest of the code a stage uses, so that editing a module reruns the stages that depend on it and no others.

The modules are read, never imported: each source file is parsed, its import statements (at any depth: functions import
too) are followed into other calopipe modules, and the texts of all files reached, without comments and empty lines, are hashed together. This runs while
Snakemake builds its DAG, so only the standard library is used and parsed files are cached until they change on disk.

What counts as a use:

- ``from calopipe.pkg import name`` follows `name`: to the submodule of that name, or through the re-export in the
  package's ``__init__`` to the module that defines it. Modules that ``__init__`` merely re-exports beside it do not count.
- An ``__init__`` counts as a whole, with all it imports, when it is imported itself (``import calopipe.pkg``, star
  imports), defines the name taken from it, or holds code of its own (anything but imports, ``__all__`` and dunders).
- Imports under ``if TYPE_CHECKING:`` never run and are ignored.
- :data:`DECLARATIONS`, and modules called ``settings``, do not count: what they say reaches a stage as its settings, which
  rerun it by themselves. Otherwise a new setting of one stage would rerun all others.
- Files of a user's extensions (:mod:`calopipe.extensions`) count like the library's own.

Modules that are found at run time (registries, plug-ins) are invisible to a static reading: name them explicitly, e.g.
``code_digest(["calopipe.training.run", MODELS.module_of("inn")])``.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from calopipe import extensions
from calopipe.errors import ConfigError

_ROOT = Path(__file__).resolve().parent

#: modules and packages that only declare settings, messages and names of parts
DECLARATIONS = ("config", "errors", "registry", "extensions")

#: a string of any kind, or a comment
_STRING_OR_COMMENT = re.compile(
    rb'''("""(?:\\.|[^\\])*?"""|\'\'\'(?:\\.|[^\\])*?\'\'\'|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|#[^\n]*)''',
    re.DOTALL,
)
#: an import statement that begins a line, in brackets or in one line; the word; what only checkers of types run
_IMPORT = re.compile(
    rb"^[ \t]*(?:from[ \t]+[\w.]+[ \t]+import[ \t]*(?:\([^()]*\)|[^()\n;]+)|import[ \t][^()\n;]+)$", re.MULTILINE
)
_IMPORT_WORD = re.compile(rb"\bimport\b")
_TYPE_CHECKING = re.compile(rb"^([ \t]*)if (?:typing\.)?TYPE_CHECKING:[ \t]*\n(?:(?:\1[ \t]+[^\n]*)?\n)*", re.MULTILINE)
_EMPTY = re.compile(rb"[ \t]*\n(?:[ \t]*\n)*")

#: dotted name of a module -> arguments of :func:`_parse`
Files = dict[str, tuple[tuple[str, ...], str, str, int, int]]


@dataclass(frozen=True)
class _Import:
    """``import module`` (name None) or ``from module import name`` (name ``*`` for a star import)."""

    module: str
    name: str | None
    bound: str | None = None  # the name it gets in the importing module


@dataclass(frozen=True)
class _Source:
    """One parsed file: SHA-256 of its code, its calopipe imports, and whether it holds more than imports and dunders.

    `packages`: names of other packages that it imports, without those of Python itself.
    """

    sha256: str
    imports: tuple[_Import, ...]
    has_code: bool
    packages: tuple[str, ...] = ()


def code_digest(
    modules: Iterable[str], data: Sequence[str | Path] = (), root: Path | None = None, script: Path | None = None
) -> str:
    """Digest of the sources of `modules` and of every calopipe module they import, directly or not.

    Args:
        modules: dotted names, e.g. ``["calopipe.training.run"]``; a package means its ``__init__`` and what that imports.
        data: files that belong to the code (templates, tables), relative to the package folder; their contents count.
        script: the file outside of the package that uses the modules; its code counts, its name and place do not.
        root: package folder to read; the installed calopipe by default. Its name is the package's name.

    Returns:
        64 hexadecimal digits (SHA-256), independent of the order of `modules` and of where the package is installed.

    Raises:
        ConfigError: one of `modules` or `data` does not exist.
    """
    digest = hashlib.sha256()
    for name, sha256 in code_parts(modules, data, root, script).items():
        digest.update(f"{name}\x1f{sha256}\n".encode())
    return digest.hexdigest()


def code_parts(
    modules: Iterable[str], data: Sequence[str | Path] = (), root: Path | None = None, script: Path | None = None
) -> dict[str, str]:
    """SHA-256 of each part that enters :func:`code_digest`: modules by their names, then data files, then ``script``."""
    root = _ROOT if root is None else Path(root).resolve()
    files = _all_files(root)
    found = {name: _parse(*files[name]).sha256 for name in _reached(modules, files, root)}
    for item in sorted(str(d) for d in data):
        path = root / item
        if not path.is_file():
            raise ConfigError(f"{path}: file named for a code digest does not exist")
        found[item] = hashlib.sha256(path.read_bytes()).hexdigest()
    if script is not None:
        if not script.is_file():
            raise ConfigError(f"{script}: file named for a code digest does not exist")
        found["script"] = hashlib.sha256(_code(script.read_bytes())).hexdigest()
    return found


def code_packages(modules: Iterable[str], root: Path | None = None) -> list[str]:
    """Sorted names of the packages, other than calopipe and Python's own, that the modules of :func:`code_digest` import."""
    root = _ROOT if root is None else Path(root).resolve()
    files = _all_files(root)
    return sorted({package for name in _reached(modules, files, root) for package in _parse(*files[name]).packages})


def code_modules(modules: Iterable[str], root: Path | None = None) -> list[str]:
    """Sorted dotted names of the modules that enter :func:`code_digest`. Raises ConfigError for an unknown module."""
    root = _ROOT if root is None else Path(root).resolve()
    return _reached(modules, _all_files(root), root)


def _all_files(root: Path) -> Files:
    """Every module of the package and of the extensions in use (one scan of the folders per digest)."""
    packages = (root.name, extensions.PACKAGE)
    found = _files(root, root.name, packages)
    for name, folder in extensions.folders().items():
        found |= _files(folder, name, packages)
    return found


def _files(root: Path, name: str, packages: tuple[str, ...]) -> Files:
    """Every module below a folder, whose package is called `name`: dotted name -> what identifies its text."""
    found: Files = {}
    folders = [(str(root), name)]
    while folders:
        folder, package = folders.pop()
        with os.scandir(folder) as entries:
            for entry in entries:
                stem, suffix = os.path.splitext(entry.name)
                if suffix == ".py" and entry.is_file():
                    name = package if stem == "__init__" else f"{package}.{stem}"
                    stat = entry.stat()
                    found[name] = (packages, name, entry.path, stat.st_mtime_ns, stat.st_size)
                elif not suffix and entry.name != "__pycache__" and entry.is_dir():
                    folders.append((entry.path, f"{package}.{stem}"))
    return found


def _reached(modules: Iterable[str], files: Files, root: Path) -> list[str]:
    todo = list(dict.fromkeys(modules))
    for name in todo:
        if name not in files:
            raise ConfigError(f"module {name}, named for a code digest, does not exist below {root}")
    seen: set[str] = set()
    while todo:
        name = todo.pop()
        if name in seen or name not in files or _is_declaration(name):
            continue
        seen.add(name)
        for item in _parse(*files[name]).imports:
            todo.extend(_targets(files, item))
        todo.extend(p for p in _parents(name) if p in files and _parse(*files[p]).has_code)
    return sorted(seen)


def _is_declaration(name: str) -> bool:
    package, *parts = name.split(".")
    return bool(parts) and (parts[-1] == "settings" or (package != extensions.PACKAGE and parts[0] in DECLARATIONS))


def _targets(files: Files, item: _Import, depth: int = 0) -> list[str]:
    """Modules that one import statement makes the importing module depend on."""
    if item.module not in files:  # a folder without ``__init__``, or no module of ours
        return [name for name in [f"{item.module}.{item.name}"] if name in files]
    if item.name is None or item.name == "*" or not _is_package(files[item.module][2]):
        return [item.module]
    found = [f"{item.module}.{item.name}"] if f"{item.module}.{item.name}" in files else []
    imports = _parse(*files[item.module]).imports
    exports = [i for i in imports if i.bound == item.name and i.name is not None]
    if depth < 20:  # a cycle of re-exports would not import either
        found += [m for i in exports if i != item for m in _targets(files, i, depth + 1)]
    return found or [item.module]


def _parents(name: str) -> Iterator[str]:
    """``a.b.c`` gives ``a.b`` and ``a``: packages whose ``__init__`` runs on import."""
    parts = name.split(".")
    return (".".join(parts[:i]) for i in range(len(parts) - 1, 0, -1))


def _is_package(path: str) -> bool:
    return path.endswith("__init__.py")


@functools.cache
def _parse(packages: tuple[str, ...], name: str, path: str, mtime_ns: int, size: int) -> _Source:
    """Parse one file; the modification time and size in the key make an edited file be read again."""
    text = Path(path).read_bytes()
    is_package = _is_package(path)
    tree = None if is_package or b"import_module(" in text else _only_imports(text)
    if tree is None:
        tree = ast.parse(text, filename=path)
    imports: list[_Import] = []
    others: set[str] = set()
    for node in statements(tree.body):
        imports += _imports(node, packages, name, is_package)
        others |= _packages(node)
    if b"import_module(" in text:
        imports += _dynamic_imports(tree, packages)
    has_code = is_package and not all(_is_plain(node) for node in tree.body)
    others -= {*packages, *sys.stdlib_module_names}
    return _Source(
        hashlib.sha256(_code(text)).hexdigest(), tuple(dict.fromkeys(imports)), has_code, tuple(sorted(others))
    )


def _only_imports(text: bytes) -> ast.Module | None:
    """The import statements of a file, found by their first words: six times as fast as to parse all of it.

    None where that is not certain to find all of them, and no others.
    """
    bare = _STRING_OR_COMMENT.sub(lambda found: b"" if found[0].startswith(b"#") else b'""', text)
    bare = _TYPE_CHECKING.sub(b"", bare)
    found = [match[0].strip() for match in _IMPORT.finditer(bare)]
    if len(found) != len(_IMPORT_WORD.findall(bare)):
        return None
    try:
        return ast.parse(b"\n".join(found))
    except SyntaxError:
        return None


def _code(text: bytes) -> bytes:
    """The text without comments, trailing blanks and empty lines; strings keep all of theirs."""
    bare = _STRING_OR_COMMENT.sub(lambda found: b"" if found[0].startswith(b"#") else found[0], text)
    pieces = _STRING_OR_COMMENT.split(bare)  # with the strings between the pieces, as the pattern is one group
    return b"".join(piece if i % 2 else _EMPTY.sub(b"\n", piece) for i, piece in enumerate(pieces)).strip(b"\n")


def statements(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """All statements at any depth, without descending into expressions (much faster than ``ast.walk``)."""
    for node in body:
        yield node
        if isinstance(node, ast.If) and "TYPE_CHECKING" in (
            getattr(node.test, "id", ""),
            getattr(node.test, "attr", ""),
        ):
            yield from statements(node.orelse)
            continue
        for block in ("body", "orelse", "finalbody"):
            yield from statements(getattr(node, block, ()))
        for part in [*getattr(node, "handlers", ()), *getattr(node, "cases", ())]:
            yield from statements(part.body)


def _imports(node: ast.stmt, packages: tuple[str, ...], name: str, is_package: bool) -> Iterator[_Import]:
    """The imports of calopipe modules that one statement makes, relative ones resolved."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            if alias.name.split(".")[0] in packages:
                yield _Import(alias.name, None, alias.asname)
    elif isinstance(node, ast.ImportFrom):
        module = node.module or ""
        if node.level:
            parts = name.split(".")
            anchor = parts[: len(parts) - node.level + is_package]
            module = ".".join([*anchor, *filter(None, [module])])
        if module.split(".")[0] in packages:
            for alias in node.names:
                yield _Import(module, alias.name, alias.asname or alias.name)


def _packages(node: ast.stmt) -> set[str]:
    """First parts of the absolute imports that one statement makes."""
    if isinstance(node, ast.Import):
        return {alias.name.split(".")[0] for alias in node.names}
    if isinstance(node, ast.ImportFrom) and not node.level and node.module:
        return {node.module.split(".")[0]}
    return set()


def _dynamic_imports(tree: ast.Module, packages: tuple[str, ...]) -> list[_Import]:
    """``import_module("calopipe.x")`` with a literal name."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            value = node.args[0].value
            if called == "import_module" and isinstance(value, str) and value.split(".")[0] in packages:
                found.append(_Import(value, None))
    return found


def _is_plain(node: ast.stmt) -> bool:
    """Whether a statement of an ``__init__`` only documents, imports or sets a dunder such as ``__all__``."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        return True
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant)
    targets = node.targets if isinstance(node, ast.Assign) else []
    return bool(targets) and all(isinstance(t, ast.Name) and t.id.startswith("__") for t in targets)
