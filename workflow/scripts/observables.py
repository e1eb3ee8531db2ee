"""Fill histograms of the observables for the test showers and every sample of a run."""

from pathlib import Path

from calopipe.scripting import stage

with stage(snakemake):
    from calopipe.config import HistogramConfig
    from calopipe.evaluation import Readout, evaluate_observables

    settings = snakemake.params.settings
    evaluate_observables(
        Path(snakemake.input.reference),
        {name: Path(path) for name, path in snakemake.input.items() if name not in ("raw", "reference")},
        Readout.of(settings["geometry"], settings["threshold_MeV"]),
        config=HistogramConfig(**settings["histograms"]),
        out=Path(snakemake.output.histograms),
    )
