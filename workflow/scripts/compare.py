"""Train a classifier that tells the samples of all runs of a dataset apart."""

from pathlib import Path

from calopipe.scripting import stage

with stage(snakemake):
    from calopipe.config import ClassifierConfig
    from calopipe.evaluation import Readout, evaluate_multiclass

    settings = snakemake.params.settings
    evaluate_multiclass(
        Path(snakemake.input.reference),
        dict(zip(settings["samples"], map(Path, snakemake.input.samples), strict=True)),
        Readout.of(settings["geometry"], settings["threshold_MeV"]),
        config=ClassifierConfig(**settings["classifier"]),
        seed=settings["seed"],
        scores=Path(snakemake.output.scores),
        confusion=Path(snakemake.output.confusion),
    )
