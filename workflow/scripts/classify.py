"""Train classifiers that tell generated from test showers."""

from pathlib import Path

from calopipe.scripting import stage

with stage(snakemake):
    from calopipe.config import ClassifierConfig
    from calopipe.evaluation import evaluate_classifier

    settings, sample = snakemake.params.settings, Path(snakemake.input.sample)
    evaluate_classifier(
        Path(snakemake.input.reference),
        sample,
        settings["geometry"],
        settings["threshold_MeV"],
        ClassifierConfig(**settings["classifier"]),
        settings["seed"],
        sample.stem,  # generated or reconstructed
        Path(snakemake.output.scores),
        Path(snakemake.output.curves),
        power=Path(snakemake.input.power) if "power" in snakemake.input.keys() else None,
    )
