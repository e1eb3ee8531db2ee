"""Encode prepared showers with a run's autoencoder."""

from pathlib import Path

from calopipe.scripting import stage

with stage(snakemake):
    from calopipe.sampling import encode

    encode(Path(snakemake.input.checkpoint), Path(snakemake.input.showers), Path(snakemake.output.latents))
