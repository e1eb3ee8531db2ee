"""Which addresses files are fetched from, also where a server sends its visitors elsewhere.

An address in a configuration is the user's choice, whatever host it names. A redirect is the server's: one from outside
to this machine or its network would fetch what only insiders can reach (a router's page, a cloud's credentials), so it
is not followed.
"""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urljoin, urlsplit

import requests

from calopipe.config.texts import address
from calopipe.errors import DownloadError


def check_redirect(first: str, target: str, has_checksum: bool) -> None:
    """Raise DownloadError where the redirect of a download of `first` to `target` is not to be followed."""
    try:
        address(target)
    except ValueError as error:
        raise DownloadError(f"{first}: the server redirects to something else: {error}") from error
    if is_internal(host_of(target)) and not is_internal(host_of(first)):
        raise DownloadError(
            f"{first}: the server redirects to {target}, an address of this machine or its network; not followed"
        )
    if urlsplit(first).scheme == "https" and urlsplit(target).scheme == "http" and not has_checksum:
        raise DownloadError(f"{first}: the server redirects to {target}, which is not encrypted; give a checksum")


def host_of(url: str) -> str:
    """The host of a valid address."""
    return urlsplit(url).hostname or ""


def is_internal(host: str) -> bool:
    """Whether a host is, or may be, this machine or one of its network: loopback, link-local, private, reserved."""
    if host == "localhost" or host.endswith((".localhost", ".local", ".internal")):
        return True
    return any(not ip.is_global or ip.is_multicast for ip in _addresses(host))


def _addresses(host: str) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    """What a host's name stands for; nothing where it is not known here (but may be to a proxy)."""
    try:
        found = {item[4][0] for item in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError):
        return []
    addresses = []
    for text in found:
        ip = ipaddress.ip_address(str(text).partition("%")[0])
        addresses.append(getattr(ip, "ipv4_mapped", None) or ip)
    return addresses


class Session(requests.Session):
    """A session for one download, which looks at redirects before it follows them.

    Args:
        url: where the download begins.
        has_checksum: whether the content will be compared with a checksum.
    """

    def __init__(self, url: str, has_checksum: bool) -> None:
        super().__init__()
        self._url, self._has_checksum = url, has_checksum

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Where a response sends us, or None. Raises DownloadError where we do not go."""
        target = super().get_redirect_target(resp)
        if target is not None:
            check_redirect(self._url, urljoin(resp.url, target), self._has_checksum)
        return target
