"""Fixtures that several tests share. Tests never write into the tree."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

#: set before anything imports numerical libraries: tests share the processors with each other
os.environ.setdefault("OMP_NUM_THREADS", "1" if "PYTEST_XDIST_WORKER" in os.environ else "2")
os.environ.setdefault("MPLBACKEND", "Agg")

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared() -> Path:
    """Reference files that are not part of the repository: $CALOPIPE_SHARED, or the folder `shared` beside the checkout.

    Tests that need it are skipped where there is none, and fail where CALOPIPE_REQUIRE_SHARED=1.
    """
    folder = Path(os.environ.get("CALOPIPE_SHARED") or REPOSITORY.parent / "shared")
    if folder.is_dir():
        return folder
    reason = f"no reference files at {folder} (set CALOPIPE_SHARED)"
    if os.environ.get("CALOPIPE_REQUIRE_SHARED") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def sample() -> Path:
    """The bundled sample of showers."""
    return REPOSITORY / "resources" / "calogan_eplus_sample.hdf5"
