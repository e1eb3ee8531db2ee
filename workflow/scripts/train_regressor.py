"""Train an energy regressor of a dataset."""

from pathlib import Path

from calopipe.scripting import stage, threads

with stage(snakemake):
    from calopipe.config import RegressorStage
    from calopipe.training import TrainingJob, train_regressor

    settings = snakemake.params.settings
    job = TrainingJob(
        train=Path(snakemake.input.train),
        val=Path(snakemake.input.val),
        geometry=settings["geometry"],
        checkpoint=Path(snakemake.output.checkpoint),
        history=Path(snakemake.output.history),
        rolling=Path(snakemake.params.rolling),
        threads=threads(snakemake),
        threshold_MeV=settings["threshold_MeV"],
    )
    train_regressor(RegressorStage(**settings["regressor"]), job)
