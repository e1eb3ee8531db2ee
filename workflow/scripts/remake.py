"""Pass prepared showers through the chain up to a network, for a refiner to learn from."""

from pathlib import Path

from calopipe.scripting import stage

with stage(snakemake):
    from calopipe.sampling import remake
    from calopipe.seeds import Training

    remake(
        [Path(path) for path in snakemake.input.networks],
        Path(snakemake.input.showers),
        Path(snakemake.output.showers),
        Training.of(snakemake.wildcards.seed).seed,
    )
