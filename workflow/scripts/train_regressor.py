"""Train an energy regressor of a dataset."""

from pathlib import Path

from calopipe.scripting import stage, threads

with stage(snakemake):
    from calopipe.config import RegressorStage
    from calopipe.training import train_regressor

    settings = snakemake.params.settings
    train_regressor(
        RegressorStage(**settings["regressor"]),
        Path(snakemake.input.train),
        Path(snakemake.input.val),
        settings["geometry"],
        Path(snakemake.output.checkpoint),
        Path(snakemake.output.history),
        Path(snakemake.params.rolling),
        threads(snakemake),
        settings["threshold_MeV"],
    )
