"""What made each output: one small JSON record beside it, written by the stage itself.

Snakemake knows what a file was made with only as long as its own notes (`.snakemake`) are there and belong to these files.
The record of ``folder/name`` is ``folder/.made/name.json`` and goes where the results go. It holds

- ``stage``, ``wildcards``, ``settings``, ``code``, ``packages``: the rule, and what its ``params:`` were
  (:class:`calopipe.workflow.Plan`);
- ``inputs``: SHA-256 of the files it was made from, by their path as seen from the output's folder;
- ``raw``: SHA-256 of the files from outside of the results, in the order of ``Plan.files``, with the state in which each was
  read, so that it is read again only when that has changed;
- ``output``: SHA-256 and bytes of the output;
- ``job``: all outputs of the job as the workflow names them, when it started and ended (UTC), the versions and the machine it ran
  with (:mod:`calopipe.origin`), its device and threads, and the digest of the study's configuration.

Everything but ``job`` is the same when the same is made again. The folder of the results has a ``.made``, too, for what many
records have in common: ``code/<digest>.json``, the digest of each module behind a ``code``, and
``configurations/<digest>.yaml``, the settings of the study with presets and defaults filled in, which Snakemake can run.

A job removes the records of its outputs before it starts and writes them when all is done: an output without a record is
not finished, or not from here. Readers accept further keys.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from calopipe.io.checksum import content_hash, file_hash, size
from calopipe.io.output import replacing, writing

FORMAT = 2
#: folder of the records
MADE = ".made"


@dataclass(frozen=True)
class Making:
    """What makes an output: the rule, and everything that it depends on besides the files from the results.

    Attributes:
        stage, settings, code: the rule and its parameters.
        packages: distribution -> version, of those that its code uses.
        raw: files from outside of the results.
        wildcards: those of the rule, as text.
    """

    stage: str
    settings: Mapping[str, Any]
    code: str
    packages: Mapping[str, str] = field(default_factory=dict)
    raw: Sequence[str | Path] = ()
    wildcards: Mapping[str, str] = field(default_factory=dict)


def record_of(output: str | Path) -> Path:
    """Where the record of an output is."""
    output = Path(output)
    return output.parent / MADE / f"{output.name}.json"


def read_record(output: str | Path) -> dict[str, Any] | None:
    """The record of an output; None where there is none that can be read."""
    return load_record(record_of(output))


def load_record(path: Path) -> dict[str, Any] | None:
    """A record by its own path; None where it is none."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    complete = isinstance(record, dict) and record.get("format") == FORMAT and set(_KEYS) <= record.keys()
    return record if complete and all(isinstance(record[k], kind) for k, kind in _KEYS.items()) else None


_KEYS = {
    "stage": str, "wildcards": dict, "settings": dict, "code": str, "packages": dict, "inputs": dict, "raw": list,
    "output": dict, "job": dict,
}  # fmt: skip


def forget(outputs: Iterable[str | Path]) -> None:
    """Remove the records of outputs that are about to be made."""
    for output in outputs:
        with writing(record_of(output)):
            record_of(output).unlink(missing_ok=True)


def record(
    making: Making,
    outputs: Sequence[str | Path],
    inputs: Iterable[str | Path] = (),
    job: Mapping[str, Any] | None = None,
) -> None:
    """Write the records of the finished outputs of one job. Raises DataError when that is impossible.

    Args:
        making: what made them. inputs: files from the results. job: when, where and with what it ran.
    """
    checksums = {str(path): checksum(path) for path in inputs}
    facts = {
        "format": FORMAT,
        "stage": making.stage,
        "wildcards": dict(making.wildcards),
        "settings": making.settings,
        "code": making.code,
        "packages": dict(making.packages),
        "raw": [{"sha256": file_hash(path), **state(path)} for path in making.raw],
        "job": {**(job or {}), "outputs": [str(output) for output in outputs]},
    }
    for output in map(Path, outputs):
        sha256, n_bytes = content_hash(output)
        seen = {Path(os.path.relpath(path, output.parent)).as_posix(): value for path, value in checksums.items()}
        write_record(output, {**facts, "inputs": seen, "output": {"sha256": sha256, "bytes": n_bytes}})


def checksum(path: str | Path) -> str:
    """SHA-256 of a file of the results: what its own record says where its size is that, or of what is there."""
    made = read_record(path)
    with suppress(OSError):
        if made is not None and made["output"].get("bytes") == size(path):
            return str(made["output"]["sha256"])
    return content_hash(path)[0]


def state(path: str | Path) -> dict[str, Any]:
    """What tells that a file is another one: place, size, and times of its content and its entry."""
    found = os.stat(path)
    return {"path": os.path.abspath(path), "bytes": found.st_size, "changed_ns": [found.st_mtime_ns, found.st_ctime_ns]}


def write_record(output: Path, content: Mapping[str, Any]) -> None:
    """Write the record of an output, or one that knows more. Raises DataError when that is impossible."""
    _write(record_of(output), record_text(content))


def record_text(content: Mapping[str, Any]) -> str:
    """A record as it is written."""
    return json.dumps(content, indent=1, sort_keys=True) + "\n"


def code_table(results: str | Path, digest: str) -> Path:
    """Where the digest of each module behind a ``code`` is."""
    return Path(results) / MADE / "code" / f"{digest[:16]}.json"


def configuration(results: str | Path, digest: str) -> Path:
    """Where the configuration with this digest is."""
    return Path(results) / MADE / "configurations" / f"{digest}.yaml"


def keep(path: Path, text: Callable[[], str]) -> None:
    """Write what many records have in common, unless it is there: its name is the digest of its content."""
    if not path.is_file():
        _write(path, text())


def _write(path: Path, text: str) -> None:
    with replacing(path) as temporary, writing(path):
        temporary.write_text(text, encoding="utf-8")
