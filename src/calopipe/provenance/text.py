"""The chain of a result as text for people, and as plain data."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import yaml

from calopipe.provenance.chain import Chain, Node

#: characters of a checksum that are shown
SHORT = 16
_WIDTH = 118


def as_text(chain: Chain) -> str:
    """Files as a tree, from the result to raw files, then every job: rule, settings, seed, code, packages, machine, times."""
    lines = [f"{chain.asked}", *([f"found {chain.found}"] if chain.found else []), ""]
    lines += _tree(chain)
    for name, nodes in chain.jobs.items():
        lines += ["", *_job(name, nodes)]
    if chain.raw:
        lines += ["", "raw files"]
        lines += [f"  {n.path}  sha256 {n.sha256 or 'not known'}{f'  ({n.note})' if n.note else ''}" for n in chain.raw]
    return "\n".join(lines)


def _tree(chain: Chain) -> Iterator[str]:
    """Files below what was made from them; what stands there already is not followed again."""
    shown: set[str] = set()

    def branch(node: Node, head: str, tail: str) -> Iterator[str]:
        again = node.path in shown and bool(node.inputs)
        shown.add(node.path)
        made = node.stage or node.note or "nothing says what made it"
        yield f"{head}{node.path}  [{made}]  {node.sha256[:SHORT]}{'  (see above)' if again else ''}"
        inputs = [] if again else [path for path in node.inputs if path in chain.nodes]
        for i, path in enumerate(inputs):
            last = i == len(inputs) - 1
            yield from branch(chain.nodes[path], tail + ("└─ " if last else "├─ "), tail + ("   " if last else "│  "))

    yield from branch(chain.result, "", "")


def _job(name: str, nodes: list[Node]) -> Iterator[str]:
    record = nodes[0].record or {}
    job = record["job"]
    yield name
    for node in nodes:
        yield f"  made      {node.path}  sha256 {node.sha256}"
    yield f"  when      {_when(job)}"
    yield f"  where     {_where(job)}"
    yield f"  code      {_code(record)}"
    yield from _wrapped("packages", ", ".join(f"{k} {v}" for k, v in record["packages"].items()) or "none")
    if "seed" in record["wildcards"] or "seed" in record["settings"]:
        yield f"  seed      {record['wildcards'].get('seed', record['settings'].get('seed'))}"
    yield f"  study     {job.get('study', '?')}, configuration {job.get('configuration', '?')}"
    yield from _wrapped("settings", _settings(record["settings"]))


def _settings(settings: Mapping[str, Any]) -> str:
    """Settings on few lines; those of a report are the whole configuration, which the line above names."""
    shown = {key: value for key, value in settings.items() if key not in ("config", "runs")}
    text = yaml.safe_dump(shown, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10**9).strip()
    return text[1:-1] or "none"


def _wrapped(title: str, text: str) -> list[str]:
    indent = " " * 12
    wrapper = textwrap.TextWrapper(_WIDTH, f"  {title:<10}", indent, break_long_words=False, break_on_hyphens=False)
    return wrapper.wrap(text)


def _when(job: Mapping[str, Any]) -> str:
    try:
        start, end = (datetime.fromisoformat(job[key]) for key in ("start", "end"))
    except (KeyError, TypeError, ValueError):
        return "not known"
    return f"{start:%Y-%m-%d %H:%M:%S} to {end:%H:%M:%S} UTC ({(end - start).total_seconds():.0f} s)"


def _where(job: Mapping[str, Any]) -> str:
    machine = job.get("machine", {})
    found = [machine.get(key) for key in ("cpu", "gpu", "system")]
    found = [f"device {job.get('device', '?')}", f"{job.get('threads', '?')} threads", *(str(f) for f in found if f)]
    return ", ".join(found)


def _code(record: Mapping[str, Any]) -> str:
    job, commit = record["job"], record["job"].get("commit") or {}
    text = f"calopipe {job.get('version', '?')}, digest of its modules {record['code'][:SHORT]}"
    if commit:
        text += f", commit {commit['commit']}" + (f" with changes {commit.get('changes')}" if commit["dirty"] else "")
    return f"{text}, Python {job.get('versions', {}).get('python', '?')}"


def as_data(chain: Chain) -> dict[str, Any]:
    """All that the records say, as plain data for JSON."""
    files = {
        node.path: {
            "sha256": node.sha256 or None,
            "job": node.job or None,
            "inputs": dict(node.inputs),
            "note": node.note or None,
        }
        for node in chain.nodes.values()
    }
    kept = ("stage", "wildcards", "settings", "code", "packages", "raw", "job")
    jobs = {name: {key: (nodes[0].record or {})[key] for key in kept} for name, nodes in chain.jobs.items()}
    return {"asked": str(chain.asked), "found": chain.found or None, "files": files, "jobs": jobs}
