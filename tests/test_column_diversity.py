"""A loss of variety of columns is found, at all conditions or some of them, and nothing else is taken for one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from calopipe.config.evaluation import HistogramConfig
from calopipe.config.recipes import DetectorSmearingRecipe
from calopipe.errors import MetricUnavailable
from calopipe.evaluation.columns import evaluate_columns
from calopipe.evaluation.variety import collapse_warnings
from calopipe.io import Columns, read_columns, write_columns
from calopipe.metrics.column_diversity import (
    condition_groups,
    diversity_scores,
    mean_distances,
    nearest_values,
    residuals,
)
from calopipe.plots.style import slice_label
from calopipe.records.scores import Score, load_scores
from calopipe.sources.made import make

N = 12_000
MEANS = (0.0, 5.0, 10.0, 20.0, 40.0, 60.0, 80.0, 100.0, 200.0)


def few_means(seed: int) -> Columns:
    """Nine values of the condition, of which the width depends too."""
    rng = np.random.default_rng(seed)
    mu = rng.choice(MEANS, N)
    return Columns({"x": rng.normal(mu, 1 + mu / 20)}, {"mu": mu})


def response(seed: int) -> Columns:
    """An energy that is measured to 5 %, beside two angles that do not matter."""
    rng = np.random.default_rng(seed)
    energy = rng.uniform(1, 20, N)
    angles = {name: rng.uniform(-2, 2, N) for name in ("eta", "phi")}
    return Columns({"x": rng.normal(energy, 0.05 * energy)}, {**angles, "energy": energy})


def no_condition(seed: int) -> Columns:
    return Columns({"x": np.random.default_rng(seed).beta(2, 5, N)})


def smearing(seed: int, folder: Path) -> Columns:
    make(DetectorSmearingRecipe(recipe="detector_smearing", rows=N, seed=seed), folder / f"{seed}.hdf5")
    return read_columns(folder / f"{seed}.hdf5", ["pt_residual"], ["eta", "phi", "pt"])


def centres(data: Columns) -> np.ndarray:
    """Mean of each row, given its conditions."""
    names = [name for name in ("mu", "energy") if name in data.conditions]
    x = data.x[:, 0].astype(np.float64)
    return data.conditions[names[0]].astype(np.float64) if names else np.full(len(x), np.median(x))


def changed(data: Columns, x: np.ndarray, rows: np.ndarray | slice = slice(None)) -> Columns:
    (name,) = data.values
    values = data.values[name].copy()
    values[rows] = x[rows]
    return Columns({name: values}, data.conditions)


def scores(reference: Columns, generated: Columns) -> list[Score]:
    rng = np.random.default_rng(0)
    groups = condition_groups(reference.condition, generated.condition, rng)
    (name,) = reference.values
    return list(diversity_scores(name, reference.values[name], generated.values[name], groups, rng))


@pytest.fixture(scope="module", params=["few_means", "response", "no_condition", "smearing"])
def samples(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Columns, Columns]:
    if request.param == "smearing":
        folder = tmp_path_factory.mktemp("smearing")
        return smearing(1, folder), smearing(2, folder)
    kind = {"few_means": few_means, "response": response, "no_condition": no_condition}[request.param]
    return kind(1), kind(2)


# ---- numbers by hand -----------------------------------------------------------------------------------------------------
def test_distances_by_hand() -> None:
    values = np.array([[3.0, 0.0, 1.0, 7.0, 1.0]])
    np.testing.assert_allclose(mean_distances(values), [(3 + 1 + 1 + 7 + 2 + 2 + 4 + 0 + 6 + 6) / 10])
    np.testing.assert_allclose(nearest_values(values), [[1, 0, 0, 2, 4]])
    ten = np.array([[1e9, 0, 0, 0, 0, 2, 2, 2, 2, -1e9]])  # one of ten is left out at either end
    np.testing.assert_allclose(mean_distances(ten), [16 * 2 / 28])


def test_what_is_linear_in_the_conditions_is_no_variety() -> None:
    conditions = np.random.default_rng(1).uniform(1e3, 2e3, (2, 50, 2))
    left = np.tile([1.0, -1.0], 25)
    values = 1e5 + 3 * conditions[:, :, 0] - 2 * conditions[:, :, 1]
    np.testing.assert_allclose(residuals(values, conditions), 0, atol=1e-8)
    assert 0.9 < residuals(values + left, conditions).std() <= 1
    np.testing.assert_allclose(residuals(values, conditions[:, :, :0]), values - values.mean(1, keepdims=True))


def test_groups_are_of_nearly_equal_conditions_of_both_samples() -> None:
    rng = np.random.default_rng(2)
    few = [rng.choice(MEANS, (m, 1)) for m in (9000, 6000)]
    groups = condition_groups(*few, rng)
    a, b = groups.conditions
    assert (a == a[:, :1]).all() and (a[:, 0] == b[:, 0]).all() and set(a[:, 0, 0]) == set(MEANS)
    assert len(np.unique(groups.rows[0])) == groups.rows[0].size > 0.7 * 6000
    plane = [rng.uniform(0, 1, (6400, 2)) for _ in range(2)]
    a, b = condition_groups(*plane, rng).conditions
    assert np.ptp(a, axis=1).mean() < 0.25 and np.abs(a.mean(1) - b.mean(1)).max() < 0.1
    with pytest.raises(
        MetricUnavailable, match="needs 10 groups of 100 rows of equal conditions .* found 9 .of 999 rows"
    ):
        condition_groups(np.empty((999, 0)), np.empty((2000, 0)), rng)


# ---- found and not found -------------------------------------------------------------------------------------------------
def test_other_data_and_what_is_merely_wrong_are_silent(samples) -> None:
    reference, other = samples
    rng, x, middle = np.random.default_rng(3), other.x[:, 0].astype(np.float64), centres(other)
    wrong = [x, 1.1 * x, x + x.std(), middle + 0.85 * (x - middle), middle + 1.5 * (x - middle)]
    for values in (*wrong, rng.normal(x, 0.2 * x.std())):
        assert collapse_warnings(scores(reference, changed(other, values))) == []


def test_values_that_ignore_a_condition_vary_too_little_where_the_data_vary_most(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    reference, other = response(1), response(2)
    assert collapse_warnings(scores(reference, changed(other, rng.permutation(other.x[:, 0])))) == []
    reference, other = smearing(1, tmp_path), smearing(2, tmp_path)
    (line,) = collapse_warnings(scores(reference, changed(other, rng.permutation(other.x[:, 0]))))
    assert "pt_residual: hardly varies at" in line


def test_a_loss_of_variety_is_found(samples) -> None:
    reference, other = samples
    rng, x, middle = np.random.default_rng(4), other.x[:, 0].astype(np.float64), centres(other)
    lost = {
        "one value": np.full(len(x), np.median(x)),
        "a function of the conditions": middle,
        "half the width": middle + 0.5 * (x - middle),
        "five values": rng.choice(x[:5], len(x)),
        "three for each condition": middle + np.median(np.abs(x - middle)) * rng.choice([-1, 0, 1], len(x)),
        "300 values": rng.choice(x[:300], len(x)),
    }
    for what, values in lost.items():
        (line,) = collapse_warnings(scores(reference, changed(other, values)))
        assert line.startswith(f"less variety than the data (mode collapse?): {next(iter(other.values))}: "), what


def test_a_loss_at_some_conditions_is_found(samples) -> None:
    reference, other = samples
    if not other.conditions:
        return
    condition = list(other.conditions.values())[-1]
    rows = condition <= np.quantile(condition, 0.2)
    found = scores(reference, changed(other, centres(other), rows))
    (line,) = collapse_warnings(found)
    lost = {s.name.split("/")[1]: s for s in found}["lost"]
    assert lost.floor is not None and lost.floor < 0.02 < 0.1 < lost.value < 0.3 and "hardly varies at" in line


def test_sparse_and_heavy_tailed_columns_are_silent() -> None:
    rng = np.random.default_rng(5)
    for share in (0.02, 0.1, 0.15, 0.3, 0.6, 1.0):
        both = [np.exp(rng.normal(0, 2, N)) * (rng.random(N) < share) for _ in range(2)]
        assert collapse_warnings(scores(*(Columns({"x": x}) for x in both))) == []


def test_a_reference_that_does_not_vary_is_said() -> None:
    mu = np.arange(N) % 7.0
    found = scores(*(Columns({"x": mu**2}, {"mu": mu}) for _ in range(2)))
    assert [s.value for s in found] == [None] * 3 and "hardly varies at equal conditions" in found[0].missing
    counts = Columns({"x": np.arange(N) % 7.0})
    by_kind = {s.name: s for s in scores(counts, counts)}
    assert by_kind["diversity/spread/x"].value == pytest.approx(0, abs=0.2)
    assert by_kind["diversity/nearest/x"].missing == "100% of the reference's values are repeated"


# ---- the evaluation --------------------------------------------------------------------------------------------------------
def test_the_slice_is_named_and_what_is_too_few_is_said(tmp_path: Path) -> None:
    reference, other = few_means(1), few_means(2)
    y = np.random.default_rng(6).normal(size=(2, N))
    for name, k, data in (
        ("a", 0, reference),
        ("b", 1, changed(other, np.full(N, 20.0), other.conditions["mu"] == 20)),
    ):
        rows = np.delete(np.arange(N), np.flatnonzero(data.conditions["mu"] == 40)[350:])
        write_columns(tmp_path / f"{name}.hdf5", Columns({**data.values, "y": y[k]}, data.conditions).select(rows))
    slices = {"mu": [(4.0, 6.0), (19.0, 21.0), (39.0, 41.0)]}
    evaluate_columns(
        tmp_path / "a.hdf5", tmp_path / "b.hdf5", config=HistogramConfig(bins=20, slices=slices), classifier=None,
        seed=1, histograms=tmp_path / "h.npz", scores=tmp_path / "s.json",
    )  # fmt: skip
    found = load_scores(tmp_path / "s.json")
    (line,) = collapse_warnings(found, slice_label)
    assert line.startswith("less variety than the data (mode collapse?): x: hardly varies at 1")
    assert line.endswith("; at mu 19\N{EN DASH}21; not at mu 4\N{EN DASH}6")
    missing = {s.name: s.missing for s in found if s.value is None and s.name.startswith("diversity")}
    assert missing.keys() == {f"diversity/{k}/{c}/mu=39-41" for k in ("spread", "nearest", "lost") for c in "xy"}
    assert "found 3 (of 350 rows)" in missing["diversity/lost/x/mu=39-41"]
    apart = [s for s in found if "slice" in s.extra]
    (line,) = collapse_warnings(apart, slice_label)
    assert line.startswith("less variety than the data at mu 19\N{EN DASH}21 (mode collapse?): x: ")
