"""Peak memory and speed of preparing a shower file that is much larger than the memory it may take.

Writes synthetic showers on the grid of CaloChallenge dataset 3 (45 x 50 x 18 = 40 500 voxels, about 10 % filled), by
default 27 000 of them: 4.4 GB uncompressed. Then runs `calopipe.io.prepare.prepare` on the file in a fresh process and
reports that process's peak resident memory (ru_maxrss), time and throughput. All files are deleted afterwards.

    python benchmarks/prepare_memory.py [--showers 27000] [--files 1] [--out FOLDER] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from calopipe.geometry import load_geometry
from calopipe.io import ShowerWriter
from calopipe.io.prepare import prepare

GEOMETRY = "calochallenge3"
LIMIT_MB = 1500


def make(path: Path, n: int, seed: int) -> dict[str, Any]:
    """Write `n` synthetic showers in pieces of 500; the filled share of voxels rises with the incident energy."""
    geometry = load_geometry(GEOMETRY)
    rng = np.random.default_rng(seed)
    with ShowerWriter(path, geometry, compression=1) as out:
        for first in range(0, n, 500):
            rows = min(500, n - first)
            incident = 10 ** rng.uniform(3, 6, (rows, 1))
            filled = rng.random((rows, geometry.n_voxels), dtype=np.float32) < 0.2 * (np.log10(incident) - 3) / 3
            showers = np.zeros((rows, geometry.n_voxels), dtype=np.float32)
            showers[filled] = rng.exponential(1.0, int(filled.sum()))
            out.append_arrays(incident, showers)
    return {"file_MB": path.stat().st_size / 1e6}


def run_prepare(folder: Path) -> dict[str, Any]:
    """Prepare the raw files in `folder`; return what was measured in this process."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    outputs = {split: folder / "prepared" / f"{split}.hdf5" for split in ("train", "val", "test")}
    summary = prepare(sorted(folder.glob("raw*.hdf5")), outputs, GEOMETRY)
    return {
        "seconds": time.perf_counter() - start,
        "cpu_seconds": time.process_time(),
        "peak_MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6,
        "peak_before_MB": before * 1024 / 1e6,
        "n": {split: content["n"] for split, content in summary["splits"].items()},
        "occupancy": summary["splits"]["train"]["occupancy"],
    }


def in_new_process(*arguments: str) -> dict[str, Any]:
    """Run this script with `arguments` in a fresh process, so that its peak memory is its own."""
    done = subprocess.run([sys.executable, __file__, *arguments], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def main() -> int:
    """Make, prepare, report; exit status 1 when the peak is above the limit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--showers", type=int, default=27_000, help="showers in all files together")
    parser.add_argument("--files", type=int, default=1, help="number of raw files to pool")
    parser.add_argument("--out", type=Path, default=None, help="folder for the temporary files (default: the system's)")
    parser.add_argument("--json", type=Path, default=None, help="also write the result to this file")
    parser.add_argument("--make", nargs=3, metavar=("PATH", "N", "SEED"), help=argparse.SUPPRESS)
    parser.add_argument("--prepare", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.make:
        print(json.dumps(make(Path(options.make[0]), int(options.make[1]), int(options.make[2]))))
        return 0
    if options.prepare:
        print(json.dumps(run_prepare(options.prepare)))
        return 0
    each = options.showers // options.files
    uncompressed = 4e-6 * each * options.files * (load_geometry(GEOMETRY).n_voxels + 1)
    with tempfile.TemporaryDirectory(prefix="prepare-memory-", dir=options.out) as temporary:
        start = time.perf_counter()
        made = [in_new_process("--make", f"{temporary}/raw{i}.hdf5", str(each), str(i)) for i in range(options.files)]
        result = {
            "showers": each * options.files,
            "uncompressed_MB": uncompressed,
            "compressed_MB": sum(file["file_MB"] for file in made),
            "make_seconds": time.perf_counter() - start,
            **in_new_process("--prepare", temporary),
        }
    result["showers_per_s"] = result["showers"] / result["seconds"]
    result["MB_per_s"] = uncompressed / result["seconds"]
    result["MB_per_cpu_s"] = uncompressed / result["cpu_seconds"]
    result["limit_MB"] = LIMIT_MB
    print(json.dumps(result, indent=2))
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 0 if result["peak_MB"] < LIMIT_MB else 1


if __name__ == "__main__":
    sys.exit(main())
