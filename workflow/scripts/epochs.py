"""Score the epochs that a run's last network kept in its training, or that there are files of."""

from pathlib import Path

from calopipe.scripting import stage

with stage(snakemake):
    from calopipe.config import EpochsConfig, HistogramConfig, RegressionConfig
    from calopipe.evaluation import Readout, score_epochs

    settings, samples = snakemake.params.settings, snakemake.params.samples
    prefix = "regressor_"
    score_epochs(
        {int(n): Path(path) for n, path in samples.items()} if samples else Path(snakemake.input.epochs),
        [Path(path) for path in snakemake.input.get("networks", [])],
        Path(snakemake.input.reference),
        Readout.of(settings["geometry"], settings["threshold_MeV"]),
        config=EpochsConfig(**settings["epochs"]),
        histograms=HistogramConfig(**settings["histograms"]),
        regression=RegressionConfig(**settings["regression"]),
        regressors={k.removeprefix(prefix): Path(v) for k, v in snakemake.input.items() if k.startswith(prefix)},
        seed=settings["seed"],
        out=Path(snakemake.output.scores),
        conditions=settings["conditions"],
    )
