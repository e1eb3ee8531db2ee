"""Quality of the CaloGAN-geometry presets on 30 000 real Geant4 e+ showers: classifier AUC and separation powers.

    python benchmarks/quality.py --data calogan_eplus.hdf5 --out results/quality [--models inn vae_inn]

The file's rows are shuffled, so head slices are representative: rows 0-24 000 train, the next 1 000 validate, the last
5 000 are held out. Each model is trained once (its checkpoint is reused when it is there), then judged:

- low-level classifier (voxels / E_inc, threshold 0.01 MeV): 5 000 held-out against 5 000 generated showers, split 60/20/20,
  mean and standard deviation of 5 trainings; Geant4 halves give the floor;
- separation powers of E_tot / E_inc (50 bins in [0.98, 1.005]) and of each layer energy over E_inc (50 bins over the
  reference's range): all 30 000 showers against 30 000 generated at their incident energies. Two Geant4 samples of this
  size would give the quoted floor, (B - 1) / 4 * 2 / n for B filled bins;
- fidelity score, FPD, KPD and PRDC of the same 2 x 5 000 showers;
- generation time per shower at batches of 10 000, on the threads of the run.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from pathlib import Path

import numpy as np
import torch

from calopipe.config import ClassifierConfig, Generation, HistogramConfig, Model, TimingConfig, validate
from calopipe.config.load import read_yaml
from calopipe.evaluation import evaluate_metrics, evaluate_observables
from calopipe.evaluation.formats import load_scores, write_json
from calopipe.evaluation.generation_time import time_generation
from calopipe.geometry import load_geometry
from calopipe.io import Showers, read_showers, write_showers
from calopipe.metrics.classifier import classifier_test
from calopipe.metrics.features import features_low
from calopipe.metrics.separation_power import separation_of_values
from calopipe.sampling import encode, generate, reconstruct
from calopipe.training import TrainingJob, train_autoencoder, train_flow

ROOT = Path(__file__).parents[1]
GEOMETRY, THRESHOLD, SEED = "calogan", 0.01, 1
PRESETS = {"inn": "calogan_inn_cpu", "vae_inn": "calogan_vae_inn_cpu", "inn_thesis": "calogan_inn_thesis_cpu"}
ROWS = {"train": slice(0, 24_000), "val": slice(24_000, 25_000), "test": slice(25_000, 30_000)}


def split(data: Path, out: Path) -> None:
    """Write the three parts of the file, thresholded, and the whole of it."""
    showers = read_showers(data, geometry=load_geometry(GEOMETRY))
    x = np.where(showers.showers < THRESHOLD, 0, showers.showers).astype(np.float32)
    for name, rows in {**ROWS, "all": slice(0, 30_000)}.items():
        if not (out / f"{name}.hdf5").exists():
            write_showers(out / f"{name}.hdf5", Showers(showers.incident_energies[rows], x[rows]), GEOMETRY)


def train(model: Model, data: Path, out: Path, threads: int) -> dict[str, float]:
    """Train what has no checkpoint yet; return wall-clock seconds of what was trained here."""
    seconds: dict[str, float] = {}

    def job(name: str, source: Path) -> TrainingJob:
        return TrainingJob(
            source / "train.hdf5", source / "val.hdf5", GEOMETRY, out / f"{name}.pt", out / f"{name}.csv",
            out / "rolling", SEED, threads, THRESHOLD,
        )  # fmt: skip

    source = data
    if model.autoencoder is not None:
        ae, start = job("autoencoder", data), time.monotonic()
        if not ae.checkpoint.exists():
            train_autoencoder(model.autoencoder, ae)
            seconds["autoencoder"] = time.monotonic() - start
        source = out / "latents"
        for name in ("train", "val"):
            if not (source / f"{name}.hdf5").exists():
                encode(ae.checkpoint, data / f"{name}.hdf5", source / f"{name}.hdf5")
    flow, start = job("flow", source), time.monotonic()
    if not flow.checkpoint.exists():
        train_flow(model.flow, flow, model.is_latent)
        seconds["flow"] = time.monotonic() - start
    return seconds


def low_level_auc(reference: Showers, generated: Showers, repeats: int) -> dict[str, float]:
    """Mean and standard deviation of the AUC, and of the accuracy, over `repeats` classifier trainings."""
    features = [features_low(s.showers, s.incident_energies, THRESHOLD) for s in (reference, generated)]
    result = classifier_test(*features, ClassifierConfig(repeats=repeats), SEED)
    return {
        "auc": float(result.auc.mean()),
        "auc_sd": float(result.auc.std(ddof=1)) if repeats > 1 else 0.0,
        "accuracy": float(result.accuracy.mean()),
        "n": result.n,
    }


def separations(reference: Showers, generated: Showers) -> dict[str, float]:
    """Separation powers of E_tot / E_inc and E_layer / E_inc, and occupancies per layer of both."""
    layers = load_geometry(GEOMETRY).layer_slices
    a, b = (s.showers.astype(np.float64) / s.incident_energies for s in (reference, generated))
    out = {"E_tot": separation_of_values(a.sum(1), b.sum(1), np.linspace(0.98, 1.005, 51))}
    for i, part in enumerate(layers):
        x, y = a[:, part].sum(1), b[:, part].sum(1)
        out[f"layer {i}"] = separation_of_values(x, y, np.linspace(x.min(), x.max(), 51))
        out[f"occupancy {i}"] = float((b[:, part] > 0).mean())
        out[f"occupancy {i} Geant4"] = float((a[:, part] > 0).mean())
    out["floor"] = 49 / 4 * 2 / len(a)
    return out


def further_metrics(reference: Path, generated: Path, out: Path) -> dict[str, float]:
    """Fidelity score (all, and of the activity), FPD, KPD (times 1000) and PRDC, with errors and floors."""
    histograms, scores = out / "histograms.npz", out / "metrics.json"
    bins = HistogramConfig(energy_ratio_range=(0.98, 1.005))
    evaluate_observables(reference, {"generated": generated}, GEOMETRY, THRESHOLD, bins, histograms)
    metrics = [{"metric": "fidelity"}, {"metric": "fpd"}, {"metric": "kpd"}, {"metric": "prdc", "zero_MeV": THRESHOLD}]
    evaluate_metrics(reference, {"generated": generated}, histograms, GEOMETRY, THRESHOLD, metrics, SEED, scores)
    wanted = ("fidelity", "fidelity/activity", "fpd", "kpd", "prdc/precision", "prdc/recall", "prdc/coverage")
    found = {}
    for score in load_scores(scores):
        if score.name in wanted and score.value is not None:
            scale = 1e3 if score.name in ("fpd", "kpd") else 1.0
            parts = {"": score.value, " error": score.error, " floor": score.floor}
            found |= {score.name + key: scale * value for key, value in parts.items() if value is not None}
    return found


def milliseconds(flow: Path, autoencoder: Path | None, out: Path, energies: Path) -> float:
    """Median generation time per shower in ms at batches of 10 000, on the threads of this run."""
    config = TimingConfig(batch_sizes=[10_000], repeats=3, device="cpu")
    time_generation(flow, autoencoder, energies, config, out / "timing.json")
    return json.loads((out / "timing.json").read_text())["results"][0]["median_ms"]


def judge(model: Model, data: Path, out: Path, repeats: int) -> dict[str, float]:
    """Generate, reconstruct where there is an autoencoder, and score."""
    ae = out / "autoencoder.pt" if model.is_latent else None
    for name in ("test", "all"):
        generate(out / "flow.pt", ae, data / f"{name}.hdf5", out / f"generated_{name}.hdf5", Generation(), SEED)
    test, generated = read_showers(data / "test.hdf5"), read_showers(out / "generated_test.hdf5")
    scores = low_level_auc(test, generated, repeats)
    scores |= separations(read_showers(data / "all.hdf5"), read_showers(out / "generated_all.hdf5"))
    scores |= further_metrics(data / "test.hdf5", out / "generated_test.hdf5", out)
    scores["ms per shower"] = milliseconds(out / "flow.pt", ae, out, data / "all.hdf5")
    if ae is not None:
        reconstruct(ae, data / "test.hdf5", out / "reconstructed.hdf5", Generation(), SEED)
        found = low_level_auc(test, read_showers(out / "reconstructed.hdf5"), repeats)
        scores |= {f"reconstructed {k}": v for k, v in found.items()}
    return scores


def main() -> None:
    """Train and judge the models asked for; write quality.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the 30 000 e+ showers in the CaloGAN geometry")
    parser.add_argument("--out", type=Path, default=Path("results/quality"))
    parser.add_argument("--models", nargs="+", choices=[*PRESETS, "geant4"], default=["geant4", *PRESETS])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(args.threads)
    data = args.out / "data"
    split(args.data, data)
    summary = args.out / "quality.json"
    table = json.loads(summary.read_text()) if summary.exists() else {}
    for name in args.models:
        if name == "geant4":  # showers of the training part against the held-out ones: the floor of the test
            found = low_level_auc(
                read_showers(data / "test.hdf5"), read_showers(data / "train.hdf5", slice(0, 5000)), args.repeats
            )
            write_showers(args.out / "geant4.hdf5", read_showers(data / "train.hdf5", slice(0, 5000)), GEOMETRY)
            table[name] = found | further_metrics(data / "test.hdf5", args.out / "geant4.hdf5", args.out)
        else:
            settings = read_yaml(ROOT / "presets" / f"{PRESETS[name]}.yaml")["models"][PRESETS[name]]
            model = validate(Model, settings, PRESETS[name])
            seconds = train(model, data, args.out / name, args.threads)
            table[name] = table.get(name, {}) | judge(model, data, args.out / name, args.repeats)
            table[name] |= {f"seconds {k}": v for k, v in seconds.items()}
        write_json(summary, table)
        print(name, json.dumps(table[name], indent=1))


if __name__ == "__main__":
    main()
