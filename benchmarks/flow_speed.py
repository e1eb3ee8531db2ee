"""Speed, memory and exactness of the coupling flow beside other libraries, on this machine's CPU or GPU.

What is compared: 12 one-sided rational-quadratic-spline couplings, 256-256 ReLU sub-networks, 10 bins, bound 10,
condition of 1, last layers as nn.Linear starts them; dimensions 50 and 368, float32.
What is timed: "train" is one step without the optimiser (zero gradients, forward, mean negative log-likelihood,
backward) on 256 rows; "sample" is the inverse map of 5000 rows without gradients. "products" is the same sub-networks
alone (Linear and ReLU, forward, and backward for train), at the full batch; "products, chunked" runs them on as many
rows at a time as our sampling does. Subjects take turns, and the medians of the turns are reported; ratios are to the
products of the same run. On a busy machine use one thread and the processor's own clock: --threads 1 --clock cpu.
Memory is the growth of the peak resident size of a fresh process, over model and input (on a GPU: of what torch has allocated there, in
the timed steps). Exactness is the largest
|inverse(forward(x)) - x| in float32, with all weight matrices multiplied as stated; "bf16 products" multiplies matrices in bfloat16 (autocast)
and computes splines in float32.

Run: python benchmarks/flow_speed.py [--out results/benchmarks] [--repeats 5] [--dims 50 368] [--skip memory exact] [--device cuda]
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from calopipe.devices import synchronise
from calopipe.models.flows.coupling import make_flow, subnet
from calopipe.models.flows.masks import choose_columns

Figures = dict[str, dict[str, float]]
DEVICE = torch.device("cpu")
EXACT = 1000  # columns up to which the inverse is checked: with more, starting networks takes longer than all else
BLOCKS, HIDDEN, BINS, BOUND, TRAIN, SAMPLE = 12, (256, 256), 10, 10.0, 256, 5000


class Subject:
    """One library: `forward` (x, cond) -> (z, logdet) and `inverse` (z, cond) -> x."""

    module: nn.Module

    def to(self, device: torch.device) -> Subject:
        self.module.to(device)
        return self

    def forward(self, x: Tensor, cond: Tensor) -> tuple[Tensor, Tensor]:
        raise NotImplementedError

    def inverse(self, z: Tensor, cond: Tensor) -> Tensor:
        raise NotImplementedError

    def train(self, x: Tensor, cond: Tensor) -> None:
        self.module.zero_grad()
        z, logdet = self.forward(x, cond)
        (0.5 * z.square().sum(1) - logdet).mean().backward()

    def sample(self, z: Tensor, cond: Tensor) -> None:
        with torch.no_grad():
            self.inverse(z, cond)


class Ours(Subject):
    def __init__(self, dim: int, **options) -> None:
        self.module = make_flow(dim, 1, BLOCKS, hidden=HIDDEN, bins=BINS, bounds=BOUND, zero_init=False, **options)

    def forward(self, x, cond):
        return self.module(x, cond)

    def inverse(self, z, cond):
        return self.module.inverse(z, cond)[0]


class Products(Subject):
    """The matrix products alone, on inputs of the right shape."""

    def __init__(self, dim: int, rows: int | None = None) -> None:
        half = dim // 2
        self.module = nn.ModuleList(subnet(dim - half + 1, HIDDEN, half * (3 * BINS - 1), False) for _ in range(BLOCKS))
        self.rows, self.width = rows, dim - half + 1
        self.given = torch.randn(SAMPLE, self.width)

    def to(self, device):
        self.given = self.given.to(device)
        return super().to(device)

    def train(self, x, cond):
        self.module.zero_grad()
        given = self.given[: len(x)].clone().requires_grad_()
        outs = [net(given) for net in self.module]
        torch.autograd.backward(outs, [torch.ones_like(outs[0])] * BLOCKS)

    def sample(self, z, cond):
        rows = self.rows or len(z)
        with torch.no_grad():
            for i in range(0, len(z), rows):
                for net in self.module:
                    net(self.given[i : i + rows])


class Zuko(Subject):
    def __init__(self, dim: int) -> None:
        zuko = importlib.import_module("zuko")
        spline = partial(zuko.transforms.MonotonicRQSTransform, bound=BOUND)
        self.module = zuko.flows.NICE(
            dim,
            1,
            transforms=BLOCKS,
            randmask=True,
            univariate=spline,
            shapes=[(BINS,), (BINS,), (BINS - 1,)],
            hidden_features=HIDDEN,
        )

    def forward(self, x, cond):
        return self.module(cond).transform.call_and_ladj(x)

    def inverse(self, z, cond):
        return self.module(cond).transform.inv(z)


class _Net(nn.Module):
    """Sub-network in the calling convention of nflows and normflows."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.hidden_features = HIDDEN[-1]  # both libraries divide width and height logits by its root
        self.net = subnet(inputs + 1, HIDDEN, outputs, False)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return self.net(torch.cat([x, context], 1))


class _Composite(Subject):
    def blocks(self, dim: int, block: Callable) -> nn.ModuleList:
        masks = []
        for active in choose_columns(dim, BLOCKS):
            masks.append(torch.zeros(dim, dtype=torch.int64).index_fill(0, active, 1))
        return nn.ModuleList(block(mask, _Net, num_bins=BINS, tails="linear", tail_bound=BOUND) for mask in masks)

    def forward(self, x, cond):
        total = 0.0
        for block in self.module:
            x, logdet = block(x, cond)
            total = total + logdet
        return x, total

    def inverse(self, z, cond):
        for block in reversed(self.module):
            z, _ = block.inverse(z, cond)
        return z


class NFlows(_Composite):
    def __init__(self, dim: int) -> None:
        library = importlib.import_module("nflows.transforms.coupling")
        self.module = self.blocks(dim, library.PiecewiseRationalQuadraticCouplingTransform)


class NormFlows(_Composite):
    def __init__(self, dim: int) -> None:
        library = importlib.import_module("normflows.flows.neural_spline.coupling")
        self.module = self.blocks(dim, library.PiecewiseRationalQuadraticCoupling)


SUBJECTS: dict[str, Callable[[int], Subject]] = {
    "products": Products,
    "products, chunked": lambda dim: Products(dim, make_flow(dim, 1, 1, hidden=HIDDEN).rows(DEVICE.type)),
    "calopipe": Ours,
    "calopipe, eager": partial(Ours, backend="eager"),
    "zuko": Zuko,
    "nflows": NFlows,
    "normflows": NormFlows,
}


def build(name: str, dim: int) -> Subject | None:
    """The subject with weights of seed 0, or None (said on stderr) when its library is not installed."""
    torch.manual_seed(0)
    try:
        return SUBJECTS[name](dim).to(DEVICE)
    except ImportError as reason:
        print(f"{name}: skipped ({reason})", file=sys.stderr)
        return None


def rows(dim: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    made = torch.randn(SAMPLE, dim, generator=generator), torch.rand(SAMPLE, 1, generator=generator)
    return made[0].to(DEVICE), made[1].to(DEVICE)


def measure_time(dim: int, repeats: int, clock: Callable[[], float]) -> tuple[Figures, Figures]:
    """Median seconds per step, subjects taking turns, and on a GPU the most that a step allocated, in MiB; a first turn on few rows warms up."""
    x, cond = rows(dim)
    subjects = {name: subject for name in SUBJECTS if (subject := build(name, dim)) is not None}
    taken: dict[str, dict[str, list[float]]] = {name: {"train": [], "sample": []} for name in subjects}
    most: Figures = {name: {"train": 0.0, "sample": 0.0} for name in subjects} if DEVICE.type == "cuda" else {}
    for turn in range(repeats + 1):
        for name, subject in subjects.items():
            sizes = {"train": TRAIN, "sample": SAMPLE if turn else TRAIN}
            for step, n in sizes.items():
                subject.module.zero_grad()
                before = _allocated()
                for _ in range((5 if dim <= EXACT else 2) if step == "train" and turn else 1):
                    synchronise(DEVICE.type)
                    start = clock()
                    getattr(subject, step)(x[:n], cond[:n])
                    synchronise(DEVICE.type)
                    if turn:
                        taken[name][step].append(clock() - start)
                if most:
                    most[name][step] = max(most[name][step], (torch.cuda.max_memory_allocated() - before) / 2**20)
                subject.module.zero_grad()
    return {
        name: {step: statistics.median(times) for step, times in steps.items()} for name, steps in taken.items()
    }, most


def _allocated() -> int:
    """Bytes that are allocated on the GPU, whose peak is forgotten; 0 without one."""
    if DEVICE.type != "cuda":
        return 0
    torch.cuda.reset_peak_memory_stats()
    return torch.cuda.memory_allocated()


def measure_memory(name: str, dim: int, step: str) -> float | None:
    """Growth of the peak resident size (MiB) over three training steps, or one sampling, in a fresh process."""
    command = [sys.executable, __file__, "--child", name, str(dim), step]
    done = subprocess.run(command, capture_output=True, text=True)
    return float(done.stdout.split()[-1]) if done.returncode == 0 and done.stdout.strip() else None


def child(name: str, dim: int, step: str) -> float | None:
    """What `measure_memory` runs: MiB. A tiny problem first, so that libraries and compiled code are loaded."""
    (x, cond), subject, small = rows(dim), build(name, dim), build(name, 6)
    if subject is None or small is None:
        return None
    getattr(small, step)(torch.randn(64, 6, device=DEVICE), torch.rand(64, 1, device=DEVICE))
    n = TRAIN if step == "train" else SAMPLE
    before = _resident(reset=True)
    for _ in range(3 if step == "train" else 1):
        getattr(subject, step)(x[:n], cond[:n])
    return (_resident() - before) / 1024


def _resident(reset: bool = False) -> float:
    """Peak resident size in KiB; ``reset`` forgets earlier peaks (of imports and compilers) where the system can."""
    try:
        if reset:
            Path("/proc/self/clear_refs").write_text("5")
        lines = Path("/proc/self/status").read_text().splitlines()
        return float(next(line for line in lines if line.startswith("VmHWM")).split()[1])
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def measure_exactness(dim: int, count: int = 500) -> list[dict[str, object]]:
    """Largest float32 inverse error and spread of z, for weight matrices times 1, 1.25 and 1.5."""
    x, cond = (part[:count] for part in rows(dim))
    subjects = {
        "calopipe": lambda: Ours(dim),
        "calopipe, bf16 products": lambda: Ours(dim),
        "calopipe, float64 rows": lambda: Ours(dim),
        "calopipe, heat 1": lambda: Ours(dim, heat=1.0),
        "calopipe, heat 1, float64 rows": lambda: Ours(dim, heat=1.0),
        **{name: partial(build, name, dim) for name in ("zuko", "nflows", "normflows")},
    }
    found = []
    for name, make in subjects.items():
        for scale in (1.0, 1.25, 1.5):
            torch.manual_seed(0)
            if (subject := make()) is None:
                break
            subject.to(DEVICE)
            found.append({"subject": name, "dim": dim, "scale": scale, **_exactness(subject, x, cond, scale, name)})
    return found


def _exactness(subject: Subject, x: Tensor, cond: Tensor, scale: float, name: str) -> dict[str, object]:
    given = x.double() if "float64" in name else x
    with torch.no_grad(), torch.autocast(DEVICE.type, dtype=torch.bfloat16, enabled="bf16" in name):
        for p in subject.module.parameters():
            p.mul_(scale if p.ndim == 2 else 1.0)
        try:
            z, _ = subject.forward(given, cond)
            error = (subject.inverse(z, cond) - given).abs().max().item()
        except Exception as reason:
            return {"error": None, "note": f"{type(reason).__name__}: {str(reason).splitlines()[0][:80]}"}
    return {
        "error": error if math.isfinite(error) else None,
        "z_std": z.std().item(),
        "note": "" if math.isfinite(error) else "not finite",
    }


def table(result: dict) -> str:
    """The result as markdown."""
    lines = [
        __doc__.split("\n\nRun:")[0],
        "",
        f"torch {torch.__version__}, {result['device']}, {result['threads']} threads, {result['clock']} clock",
        "",
    ]
    for dim, times in result["time"].items():
        lines += [f"## Dimension {dim}", "", "| | train, ms | ratio | sample, s | ratio |", "|---|---|---|---|---|"]
        base = times["products"]
        for name, t in times.items():
            lines.append(
                f"| {name} | {1e3 * t['train']:.1f} | {t['train'] / base['train']:.2f} | {t['sample']:.3f} | "
                f"{t['sample'] / base['sample']:.2f} |"
            )
        lines.append("")
    for dim, memory in result["memory"].items():
        lines += [f"## Peak memory above base, dimension {dim}, MiB", "", "| | train | sample |", "|---|---|---|"]
        lines += [*(f"| {name} | {m['train']:.0f} | {m['sample']:.0f} |" for name, m in memory.items()), ""]
    if result["exact"]:
        lines += [
            "## Largest float32 inverse error",
            "",
            "| | dimension | weights | error | std of z |",
            "|---|---|---|---|---|",
        ]
        for row in result["exact"]:
            error = row["note"] if row["error"] is None else f"{row['error']:.2g}"
            lines.append(f"| {row['subject']} | {row['dim']} | x{row['scale']} | {error} | {row.get('z_std', 0):.2f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    global DEVICE, SAMPLE
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks"))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--dims", type=int, nargs="+", default=[50, 368])
    parser.add_argument("--skip", nargs="*", choices=["time", "memory", "exact"], default=[])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--sample", type=int, default=SAMPLE, help="rows that are sampled")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    DEVICE, SAMPLE = torch.device(args.device), args.sample
    if args.child:
        if (found := child(args.child[0], int(args.child[1]), args.child[2])) is not None:
            print(found)
        return
    torch.set_num_threads(args.threads)
    clock = time.perf_counter if args.clock == "wall" else time.process_time
    result: dict = {
        "device": torch.cuda.get_device_name() if DEVICE.type == "cuda" else "cpu",
        "threads": args.threads,
        "clock": args.clock,
        "torch": torch.__version__,
        "memory": {},
        "exact": [],
        "time": {},
    }
    if "memory" not in args.skip and DEVICE.type == "cpu":
        for name in SUBJECTS:
            found = {step: measure_memory(name, 368, step) for step in ("train", "sample")}
            if None not in found.values():
                result["memory"].setdefault("368", {})[name] = found
    for dim in args.dims:
        if "time" not in args.skip:
            result["time"][str(dim)], most = measure_time(dim, args.repeats, clock)
            if most and "memory" not in args.skip:
                result["memory"][str(dim)] = most
        if "exact" not in args.skip and dim <= EXACT:
            result["exact"] += measure_exactness(dim)
        save(result, args.out)
    save(result, args.out)
    print(table(result))


def save(result: dict, folder: Path) -> None:
    """What is measured by now: a run that is stopped leaves it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "flow_speed.json").write_text(json.dumps(result, indent=1))
    (folder / "flow_speed.md").write_text(table(result))


if __name__ == "__main__":
    main()
