"""Histogram what the networks of a run make of test showers."""

from pathlib import Path

from calopipe.scripting import stage

with stage(snakemake):
    from calopipe.evaluation.latent_space import measure_latent_space

    measure_latent_space(
        [Path(path) for path in snakemake.input.networks],
        Path(snakemake.input.showers),
        Path(snakemake.output.space),
        int(snakemake.wildcards.seed),
    )
