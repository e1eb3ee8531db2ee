"""Amplification study of all seeds of a model: divergence from a large Geant4 sample in its quantiles."""

from pathlib import Path

from calopipe.scripting import stage

with stage(snakemake):
    from calopipe.config import CalomplificationConfig
    from calopipe.evaluation import evaluate_calomplification

    settings = snakemake.params.settings
    config = CalomplificationConfig(**settings["calomplification"])
    subjects = {"generated": [Path(path) for path in snakemake.input.generated]}
    evaluate_calomplification(
        Path(snakemake.input.train),
        Path(snakemake.input.test),
        {**subjects, **{name: [Path(path) for path in paths] for name, paths in config.subjects.items()}},
        settings["geometry"],
        settings["threshold_MeV"],
        config,
        settings["seed"],
        Path(snakemake.output.scores),
        Path(snakemake.output.curves),
        settings["training_showers"],
    )
