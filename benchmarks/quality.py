"""Quality of the presets in the CaloGAN geometry on real Geant4 e+ showers that no training saw.

    python benchmarks/quality.py --data calogan_eplus.hdf5 --out results/quality [--models demo_inn demo_vae_inn ...]

The file's rows are shuffled, so head slices are representative. The last 7900 rows are held out. The presets of
``calogan_*`` learn rows 0-21 100 and validate with the next 1000; those of the demo learn the 5250 showers that the demo
learns and validate with the next 750. Each model is trained once (its checkpoint is reused when it is there), then judged with the
7900 held-out showers and as many generated at their incident energies:

- the classifier tests of every evaluation, ``trees`` and ``low_log`` (docs/metrics.md), with their whole errors, also of
  reconstructions and of two Geant4 samples; and what they find in distorted Geant4 showers (their power);
- occupancy and share of empty layers, largest activity of the last layer;
- separation powers of E_tot / E_inc (50 bins in [0.98, 1.005]) and of each layer energy over E_inc (50 bins over the
  reference's range). Two Geant4 samples of this size would give the quoted floor, (B - 1) / 4 * 2 / n for B filled bins;
- fidelity score, FPD, KPD and PRDC;
- generation time per shower at batches of 10 000, on the threads of the run.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from calopipe.config import ClassifierConfig, Generation, HistogramConfig, Model, NetworkStage, TimingConfig, validate
from calopipe.config.load import read_yaml
from calopipe.evaluation import evaluate_classifier, evaluate_metrics, evaluate_observables
from calopipe.evaluation.generation_time import time_generation
from calopipe.evaluation.inputs import Readout
from calopipe.evaluation.power import measure_power
from calopipe.geometry import load_geometry
from calopipe.io import Showers, read_showers, write_showers
from calopipe.metrics.separation_power import separation_of_values
from calopipe.records.files import write_json
from calopipe.records.scores import load_scores
from calopipe.sampling import generate, reconstruct
from calopipe.sampling.whole import train_model
from calopipe.training import TrainingJob

ROOT = Path(__file__).parents[1]
GEOMETRY, THRESHOLD, SEED, HELD_OUT = "calogan", 0.01, 1, slice(22_100, 30_000)
TESTS = ("trees", "low_log")
#: preset file and model, and the rows that it learns and validates with
MODELS = {
    "demo_inn": ("calogan_demo", "inn", "demo"),
    "demo_vae_inn": ("calogan_demo", "vae_inn", "demo"),
    "calogan_inn_cpu": ("calogan_inn_cpu", "calogan_inn_cpu", "full"),
    "calogan_vae_inn_cpu": ("calogan_vae_inn_cpu", "calogan_vae_inn_cpu", "full"),
    "calogan_inn_thesis_cpu": ("calogan_inn_thesis_cpu", "calogan_inn_thesis_cpu", "full"),
}
ROWS = {
    "full": {"train": slice(0, 21_100), "val": slice(21_100, 22_100)},
    "demo": {"train": slice(0, 5250), "val": slice(5250, 6000)},
}


def split(data: Path, out: Path) -> None:
    """Write the parts of the file, thresholded: training and validation of both sizes, held-out and other showers."""
    for size, parts in ROWS.items():
        (out / size).mkdir(parents=True, exist_ok=True)
        for name, rows in parts.items():
            _copy(data, out / size / f"{name}.hdf5", rows)
    _copy(data, out / "test.hdf5", HELD_OUT)
    _copy(data, out / "other.hdf5", slice(0, 7900))


def _copy(data: Path, out: Path, rows: slice) -> None:
    if not out.exists():
        showers = read_showers(data, rows)
        x = np.where(showers.showers < THRESHOLD, 0, showers.showers).astype(np.float32)
        write_showers(out, Showers(showers.incident_energies, x), GEOMETRY)


def train(model: Model, data: Path, out: Path, threads: int) -> dict[str, float]:
    """Train what has no checkpoint yet; return processor minutes of what was trained here."""
    minutes: dict[str, float] = {}
    job = TrainingJob(
        data / "train.hdf5", data / "val.hdf5", GEOMETRY, out, out, out, SEED, threads, THRESHOLD,
    )  # fmt: skip

    def begin(name: str, stage: NetworkStage) -> NetworkStage:
        minutes[name] = time.process_time()
        return stage

    train_model(model, job, out, begin)
    ends = [*list(minutes.values())[1:], time.process_time()]
    return {name: (end - minutes[name]) / 60 for name, end in zip(minutes, ends, strict=False)}


def classifiers(reference: Path, sample: Path, out: Path) -> dict[str, float]:
    """AUC and its whole error, by both tests."""
    found = {}
    for test in TESTS:
        scores, config = out / f"{sample.stem}_{test}.json", validate(ClassifierConfig, {"preset": test}, test)
        about = {"config": config, "seed": SEED, "name": test, "sample": sample.stem}
        written = {"scores": scores, "curves": scores.with_suffix(".npz")}
        evaluate_classifier(reference, sample, Readout.of(GEOMETRY, THRESHOLD), **about, **written)
        score = next(s for s in load_scores(scores) if s.name.endswith("/auc"))
        found |= {test: score.value, f"{test} error": score.error}
    return found


def power(reference: Path, others: Path) -> dict[str, Any]:
    """What both tests find in distorted Geant4 showers, and in others as they are."""
    found = {}
    for test in TESTS:
        config = validate(ClassifierConfig, {"preset": test}, test)
        found[f"power of {test}"] = measure_power(
            reference, others, Readout.of(GEOMETRY, THRESHOLD), config=config, seed=SEED, name=test
        )
    return found


def shapes(reference: Path, generated: Path) -> dict[str, float]:
    """Occupancy, empty layers and largest activity of both samples; separation powers of E_tot / E_inc and E_layer / E_inc."""
    showers = [read_showers(path) for path in (reference, generated)]
    found = {"floor": 49 / 4 * 2 / len(showers[0].showers)}
    a, b = (s.showers.astype(np.float64) / s.incident_energies for s in showers)
    found["separation E_tot"] = separation_of_values(a.sum(1), b.sum(1), np.linspace(0.98, 1.005, 51))
    for i, part in enumerate(load_geometry(GEOMETRY).layer_slices):
        x, y = a[:, part].sum(1), b[:, part].sum(1)
        found[f"separation layer {i}"] = separation_of_values(x, y, np.linspace(x.min(), x.max(), 51))
        for what, sample in (("Geant4", a), ("generated", b)):
            hit = sample[:, part] > 0
            found[f"occupancy {i} {what}"] = float(hit.mean())
            found[f"empty {i} {what}"] = float((~hit.any(1)).mean())
            found[f"largest activity {i} {what}"] = float(hit.mean(1).max())
    return found


def further_metrics(reference: Path, generated: Path, out: Path) -> dict[str, float]:
    """Fidelity score (all, and of the activity), FPD, KPD (times 1000) and PRDC, with errors and floors."""
    histograms, scores = out / "histograms.npz", out / "metrics.json"
    bins = HistogramConfig(energy_ratio_range=(0.98, 1.005))
    evaluate_observables(
        reference, {"generated": generated}, Readout.of(GEOMETRY, THRESHOLD), config=bins, out=histograms
    )
    metrics = [{"metric": "fidelity"}, {"metric": "fpd"}, {"metric": "kpd"}, {"metric": "prdc", "zero_MeV": THRESHOLD}]
    evaluate_metrics(
        reference,
        {"generated": generated},
        Readout.of(GEOMETRY, THRESHOLD),
        metrics=metrics,
        histograms=histograms,
        seed=SEED,
        out=scores,
    )
    wanted = ("fidelity", "fidelity/activity", "fpd", "kpd", "prdc/precision", "prdc/recall", "prdc/coverage")
    found = {}
    for score in load_scores(scores):
        if score.name in wanted and score.value is not None:
            scale = 1e3 if score.name in ("fidelity", "fidelity/activity", "fpd", "kpd") else 1.0
            parts = {"": score.value, " error": score.error, " floor": score.floor}
            found |= {score.name + key: scale * value for key, value in parts.items() if value is not None}
    return found


def milliseconds(networks: list[Path], out: Path, energies: Path) -> float:
    """Median generation time per shower in ms at batches of 10 000, on the threads of this run."""
    config = TimingConfig(batch_sizes=[10_000], repeats=3, device="cpu")
    time_generation(networks, energies, config=config, out=out / "timing.json")
    return json.loads((out / "timing.json").read_text())["results"][0]["median_ms"]


def judge(model: Model, test: Path, out: Path) -> dict[str, float]:
    """Generate, reconstruct where there is an autoencoder, and score."""
    networks, generated = [out / name / "model.pt" for name in model.networks], out / "generated.hdf5"
    generate(networks, test, generated, Generation(), SEED)
    scores = classifiers(test, generated, out) | shapes(test, generated) | further_metrics(test, generated, out)
    if model.chain.autoencoder is not None:
        checkpoint = out / model.chain.maker.name / "model.pt"
        reconstruct(checkpoint, test, out / "reconstructed.hdf5", Generation(), SEED)
        found = classifiers(test, out / "reconstructed.hdf5", out)
        scores |= {f"reconstructed {k}": v for k, v in found.items()}
    scores["ms per shower"] = milliseconds(networks, out, test)
    return scores


def main() -> None:
    """Train and judge the models asked for; write quality.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the 30 000 e+ showers in the CaloGAN geometry")
    parser.add_argument("--out", type=Path, default=Path("results/quality"))
    parser.add_argument("--models", nargs="+", choices=[*MODELS, "geant4"], default=["geant4", *MODELS])
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(args.threads)
    data, summary = args.out / "data", args.out / "quality.json"
    split(args.data, data)
    for name in args.models:
        out = args.out / name
        out.mkdir(parents=True, exist_ok=True)
        if name == "geant4":  # other Geant4 showers: the floor of every test
            found = classifiers(data / "test.hdf5", data / "other.hdf5", out) | power(
                data / "test.hdf5", data / "other.hdf5"
            )
            found |= further_metrics(data / "test.hdf5", data / "other.hdf5", out)
        else:
            preset, key, size = MODELS[name]
            model = validate(Model, read_yaml(ROOT / "presets" / f"{preset}.yaml")["models"][key], key)
            minutes = train(model, data / size, out, args.threads)
            found = judge(model, data / "test.hdf5", out) | {f"minutes {k}": v for k, v in minutes.items()}
        table = json.loads(summary.read_text()) if summary.exists() else {}
        write_json(summary, table | {name: table.get(name, {}) | found})
        print(name, json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
