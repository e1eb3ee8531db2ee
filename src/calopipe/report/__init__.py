"""The report of a study: one HTML page and the plots beside it."""

from calopipe.report.artifacts import RunArtifacts, StudySummary
from calopipe.report.page import build_report

__all__ = ["RunArtifacts", "StudySummary", "build_report"]
