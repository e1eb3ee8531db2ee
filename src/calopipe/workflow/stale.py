"""Whether outputs that are there are what a study would make now, by their records (:mod:`calopipe.workflow.made`).

Contents count, times do not: results that were copied, unpacked or cloned are known by their checksums. No output is read for
it but those whose times are out of order; ``calopipe provenance --verify`` reads all of them.
"""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from calopipe.errors import CalopipeError
from calopipe.io.checksum import FOLDER_STAMP, content_hash, file_hash, size
from calopipe.workflow.made import Making, read_record, state, write_record


def why_stale(making: Making, output: Path) -> str | None:
    """Why an output that is there is not what this would make now; None where it is.

    Files from outside of the results are read only when their state differs from the recorded one, files of the results only
    when they are newer than the output. An output that is older than what it was made from gets the time of that.
    """
    made = read_record(output)
    if made is None:
        return "nothing says what made it"
    raw = copy.deepcopy(made["raw"])
    reason = next(differences(made, output, making), None)
    if made["raw"] != raw:
        with suppress(CalopipeError):
            write_record(output, made)
    if reason is None:
        put_in_order(output, [*making.raw, *input_paths(made, output)])
    return reason


def differences(made: dict[str, Any], output: Path, making: Making) -> Iterator[str]:
    """How the record of an output differs from what would make it now."""
    yield from made_otherwise(made, making)
    if made["output"].get("bytes") != size(output):
        yield "changed after it was made"
    yield from (f"made from another {source}" for source in other_inputs(made, output))
    yield from raw_differences(made, making.raw)


def made_otherwise(made: Mapping[str, Any], making: Making) -> Iterator[str]:
    """Another rule, other settings, code or packages."""
    if made["stage"] != making.stage:
        yield f"made by {made['stage']}"
        return
    changed = [key for key, _, _ in differing(made["settings"], json.loads(json.dumps(making.settings)))]
    if changed:
        more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        yield f"made with other settings ({', '.join(changed[:3])}{more})"
    if made["code"] != making.code:
        yield "made by other code"
    others = [
        f"{name} {made['packages'].get(name, 'none')}, now {making.packages.get(name, 'none')}"
        for name in sorted(made["packages"].keys() | making.packages.keys())
        if made["packages"].get(name) != making.packages.get(name)
    ]
    if others:
        yield f"made with other packages ({'; '.join(others)})"


class Absent:
    """Where one of two sets of settings has no such key."""


def differing(before: Any, now: Any, key: str = "") -> Iterable[tuple[str, Any, Any]]:
    """Dotted keys under which two sets of settings differ, with both values; :class:`Absent` where one has no such key.

    A key that is not there and one that is null are the same. Lists of sections are compared entry by entry, by number, where
    they are equally long.
    """
    if isinstance(before, dict) and isinstance(now, dict):
        for name in sorted(before.keys() | now.keys()):
            yield from differing(before.get(name, Absent), now.get(name, Absent), f"{key}.{name}" if key else name)
    elif _sections(before) and _sections(now) and len(before) == len(now):
        for i, pair in enumerate(zip(before, now, strict=True)):
            yield from differing(*pair, f"{key}.{i}")
    elif before != now and not all(value in (None, Absent) for value in (before, now)):
        yield key, before, now


def _sections(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)


def input_paths(made: Mapping[str, Any], output: Path) -> dict[str, str]:
    """Inputs of an output as they are called from here, with the checksums they had."""
    # also where folders of the results are links
    return {os.path.normpath(output.parent / path): sha256 for path, sha256 in made["inputs"].items()}


def other_inputs(made: Mapping[str, Any], output: Path) -> Iterator[str]:
    """Inputs that are not those the output was made from: by their records, by content where they are newer than it."""
    born = _time(output)
    for source, sha256 in input_paths(made, output).items():
        now = read_record(source)
        if now is not None and now["output"].get("sha256") != sha256:
            yield source
            continue
        with suppress(OSError, CalopipeError):  # one that is missing is Snakemake's to tell
            if _time(source) > born and content_hash(source)[0] != sha256:
                yield source


def raw_differences(made: dict[str, Any], raw: Sequence[str | Path]) -> Iterator[str]:
    """Compare the files from outside of the results; what was read in vain is noted in `made`."""
    if len(raw) != len(made["raw"]):
        yield "made from another number of files"
        return
    for i, path in enumerate(raw):
        before = made["raw"][i]
        with suppress(OSError):  # a file that is missing is Snakemake's to tell
            now = state(path)
            if {**before, **now} == before:
                continue
            if file_hash(path) != before.get("sha256"):
                yield f"made from another content of {path}"
            else:
                made["raw"][i] = {**before, **now}


def put_in_order(output: str | Path, sources: Iterable[str | Path]) -> None:
    """Give an output the time of the newest file it was made from, where that is newer: Snakemake goes by times."""
    newest = max((_time(source) for source in sources if os.path.exists(source)), default=0)
    with suppress(OSError):  # not there, or results that one may only read
        if newest > _time(output):
            os.utime(_dated(output), ns=(newest, newest))


def _time(path: str | Path) -> int:
    return os.stat(_dated(path)).st_mtime_ns


def _dated(path: str | Path) -> str | Path:
    """The file whose time Snakemake takes for that of a path: folders hold one."""
    stamp = Path(path) / FOLDER_STAMP
    return stamp if stamp.is_file() else path
