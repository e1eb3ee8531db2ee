"""Train the flow of a run, on showers or on latents."""

from pathlib import Path

from calopipe.scripting import stage, threads
from calopipe.workflow import partial_model

with stage(snakemake):
    from calopipe.training import train_flow

    settings = snakemake.params.settings
    train_flow(
        partial_model(settings),
        Path(snakemake.input.train),
        Path(snakemake.input.val),
        settings["geometry"],
        int(snakemake.wildcards.seed),
        Path(snakemake.output.checkpoint),
        Path(snakemake.output.history),
        Path(snakemake.params.rolling),
        threads(snakemake),
        settings["threshold_MeV"],
        Path(snakemake.output.epochs),
    )
