"""What the loss of the Bernoulli VAE is taken of: its decoder's output, or the showers that become of it.

    python benchmarks/bernoulli_loss.py --data ds1like_photons.hdf5 --out results/bernoulli_loss

The file's rows are shuffled: the first 15 000 train, the next 1 000 validate, the last 5 000 are reconstructed (the decoder
alone is judged, at the showers' own layer energies). Three trainings of the same network and seed:

- ``decoder``: the loss compares with the decoder's output, and conditions go in linearly;
- ``shower``: the loss compares with the reconstruction scaled to its layer energies, cut at 2 keV and normalised again;
- ``shower, logit``: and conditions go through the logit, which is what ``bernoulli_vae`` does.

Printed and written to bernoulli_loss.json: separation powers of reconstructions and showers, with errors and floors, the mean
activity of each layer, and the seconds of the training.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from torch import Tensor

from calopipe.config import Generation, HistogramConfig, validate
from calopipe.config.networks import NetworkStage
from calopipe.config.training import Training
from calopipe.evaluation import evaluate_metrics, evaluate_observables
from calopipe.evaluation.inputs import Readout
from calopipe.geometry import load_geometry
from calopipe.io import Showers, read_showers, write_showers
from calopipe.models.autoencoders.bernoulli_vae import BernoulliVAE
from calopipe.models.base import Autoencoder
from calopipe.records.files import write_json
from calopipe.records.scores import load_scores
from calopipe.sampling import reconstruct
from calopipe.training import TrainingJob, train_network

GEOMETRY, THRESHOLD, SEED = "calochallenge1_photons", 2e-3, 0
ROWS = {"train": slice(0, 15_000), "val": slice(15_000, 16_000), "test": slice(16_000, 21_000)}
VARIANTS = ("decoder", "shower", "shower, logit")


def split(data: Path, out: Path) -> None:
    """Write the three parts of the file, thresholded."""
    showers = read_showers(data, geometry=load_geometry(GEOMETRY))
    x = np.where(showers.showers < THRESHOLD, 0, showers.showers).astype(np.float32)
    for name, rows in ROWS.items():
        write_showers(out / f"{name}.hdf5", Showers(showers.incident_energies[rows], x[rows]), GEOMETRY)


def settings(epochs: int) -> NetworkStage:
    """The published card with a smaller network, a larger rate and fewer epochs."""
    step = {"step": "layer_normalise", "extras": "condition", "scale": 0.9, "ratio_scale": 0.45, "extras_scale": 0.9}
    training = Training(epochs=epochs, lr=5e-4, weight_decay=1e-7, weights="last", device="cpu")
    card = {
        "learns": "showers",
        "preprocessing": [step],
        "model": {"name": "bernoulli_vae", "hidden": [1000, 500, 250]},
        "training": training.model_dump(mode="json"),
    }
    return validate(NetworkStage, card, "autoencoder")


@contextmanager
def variant(name: str) -> Iterator[None]:
    """Change the model to the variant while the context lasts."""

    def linear(model: BernoulliVAE, cond: Tensor) -> Tensor:
        return cond / model.cond_scale

    class Raw:
        """Descriptor: reconstructions stay as the decoder gives them, whatever is set."""

        def __get__(self, model: Autoencoder, owner: type) -> object:
            return lambda x, cond: x

        def __set__(self, model: Autoencoder, value: object) -> None: ...

    with ExitStack() as stack:
        if name == "decoder":
            stack.enter_context(mock.patch.object(BernoulliVAE, "as_shower", Raw(), create=True))
        if name != "shower, logit":
            stack.enter_context(mock.patch.object(BernoulliVAE, "_condition", linear))
        yield


def judge(out: Path, data: Path) -> dict[str, dict[str, float]]:
    """Scores of the reconstructions: value, error and floor."""
    samples = {"generated": out / "reconstructed.hdf5"}
    test, histograms, scores = data / "test.hdf5", out / "histograms.npz", out / "metrics.json"
    evaluate_observables(test, samples, Readout.of(GEOMETRY, THRESHOLD), config=HistogramConfig(), out=histograms)
    metrics = [{"metric": "separation_power"}]
    evaluate_metrics(
        test, samples, Readout.of(GEOMETRY, THRESHOLD), metrics=metrics, histograms=histograms, seed=SEED, out=scores
    )
    found = {
        s.name: {"value": s.value, "error": s.error, "floor": s.floor}
        for s in load_scores(scores)
        if s.value is not None
    }
    for i, part in enumerate(load_geometry(GEOMETRY).layer_slices):
        for name, path in (("Geant4", test), ("reconstructed", samples["generated"])):
            found[f"mean activity {i} {name}"] = {"value": float((read_showers(path).showers[:, part] > 0).mean())}
    return found


def main() -> None:
    """Train and judge the variants asked for; write bernoulli_loss.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="21 000 photons in the geometry of CaloChallenge 1")
    parser.add_argument("--out", type=Path, default=Path("results/bernoulli_loss"))
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=VARIANTS)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(args.threads)
    data, table = args.out / "data", {}
    split(args.data, data)
    for name in args.variants:
        out, start = args.out / name.replace(", ", "_"), time.process_time()
        job = TrainingJob(data / "train.hdf5", data / "val.hdf5", GEOMETRY, out / "autoencoder.pt", out / "history.csv",
                          out / "rolling", SEED, args.threads, THRESHOLD)  # fmt: skip
        with variant(name):
            stage = settings(args.epochs)
            train_network(stage, stage.link("autoencoder"), job)
            seconds = time.process_time() - start
            reconstruct(job.checkpoint, data / "test.hdf5", out / "reconstructed.hdf5", Generation(device="cpu"), SEED)
        table[name] = judge(out, data) | {"processor seconds": {"value": seconds}}
        write_json(args.out / "bernoulli_loss.json", table)
        print(
            name, json.dumps({k: v for k, v in table[name].items() if "activity" in k or "mean_layers" in k}, indent=1)
        )


if __name__ == "__main__":
    main()
