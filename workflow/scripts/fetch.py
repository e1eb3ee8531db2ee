"""Obtain the raw files of a dataset; the manifest lists them with their checksums."""

from pathlib import Path

from calopipe.scripting import stage

with stage(snakemake):
    from calopipe.sources import fetch

    role = {"source": "train", "reference": "reference"}[snakemake.wildcards.role]
    fetch(snakemake.params.settings, Path(snakemake.output.manifest), role=role)
