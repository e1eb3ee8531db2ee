"""Linearity, resolution and Frechet regression distance of every sample of a run."""

from pathlib import Path

from calopipe.scripting import stage

with stage(snakemake):
    from calopipe.config import RegressionConfig
    from calopipe.evaluation import Readout, evaluate_regression

    settings = snakemake.params.settings
    evaluate_regression(
        Path(snakemake.input.reference),
        {name: Path(path) for name, path in snakemake.input.items() if name not in ("raw", "reference", "checkpoint")},
        Readout.of(settings["geometry"], settings["threshold_MeV"]),
        checkpoint=Path(snakemake.input.checkpoint),
        config=RegressionConfig(**settings["regression"]),
        seed=settings["seed"],
        name=snakemake.wildcards.regressor,
        scores=Path(snakemake.output.scores),
        curves=Path(snakemake.output.curves),
    )
