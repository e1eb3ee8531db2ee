"""The chain from a result back to raw files, put together from the records of all that it was made from.

The record of an output (:mod:`calopipe.workflow.made`) names the files it was made from; these have records of their own; what
the rule ``fetch`` has found or downloaded, and files from outside of the results, are the ends. A file without a record beside it (a copy)
is looked for by its contents among the records of a results folder.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from calopipe.errors import DataError
from calopipe.io.checksum import content_hash
from calopipe.io.stored import read_json
from calopipe.records.paths import PLOT_INDEX
from calopipe.workflow.made import MADE, load_record, read_record, record_of
from calopipe.workflow.stale import input_paths


@dataclass(frozen=True)
class Node:
    """A file of the chain.

    Attributes:
        path: where it is, or was.
        sha256: of what is meant; empty where nothing says it.
        record: what made it; None: raw files, and files that nothing is known of.
        inputs: paths of what it was made from, with the checksums these had.
        note: for raw files, where they are from; for plots, what they show.
    """

    path: str
    sha256: str
    record: Mapping[str, Any] | None = None
    inputs: Mapping[str, str] = field(default_factory=dict)
    note: str = ""

    @property
    def stage(self) -> str:
        """The rule that made it; empty for raw files."""
        return "" if self.record is None else str(self.record["stage"])

    @property
    def job(self) -> str:
        """What tells the job: rule and wildcards."""
        if self.record is None:
            return ""
        return " ".join([self.stage, *(f"{key}={value}" for key, value in sorted(self.record["wildcards"].items()))])


@dataclass(frozen=True)
class Chain:
    """A result and everything it was made from.

    Attributes:
        asked: the file that was asked for. found: how its record was found, in words; empty: beside it.
        nodes: by path, each before what it was made from; the first is the result.
    """

    asked: Path
    nodes: Mapping[str, Node]
    found: str = ""

    @property
    def result(self) -> Node:
        """The result itself."""
        return next(iter(self.nodes.values()))

    @cached_property
    def jobs(self) -> dict[str, list[Node]]:
        """Files by the job that made them, in the order of the chain, without raw files."""
        found: dict[str, list[Node]] = {}
        for node in self.nodes.values():
            if node.record is not None:
                found.setdefault(node.job, []).append(node)
        return found

    @property
    def raw(self) -> list[Node]:
        """The ends of the chain."""
        return [node for node in self.nodes.values() if node.record is None]


def chain_of(path: Path, results: Path | None = None) -> Chain:
    """The chain of a file.

    Args:
        path: a result of any kind: a file with a record, one of a folder that is an output (a plot, a kept epoch), or a copy.
        results: folder whose records are searched for the contents of a copy; by default ``results`` in the working folder.

    Raises:
        DataError: there is no such file, or nothing says what made it.
    """
    if not path.exists():
        raise DataError(f"{path}: no such file")
    start, found = _start(path), ""
    if start is None:
        start, found = _by_contents(path, Path("results") if results is None else results)
    return Chain(path, {node.path: node for node in _walk(start)}, found)


def _start(path: Path) -> Node | None:
    """The node of a file that a record, or the index of its folder, speaks of."""
    if read_record(path) is not None:
        return node_of(str(path))
    if (plot := plot_node(path)) is not None:
        return plot
    for folder in path.parents:
        if folder.name and read_record(folder) is not None:
            return node_of(str(folder))
    return None


def node_of(path: str, sha256: str = "") -> Node:
    """The node of an output, or of a file that nothing is known of; `sha256`: what is meant, by what was made from it."""
    record = read_record(path)
    if record is None:
        return Node(path, sha256)
    inputs = input_paths(record, Path(path)) | _raw_inputs(record, path)
    return Node(path, sha256 or record["output"]["sha256"], record, inputs)


def _raw_inputs(record: Mapping[str, Any], path: str) -> dict[str, str]:
    """Files from outside of the results: those of the record, where they are now if that is known better."""
    found = {str(raw["path"]): str(raw["sha256"]) for raw in record["raw"]}
    listed = {node.path: node.sha256 for node in fetched(path)} if record["stage"] == "fetch" else {}
    return listed | {where: sha256 for where, sha256 in found.items() if sha256 not in listed.values()}


def fetched(manifest: str) -> list[Node]:
    """The raw files in a manifest of the rule ``fetch``; none where it cannot be read."""
    try:
        content = read_json(Path(manifest), "cannot be read")
        files = [(f["path"], f["sha256"], f["url"] or f"{content['kind']} file") for f in content["files"]]
    except (DataError, KeyError, TypeError):
        return []
    record = read_record(manifest)
    folder = (None if record is None else study_folder(manifest, record)) or Path()
    return [Node(os.path.normpath(folder / path), str(sha256), note=str(note)) for path, sha256, note in files]


def plot_index(folder: Path) -> Mapping[str, Any]:
    """What the index of a folder of plots says, by the name of the plot; empty where there is none."""
    try:
        plots = json.loads((folder / PLOT_INDEX).read_text(encoding="utf-8"))["plots"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}
    return plots if isinstance(plots, dict) else {}


def plot_node(path: Path) -> Node | None:
    """The node of a plot of a report; None for other files."""
    entry, record = plot_index(path.parent).get(path.stem), read_record(path.parent)
    if entry is None or record is None or path.suffix[1:] not in entry["files"]:
        return None
    root = path.parents[3]  # results/report/<study>/plots
    inputs = {os.path.normpath(root / source["path"]): source["sha256"] for source in entry["inputs"]}
    return Node(str(path), entry["files"][path.suffix[1:]], record, inputs, entry["caption"])


def records_below(folder: Path) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """Outputs with a record in a folder, at any depth, in order, each with it."""
    for path in sorted(folder.rglob(f"{MADE}/*.json")):
        record = load_record(path)
        if record is not None:
            yield path.parent.parent / path.name.removesuffix(".json"), record


def _by_contents(path: Path, results: Path) -> tuple[Node, str]:
    """The result of which `path` is a copy, and how it was found."""
    sha256, _ = content_hash(path)
    where = f"by its contents (sha256 {sha256[:16]})"
    for output, record in records_below(results):
        if record["output"]["sha256"] == sha256:
            return node_of(str(output)), f"{where}: a copy of {output}"
        plots = plot_index(output) if output.is_dir() else {}
        for name, entry in plots.items():
            for kind, digest in entry["files"].items():
                if digest == sha256 and (node := plot_node(output / f"{name}.{kind}")) is not None:
                    return node, f"{where}: a copy of {node.path}"
    raise DataError(
        f"{path}: nothing says what made it: there is no {record_of(path)}, and no record below {results} has its contents "
        f"(sha256 {sha256[:16]})"
    )


def _walk(start: Node) -> list[Node]:
    """All nodes from a result back to raw files, each once and before what it was made from."""
    done: dict[str, Node] = {}
    ends: dict[str, Node] = {}

    def visit(node: Node) -> None:
        if node.path in done:
            return
        if node.stage == "fetch":
            ends.update({end.path: end for end in fetched(node.path)})
        for path, sha256 in node.inputs.items():
            if path not in done:
                known = node_of(path, sha256)
                visit(ends.get(path, known) if known.record is None else known)
        done[node.path] = node

    visit(start)
    return list(reversed(done.values()))


def study_folder(path: str | Path, record: Mapping[str, Any]) -> Path | None:
    """The folder in which the workflow ran, as it is called now; None where the results have another name now."""
    inside = Path(os.path.abspath(path)).as_posix()
    for output in record["job"]["outputs"]:
        if inside.endswith(f"/{output}"):
            return Path(os.path.relpath(inside.removesuffix(f"/{output}")))
    return None
