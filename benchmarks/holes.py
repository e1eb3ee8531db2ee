"""Does the band of a Bayesian INN widen where it has learned nothing? The extra dimensions of showers, with holes in the incident energies.

    python benchmarks/holes.py --data calogan_eplus.hdf5 --out results/holes [--epochs 400] [--showers 4000]

FILE holds 30 000 e+ showers in the CaloGAN geometry. The model is `binn_extra_dimensions` of the preset calogan_binn_columns_cpu (u_1 to u_3 of a
shower given E_inc, all layers Bayesian), except that the ln of its variances start at --log-variance, from where they reach what the data ask for.
It learns the first showers, of all energies; without those inside of the range; and without the upper half of the range (each once; a checkpoint that is
there is used again, so take another --out for other settings). Every draw of the weights makes --factor showers for each of the 7900 held-out ones.

The width of a band is that of docs/metrics.md ("Bands of Bayesian networks and of ensembles") without counting errors, over ten bins of each
column that hold a tenth of the held-out showers each; told in slices of the incident energy, over the width of the network that learned all. The error is the
scatter between halves of the draws. Beside it the distance of the mean from Geant4, in the same unit: what a band should cover. Written: holes.json, holes.png.
"""

from __future__ import annotations

import argparse
import logging
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from quality import FULL, ROOT, write_parts

from calopipe.config import Generation, Model, validate
from calopipe.config.load import read_yaml
from calopipe.geometry import load_geometry
from calopipe.io import Columns, read_columns, read_showers, write_columns
from calopipe.io.shower_columns import numbers_of
from calopipe.metrics.bands import Band, Estimate, width, width_inside
from calopipe.plots.style import new_figure, save_figure
from calopipe.records.files import write_json
from calopipe.records.samples import draw_of
from calopipe.sampling import generate
from calopipe.sampling.whole import train_model
from calopipe.training import TrainingJob

Array = NDArray[np.floating]
COLUMNS, CONDITION = ("u_1", "u_2", "u_3"), "E_inc"
#: name -> incident energies in GeV that are not learned
HOLES = {"all energies": (0.0, 0.0), "without 6 to 10 GeV": (6.0, 10.0), "without 10 to 20 GeV": (10.0, 20.0)}
#: slices of the incident energy in GeV
SLICES = (1.0, 2.0, 4.0, 6.0, 7.0, 8.0, 9.0, 10.0, 12.0, 14.0, 17.0, 20.0)
BINS = 10


class Slice(NamedTuple):
    """Bands of the draws in one slice of the incident energy, one for each column, and the distance of their means from Geant4."""

    bands: list[Band]
    bias: float


def columns_of(path: Path) -> Columns:
    """The extra dimensions and the incident energy of a file of showers."""
    numbers = numbers_of(read_showers(path), load_geometry(FULL.geometry), [*COLUMNS, CONDITION])
    return Columns({key: numbers[key] for key in COLUMNS}, {CONDITION: numbers[CONDITION]}, path.name)


def without(columns: Columns, low: float, high: float) -> Columns:
    """The rows outside of a range of energies in GeV."""
    energies = columns.conditions[CONDITION] / 1e3
    kept = (energies < low) | (energies >= high)
    return Columns(*({k: v[kept] for k, v in part.items()} for part in (columns.values, columns.conditions)))


def trained(hole: tuple[float, float], model: Model, parts: Path, out: Path, threads: int) -> list[Path]:
    """Checkpoints of the model after a training without the energies of the hole."""
    data = out / "data"
    for part in ("train", "val"):
        write_columns(data / f"{part}.hdf5", without(columns_of(parts / f"{part}.hdf5"), *hole))
    job = TrainingJob(
        data / "train.hdf5", data / "val.hdf5", None, out, out, out, 0, threads, 0.0, (CONDITION,), COLUMNS
    )
    return list(train_model(model, job, out).values())


def slices(test: Path, generated: Path, draws: int) -> list[Slice]:
    """Bands of the draws in each slice."""
    truth, sample = read_columns(test), read_columns(generated)
    which = draw_of(np.arange(len(sample.conditions[CONDITION])), draws)
    found = []
    for low, high in zip(SLICES, SLICES[1:], strict=False):
        reference, rows = (_between(c.conditions[CONDITION], low, high) for c in (truth, sample))
        bands = [_band(truth.values[key][reference], sample.values[key][rows], which[rows], draws) for key in COLUMNS]
        bias = np.concatenate([band.mean - 1 / BINS for band in bands]) * BINS**0.5
        found.append(Slice(bands, float(np.sqrt((bias**2).mean()))))
    return found


def _between(energies: Array, low: float, high: float) -> NDArray[np.bool_]:
    return (energies >= 1e3 * low) & (energies < 1e3 * high)


def _band(truth: Array, sample: Array, which: NDArray[np.int64], draws: int) -> Band:
    """Counts of each draw in bins that hold a tenth of the reference each; the outer ones are open."""
    inner = np.quantile(truth, np.linspace(0, 1, BINS + 1)[1:-1])
    bins = np.searchsorted(inner, sample)
    counts = np.array([np.bincount(bins[which == k], minlength=BINS) for k in range(draws)], dtype=np.float64)
    return Band(counts, counts.sum(1))


def ratio(a: Slice, b: Slice) -> Estimate:
    """Width of one network's band over another's, of the same slice."""
    share = np.full(BINS, 1 / BINS)
    rng = np.random.default_rng(0)
    return width_inside([(band, share) for band in a.bands], [(band, share) for band in b.bands], False, rng)


def _error(estimate: Estimate) -> str:
    """Not known where a half of the draws has no band above its counting errors."""
    return "?" if estimate.error is None else f"{estimate.error:.2f}"


def figure(found: dict[str, list[Slice]], out: Path) -> None:
    """holes.png: widths of the bands and distances from Geant4, of each training."""
    drawn = new_figure(7.2, 3.2)
    drawn.subplots_adjust(left=0.14, right=0.98, bottom=0.16, top=0.9, wspace=0.1)
    share, middle = np.full(BINS, 1 / BINS), np.sqrt(np.array(SLICES[1:]) * SLICES[:-1])
    axes = drawn.subplots(1, 2, sharex=True, sharey=True)
    for k, (name, each) in enumerate(found.items()):
        low, high = HOLES[name]
        if high > low:
            axes[0].axvspan(low, high, 0.96 - 0.04 * k, 1.0 - 0.04 * k, color=f"C{k}", alpha=0.5, lw=0)
        values = [[width([(b, share) for b in s.bands], False) for s in each], [s.bias for s in each]]
        for part, y in zip(axes, values, strict=True):
            part.plot(middle, y, "o-", color=f"C{k}", ms=3, label=name)
    for part, title in zip(axes, ("width of the band of 20 draws", "distance of its mean from Geant4"), strict=True):
        part.set(xscale="log", yscale="log", xlabel=r"$E_\mathrm{inc}$ [GeV]", title=title)
        part.set_xticks([1, 2, 5, 10, 20], ["1", "2", "5", "10", "20"])
    axes[0].set_ylabel(r"$\sqrt{\langle \sigma^2 / p\rangle}$")
    axes[1].legend(frameon=False)
    save_figure(
        drawn, out / "holes", {"Title": "Bands of a Bayesian INN with holes in its training energies"}, pdf=False
    )


def main() -> None:
    """Train, generate, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="file of the 30 000 e+ showers")
    parser.add_argument("--out", type=Path, default=Path("results/holes"))
    parser.add_argument("--epochs", type=int, default=400)
    parser.add_argument("--showers", type=int, default=4000, help="showers to learn, before the hole")
    parser.add_argument("--draws", type=int, default=20, help="draws of the weights, 4 or more")
    parser.add_argument("--factor", type=int, default=5, help="showers of each draw per held-out one")
    parser.add_argument("--log-variance", type=float, default=-5.0, help="ln of the variances of the weights at first")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(args.threads)
    parts = args.out / "data"
    write_parts(replace(FULL, file=args.data.name, train=slice(0, args.showers)), args.data.parent, parts)
    settings = read_yaml(ROOT / "presets/calogan_binn_columns_cpu.yaml")["models"]["binn_extra_dimensions"]
    flow = settings["networks"]["flow"]
    flow["training"] |= {"epochs": args.epochs}
    flow["model"] |= {"log_variance": args.log_variance}
    model, test = validate(Model, settings, "binn_extra_dimensions"), args.out / "test.hdf5"
    write_columns(test, columns_of(parts / "test.hdf5"))
    found = {}
    for name, hole in HOLES.items():
        out = args.out / name.replace(" ", "_")
        checkpoints = trained(hole, model, parts, out, args.threads)
        drawn = validate(Generation, {"draws": args.draws, "factor": args.factor * args.draws}, "generation")
        generate(checkpoints, test, out / "generated.hdf5", drawn, 1)
        found[name] = slices(test, out / "generated.hdf5", args.draws)
    table = {}
    for name in list(HOLES)[1:]:
        pairs = zip(found[name], found["all energies"], strict=True)
        rows = [(ratio(a, b), a.bias, b.bias) for a, b in pairs]
        table[name] = [{"ratio": r.value, "error": r.error, "bias": a, "bias of all": b} for r, a, b in rows]
        print(name)
        for low, high, (r, a, b) in zip(SLICES, SLICES[1:], rows, strict=False):
            print(
                f"{low:4.0f} to {high:2.0f} GeV: width {r.value:5.2f} +- {_error(r)} of all; bias {a:.3f}, of all {b:.3f}"
            )
    write_json(args.out / "holes.json", {"slices_GeV": SLICES, "trainings": table})
    figure(found, args.out)


if __name__ == "__main__":
    main()
