"""Bands of a small Bayesian INN, of an ensemble of INNs, and of a Bayesian INN that learned no showers of some incident energies.

    python benchmarks/bands.py --data calogan_eplus.hdf5 --out results/bands [--epochs 15] [--showers 10000] [--ensemble 5]

FILE holds 30 000 e+ showers in the CaloGAN geometry. Its first rows are learned, 1000 others validate, and the last 7900 are
held out. Trained are, each once (its checkpoint is reused when it is there, so take another --out for other sizes):

- `binn`: the preset calogan_binn_cpu, except that ln of the variances starts at --log-variance: so few steps move it by about one;
- `hole`: the same without showers with incident energies in --hole (MeV), in training and validation;
- `inn`: the same network without Bayesian layers, seeds 0 to N - 1.

Each draw of the weights, and each INN, makes --factor showers for every held-out one. Printed, and written to bands.json, with
counting errors and without (docs/metrics.md, "Bands of Bayesian networks and of ensembles"):

- covered bins and ratio of widths of `binn` beside the ensemble; `covered/floor`: of networks that do not differ;
- width of the bands of `hole` and `binn` inside of the hole over that in slices beside it, as wide as the hole: by all observables. `binn`
  shows what comes of the energies alone; the last ratio, of one over the other, is what the hole does.

Figures: bands.png, both bands over the ratio to Geant4; hole.png, bands of `hole` and `binn` below, in and above the hole. The defaults take
about 25 minutes on one core.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from quality import FULL, ROOT, write_parts

from calopipe.config import Generation, HistogramConfig, Model, validate
from calopipe.config.datasets import EnergySelection
from calopipe.config.load import read_yaml
from calopipe.errors import DataError
from calopipe.evaluation import evaluate_observables
from calopipe.evaluation.bands import Run, band_of_draws, evaluate_bands, histograms_of, reference_shares
from calopipe.metrics.bands import MIN_REFERENCE, Array, Band, Estimate, width, width_inside
from calopipe.plots.histograms import Series, histogram_page
from calopipe.plots.style import model_styles, sample_style, save_figure
from calopipe.records.files import write_json
from calopipe.records.samples import REFERENCE
from calopipe.records.scores import load_scores
from calopipe.records.slices import Slice
from calopipe.sampling import generate
from calopipe.sampling.whole import train_model
from calopipe.training import TrainingJob

PRESET = "calogan_binn_cpu"
BAYESIAN = ("bayesian", "prior_precision", "log_variance")
#: observables of the figures
DRAWN = ("E_ratio", "E_layer/0", "E_layer/1", "E_layer/2", "width_eta/1", "activity/1")
SLICED = ("E_ratio", "E_layer/1")
COUNTING = {"": True, " without counts": False}
#: incident energies of the file in MeV
BEAM = (1_000.0, 20_000.0)


def models(args: argparse.Namespace) -> dict[str, Model]:
    """The Bayesian INN and its counterpart with one value per weight."""
    settings = read_yaml(ROOT / "presets" / f"{PRESET}.yaml")["models"][PRESET]
    flow = settings["networks"]["flow"]
    flow["training"] |= {"epochs": args.epochs, "keep_every": None}
    found = {"binn": {**flow, "model": {**flow["model"], "log_variance": args.log_variance}}}
    plain = {key: value for key, value in flow["model"].items() if key not in BAYESIAN}
    found["inn"] = {**flow, "model": {**plain, "name": "inn"}}
    return {name: validate(Model, {"networks": {"flow": flow}}, name) for name, flow in found.items()}


def histograms(model: Model, parts: Path, out: Path, args: argparse.Namespace, seed: int, hole: bool = False) -> Path:
    """Train a model where it is not there yet, generate, and fill histograms of all energies and of the slices."""
    threshold, energies = FULL.threshold, None
    if hole:
        low, high = args.hole
        energies = EnergySelection(low=low, high=high, outside=True)
    out.mkdir(parents=True, exist_ok=True)
    files = (parts / "train.hdf5", parts / "val.hdf5", FULL.geometry, out, out, out)
    begin = time.process_time()
    checkpoints = train_model(model, TrainingJob(*files, seed, args.threads, threshold, energies=energies), out)
    trained = time.process_time()
    draws = args.draws if model.networks["flow"].model.name == "bayesian_inn" else 1
    test, generated = parts / "test.hdf5", out / "generated.hdf5"
    config = validate(Generation, {"draws": draws, "factor": draws * args.factor}, "generation")
    generate(list(checkpoints.values()), test, generated, config, seed)
    bins = HistogramConfig(energy_slices=slices(args), bins=args.bins, energy_ratio_range=(0.98, 1.005))
    evaluate_observables(test, {"generated": generated}, FULL.readout, config=bins, out=out / "histograms.npz")
    generated.unlink()  # up to a gigabyte
    minutes = [(b - a) / 60 for a, b in ((begin, trained), (trained, time.process_time()))]
    print(f"{out.name}: trained in {minutes[0]:.1f} minutes, sampled and judged in {minutes[1]:.1f}", flush=True)
    return out / "histograms.npz"


def slices(args: argparse.Namespace) -> list[tuple[float, float]]:
    """The hole, and a slice as wide on each side of it where there are showers."""
    low, high = args.hole
    step = high - low
    around = [(max(low - step, BEAM[0]), low), (low, high), (high, min(high + step, BEAM[1]))]
    return [part for part in around if part[0] < part[1]]


def widths(path: Path, part: tuple[float, float]) -> list[tuple[Band, Array]]:
    """Bands of the draws in one slice, with the reference's shares of the bins that are used."""
    found = []
    for (_, of), histogram in histograms_of(path).items():
        if of == Slice.of_energies(*part):
            shares = np.where(histogram.counts[REFERENCE] >= MIN_REFERENCE, reference_shares(histogram), np.nan)
            found.append((band_of_draws(histogram), shares))
    if not found:
        raise DataError(f"--hole: no held-out showers from {part[0]:g} to {part[1]:g} MeV")
    return found


def inside_and_outside(paths: dict[str, Path], args: argparse.Namespace) -> dict[str, Any]:
    """Widths of the bands in the hole and beside it, of both Bayesian networks, and their ratios."""
    hole = tuple(args.hole)
    beside = [part for part in slices(args) if part != hole]
    found: dict[str, Any] = {}
    for end, counting in COUNTING.items():
        ratios = {}
        for name, path in paths.items():
            inside, outside = widths(path, hole), [band for part in beside for band in widths(path, part)]
            rng = np.random.default_rng(0)
            found[f"{name}: width inside{end}"] = (width(inside, counting), None)
            found[f"{name}: width outside{end}"] = (width(outside, counting), None)
            ratios[name] = width_inside(inside, outside, counting, rng)
            found[f"{name}: inside / outside{end}"] = tuple(ratios[name])
        found[f"hole / binn: inside / outside{end}"] = tuple(_over(ratios["hole"], ratios["binn"]))
    return found


def _over(a: Estimate, b: Estimate) -> Estimate:
    """Ratio of two independent estimates."""
    value = a.value / b.value if b.value else np.inf
    if a.error is None or b.error is None or not a.value:
        return Estimate(value, None)
    return Estimate(value, abs(value) * float(np.hypot(a.error / a.value, b.error / b.value)))


def figures(binn: Path, hole: Path, ensemble: list[Path], args: argparse.Namespace) -> None:
    """bands.png and hole.png."""
    styles = model_styles(["Bayesian INN", "ensemble of INNs", "with a hole"])
    bayesian, holed, members = histograms_of(binn), histograms_of(hole), [histograms_of(p) for p in ensemble]

    def series(name: str, key: tuple[str, Slice | None], *found: dict) -> Series:
        draws = 1 if found is members or len(found) > 1 else args.draws
        style = sample_style(styles[name], "generated", len(found), draws)
        return Series(style, tuple(histogram[key] for histogram in found))

    panels = [
        [series("Bayesian INN", (name, None), bayesian), series("ensemble of INNs", (name, None), *members)]
        for name in DRAWN
    ]
    about = {"Title": "Bands of a Bayesian INN and of an ensemble"}
    save_figure(histogram_page(panels, "e+ in the CaloGAN geometry"), args.out / "bands", about, pdf=False)
    panels = [
        [series("Bayesian INN", key, bayesian), series("with a hole", key, holed)]
        for name in SLICED
        for key in ((name, Slice.of_energies(*part)) for part in slices(args))
    ]
    low, high = (end / 1e3 for end in args.hole)
    title = f"No training showers from {low:g} to {high:g} GeV"
    save_figure(histogram_page(panels, title), args.out / "hole", {"Title": title}, pdf=False)


def show(found: dict[str, Any]) -> None:
    """One line each."""
    for name, (value, error) in found.items():
        text = "not defined" if value is None or not np.isfinite(value) else f"{value:.3g}"
        print(f"{name:60} {text}" + ("" if error is None else f" +- {error:.2g}"))


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="file of the 30 000 e+ showers")
    parser.add_argument("--out", type=Path, default=Path("results/bands"))
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--showers", type=int, default=10_000, help="showers to learn, before the hole")
    parser.add_argument("--ensemble", type=int, default=5, help="trainings of the ensemble, 2 or more; 4 for errors")
    parser.add_argument("--draws", type=int, default=20, help="draws of the weights, 2 or more")
    parser.add_argument("--factor", type=int, default=1, help="showers of each draw and training per held-out one")
    parser.add_argument("--bins", type=int, default=30, help="bins of the histograms")
    parser.add_argument("--hole", type=float, nargs=2, default=(6_000.0, 10_000.0), metavar=("LOW", "HIGH"))
    parser.add_argument("--log-variance", type=float, default=-9.0, help="ln of the variances of the weights at first")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    if args.ensemble < 2 or args.draws < 2:
        parser.error("a band needs two trainings, or draws, or more")
    return args


def main() -> None:
    """Train, compare, print and draw."""
    args = arguments()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(args.threads)
    data = replace(FULL, file=args.data.name, train=slice(0, args.showers))
    parts, known = args.out / "data", models(args)
    write_parts(data, args.data.parent, parts)
    binn = histograms(known["binn"], parts, args.out / "binn", args, 0)
    hole = histograms(known["binn"], parts, args.out / "hole", args, 0, hole=True)
    seeds = range(args.ensemble)
    ensemble = [histograms(known["inn"], parts, args.out / f"inn{seed}", args, seed) for seed in seeds]
    evaluate_bands({Run("binn", 0): binn}, {"inn": ensemble}, seed=0, out=args.out / "scores.json")
    found: dict[str, Any] = {}
    for score in load_scores(args.out / "scores.json"):
        if score.name.count("/") == 1:  # of all observables
            found[score.name] = (score.value, score.error)
            found |= {} if score.floor is None else {f"{score.name}/floor": (score.floor, None)}
    found |= inside_and_outside({"hole": hole, "binn": binn}, args)
    show(found)
    asked = {key: str(value) if isinstance(value, Path) else value for key, value in vars(args).items()}
    write_json(args.out / "bands.json", json.loads(json.dumps({"arguments": asked, "found": found})))
    figures(binn, hole, ensemble, args)


if __name__ == "__main__":
    main()
