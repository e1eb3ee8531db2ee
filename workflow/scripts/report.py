"""Write the report of the study."""

from pathlib import Path

from calopipe.scripting import stage

with stage(snakemake):
    from calopipe.report import build_report

    build_report(snakemake.params.settings, Path(snakemake.output.page))
