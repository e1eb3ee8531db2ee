"""Fill histograms of the generated showers of lowest and highest classifier weight."""

from pathlib import Path

from calopipe.scripting import stage

with stage(snakemake):
    from calopipe.evaluation import evaluate_weights

    settings = snakemake.params.settings
    evaluate_weights(
        Path(snakemake.input.curves),
        Path(snakemake.input.histograms),
        Path(snakemake.input.sample),
        settings["geometry"],
        settings["threshold_MeV"],
        settings["brightest"],
        settings["fraction"],
        Path(snakemake.output.histograms),
    )
