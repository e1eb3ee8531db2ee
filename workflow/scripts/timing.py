"""Measure the generation time per shower."""

from pathlib import Path

from calopipe.scripting import stage

with stage(snakemake):
    from calopipe.config import TimingConfig
    from calopipe.evaluation.generation_time import time_generation

    time_generation(
        [Path(path) for path in snakemake.input.networks],
        Path(snakemake.input.energies),
        config=TimingConfig(**snakemake.params.settings["timing"]),
        out=Path(snakemake.output.times),
        geant4_ms_per_GeV=snakemake.params.settings["geant4_ms_per_GeV"],
    )
