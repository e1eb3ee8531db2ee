"""Check what is unusual about the samples of a run."""

from pathlib import Path

from calopipe.scripting import stage

with stage(snakemake):
    from calopipe.evaluation import Readout
    from calopipe.evaluation.health import check_health

    settings, names = snakemake.params.settings, ("generated", "reconstructed")
    check_health(
        Path(snakemake.input.reference),
        {name: Path(snakemake.input[name]) for name in names if name in snakemake.input.keys()},
        Readout.of(settings["geometry"], settings["threshold_MeV"]),
        training=[Path(path) for path in snakemake.input.training],
        out=Path(snakemake.output[0]),
    )
