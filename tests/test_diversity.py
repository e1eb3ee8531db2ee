"""A loss of variety is found, and nothing else is taken for one: on real showers, whole, repeated, of one kind, and distorted."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from calopipe.config.base import validate
from calopipe.config.evaluation import Evaluation, HistogramConfig
from calopipe.errors import MetricUnavailable
from calopipe.evaluation import Readout, evaluate_metrics, evaluate_observables
from calopipe.evaluation.variety import collapse_warnings
from calopipe.geometry import load_geometry
from calopipe.io import Showers, read_showers, write_showers
from calopipe.metrics.base import Sample
from calopipe.metrics.diversity import diversity, nearest_distances, pair_distances
from calopipe.metrics.prdc import prdc
from calopipe.metrics.settings import DiversityConfig, PrdcConfig
from calopipe.plots.style import slice_label
from calopipe.records.scores import Score, load_scores
from calopipe.records.slices import Slice

RESOURCES = Path(__file__).parents[1] / "resources"
SAMPLE, IMAGES = RESOURCES / "calogan_eplus_sample.hdf5", RESOURCES / "electron_gun_sample.hdf5"
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
    for wrong in (blurred, 1.3 * x[other], 0.8 * x[other], np.roll(x[other], 3, axis=1)):
        assert collapse_warnings(scores(reference, sample(energies[other], wrong))) == []


# ---- slices ------------------------------------------------------------------------------------------------------------
def sliced(reference: Sample, generated: Sample, part: Slice) -> list[Score]:
    """Scores of all showers, and of those in a slice, by the evaluation's names."""
    parts = [_part(s, part) for s in (reference, generated)]
    facts = {"slice": asdict(part)}
    found = [replace(s, name=f"{s.name}/{part}", extra={**s.extra, **facts}) for s in scores(*parts)]
    return scores(reference, generated) + found


def _part(whole: Sample, part: Slice) -> Sample:
    rows = part.holds(whole.incident_energies)
    return sample(whole.incident_energies[rows], whole.showers[rows])


def test_what_is_lost_at_some_energies_only_is_found_there(showers) -> None:
    energies, x = showers
    other, low = slice(N, 2 * N), Slice.of_energies(1e3, 5e3)
    rows = N + np.arange(N)
    inside = np.flatnonzero(low.holds(energies[other]))
    rows[inside] = rows[np.resize(inside[:100], len(inside))]
    reference, generated = sample(energies[:N], x[:N]), sample(energies[other], x[rows])
    assert 200 < len(inside) < 0.3 * N and collapse_warnings(scores(reference, generated)) == []
    (line,) = collapse_warnings(sliced(reference, generated, low), slice_label)
    assert line.startswith("less variety than Geant4 at 1\N{EN DASH}5 GeV (mode collapse?): ") and "100% nearer" in line
    for wrong in (x[other], 0.9 * x[other]):
        assert collapse_warnings(sliced(reference, sample(energies[other], wrong), low)) == []


def test_slices_of_what_is_lost_everywhere_are_named_once(showers) -> None:
    energies, x = showers
    low = Slice.of_energies(1e3, 8e3)
    reference = sample(energies[:N], x[:N])
    found = sliced(reference, sample(*repeated(energies, x)), low)
    (line,) = collapse_warnings(found)
    assert line.count("less variety") == 1 and line.endswith("; at 1000-8000MeV")
    good = [s for s in sliced(reference, sample(energies[N : 2 * N], x[N : 2 * N]), low) if "slice" in s.extra]
    assert collapse_warnings([*found[:6], *good])[0].endswith("; not at 1000-8000MeV")


def test_recall_of_few_showers_is_no_reason() -> None:
    def found(n: int) -> list[Score]:
        values = {"precision": (0.7, 0.7), "recall": (0.2, 0.7), "coverage": (0.6, 0.97)}
        return [Score(f"prdc/{k}", value, 0.02, n, floor=floor) for k, (value, floor) in values.items()]

    assert collapse_warnings(found(199)) == []
    (line,) = collapse_warnings(found(200))
    assert line == "less variety than Geant4 (mode collapse?): recall 0.2, Geant4 0.7; coverage 0.6, Geant4 0.97"


def test_each_of_a_few_energies_is_looked_at_where_no_slices_are_configured(tmp_path: Path) -> None:
    """Electrons of three energies: those of 1800 MeV are repeated, of 100 MeV there are few."""
    readout = Readout.of(load_geometry("electron_gun_32"), 0.01)
    paths = {name: tmp_path / f"{name}.hdf5" for name in ("reference", "generated")}
    for k, (name, path) in enumerate(paths.items()):
        found = read_showers(IMAGES, slice(k * 3000, (k + 1) * 3000))
        energies, rows = found.incident_energies[:, 0], np.arange(len(found))
        if name == "generated":
            high = np.flatnonzero(energies == 1800)
            rows[high] = np.resize(high[:60], len(high))
            rows = np.delete(rows, np.flatnonzero(energies == 100)[50:])
        write_showers(path, Showers(energies[rows], found.showers[rows]), readout.geometry)
    files = (paths["reference"], {"generated": paths["generated"]}, readout)
    settings = HistogramConfig(brightest=0, examples=0)
    evaluate_observables(*files, config=settings, out=tmp_path / "h.npz")
    metrics = [{"metric": "diversity", "zero_MeV": 0.01}]
    evaluate_metrics(*files, metrics=metrics, histograms=tmp_path / "h.npz", seed=1, out=tmp_path / "m.json")
    scored = load_scores(tmp_path / "m.json")
    missing = {s.name: s.missing for s in scored if s.value is None}
    assert missing == {"diversity/100MeV": "needs 200 showers (10 groups of 20), found 50"}
    (line,) = collapse_warnings(scored, slice_label)
    assert line.startswith("less variety than Geant4 at 1.8 GeV (mode collapse?): ")


def test_diversity_needs_no_slices_and_can_be_told_to_take_none() -> None:
    for given in ("diversity", {"metric": "diversity", "sliced": True}, {"metric": "diversity", "sliced": False}):
        (entry,) = validate(Evaluation, {"metrics": [given]}, "e").metrics
        assert entry.settings.sliced == (given == "diversity" or given["sliced"])
        assert validate(Evaluation, {"metrics": [entry.plain()]}, "e").metrics == [entry]


def test_what_is_not_defined_is_said() -> None:
    few, same = np.ones((30, 3), np.float32), np.ones((200, 3), np.float32)
    energies = np.full(200, 5.0)
    with pytest.raises(MetricUnavailable, match="needs 200 showers .10 groups of 20., found 30"):
        diversity(sample(energies, same), sample(energies[:30], few), np.random.default_rng(0), DiversityConfig())
    found = diversity(sample(energies, same), sample(energies, same), np.random.default_rng(0), DiversityConfig())
    assert [s.value for s in found] == [None, None] and "do not differ" in found[0].missing
    assert collapse_warnings(found) == []
