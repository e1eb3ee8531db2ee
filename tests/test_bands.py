"""Bands of Bayesian networks beside those of ensembles: the definition by hand, counts subtracted, files, plan and report."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
from test_config import PRESETS, changed

from calopipe.errors import ConfigError, DataError, MetricUnavailable
from calopipe.evaluation.bands import Run, evaluate_bands
from calopipe.metrics.bands import Band, Panel, by_chance, compare_bands, covered, width, width_inside
from calopipe.records.histograms import Histogram, save_histograms
from calopipe.records.scores import Score, load_scores
from calopipe.records.slices import Slice
from calopipe.report import RunArtifacts, StudySummary, build_report
from calopipe.report.bands import band_tables
from calopipe.report.data import load_study_data
from calopipe.workflow import Plan

RNG = np.random.default_rng(9)


def band(*rows: list[float], total: float = 1e12) -> Band:
    """Shares of so many entries that counting errors do not matter."""
    return Band(total * np.array(rows), np.full(len(rows), total))


def panel(bayesian: Band, ensemble: Band, counts: list[float] | None = None) -> Panel:
    used = np.full(len(bayesian.mean), 1e3) if counts is None else np.array(counts)
    return Panel(used / 1e4, used, bayesian, ensemble)


def test_a_bin_is_covered_by_hand() -> None:
    """Means 0.2 and standard deviations 0.01 of the Bayesian network: its band is 0.18 to 0.22."""
    s = 0.01 / np.sqrt(2)  # of two values
    b = band([0.2 - s] * 4, [0.2 + s] * 4)
    np.testing.assert_allclose(np.sqrt(b.variance(True)), 0.01)
    shift = np.array([0.0, 0.009, 0.011, -0.011])  # with a standard deviation of 0.01: up to 0.01 is covered
    e = band(list(0.2 + shift - s), list(0.2 + shift + s))
    for counting in (True, False):
        assert covered(panel(b, e), counting).tolist() == [True, True, False, False]
    wide = band([0.2 - 2.1 * s] * 4, [0.2 + 2.1 * s] * 4)  # the mean is there, but the band is too wide
    assert not covered(panel(b, wide), True).any() and covered(panel(wide, b), True).all()
    found = compare_bands([panel(b, e, [1e3, 1e3, 1e3, 3])], True, RNG)
    assert found.covered == (pytest.approx(2 / 3), None) and found.bins == 3, (
        "bins of few reference entries do not count"
    )
    with pytest.raises(MetricUnavailable, match="no bin with 4 reference entries"):
        compare_bands([panel(b, e, [3, 0, 1, 2])], True, RNG)
    with pytest.raises(MetricUnavailable, match="two histograms"):
        band([0.1])


def test_widths_count_bins_in_units_of_their_counting_error() -> None:
    s = 1 / np.sqrt(2)
    b, e = (band(*([0.3 + sign * k * s * 0.02, 0.1 + sign * k * s * 0.01] for sign in (-1, 1))) for k in (3, 1))
    reference = np.array([0.4, 0.1])
    assert width([(e, reference)], True) == pytest.approx(np.sqrt((0.02**2 / 0.4 + 0.01**2 / 0.1) / 2))
    assert compare_bands([panel(b, e)], True, RNG).ratio.value == pytest.approx(3)
    assert compare_bands([panel(b, e)], False, RNG).ratio.value == pytest.approx(3, rel=1e-5)


def drawn(rng: np.random.Generator, k: int, n: int, spread: float, bins: int = 200) -> Band:
    """Counts of k networks whose shares scatter by `spread`, relatively."""
    share = np.full(bins, 0.5 / bins) * (1 + spread * rng.standard_normal((k, bins)))
    return Band(rng.binomial(n, np.clip(share, 0, 1)).astype(float), np.full(k, n))


def test_counts_are_subtracted_where_samples_differ_in_size() -> None:
    """Draws have 4000 showers, trainings 100 000; both scatter by 10 %, less than the counting errors of a draw (32 %)."""
    rng = np.random.default_rng(0)
    p = panel(drawn(rng, 30, 4000, 0.1), drawn(rng, 10, 100_000, 0.1), [1000.0] * 200)
    with_counts, without = (compare_bands([p], counting, RNG) for counting in (True, False))
    assert with_counts.ratio.value > 2.5 and with_counts.covered.value > 0.95, (
        "counts make the band wide, and cover everything"
    )
    value, error = without.ratio
    assert error is not None and 0.05 < error < 0.5 and abs(value - 1) < 3 * error
    # shares of 1/400: 0.1 of them is the standard deviation, divided by the root of the reference's share of 0.1
    assert width([(p.ensemble, p.reference)], False) == pytest.approx(0.1 / 400 / np.sqrt(0.1), rel=0.1)
    certain = panel(drawn(rng, 30, 100_000, 0.01), drawn(rng, 10, 100_000, 0.2), [1000.0] * 200)
    assert compare_bands([certain], False, RNG).covered.value < 0.1, "a band without uncertainty covers nothing"


def test_errors_are_the_scatter_of_new_draws_and_trainings() -> None:
    values, errors = [], []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        p = panel(drawn(rng, 12, 10_000, 0.3, 40), drawn(rng, 8, 10_000, 0.3, 40), [1000.0] * 40)
        found = compare_bands([p], False, RNG)
        values.append((found.covered.value, found.ratio.value))
        errors.append((found.covered.error, found.ratio.error))
    ratio = np.mean(errors, axis=0) / np.std(values, axis=0)
    assert ratio == pytest.approx(1, abs=0.45), ratio


def test_networks_that_do_not_differ() -> None:
    """The floor is what such networks give, at their sample sizes."""
    rng = np.random.default_rng(1)
    p = panel(drawn(rng, 10, 5000, 0), drawn(rng, 10, 5000, 0), [1000.0] * 200)
    for counting in (True, False):
        floors = [by_chance([p], counting, np.random.default_rng(seed)) for seed in range(20)]
        assert compare_bands([p], counting, RNG).covered.value == pytest.approx(np.mean(floors), abs=0.1)


def test_a_band_that_widens_where_nothing_was_learned() -> None:
    """Relative scatter of 60 % inside of a hole, of 20 % beside it, of unequal numbers of showers."""
    rng, reference = np.random.default_rng(2), np.full(200, 0.1)
    inside, outside = drawn(rng, 20, 20_000, 0.6), drawn(rng, 20, 40_000, 0.2)
    value, error = width_inside([(inside, reference)], [(outside, reference)], False, rng)
    assert error is not None and 0 < error < 0.5 and abs(value - 3) < 3 * error
    assert width_inside([(inside, reference)], [(outside, reference)], True, rng).value < value, "counts dilute it"
    assert width_inside([(outside, reference)], [(outside, reference)], False, rng).value == 1
    certain = Band(np.full((5, 200), 50.0), np.full(5, 40_000))
    assert width_inside([(inside, reference)], [(certain, reference)], False, rng) == (np.inf, None)


# ---- files -----------------------------------------------------------------------------------------------------------
EDGES = np.linspace(0, 1, 41)


def histogram(name: str, rng: np.random.Generator, draws: int, spread: float, **further: object) -> Histogram:
    reference = np.full(40, 50)
    found = drawn(rng, max(draws, 2), 4000, spread, 40)
    more = {"draws": {"generated": found.counts}, "draw_totals": {"generated": found.totals}} if draws else {}
    rows = slice(None) if draws else slice(1)  # one training has one histogram
    counts = {"reference": reference, "generated": found.counts[rows].sum(0)}
    totals = {"reference": 4000, "generated": int(found.totals[rows].sum())}
    return Histogram(
        name, "voxels" if name == "voxels" else "energies", name, EDGES, counts, totals, **{**more, **further}
    )


def file(path: Path, seed: int, draws: int = 0, spread: float = 0.4) -> Path:
    rng = np.random.default_rng(seed)
    found = [histogram(name, rng, draws, spread) for name in ("E_ratio", "E_layer/0")]
    found.append(histogram("E_ratio", rng, draws, spread, part=Slice.of_energies(1, 2)))
    found.append(histogram("voxels", rng, draws, 5.0))  # which is left out
    save_histograms(path, found)
    return path


@pytest.fixture
def runs(tmp_path: Path) -> tuple[dict[Run, Path], dict[str, list[Path]]]:
    bayesian = {Run("binn", seed): file(tmp_path / f"b{seed}.npz", seed, draws=12) for seed in (0, 1)}
    same = [file(tmp_path / f"e{seed}.npz", 10 + seed) for seed in range(6)]
    wide = [file(tmp_path / f"w{seed}.npz", 20 + seed, spread=1.5) for seed in range(6)]
    return bayesian, {"inn": same, "wide": wide}


def test_scores_of_files(runs, tmp_path) -> None:
    bayesian, ensembles = runs
    evaluate_bands(bayesian, ensembles, seed=3, out=tmp_path / "bands.json")
    scores = load_scores(tmp_path / "bands.json")
    assert {s.name.removeprefix("bands/covered") for s in scores if s.name.startswith("bands/covered")} == {
        f"{kind}{group}" for kind in ("", "_without_counts") for group in ("", "/E_ratio", "/E_layer/0", "/1-2MeV")
    }
    assert {(s.extra["bayesian"], s.seed, s.extra["ensemble"]) for s in scores} == {
        ("binn", seed, model) for seed in (0, 1) for model in ("inn", "wide")
    }

    def value(name: str, ensemble: str) -> Score:
        return next(s for s in scores if (s.name, s.seed, s.extra["ensemble"]) == (f"bands/{name}", 0, ensemble))

    every = value("covered_without_counts", "inn")
    assert every.extra | {"draws": 12, "trainings": 6, "bins": 80, "band": 2.0} == every.extra and every.target == 1
    assert value("covered/E_ratio", "inn").extra["bins"] == 40, "a slice is not counted among all showers"
    assert every.value > 0.6 > 0.2 > value("covered_without_counts", "wide").value
    assert 0.7 < value("width_ratio_without_counts", "inn").value < 1.4
    assert value("width_ratio_without_counts", "wide").value < 0.5


def test_files_that_do_not_fit_are_named(runs, tmp_path) -> None:
    bayesian, ensembles = runs
    plain = {Run("inn", 0): ensembles["inn"][0]}
    with pytest.raises(DataError, match=r"e0.npz: expected histograms of several draws of weights, found 'E_ratio'"):
        evaluate_bands(plain, ensembles, seed=0, out=tmp_path / "bands.json")
    other = histogram("E_ratio", np.random.default_rng(0), 0, 0.1)
    save_histograms(tmp_path / "e1.npz", [other])
    with pytest.raises(DataError, match=r"e1.npz: 'E_layer/0' has other bins than in .*b0.npz"):
        evaluate_bands(bayesian, ensembles, seed=0, out=tmp_path / "bands.json")
    assert not (tmp_path / "bands.json").exists()


def test_trainings_that_do_not_differ_have_no_ratio(tmp_path, runs) -> None:
    same = [file(tmp_path / f"s{seed}.npz", 30 + seed, spread=0.0) for seed in range(3)]
    for path in same[1:]:
        path.write_bytes(same[0].read_bytes())
    evaluate_bands(runs[0], {"inn": same}, seed=0, out=tmp_path / "bands.json")
    found = {s.name: s for s in load_scores(tmp_path / "bands.json")}
    assert "no wider than its counting errors" in str(found["bands/width_ratio_without_counts"].missing)
    assert found["bands/covered"].value is not None


def test_the_report_has_a_table_of_each_pair(runs, tmp_path) -> None:
    evaluate_bands(*runs, seed=3, out=tmp_path / "bands.json")
    made = [RunArtifacts("eplus", "binn", seed, "calogan", bands=str(tmp_path / "bands.json")) for seed in (0, 1)]
    made.append(RunArtifacts("eplus", "inn", 0, "calogan"))
    summary = StudySummary("s", tuple(made), dpi=40, pdf=False)
    tables = list(band_tables(load_study_data(summary)[0]))
    assert [t.caption for t in tables] == [
        f"binn, seed {seed} beside the ensemble {model}" for seed in (0, 1) for model in ("inn", "wide")
    ]
    assert [row[0] for row in tables[0].rows] == ["all", "E_ratio", "E_layer/0", "1-2MeV"]
    assert all(len(row) == len(tables[0].columns) and all(row) for row in tables[0].rows)
    assert tables[0].rows[0] != tables[2].rows[0], "seeds have scores of their own"
    page = build_report(summary, tmp_path / "report").read_text(encoding="utf-8")
    assert "Bands of Bayesian networks and of ensembles" in page and "12 draws of its weights, 6 trainings" in page


# ---- studies -------------------------------------------------------------------------------------------------------
def study(draws: int = 4, seeds: tuple[int, ...] = (0, 1)) -> dict:
    found = changed("evaluations", value={"default": {"generation": {"draws": draws, "factor": draws}}})
    found["models"]["binn"] = copy.deepcopy(found["models"]["inn"])
    found["models"]["binn"]["networks"]["flow"]["model"]["name"] = "bayesian_inn"
    found["runs"] = [
        {"dataset": "eplus", "model": "binn", "seeds": [0]},
        {"dataset": "eplus", "model": "inn", "seeds": list(seeds)},
        {"dataset": "eplus", "model": "vae_inn", "seeds": [0]},
    ]
    return found


def test_a_study_compares_what_there_is_to_compare() -> None:
    plan = Plan.load(study(), PRESETS)
    wanted = {"bayesian": [["binn", 0]], "ensembles": {"inn": [0, 1]}}
    assert plan.settings("bands", dataset="eplus", evaluation="default").items() >= wanted.items()
    files = [f for f in plan.report_files() if f.endswith("compare/eplus/bands/default.json")]
    assert len(files) == 1
    for without in (study(draws=1), study(seeds=(0,))):
        plan = Plan.load(without, PRESETS)
        assert not any("/bands/" in f for f in plan.report_files())
        with pytest.raises(
            ConfigError, match="evaluations.default: bands are of a Bayesian model with generation.draws"
        ):
            plan.settings("bands", dataset="eplus", evaluation="default")
