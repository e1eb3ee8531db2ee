"""What generators cost against the number of voxels: a training step, sampling in batches and one shower at a time, memory.

Families of networks on the grids of CaloGAN (504 voxels), CaloChallenge 2 (6480) and 3 (40 500): an INN of all voxels, a VAE with a hurdle decoder and a
latent INN, a kernel VAE with a latent INN, a cascade of layers, rings and cells, and flow matching with 24 ancestral steps (the last three on
regular grids). Weights are fresh and showers made up, 320 hits in each: nothing here depends on what was learned, but for the cascade, whose work
is proportional to the rings that are hit. Every case is measured in a fresh process, so that its peak memory is its own. Times are medians: of the
training steps after the first, of so many showers at once.

    python benchmarks/cost.py [--geometries calogan calochallenge2 calochallenge3] [--families inn vae_inn kvae_inn ring_cascade matching]
                              [--batches 1 100 1000] [--device cpu] [--threads 2] [--out TABLE.md]
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import presets
import torch
from torch import Tensor

from calopipe.config.load import load_study
from calopipe.devices import synchronise
from calopipe.io.output import replacing
from calopipe.models.base import Autoencoder
from calopipe.origin import hardware
from calopipe.sampling.generator import Generator
from calopipe.workflow import Plan

GEOMETRIES = {"calogan": 0.01, "calochallenge2": 0.01515, "calochallenge3": 0.01515}
HITS, ROWS = 320, 256
_TRAINING = {"epochs": 1, "batch_size": 128}
_HITS = [{"step": "layer_normalise", "extras": "condition", "ratio_scale": 0.9, "hits": True}, "log_condition"]


def _latent(learns: str, mode: str, extras: str, hidden: int) -> dict[str, Any]:
    return {
        "learns": learns,
        "latents": mode,
        "preprocessing": [{"step": "logit", "columns": extras}, "standardise", "log_condition"],
        "model": {"name": "inn", "blocks": 12, "hidden": [hidden, hidden]},
        "training": _TRAINING,
    }


def _autoencoder(name: str, steps: list[Any], **model: Any) -> dict[str, Any]:
    return {"learns": "showers", "preprocessing": steps, "model": {"name": name, **model}, "training": _TRAINING}


FAMILIES: dict[str, dict[str, Any]] = {
    "inn": {
        "flow": {
            "learns": "showers",
            "preprocessing": [{"step": "layer_normalise", "ratio_scale": 0.9}, "logit", "standardise", "log_condition"],
            "model": {"name": "inn", "blocks": 12, "hidden": [256, 256]},
            "training": _TRAINING,
        }
    },
    "vae_inn": {
        "autoencoder": _autoencoder("hurdle_vae", _HITS, hidden=[512, 512], latent=32),
        "flow": _latent("autoencoder", "resample", "extras_and_hits", 128),
    },
    "kvae_inn": {
        "autoencoder": _autoencoder("kernel_vae", [{**_HITS[0], "hits": False}, "log_condition"]),
        "flow": _latent("autoencoder", "mu_sigma", "extras", 128),
    },
    "ring_cascade": {
        "cascade": {"learns": "showers", "preprocessing": [], "model": {"name": "ring_cascade"}, "training": _TRAINING}
    },
    "matching": {
        "matching": {
            "learns": "showers",
            "preprocessing": [
                {**_HITS[0], "extras": "data", "voxels": "energies", "fill_layers": True},
                {"step": "logit", "alpha": 1e-6, "alpha_1": 0.01, "columns": "extras_and_hits"},
                {"step": "log", "alpha": 1e-3, "columns": "voxels"},
                "log_condition",
            ],
            "model": {  # a token for each layer
                "name": "flow_matching",
                "width": 96,
                "components": 4,
                "solver": "ancestral",
                "steps": 24,
            },
            "training": _TRAINING,
        }
    },
}
#: what a family cannot do, or nobody would
LEFT_OUT = {
    ("inn", "calochallenge3"): "2 x 10^9 parameters",
    ("kvae_inn", "calogan"): "needs layers of one shape",
    ("ring_cascade", "calogan"): "needs layers of one shape",
    ("matching", "calogan"): "needs layers of one shape",
}


def showers(n: int, voxels: int) -> tuple[Tensor, Tensor]:
    """Showers (n, voxels) in MeV with some 320 hits (of 504: 160), and their incident energies (n, 1)."""
    generator = torch.Generator().manual_seed(0)
    cond = 1e3 * (1 + 15 * torch.rand(n, 1, generator=generator))
    x = torch.empty(n, voxels).exponential_(generator=generator)
    hit = torch.rand(x.shape, generator=generator) < min(HITS, 0.32 * voxels) / voxels
    x = torch.where(hit, x, torch.zeros_like(x))
    x[:, 0] += 1
    return 0.8 * cond * x / x.sum(1, keepdim=True), cond


def measure(family: str, geometry: str, device: str, batches: list[int]) -> dict[str, Any]:
    """Parameters, milliseconds per training step of each network, and per shower in batches of each size; peak memory in MB."""
    threshold = GEOMETRIES[geometry]
    dataset = {
        "source": {"kind": "local", "paths": ["none"]},
        "geometry": geometry,
        "threshold_MeV": threshold,
        "split": {"train": 0.8, "val": 0.1, "test": 0.1},
    }
    study = {"datasets": {"electrons": dataset}, "models": {"model": {"networks": FAMILIES[family]}}}
    plan = Plan(load_study({**study, "runs": [{"dataset": "electrons", "model": "model"}]}, presets.PRESETS))
    torch.manual_seed(0)
    where = torch.device(device)
    networks = presets.built(plan, "model", "electrons", ROWS)
    data = next(iter(networks.values())).data
    x, cond = showers(ROWS, data.layout.n_voxels)
    x = data.layout.cut(x)
    learned: dict[str, Tensor] = {"showers": x.to(where)}
    cond = cond.to(where)
    found: dict[str, Any] = {"parameters": presets.parameters(networks), "step_ms": {}, "shower_ms": {}}
    for name, network in networks.items():
        for part in network.parts.values():
            part.to(where)
        found["step_ms"][name] = 1e3 * presets.steps(network, learned[network.link.learns], cond, learned)
        if isinstance(network.model, Autoencoder):
            with torch.no_grad():
                y, c, _ = network.chain(learned["showers"], cond)
                learned[name] = torch.cat([*network.model.eval().encode(y, c), c[:, 1:]], dim=1)
        network.eval()
    found["training_MB"] = _peak(device)
    generator = Generator(networks, plan.model("model").chain, where)
    for batch in batches:
        rows = cond.repeat(-(-batch // ROWS), 1)[:batch].cpu().numpy()
        times = []
        for turn in range(31 if batch == 1 else 4):
            synchronise(where.type)
            start = time.perf_counter()
            generator.sample(rows)
            synchronise(where.type)
            if turn:
                times.append(time.perf_counter() - start)
        found["shower_ms"][batch] = 1e3 * statistics.median(times) / batch
    return {**found, "peak_MB": _peak(device)}


def _peak(device: str) -> float:
    """Most memory until now, in MB: of the process, or on the GPU."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated() / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def main() -> None:
    """Measure each case in a process of its own; print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--geometries", nargs="+", choices=GEOMETRIES, default=list(GEOMETRIES))
    parser.add_argument("--families", nargs="+", choices=FAMILIES, default=list(FAMILIES))
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 100, 1000])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, help="Markdown table to write, too")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.one:
        print(json.dumps(measure(*args.one, args.device, args.batches)))
        return
    where = torch.cuda.get_device_name() if args.device.startswith("cuda") else f"{args.threads} threads"
    lines = [f"{hardware()['cpu']}, {where}", ""]
    heads = ["family", "voxels", "parameters", "ms per training step", "MB", *(f"ms per shower, {b} at once" for b in args.batches), "MB"]  # fmt: skip
    lines += [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    print("\n".join(lines), flush=True)
    own = [sys.executable, __file__, "--device", args.device, "--threads", str(args.threads)]
    own += ["--batches", *map(str, args.batches)]
    for family in args.families:
        for geometry in args.geometries:
            lines.append(_row(family, geometry, own, len(heads)))
            print(lines[-1], flush=True)
    if args.out:
        with replacing(args.out) as path:
            path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _row(family: str, geometry: str, own: list[str], columns: int) -> str:
    if (family, geometry) in LEFT_OUT:
        return f"| {family} | {geometry} | {LEFT_OUT[family, geometry]} |" + " |" * (columns - 3)
    done = subprocess.run([*own, "--one", family, geometry], capture_output=True, text=True)
    if done.returncode:
        return f"| {family} | {geometry} | {done.stderr.strip().splitlines()[-1][:120]} |" + " |" * (columns - 3)
    found = json.loads(done.stdout.splitlines()[-1])
    steps = " + ".join(f"{v:.3g}" for v in found["step_ms"].values())
    times = [f"{v:.3g}" for v in found["shower_ms"].values()]
    parts = [family, geometry, f"{found['parameters']:,}".replace(",", " "), steps, f"{found['training_MB']:.0f}"]
    return f"| {' | '.join([*parts, *times, format(found['peak_MB'], '.0f')])} |"


if __name__ == "__main__":
    main()
