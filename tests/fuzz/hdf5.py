"""Damaged and odd HDF5 files (and the NPZ, JSON and CSV files between the stages) through everything that reads them.

    python tests/fuzz/hdf5.py [--files 1000] [--seed 0]

A file is an ordinary one with flipped bits, cut, zeroed, overwritten or shifted ranges, or one of the structures of
structures.py, half of these damaged as well. A process of its own, with bounded memory, reads each in all ways; so a crash
of the HDF5 library is seen, and a hang ended. Each use of a file is one of

    refused      one line (CalopipeError)
    equal        what the undamaged file gives
    elsewhere    a use that does not touch what is odd: the energies of a file whose voxels overflow
    attributes   the same showers with other attributes
    values       other showers: bits of numbers that are stored without a checksum, or of their number format
    SILENT       a structure that must be refused was read; or another number of showers or voxels than before
    TRACEBACK, HANG, CRASH

The last two rows are failures. HDF5 keeps no checksum of uncompressed data in its usual format, so ``values`` cannot be 0.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from structures import ENERGIES, STRUCTURES, VOXELS, make, plain

#: for all uses of one file: seconds of the processor, and of the clock (for a reader that waits)
CPU_S, WAIT_S = 20.0, 600.0
OUTCOMES = ("refused", "equal", "elsewhere", "attributes", "values", "SILENT", "TRACEBACK", "HANG", "CRASH")
FAILURES = OUTCOMES[5:]
#: uses that read every shower, so that nothing odd can pass
READS_ALL = ("read", "show", "prepare", "evaluate")
RNG = np.random.Generator


# ---- ordinary files -------------------------------------------------------------------------------------------------
def _own(path: Path) -> None:
    from calopipe.io import Showers, write_showers

    write_showers(path, Showers(ENERGIES, VOXELS), "calogan", attributes={"source": "fuzz", "threshold_MeV": 0.01})


def _calogan(path: Path) -> None:
    from calopipe.io import Showers, write_calogan

    write_calogan(path, Showers(ENERGIES, VOXELS))


def _latest(path: Path) -> None:
    with h5py.File(path, "w", libver="latest") as file:
        file.create_dataset("incident_energies", data=ENERGIES, fletcher32=True, chunks=(10, 1))
        file.create_dataset("showers", data=VOXELS, fletcher32=True, chunks=(7, 504), maxshape=(None, 504))


def _chunked(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("incident_energies", data=ENERGIES, chunks=(10, 1))
        file.create_dataset("showers", data=VOXELS, chunks=(7, 100))


def _latents(path: Path) -> None:
    widths = {"mu": 4, "logvar": 4, "extras": 3, "layer_energies": 3}
    with h5py.File(path, "w", libver="earliest") as file:
        for key, width in widths.items():
            file.create_dataset(key, data=VOXELS[:, :width], fletcher32=True)
        file.create_dataset("conditions", data=ENERGIES, fletcher32=True)
        file.attrs["encoded_by"] = "0123"


def _histograms(path: Path) -> None:
    from calopipe.records.histograms import Histogram, save_histograms

    counts = {"reference": np.arange(5), "generated": np.arange(5) + 1}
    one = Histogram("E_ratio", "energies", "x", np.linspace(0, 1, 6), counts, {"reference": 10, "generated": 15})
    save_histograms(path, [one])


def _scores(path: Path) -> None:
    from calopipe.records.scores import Score, save_scores

    save_scores(path, [Score("fpd", 1.25, 0.125, 500, seed=3, extra={"target": 0.5}), Score.absent("kpd", 5, "x")])


def _history(path: Path) -> None:
    path.write_text(
        "epoch,step,train_loss,val_loss,lr\n" + "".join(f"{i},{9 * i},{1 / (i + 1)},,0.001\n" for i in range(20))
    )


#: kind -> (suffix, what writes it)
ORDINARY: dict[str, tuple[str, Callable[[Path], None]]] = {
    "plain h5py file": ("hdf5", plain),
    "chunked, no filter": ("hdf5", _chunked),
    "of calopipe (gzip)": ("hdf5", _own),
    "CaloGAN's layout": ("hdf5", _calogan),
    "newest format, checksums": ("hdf5", _latest),
    "latents": ("hdf5", _latents),
    "histograms (NPZ)": ("npz", _histograms),
    "scores (JSON)": ("json", _scores),
    "training log (CSV)": ("csv", _history),
}


# ---- damage ---------------------------------------------------------------------------------------------------------
def damaged(data: bytes, rng: RNG) -> bytes:
    """A damaged copy; half of the places are in the first 4 kB, where HDF5 describes what follows."""
    content, n = bytearray(data), len(data)
    kind = rng.integers(7)

    def place() -> int:
        return int(rng.integers(min(n, 4096) if rng.random() < 0.5 else n))

    if kind <= 1:
        for _ in range(int(rng.integers(1, 9))):
            content[place()] ^= 1 << int(rng.integers(8))
    elif kind == 2:
        return bytes(content[: int(n * rng.random())])
    elif kind == 3:
        start, size = place(), int(2 ** rng.uniform(0, 12))
        content[start : start + size] = bytes(min(size, n - start))
    elif kind == 4:
        start, size = place(), int(2 ** rng.uniform(0, 8))
        content[start : start + size] = rng.bytes(min(size, n - start))
    elif kind == 5:
        source, target, size = place(), place(), int(2 ** rng.uniform(3, 10))
        block = content[source : source + size]
        content[target : target + len(block)] = block[: n - target]
    else:
        start, size = place(), int(rng.integers(1, 16))
        content = content[:start] + (rng.bytes(size) if rng.random() < 0.5 else b"") + content[start + size :]
    return bytes(content)


@dataclass
class Trial:
    """One file: where it is, what it was made from, and whether reading it is wrong."""

    path: Path
    kind: str
    refused: bool = False
    pristine: dict[str, Any] | None = None
    rename: dict[str, Path] = field(default_factory=dict)


def trials(n: int, folder: Path, rng: RNG) -> Any:
    """Write and yield `n` files in turn; one in five is an odd structure, each of them at least once where n allows."""
    contents = {}
    for i, (kind, (suffix, write)) in enumerate(ORDINARY.items()):
        path = folder / "ordinary" / f"{i}.{suffix}"
        path.parent.mkdir(exist_ok=True)
        write(path)
        contents[kind] = path
    yield from (Trial(path, f"undamaged: {kind}") for kind, path in contents.items())
    odd = list(STRUCTURES)
    for i in range(n):
        where = folder / f"t{i}"
        where.mkdir()
        if i % 5 == 0:
            name = odd[(i // 5) % len(odd)]
            path = where / "f.hdf5"
            make(name, path)
            again = (i // 5) // len(odd)
            if again:
                path.write_bytes(damaged(path.read_bytes(), rng))
            yield Trial(
                path, "odd structures, damaged" if again else "odd structures", STRUCTURES[name][1] and not again
            )
        else:
            kind = list(ORDINARY)[int(rng.integers(len(ORDINARY)))]
            path = where / f"f.{ORDINARY[kind][0]}"
            path.write_bytes(damaged(contents[kind].read_bytes(), rng))
            yield Trial(path, kind)


# ---- uses, in a process of their own ----------------------------------------------------------------------------------
def _digest(*arrays: Any) -> list[Any]:
    import hashlib

    found = hashlib.sha256()
    for array in arrays:
        found.update(np.ascontiguousarray(array).tobytes())
    return [[list(np.shape(a)) for a in arrays], found.hexdigest()]


def uses(path: Path) -> dict[str, Callable[[], Any]]:
    """What a file is used for: name -> function that returns what was read, as plain data: [shape, digest, attributes]."""
    from calopipe.evaluation.challenge import summarise
    from calopipe.evaluation.challenge_inputs import check_pair
    from calopipe.evaluation.challenge_setup import Setup
    from calopipe.generate import incident_energies
    from calopipe.geometry import load_geometry
    from calopipe.io import file_info, iter_showers, joined_showers, read_showers
    from calopipe.io.prepare import prepare
    from calopipe.records.histograms import load_cross_sections, load_histograms
    from calopipe.records.history import read_history
    from calopipe.records.scores import load_scores
    from calopipe.show import summarise as show
    from calopipe.sources import fetch, read_manifest
    from calopipe.training.data import load_latents

    out = path.parent

    def read() -> Any:
        pieces = list(iter_showers(path, chunk_rows=16))
        return _digest(*(np.concatenate([getattr(p, k) for p in pieces]) for k in ("incident_energies", "showers")))

    def prepared() -> Any:
        files = {split: out / f"{split}.hdf5" for split in ("train", "val", "test")}
        prepare(path, files, "calogan", threshold_MeV=0.0)
        found = [read_showers(file) for file in files.values()]
        return _digest(*(getattr(f, k) for f in found for k in ("incident_energies", "showers")))

    def fetched() -> Any:
        files = fetch({"kind": "local", "paths": [str(path)]}, out / "raw.json")
        read_manifest(out / "raw.json")
        return [files[0].n_showers, files[0].n_voxels]

    def evaluate() -> Any:
        setup = Setup.of(None, load_geometry("calogan"), 0.01)
        with joined_showers([path, path], out / "joined.hdf5") as two:
            energies = check_pair(two, path, setup.readout.geometry).energies
        found = summarise(path, "fuzz", setup, [])
        return _digest(energies, *(found.mean[k] for k in found.mean))

    def info() -> Any:
        found = file_info(path)
        return [[found.n_showers, found.n_voxels], found.layout, json.dumps(found.attributes, default=str)]

    def latents() -> Any:
        found = load_latents(path)
        parts = (found.mu, found.logvar, found.extras, found.conditions, found.layer_energies)
        return _digest(*(part.numpy() for part in parts))

    if path.suffix == ".npz":
        return {"histograms": lambda: repr((load_histograms(path), load_cross_sections(path)))}
    if path.suffix == ".json":
        return {"scores": lambda: repr(load_scores(path))}
    if path.suffix == ".csv":
        return {"losses": lambda: repr(read_history(path, rows=20))}
    return {
        "info": info,
        "read": read,
        "rows": lambda: _digest(read_showers(path, rows=[3, 1, 30]).showers),
        "energies": lambda: _digest(incident_energies(str(path), None, 0)),
        "show": lambda: show(path),
        "fetch": fetched,
        "prepare": prepared,
        "evaluate": evaluate,
        "latents": latents,
    }


def worker() -> None:
    """Answer each path on standard input with a line: use -> [outcome, what was read or the message]."""
    import logging
    import resource
    import warnings

    resource.setrlimit(resource.RLIMIT_AS, (8 * 2**30, 8 * 2**30))
    logging.disable(logging.CRITICAL)
    from calopipe.errors import CalopipeError

    uses(Path("imports everything.hdf5"))
    for line in sys.stdin:
        path, found = Path(json.loads(line)), {}
        signal.setitimer(signal.ITIMER_PROF, CPU_S)  # ends the process, also in the HDF5 library
        for name, use in uses(path).items():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    found[name] = ["read", use()]
                except CalopipeError as error:
                    found[name] = ["refused" if str(error).isprintable() else "TRACEBACK", str(error)]
                except BaseException as error:
                    found[name] = ["TRACEBACK", f"{type(error).__name__}: {error}"]
        print(json.dumps(found, default=str), flush=True)


class Worker:
    """The process that reads; started anew when it has died or hung."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def __call__(self, path: Path) -> dict[str, list[Any]]:
        if self._process is not None and self._process.poll() is not None:
            self.close()
        if self._process is None:
            command = [sys.executable, __file__, "--worker"]
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(str(path)) + "\n")
        self._process.stdin.flush()
        ready, _, _ = select.select([self._process.stdout], [], [], WAIT_S)
        line = self._process.stdout.readline() if ready else ""
        if line:
            return json.loads(line)
        late = not ready or self._process.wait() == -signal.SIGPROF
        self.close()
        return {"all": ["HANG" if late else "CRASH", str(path)]}

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()  # closes its pipes, too
            self._process = None


def judge(trial: Trial, use: str, outcome: str, value: Any, pristine: dict[str, Any]) -> str:
    """One of OUTCOMES."""
    if outcome != "read":
        return outcome
    if trial.refused:
        return "SILENT" if use in READS_ALL else "elsewhere"
    expected = pristine.get(trial.kind, pristine["plain h5py file"] if trial.kind.startswith("odd") else {}).get(use)
    if value == expected:
        return "equal"
    if trial.kind.startswith("odd"):
        return "attributes" if use in ("info", "show") and trial.kind == "odd structures" else "values"
    if isinstance(value, list) and isinstance(expected, list) and value[0] != expected[0]:
        return "SILENT"
    return "attributes" if use in ("info", "show") else "values"


def run(files: int, seed: int, folder: Path) -> tuple[dict[str, Counter[str]], list[str]]:
    """Counts of outcomes by kind of file, and a line for every failure."""
    rng, worker_ = np.random.default_rng(seed), Worker()
    counts: dict[str, Counter[str]] = {}
    pristine: dict[str, dict[str, Any]] = {}
    failures = []
    try:
        for trial in trials(files, folder, rng):
            found = worker_(trial.path)
            name = trial.kind.removeprefix("undamaged: ")
            if name != trial.kind:
                pristine[name] = {use: value for use, (outcome, value) in found.items() if outcome == "read"}
                wrong = [v for outcome, v in found.values() if outcome not in ("read", "refused")]
                assert pristine[name] and not wrong, (name, found)
                continue
            for use, (outcome, value) in found.items():
                judged = judge(trial, use, outcome, value, pristine)
                counts.setdefault(name, Counter())[judged] += 1
                if judged in FAILURES:
                    failures.append(f"{judged}: {use} of {trial.path} ({trial.kind}): {str(value)[:200]}")
    finally:
        worker_.close()
    return counts, failures


def main() -> int:
    """Run the trials and print their counts; 1 when there is a failure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="keep the files here")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        worker()
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        counts, failures = run(options.files, options.seed, folder)
    print(f"| {options.files} files, seed {options.seed} | {' | '.join(OUTCOMES)} |")
    print("|---" * (len(OUTCOMES) + 1) + "|")
    for name, found in [*counts.items(), ("all", sum(counts.values(), Counter()))]:
        print(f"| {name} | {' | '.join(str(found[k]) for k in OUTCOMES)} |")
    for line in failures:
        print(line)
    return int(bool(failures))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
