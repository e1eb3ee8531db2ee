"""Obtain the files of a dataset; the manifest lists them with their checksums."""

from pathlib import Path

from calopipe.scripting import stage

with stage(snakemake):
    from calopipe.config import Source, validate
    from calopipe.sources import fetch

    fetch(validate(Source, snakemake.params.settings, "source"), Path(snakemake.output.manifest).parent)
