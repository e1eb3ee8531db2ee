"""Writing an archive: the folder with copies of everything, its own few files, and the ZIP file of it."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from calopipe.archive.contents import Contents
from calopipe.archive.crate import About, write_metadata
from calopipe.archive.readme import readme
from calopipe.errors import DataError
from calopipe.io.checksum import file_hash
from calopipe.io.output import check_target, replacing
from calopipe.io.stored import read_json, writing
from calopipe.io.temporary import scratch
from calopipe.scripting import configuration_text
from calopipe.sources.progress import Log, Progress, to_stderr
from calopipe.workflow.made import record_of, record_text

#: files that an archive has of its own
CONFIG, ENVIRONMENT, README = "config.yaml", "environment.txt", "README.md"
_PIECE = 2**20


def write_archive(contents: Contents, target: Path, about: About, log: Log = to_stderr) -> Path:
    """Write the archive of a study, which appears under its name when it is complete.

    Args:
        contents: what it holds. target: a folder that is not there yet, or a ZIP file (``.zip``).
        about: what the archive says of itself. log: receives progress where there is no terminal.

    Raises:
        DataError: the target is there, or cannot be written.
    """
    zipped = target.suffix == ".zip"
    if zipped:
        check_target(target)
    elif target.exists():
        raise DataError(f"{target}: is there already; expected a new folder, or a name that ends in .zip")
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    with scratch(target.name, target.parent) as place, _disk(target):
        folder = place / target.stem if zipped else place / target.name
        fill(contents, folder, about, log)
        if zipped:
            with replacing(target) as temporary:
                _zip(folder, temporary, target.name, log)
        else:
            os.rename(folder, target)
    return target


@contextmanager
def _disk(target: Path) -> Iterator[None]:
    """One line for what the disk, or its rights, refuse; it names the archive, or the file that cannot be read."""
    try:
        yield
    except PermissionError as error:
        raise DataError(f"{error.filename or target}: {error.strerror}") from error
    except OSError as error:
        raise DataError(f"{target}: cannot be written ({error.strerror or error})") from error


def fill(contents: Contents, folder: Path, about: About, log: Log) -> None:
    """Write all files of an archive into a new folder."""
    files = dict(contents.files())
    with Progress("archive", 0, sum(path.stat().st_size for path in files.values()), log) as progress:
        for place, path in files.items():
            _copy(path, folder / place, progress)
    _follow(contents, folder)
    study = contents.moves.data(contents.plan.configuration())
    (folder / CONFIG).write_text(configuration_text(study), encoding="utf-8")
    (folder / ENVIRONMENT).write_text(environment(), encoding="utf-8")
    (folder / README).write_text(readme(contents, about), encoding="utf-8")
    write_metadata(contents, folder, about)


def _copy(path: Path, target: Path, progress: Progress) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with path.open("rb") as source, target.open("xb") as copy:
        while piece := source.read(_PIECE):
            copy.write(piece)
            progress.add(len(piece))
    shutil.copystat(path, target)


def _follow(contents: Contents, folder: Path) -> None:
    """Let manifests and records name files by where they are in the archive; checksums of manifests follow, no others."""
    changed: dict[str, str] = {}
    records = {output: contents.moves.data(record) for output, record in contents.outputs.items()}
    for output, record in records.items():
        copied = folder / contents.place(output)
        if record["stage"] == "fetch" and copied.is_file() and not contents.moves.nothing:
            before = record["output"]["sha256"]
            _rewrite(copied, json.dumps(contents.moves.data(read_json(copied)), indent=2) + "\n")
            record["output"] = {"sha256": file_hash(copied), "bytes": copied.stat().st_size}
            changed[before] = record["output"]["sha256"]
    for output, record in records.items():
        record["inputs"] = {path: changed.get(sha256, sha256) for path, sha256 in record["inputs"].items()}
        if record != contents.outputs[output]:
            record["job"] = {**record["job"], "moved": {**contents.moves.files}}
        names = map(contents.moves.text, contents.named_raw(output)) if record["raw"] else ()
        raw = [{"path": name, "sha256": raw["sha256"]} for name, raw in zip(names, record["raw"], strict=True)]
        _rewrite(folder / contents.place(record_of(output)), record_text({**record, "raw": raw}))


def _rewrite(path: Path, text: str) -> None:
    """Write a text in place of a file, which keeps its time."""
    before = path.stat()
    path.write_text(text, encoding="utf-8")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def environment() -> str:
    """All packages that are installed here, with their versions, in the form that pip reads."""
    found = {
        dist.metadata["Name"]: dist.version for dist in importlib.metadata.distributions() if dist.metadata["Name"]
    }
    lines = [f"{name}=={version}" for name, version in sorted(found.items(), key=lambda item: item[0].lower())]
    head = f"# All packages of the environment that wrote this archive: Python {platform.python_version()}, {platform.platform()}"
    return "\n".join([head, *(line for line in lines if not line.startswith("calopipe=="))]) + "\n"


def _zip(folder: Path, target: Path, name: str, log: Log) -> None:
    """Pack what is in a folder; what is compressed already is stored as it is."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    packed = {".hdf5", ".h5", ".pt", ".png", ".pdf", ".npz"}
    with (
        zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive,
        Progress(name, 0, sum(path.stat().st_size for path in files), log) as progress,
    ):
        for path in files:
            how = zipfile.ZIP_STORED if path.suffix in packed else zipfile.ZIP_DEFLATED
            archive.write(path, path.relative_to(folder).as_posix(), compress_type=how)
            progress.add(path.stat().st_size)
