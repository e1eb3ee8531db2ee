"""Whether an archive holds what its metadata say: every file, with its checksum, and nothing besides."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any
from urllib.parse import unquote

from calopipe.archive.crate import METADATA
from calopipe.errors import DataError
from calopipe.io.stored import reading
from calopipe.workflow.made import MADE, load_record, record_text


def check_archive(path: Path) -> tuple[int, list[str]]:
    """Number of files in an archive, and what is wrong with it, a line each.

    Args:
        path: a folder or a ZIP file.

    Raises:
        DataError: it is neither, or has no metadata that can be read.
    """
    with _opened(path) as files:
        stated = _stated(path, files)
        wrong = [f"{place}: missing" for place in stated if place not in files]
        for place, file in files.items():
            if place == METADATA:
                continue
            if place not in stated:
                if not _grown(place):
                    wrong.append(f"{place}: not of this archive")
                continue
            with reading(f"{path}: {place}"), file() as content:
                found = hashlib.file_digest(content, "sha256").hexdigest()
            if found != stated[place] and _record_before(path, place) != stated[place]:
                wrong.append(f"{place}: changed (sha256 {found[:16]}, stated {stated[place][:16]})")
    return len(stated), wrong


def _record_before(folder: Path, place: str) -> str | None:
    """Checksum of a record without what a plan has noted in it since: the state of raw files on this machine. None: no record."""
    record = load_record(folder / place) if PurePosixPath(place).match(f"{MADE}/*.json") else None
    if record is None:
        return None
    root = os.path.abspath(folder)
    raw = [
        {"path": Path(os.path.relpath(entry["path"], root)).as_posix(), "sha256": entry["sha256"]}
        for entry in record["raw"]
    ]
    return hashlib.sha256(record_text({**record, "raw": raw}).encode()).hexdigest()


def _grown(place: str) -> bool:
    """Whether a file is what comes from using an archive: environments, notes of Snakemake and Python."""
    parts = place.split("/")
    own = any(part.startswith((".venv", ".snakemake")) or part == "__pycache__" for part in parts)
    return own or any(part.endswith(".egg-info") for part in parts)


@contextmanager
def _opened(path: Path) -> Iterator[dict[str, Any]]:
    """Functions that open the files of an archive, by their paths in it."""
    if path.is_dir():
        inside = sorted(file for file in path.rglob("*") if file.is_file())
        yield {file.relative_to(path).as_posix(): _opener(file) for file in inside}
        return
    with reading(path, "expected an archive, a folder or a ZIP file"), zipfile.ZipFile(path) as packed:
        yield {name: _member(packed, name) for name in packed.namelist() if not name.endswith("/")}


def _opener(path: Path) -> Any:
    return lambda: path.open("rb")


def _member(packed: zipfile.ZipFile, name: str) -> Any:
    return lambda: packed.open(name)


def _stated(path: Path, files: dict[str, Any]) -> dict[str, str]:
    """Checksums in the metadata, by the path of the file."""
    if METADATA not in files:
        raise DataError(f"{path}: no archive: it has no {METADATA}")
    with reading(f"{path}: {METADATA}", "not the metadata of an archive"):
        opened: IO[bytes] = files[METADATA]()
        with opened as content:
            graph = json.load(content)["@graph"]
        return {unquote(entity["@id"]): str(entity["sha256"]) for entity in graph if "sha256" in entity}
