"""Train classifiers that tell generated from test showers."""

from pathlib import Path

from calopipe.scripting import stage

with stage(snakemake):
    from calopipe.config import ClassifierConfig
    from calopipe.evaluation import Readout, evaluate_classifier

    settings, sample = snakemake.params.settings, Path(snakemake.input.sample)
    evaluate_classifier(
        Path(snakemake.input.reference),
        sample,
        Readout.of(settings["geometry"], settings["threshold_MeV"]),
        config=ClassifierConfig(**settings["classifier"]),
        seed=settings["seed"],
        scores=Path(snakemake.output.scores),
        curves=Path(snakemake.output.curves),
        sample=sample.stem,  # generated, reconstructed or unrefined
        power=Path(snakemake.input.power) if "power" in snakemake.input.keys() else None,
    )
