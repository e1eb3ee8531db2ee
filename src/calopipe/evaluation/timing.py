"""Generation time per shower against the batch size."""

from __future__ import annotations

import logging
import os
import platform
import resource
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from calopipe.config.evaluation import TimingConfig
from calopipe.devices import synchronise
from calopipe.errors import DataError
from calopipe.records.files import write_json

log = logging.getLogger("calopipe")

Sampler = Callable[[np.ndarray], np.ndarray]
#: conditions (B, C) -> seconds spent in each network
Parts = Callable[[np.ndarray], Mapping[str, float]]


def measure_timing(
    sampler: Sampler,
    conditions: np.ndarray,
    *,
    config: TimingConfig,
    out: Path,
    device: str | None = None,
    most: int | None = None,
    parts: Parts | None = None,
    known: Mapping[str, Any] = MappingProxyType({}),
) -> dict[str, Any]:
    """Time `sampler` for each batch size and write the record as JSON.

    Each batch size is called once to warm up and then ``config.repeats`` times, fewer when ``config.max_seconds`` are
    over; if the warm-up alone took that long, it is the measurement (``warmed_up`` is false).

    Args:
        sampler: conditions (B, C) -> showers (B, V); called as it is used, transfers included.
        conditions: (N,) or (N, C) conditions that are cycled through, incident energies in MeV first.
        device: ``cpu`` or ``cuda``: what the sampler computes on; None: what ``config.device`` means on this machine.
        most: rows that the sampler passes at once, at most; None: any number.
        parts: the same, but gives the seconds spent in each network; called once more per batch size, after its repeats, with
            as many of its rows as ``config.max_seconds`` are enough for.
        known: further entries of the record: ``geant4_ms``, Geant4's time per shower for comparison, and ``geant4_source``, where that is from (or None);
            ``parameters``, name of each network -> how many it has.

    Returns:
        device (its name), threads, peak_memory_MiB (of the process, before and during), accelerator_memory_MiB (None on a
        CPU), what is `known`, and ``results``: batch_size, at_once, median_ms, low_ms, high_ms (per shower; 16 and 84 %
        quantiles of the repeats), n_repeats, warmed_up, seconds (each call), and networks_ms with `parts` (per shower, by name).

    Raises:
        DataError: no energies, or the sampler returns another number of showers than it was asked for.
    """
    device = device or _device(config.device)
    conditions = np.asarray(conditions, dtype=np.float32).reshape(len(conditions), -1)
    if not len(conditions):
        raise DataError("timing: no incident energies")
    results = []
    for size in config.batch_sizes:
        batch = np.resize(conditions, (size, conditions.shape[1]))
        at_once = {"batch_size": size, "at_once": min(size, most or size)}
        found = {**at_once, **_measure(sampler, batch, config, device)}
        if parts is not None:
            some = batch[: max(1, int(config.max_seconds / found["median_ms"] * 1e3))]
            found["networks_ms"] = {name: seconds / len(some) * 1e3 for name, seconds in parts(some).items()}
        results.append(found)
    record = {
        "device": device_name(device),
        "threads": _threads(),
        "peak_memory_MiB": _peak_memory_MiB(),
        "accelerator_memory_MiB": _accelerator_memory_MiB(device),
        **known,
        "results": results,
    }
    write_json(out, record)
    return record


def _measure(sampler: Sampler, batch: np.ndarray, config: TimingConfig, device: str) -> dict[str, Any]:
    """Milliseconds per shower, and how they were measured."""
    seconds, warmed = _time_batch(sampler, batch, config, device)
    low, median, high = (float(q) for q in np.quantile(np.array(seconds) / len(batch) * 1e3, [0.16, 0.5, 0.84]))
    log.info("timing: batch of %d: %.4g ms per shower (%d calls)", len(batch), median, len(seconds))
    found = {"median_ms": median, "low_ms": low, "high_ms": high}
    return {**found, "n_repeats": len(seconds), "warmed_up": warmed, "seconds": seconds}


def _time_batch(sampler: Sampler, batch: np.ndarray, config: TimingConfig, device: str) -> tuple[list[float], bool]:
    """Seconds of each timed call, and whether a warm-up call came before them."""
    warm_up = _call(sampler, batch, device)
    if warm_up > config.max_seconds:
        return [warm_up], False
    seconds: list[float] = []
    while len(seconds) < config.repeats and (not seconds or sum(seconds) < config.max_seconds):
        seconds.append(_call(sampler, batch, device))
    return seconds, True


def _call(sampler: Sampler, batch: np.ndarray, device: str) -> float:
    synchronise(device)
    start = time.perf_counter()
    showers = sampler(batch)
    synchronise(device)
    elapsed = time.perf_counter() - start
    if len(showers) != len(batch):
        raise DataError(f"timing: asked for {len(batch)} showers, got {len(showers)}")
    return elapsed


def _torch() -> Any:
    """torch when something has imported it already; timing itself does not need it."""
    return sys.modules.get("torch")


def _device(name: str) -> str:
    if name != "auto":
        return name
    return "cuda" if _torch() and _torch().cuda.is_available() else "cpu"


def _threads() -> int:
    return _torch().get_num_threads() if _torch() else len(os.sched_getaffinity(0))


def device_name(device: str) -> str:
    """Name of the GPU, or of the processor with its architecture."""
    if device.startswith("cuda"):
        return str(_torch().cuda.get_device_name())
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _peak_memory_MiB() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def _accelerator_memory_MiB(device: str) -> float | None:
    return _torch().cuda.max_memory_allocated() / 2**20 if device.startswith("cuda") else None
