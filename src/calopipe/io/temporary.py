"""Names of unfinished files, and the removal of those that killed jobs left behind.

An unfinished file or folder lies beside what it will become and is called ``.<name>.<host>.<process>.part``; the next job
that writes the same thing removes those whose process is no longer alive. A process of another host (a cluster's nodes
share their file systems) cannot be asked, so what it left is removed once nothing has changed in it for a week.
"""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from calopipe.io.stored import writing

#: seconds without a change after which the unfinished file of another host is a left-over
ABANDONED_S = 7 * 86400.0
#: bytes that file systems allow in a name, less what is added
_LONGEST = 255 - 48


@functools.cache
def _host() -> str:
    """8 hexadecimal digits of the host and the space its process numbers are valid in (a container has its own)."""
    try:
        space = os.readlink("/proc/self/ns/pid")
    except OSError:
        space = ""
    return hashlib.sha256(f"{platform.node()} {space}".encode()).hexdigest()[:8]


def _stem(name: str) -> str:
    """The name, or a digest where it is too long to be added to."""
    return name if len(os.fsencode(name)) <= _LONGEST else hashlib.sha256(os.fsencode(name)).hexdigest()[:32]


def temporary_beside(path: Path) -> Path:
    """The name of the unfinished `path` in this process, after left-overs of the same name have been removed."""
    sweep(path.parent, path.name)
    return path.with_name(f".{_stem(path.name)}.{_host()}.{os.getpid()}.part")


@contextmanager
def scratch(name: str, folder: Path | None = None) -> Iterator[Path]:
    """A temporary folder for the ``with`` block; left-overs of the same name are removed before.

    Args:
        name: what it is for.
        folder: existing folder to make it in; the system's folder for temporary files when None.
    """
    place = Path(tempfile.gettempdir()) if folder is None else folder
    sweep(place, name)
    with writing(place):
        made = tempfile.mkdtemp(prefix=f".{_stem(name)}.{_host()}.{os.getpid()}.", suffix=".part", dir=place)
    try:
        yield Path(made)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def sweep(folder: Path, name: str) -> None:
    """Remove what killed jobs left of `name` in `folder`; what cannot be removed stays."""
    pattern = re.compile(rf"\.{re.escape(_stem(name))}\.(?:([0-9a-f]{{8}})\.)?(\d+)(?:\.\w+)?\.part")
    with suppress(OSError), os.scandir(folder) as entries:
        found = [(entry, match) for entry in entries if (match := pattern.fullmatch(entry.name))]
        for entry, match in found:
            with suppress(OSError):
                if _abandoned(entry, match[1], int(match[2])):
                    _remove(Path(entry.path))


def _abandoned(entry: os.DirEntry[str], host: str | None, process: int) -> bool:
    status = entry.stat(follow_symlinks=False)
    if status.st_uid != os.getuid():
        return False
    if host == _host():
        return process != os.getpid() and not _alive(process)
    return time.time() - _last_change(Path(entry.path)) > ABANDONED_S


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # somebody else's
        return True
    return True


def _last_change(path: Path) -> float:
    """When a file, or anything in a folder, last changed."""
    inside = path.rglob("*") if path.is_dir() and not path.is_symlink() else ()
    return max(p.lstat().st_mtime for p in (path, *inside))


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
