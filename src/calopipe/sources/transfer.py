"""Download files of many gigabytes over connections that break.

pooch keeps the cache: it looks for the file, verifies checksums and moves a verified file to its name. Its own HTTP
downloader starts from zero after every break, so :class:`ResumingDownloader` is handed to it instead: that one keeps
what arrived in ``<name>.part`` and asks for the rest with an HTTP Range request, also in a later run. A partial file
whose origin changed in between is not continued (If-Range), and a wrong checksum discards the whole file.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from calopipe.config.texts import address
from calopipe.errors import CalopipeError, DownloadError
from calopipe.sources.progress import Log, Progress, to_stderr

if TYPE_CHECKING:
    import requests

#: bytes written at once; at most this much of what arrived is lost when a connection breaks
_PIECE = 2**14


@dataclass(frozen=True)
class Retry:
    """How patient a download is. Attempts are counted anew whenever data arrived.

    Args:
        attempts: tries in a row without any progress before giving up.
        first_wait_s: pause after the first failure; doubles with each further one.
        longest_wait_s: limit of a pause, also of one that the server asks for (Retry-After).
        timeout_s: give up on a connection that is silent for this long.
    """

    attempts: int = 6
    first_wait_s: float = 1.0
    longest_wait_s: float = 120.0
    timeout_s: float = 60.0

    def wait_s(self, failures: int, asked: float | None) -> float:
        """Pause in s after `failures` failures in a row; `asked` is the server's Retry-After."""
        own = self.first_wait_s * 2 ** (failures - 1)
        return min(max(own, asked or 0.0), self.longest_wait_s)


class _Again(Exception):
    """A failure that may pass: connection, timeout, 408, 429, 5xx. `after_s` is the server's Retry-After."""

    def __init__(self, reason: str, after_s: float | None = None) -> None:
        super().__init__(reason)
        self.after_s = after_s


def download(
    url: str,
    path: Path,
    checksum: str | None = None,
    *,
    verify: Callable[[Path], None] | None = None,
    retry: Retry | None = None,
    log: Log = to_stderr,
) -> Path:
    """Make sure that `path` holds the file at `url`, downloading what is missing.

    A file that is already there and fits `checksum` is used without any network access.

    Args:
        url: http or https address.
        path: where the file belongs; its folder is made when missing.
        checksum: "md5:..." or "sha256:..."; None accepts any content that passes `verify`.
        verify: called on the complete file before it gets its name, and on a file found there; raises when it is bad.
        retry: patience, see :class:`Retry`.
        log: receives lines about progress where there is no terminal.

    Raises:
        DownloadError: no address of a file, no network, refused (404, ...), a redirect that is not followed
            (:mod:`calopipe.sources.addresses`), wrong content, full disk; says where a file can be put by hand.
    """
    import pooch

    try:
        address(url)
    except ValueError as error:
        raise DownloadError(f"{url}: {error}") from error
    if url.startswith("http:") and checksum is None:
        log(f"{url}: neither encrypted nor with a checksum: anybody on the way can change the content")
    downloader = ResumingDownloader(path, checksum, verify, retry or Retry(), log)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _lock(path):
            found = path.is_file() and (checksum is None or pooch.hashes.hash_matches(path, checksum))
            if found and verify is not None:
                verify(path)
            if not found and path.is_file():
                log(f"{path} is there but does not have checksum {checksum}; downloading it anew")
            pooch.get_logger().setLevel("WARNING")
            pooch.retrieve(url, checksum, fname=path.name, path=path.parent, downloader=downloader)
    except ValueError as error:  # pooch: the checksum does not fit
        raise DownloadError(f"{url}: wrong content, nothing was kept ({' '.join(str(error).split())})") from error
    except OSError as error:
        raise DownloadError(f"{path}: cannot be written ({error.strerror or error}); downloading {url}") from error
    return path


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    """One download of a file at a time, on this machine."""
    import fcntl

    with open(path.with_name(f".{path.name}.lock"), "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


class ResumingDownloader:
    """A pooch downloader (called with url, output file, pooch) that continues after a break, see the module."""

    def __init__(
        self,
        path: Path,
        checksum: str | None,
        verify: Callable[[Path], None] | None,
        retry: Retry,
        log: Log,
    ) -> None:
        self._path, self._checksum, self._verify, self._retry, self._log = path, checksum, verify, retry, log
        self._part = path.with_name(path.name + ".part")
        self._tag = path.with_name(
            path.name + ".part.tag"
        )  # identifies the version of the file that .part is a part of

    def __call__(self, url: str, output_file: Any, _: Any = None) -> None:
        """Download `url` to `output_file`. Raises DownloadError, and OSError when the disk is full."""
        failures = 0
        while True:
            had = self._size()
            try:
                self._attempt(url)
                break
            except _Again as error:
                failures = 1 if self._size() > had else failures + 1
                if failures >= self._retry.attempts:
                    raise DownloadError(self._advice(url, str(error))) from error
                wait = self._retry.wait_s(failures, error.after_s)
                self._log(f"{url}: {error}; trying again in {wait:.0f} s with {self._size()} bytes so far")
                time.sleep(wait)
        self._finish(url, Path(output_file))

    def _finish(self, url: str, output_file: Path) -> None:
        if self._verify is not None:
            try:
                self._verify(self._part)
            except CalopipeError as error:
                self._discard()
                raise DownloadError(f"{url}: wrong content, nothing was kept ({error})") from error
        self._part.replace(output_file)
        self._discard()

    def _attempt(self, url: str) -> None:
        """One request: receive what is missing in .part. Raises _Again when trying again may help."""
        import requests
        from urllib3.exceptions import HTTPError

        from calopipe.sources.addresses import Session

        timeout = self._retry.timeout_s
        try:
            with (
                Session(url, self._checksum is not None) as session,
                session.get(url, headers=self._headers(), stream=True, timeout=timeout) as response,
            ):
                if response.status_code == requests.codes.requested_range_not_satisfiable and self._complete(response):
                    return
                self._check_status(url, response)
                self._receive(url, response)
        except (ValueError, UnicodeError) as error:  # of requests: an address that only looks like one
            raise DownloadError(f"{url}: not a valid URL ({_reason(error)})") from error
        except (requests.exceptions.RequestException, HTTPError) as error:
            raise _Again(_reason(error)) from error

    def _headers(self) -> dict[str, str]:
        # identity: byte positions must be those of the file, not of a compressed transfer
        headers = {"Accept-Encoding": "identity", "User-Agent": "calopipe"}
        tag = self._tag.read_text() if self._tag.is_file() else ""
        if self._size() and not tag and self._checksum is None:
            self._discard()  # nothing could tell that the pieces belong together
        if self._size():
            headers["Range"] = f"bytes={self._size()}-"
            if tag:
                headers["If-Range"] = tag
        return headers

    def _complete(self, response: requests.Response) -> bool:
        """Status 416: either .part is the whole file already, or it does not belong to this file and is dropped."""
        if response.headers.get("Content-Range") == f"bytes */{self._size()}":
            return True
        self._discard()
        raise _Again("the server refused to continue a partial file, which was dropped")

    def _check_status(self, url: str, response: requests.Response) -> None:
        status = response.status_code
        if status in (408, 425, 429) or status >= 500:
            raise _Again(f"HTTP status {status} ({response.reason})", _retry_after(response.headers))
        if status not in (200, 206):
            raise DownloadError(self._advice(url, f"HTTP status {status} ({response.reason})"))

    def _receive(self, url: str, response: requests.Response) -> None:
        start = self._size() if response.status_code == 206 else 0
        if response.status_code == 206 and not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
            self._discard()
            raise _Again("the server sent another part than the one asked for")
        length = response.headers.get("Content-Length")
        total = start + int(length) if length is not None else None
        self._check_space(total, start)
        tag = response.headers.get("ETag", "")
        self._tag.write_text("" if tag.startswith("W/") else tag or response.headers.get("Last-Modified", ""))
        with (
            open(self._part, "ab" if start else "wb") as file,
            Progress(self._path.name, start, total, self._log) as bar,
        ):
            for piece in response.iter_content(_PIECE):
                file.write(piece)
                bar.add(len(piece))
        if total is not None and self._size() != total:
            raise _Again(f"connection ended after {self._size()} of {total} bytes")

    def _check_space(self, total: int | None, start: int) -> None:
        free = shutil.disk_usage(self._part.parent).free
        if total is not None and total - start > free:
            need, have = (total - start) / 1e9, free / 1e9
            raise DownloadError(f"{self._path}: disk too full: {need:.2f} GB needed, {have:.2f} GB free")

    def _size(self) -> int:
        return self._part.stat().st_size if self._part.is_file() else 0

    def _discard(self) -> None:
        self._part.unlink(missing_ok=True)
        self._tag.unlink(missing_ok=True)

    def _advice(self, url: str, reason: str) -> str:
        check = f" (it must have {self._checksum})" if self._checksum else ""
        there = "; the file that is there now has other content" if self._path.is_file() else ""
        by_hand = f"without a network here, get the file elsewhere and put it at {self._path}{check}{there}"
        return f"cannot download {url}: {reason}; {by_hand}"


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a Retry-After header asks to wait: a number or an HTTP date; None when absent or unreadable."""
    text = headers.get("Retry-After", "").strip()
    if text.isdigit():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (TypeError, ValueError):
        return None


def _reason(error: BaseException) -> str:
    """The innermost cause of a network error, in one line."""
    while (inner := getattr(error, "reason", None) or error.__cause__ or error.__context__) is not None:
        if not isinstance(inner, BaseException):
            break
        error = inner
    return " ".join(str(error).split()) or type(error).__name__
