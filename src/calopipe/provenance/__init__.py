"""Where a result comes from: what it says of itself, and the records of what made it, followed back to raw files."""

from calopipe.canonical import digest
from calopipe.origin import code_version, git_state, hardware, versions
from calopipe.provenance.labels import collect

__all__ = ["code_version", "collect", "digest", "git_state", "hardware", "versions"]
