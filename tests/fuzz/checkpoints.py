"""Damaged checkpoints: each is loaded and sampled from in a process of its own kind, which must refuse it in one line.

    python tests/fuzz/checkpoints.py [COUNT] [SEED]

Kinds: keys missing or of odd values (with and without a valid seal), weights of other shapes and types, NaN and infinity,
indices out of range, flipped bits, cut files, altered zip archives, and pickles that run code. Counted are refusals,
acceptances, tracebacks, deaths of the process, and code that ran. A forged file, sealed anew with values that are legal
(another name of the geometry, say), is accepted; it must then sample.
"""

from __future__ import annotations

import copy
import io
import json
import os
import pickle
import subprocess
import sys
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

#: keys of which a forged, but legal value cannot be told
FREE = ("calopipe_version", "data", "history", "link", "n_train", "trained", "settings", "seed", "upstream")
ODD = [None, True, "x", b"x", -1, 0, 2**70, 1.5, float("nan"), float("inf"), [], [None], {}, {"x": 1}, torch.zeros(2)]
WORKER = """
import json, logging, sys
import numpy as np, torch
from pathlib import Path
from calopipe.errors import CalopipeError
from calopipe.sampling import Generator
logging.disable(logging.CRITICAL)
torch.set_num_threads(1)
for line in sys.stdin:
    networks = json.loads(line)
    try:
        drawn = Generator.load([Path(path) for path in networks], "cpu").sample(np.full(3, 5e3, np.float32))
        result = ["accepted", "" if np.isfinite(drawn).all() else "not finite"]
    except CalopipeError as error:
        result = ["refused", f"{type(error).__name__}: {error}"]
    except BaseException as error:
        result = ["traceback", f"{type(error).__name__}: {error}"]
    print(json.dumps(result), flush=True)
"""


class Runs:
    """Unpickled, it would write a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return (os.system, (f"touch {self.marker}",))


Damage = tuple[str, bytes]


def sealed(content: Any) -> bytes:
    """The bytes of a checkpoint file of any content, with a valid seal."""
    from calopipe.training.sealed import write_sealed

    with tempfile.TemporaryDirectory() as folder:
        write_sealed(Path(folder) / "m.pt", content)
        return (Path(folder) / "m.pt").read_bytes()


def unsealed(content: Any, **kind: Any) -> bytes:
    """What torch.save writes."""
    buffer = io.BytesIO()
    torch.save(content, buffer, **kind)
    return buffer.getvalue()


def paths(content: Any, at: tuple = ()) -> Iterator[tuple]:
    """Every key of nested dictionaries and lists."""
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in items:
        yield (*at, key)
        yield from paths(value, (*at, key))


def altered(content: Any, at: tuple, change: Callable[[Any, Any], None]) -> Any:
    """A copy in which `change` was applied to the container and last key of a path."""
    content = copy.deepcopy(content)
    inner = content
    for key in at[:-1]:
        inner = inner[key]
    change(inner, at[-1])
    return content


def keys(content: dict, rng: np.random.Generator) -> Damage:
    """A key removed, or given an odd value; sealed anew or not."""
    every = list(paths(content))
    at = every[rng.integers(len(every))]
    value = ODD[rng.integers(len(ODD))]
    if rng.random() < 0.3:
        changed, what = altered(content, at, lambda inner, key: inner.pop(key)), "removed"
    else:
        changed, what = altered(content, at, lambda inner, key: inner.__setitem__(key, value)), repr(value)
    write = sealed if rng.random() < 0.6 else unsealed
    return f"keys, {write.__name__}: {'.'.join(map(str, at))[:60]} {what}", write(changed)


def weights(content: dict, rng: np.random.Generator) -> Damage:
    """A sealed file with a weight that is not finite, or of another shape, type or layout."""
    part = ("chain", "model")[rng.integers(2)]
    floats = [k for k, v in content[part].items() if v.is_floating_point()]
    if not floats:
        part, floats = "model", [k for k, v in content["model"].items() if v.is_floating_point()]
    key = floats[rng.integers(len(floats))]
    value = content[part][key].clone()
    bad = [float("nan"), float("inf"), -float("inf")][rng.integers(3)]
    one = value.clone()
    one.view(-1)[rng.integers(one.numel())] = bad
    choices = {
        "all not finite": torch.full_like(value, bad),
        "one not finite": one,
        "too large for float32": torch.full_like(value, 1e300, dtype=torch.float64),
        "shape": torch.zeros(*value.shape, 2),
        "huge": torch.zeros(1).expand(10**12),
        "flat": value.reshape(-1)[:-1],
        "integers": torch.zeros_like(value, dtype=torch.int64),
        "complex": torch.zeros_like(value, dtype=torch.complex64),
        "sparse": torch.zeros_like(value).to_sparse(),
        "meta": torch.empty_like(value, device="meta"),
    }
    name = list(choices)[rng.integers(len(choices))]
    return f"weights: {part}.{key} {name}", sealed(altered(content, (part, key), _put(choices[name])))


def _put(value: Any) -> Callable[[Any, Any], None]:
    return lambda inner, key: inner.__setitem__(key, value)


def indices(content: dict, rng: np.random.Generator) -> Damage:
    """A sealed file with a column number that the flow does not have, or has twice, or another choice of columns."""
    names = [k for k, v in content["model"].items() if not v.is_floating_point()]
    if not names:
        return keys(content, rng)
    key = names[rng.integers(len(names))]
    value = content["model"][key].clone()
    bad = int([-1, 10**12, -(10**12), 2**40, len(value) * 3, 0, 507, 600][rng.integers(8)])
    changed = (value + 1).roll(1) if int(value.view(-1)[-1]) == bad else value
    changed.view(-1)[-1 if rng.random() < 0.5 else 0] = bad
    if torch.equal(changed, content["model"][key]):
        changed = value.flip(0)
    return f"indices: {key} {bad}", sealed(altered(content, ("model", key), _put(changed)))


def bits(content: dict, rng: np.random.Generator) -> Damage:
    """Flipped bits, anywhere."""
    data = bytearray(sealed(content))
    n = int([1, 1, 1, 2, 8, 64][rng.integers(6)])
    for at in rng.choice(len(data), n, replace=False):
        data[at] ^= 1 << int(rng.integers(8))
    return f"bits: {n} flipped", bytes(data)


def cut(content: dict, rng: np.random.Generator) -> Damage:
    """A part of the file, or more than the file; sealed or not."""
    data = (sealed, unsealed)[rng.integers(2)](content)
    n = int(rng.integers(len(data)))
    shapes = {"cut": data[:n], "tail": data[n:], "zeros": data[:n] + bytes(len(data) - n), "doubled": data + data,
              "junk": rng.bytes(n % 5000), "empty": b"", "text": b"a text\n" * 40, "more": data + b"\0"}  # fmt: skip
    name = list(shapes)[rng.integers(len(shapes))]
    return f"cut: {name}", shapes[name]


def archive(content: dict, rng: np.random.Generator) -> Damage:
    """The zip archive written anew: compressed, an entry missing, doubled, swapped, or a bomb."""
    entries = {}
    with zipfile.ZipFile(io.BytesIO(unsealed(content))) as source:
        entries = {name: source.read(name) for name in source.namelist()}
    kind = ("compressed", "missing", "swapped", "bomb", "added", "pickle")[rng.integers(6)]
    names = list(entries)
    chosen, other = (names[i] for i in rng.choice(len(names), 2, replace=False))
    if kind == "missing":
        del entries[chosen]
    elif kind == "swapped":
        entries[chosen], entries[other] = entries[other] + b"x", entries[chosen]
    elif kind == "bomb":
        entries[names[-2]] = bytes(10**8)
    elif kind == "added":
        entries["archive/data/99"] = b"x"
    elif kind == "pickle":
        entries["archive/data.pkl"] = rng.bytes(300)
    buffer = io.BytesIO()
    packing = zipfile.ZIP_DEFLATED if kind in ("compressed", "bomb") else zipfile.ZIP_STORED
    with zipfile.ZipFile(buffer, "w", packing) as target:
        for name, data in entries.items():
            target.writestr(name, data)
    return f"archive: {kind} {chosen}", buffer.getvalue()


def code(content: dict, rng: np.random.Generator, marker: Path) -> Damage:
    """Objects that run a command when they are unpickled."""
    evil = Runs(marker)
    at = list(paths(content))
    place = at[rng.integers(len(at))]
    forms = {
        "pickle": pickle.dumps(evil),
        "torch": unsealed(evil),
        "sealed": sealed(altered(content, place, _put(evil))),
        "unsealed": unsealed(altered(content, place, _put(evil))),
        "old format": unsealed(altered(content, place, _put(evil)), _use_new_zipfile_serialization=False),
    }
    name = list(forms)[rng.integers(len(forms))]
    return f"code: {name}", forms[name]


def damages(content: dict, count: int, marker: Path, seed: int = 0) -> Iterator[Damage]:
    """`count` damaged checkpoints, in turn of every kind: what was done, and the bytes."""
    rng = np.random.default_rng(seed)
    kinds = [keys, weights, indices, bits, cut, archive, lambda c, r: code(c, r, marker)]
    for i in range(count):
        yield kinds[i % len(kinds)](content, rng)


class Worker:
    """A process that loads and samples; started anew where a file ends it."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[str] | None = None

    def __call__(self, *networks: Path) -> tuple[str, str]:
        if self.process is None:
            command = [sys.executable, "-W", "ignore", "-c", WORKER]
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
            self.process = subprocess.Popen(command, text=True, **pipes)
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps([str(path) for path in networks]) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if answer:
            return tuple(json.loads(answer))
        return "crash", f"exit code {self.close()}"

    def close(self) -> int | None:
        """End the process, with its pipes; returns how it ended."""
        ended, self.process = self.process, None
        if ended is None:
            return None
        ended.communicate()
        return ended.returncode


def judge(what: str, outcome: str, message: str, path: Path) -> str:
    """`refused`, `forged` (sealed anew with a legal value), or what must not happen."""
    if outcome == "refused":
        return "refused" if str(path) in message and "\n" not in message else f"unclear message: {message}"
    legal = what.startswith("keys, sealed: ") and what.removeprefix("keys, sealed: ").startswith(FREE)
    if outcome == "accepted" and legal and not message:
        return "forged"
    return f"{outcome}: {message}"


def run(
    flow: Path, count: int, folder: Path, seed: int = 0, others: tuple[Path, ...] = ()
) -> tuple[Counter, list[str]]:
    """Outcomes of `count` damaged copies of a checkpoint, and a line for each one that must not be."""
    content = torch.load(flow, weights_only=True)
    marker, worker, counts, wrong = folder / "code-ran", Worker(), Counter(), []
    for i, (what, data) in enumerate(damages(content, count, marker, seed)):
        path = folder / f"damaged-{i}.pt"
        path.write_bytes(data)
        outcome = judge(what, *worker(path, *others), path)
        if marker.exists():
            outcome = "code ran"
            marker.unlink()
        counts[outcome.split(":")[0]] += 1
        if outcome in ("refused", "forged"):
            path.unlink()
        else:
            wrong.append(f"{path}: {what}: {outcome}")
    worker.close()
    return counts, wrong


def small_flow(folder: Path, seed: int = 0) -> Path:
    """A checkpoint of a small flow of voxels, trained for one epoch on showers made here."""
    from calopipe.config import Model, validate
    from calopipe.io import Showers, write_showers
    from calopipe.training import TrainingJob, train_network

    rng = np.random.default_rng(0)
    incident = rng.uniform(1e3, 2e4, (96, 1)).astype(np.float32)
    x = rng.random((96, 504)) ** 6
    showers = Showers(incident, (0.98 * incident * x / x.sum(1, keepdims=True)).astype(np.float32))
    write_showers(folder / "showers.hdf5", showers, "calogan")
    steps = [{"step": "fill_empty"}, {"step": "layer_normalise"}, {"step": "logit"}, {"step": "standardise"}]
    flow = {
        "learns": "showers",
        "preprocessing": [*steps, {"step": "log_condition"}],
        "model": {"name": "inn", "blocks": 2, "hidden": [8], "bins": 4},
        "training": {"epochs": 1, "batch_size": 32},
    }
    files = (folder / "showers.hdf5", folder / "showers.hdf5")
    outputs = (folder / "flow.pt", folder / "flow.csv", folder / "rolling")
    model = validate(Model, {"networks": {"flow": flow}}, "model")
    train_network(
        model.networks["flow"], model.chain["flow"], TrainingJob(*files, "calogan", *outputs, seed, threads=1)
    )
    return folder / "flow.pt"


def main() -> int:
    """Run and print the counts; 1 where anything happened that must not."""
    count, seed = (int(sys.argv[i]) if len(sys.argv) > i else default for i, default in ((1, 210), (2, 0)))
    with tempfile.TemporaryDirectory() as folder:
        counts, wrong = run(small_flow(Path(folder)), count, Path(folder), seed)
    print("\n".join(wrong))
    print(f"{count} damaged checkpoints: " + ", ".join(f"{n} {name}" for name, n in sorted(counts.items())))
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
