"""What a group leader reads first: of each model the strongest test, what is farthest from Geant4, time, and warnings.

Nothing is judged here that the evaluation did not: the strongest test is the classifier test with the largest distance from
0.5 after one error is taken off, and the farthest observables are those with the largest separation power above the floor;
of these, what lies within its errors is marked as such.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from calopipe.evaluation.outside import outside_warnings
from calopipe.evaluation.variety import collapse_warnings
from calopipe.plots.histograms import histogram_figure
from calopipe.plots.style import slice_label
from calopipe.records.histograms import Histogram
from calopipe.records.samples import GENERATED, REFERENCE
from calopipe.records.scores import Score
from calopipe.records.wording import Wording
from calopipe.report.data import DatasetData, ModelData, SeedData
from calopipe.report.drawing import Drawn, Task, file_name
from calopipe.report.histograms import drawn_histograms, histogram_files, is_drawn, series_of
from calopipe.report.mixtures import mixture_warnings
from calopipe.report.numbers import format_measurement, format_value
from calopipe.report.power import blind_spots, floor_of, seen_spots
from calopipe.report.sources import Sourced, sources_of
from calopipe.report.strongest import CLEAR, FarObservable, by_name, farthest, in_words, reading, strongest
from calopipe.report.tables import combine

SECTION = "summary"


@dataclass(frozen=True)
class Far:
    """An observable that is far from Geant4's.

    Attributes:
        name: of the histogram, e.g. ``activity/2``.
        text: what it is, in words.
        size: its separation power: 0 the same distribution, 1 nothing in common.
        errors: how many errors that is above the floor, which is what two samples of Geant4 have.
        clear: whether these are more than chance explains; the others are muted on the page.
        shift: how far the mean is off, in percent of Geant4's, or empty.
        picture: its plot, where there is one.
    """

    name: str
    text: str
    size: str
    errors: str
    clear: bool
    shift: str
    picture: Drawn | None = None


@dataclass(frozen=True)
class Verdict:
    """The summary of one model.

    Numbers know the files that they come from (:class:`calopipe.report.sources.Sourced`).

    Attributes:
        model: its name; `color` that of its lines.
        test: name of the strongest test; empty where there is none.
        auc, floor: its AUC, and that of two Geant4 samples, with errors.
        reading: what the number says, in words.
        sees, blind: distortions of Geant4 showers that the test finds, and those it does not.
        far: the farthest observables.
        time: per shower, beside Geant4's.
        warnings: what to keep in mind.
    """

    model: str
    color: str
    test: str = ""
    auc: str = ""
    floor: str = ""
    reading: str = ""
    sees: str = ""
    blind: str = ""
    far: tuple[Far, ...] = ()
    time: str = ""
    warnings: tuple[str, ...] = field(default=())


def verdicts(data: DatasetData, drawn: Sequence[Drawn]) -> list[Verdict]:
    """One summary per model, in the order of the runs."""
    pictures = {d.name: d for d in drawn}
    return [_verdict(data, model, pictures) for model in data.models]


def summary_tasks(data: DatasetData) -> Iterator[Task]:
    """Figures of far observables that no other section draws (single layers of many)."""
    wanted = {far.name for model in data.models for far in _farthest(model)}
    for name in sorted(n for n in wanted if not is_drawn(n, data.geometry)):
        key = (name, None)
        yield Task(SECTION, file_name(data.name, SECTION, name), f"{data.name}: {name}", histogram_figure,
                   (series_of(data, key),), sources=histogram_files(data, [key]))  # fmt: skip


def _verdict(data: DatasetData, model: ModelData, pictures: dict[str, Drawn]) -> Verdict:
    found: dict[str, Any] = {}
    best = strongest(_aucs(model))
    if best is not None:
        scores, value, error = best
        found = {
            "test": scores[0].name.split("/")[1],
            "auc": Sourced(format_measurement(value, error), sources_of(scores)),
            "floor": floor_of(scores),
            "reading": reading(value, error, data.wording),
            "sees": seen_spots(scores),
            "blind": blind_spots(scores),
        }
    far = tuple(_far(data, model, item, pictures) for item in _farthest(model))
    return Verdict(
        model.name,
        model.style.color,
        far=far,
        time=_time(model, data.wording),
        warnings=tuple(_warnings(model, data.wording)),
        **found,
    )


def _aucs(model: ModelData) -> list[Score]:
    scores = [s for seed in model.seeds for s in seed.scores if s.sample == GENERATED]
    return [s for s in scores if s.name.startswith("classifier/") and s.name.endswith("/auc")]


# ---- observables ------------------------------------------------------------------------------------------------------
def _farthest(model: ModelData) -> list[FarObservable]:
    """The farthest observables of which there is a histogram."""
    drawn = {name for seed in model.seeds for name, part in seed.histograms if part is None}
    scores = [s for seed in model.seeds for s in seed.scores if s.sample == GENERATED]
    return farthest(s for s in scores if s.name.split("/", 1)[-1] in drawn)


def _far(data: DatasetData, model: ModelData, item: FarObservable, pictures: dict[str, Drawn]) -> Far:
    name, key = item.name, (item.name, None)
    seeds = [seed for seed in model.seeds if key in seed.histograms]
    histograms = [seed.histograms[key] for seed in seeds]
    group = drawn_histograms(data).get(key, histograms[0]).group
    picture = pictures.get(file_name(data.name, group, name)) or pictures.get(file_name(data.name, SECTION, name))
    return Far(
        name=name,
        text=in_words(name),
        size=Sourced(format_value(item.size, 2), item.sources),
        errors=Sourced(_errors(item, data.wording), item.sources),
        clear=item.clear,
        shift=Sourced(_shift(histograms), (seed.source("histograms") for seed in seeds)),
        picture=picture,
    )


def _errors(item: FarObservable, wording: Wording) -> str:
    if item.errors is None:
        return ""
    if item.errors <= 0:
        return f"no farther than {wording.two}"
    return f"{format_value(item.errors, 2)} errors from {wording.reference}" + ("" if item.clear else ": may be chance")


def _shift(histograms: Sequence[Histogram]) -> str:
    """How far the mean inside the histogram is from Geant4's, where that is a matter of percent."""
    means = []
    for h in histograms:
        centres = np.sqrt(h.edges[1:] * h.edges[:-1]) if h.log_x else 0.5 * (h.edges[1:] + h.edges[:-1])
        pair = [h.counts[s] for s in (GENERATED, REFERENCE)]
        if h.edges[0] < 0 or any(c.sum() == 0 for c in pair):
            return ""
        means.append([centres @ c / c.sum() for c in pair])
    generated, reference = np.mean(means, axis=0)
    change = 100 * (generated / reference - 1) if reference > 0 else 0.0
    if abs(change) < 0.05:
        return "same mean, other shape"
    return f"mean {format_value(abs(change), 2)} % {'higher' if change > 0 else 'lower'}"


# ---- time and warnings --------------------------------------------------------------------------------------------------
def _time(model: ModelData, wording: Wording) -> str:
    seed = model.timed
    if seed is None or seed.timing is None:
        return ""
    record = seed.timing
    best = min(record["results"], key=lambda r: r["median_ms"])
    text = f"{format_value(best['median_ms'], 2)} ms per {wording.one} ({best['batch_size']} at once, {record.get('device', '?')}"
    text += f", {record['threads']} threads)" if record.get("threads") else ")"
    geant4 = record.get("geant4_ms")
    if geant4 and best["median_ms"] > 0:
        ratio = geant4 / best["median_ms"]
        than = f"{format_value(ratio, 2)} times faster" if ratio >= 1 else f"{format_value(1 / ratio, 2)} times slower"
        text += f"; Geant4: {format_value(geant4, 3)} ms, {than}"
    return Sourced(text, [seed.source("timing")])


def _warnings(model: ModelData, wording: Wording) -> Iterator[str]:
    found: dict[str, list[SeedData]] = {}
    for seed in model.seeds:
        scores = [s for s in seed.scores if s.sample == GENERATED]
        for line in dict.fromkeys((*seed.health, *outside_warnings(scores), *collapse_warnings(scores, slice_label))):
            found.setdefault(line, []).append(seed)
    for line, seeds in found.items():
        which = "" if len(seeds) == len(model.seeds) else f"seed {', '.join(str(s.run.seed) for s in seeds)}: "
        yield Sourced(which + line, (s.source("health" if line in s.health else "metrics") for s in seeds))
    for seed in model.seeds:
        yield from mixture_warnings(seed)
    yield from _test_warnings(model, wording)


def _test_warnings(model: ModelData, wording: Wording) -> Iterator[str]:
    aucs = by_name(_aucs(model))
    if not aucs:
        yield "no classifier test was made"
    for name, scores in aucs.items():
        test = name.split("/")[1]
        combined = combine(scores)
        if combined is None:
            reason = next((s.missing for s in scores if s.missing), "no value")
            yield Sourced(f"the test {test} could not be made: {reason}", sources_of(scores))
        elif combined[1] and combined[0] < 0.5 - CLEAR * combined[1]:
            text = f"the test {test} has an AUC of {format_measurement(*combined)}"
            means = "clearly below 0.5 means that samples are not independent of each other"
            yield Sourced(f"{text}: {means}", sources_of(scores))
    resolved = [s for scores in aucs.values() for s in scores if s.extra.get("resolves")]
    best = min(resolved, key=lambda s: s.extra["resolves"], default=None)
    if best is not None and best.extra["resolves"] > 0.02:
        least = format_value(best.extra["resolves"], 1)
        yield Sourced(f"few {wording.many}: an AUC within {least} of 0.5 cannot be told from it", sources_of([best]))
