"""Quality and time of flow matching against the number of its solver's steps, one training.

    python benchmarks/matching_steps.py --data FOLDER --out results/quality [--model matching_cpu] [--steps 2 4 8 16]

OUT is that of ``quality.py``, which has trained the model (``--models matching_cpu``). Each solver draws the held-out showers anew from
the same weights, the midpoint rule in S steps, Euler's and the ancestral one in 2 S: all ask the network as often. Judged by the tests ``trees`` and
``low_log`` of ``quality.py``; milliseconds per shower are medians, in batches of 500 and of single showers.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import numpy as np
import torch
from quality import MODELS, SEED, TESTS, classifiers, split

from calopipe.config import TimingConfig, validate
from calopipe.evaluation.timing import measure_timing
from calopipe.io import Showers, read_showers, write_showers
from calopipe.models.matching.flow_matching import FlowMatching
from calopipe.records.files import write_json
from calopipe.sampling.generator import Generator

BATCH = 500
JUDGES = {name: TESTS[name] for name in ("trees", "low_log")}


def milliseconds(generator: Generator, conditions: np.ndarray, out: Path) -> dict[str, float]:
    """Median time per shower, of single showers and in batches."""
    config = validate(TimingConfig, {"batch_sizes": [1, BATCH], "repeats": 5, "device": "cpu"}, "timing")
    record = measure_timing(generator.sample, conditions, config=config, out=out / "timing.json")
    found = {row["batch_size"]: row["median_ms"] for row in record["results"]}
    return {"ms alone": found[1], "ms per shower": found[BATCH]}


def main() -> None:
    """Draw and judge with each solver; write ``matching_steps.json``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the files of showers")
    parser.add_argument("--out", type=Path, default=Path("results/quality"))
    parser.add_argument("--model", default="matching_cpu", choices=[m for m in MODELS if m.startswith("matching")])
    parser.add_argument("--steps", type=int, nargs="+", default=[2, 4, 8, 16], help="of the midpoint rule")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(args.threads)
    parts = args.out / "data" / MODELS[args.model][2]
    data = split(args.data, parts, MODELS[args.model][2])
    generator = Generator.load(args.out / args.model)
    model = generator.networks["matching"].model
    assert isinstance(model, FlowMatching)
    energies = read_showers(parts / "test.hdf5").incident_energies
    rows = []
    for steps in args.steps:
        for solver, number in (("midpoint", steps), ("euler", 2 * steps), ("ancestral", 2 * steps)):
            model.config = model.config.model_copy(update={"solver": solver, "steps": number})
            torch.manual_seed(SEED)
            showers = generator.sample(energies, batch_size=BATCH)
            out = args.out / args.model / f"{solver}_{number}"
            out.mkdir(exist_ok=True)
            row = {"solver": solver, "steps": number, **milliseconds(generator, energies, out)}
            write_showers(out / "generated.hdf5", Showers(energies, showers), data.geometry)
            row |= classifiers(parts / "test.hdf5", out / "generated.hdf5", data.readout, out, JUDGES)
            rows.append(row)
            print(row, flush=True)
            write_json(args.out / "matching_steps.json", rows)


if __name__ == "__main__":
    main()
