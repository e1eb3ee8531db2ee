"""Train one network of a run's chain."""

from pathlib import Path

from calopipe.scripting import stage, training

with stage(snakemake):
    from calopipe.config import NetworkStage
    from calopipe.config.links import Link
    from calopipe.seeds import Training
    from calopipe.training import TrainingJob, train_network

    settings = snakemake.params.settings
    link = Link(**{**settings["link"], "given": tuple(settings["link"]["given"])})
    this = Training.of(snakemake.wildcards.seed)
    job = TrainingJob(**training(snakemake), seed=this.seed, block=this.run, epochs=Path(snakemake.output.epochs))
    train_network(NetworkStage(**settings["network"]), link, job)
