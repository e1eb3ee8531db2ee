"""Train the autoencoder of a run."""

from pathlib import Path

from calopipe.scripting import stage, threads

with stage(snakemake):
    from calopipe.config import AutoencoderStage
    from calopipe.training import TrainingJob, train_autoencoder

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
    )
    train_autoencoder(AutoencoderStage(**settings["autoencoder"]), job)
