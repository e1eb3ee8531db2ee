"""Train the flow of a run, on showers or on latents."""

from pathlib import Path

from calopipe.scripting import stage, threads

with stage(snakemake):
    from calopipe.config import FlowStage
    from calopipe.training import TrainingJob, train_flow

    settings = snakemake.params.settings
    job = TrainingJob(
        train=Path(snakemake.input.train),
        val=Path(snakemake.input.val),
        geometry=settings["geometry"],
        checkpoint=Path(snakemake.output.checkpoint),
        history=Path(snakemake.output.history),
        rolling=Path(snakemake.params.rolling),
        seed=int(snakemake.wildcards.seed),
        threads=threads(snakemake),
        threshold_MeV=settings["threshold_MeV"],
        epochs=Path(snakemake.output.epochs),
    )
    train_flow(FlowStage(**settings["flow"]), job, settings["latent"])
