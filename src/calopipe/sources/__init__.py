"""Where raw shower files come from: bundled samples, local files, downloads (registered datasets or explicit URLs)."""

from calopipe.sources.fetching import FetchedFile, default_cache, fetch, read_manifest
from calopipe.sources.registered import REGISTERED, RemoteDataset, RemoteFile, registered
from calopipe.sources.transfer import Retry, download

__all__ = [
    "REGISTERED",
    "FetchedFile",
    "RemoteDataset",
    "RemoteFile",
    "Retry",
    "default_cache",
    "download",
    "fetch",
    "read_manifest",
    "registered",
]
