"""Train a classifier that tells the samples of all runs of a dataset apart."""

from pathlib import Path

from calopipe.scripting import stage

with stage(snakemake):
    from calopipe.config import ClassifierConfig
    from calopipe.evaluation import evaluate_multiclass

    settings = snakemake.params.settings
    evaluate_multiclass(
        Path(snakemake.input.reference),
        dict(zip(settings["samples"], map(Path, snakemake.input.samples), strict=True)),
        settings["geometry"],
        settings["threshold_MeV"],
        ClassifierConfig(**settings["classifier"]),
        settings["seed"],
        Path(snakemake.output.scores),
        Path(snakemake.output.confusion),
    )
