"""Fixtures that several tests share. Tests never write into the tree."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from calopipe.devices import gpu_visible

# set before anything imports numerical libraries: tests share the processors with each other; a worker has the controller's environment
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.setdefault("MPLBACKEND", "Agg")
if not gpu_visible():  # Triton reads this when kernels are defined, and when it is imported
    os.environ.setdefault("TRITON_INTERPRET", "1")

REPOSITORY = Path(__file__).resolve().parents[1]


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One process more than processors: some tests wait, for a cluster, Snakemake or a process they have stopped."""
    return (os.cpu_count() or 1) + 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The file that takes longest begins first, so that no process waits for it in the end (with --no-loadscope-reorder)."""
    items.sort(key=lambda item: item.path.name != "test_workflow.py")


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of the checkout."""
    return REPOSITORY


class Reference(type(Path())):
    """A path below the folder of reference files. A test that asks for one that is not there, by ``/``, ends there: it is
    skipped, or fails where CALOPIPE_REQUIRE_SHARED=1.
    """

    def __truediv__(self, name: str) -> Reference:
        path = super().__truediv__(name)
        if not path.exists():
            reason = f"no reference file {path} (set CALOPIPE_SHARED)"
            (pytest.fail if os.environ.get("CALOPIPE_REQUIRE_SHARED") == "1" else pytest.skip)(reason)
        return path


@pytest.fixture(scope="session")
def shared() -> Reference:
    """Reference files that are not part of the repository: $CALOPIPE_SHARED, or the folder `shared` beside the checkout.

    The folder may be missing, or be somebody else's: each file is looked for when a test asks for it.
    """
    return Reference(os.environ.get("CALOPIPE_SHARED") or REPOSITORY.parent / "shared")


@pytest.fixture(scope="session")
def sample() -> Path:
    """The bundled sample of showers."""
    return REPOSITORY / "resources" / "calogan_eplus_sample.hdf5"
