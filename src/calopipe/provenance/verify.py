"""Whether results are what their records say, and what their study would make now.

Every file is read: another checksum than the recorded one is named, and so are inputs that are no longer those a result was made
from. What a study would make now is asked of the same plan as by Snakemake, so that both say the same about what is stale.
"""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from calopipe.config.load import read_yaml
from calopipe.errors import DataError
from calopipe.io.checksum import content_hash
from calopipe.origin import HOME
from calopipe.provenance.chain import Node, node_of, plot_index, plot_node, records_below, study_folder
from calopipe.workflow import Plan
from calopipe.workflow.made import code_table, configuration, read_record
from calopipe.workflow.stale import made_otherwise, raw_differences


@dataclass(frozen=True)
class Finding:
    """What is wrong with a file; `stale`: it is as it was made, but the study would make another one now."""

    path: str
    what: str
    stale: bool = False

    def __str__(self) -> str:
        return f"{self.path}: {'stale: ' if self.stale else ''}{self.what}"


@dataclass(frozen=True)
class Report:
    """What was found of `checked` files; `notes`: what could not be checked, and by which configuration staleness was judged."""

    checked: int
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]


def verify(nodes: Iterable[Node], config: Path | None = None) -> Report:
    """Check files against their records, and both against what their study would make now.

    Args:
        nodes: files, e.g. of a chain; see :func:`nodes_below`.
        config: configuration to judge by; by default ``config.yaml`` of the folder where the study ran where that is this
            study's, else the configuration that the record names.
    """
    nodes = list(nodes)
    plans = _Plans(config)
    findings: list[Finding] = []
    for node in nodes:
        if node.record is None:
            findings += _raw(node, plans)
            continue
        found = [Finding(node.path, what) for what in _contents(node)]
        changed = [f"made from another {source}" for source, sha256 in node.inputs.items() if _other(source, sha256)]
        findings += found + [Finding(node.path, what) for what in changed]
        if plot_node(Path(node.path)) is None:  # a plot is as stale as its report
            known = {f.what for f in findings if f.path == node.path}
            findings += [Finding(node.path, what, True) for what in plans.stale(node) if what not in known]
    return Report(len(nodes), tuple(dict.fromkeys(findings)), tuple(dict.fromkeys(plans.notes)))


def nodes_below(folder: Path) -> Iterator[Node]:
    """All outputs with a record in a folder, the plots of its reports, and the raw files they name."""
    return nodes_of(records_below(folder))


def nodes_of(outputs: Iterable[tuple[Path, Mapping[str, Any]]]) -> Iterator[Node]:
    """The same of outputs, each with its record."""
    ends: dict[str, Node] = {}
    for output, record in outputs:
        node = node_of(str(output))
        yield node
        if output.is_dir():
            for name, entry in plot_index(output).items():
                yield from (
                    plot for kind in entry["files"] if (plot := plot_node(output / f"{name}.{kind}")) is not None
                )
        if record["raw"] or record["stage"] == "fetch":
            ends |= {path: Node(path, sha256) for path, sha256 in node.inputs.items() if read_record(path) is None}
    yield from ends.values()


def _contents(node: Node) -> Iterator[str]:
    """Compare a file with its record."""
    if not os.path.exists(node.path):
        yield "missing"
        return
    recorded = (
        str(node.record["output"]["sha256"]) if node.record and plot_node(Path(node.path)) is None else node.sha256
    )
    found, _ = content_hash(node.path)
    if found != recorded:
        yield f"changed after it was made (sha256 {found[:16]}, made with {recorded[:16]})"


def _raw(node: Node, plans: _Plans) -> Iterator[Finding]:
    """Compare a raw file with the checksum it had."""
    if not os.path.exists(node.path):
        plans.notes.append(f"{node.path}: not on this machine, not checked")
    elif not node.sha256:
        yield Finding(node.path, "nothing says what made it")
    else:
        found, _ = content_hash(node.path)
        if found != node.sha256:
            yield Finding(node.path, f"another content (sha256 {found[:16]}, used with {node.sha256[:16]})")


def _other(source: str, sha256: str) -> bool:
    """Whether an input is another one now: by its record, or by its content where it has none; a missing one is told elsewhere."""
    record = read_record(source)
    if record is not None:
        return bool(record["output"]["sha256"] != sha256)
    return os.path.exists(source) and content_hash(source)[0] != sha256


class _Plans:
    """The plans of the studies that files are of, each read once."""

    def __init__(self, config: Path | None) -> None:
        self.config = config
        self.notes: list[str] = []
        self._plans: dict[tuple[str, str], tuple[Plan, Path] | None] = {}

    def stale(self, node: Node) -> Iterator[str]:
        """Why the study would make a file anew."""
        record = copy.deepcopy(dict(node.record or {}))
        found = self._plan(node.path, record)
        if found is None:
            return
        plan, folder = found
        path = os.path.abspath(node.path)
        with chdir(folder):
            making = plan.making_of(record)
            if making is None:
                yield f"the study '{plan.study.study}' does not make it"
                return
            for reason in made_otherwise(record, making):
                other = reason == "made by other code"
                yield f"{reason}{_modules(plan, record, path) if other else ''}"
            yield from raw_differences(record, making.raw)

    def _plan(self, path: str, record: Mapping[str, Any]) -> tuple[Plan, Path] | None:
        folder, job = study_folder(path, record) or Path(), record["job"]
        key = (os.path.abspath(folder), str(job.get("configuration")))
        if key not in self._plans:
            self._plans[key] = self._load(folder, job)
        return self._plans[key]

    def _load(self, folder: Path, job: Mapping[str, Any]) -> tuple[Plan, Path] | None:
        """The plan of a study, and the folder in which it ran."""
        kept = configuration(folder / str(job.get("results")), str(job.get("configuration")))
        candidates = [self.config] if self.config is not None else [folder / "config.yaml", kept]
        for file in candidates:
            if not file.is_file():
                continue
            data = read_yaml(file)
            if self.config is None and file != kept and data.get("study") != job.get("study"):
                continue
            with chdir(folder):
                plan = Plan.load(data, HOME / "presets", files=False)
            self.notes.append(f"what is stale is judged by {file} and the code and packages that run now")
            return plan, folder
        if self.config is not None:
            raise DataError(f"{self.config}: no such file")
        self.notes.append(f"study '{job.get('study')}': no configuration is at hand; what is stale is not known")
        return None


def _modules(plan: Plan, record: Mapping[str, Any], path: str) -> str:
    """Which modules differ, where the results hold a table of those that a file was made by."""
    folder = study_folder(path, record) or Path()
    try:
        table = json.loads(code_table(folder / record["job"]["results"], record["code"]).read_text(encoding="utf-8"))
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    now = plan.code_parts(record["stage"], **record["wildcards"])
    names = sorted(name for name in table.keys() | now.keys() if table.get(name) != now.get(name))
    return f" ({', '.join(names[:4])}{f' and {len(names) - 4} more' if len(names) > 4 else ''})" if names else ""
