"""The one way in which the library reads YAML: text files of bounded size, plain values, every key once.

YAML's own rules are kinder than a configuration can afford: of a key given twice the last one wins without a word, an alias
may refer to its own anchor, and a few lines of aliases expand to billions of values. Here each of these is an error that
names file and line.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from calopipe.errors import CalopipeError, ConfigError, printable, shown

#: far beyond any configuration or geometry, and read in seconds
MAX_BYTES = 2**20
#: values that a file may hold once its aliases are written out
MAX_VALUES = 200_000


def read_text(path: Path, error: type[CalopipeError] = ConfigError, encoding: str | None = "utf-8") -> str | bytes:
    """Content of a regular file of at most `MAX_BYTES`, as bytes where `encoding` is None.

    Raises:
        error: there is no such file, it is a folder, a pipe or a device, too long, or not text in that encoding.
    """
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise error(f"{printable(str(path))}: expected a file, found {_kind(status.st_mode)}")
        with open(path, "rb") as file:
            content = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as problem:  # ValueError: a path with a NUL byte
        reason = problem.strerror if isinstance(problem, OSError) else "no such file"
        raise error(f"{printable(str(path))}: {reason}") from None
    if len(content) > MAX_BYTES:
        raise error(f"{path}: expected at most {MAX_BYTES >> 20} MiB, found more")
    if encoding is None:
        return content
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as problem:
        raise error(f"{path}: not a text file in UTF-8 (byte {problem.start})") from None


def load_yaml(path: Path, error: type[CalopipeError] = ConfigError) -> Any:
    """The plain values (mappings, lists, texts, numbers, None) in a YAML or JSON file.

    Raises:
        error: as :func:`read_text`; not valid YAML; a key given twice; aliases that refer to themselves or expand to more
            than `MAX_VALUES` values; nested too deeply.
    """
    text = str(read_text(path, error))
    try:
        if path.suffix == ".json":
            return json.loads(text, object_pairs_hook=_once)
        loader = _Loader(text)
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()
    except yaml.YAMLError as problem:
        raise error(f"{path}: not valid YAML: {printable(' '.join(str(problem).split()), 400)}") from None
    except RecursionError:
        raise error(f"{path}: nested too deeply") from None
    except (ValueError, OverflowError) as problem:  # json's own error, integers of 5000 digits, the 31st of February
        raise error(
            f"{path}: not valid {path.suffix[1:].upper()}: {printable(' '.join(str(problem).split()), 400)}"
        ) from None


class _Loader(yaml.SafeLoader):
    """Safe values only; the tree of nodes is checked before any value is made of it."""

    def get_single_data(self) -> Any:
        node = self.get_single_node()
        if node is None:
            return None
        _count(node, self, {}, set())
        return self.construct_document(node)


def _count(node: yaml.Node, loader: _Loader, sizes: dict[int, int], open_: set[int]) -> int:
    """Number of values that `node` expands to. Raises YAMLError on repeated keys, loops of aliases, and expansion."""
    if id(node) in sizes:
        return sizes[id(node)]
    if id(node) in open_:
        raise yaml.constructor.ConstructorError(None, None, "an alias refers to itself", node.start_mark)
    open_.add(id(node))
    size = 1
    if isinstance(node, yaml.MappingNode):
        _check_keys(node, loader)
        size += sum(
            _count(key, loader, sizes, open_) + _count(value, loader, sizes, open_) for key, value in node.value
        )
    elif isinstance(node, yaml.SequenceNode):
        size += sum(_count(item, loader, sizes, open_) for item in node.value)
    if size > MAX_VALUES:
        problem = f"expected at most {MAX_VALUES} values with all aliases written out, found more"
        raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
    open_.remove(id(node))
    sizes[id(node)] = size
    return size


def _check_keys(node: yaml.MappingNode, loader: _Loader) -> None:
    lines: dict[Hashable, int] = {}
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            continue  # refused when the mapping is made: a list or a mapping is no key
        name = key.value if key.tag.endswith(":merge") else loader.construct_object(key)
        line = key.start_mark.line + 1
        if name in lines:
            problem = f"key {shown(name)} is given twice, in lines {lines[name]} and {line}"
            raise yaml.constructor.ConstructorError(None, None, problem, None)
        lines[name] = line


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"key {shown(key)} is given twice")
        found[key] = value
    return found


def _kind(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "a folder"
    return "a pipe" if stat.S_ISFIFO(mode) else "a device or socket"
