"""Peak memory of a training against the size of its file, and the time of a step with showers from disk and in memory.

Writes files of showers: of CaloChallenge 3's grid (40 500 voxels, about 10 % filled) for the memory, of set 2's (6480 voxels) for
the time. Their blocks of 200 showers are alike, so that a file of 16 GB takes seconds to write; it is as long to read as any. Then
trains a network on each in a fresh process, one epoch for the memory (ru_maxrss; --model: a plain autoencoder, or a hurdle VAE, whose steps take longer
and need more themselves) and several for the time (a hurdle VAE): the median over the epochs but the first, of both ways. All files are deleted afterwards.

    python benchmarks/training_memory.py [--showers 25000 50000 100000] [--timed 100000] [--threads 1] [--out FOLDER] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import logging
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import torch

from calopipe.config import NetworkStage, validate
from calopipe.config.links import Link
from calopipe.geometry import load_geometry
from calopipe.io import ShowerWriter
from calopipe.training import TrainingJob, train_network

BLOCK = 200


def write(path: Path, geometry: str, n: int, filled: float, seed: int = 0) -> None:
    """Write n showers, blocks of 200 that are alike, compressed as prepared files are."""
    grid, rng = load_geometry(geometry), np.random.default_rng(seed)
    with ShowerWriter(path, grid, compression=2) as out:
        incident = 10 ** rng.uniform(3, 6, (BLOCK, 1))
        showers = rng.exponential(1.0, (BLOCK, grid.n_voxels)) * (rng.random((BLOCK, grid.n_voxels)) < filled)
        out.append_arrays(incident, showers.astype(np.float32))
    with h5py.File(path, "r+") as file:
        data, energies = file["showers"], file["incident_energies"]
        rows = data.chunks[0]
        whole = BLOCK // rows * rows
        chunks = [data.id.read_direct_chunk((start, 0)) for start in range(0, whole, rows)]
        data.resize(n // rows * rows, axis=0)
        for start in range(0, len(data), rows):
            mask, content = chunks[start // rows % len(chunks)]
            data.id.write_direct_chunk((start, 0), content, mask)
        energies.resize(len(data), axis=0)
        energies[:] = np.resize(incident, (len(data), 1))


MODELS = {
    "ae": {"name": "ae", "hidden": [64], "latent": 16},
    "hurdle_vae": {"name": "hurdle_vae", "hidden": [64, 64], "latent": 16},
}


def train(folder: Path, geometry: str, window_MB: float, epochs: int, threads: int, model: str) -> dict[str, Any]:
    """Train on ``train.hdf5`` of a folder in this process; what it took."""
    torch.set_num_threads(threads)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    settings = {
        "learns": "showers",
        "preprocessing": [{"step": "layer_normalise", "extras": "condition", "ratio_scale": 0.1}, "log_condition"],
        "model": MODELS[model],
        "training": {"epochs": epochs, "batch_size": 128, "lr": 1e-4, "weights": "last", "window_MB": window_MB},
    }
    own = (folder / "model.pt", folder / "history.csv", folder / "rolling")
    job = TrainingJob(folder / "train.hdf5", folder / "val.hdf5", geometry, *own, threads=threads)
    train_network(
        validate(NetworkStage, settings, "autoencoder"), Link("autoencoder", "showers", (), "Autoencoder"), job
    )
    seconds, steps = pd.read_csv(own[1])["seconds"].to_numpy(), pd.read_csv(own[1])["step"].to_numpy()
    own[0].unlink()
    return {
        "peak_MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6,
        "before_MB": before * 1024 / 1e6,
        "epochs_s": np.diff(seconds, prepend=0).tolist(),
        "steps": int(steps[0]),
    }


def apart(*arguments: object) -> dict[str, Any]:
    """Train in a fresh process, so that its peak memory is its own."""
    command = [sys.executable, __file__, "--train", *(str(a) for a in arguments)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def main() -> None:
    """Write, train, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--showers", type=int, nargs="*", default=[25_000, 50_000, 100_000], help="of set 3, in files of their own"
    )
    parser.add_argument("--timed", type=int, default=100_000, help="showers of set 2, for the time; 0: none")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=None, help="folder for the temporary files (default: the system's)")
    parser.add_argument("--json", type=Path, default=None, help="also write the result to this file")
    parser.add_argument("--model", choices=MODELS, default="ae")
    parser.add_argument("--train", nargs=6, help=argparse.SUPPRESS)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    if args.train:
        folder, geometry, window, epochs, threads, model = args.train
        print(json.dumps(train(Path(folder), geometry, float(window), int(epochs), int(threads), model)))
        return
    found: dict[str, Any] = {"memory": [], "time": {}}
    with tempfile.TemporaryDirectory(dir=args.out) as name:
        folder = Path(name)
        write(folder / "val.hdf5", "calochallenge3", 400, 0.1)
        for n in args.showers:
            write(folder / "train.hdf5", "calochallenge3", n, 0.1)
            size = 4e-9 * n * load_geometry("calochallenge3").n_voxels
            found["memory"].append(
                {"showers": n, "GB": size} | apart(folder, "calochallenge3", 512, 1, args.threads, args.model)
            )
            print(found["memory"][-1], flush=True)
        if args.timed:
            write(folder / "val.hdf5", "calochallenge2", 400, 0.05)
            write(folder / "train.hdf5", "calochallenge2", args.timed, 0.05)
            ways = {"disk": 512, "memory": 1e6}
            for way, window in ways.items():
                made = apart(folder, "calochallenge2", window, 4, args.threads, "hurdle_vae")
                made["step_ms"] = 1e3 * float(np.median(made["epochs_s"][1:])) / made["steps"]
                found["time"][way] = made
                print(way, made, flush=True)
            found["ratio"] = found["time"]["disk"]["step_ms"] / found["time"]["memory"]["step_ms"]
    print(json.dumps(found, indent=1))
    if args.json:
        args.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
