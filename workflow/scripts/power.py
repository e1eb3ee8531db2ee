"""Measure what a classifier finds in slightly distorted reference showers."""

from pathlib import Path

from calopipe.scripting import stage

with stage(snakemake):
    from calopipe.config import ClassifierConfig
    from calopipe.evaluation import evaluate_power

    settings = snakemake.params.settings
    evaluate_power(
        Path(snakemake.input.reference),
        Path(snakemake.input.others),
        settings["factor"],
        settings["geometry"],
        settings["threshold_MeV"],
        ClassifierConfig(**settings["classifier"]),
        settings["seed"],
        snakemake.wildcards.classifier,
        out=Path(snakemake.output[0]),
    )
