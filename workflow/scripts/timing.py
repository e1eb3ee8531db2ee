"""Measure the generation time per shower."""

from pathlib import Path

from calopipe.scripting import stage

with stage(snakemake):
    from calopipe.config import TimingConfig
    from calopipe.config.datasets import GEANT4_TIME
    from calopipe.evaluation.generation_time import time_generation

    time_generation(
        [Path(path) for path in snakemake.input.networks],
        Path(snakemake.input.energies),
        config=TimingConfig(**snakemake.params.settings["timing"]),
        out=Path(snakemake.output.times),
        **{key: snakemake.params.settings[key] for key in GEANT4_TIME},
    )
