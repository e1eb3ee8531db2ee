"""Where raw shower files come from: bundled samples, local files, downloads (registered datasets or explicit URLs)."""

from calopipe.sources.fetching import FetchedFile, bundled, default_cache, fetch, looking, read_manifest
from calopipe.sources.registered import (
    REFERENCE,
    REGISTERED,
    SETS,
    TRAIN,
    RemoteDataset,
    RemoteFile,
    is_official_reference,
    registered,
)
from calopipe.sources.transfer import Retry, download

__all__ = [
    "REFERENCE",
    "REGISTERED",
    "SETS",
    "TRAIN",
    "FetchedFile",
    "RemoteDataset",
    "RemoteFile",
    "Retry",
    "bundled",
    "default_cache",
    "download",
    "fetch",
    "is_official_reference",
    "looking",
    "read_manifest",
    "registered",
]
