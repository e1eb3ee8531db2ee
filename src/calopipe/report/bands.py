"""Tables that compare the bands of Bayesian networks with those of ensembles; the figures of observables draw both."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from calopipe.records.scores import Score
from calopipe.report.data import DatasetData
from calopipe.report.numbers import format_measurement, format_value
from calopipe.report.sources import Sourced, sources_of
from calopipe.report.tables import Table

#: kinds of scores, in the order of the columns
_KINDS = ("covered", "covered_without_counts", "width_ratio", "width_ratio_without_counts")
_COLUMNS = (
    "Observables",
    "Bins",
    "Covered",
    "by counts alone",
    "Covered, without counting errors",
    "by counts alone",
    "Width over ensemble's",
    "Width, without counting errors",
)


def band_tables(data: DatasetData) -> Iterator[Table]:
    """A table for each Bayesian run and each ensemble."""
    for model in data.models:
        for seed in model.seeds:
            for ensemble in dict.fromkeys(s.extra.get("ensemble") for s in seed.bands):
                scores = [s for s in seed.bands if s.extra.get("ensemble") == ensemble]
                extra = max((s.extra for s in scores), key=len)
                numbers = f"{extra.get('draws', '?')} draws of its weights, {extra.get('trainings', '?')} trainings"
                named = f"{model.name}, seed {seed.run.seed}" if len(model.seeds) > 1 else model.name
                yield Table(
                    columns=_COLUMNS,
                    rows=tuple(_rows(scores)),
                    caption=f"{named} beside the ensemble {ensemble}",
                    note=f"{numbers}. Covered: fraction of bins in which {extra.get('band', '?'):g} standard deviations of the draws hold the "
                    "ensemble's mean and one standard deviation around it; by counts alone: that of networks that do not differ. Without "
                    "counting errors: their variance, an upper bound, is subtracted.",
                )


def _rows(scores: Sequence[Score]) -> Iterator[tuple[str, ...]]:
    """One row for all observables, each of them, and each slice."""
    by_name = {s.name: s for s in scores}
    for name in (name for name in by_name if name.split("/")[1] == _KINDS[0]):
        rest = name.removeprefix(f"bands/{_KINDS[0]}")
        found = [by_name[f"bands/{kind}{rest}"] for kind in _KINDS]
        bins, cells = str(found[0].extra.get("bins", "")), [_cell(score) for score in found]
        chance = [_floor(score) for score in found[:2]]
        yield (rest.removeprefix("/") or "all", bins, cells[0], chance[0], cells[1], chance[1], *cells[2:])


def _cell(score: Score) -> str:
    return "" if score.value is None else Sourced(format_measurement(score.value, score.error), sources_of([score]))


def _floor(score: Score) -> str:
    return "" if score.floor is None else Sourced(format_value(score.floor, 2), sources_of([score]))
