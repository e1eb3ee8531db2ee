"""Histogram the variances of the weights of a run's Bayesian networks."""

from pathlib import Path

from calopipe.scripting import stage

with stage(snakemake):
    from calopipe.evaluation.weight_spread import measure_weight_spread

    measure_weight_spread(
        [Path(path) for path in snakemake.input.networks],
        [Path(path) for path in snakemake.input.kept],
        Path(snakemake.output.spread),
    )
