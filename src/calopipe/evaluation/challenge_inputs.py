"""Whether two files can be compared: their incident energies must follow one distribution.

Without that every histogram and every classifier would tell incident energies apart, not showers. The two samples are
compared by the largest difference D of their cumulative distributions (Kolmogorov, Smirnov). Two samples of n and m
showers of one distribution have D above sqrt(ln(2/p) (n + m) / (2 n m)) with a probability of at most about p, less for
discrete energies. Refused is what is both significant (p = 1e-6) and large (D above 2 %); significant at p = 1e-3 alone is
warned about, as small differences of large samples do little to the scores.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from calopipe.errors import DataError
from calopipe.evaluation.inputs import check_samples
from calopipe.geometry import Geometry
from calopipe.io import read_incident_energies
from calopipe.io.conditions import SAME
from calopipe.metrics.base import MAX_ENERGIES
from calopipe.records.scores import SMALL_SAMPLE
from calopipe.records.slices import Slice

REFUSED_P, REFUSED_D = 1e-6, 0.02
WARNED_P = 1e-3


@dataclass(frozen=True)
class Pair:
    """Two files that can be compared: number of showers, incident energies (N,) of the reference in MeV, warnings."""

    n_reference: int
    n_generated: int
    energies: np.ndarray
    warnings: tuple[str, ...]


def check_pair(reference: Path, generated: Path, geometry: Geometry) -> Pair:
    """Check shapes and incident energies of two files without reading the showers.

    Raises:
        DataError: a file is unreadable, empty, does not fit the geometry, or the incident energies do not match.
    """
    sizes = check_samples({"reference": reference, "generated": generated}, geometry)
    first, second = (read_incident_energies(path)[:, 0].astype(np.float64) for path in (reference, generated))
    warnings = compare_energies(first, second, (str(reference), str(generated)))
    n, m = sizes["reference"], sizes["generated"]
    if n != m:
        warnings.append(
            f"{m} generated but {n} reference showers: scores depend on the numbers, and published ones are for equal "
            "numbers"
        )
    if min(n, m) < SMALL_SAMPLE:
        warnings.append(f"only {min(n, m)} showers: too few to rank good generators")
    return Pair(n, m, first, tuple(warnings))


def compare_energies(reference: np.ndarray, generated: np.ndarray, names: tuple[str, str]) -> list[str]:
    """Compare incident energies (N,) and (M,) in MeV; returns warnings.

    Raises:
        DataError: an energy that the reference does not have (where it has few), one that is missing, or another
            distribution.
    """
    beams = beam_energies(reference)
    if beams is not None:
        reference, generated = _snapped(reference, beams), _snapped(generated, beams)
        strange = generated[~np.isin(generated, beams)]
        if len(strange):
            raise DataError(
                f"{names[1]}: incident energy {strange[0]:g} MeV is none of the {len(beams)} energies of {names[0]} "
                f"({_range(beams)}); {len(strange)} of {len(generated)} showers{_unit_hint(reference, generated)}"
            )
    distance = largest_difference(reference, generated)
    if distance > max(REFUSED_D, _critical(reference, generated, REFUSED_P)):
        raise DataError(
            f"{names[1]}: incident energies do not follow those of {names[0]}: cumulative distributions differ by "
            f"{distance:.3g} (up to {REFUSED_D:g} is allowed), {_range(generated)} against {_range(reference)}"
            f"{_unit_hint(reference, generated)}"
        )
    warnings = [] if beams is None else _missing_energies(reference, generated, beams, names)
    if distance > _critical(reference, generated, WARNED_P):
        warnings.append(f"incident energies differ slightly: cumulative distributions by {distance:.3g}")
    return warnings


def energies_differ(reference: np.ndarray, generated: np.ndarray) -> str | None:
    """One line where incident energies (N,) and (M,) in MeV do not follow one distribution; None where they do."""
    distance = largest_difference(reference, generated)
    if distance <= max(REFUSED_D, _critical(reference, generated, REFUSED_P)):
        return None
    return (
        f"incident energies do not follow those of the reference: cumulative distributions differ by {distance:.3g}, "
        f"{_range(generated)} against {_range(reference)}{_unit_hint(reference, generated)}"
    )


def _missing_energies(
    reference: np.ndarray, generated: np.ndarray, beams: np.ndarray, names: tuple[str, str]
) -> list[str]:
    """Beam energies without a generated shower: refused where chance would leave them out with less than REFUSED_P."""
    missing = [e for e in beams if e not in generated]
    for energy in missing:
        expected = len(generated) * float(np.mean(reference == energy))
        if np.exp(-expected) < REFUSED_P:
            raise DataError(f"{names[1]}: no shower with the incident energy {energy:g} MeV, which {names[0]} has")
    return [f"no generated shower at {e:g} MeV" for e in missing]


def beam_energies(energies: np.ndarray) -> np.ndarray | None:
    """The different incident energies (K,), ascending, where there are few; None for a continuous spectrum."""
    ordered = np.unique(energies)
    if len(ordered) == 0:
        return None
    first = np.concatenate([[True], np.diff(ordered) > SAME * ordered[1:]])
    beams = ordered[first]
    return beams if len(beams) <= min(MAX_ENERGIES, max(1, len(energies) // 5)) else None


def largest_difference(a: np.ndarray, b: np.ndarray) -> float:
    """Largest difference of the cumulative distributions of two samples (N,) and (M,)."""
    a, b = np.sort(a), np.sort(b)
    points = np.concatenate([a, b])
    first, second = (np.searchsorted(x, points, side="right") / len(x) for x in (a, b))
    return float(np.abs(first - second).max())


def energy_slices(energies: np.ndarray) -> Iterator[Slice]:
    """One for each beam energy, or for the decades that a continuous spectrum covers (as in the challenge)."""
    beams = beam_energies(energies)
    if beams is not None:
        yield from (Slice.of_energies(float(e), float(e)) for e in beams)
        return
    low, high = (int(np.floor(np.log10(e) + 1e-9)) for e in (energies.min(), energies.max() * (1 - 1e-6)))
    edges = 10.0 ** np.arange(low, high + 2)
    edges[-1] *= 1 + 1e-6  # the last range holds its upper end
    yield from map(Slice.of_energies, edges[:-1].tolist(), edges[1:].tolist())


def _snapped(energies: np.ndarray, beams: np.ndarray) -> np.ndarray:
    """Each energy replaced by the beam energy it is equal to within the tolerance; others stay."""
    nearest = beams[np.abs(energies[:, None] - beams[None, :]).argmin(axis=1)]
    return np.where(np.abs(energies - nearest) <= SAME * nearest, nearest, energies)


def _critical(a: np.ndarray, b: np.ndarray, p: float) -> float:
    return float(np.sqrt(np.log(2 / p) * (len(a) + len(b)) / (2 * len(a) * len(b))))


def _range(energies: np.ndarray) -> str:
    return f"{energies.min():g} to {energies.max():g} MeV"


def _unit_hint(reference: np.ndarray, generated: np.ndarray) -> str:
    ratio = np.median(generated) / np.median(reference)
    for factor, unit in ((1e-3, "GeV"), (1e3, "keV")):
        if abs(ratio / factor - 1) < 0.5:
            return f"; is it in {unit}? The challenge's unit is MeV"
    return ""
