"""Linearity, resolution and Frechet regression distance of every sample of a run."""

from pathlib import Path

from calopipe.scripting import stage

with stage(snakemake):
    from calopipe.config import RegressionConfig
    from calopipe.evaluation import evaluate_regression

    settings = snakemake.params.settings
    evaluate_regression(
        Path(snakemake.input.reference),
        {name: Path(path) for name, path in snakemake.input.items() if name not in ("raw", "reference", "checkpoint")},
        Path(snakemake.input.checkpoint),
        settings["geometry"],
        settings["threshold_MeV"],
        RegressionConfig(**settings["regression"]),
        settings["seed"],
        snakemake.wildcards.regressor,
        Path(snakemake.output.scores),
        Path(snakemake.output.curves),
    )
