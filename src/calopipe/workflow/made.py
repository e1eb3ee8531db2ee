"""What made each output: one small JSON record beside it, written by the stage itself.

Snakemake knows what a file was made with only as long as its own notes (`.snakemake`) are there and belong to these files.
The record of ``folder/name`` is ``folder/.made/name.json`` and goes where the results go. It holds

- ``stage``, ``settings``, ``code``: the rule, and what its ``params:`` were (:class:`calopipe.workflow.Plan`);
- ``inputs``: SHA-256 of the files it was made from, by their path as seen from the output's folder;
- ``raw``: SHA-256 of the files from outside of the results, in the order of ``Plan.files``, with the state in which each was
  read, so that it is read again only when that has changed;
- ``output``: SHA-256 and bytes of the output.

A job removes the records of its outputs before it starts and writes them when all is done: an output without a record is
not finished, or not from here. Readers accept further keys.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from calopipe.errors import CalopipeError
from calopipe.io.checksum import content_hash, file_hash, size
from calopipe.io.output import replacing, writing

FORMAT = 1


def record_of(output: str | Path) -> Path:
    """Where the record of an output is."""
    output = Path(output)
    return output.parent / ".made" / f"{output.name}.json"


def read_record(output: str | Path) -> dict[str, Any] | None:
    """The record of an output; None where there is none that can be read."""
    try:
        record = json.loads(record_of(output).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    complete = isinstance(record, dict) and record.get("format") == FORMAT and set(_KEYS) <= record.keys()
    return record if complete and all(isinstance(record[k], kind) for k, kind in _KEYS.items()) else None


_KEYS = {"stage": str, "settings": dict, "code": str, "inputs": dict, "raw": list, "output": dict}


def forget(outputs: Iterable[str | Path]) -> None:
    """Remove the records of outputs that are about to be made."""
    for output in outputs:
        with writing(record_of(output)):
            record_of(output).unlink(missing_ok=True)


def record(
    stage: str,
    outputs: Sequence[str | Path],
    settings: Mapping[str, Any],
    code: str,
    inputs: Iterable[str | Path] = (),
    raw: Iterable[str | Path] = (),
) -> None:
    """Write the records of the finished outputs of one job. Raises DataError when that is impossible.

    Args:
        stage, settings, code: the rule and its parameters. inputs: files from the results. raw: files from elsewhere.
    """
    checksums = {str(path): _checksum(path) for path in inputs}
    states = [{"sha256": file_hash(path), **_state(path)} for path in raw]
    for output in map(Path, outputs):
        sha256, n_bytes = content_hash(output)
        seen = {Path(os.path.relpath(path, output.parent)).as_posix(): value for path, value in checksums.items()}
        facts = {"format": FORMAT, "stage": stage, "settings": settings, "code": code, "inputs": seen, "raw": states}
        _write(output, {**facts, "output": {"sha256": sha256, "bytes": n_bytes}})


def _checksum(path: str | Path) -> str:
    """SHA-256 of an input: what its own record says, or of what is there."""
    made = read_record(path)
    with suppress(OSError):
        if made is not None and made["output"].get("bytes") == size(path):
            return str(made["output"]["sha256"])
    return content_hash(path)[0]


def _state(path: str | Path) -> dict[str, Any]:
    state = os.stat(path)
    return {"path": os.path.abspath(path), "bytes": state.st_size, "changed_ns": [state.st_mtime_ns, state.st_ctime_ns]}


def _write(output: Path, content: Mapping[str, Any]) -> None:
    path = record_of(output)
    with replacing(path) as temporary, writing(path):
        temporary.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def why_stale(
    stage: str, outputs: Sequence[str | Path], settings: Mapping[str, Any], code: str, raw: Sequence[str | Path] = ()
) -> str | None:
    """Why outputs that are there are not what this stage would make now; None where they are, or one is missing.

    No output is read: its size is compared, and the checksums that the records of its inputs hold. Files from outside of
    the results are read only when their state differs from the recorded one.
    """
    files = [Path(output) for output in outputs]
    if not all(file.exists() for file in files):
        return None
    for output in files:
        made = read_record(output)
        reason = "nothing says what made it" if made is None else _difference(made, output, stage, settings, code, raw)
        if reason is not None:
            return f"{output}: {reason}"
    return None


def _difference(
    made: dict[str, Any],
    output: Path,
    stage: str,
    settings: Mapping[str, Any],
    code: str,
    raw: Sequence[str | Path],
) -> str | None:
    if made["stage"] != stage:
        return f"made by {made['stage']}"
    changed = list(_differing(made["settings"], json.loads(json.dumps(settings))))
    if changed:
        more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        return f"made with other settings ({', '.join(changed[:3])}{more})"
    if made["code"] != code:
        return "made by other code"
    if made["output"].get("bytes") != size(output):
        return "changed after it was made"
    for path, sha256 in made["inputs"].items():
        source = os.path.normpath(output.parent / path)  # also where folders of the results are links
        now = read_record(source)
        if now is not None and now["output"].get("sha256") != sha256:
            return f"made from another {source}"
    return _raw_difference(made, output, raw)


def _differing(before: Any, now: Any, key: str = "") -> Iterable[str]:
    """Dotted keys under which two sets of settings differ."""
    if isinstance(before, dict) and isinstance(now, dict):
        for name in sorted(before.keys() | now.keys()):
            yield from _differing(before.get(name), now.get(name), f"{key}.{name}" if key else name)
    elif before != now:
        yield key


def _raw_difference(made: dict[str, Any], output: Path, raw: Sequence[str | Path]) -> str | None:
    """Compare the files from outside of the results; what was read in vain is noted in the record, if possible."""
    if len(raw) != len(made["raw"]):
        return "made from another number of files"
    read = False
    for i, path in enumerate(raw):
        before = made["raw"][i]
        with suppress(OSError):  # a file that is missing is Snakemake's to tell
            state = _state(path)
            if {**before, **state} == before:
                continue
            if file_hash(path) != before.get("sha256"):
                return f"made from another content of {path}"
            made["raw"][i], read = {**before, **state}, True
    if read:
        with suppress(CalopipeError):
            _write(output, made)
    return None
