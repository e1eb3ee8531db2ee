"""Which test of a model is the strongest, and which observables are farthest from Geant4: chosen among its scores."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from calopipe.records.scores import Score
from calopipe.records.wording import Wording
from calopipe.report.sources import Source, sources_of
from calopipe.report.tables import combine

#: observables that are named
FARTHEST = 5
#: distances from the floor below so many errors are no finding: of a hundred observables some are 2 errors off by chance
CLEAR = 3.0
_SEPARATIONS = ("separation_power/", "challenge_separation/")


@dataclass(frozen=True)
class FarObservable:
    """An observable, its separation power, and how many errors that is above the floor (None: not known).

    `clear`: it is far by more than its errors; one that is not would look so in another sample of Geant4 too.
    `sources`: the files of its separation power.
    """

    name: str
    size: float
    errors: float | None
    clear: bool = True
    sources: tuple[Source, ...] = ()


def strongest(scores: Iterable[Score]) -> tuple[list[Score], float, float] | None:
    """Scores (of the seeds), value and error of the AUC with the largest distance from 0.5, less one error; None: no AUC.

    Args:
        scores: AUCs of one model; those of one name are of its seeds.
    """
    best: tuple[float, list[Score], float, float] | None = None
    for same in by_name(scores).values():
        combined = combine([s for s in same if s.value is not None])  # a test that failed once is no weaker one
        if combined is not None:
            value, error = combined[0], combined[1] or 0.0
            rank = abs(value - 0.5) - error
            if best is None or rank > best[0]:
                best = (rank, [s for s in same if s.value is not None], value, error)
    return None if best is None else best[1:]


def by_name(scores: Iterable[Score]) -> dict[str, list[Score]]:
    """Scores of one name together, in order of appearance."""
    found: dict[str, list[Score]] = {}
    for score in scores:
        found.setdefault(score.name, []).append(score)
    return found


def reading(auc: float, error: float, wording: Wording) -> str:
    """What an AUC says, in words."""
    if abs(auc - 0.5) <= 2 * error:
        return f"no test of this study tells it from {wording.reference}"
    right = round(100 * max(auc, 1 - auc))
    pair = f"a generated {wording.one} and {wording.true_one}"
    return f"of {pair} the test picks out the right one in {right} of 100 cases (by chance: 50)"


def farthest(scores: Iterable[Score]) -> list[FarObservable]:
    """The FARTHEST observables with the largest separation powers above the floor, largest first, clear ones before others: what has no
    error is of too few showers to be clear.

    Args:
        scores: of one sample; those of one name are of its seeds.
    """
    found = []
    for name, same in by_name(scores).items():
        prefix = next((p for p in _SEPARATIONS if name.startswith(p)), None)
        combined = combine([s for s in same if s.value is not None])  # a test that failed once is no weaker one
        if prefix is None or combined is None or "mean_layers/" in name:
            continue
        floors = [s.floor for s in same if s.floor is not None]
        excess = combined[0] - (float(np.mean(floors)) if floors else 0.0)
        errors = excess / combined[1] if combined[1] else None
        clear = excess > 0 and combined[1] is not None and (errors is None or errors >= CLEAR)
        short = name.removeprefix(prefix)
        found.append((excess, FarObservable(short, combined[0], errors, clear, sources_of(same))))
    unique: dict[str, FarObservable] = {}
    for _, far in sorted(found, key=lambda pair: (not pair[1].clear, -pair[0])):
        unique.setdefault(far.name, far)
    return list(unique.values())[:FARTHEST]


_WORDS = {
    "E_tot": "total energy",
    "E_ratio": "E_tot / E_inc",
    "E_layer": "energy",
    "layer_ratio": "E_layer / E_inc",
    "layer_fraction": "share of the energy",
    "layer_quotient": "ratio of energies",
    "depth": "mean depth",
    "depth_width": "width in depth",
    "EC_eta": "centre in eta",
    "EC_phi": "centre in phi",
    "EC_r": "mean radius",
    "centre_eta": "centre of all layers in eta",
    "centre_phi": "centre of all layers in phi",
    "centre_r": "mean radius of all layers",
    "width_eta": "width in eta",
    "width_phi": "width in phi",
    "width_r": "width in r",
    "activity": "fraction of cells hit",
    "sparsity": "fraction of empty cells",
    "voxels": "energies of single cells",
    "EC_eta_difference": "distance of centres in eta",
    "EC_phi_difference": "distance of centres in phi",
    "width_eta_difference": "difference of widths in eta",
    "width_phi_difference": "difference of widths in phi",
}


def in_words(name: str) -> str:
    """``activity/2`` as "fraction of cells hit, layer 2"; ranks and pairs of layers too."""
    family, *rest = name.split("/")
    if family in ("brightest", "brightest_fraction") and len(rest) == 2:
        what = "brightest cell" if rest[1] == "1" else f"brightest cell no. {rest[1]}"
        return f"{what}{' / energy of the layer' if family != 'brightest' else ''}, layer {rest[0]}"
    text = _WORDS.get(family, family.replace("_", " "))
    if not rest:
        return text
    return f"{text}, layers {rest[0].replace('-', ' and ')}" if "-" in rest[0] else f"{text}, layer {rest[0]}"
