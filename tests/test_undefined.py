"""What is missing, empty or outside a histogram never makes a score better, and is told."""

from __future__ import annotations

import numpy as np
import pytest

from calopipe.errors import MetricUnavailable
from calopipe.evaluation.outside import outside_warnings, unseen
from calopipe.metrics.base import BinnedCounts, Sample
from calopipe.metrics.challenge_separation import ChallengeSeparationConfig, challenge_separation
from calopipe.metrics.fidelity import _divergence
from calopipe.metrics.resolution import energy_bins, mean_differences, response
from calopipe.metrics.separation_power import (
    SeparationPowerConfig,
    separation_power,
    separation_powers,
    separations,
)
from calopipe.observables import log_edges
from calopipe.records.scores import Score
from calopipe.report.leaderboard import UNRANKED, markdown_table, own_scores, place, terminal_table
from calopipe.report.published import published_table
from calopipe.report.strongest import farthest, strongest

N, BLOCKS = 400, 20


def binned(values, edges, total=None):
    parts = np.stack([np.histogram(values[i::BLOCKS], edges)[0] for i in range(BLOCKS)])
    return BinnedCounts(edges, parts.sum(axis=0), len(values) if total is None else total, parts)


def sample(seed, lost=(), empty_showers=0, both=(), six=(), shift=0.0):
    """Histograms of four layers; the `lost` ones have no energy here, those in `both` lie outside altogether.

    six: further observables, shifted by so many standard deviations.
    """
    rng, out = np.random.default_rng(seed), {}
    readout, shape = np.geomspace(1, 1e3, 31), np.linspace(-3, 3, 31)
    alive = np.arange(N) >= empty_showers
    out["E_ratio"] = binned(np.where(alive, rng.normal(1, 0.1, N), 0), np.linspace(0.5, 1.5, 51))
    for layer in range(4):
        energies = np.where(alive, rng.lognormal(3, 0.5, N), 0) * (layer not in lost)
        out[f"E_layer/{layer}"] = binned(energies, readout)
        out[f"EC_eta/{layer}"] = binned(rng.normal(1e3 if layer in both else 0, 1, N), shape)
        for name in six:
            out[f"{name}/{layer}"] = binned(rng.normal(shift, 1, N), shape)
    voxels = rng.lognormal(3, 0.5, (alive.sum(), 20))
    out["voxels"] = binned(voxels.ravel(), readout)
    per_shower = np.array([np.histogram(v, readout)[0] for v in voxels])
    counts = np.zeros((N, len(readout)), dtype=np.int32)
    counts[alive, :-1], counts[alive, -1] = per_shower, 20 - per_shower.sum(axis=1)
    loaders = {k: lambda: out for k in ("histograms", "challenge_histograms")} | {"voxel_counts": lambda: counts}
    return Sample(N, 1.0, {}, loaders)


METRICS = {
    "separation_power": (separation_powers, SeparationPowerConfig()),
    "challenge_separation": (challenge_separation, ChallengeSeparationConfig()),
}


def measured(metric, generated, reference=None):
    function, config = METRICS[metric]
    found = function(reference or sample(1), generated, np.random.default_rng(0), config)
    return {m.name.removeprefix(f"{metric}/"): m for m in found}


def test_an_empty_histogram_is_as_far_away_as_can_be():
    assert separation_power([1, 2], [0, 0]) == 1 == separation_power([0, 0], [3, 0])
    assert _divergence(np.array([1, 2]), np.zeros(2)) == 1 and _divergence(np.zeros(2), np.zeros(2)) == 0
    with pytest.raises(MetricUnavailable, match="no entries"):
        separation_power([0, 0], [0, 0])
    rows = separations(np.array([[1, 0], [0, 0], [0, 0]]), np.array([[0, 1], [1, 1], [0, 0]]))
    assert rows[:2] == pytest.approx([1, 1]) and np.isnan(rows[2])


@pytest.mark.parametrize("metric", METRICS)
def test_a_layer_that_is_lost_makes_the_mean_worse(metric):
    good, bad = measured(metric, sample(2)), measured(metric, sample(2, lost=[3]))
    assert bad["E_layer/3"].value == 1
    mean = "mean_layers/E_layer"
    assert bad[mean].value == pytest.approx(np.mean([bad[f"E_layer/{i}"].value for i in range(4)]))
    assert bad[mean].value > 0.25 > 10 * good[mean].value
    assert bad[mean].extra["histograms"] == 4 and bad[mean].error is not None


@pytest.mark.parametrize("metric", METRICS)
def test_a_layer_that_a_few_showers_reach_is_not_what_is_farthest(metric):
    """Of an observable that one of two samples has twice, a separation power of 1 says nothing; a layer that was lost has all of it."""

    def rare(seed, hits, **settings):
        found = sample(seed, **settings)
        every = dict(found.histograms)
        every["E_layer/4"] = binned(np.full(hits, 50.0 + seed), np.geomspace(1, 1e3, 31), total=N)
        loaders = {k: lambda: every for k in ("histograms", "challenge_histograms")}
        return Sample(N, 1.0, {}, loaders | {"voxel_counts": lambda: found.voxel_counts})

    found = measured(metric, rare(2, 2, lost=[3]), rare(1, 0))
    few, lost = found["E_layer/4"], found["E_layer/3"]
    assert few.value == lost.value == 1 and few.error is None and lost.error == pytest.approx(0)
    assert found["mean_layers/E_layer"].floor is not None or metric == "challenge_separation"
    first, *rest = farthest(found.values())
    assert first.name == "E_layer/3" and first.clear and not any(f.clear for f in rest if f.name == "E_layer/4")


def test_a_layer_without_energy_in_both_is_no_difference_and_one_outside_in_both_is_unknown():
    found = measured("challenge_separation", sample(2, lost=[3]), sample(1, lost=[3]))
    assert found["E_layer/3"].value is None and found["mean_layers/E_layer"].extra["without_entries"] == 1
    found = measured("challenge_separation", sample(2, both=[3]), sample(1, both=[3]))
    mean = found["mean_layers/EC_eta"]
    assert mean.value is None and "1 of 4 layers have no entries" in mean.missing and "EC_eta/3" not in mean.missing


@pytest.mark.parametrize("metric", METRICS)
def test_the_average_is_that_of_six_observables(metric):
    """Of E_ratio and five means over layers, each of which counts once; none where one was not measured."""
    rest = ["EC_phi", "width_eta", "width_phi"]
    found = measured(metric, sample(2, six=rest, shift=0.5), sample(1, six=rest))
    six = ["E_ratio", *(f"mean_layers/{name}" for name in ("E_layer", "EC_eta", *rest))]
    average = found["average"]
    assert average.value == pytest.approx(np.mean([found[name].value for name in six]))
    assert average.value > 1.3 * np.mean([found[name].value for name in six[:3]])
    assert average.floor == pytest.approx(np.mean([found[name].floor for name in six]))
    assert 0 < average.error < max(found[name].error for name in six) and average.n == N
    unknown = measured(metric, sample(2, six=rest, both=range(4)), sample(1, six=rest, both=range(4)))["average"]
    assert unknown.value is None and unknown.missing.startswith("mean_layers/EC_eta: no layer has entries")
    assert "average" not in measured(metric, sample(2))


@pytest.mark.parametrize("metric", METRICS)
def test_scores_tell_what_they_do_not_see(metric):
    """Half of the showers are empty: the spectrum of the others is perfect."""
    found = measured(metric, sample(2, empty_showers=N // 2))
    scores = {k: Score(f"{metric}/{k}", m.value, m.error, m.n, seed=0, extra=m.extra) for k, m in found.items()}
    assert scores["voxels"].value < 0.01
    assert "0.5 times as many entries" in unseen(scores["voxels"])
    assert "50% of the entries are outside" in unseen(scores["E_ratio"])
    assert unseen(scores["mean_layers/E_layer"]) is not None
    (line,) = outside_warnings(scores.values())
    assert line.startswith(f"{metric}/E_ratio, and ") and "do not see" in line
    good = measured(metric, sample(2))
    assert not outside_warnings(Score(k, m.value, m.error, m.n, seed=0, extra=m.extra) for k, m in good.items())


def test_the_leaderboard_does_not_rank_what_does_not_see_half_of_the_sample():
    table = published_table("2")
    boards = []
    for empty in (N // 2, 0):
        found = measured("challenge_separation", sample(2, empty_showers=empty))
        scores = [
            Score(f"challenge_separation/{k}", m.value, m.error, m.n, seed=0, extra=m.extra) for k, m in found.items()
        ]
        boards.append(place(table, [own_scores("mine", scores)]))
    bad, good = (b.own[0] for b in boards)
    assert {"sep cell", "sep E total", "sep E layer"} <= set(good.ranks) and good.unranked == {}
    assert not {"sep cell", "sep E total", "sep E layer"} & set(bad.ranks) and "sep cell" in bad.values
    text = terminal_table(boards[0])
    assert "not ranked" in text and f"{UNRANKED} mine: S(" in text and "not ranked" not in terminal_table(boards[1])
    assert UNRANKED in markdown_table(boards[0]) and UNRANKED not in markdown_table(boards[1])
    cell = next(m for m in table.metrics if m.key == "sep cell")
    assert boards[0].competitors(cell) == boards[1].competitors(cell) - 1


def test_energies_without_generated_showers_are_no_part_of_a_mean():
    rng = np.random.default_rng(0)
    incident = np.repeat([1e3, 1e4], 100)
    edges = energy_bins(incident, 2)
    full = response(incident * rng.normal(1, 0.1, 200), incident, edges, rng)
    half = response(incident[:100] * rng.normal(1, 0.1, 100), incident[:100], edges, rng)
    assert mean_differences(half, full)["linearity"][0] == pytest.approx(0, abs=0.1)
    with pytest.raises(MetricUnavailable, match="1 of 2 bins"):
        mean_differences(full, half)


def test_bins_of_what_the_reference_does_not_have_hold_everything():
    edges = log_edges(np.inf, 0, 30)
    assert np.histogram([1e-3, 5.0, 1e6], edges)[0].sum() == 3


def test_a_test_that_failed_for_one_seed_is_still_the_strongest():
    weak = [Score("classifier/low/auc", 0.55, 0.01, 500, seed=seed) for seed in (0, 1)]
    strong = [
        Score("classifier/trees/auc", 0.9, 0.01, 500, seed=0),
        Score.absent("classifier/trees/auc", 500, "x", seed=1),
    ]
    scores, value, _ = strongest([*weak, *strong])
    assert value == 0.9 and scores[0].name == "classifier/trees/auc"
