"""Write the report of the study."""

from pathlib import Path

from calopipe.scripting import stage, threads

with stage(snakemake):
    from calopipe.report import StudySummary, build_report

    summary = StudySummary.from_dict(snakemake.params.settings)
    build_report(summary, Path(snakemake.output.page).parent, workers=threads(snakemake))
