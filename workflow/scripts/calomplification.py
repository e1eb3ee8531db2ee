"""Amplification study of all seeds of a model: divergence from a large Geant4 sample in its quantiles."""

from pathlib import Path

from calopipe.scripting import stage

with stage(snakemake):
    from calopipe.config import CalomplificationConfig
    from calopipe.evaluation import Readout, evaluate_calomplification

    settings = snakemake.params.settings
    config = CalomplificationConfig(**settings["calomplification"])
    subjects = {"generated": snakemake.input.generated, **config.subjects}
    evaluate_calomplification(
        Path(snakemake.input.train),
        Path(snakemake.input.test),
        {name: [Path(path) for path in paths] for name, paths in subjects.items()},
        Readout.of(settings["geometry"], settings["threshold_MeV"]),
        config=config,
        seed=settings["seed"],
        scores=Path(snakemake.output.scores),
        curves=Path(snakemake.output.curves),
        training_showers=settings["training_showers"],
    )
