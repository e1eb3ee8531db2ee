"""What scores a metric gives, told by its settings: so that a score that is asked for by name is known to come."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import ClassVar

from pydantic import Field

from calopipe.config.base import Section

#: scores of each column of data that are no showers (:mod:`calopipe.evaluation.columns`), by the first part of their names
COLUMN_SCORES = (
    "separation_power",
    "wasserstein",
    "kl",
    *(f"{what}_difference" for what in ("mean", "std", "skewness", "kurtosis", "fwhm")),
    *(f"diversity/{what}" for what in ("spread", "nearest", "lost")),
)
#: scores of each classifier test, by the last part of their names
CLASSIFIER_SCORES = ("auc", "accuracy", "jsd")


class MetricSettings(Section):
    """Base of the settings of metrics.

    `needs_slices`: whether an evaluation must name slices where the metric is sliced.
    """

    needs_slices: ClassVar[bool] = True

    sliced: bool = Field(
        False, description="also in every slice of the evaluation's histograms (`energy_slices`, `slices`)"
    )

    def score_names(self) -> tuple[str, ...]:
        """Patterns (as of files: ``*``) of the names of the scores, without the metric's own in front; "" is that alone."""
        return ("", "*")


def gives(metric: str, settings: Section | None, score: str) -> bool:
    """Whether a metric gives a score of this name, as far as its settings tell."""
    own, _, rest = score.partition("/")
    patterns = settings.score_names() if isinstance(settings, MetricSettings) else ("", "*")
    if isinstance(settings, MetricSettings) and settings.sliced:
        patterns = (*patterns, *(f"{p}/*" if p else "*" for p in patterns))
    return own == metric and (bool(rest) or "/" not in score) and any(fnmatchcase(rest, p) for p in patterns)


def patterns_of(metric: str, settings: Section | None) -> list[str]:
    """Names and patterns of the scores of a metric, for messages."""
    patterns = settings.score_names() if isinstance(settings, MetricSettings) else ("*",)
    return [f"{metric}/{pattern}".rstrip("/") for pattern in patterns]


def network_scores(regressors: Iterable[str]) -> list[str]:
    """Names of the scores of energy regressors."""
    names = list(regressors)
    found = [f"energy_regression/{name}/{kind}" for name in names for kind in ("linearity", "resolution")]
    return found + [f"frd/{name}" for name in names]
