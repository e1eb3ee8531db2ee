"""Measure what a classifier finds in slightly distorted reference showers."""

from pathlib import Path

from calopipe.scripting import stage

with stage(snakemake):
    from calopipe.config import ClassifierConfig
    from calopipe.evaluation import Readout, evaluate_power

    settings = snakemake.params.settings
    evaluate_power(
        Path(snakemake.input.reference),
        None if settings.get("halved") else Path(snakemake.input.others),
        Readout.of(settings["geometry"], settings["threshold_MeV"]),
        config=ClassifierConfig(**settings["classifier"]),
        seed=settings["seed"],
        name=snakemake.wildcards.classifier,
        out=Path(snakemake.output[0]),
        factor=settings["factor"],
    )
