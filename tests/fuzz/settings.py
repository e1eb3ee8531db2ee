"""Mutated settings: each study is refused in one line before its first job, or it can run.

    python tests/fuzz/settings.py [--trials 10000] [--seed 0] [--run 60] [--seconds 1200]

Every key of tests/tiny.yaml, of the demo study and of the presets meets boundary values, values of another type, deletion,
unknown keys, keys given twice and sections of other places, through the functions that the Snakefile calls. Of the studies that are
accepted a seeded choice is run: data prepared, networks built and trained for two epochs of a few steps, showers generated, a
classifier trained, and the metrics and histograms made. Prints the counts and every failure; the exit code is 1 where there is one.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import json
import random
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from calopipe.config.load import merge, read_yaml
from calopipe.errors import CalopipeError
from calopipe.workflow import Plan

ROOT = Path(__file__).resolve().parents[2]
PRESETS = ROOT / "presets"
#: a trial that takes longer hangs
LIMIT_S = 20
HUGE = 10**400
VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, 2, 3, -1, 5, 1000, 10**9, 10**12, 2**31, 2**63 - 1, 2**63, 10**30, HUGE, -HUGE,
    0.0, -0.0, 0.5, 1.0, 1e-3, -1e-3, 1e-30, 1e-300, 5e-324, 0.999999, 1.5, 1e6, 1e30, 1e300, -1e300,
    float("inf"), float("-inf"), float("nan"),
    "", " ", "a", "1", "1e-3", "true", "null", "auto", "cuda", "inn", "..", "-rf", "/", "{dataset}", "a\0b", "\x1b[2J", "é" * 40,
    "a" * 300, "report.log", "calogan", "ild", "/dev/zero", "bernoulli_vae", "layer_normalise", "fidelity", "best", "last",
    [], [None], [[]], ["a"], ["a", "a"], [1], [1, 1], [0], [-1], [1.5], [True], [1, 2], [2, 1], [0.0, 1.0], [1, 2, 3], [[1, 2]],
    [1] * 1000, ["x"] * 1000, [10**30], [{}], {}, {"a": 1}, {"a": {}}, {1: 2}, {"": 1}, {"name": 1}, {"name": "inn"}, {"step": []},
)  # fmt: skip


def studies() -> list[dict[str, Any]]:
    """The studies that are mutated, with what they take from presets written out."""
    found = [read_yaml(ROOT / "tests" / "tiny.yaml")]
    demo = read_yaml(ROOT / "config.yaml")
    found.append(merge(read_yaml(PRESETS / "calogan_demo.yaml"), {**demo, "presets": []}))
    tiny = read_yaml(ROOT / "tests" / "tiny.yaml")
    for path in sorted(PRESETS.glob("*.yaml")):
        preset = read_yaml(path)
        for name in preset.pop("presets", []):
            preset = merge(read_yaml(PRESETS / f"{name}.yaml"), preset)
        if "runs" in preset:  # a study by itself, of data that are not here
            found.append(preset)
            continue
        study = merge(tiny, {key: value for key, value in preset.items() if key != "presets"})
        study["runs"] = [{"dataset": "eplus", "model": name} for name in preset.get("models", {})] or tiny["runs"]
        found.append(study)
    return found


def places(value: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths of all keys and list entries within `value`."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*above, key)
        yield from places(inner, (*above, key))


def at(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


def nearby(value: Any, rng: random.Random) -> Any:
    """A value that is like `value`, and so may well be legal."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return rng.choice([value + 1, max(0, value - 1), value * 2, value // 2, 1, 2])
    if isinstance(value, float):
        return rng.choice([value * 2, value / 2, value * 10, value / 10, 1 - value])
    if isinstance(value, list) and value:
        return rng.choice([value[1:], value[:-1], value * 2, value[::-1], [*value, value[-1]]])
    if isinstance(value, str):
        return rng.choice([value + "x", value[:-1], value.upper()])
    return value


def mutate(study: dict[str, Any], rng: random.Random) -> tuple[str, dict[str, Any]]:
    """A changed copy of a study, and in words what was changed."""
    study = copy.deepcopy(study)
    every = list(places(study))
    path = rng.choice(every)
    parent, key = at(study, path[:-1]), path[-1]
    kind = rng.choice(("value", "value", "value", "nearby", "nearby", "nearby", "delete", "unknown", "swap", "rename"))
    if kind == "value":
        parent[key] = copy.deepcopy(rng.choice(VALUES))
    elif kind == "nearby":
        parent[key] = nearby(parent[key], rng)
    elif kind == "delete":
        del parent[key]
    elif kind == "swap":
        parent[key] = copy.deepcopy(at(study, rng.choice(every)))
    elif isinstance(parent, dict) and kind == "rename":
        name = rng.choice(["x", "report.log", "a" * 70, 5, None, True, "", "a b", "inn"])
        parent[name] = parent.pop(key)
    elif isinstance(parent, dict):
        parent[rng.choice(["seed", "name", "x", 1, None, "epochs"])] = copy.deepcopy(rng.choice(VALUES))
    else:
        parent.append(copy.deepcopy(rng.choice(VALUES)))
    return f"{kind} {'.'.join(map(str, path))}", study


def as_file(study: dict[str, Any], folder: Path, rng: random.Random) -> Path:
    """The study as a file, one in twenty with a key that is given twice."""
    text = yaml.safe_dump(study, sort_keys=False, allow_unicode=True)
    if rng.random() < 0.05:
        lines = text.splitlines()
        row = rng.randrange(len(lines))
        text = "\n".join([*lines[: row + 1], lines[row], *lines[row + 1 :]])
    path = folder / "study.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@contextlib.contextmanager
def limited(seconds: int) -> Iterator[None]:
    """Raise TimeoutError in what takes longer."""

    def stop(*_: Any) -> None:
        raise TimeoutError(f"more than {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def trial(study: dict[str, Any], folder: Path | None, rng: random.Random) -> tuple[str, Any]:
    """("refused", message), ("accepted", plan), or ("failed", what went wrong)."""
    try:
        with limited(LIMIT_S):
            data = study if folder is None else read_yaml(as_file(study, folder, rng))
            plan = Plan.load(data, PRESETS)
            plan.check_devices()
            for run in plan.runs:
                for stage in ("prepare", "generate", "observables", "metrics", "timing"):
                    json.dumps(plan.settings(stage, dataset=run.dataset, model=run.model, seed=run.seed))
    except CalopipeError as error:
        message = str(error)
        if "\n" in message or len(message) > 3000 or not message.isprintable():
            return "failed", f"message of {len(message)} characters: {message[:200]!r}"
        return "refused", message
    except BaseException as error:  # whatever it is, Snakemake would show it as a traceback
        if isinstance(error, KeyboardInterrupt):
            raise
        where = traceback.extract_tb(error.__traceback__)[-1]
        return "failed", f"{type(error).__name__} at {Path(where.filename).name}:{where.lineno}: {str(error)[:200]}"
    return "accepted", plan


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--run", type=int, default=60, help="accepted studies to run, at most")
    parser.add_argument("--seconds", type=float, default=1200, help="time for running them")
    given = parser.parse_args(arguments)
    rng, bases, counts, failures = random.Random(given.seed), studies(), Counter(), []
    accepted: list[tuple[str, Plan]] = []
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        for number in range(given.trials):
            base = rng.choice(bases)
            what, study = mutate(base, rng)
            if rng.random() < 0.3:
                more, study = mutate(study, rng)
                what += f"; {more}"
            on_disk = Path(temporary) if rng.random() < 0.2 else None
            outcome, found = trial(study, on_disk, rng)
            counts[outcome] += 1
            if outcome == "failed":
                failures.append(f"trial {number}: {what}: {found}")
                print(failures[-1], flush=True)
            elif outcome == "accepted" and study != base:
                accepted.append((what, found))
    print(f"{given.trials} trials in {time.monotonic() - start:.0f} s: {dict(counts)}", flush=True)
    from late import run_accepted

    late = run_accepted(rng.sample(accepted, min(given.run, len(accepted))), given.seconds)
    print(*late, sep="\n")
    return 1 if failures or late else 0


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    sys.exit(main())
