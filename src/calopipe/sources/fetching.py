"""Make the raw files of a dataset available and write down where they are.

Raw files are not copied into the results: they stay where they are (resources of the repository, the user's disk, the
download cache) and a small JSON manifest lists them with their checksums. Every file is opened and checked as a shower
file before the manifest is written.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from calopipe.config.base import validate
from calopipe.config.datasets import Source
from calopipe.config.layouts import Column, Layout
from calopipe.config.texts import address, checksum
from calopipe.errors import ConfigError, DataError, DownloadError, nearest
from calopipe.io import file_hash, file_info
from calopipe.io.columns import column_rows
from calopipe.io.output import check_target, replacing
from calopipe.io.stored import read_json, reading, writing
from calopipe.origin import HOME
from calopipe.sources.made import make
from calopipe.sources.progress import Log, to_stderr
from calopipe.sources.registered import TRAIN, RemoteFile, registered
from calopipe.sources.transfer import Retry, download

KINDS = ("bundled", "local", "download", "made")
#: opens a file and says how many rows it has, and values per row; raises DataError where it is none of the expected kind
Look = Callable[[Path], tuple[int, int]]


@dataclass(frozen=True)
class FetchedFile:
    """One raw file that is available.

    Attributes:
        path: from the working folder where it lies in that, else absolute.
        sha256: checksum of the content found.
        n_bytes, n_showers, n_voxels: size of the file, and what it holds (other data than showers: rows, values per row).
        url: where it was downloaded from; None for bundled and local files.
        checked: the checksum that was required ("md5:...", "sha256:..."), or None when there was none to compare with.
    """

    path: str
    sha256: str
    n_bytes: int
    n_showers: int
    n_voxels: int
    url: str | None
    checked: str | None


def default_cache() -> Path:
    """Folder of downloads: the environment variable CALOPIPE_CACHE, or the user's cache folder of the system."""
    if os.environ.get("CALOPIPE_CACHE"):
        return Path(os.environ["CALOPIPE_CACHE"])
    import pooch

    return Path(pooch.os_cache("calopipe"))


def fetch(
    source: Any,
    output: str | Path,
    *,
    role: str = TRAIN,
    root: str | Path | None = None,
    cache: str | Path | None = None,
    retry: Retry | None = None,
    log: Log = to_stderr,
    look: Look | None = None,
) -> list[FetchedFile]:
    """Obtain the files of a source and write the manifest.

    Args:
        source: mapping or object with `kind` and: for "bundled" a `name` (resources/<name>.hdf5); for "local" `paths`
            and optionally one entry of `checksums` per path; for "download" a registered `name`, or `urls` and
            optionally `checksums` ("md5:..." or "sha256:..."); for "made" a recipe `made`, whose file is written beside the manifest.
        output: JSON manifest to write; read it with :func:`read_manifest`.
        role: which files of a registered dataset: "train", or "reference" for the independent sample.
        root: repository that holds resources/; the one this file lies in when None.
        cache: folder for downloads; see :func:`default_cache`.
        retry: patience of downloads.
        log: receives progress lines where there is no terminal.
        look: opens each file and returns its numbers of rows and of values per row, or raises DataError; by default it must be
            a shower file in a layout that is recognised.

    Returns:
        The files, in the order of the source.

    Raises:
        ConfigError: unknown kind, dataset, role or form of checksum.
        DataError: a file is missing, has another checksum, or is not what `look` expects.
        DownloadError: a file could not be downloaded; the message says where to put it by hand.
    """
    look = look or looking()
    kind = _get(source, "kind")
    if kind not in KINDS:
        raise ConfigError(f"unknown kind of source '{kind}'{nearest(str(kind), KINDS)}; known: {', '.join(KINDS)}")
    if kind == "bundled":
        files = [_bundled(str(_get(source, "name")), root, look)]
    elif kind == "made":
        path = Path(output).with_suffix(".hdf5")
        make(_recipe(source), path)
        files = [_describe(path, None, look)]
    elif kind == "local":
        paths = [Path(path) for path in _get(source, "paths") or ()]
        checksums = _checksums(source, len(paths))
        files = [_describe(path, checksum, look) for path, checksum in zip(paths, checksums, strict=True)]
    else:
        folder, remote = _remote(source, role)
        place = (default_cache() if cache is None else Path(cache)).expanduser().resolve() / folder
        files = [_download(file, place / file.name, retry, log, look) for file in remote]
    if not files:
        raise ConfigError(f"source of kind '{kind}' names no files")
    name = _get(source, "name")
    check_target(Path(output), [Path(file.path) for file in files])
    manifest = {"kind": kind, "name": name, "role": role if kind == "download" and name else None}
    _write_json(Path(output), {**manifest, "files": [asdict(file) for file in files]})
    return files


def read_manifest(path: str | Path) -> list[Path]:
    """Return the paths of the raw files listed by :func:`fetch`. Raises DataError when one of them is gone."""
    content = read_json(path, "not a manifest of raw files")
    with reading(path, "not a manifest of raw files"):
        paths = [Path(entry["path"]) for entry in content["files"]]
    for raw in paths:
        if not raw.is_file():
            raise DataError(f"{path}: lists {raw}, which is no longer there; delete {path} to fetch it again")
    return paths


def _get(source: Any, key: str) -> Any:
    return source.get(key) if isinstance(source, Mapping) else getattr(source, key, None)


def _recipe(source: Any) -> Any:
    """How the columns of a source are made."""
    settings = source if isinstance(source, Source) else validate(Source, source, "source")
    return settings.made


def _checksums(source: Any, n: int) -> list[str | None]:
    """One normalised checksum or None per file."""
    given: Sequence[str] = _get(source, "checksums") or []
    if not given:
        return [None] * n
    if len(given) != n:
        raise ConfigError(f"{len(given)} checksums for {n} files")
    return [_checksum(text) for text in given]


def _checksum(text: str) -> str:
    try:
        return checksum(str(text))
    except ValueError as error:
        raise ConfigError(f"checksum: {error}") from None


def looking(*, kind: str = "showers", layout: Any = None, columns: Sequence[str] = ()) -> Look:
    """What :func:`fetch` opens files with.

    Args:
        kind: "showers" or "columns".
        layout: how shower files are laid out, or where columns stand (settings, or plain data).
        columns: names of the columns that a file must have.
    """
    if kind == "columns":
        places = {key: validate(Column, place, f"layout.{key}") for key, place in (layout or {}).items()}
        return lambda path: (column_rows(path, columns, places), len(columns))
    mapping = None if layout is None else validate(Layout, layout, "layout")

    def look(path: Path) -> tuple[int, int]:
        info = file_info(path, mapping)
        return info.n_showers, info.n_voxels

    return look


def _describe(path: Path, checksum: str | None, look: Look, url: str | None = None) -> FetchedFile:
    """Check a file (its contents, checksum) and describe it."""
    rows, values = look(path)
    sha256 = file_hash(path)
    if checksum is not None:
        algorithm, _, wanted = checksum.partition(":")
        found = sha256 if algorithm == "sha256" else file_hash(path, algorithm)
        if found != wanted:
            raise DataError(f"{path}: expected {algorithm} {wanted}, found {found}")
    size = path.stat().st_size
    return FetchedFile(_place(path), sha256, size, rows, values, url, checksum)


def _place(path: Path) -> str:
    """A file by its path from the working folder where it lies in that, so that a study moved as a whole finds it again."""
    path, here = path.resolve(), Path.cwd()
    return path.relative_to(here).as_posix() if path.is_relative_to(here) else str(path)


def bundled(name: str, root: str | Path | None = None) -> Path:
    """Path of a bundled sample. Raises ConfigError, with the nearest name, when there is none."""
    folder = (HOME if root is None else Path(root)) / "resources"
    known = sorted(path.stem for path in folder.glob("*.hdf5"))
    if name not in known:
        have = ", ".join(known) or "none"
        raise ConfigError(f"no bundled sample '{name}' in {folder}{nearest(name, known)}; there: {have}")
    return folder / f"{name}.hdf5"


def _bundled(name: str, root: str | Path | None, look: Look) -> FetchedFile:
    path, checksum = bundled(name, root), None
    listing = path.parent / "checksums.sha256"
    for line in listing.read_text(encoding="utf-8").splitlines() if listing.is_file() else ():
        digest, _, file_name = line.partition("  ")
        if file_name == f"{name}.hdf5":
            checksum = _checksum(f"sha256:{digest}")
    return _describe(path, checksum, look)


def _remote(source: Any, role: str) -> tuple[str, list[RemoteFile]]:
    """(folder below the cache, files) of a registered dataset or of explicit URLs."""
    urls = list(_get(source, "urls") or ())
    if not urls:
        dataset = registered(str(_get(source, "name")))
        return dataset.name, list(dataset.of_role(role))
    for url in urls:
        try:
            address(url)
        except ValueError as error:
            raise ConfigError(f"urls: {error}") from None
    checksums = _checksums(source, len(urls))
    return "urls", [RemoteFile(_cache_name(url), url, c) for url, c in zip(urls, checksums, strict=True)]


def _cache_name(url: str) -> str:
    """File name for a URL: the end of its last part, made unique by a digest of the whole."""
    last = re.sub(r"[^\w.-]", "_", PurePosixPath(unquote(urlsplit(url).path)).name or "file", flags=re.ASCII)[-100:]
    return f"{hashlib.sha256(url.encode()).hexdigest()[:10]}-{last}"


def _download(file: RemoteFile, path: Path, retry: Retry | None, log: Log, look: Look) -> FetchedFile:
    download(file.url, path, file.checksum, verify=_verifier(file, look), retry=retry, log=log)
    try:
        fetched = _describe(path, None, look, file.url)
    except DataError as error:
        raise DownloadError(f"{file.url}: not a file of this dataset ({error})") from error
    if file.checksum is None:
        log(f"{file.name}: no published checksum to compare with; it has sha256 {fetched.sha256}")
    return FetchedFile(**{**asdict(fetched), "checked": file.checksum})


def _verifier(file: RemoteFile, look: Look) -> Callable[[Path], None] | None:
    """Without a checksum, the file must open as HDF5 (which notices a truncated file) and hold the expected showers."""
    if file.checksum is not None:
        return None

    def verify(path: Path) -> None:
        found, _ = look(path)
        if file.n_showers is not None and found != file.n_showers:
            raise DataError(f"{path}: expected {file.n_showers} showers, found {found}")

    return verify


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    with replacing(path) as temporary, writing(path):
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
