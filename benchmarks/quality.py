"""Quality of the presets for CPUs on real Geant4 showers that no training saw: e+ in the CaloGAN geometry, and others.

    python benchmarks/quality.py --data FOLDER --out results/quality [--models demo_inn demo_vae_inn ...]

FOLDER holds `calogan_eplus.hdf5` (30 000 showers), `ds2like_electrons.hdf5` (12 000), `ds1like_photons.hdf5` (21 000) and
`pbscint_800_truth.hdf5` (the first 60 000 are used); what is not asked for need not be there.
Rows are shuffled, so head slices are representative. The last rows are held out (7900, 3000, 6000 and 20 000). Presets learn the first rows
(21 100, 8400, 14 000 and 14 400) and validate with the next (1000, 600, 1000 and 1200); those of the demo learn the 5250 showers that the demo learns and
validate with the next 750. Each model is trained once, then judged with the held-out showers and as many generated at their incident energies. Checkpoints and samples
are reused where they are there: those of a GPU (--draw-only) can be judged elsewhere. Reported are:

- classifier tests, with their whole errors, also of reconstructions and of two Geant4 samples: ``trees`` and ``low_log`` of every
  evaluation (docs/metrics.md), and ``high``, three networks of 512-512 on the challenge's high-level features; and what they
  find in distorted Geant4 showers (their power); of reconstructions also ``thesis``, raw voxels in GeV, which is weak enough
  to tell good from bad;
- occupancy and share of empty layers, largest activity of the last layer;
- separation powers of E_tot / E_inc (50 bins in [0.98, 1.005]) and of each layer energy over E_inc (50 bins over the
  reference's range), for CaloGAN. Two Geant4 samples of this size would give the quoted floor, (B - 1) / 4 * 2 / n for B filled bins;
- separation power of the activities (1 - sparsity), mean of the layers, with its floor;
- fidelity score, FPD, KPD, PRDC, KL of average showers, mean of E_tot / E_inc;
- generation time per shower at batches of 10 000 (set 2: 1000), on the threads of the run.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
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
from calopipe.training.checkpoint import load_network

ROOT = Path(__file__).parents[1]
SEED = 1
TESTS: dict[str, dict[str, Any]] = {name: {"preset": name} for name in ("trees", "low_log", "high")}
#: of one group of observables each (--groups): what to mend
GROUPS: dict[str, dict[str, Any]] = {
    f"trees_{group}": {"preset": "trees", "groups": [group]}
    for group in ("energies", "centroids", "widths", "brightest", "activity")
}
#: of reconstructions, which the others tell apart whatever their losses: the published test (Ernst 2023, section 3.4.2), two trainings
RECONSTRUCTIONS = TESTS | {"thesis": {"preset": "thesis", "repeats": 2}}


@dataclass(frozen=True)
class Data:
    """A file of showers: which rows (of those of an incident energy in MeV) are held out, which are learned and validated with."""

    file: str
    geometry: str
    threshold: float
    held_out: slice
    train: slice
    val: slice
    timed: int = 10_000
    energy: float | None = None

    @property
    def readout(self) -> Readout:
        """How its showers are read."""
        return Readout.of(self.geometry, self.threshold)


FULL = Data("calogan_eplus.hdf5", "calogan", 0.01, slice(22_100, 30_000), slice(0, 21_100), slice(21_100, 22_100))
SET2 = Data(
    "ds2like_electrons.hdf5", "calochallenge2", 0.01515, slice(9000, 12_000), slice(0, 8400), slice(8400, 9000), 1000
)
PHOTONS = Data(
    "ds1like_photons.hdf5",
    "calochallenge1_photons",
    0.002,
    slice(15_000, 21_000),
    slice(0, 14_000),
    slice(14_000, 15_000),
)
IMAGES = Data(
    "pbscint_800_truth.hdf5",
    "electron_gun_32",
    0.01,
    slice(40_000, 60_000),
    slice(0, 14_400),
    slice(14_400, 15_600),
)
FINE_IMAGES = Data(
    "pbscint_64.hdf5",
    "electron_gun_64",
    0.01,
    slice(25_000, 30_000),
    slice(0, 24_000),
    slice(24_000, 25_000),
    energy=800.0,
)
DATA = {
    "photons": PHOTONS,
    "images": IMAGES,
    "fine_images": FINE_IMAGES,
    "full": FULL,
    "demo": replace(FULL, train=slice(0, 5250), val=slice(5250, 6000)),
    "set2": SET2,
}
#: what is quoted of the metrics
METRICS = (
    "separation_power/mean_layers/activity", "separation_power/average", "separation_power/E_ratio",
    *(f"separation_power/mean_layers/{name}" for name in ("E_layer", "EC_eta", "EC_phi", "width_eta", "width_phi")), "fidelity", "fidelity/activity", "fpd", "kpd",
    "prdc/precision", "prdc/recall", "prdc/coverage", "kl_average/shower",
)  # fmt: skip
#: preset file and model, and the data that it learns
MODELS = {
    "demo_inn": ("calogan_demo", "inn", "demo"),
    "demo_vae_inn": ("calogan_demo", "vae_inn", "demo"),
    "calogan_inn_cpu": ("calogan_inn_cpu", "calogan_inn_cpu", "full"),
    "calogan_vae_inn_cpu": ("calogan_vae_inn_cpu", "calogan_vae_inn_cpu", "full"),
    "calogan_inn_thesis_cpu": ("calogan_inn_thesis_cpu", "calogan_inn_thesis_cpu", "full"),
    "inn_cubic": ("calogan_inn_cubic_cpu", "inn_cubic", "full"),
    "inn_rqs": ("calogan_inn_cubic_cpu", "inn_rqs", "full"),
    "calogan_binn_cpu": ("calogan_binn_cpu", "calogan_binn_cpu", "full"),
    **{
        f"photons_{name}": ("vae_losses_cpu", name, "photons")
        for name in ("vae_plain", "vae_smearing", "vae_noise", "vae_bce", "vae_continuous", "vae_conv")
    },
    "calogan_caloman_cpu": ("calogan_caloman_cpu", "calogan_caloman_cpu", "full"),
    "energies_ae": ("calogan_energies_ae_cpu", "energies_ae", "full"),
    "vae_prior": ("calogan_vae_prior_cpu", "vae", "full"),
    "wgan": ("calogan_wgan_cpu", "wgan", "full"),
    "kvae_inn_cpu": ("calochallenge2_kvae_cpu", "kvae_inn_cpu", "set2"),
    "vae_inn_cpu": ("calochallenge2_kvae_cpu", "vae_inn_cpu", "set2"),
    "ring_cascade_cpu": ("calochallenge2_cascade_cpu", "ring_cascade_cpu", "set2"),
    "matching": ("calochallenge2_matching", "matching", "set2"),
    "matching_cpu": ("calochallenge2_matching", "matching_cpu", "set2"),
    "image_vae_cpu": ("electron_images_cpu", "image_vae_cpu", "images"),
    "image_latent_gan_dp_cpu": ("electron_images_cpu", "image_latent_gan_dp_cpu", "images"),
    "image_gan_dp_cpu": ("electron_images_gan_cpu", "image_gan_dp_cpu", "images"),
    **{name: ("electron_images", name, "images") for name in ("dcgan_32", "dcwgan_32")},
    **{name: ("electron_images", name, "fine_images") for name in ("dcgan_64", "dcwgan_64")},
}


def split(folder: Path, out: Path, name: str) -> Data:
    """:func:`write_parts` of one of the files by name."""
    write_parts(DATA[name], folder, out)
    return DATA[name]


def write_parts(data: Data, folder: Path, out: Path) -> None:
    """Write the parts of a file, thresholded: training, validation, held-out and other showers (the first of training)."""
    n = data.held_out.stop - data.held_out.start
    parts = {"train": data.train, "val": data.val, "test": data.held_out, "other": slice(0, n)}
    out.mkdir(parents=True, exist_ok=True)
    for part, rows in parts.items():
        if not (out / f"{part}.hdf5").exists():
            showers = chosen(data, folder, rows)
            x = np.where(showers.showers < data.threshold, 0, showers.showers).astype(np.float32)
            write_showers(out / f"{part}.hdf5", Showers(showers.incident_energies, x), data.geometry)


def chosen(data: Data, folder: Path, rows: slice) -> Showers:
    """Rows of a file, counted among those of the incident energy that is wanted."""
    if data.energy is None:
        return read_showers(folder / data.file, rows)
    showers = read_showers(folder / data.file)
    wanted = np.flatnonzero(showers.incident_energies[:, 0] == np.float32(data.energy))[rows]
    return Showers(showers.incident_energies[wanted], showers.showers[wanted])


def train(model: Model, data: Data, parts: Path, out: Path, threads: int) -> dict[str, float]:
    """Train what has no checkpoint yet; return processor minutes of what was trained here."""
    minutes: dict[str, float] = {}
    job = TrainingJob(
        parts / "train.hdf5", parts / "val.hdf5", data.geometry, out, out, out, SEED, threads, data.threshold,
    )  # fmt: skip

    def begin(name: str, stage: NetworkStage) -> NetworkStage:
        minutes[name] = time.process_time()
        return stage

    train_model(model, job, out, begin)
    ends = [*list(minutes.values())[1:], time.process_time()]
    return {name: (end - minutes[name]) / 60 for name, end in zip(minutes, ends, strict=False)}


def classifiers(
    reference: Path, sample: Path, readout: Readout, out: Path, tests: Mapping[str, Mapping[str, Any]] = TESTS
) -> dict[str, float]:
    """AUC and its whole error, by all tests."""
    found = {}
    for test, settings in tests.items():
        scores, config = out / f"{sample.stem}_{test}.json", validate(ClassifierConfig, settings, test)
        about = {"config": config, "seed": SEED, "name": test, "sample": sample.stem}
        written = {"scores": scores, "curves": scores.with_suffix(".npz")}
        evaluate_classifier(reference, sample, readout, **about, **written)
        score = next(s for s in load_scores(scores) if s.name.endswith("/auc"))
        found |= {test: score.value, f"{test} error": score.error}
    return found


def power(reference: Path, others: Path, readout: Readout) -> dict[str, Any]:
    """What the tests find in distorted Geant4 showers, and in others as they are."""
    return {
        f"power of {test}": measure_power(
            reference, others, readout, config=validate(ClassifierConfig, settings, test), seed=SEED, name=test
        )
        for test, settings in TESTS.items()
    }


def shapes(reference: Path, generated: Path, geometry: str) -> dict[str, float]:
    """Occupancy, empty layers and largest activity of both samples; separation powers of E_tot / E_inc and E_layer / E_inc."""
    showers = [read_showers(path) for path in (reference, generated)]
    found = {"floor": 49 / 4 * 2 / len(showers[0].showers)}
    a, b = (s.showers.astype(np.float64) / s.incident_energies for s in showers)
    for what, sample in (("Geant4", a), ("generated", b)):
        each = (sample > 0).mean(1)
        found[f"occupancy {what}"] = float(each.mean())
        found[f"occupancy {what} error"] = float(each.std(ddof=1) / len(each) ** 0.5)
        found[f"E_tot / E_inc {what}"] = float(sample.sum(1).mean())
        found[f"E_tot / E_inc {what} error"] = float(sample.sum(1).std(ddof=1) / len(sample) ** 0.5)
    if geometry != FULL.geometry:
        return found
    found["separation E_tot"] = separation_of_values(a.sum(1), b.sum(1), np.linspace(0.98, 1.005, 51))
    for i, part in enumerate(load_geometry(geometry).layer_slices):
        x, y = a[:, part].sum(1), b[:, part].sum(1)
        found[f"separation layer {i}"] = separation_of_values(x, y, np.linspace(x.min(), x.max(), 51))
        for what, sample in (("Geant4", a), ("generated", b)):
            hit = sample[:, part] > 0
            found[f"occupancy {i} {what}"] = float(hit.mean())
            found[f"empty {i} {what}"] = float((~hit.any(1)).mean())
            found[f"largest activity {i} {what}"] = float(hit.mean(1).max())
    return found


def further_metrics(reference: Path, generated: Path, data: Data, out: Path) -> dict[str, float]:
    """Separation of activities, fidelity score (all, and of the activity), FPD, KPD (times 1000), PRDC; errors and floors."""
    histograms, scores = out / "histograms.npz", out / "metrics.json"
    ranges = {FULL.geometry: (0.98, 1.005), IMAGES.geometry: (0.0, 0.5)}
    bins = HistogramConfig(energy_ratio_range=ranges.get(data.geometry, (0.0, 2.0)))
    evaluate_observables(reference, {"generated": generated}, data.readout, config=bins, out=histograms)
    names = ("separation_power", "fidelity", "fpd", "kpd", "kl_average")
    metrics: list[dict[str, Any]] = [{"metric": name} for name in names]
    evaluate_metrics(
        reference,
        {"generated": generated},
        data.readout,
        metrics=[*metrics, {"metric": "prdc", "zero_MeV": data.threshold}],
        histograms=histograms,
        seed=SEED,
        out=scores,
    )
    found = {}
    for score in load_scores(scores):
        if score.name in METRICS and score.value is not None:
            scale = 1e3 if score.name in ("fidelity", "fidelity/activity", "fpd", "kpd") else 1.0
            parts = {"": score.value, " error": score.error, " floor": score.floor}
            found |= {score.name + key: scale * value for key, value in parts.items() if value is not None}
    return found


def milliseconds(networks: list[Path], out: Path, energies: Path, size: int, device: str) -> dict[str, float]:
    """Median generation time per shower in ms at batches of a size, on the threads of this run or a GPU; and in each network."""
    config = validate(TimingConfig, {"batch_sizes": [size], "repeats": 3, "device": device}, "timing")
    time_generation(networks, energies, config=config, out=out / "timing.json")
    found = json.loads((out / "timing.json").read_text())["results"][0]
    return {"ms per shower": found["median_ms"]} | {f"ms in {k}": v for k, v in found["networks_ms"].items()}


def drawing(data: Data) -> Generation:
    """How showers of these data are drawn."""
    return Generation(batch_size=500 if data is SET2 else None)


def draw(model: Model, test: Path, data: Data, out: Path) -> list[Path]:
    """Generate a shower for each held-out one unless that is done; return the checkpoints."""
    networks = [out / name / "model.pt" for name in model.networks]
    if not (out / "generated.hdf5").exists():
        generate(networks, test, out / "generated.hdf5", drawing(data), SEED)
    return networks


def judge(model: Model, test: Path, data: Data, out: Path, device: str) -> dict[str, float]:
    """Score what was generated, and reconstructions where there is an autoencoder; time the model on a device, or not ("none")."""
    networks, generated = draw(model, test, data, out), out / "generated.hdf5"
    scores = classifiers(test, generated, data.readout, out) | shapes(test, generated, data.geometry)
    scores |= further_metrics(test, generated, data, out)
    if model.chain.autoencoder is not None:
        checkpoint = out / model.chain.maker.name / "model.pt"
        reconstruct(checkpoint, test, out / "reconstructed.hdf5", drawing(data), SEED)
        tests = RECONSTRUCTIONS if data is not SET2 else TESTS
        found = classifiers(test, out / "reconstructed.hdf5", data.readout, out, tests)
        (out / "reconstructions").mkdir(exist_ok=True)
        found |= further_metrics(test, out / "reconstructed.hdf5", data, out / "reconstructions")
        made = shapes(test, out / "reconstructed.hdf5", data.geometry)
        found |= {
            key: made[f"occupancy generated{key.removeprefix('occupancy')}"] for key in ("occupancy", "occupancy error")
        }
        scores |= {f"reconstructed {k}": v for k, v in found.items()}
    scores["parameters"] = sum(model_size(path) for path in networks)
    return scores if device == "none" else scores | milliseconds(networks, out, test, data.timed, device)


def model_size(checkpoint: Path) -> int:
    """Trained parameters of a network."""
    return sum(p.numel() for p in load_network(checkpoint).model.parameters() if p.requires_grad)


def floor(test: Path, other: Path, data: Data, out: Path, with_power: bool) -> dict[str, Any]:
    """The same of other Geant4 showers, and the power of the tests where asked for."""
    found = classifiers(test, other, data.readout, out, RECONSTRUCTIONS) | further_metrics(test, other, data, out)
    return found | (power(test, other, data.readout) if with_power else {})


def main() -> None:
    """Train and judge the models asked for; write quality.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the files of showers")
    parser.add_argument("--out", type=Path, default=Path("results/quality"))
    floors = {"geant4": "full", "geant4_set2": "set2", "geant4_photons": "photons", "geant4_images": "images"}
    parser.add_argument("--models", nargs="+", choices=[*MODELS, *floors], default=[*floors, *MODELS])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--epochs", type=int, help="of each training, in place of the preset's")
    parser.add_argument("--draw-only", action="store_true", help="train and generate, and judge nothing")
    parser.add_argument("--timed-on", choices=["cpu", "cuda", "none"], default="cpu", help="where generation is timed")
    parser.add_argument("--groups", action="store_true", help="also trees of one group of observables each")
    parser.add_argument("--power", action="store_true", help="with geant4: what the tests find in distorted showers")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(args.threads)
    summary = args.out / "quality.json"
    for name in args.models:
        out = args.out / name
        out.mkdir(parents=True, exist_ok=True)
        size = floors.get(name) or MODELS[name][2]
        parts = args.out / "data" / size
        data, test = split(args.data, parts, size), parts / "test.hdf5"
        if name in floors:
            found = floor(test, parts / "other.hdf5", data, out, args.power)
        else:
            preset, key, _ = MODELS[name]
            settings = read_yaml(ROOT / "presets" / f"{preset}.yaml")["models"][key]
            for network in settings["networks"].values() if args.epochs else ():
                network["training"] = {**network["training"], "epochs": args.epochs, "keep_every": None}
            model = validate(Model, settings, key)
            minutes = train(model, data, parts, out, args.threads)
            if args.draw_only:
                draw(model, test, data, out)
                continue
            found = judge(model, test, data, out, args.timed_on) | {f"minutes {k}": v for k, v in minutes.items()}
        if args.groups:
            sample = parts / "other.hdf5" if name in floors else out / "generated.hdf5"
            found |= classifiers(test, sample, data.readout, out, GROUPS)
        table = json.loads(summary.read_text()) if summary.exists() else {}
        write_json(summary, table | {name: table.get(name, {}) | found})
        print(name, json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
