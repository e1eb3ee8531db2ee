"""Obtain the raw files of a dataset; the manifest lists them with their checksums."""

from pathlib import Path

from calopipe.scripting import stage

with stage(snakemake):
    from calopipe.sources import fetch, looking

    role = {"source": "train", "reference": "reference"}[snakemake.wildcards.role]
    settings = dict(snakemake.params.settings)
    fetch(settings.pop("source"), Path(snakemake.output.manifest), role=role, look=looking(**settings))
