"""Score the epochs that a run's last network kept in its training, or that there are files of."""

from pathlib import Path

from calopipe.scripting import stage

with stage(snakemake):
    from calopipe.config import EpochsConfig, HistogramConfig, RegressionConfig
    from calopipe.config.datasets import EnergySelection
    from calopipe.evaluation import Readout, score_epochs, score_epochs_of_columns
    from calopipe.training.job import Learned

    settings, samples = snakemake.params.settings, snakemake.params.samples
    prefix = "regressor_"
    epochs = {int(n): Path(path) for n, path in samples.items()} if samples else Path(snakemake.input.epochs)
    networks = [Path(path) for path in snakemake.input.get("networks", [])]
    reference, regression = Path(snakemake.input.reference), RegressionConfig(**settings["regression"])
    learned = settings.get("learned")
    if learned is not None:
        energies = learned["energies"]
        learned = Learned(learned["block"], learned["showers"], energies and EnergySelection(**energies))
    about = {
        "config": EpochsConfig(**settings["epochs"]),
        "histograms": HistogramConfig(**settings["histograms"]),
        "seed": settings["seed"],
        "out": Path(snakemake.output.scores),
        "kept_histograms": Path(snakemake.output.histograms),
        "learned": learned,
    }
    if settings["geometry"] is None:
        score_epochs_of_columns(epochs, networks, reference, device=regression.device, **about)
    else:
        score_epochs(
            epochs,
            networks,
            reference,
            Readout.of(settings["geometry"], settings["threshold_MeV"]),
            regression=regression,
            regressors={k.removeprefix(prefix): Path(v) for k, v in snakemake.input.items() if k.startswith(prefix)},
            conditions=settings["conditions"],
            **about,
        )
