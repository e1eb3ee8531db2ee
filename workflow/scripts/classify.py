"""Train classifiers that tell generated from test showers."""

from pathlib import Path

from calopipe.scripting import stage

with stage(snakemake):
    from calopipe.config import ClassifierConfig
    from calopipe.evaluation import evaluate_classifier

    settings = snakemake.params.settings
    evaluate_classifier(
        Path(snakemake.input.reference),
        Path(snakemake.input.sample),
        settings["geometry"],
        settings["threshold_MeV"],
        ClassifierConfig(**settings["classifier"]),
        settings["seed"],
        "generated",
        Path(snakemake.output.scores),
        Path(snakemake.output.curves),
    )
