"""A loss of variety is found, and nothing else is taken for one: on real showers, whole, repeated, of one kind, and distorted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from calopipe.errors import MetricUnavailable
from calopipe.evaluation.variety import collapse_warnings
from calopipe.io import read_showers
from calopipe.metrics.base import Sample
from calopipe.metrics.diversity import diversity, nearest_distances, pair_distances
from calopipe.metrics.prdc import prdc
from calopipe.metrics.settings import DiversityConfig, PrdcConfig
from calopipe.records.scores import Score

SAMPLE = Path(__file__).parents[1] / "resources/calogan_eplus_sample.hdf5"
N = 1500


def sample(energies: np.ndarray, showers: np.ndarray) -> Sample:
    return Sample(len(showers), 0.0, {}, {"incident_energies": lambda: energies, "showers": lambda: showers})


@pytest.fixture(scope="module")
def showers() -> tuple[np.ndarray, np.ndarray]:
    found = read_showers(SAMPLE, slice(0, 3 * N))
    return found.incident_energies[:, 0], found.showers


def scores(reference: Sample, generated: Sample) -> list[Score]:
    found = diversity(reference, generated, np.random.default_rng(0), DiversityConfig())
    return found + prdc(reference, generated, np.random.default_rng(0), PrdcConfig())


def test_distances_by_hand() -> None:
    points = np.array([[0.0, 0.0], [3.0, 4.0], [0.0, 1.0], [0.0, 3.0]], dtype=np.float32)
    np.testing.assert_allclose(pair_distances(points, 2), [5, 2])
    np.testing.assert_allclose(nearest_distances(points), [1, np.sqrt(10), 1, 2], rtol=1e-6)


def test_other_showers_of_geant4_are_as_varied(showers) -> None:
    energies, x = showers
    found = scores(sample(energies[:N], x[:N]), sample(energies[N : 2 * N], x[N : 2 * N]))
    assert collapse_warnings(found) == []
    for score in found[:2]:
        assert score.value is not None and abs(score.value) < 4 * score.error < 0.15 and score.floor == 0


def repeated(energies: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """300 showers, each five times."""
    rows = N + np.resize(np.arange(300), N)
    return energies[rows], x[rows]


def one_for_each_energy(energies: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of 50 others the one whose energy is nearest: what a generator makes that ignores its noise."""
    rows = N + np.abs(energies[N : N + 50] - energies[:N, None]).argmin(axis=1)
    return energies[:N], x[rows]


def of_one_kind(energies: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Those of the others that leave most in the first layer."""
    share = x[N:, :288].sum(1) / x[N:].sum(1)
    rows = N + np.flatnonzero(share > np.quantile(share, 0.7))
    return energies[rows], x[rows]


@pytest.mark.parametrize(
    ("lost", "by"),
    [(repeated, "nearest other"), (one_for_each_energy, "showers of one energy"), (of_one_kind, "coverage")],
)
def test_a_loss_of_variety_is_found(showers, lost, by) -> None:
    energies, x = showers
    reference, generated = sample(energies[:N], x[:N]), sample(*lost(energies, x))
    (line,) = collapse_warnings(scores(reference, generated))
    assert line.startswith("less variety than Geant4") and by in line


def test_bad_but_varied_showers_are_no_collapse(showers) -> None:
    energies, x = showers
    reference, rng = sample(energies[:N], x[:N]), np.random.default_rng(1)
    other = slice(N, 2 * N)
    blurred = (x[other] * np.exp(rng.normal(0, 0.5, x[other].shape))).astype(np.float32)
    for wrong in (blurred, 1.3 * x[other], np.roll(x[other], 3, axis=1)):
        assert collapse_warnings(scores(reference, sample(energies[other], wrong))) == []


def test_what_is_not_defined_is_said() -> None:
    few, same = np.ones((30, 3), np.float32), np.ones((60, 3), np.float32)
    energies = np.full(60, 5.0)
    with pytest.raises(MetricUnavailable, match="needs 40 showers .two groups of 20., found 30"):
        diversity(sample(energies, same), sample(energies[:30], few), np.random.default_rng(0), DiversityConfig())
    found = diversity(sample(energies, same), sample(energies, same), np.random.default_rng(0), DiversityConfig())
    assert [s.value for s in found] == [None, None] and "do not differ" in found[0].missing
    assert collapse_warnings(found) == []
