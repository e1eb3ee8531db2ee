"""Score the epochs that the training of a run's flow kept."""

from pathlib import Path

from calopipe.scripting import stage

with stage(snakemake):
    from calopipe.config import EpochsConfig, HistogramConfig, RegressionConfig
    from calopipe.evaluation import score_epochs

    settings = snakemake.params.settings
    autoencoder = snakemake.input.get("autoencoder")
    prefix = "regressor_"
    score_epochs(
        Path(snakemake.input.epochs),
        Path(autoencoder) if autoencoder else None,
        Path(snakemake.input.reference),
        {k.removeprefix(prefix): Path(v) for k, v in snakemake.input.items() if k.startswith(prefix)},
        settings["geometry"],
        settings["threshold_MeV"],
        EpochsConfig(**settings["epochs"]),
        HistogramConfig(**settings["histograms"]),
        RegressionConfig(**settings["regression"]),
        settings["seed"],
        Path(snakemake.output.scores),
    )
