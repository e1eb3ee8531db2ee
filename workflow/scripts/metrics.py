"""Compute the study's metrics of every sample of a run."""

from pathlib import Path

from calopipe.scripting import stage

with stage(snakemake):
    from calopipe.evaluation import Readout, evaluate_metrics

    settings = snakemake.params.settings
    evaluate_metrics(
        Path(snakemake.input.reference),
        {name: Path(path) for name, path in snakemake.input.items() if name not in ("raw", "reference", "histograms")},
        Readout.of(settings["geometry"], settings["threshold_MeV"]),
        metrics=settings["metrics"],
        histograms=Path(snakemake.input.histograms),
        seed=settings["seed"],
        out=Path(snakemake.output.scores),
        latent=settings["latent"],
    )
