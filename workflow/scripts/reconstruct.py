"""Pass the test showers through a run's autoencoder."""

from pathlib import Path

from calopipe.scripting import stage

with stage(snakemake):
    from calopipe.config import Generation
    from calopipe.sampling import reconstruct

    reconstruct(
        Path(snakemake.input.autoencoder),
        Path(snakemake.input.showers),
        Path(snakemake.output.showers),
        Generation(**snakemake.params.settings),
        int(snakemake.wildcards.seed),
    )
