"""Sources: bundled, local, and downloads from a real HTTP server on the loopback that misbehaves in every way."""

from __future__ import annotations

import hashlib
import ipaddress
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from calopipe.errors import ConfigError, DataError, DownloadError
from calopipe.geometry import load_geometry
from calopipe.io import Showers, file_hash, write_calogan, write_showers
from calopipe.sources import REGISTERED, RemoteDataset, RemoteFile, Retry, addresses, download, fetch, read_manifest

QUICK = Retry(attempts=3, first_wait_s=0.01, longest_wait_s=0.05, timeout_s=5)
CONTENT = np.random.default_rng(0).bytes(300_000)
MD5 = "md5:" + hashlib.md5(CONTENT).hexdigest()


class Server:
    """A file server; `plan` says how the next requests are answered, after that they are answered well.

    Steps: "cut" (half of what was asked, then close), an int status, "slow" (silent for 2 s), "wrong" (other bytes),
    "no_range" (ignores Range), ("429", seconds) with Retry-After, ("302", "Location", url).
    """

    def __init__(self) -> None:
        self.content, self.etag, self.plan = CONTENT, '"v1"', list[object]()
        self.requests: list[dict[str, str]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.requests.append({"path": self.path, **self.headers})
                outer.answer(self, outer.plan.pop(0) if outer.plan else "good")

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/data.hdf5?download=1"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, handler: BaseHTTPRequestHandler, step: object) -> None:
        if step == "slow":
            time.sleep(2)
        if isinstance(step, int | tuple):
            handler.send_response(step if isinstance(step, int) else int(step[0]))
            if isinstance(step, tuple):
                handler.send_header(step[1] if len(step) > 2 else "Retry-After", step[-1])
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        content = bytes(len(self.content)) if step == "wrong" else self.content
        start = 0
        asked = handler.headers.get("Range")
        if asked and step != "no_range" and handler.headers.get("If-Range", self.etag) == self.etag:
            start = int(asked.removeprefix("bytes=").rstrip("-"))
            if start >= len(content):
                handler.send_response(416)
                handler.send_header("Content-Range", f"bytes */{len(content)}")
                handler.end_headers()
                return
            handler.send_response(206)
            handler.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            handler.send_response(200)
        handler.send_header("Content-Length", str(len(content) - start))
        if self.etag:
            handler.send_header("ETag", self.etag)
        handler.end_headers()
        body = content[start:]
        handler.wfile.write(body[: len(body) // 2] if step == "cut" else body)
        handler.wfile.flush()
        if step == "cut":
            handler.connection.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def server() -> Iterator[Server]:
    instance = Server()
    yield instance
    instance.close()


def get(server: Server, path: Path, checksum: str | None = MD5, **options: object) -> list[str]:
    """Download quickly and return the log."""
    log: list[str] = []
    options = {"retry": QUICK, "log": log.append, **options}
    download(server.url, path, checksum, **options)  # type: ignore[arg-type]
    return log


def leftovers(path: Path) -> list[str]:
    return sorted(name for name in os.listdir(path.parent) if name not in (path.name, f".{path.name}.lock"))


# ---- download -----------------------------------------------------------------------------------------------------
def test_plain_download_then_no_network(tmp_path: Path, server: Server) -> None:
    path = tmp_path / "new" / "data.hdf5"
    log = get(server, path)
    assert path.read_bytes() == CONTENT
    assert leftovers(path) == []
    assert any("0.3 MB of 0.3 MB (100%)" in line for line in log)
    server.close()
    assert get(server, path) == []
    assert len(server.requests) == 1


def test_cut_connection_resumes(tmp_path: Path, server: Server) -> None:
    server.plan = ["cut", "cut", "cut", "cut", "cut"]  # more than `attempts`, but each brings progress
    log = get(server, tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == CONTENT
    starts = [int(request.get("Range", "bytes=0-")[6:-1]) for request in server.requests]
    assert len(starts) == 6 and starts == sorted(set(starts))
    assert 130_000 < starts[1] <= 150_000  # what arrived before the first cut was kept
    assert any("trying again" in line and f"{starts[1]} bytes" in line for line in log)


def test_resumes_in_a_later_run(tmp_path: Path, server: Server) -> None:
    server.plan = ["cut", 503, 503, 503]
    with pytest.raises(DownloadError, match="HTTP status 503"):
        get(server, tmp_path / "a")
    assert not (tmp_path / "a").exists()
    assert leftovers(tmp_path / "a") == ["a.part", "a.part.tag"]
    get(server, tmp_path / "a")
    assert 130_000 < int(server.requests[-1]["Range"][6:-1]) <= 150_000
    assert server.requests[-1]["If-Range"] == '"v1"'
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert leftovers(tmp_path / "a") == []


def test_changed_origin_starts_over(tmp_path: Path, server: Server) -> None:
    server.plan = ["cut", 503, 503, 503]
    with pytest.raises(DownloadError):
        get(server, tmp_path / "a")
    server.content, server.etag = CONTENT[::-1], '"v2"'
    get(server, tmp_path / "a", "md5:" + hashlib.md5(server.content).hexdigest())
    assert (tmp_path / "a").read_bytes() == server.content


def test_server_without_ranges(tmp_path: Path, server: Server) -> None:
    server.plan = ["cut", "no_range"]
    get(server, tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == CONTENT


def test_no_tag_and_no_checksum_starts_over(tmp_path: Path, server: Server) -> None:
    server.etag, server.plan = "", ["cut"]
    get(server, tmp_path / "a", None)
    assert [request.get("Range") for request in server.requests] == [None, None]
    assert (tmp_path / "a").read_bytes() == CONTENT


@pytest.mark.parametrize("extra", [b"", b"more"])
def test_complete_or_too_long_part(tmp_path: Path, server: Server, extra: bytes) -> None:
    (tmp_path / "a.part").write_bytes(CONTENT + extra)
    (tmp_path / "a.part.tag").write_text('"v1"')
    get(server, tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert len(server.requests) == (2 if extra else 1)


def test_wrong_content_is_not_kept(tmp_path: Path, server: Server) -> None:
    server.plan = ["wrong"]
    with pytest.raises(DownloadError, match="wrong content, nothing was kept"):
        get(server, tmp_path / "a")
    assert leftovers(tmp_path / "a") == [] and not (tmp_path / "a").exists()
    get(server, tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == CONTENT


def test_not_found_is_final(tmp_path: Path, server: Server) -> None:
    server.plan = [404]
    with pytest.raises(DownloadError, match=r"HTTP status 404.*put it at .*/a \(it must have md5:") as caught:
        get(server, tmp_path / "a")
    assert server.url in str(caught.value) and "\n" not in str(caught.value)
    assert len(server.requests) == 1


def test_busy_server_is_given_time(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr("calopipe.sources.transfer.time.sleep", waits.append)
    server.plan = [("429", "7"), 500, ("503", "Wed, 21 Oct 2015 07:28:00 GMT"), ("429", "9999")]
    get(server, tmp_path / "a", retry=Retry(attempts=5, first_wait_s=1, longest_wait_s=60))
    assert waits == [7, 2, 4, 60]
    assert (tmp_path / "a").read_bytes() == CONTENT


def test_gives_up_after_attempts(tmp_path: Path, server: Server) -> None:
    server.plan = [500] * 10
    with pytest.raises(DownloadError, match="HTTP status 500"):
        get(server, tmp_path / "a")
    assert len(server.requests) == QUICK.attempts


def test_silent_server(tmp_path: Path, server: Server) -> None:
    server.plan = ["slow"]
    log = get(server, tmp_path / "a", retry=Retry(attempts=3, first_wait_s=0.01, timeout_s=0.3))
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert any("timed out" in line for line in log)


def test_offline_says_where_to_put_the_file(tmp_path: Path, server: Server) -> None:
    server.close()
    with pytest.raises(DownloadError, match="Connection refused") as caught:
        get(server, tmp_path / "a")
    message = str(caught.value)
    assert server.url in message and f"put it at {tmp_path / 'a'} (it must have {MD5})" in message
    (tmp_path / "a").write_bytes(CONTENT[:-1])
    with pytest.raises(DownloadError, match="the file that is there now has other content"):
        get(server, tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == CONTENT[:-1]  # the user's file is left alone
    (tmp_path / "a").write_bytes(CONTENT)
    get(server, tmp_path / "a")


def test_corrupt_cached_file_is_replaced(tmp_path: Path, server: Server) -> None:
    (tmp_path / "a").write_bytes(b"damaged")
    log = get(server, tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert "does not have checksum" in log[0]


BAD_URLS = [
    "ftp://x/a",
    "file:///etc/passwd",
    "nonsense",
    "http://",
    "http://[::1",
    "http://a:99999999/b",
    "http://a b/c",
    "//a/b",
]


@pytest.mark.parametrize(
    "url", [*BAD_URLS, "http://a\nb/c", "http://a\x00b/c", "https://", "", "javascript:x", "http://" + "a" * 300]
)
def test_bad_url(tmp_path: Path, url: str) -> None:
    with pytest.raises(DownloadError, match="not a valid URL|expected an? "):
        download(url, tmp_path / "a", retry=QUICK)
    with pytest.raises((ConfigError, DownloadError), match="expected an? |not a valid URL") as caught:
        fetch({"kind": "download", "urls": [url]}, tmp_path / "raw.json", cache=tmp_path, retry=QUICK)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("last", ["a%00b", "..%2F..%2Fb", "%0a", "x" * 400, "%F0%9F%98%80", "a b.hdf5"])
def test_names_in_the_cache(tmp_path: Path, server: Server, last: str) -> None:
    server.content = shower_bytes(tmp_path)
    url = server.url.replace("data.hdf5", last.replace(" ", "%20"))
    (file,) = fetch({"kind": "download", "urls": [url]}, tmp_path / "raw.json", cache=tmp_path / "cache", retry=QUICK)
    assert Path(file.path).parent == (tmp_path / "cache" / "urls").resolve()
    assert set(Path(file.path).name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-_.%F")


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hosts `inside` and `outside`, which both are the test's server, as a redirect sees them."""
    known = {"outside": ["93.184.215.14"], "inside": ["10.1.2.3"], "both": ["93.184.215.14", "fd00::1"]}
    real = addresses._addresses
    monkeypatch.setattr(
        addresses,
        "_addresses",
        lambda host: [ipaddress.ip_address(a) for a in known[host]] if host in known else real(host),
    )


@pytest.mark.parametrize(
    "target",
    [
        "http://127.0.0.1/x", "http://localhost:80/", "http://[::1]/", "http://[::ffff:127.0.0.1]/", "http://169.254.169.254/m",
        "http://10.0.0.1/", "http://192.168.1.1/", "http://100.64.0.1/", "http://0.0.0.0/", "http://2130706433/", "http://127.1/",
        "http://inside/", "http://both/", "http://a.localhost/", "http://224.0.0.1/", "file:///etc/passwd", "ftp://outside/a",
        "http://", "gopher://x", "https://[::1",
    ],
)  # fmt: skip
def test_redirects_that_are_not_followed(target: str, names: None) -> None:
    with pytest.raises(DownloadError, match="the server redirects to"):
        addresses.check_redirect("http://outside/data", target, True)


def test_redirects_that_are_followed(names: None) -> None:
    for first, target in [("http://outside/", "http://93.184.215.14/"), ("http://inside/", "http://127.0.0.1/")]:
        addresses.check_redirect(first, target, False)
    addresses.check_redirect("https://outside/", "http://outside/a", True)
    with pytest.raises(DownloadError, match="not encrypted"):
        addresses.check_redirect("https://outside/", "http://outside/a", False)


def test_redirect_of_a_server(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.plan = [("302", "Location", "/elsewhere")]
    assert get(server, tmp_path / "a") and (tmp_path / "a").read_bytes() == CONTENT
    monkeypatch.setattr(addresses, "is_internal", lambda host: host == "localhost")  # as if 127.0.0.1 were far away
    secret = server.url.replace("127.0.0.1", "localhost")
    server.plan = [("302", "Location", secret)]
    with pytest.raises(DownloadError, match="redirects to http://localhost.*not followed"):
        get(server, tmp_path / "b")
    assert server.plan == [] and not (tmp_path / "b").exists()


def test_no_encryption_and_no_checksum_is_warned_about(tmp_path: Path, server: Server) -> None:
    assert any("anybody on the way" in line for line in get(server, tmp_path / "a", None, verify=lambda path: None))
    assert not any("anybody on the way" in line for line in get(server, tmp_path / "b", MD5))


def test_announced_size_beyond_the_disk(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("calopipe.sources.transfer.shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    with pytest.raises(DownloadError, match="disk too full"):
        get(server, tmp_path / "a")


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from calopipe.errors import DownloadError
from calopipe.sources import download
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
try:
    download(sys.argv[1], Path(sys.argv[2]), log=lambda line: None)
except DownloadError as error:
    print(error)
"""


def test_disk_full_while_writing(tmp_path: Path, server: Server) -> None:
    command = [sys.executable, "-c", FULL_DISK, server.url, str(tmp_path / "a")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"{tmp_path / 'a'}: cannot be written (File too large); downloading {server.url}\n"
    assert not (tmp_path / "a").exists()


def test_two_downloads_at_once(tmp_path: Path, server: Server) -> None:
    threads = [threading.Thread(target=get, args=(server, tmp_path / "a")) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert len(server.requests) == 1


# ---- fetch --------------------------------------------------------------------------------------------------------
def shower_bytes(folder: Path, n: int = 5) -> bytes:
    write_calogan(folder / "made", Showers(np.full(n, 10.0), np.ones((n, 504))))
    content = (folder / "made").read_bytes()
    (folder / "made").unlink()
    return content


def test_bundled(tmp_path: Path) -> None:
    files = fetch({"kind": "bundled", "name": "calogan_eplus_sample"}, tmp_path / "raw.json")
    assert (files[0].n_showers, files[0].n_voxels, files[0].url) == (7500, 504, None)
    assert files[0].checked == f"sha256:{files[0].sha256}"
    assert read_manifest(tmp_path / "raw.json") == [Path(files[0].path)]
    with pytest.raises(ConfigError, match=r"did you mean 'calogan_eplus_sample'\?"):
        fetch({"kind": "bundled", "name": "calogan_eplus"}, tmp_path / "other.json")
    assert os.listdir(tmp_path) == ["raw.json"]


def test_bundled_checks_the_listed_checksum(tmp_path: Path) -> None:
    folder = tmp_path / "resources"
    write_showers(folder / "mine.hdf5", Showers([1.0], [[1.0]]))
    assert fetch({"kind": "bundled", "name": "mine"}, tmp_path / "a.json", root=tmp_path)[0].checked is None
    (folder / "checksums.sha256").write_text(f"{'0' * 64}  mine.hdf5\n")
    with pytest.raises(DataError, match="mine.hdf5: expected sha256 0000"):
        fetch({"kind": "bundled", "name": "mine"}, tmp_path / "a.json", root=tmp_path)


def test_local(tmp_path: Path) -> None:
    class Source:  # any object with these attributes, as well as a mapping
        kind, name, urls = "local", None, ()
        paths = (str(tmp_path / "a.hdf5"), str(tmp_path / "b.hdf5"))
        checksums: tuple[str, ...] = ()

    for path in Source.paths:
        write_showers(path, Showers([1.0, 2.0], [[1.0], [2.0]]))
    files = fetch(Source(), tmp_path / "raw.json")
    assert [file.path for file in files] == list(Source.paths)
    manifest = json.loads((tmp_path / "raw.json").read_text())
    assert (manifest["kind"], manifest["role"], manifest["files"][1]["n_showers"]) == ("local", None, 2)
    source = {"kind": "local", "paths": [Source.paths[0]]}
    fetch({**source, "checksums": ["sha256:" + files[0].sha256.upper()]}, tmp_path / "raw.json")
    fetch({**source, "checksums": ["md5:" + file_hash(Source.paths[0], "md5")]}, tmp_path / "raw.json")
    for checksums, error, message in [
        (["md5:" + "0" * 32], DataError, "a.hdf5: expected md5 0000"),
        (["md5:123"], ConfigError, "checksum: expected .md5:. and 32"),
        (["crc:" + "0" * 32], ConfigError, "checksum: expected .md5:. and 32"),
        (["md5:" + "0" * 32] * 2, ConfigError, "2 checksums for 1 files"),
    ]:
        with pytest.raises(error, match=message):
            fetch({**source, "checksums": checksums}, tmp_path / "raw.json")
    fetch(Source(), tmp_path / "raw.json")
    Path(Source.paths[1]).unlink()
    with pytest.raises(DataError, match="b.hdf5, which is no longer there"):
        read_manifest(tmp_path / "raw.json")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"kind": "locl"}, r"unknown kind of source 'locl' \(did you mean 'local'\?\)"),
        ({"kind": "local", "paths": []}, "names no files"),
        ({"kind": "download", "name": "calochalenge2"}, r"did you mean 'calochallenge2'\?"),
    ],
)
def test_bad_sources(tmp_path: Path, source: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        fetch(source, tmp_path / "raw.json")
    with pytest.raises(DataError, match="no such file"):
        fetch({"kind": "local", "paths": [str(tmp_path / "none")]}, tmp_path / "raw.json")
    assert os.listdir(tmp_path) == []


def test_bad_manifest(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_manifest(tmp_path / "none")
    (tmp_path / "a").write_text("{}")
    with pytest.raises(DataError, match="not a manifest"):
        read_manifest(tmp_path / "a")


def test_download_urls(tmp_path: Path, server: Server) -> None:
    server.content = shower_bytes(tmp_path)
    source = {"kind": "download", "urls": [server.url]}
    options = {"cache": tmp_path / "cache", "retry": QUICK}
    log: list[str] = []
    (file,) = fetch(source, tmp_path / "raw.json", log=log.append, **options)
    assert Path(file.path).name.endswith("-data.hdf5")
    assert (file.n_showers, file.url, file.checked) == (5, server.url, None)
    assert any("no published checksum" in line and file.sha256 in line for line in log)
    checksum = f"sha256:{file.sha256}"
    (again,) = fetch({**source, "checksums": [checksum]}, tmp_path / "raw.json", **options)
    assert (again.checked, len(server.requests)) == (checksum, 1)


def test_download_of_something_else(tmp_path: Path, server: Server) -> None:
    server.content = b"<html>please log in</html>"
    options = {"cache": tmp_path / "cache", "retry": QUICK}
    with pytest.raises(DownloadError, match="wrong content.*not an HDF5 file .it begins with b'<html>"):
        fetch({"kind": "download", "urls": [server.url]}, tmp_path / "raw.json", **options)
    assert not (tmp_path / "raw.json").exists()
    assert not list((tmp_path / "cache" / "urls").glob("*hdf5"))


def test_registered_roles_and_expected_rows(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.content = shower_bytes(tmp_path)
    md5 = "md5:" + hashlib.md5(server.content).hexdigest()
    files = (
        RemoteFile("1.hdf5", server.url, md5),
        RemoteFile("2.hdf5", server.url, md5, role="reference"),
    )
    monkeypatch.setitem(REGISTERED, "tiny", RemoteDataset("tiny", "calogan", "page", files))
    rows = (RemoteFile("3.hdf5", server.url, n_showers=6),)
    monkeypatch.setitem(REGISTERED, "rows", RemoteDataset("rows", "calogan", "page", rows))
    options = {"cache": tmp_path / "cache", "retry": QUICK}
    for role, name in (("train", "1.hdf5"), ("reference", "2.hdf5")):
        (file,) = fetch({"kind": "download", "name": "tiny"}, tmp_path / "raw.json", role=role, **options)
        assert (Path(file.path), file.checked) == (tmp_path / "cache" / "tiny" / name, md5)
    with pytest.raises(DownloadError, match="expected 6 showers, found 5"):
        fetch({"kind": "download", "name": "rows"}, tmp_path / "raw2.json", **options)
    with pytest.raises(ConfigError, match="no files of role 'reference'; it has: train"):
        fetch({"kind": "download", "name": "rows"}, tmp_path / "raw2.json", role="reference", **options)


def test_registered_datasets_are_complete() -> None:
    assert len(REGISTERED) == 7
    for dataset in REGISTERED.values():
        load_geometry(dataset.geometry)
        for file in dataset.files:
            assert file.url.startswith("https://")
            if "calochallenge" in dataset.name:
                assert file.checksum and len(file.checksum) == 36
                assert f"/files/{file.name}?download=1" in file.url
            else:
                assert file.n_showers == 100_000
    challenge = [d for name, d in REGISTERED.items() if name.startswith("calochallenge")]
    for dataset in challenge:
        assert len(dataset.of_role("train")) == len(dataset.of_role("reference"))
    checksums = [file.checksum for dataset in challenge for file in dataset.files]
    assert len(set(checksums)) == len(checksums) == 10


def test_import_is_light() -> None:
    code = (
        "import sys, calopipe.sources; print([m for m in ('torch', 'requests', 'pooch', 'h5py') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
