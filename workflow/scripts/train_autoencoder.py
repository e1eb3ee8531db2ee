"""Train the autoencoder of a run."""

from calopipe.scripting import stage, training

with stage(snakemake):
    from calopipe.config import AutoencoderStage
    from calopipe.training import TrainingJob, train_autoencoder

    settings = snakemake.params.settings
    job = TrainingJob(**training(snakemake), seed=int(snakemake.wildcards.seed))
    train_autoencoder(AutoencoderStage(**settings["autoencoder"]), job)
