"""Showers of chosen incident energies."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calopipe.config.datasets import EnergySelection
from calopipe.config.layouts import Layout
from calopipe.errors import DataError
from calopipe.io.conditions import SAME
from calopipe.io.read import read_incident_energies

#: energies that a message lists
_LISTED = 12


def selected_rows(
    paths: Sequence[Path], selection: EnergySelection, layout: Layout | None = None
) -> list[NDArray[np.int64]]:
    """Rows of each file whose incident energy is one of the chosen ones; the showers are not read.

    Raises:
        DataError: a file is unreadable; no shower is left, or none has one of the energies listed.
    """
    energies = [read_incident_energies(path, layout)[:, 0].astype(np.float64) for path in paths]
    check_selection(np.concatenate(energies), selection, ", ".join(map(str, paths)))
    return [chosen_rows(e, selection) for e in energies]


def used_energies(
    paths: Sequence[Path], selection: EnergySelection | None, layout: Layout | None = None
) -> NDArray[np.float64]:
    """Incident energies (N,) in MeV of the chosen showers of all files, or of all; raises like :func:`selected_rows`."""
    found = [read_incident_energies(path, layout)[:, 0].astype(np.float64) for path in paths]
    if selection is None:
        return np.concatenate(found)
    rows = selected_rows(paths, selection, layout)
    return np.concatenate([e[r] for e, r in zip(found, rows, strict=True)])


def check_selection(energies: NDArray[np.float64], selection: EnergySelection, where: str) -> None:
    """Raise DataError where no incident energy (N,) in MeV is chosen, or one that is listed is not there; `where` they are from."""
    for value in selection.values:
        if not _same(energies, value).any():
            raise DataError(f"no shower of {where} has the incident energy {value:g} MeV; there are {_there(energies)}")
    if not len(chosen_rows(energies, selection)):
        low, high = (f"{end:g} MeV" if end is not None else "any" for end in (selection.low, selection.high))
        side = "outside" if selection.outside else "from"
        raise DataError(
            f"no shower of {where} has an incident energy {side} {low} to {high}; there are {_there(energies)}"
        )


def chosen_rows(energies: NDArray[np.float64], selection: EnergySelection) -> NDArray[np.int64]:
    """Numbers of the rows whose incident energy, of (N,) in MeV, is one of the chosen ones."""
    if selection.values:
        return np.flatnonzero(np.logical_or.reduce([_same(energies, value) for value in selection.values]))
    low, high = selection.low or 0.0, np.inf if selection.high is None else selection.high
    return np.flatnonzero(((energies >= low) & (energies <= high)) != selection.outside)


def _same(energies: NDArray[np.float64], value: float) -> NDArray[np.bool_]:
    return np.abs(energies - value) <= SAME * value


def _there(energies: NDArray[np.float64]) -> str:
    """Which energies there are, in words: each of a few, the ends of many."""
    if not len(energies):
        return "none"
    different = np.unique(energies)
    if len(different) <= _LISTED:
        return f"{', '.join(f'{e:g}' for e in different)} MeV"
    return f"{different[0]:g} to {different[-1]:g} MeV"
