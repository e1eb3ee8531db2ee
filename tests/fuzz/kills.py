"""Trainings killed with SIGKILL at random moments, results on another file system than TMPDIR.

    python tests/fuzz/kills.py [KILLS] [FOLDER] [SEED]

Each training is killed again and again, half of the times while a state is being written, and started again until it
ends; its weights must then be those of a training that nobody disturbed, and neither the results nor TMPDIR may hold
anything else. FOLDER (default /dev/shm) holds the results.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from calopipe.config import Model, validate
from calopipe.config.parts import use_extensions
from calopipe.io import ShowerWriter, read_showers
from calopipe.training import TrainingJob, train_network

sys.path.insert(0, str(Path(__file__).parent))
from checkpoints import small_flow

STEPS = [{"step": "layer_normalise"}, {"step": "standardise"}, {"step": "log_condition"}]
TRAINING = {"epochs": 24, "batch_size": 32, "ema_decay": 0.9, "keep_every": 8}
INN = {"name": "inn", "blocks": 2, "hidden": [256, 256], "bins": 4}
FRACTIONS = [{"step": "layer_normalise", "extras": "given"}, {"step": "log_condition"}]
VAE = {"learns": "showers", "given": ["layer_energies"], "preprocessing": FRACTIONS, "training": TRAINING,
       "model": {"name": "bernoulli_vae", "hidden": [512], "latent": 8}}  # fmt: skip
#: each kind of network with the chain that it belongs to, and its name there
CHAINS: dict[str, dict[str, Any]] = {
    "flow": {"flow": {"learns": "showers", "preprocessing": STEPS, "model": INN, "training": TRAINING}},
    "gan": {
        "generator": {
            "learns": "showers",
            "preprocessing": STEPS,
            "model": {"name": "own_gan", "hidden": 512},
            "training": {
                **TRAINING,
                "schedule": "cosine",
                "warmup": 0.1,
                "gradient_clip": 0.5,
                "objectives": {"critic": {"lr": 2e-3, "optimizer": "adamw"}},
            },
        }
    },
    "energies": {
        "energies": {
            "learns": "layer_energies",
            "preprocessing": ["energy_ratios", "logit", "standardise", "log_condition"],
            "model": INN,
            "training": {**TRAINING, "monitor": "loss", "patience": 20},
        },
        "flow": {"learns": "showers", "model": INN, "given": ["layer_energies"], "training": TRAINING},
    },
    "autoencoder": {"energies": {"learns": "layer_energies", "model": INN, "training": TRAINING}, "vae": VAE},
    "refiner": {
        "flow": {"learns": "showers", "model": INN, "training": TRAINING},
        "post": {
            "learns": "showers",
            "given": ["flow"],
            "preprocessing": STEPS,
            "model": {"name": "own_refiner", "hidden": 512},
            "training": {**TRAINING, "schedule": "one_cycle"},
        },
    },
}
KINDS = tuple(CHAINS)
LEARNED = {"flow": "flow", "gan": "generator", "energies": "energies", "autoencoder": "vae", "refiner": "post"}


def train(showers: Path, out: Path, seed: int, kind: str = "flow") -> None:
    """The training that is killed."""
    torch.set_num_threads(1)
    use_extensions([Path(__file__).parents[1] / "own_parts"])
    outputs = (out / "m.pt", out / "m.csv", out / "rolling")
    job = TrainingJob(showers, showers, "calogan", *outputs, seed, threads=1, epochs=out / "epochs")
    model, name = validate(Model, {"networks": CHAINS[kind]}, "model"), LEARNED[kind]
    if kind == "refiner":
        job = replace(job, refined=(remade(showers), remade(showers)))
    train_network(model.networks[name], model.chain[name], job)


def remade(showers: Path) -> Path:
    """Showers like those of a file, as if a network had made them."""
    path = showers.with_name("remade.hdf5")
    if not path.exists():
        found = read_showers(showers)
        with ShowerWriter(path, "calogan", attributes={"made_by": 64 * "0"}) as writer:
            writer.append_arrays(found.condition, 0.9 * found.showers)
    return path


def start(showers: Path, out: Path, seed: int, kind: str) -> int:
    """Train in a child of this process, which has the libraries loaded; what it says goes to a file."""
    child = os.fork()
    if child:
        return child
    try:
        log = os.open(out / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1), os.dup2(log, 2)
        train(showers, out, seed, kind)
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def wait_for_moment(child: int, rolling: Path, rng: random.Random) -> bool:
    """Wait until it is time to kill; False when the child has ended by itself."""
    while_writing = rng.random() < 0.5
    until, ready = time.monotonic() + 60, None
    while time.monotonic() < until:
        if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            return False
        if while_writing and next(rolling.glob("*/.*.part"), None) is not None:
            time.sleep(rng.uniform(0, 0.01))
            return True
        if ready is None and next(rolling.glob("*/last.ckpt"), None) is not None:
            ready = time.monotonic() + rng.uniform(0, 1.5)
        if not while_writing and ready is not None and time.monotonic() > ready:
            return True
        time.sleep(0.0005)
    return True


def disturbed(showers: Path, out: Path, seed: int, kills: int, rng: random.Random, kind: str) -> tuple[int, int]:
    """Train to the end with up to `kills` kills: kills made, and starts that failed by themselves."""
    out.mkdir(parents=True)
    done = failed = 0
    while not (out / "m.pt").exists() and failed < 3:
        child = start(showers, out, seed, kind)
        if done < kills and wait_for_moment(child, out / "rolling", rng):
            os.kill(child, signal.SIGKILL)
            done += 1
        _, status = os.waitpid(child, 0)
        failed += status not in (0, signal.SIGKILL)
    return done, failed


def weights(path: Path) -> dict[str, torch.Tensor]:
    """What a training is about."""
    content = torch.load(path, weights_only=True)
    return {f"{part}.{k}": v for part in ("chain", "model") for k, v in content[part].items()}


def same(a: Path, b: Path) -> bool:
    """Whether two checkpoints hold the same numbers, bit for bit."""
    one, other = weights(a), weights(b)
    return one.keys() == other.keys() and all(torch.equal(v, other[k]) for k, v in one.items())


def run(kills: int, results: Path, seed: int = 0, kinds: tuple[str, ...] = KINDS) -> tuple[Counter, list[str]]:
    """Counts of kills and trainings, of all `kinds` in turn, and a line for whatever must not be."""
    rng, counts, wrong = random.Random(seed), Counter(), []
    with tempfile.TemporaryDirectory(dir=results) as work, tempfile.TemporaryDirectory() as scratch:
        showers = small_flow(Path(work)).parent / "showers.hdf5"
        os.environ["TMPDIR"], before = scratch, tempfile.tempdir
        tempfile.tempdir = None
        try:
            while counts["kills"] < kills:
                number = counts["trainings"]
                kind = kinds[number % len(kinds)]
                plain, out = Path(work) / f"plain{number}", Path(work) / f"killed{number}"
                disturbed(showers, plain, number, 0, rng, kind)
                done, failed = disturbed(showers, out, number, min(4, kills - counts["kills"]), rng, kind)
                counts.update(kills=done, trainings=1, failed=failed, mentioned=_lines(out / "log.txt", "put aside"))
                wrong += _check(plain, out, Path(scratch))
                shutil.rmtree(plain), shutil.rmtree(out)
        finally:
            tempfile.tempdir = before
            del os.environ["TMPDIR"]
    return counts, wrong


def _lines(log: Path, text: str) -> int:
    return log.read_text().count(text)


def _check(plain: Path, out: Path, scratch: Path) -> list[str]:
    wrong = []
    if "Traceback" in (out / "log.txt").read_text():
        wrong.append(f"{out}: traceback:\n{(out / 'log.txt').read_text()[-2000:]}")
    if not (out / "m.pt").exists() or not same(plain / "m.pt", out / "m.pt"):
        return [*wrong, f"{out}: the training ended at other weights, or not at all"]
    for epoch in sorted((plain / "epochs").iterdir()):
        if not same(epoch, out / "epochs" / epoch.name):
            wrong.append(f"{out}: {epoch.name} differs")
    left = [
        str(p) for p in [*out.glob("rolling/*/*"), *out.glob(".*.part"), *out.glob("epochs/.*"), *scratch.iterdir()]
    ]
    return wrong + [f"left behind: {path}" for path in left if "torchinductor" not in path]


def main() -> int:
    """Run and print the counts; 1 where anything happened that must not."""
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else 30
    folder = Path(sys.argv[2] if len(sys.argv) > 2 else "/dev/shm")
    apart = os.stat(folder).st_dev != os.stat(tempfile.gettempdir()).st_dev
    counts, wrong = run(kills, folder, int(sys.argv[3]) if len(sys.argv) > 3 else 0)
    print("\n".join(wrong))
    print(f"{counts['kills']} kills in {counts['trainings']} trainings, results and TMPDIR on "
          f"{'two file systems' if apart else 'one file system'}: {counts['mentioned']} states put aside, "
          f"{counts['failed']} failed starts, {len(wrong)} faults")  # fmt: skip
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
