"""The three trainings of a flow of latents compared: (mu, log sigma^2), z drawn anew in every batch, z drawn once (Ernst 2023, figure 20).

    python benchmarks/latents.py --data FOLDER --out results/latents [--model photons_vae_bce] [--seeds 2]

One autoencoder (an entry of ``quality.py``) is trained once, then the flow of its preset for each way and seed. Judged are generated
showers against *reconstructions* of showers that no training saw, at the same incident energies: what the decoder does wrong is in
both, and 0.5 is a perfect flow. The last row tells two reconstructions of the same showers apart, with other draws of z: the floor.
Tests are those of ``quality.py``; errors are whole for one training, so differences of the seeds come on top.
"""

from __future__ import annotations

import argparse
import logging
import shutil
from pathlib import Path

import torch
from quality import MODELS, ROOT, SEED, Data, classifiers, split

from calopipe.config import Generation, Model, validate
from calopipe.config.load import read_yaml
from calopipe.records.files import write_json
from calopipe.sampling import generate, reconstruct
from calopipe.sampling.whole import train_model
from calopipe.training import TrainingJob

WAYS = ("mu_sigma", "resample", "once")


def with_latents(model: Model, way: str) -> Model:
    """The model with another training of its flow."""
    networks = {
        name: stage.model_copy(update={"latents": way}) if stage.learns in model.networks else stage
        for name, stage in model.networks.items()
    }
    return Model(networks=networks)


def one(model: Model, data: Data, parts: Path, out: Path, seed: int, threads: int) -> dict[str, float]:
    """Train the flow, whose autoencoder is there, and judge what it generates against reconstructions."""
    job = TrainingJob(
        parts / "train.hdf5", parts / "val.hdf5", data.geometry, out, out, out, seed, threads, data.threshold,
    )  # fmt: skip
    checkpoints = train_model(model, job, out)
    generate(list(checkpoints.values()), parts / "test.hdf5", out / "generated.hdf5", Generation(), seed)
    return classifiers(out.parent / "reference.hdf5", out / "generated.hdf5", data.readout, out)


def main() -> None:
    """Train the autoencoder and the flows; print and write the AUCs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the files of showers")
    parser.add_argument("--out", type=Path, default=Path("results/latents"))
    parser.add_argument("--model", choices=list(MODELS), default="photons_vae_bce")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(args.threads)
    preset, key, name = MODELS[args.model]
    model = validate(Model, read_yaml(ROOT / "presets" / f"{preset}.yaml")["models"][key], key)
    parts, maker = args.out / "data" / name, model.chain.maker.name
    data = split(args.data, parts, name)
    job = TrainingJob(
        parts / "train.hdf5", parts / "val.hdf5", data.geometry, args.out, args.out, args.out, SEED, args.threads,
        data.threshold,
    )  # fmt: skip
    alone = Model(networks={maker: model.networks[maker]})
    checkpoint = train_model(alone, job, args.out)[maker]
    for file, seed in (("reference", 0), ("again", 1)):
        reconstruct(checkpoint, parts / "test.hdf5", args.out / f"{file}.hdf5", Generation(), seed)
    table = {"again": [classifiers(args.out / "reference.hdf5", args.out / "again.hdf5", data.readout, args.out)]}
    for way in WAYS:
        table[way] = []
        for seed in range(args.seeds):
            out = args.out / f"{way}_{seed}"
            shutil.copytree(args.out / maker, out / maker, dirs_exist_ok=True)
            table[way].append(one(with_latents(model, way), data, parts, out, seed, args.threads))
            write_json(args.out / "latents.json", table)
            print(way, seed, table[way][-1])


if __name__ == "__main__":
    main()
