"""Write the report of the study."""

from pathlib import Path

from calopipe.scripting import stage

with stage(snakemake):
    from calopipe.report import build_report
    from calopipe.report.artifacts import StudySummary

    build_report(StudySummary.from_dict(snakemake.params.settings), Path(snakemake.output.page))
