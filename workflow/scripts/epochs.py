"""Score the epochs that the training of a run's flow kept."""

from pathlib import Path

from calopipe.scripting import stage

with stage(snakemake):
    from calopipe.config import EpochsConfig, HistogramConfig, RegressionConfig
    from calopipe.evaluation import Readout, score_epochs

    settings = snakemake.params.settings
    autoencoder = snakemake.input.get("autoencoder")
    prefix = "regressor_"
    score_epochs(
        Path(snakemake.input.epochs),
        Path(autoencoder) if autoencoder else None,
        Path(snakemake.input.reference),
        Readout.of(settings["geometry"], settings["threshold_MeV"]),
        config=EpochsConfig(**settings["epochs"]),
        histograms=HistogramConfig(**settings["histograms"]),
        regression=RegressionConfig(**settings["regression"]),
        regressors={k.removeprefix(prefix): Path(v) for k, v in snakemake.input.items() if k.startswith(prefix)},
        seed=settings["seed"],
        out=Path(snakemake.output.scores),
    )
