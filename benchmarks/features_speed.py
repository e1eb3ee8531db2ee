"""Speed and memory of the high-level features, against the algorithm of the CaloChallenge's evaluation in plain numpy.

Writes 100 000 showers of set-2 geometry (6480 voxels), resampled from a real sample, then computes the 362 `high` features
of all of them, streamed from disk: with calopipe, and with the published algorithm (float64, layer by layer, each sum an
expression of its own, as in the challenge's HighLevelFeatures). Every measurement is a fresh process; the two take turns,
and medians of the processor time are compared. Both read the same pieces in the same way.

    python benchmarks/features_speed.py --data ds2like_electrons.hdf5 [--showers 100000] [--repeats 3] [--out FOLDER]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from calopipe.geometry import Geometry, load_geometry
from calopipe.io import ShowerWriter, iter_showers, read_showers
from calopipe.metrics.features import features_high
from calopipe.observables import compute

GEOMETRY = "calochallenge2"
LIMIT_RATIO, LIMIT_MB = 0.2, 2000
Features = Callable[[np.ndarray, np.ndarray, Geometry], np.ndarray]


def make(data: Path, path: Path, n: int) -> None:
    """Write `n` showers drawn with replacement from `data`."""
    source, rng = read_showers(data), np.random.default_rng(0)
    with ShowerWriter(path, load_geometry(GEOMETRY), compression=1) as out:
        for first in range(0, n, 2000):
            rows = rng.integers(len(source), size=min(2000, n - first))
            out.append_arrays(source.incident_energies[rows], source.showers[rows])


def calopipe_features(showers: np.ndarray, incident: np.ndarray, geometry: Geometry) -> np.ndarray:
    """What evaluation and classifiers use."""
    return features_high(compute(showers, incident, geometry, brightest=0), incident)


def plain_features(showers: np.ndarray, incident: np.ndarray, geometry: Geometry) -> np.ndarray:
    """The published algorithm: one numpy expression per sum, layer by layer, in float64."""
    data, incident = showers.astype(np.float64), incident.astype(np.float64).reshape(-1, 1)
    data[data < geometry.threshold_MeV] = 0
    columns: dict[str, list[np.ndarray]] = {}
    for i, part in enumerate(geometry.layer_slices):
        energy = data[:, part]
        columns.setdefault("layer", []).append(np.log10(energy.sum(axis=-1) + 1e-8))
        columns.setdefault("sparsity", []).append(1.0 - (energy > 0).mean(axis=-1))
        axes = {"r": geometry.r[part]}
        if i in geometry.alpha_layers:
            axes |= {"eta": geometry.eta[part], "phi": geometry.phi[part]}
        for axis, position in axes.items():
            centre = (position * energy).sum(axis=-1) / (energy.sum(axis=-1) + 1e-16)
            square = (position * position * energy).sum(axis=-1) / (energy.sum(axis=-1) + 1e-16)
            columns.setdefault(f"EC_{axis}", []).append(centre / 100)
            columns.setdefault(f"width_{axis}", []).append(np.sqrt((square - centre**2).clip(min=0.0)) / 100)
    total = [np.log10(data.sum(axis=-1) + 1e-8)]
    order = ("layer", "EC_eta", "EC_phi", "width_eta", "width_phi", "total", "sparsity", "EC_r", "width_r")
    columns["total"] = total
    return np.concatenate([np.log10(incident), *(np.stack(columns[k], axis=1) for k in order)], axis=1)


def measure(path: Path, features: Features) -> dict[str, Any]:
    """Features of a whole file in this process: times, peak memory, and a sum to compare by."""
    geometry = load_geometry(GEOMETRY)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    table, spent = [], 0.0
    start, wall = time.process_time(), time.perf_counter()
    for chunk in iter_showers(path, geometry=geometry):
        begin = time.process_time()
        table.append(features(chunk.showers, chunk.incident_energies, geometry).astype(np.float32, copy=False))
        spent += time.process_time() - begin
    result = np.concatenate(table)
    return {
        "features_s": spent,
        "total_s": time.process_time() - start,
        "wall_s": time.perf_counter() - wall,
        "peak_MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6,
        "before_MB": before,
        "shape": result.shape,
        "means": result.mean(axis=0, dtype=np.float64).tolist(),
    }


def in_new_process(*arguments: str) -> dict[str, Any]:
    """Run this script with `arguments` in a fresh process with one thread, so that its peak memory is its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, __file__, *arguments]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout)


def main() -> int:
    """Make the file, let the two take turns, report; exit status 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="showers of set-2 geometry to resample")
    parser.add_argument("--showers", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=None, help="folder for the temporary file (default: the system's)")
    parser.add_argument("--make", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--measure", nargs=2, metavar=("WAY", "PATH"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    ways: dict[str, Features] = {"calopipe": calopipe_features, "plain": plain_features}
    if options.measure:
        print(json.dumps(measure(Path(options.measure[1]), ways[options.measure[0]])))
        return 0
    if options.make:
        make(options.data, options.make, options.showers)
        print("{}")
        return 0
    with tempfile.TemporaryDirectory(prefix="features-speed-", dir=options.out) as folder:
        path = Path(folder) / "showers.hdf5"
        in_new_process("--make", str(path), "--data", str(options.data), "--showers", str(options.showers))
        runs: dict[str, list[dict[str, Any]]] = {way: [] for way in ways}
        for _ in range(options.repeats):
            for way in ways:
                runs[way].append(in_new_process("--measure", way, str(path)))
    result: dict[str, Any] = {"showers": options.showers, "repeats": options.repeats}
    for way, found in runs.items():
        keys = ("features_s", "total_s", "wall_s", "peak_MB", "before_MB")
        result[way] = {k: round(float(np.median([f[k] for f in found])), 3) for k in keys}
    means = [np.array(runs[way][0]["means"]) for way in ways]
    result["largest_difference_of_means"] = float(np.abs(means[0] - means[1]).max())
    result["ratio_features"] = result["calopipe"]["features_s"] / result["plain"]["features_s"]
    result["ratio_with_reading"] = result["calopipe"]["total_s"] / result["plain"]["total_s"]
    print(json.dumps(result, indent=2))
    return 0 if result["ratio_features"] <= LIMIT_RATIO and result["calopipe"]["peak_MB"] < LIMIT_MB else 1


if __name__ == "__main__":
    sys.exit(main())
