"""Fill histograms of the generated showers of lowest and highest classifier weight."""

from pathlib import Path

from calopipe.scripting import stage

with stage(snakemake):
    from calopipe.evaluation import Readout, evaluate_weights

    settings = snakemake.params.settings
    evaluate_weights(
        Path(snakemake.input.sample),
        Readout.of(settings["geometry"], settings["threshold_MeV"]),
        curves=Path(snakemake.input.curves),
        histograms=Path(snakemake.input.histograms),
        brightest=settings["brightest"],
        fraction=settings["fraction"],
        out=Path(snakemake.output.histograms),
    )
