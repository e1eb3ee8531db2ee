"""The threads that run a compiled job: those of torch's own OpenMP library where it can be found (``GOMP_parallel``).

One pool then serves matrix products and splines, and none is left spinning on a core that the other needs. numba's
parallel loops are not used: they need a second OpenMP library on the system and abort after a fork.
"""

from __future__ import annotations

import ctypes
import logging
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

log = logging.getLogger(__name__)


@cache
def openmp() -> Any:
    """``GOMP_parallel`` of the OpenMP library that torch has loaded, or None."""
    try:
        with open("/proc/self/maps") as maps:
            names = {line.split()[-1] for line in maps if "libgomp" in line or "libomp" in line}
        own = sorted(names, key=lambda name: "torch" not in name)
        fork = ctypes.CDLL(own[0]).GOMP_parallel
    except (OSError, IndexError, AttributeError):
        log.info("torch's OpenMP library was not found: splines run on Python threads")
        return None
    fork.argtypes, fork.restype = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint], None
    return fork


class Process:
    """What a job needs to know of this process: OpenMP must not be entered in a child of a fork."""

    forked = False
    pool: ThreadPoolExecutor | None = None
    lock = threading.Lock()


def _after_fork() -> None:
    Process.forked, Process.pool, Process.lock = True, None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def run_threads(call: Callable[[int], Any], address: int, threads: int) -> None:
    """Run the job on Python threads (the compiled code holds no lock of the interpreter)."""
    with Process.lock:
        if Process.pool is None:
            Process.pool = ThreadPoolExecutor(max_workers=max(os.cpu_count() or 1, threads))
    others = [Process.pool.submit(call, address) for _ in range(threads - 1)]
    call(address)
    for other in others:
        other.result()
