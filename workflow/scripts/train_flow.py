"""Train the flow of a run, on showers or on latents."""

from pathlib import Path

from calopipe.scripting import stage, training

with stage(snakemake):
    from calopipe.config import FlowStage
    from calopipe.training import TrainingJob, train_flow

    settings = snakemake.params.settings
    epochs = Path(snakemake.output.epochs)
    job = TrainingJob(**training(snakemake), seed=int(snakemake.wildcards.seed), epochs=epochs)
    train_flow(FlowStage(**settings["flow"]), job, settings["latent"])
