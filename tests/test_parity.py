"""The CaloChallenge's own evaluation gives the same numbers (golden values from its code and from jetnet)."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy.optimize import lsq_linear

from calopipe.errors import MetricUnavailable
from calopipe.evaluation.inputs import Readout
from calopipe.evaluation.samples import load_sample
from calopipe.geometry import load_geometry
from calopipe.metrics.base import BinnedCounts, Sample
from calopipe.metrics.challenge_separation import ChallengeSeparationConfig, challenge_separation
from calopipe.metrics.features import features_high, features_low
from calopipe.metrics.fpd import FpdConfig, _intercept, batch_range, fpd, frechet_distance, frechet_physics_distance
from calopipe.metrics.kpd import KpdConfig, kernel_physics_distance, kpd
from calopipe.metrics.prdc import (
    PrdcConfig,
    expected_of_same_distribution,
    prdc,
    precision_recall_density_coverage,
    shower_logarithms,
)
from calopipe.metrics.separation_power import separation_power
from calopipe.observables import compute
from calopipe.observables.challenge import challenge_histograms

SETS = {
    "ds1like": ("ds1like_photons", "calochallenge1_photons", 10_500),
    "ds2like": ("ds2like_electrons", "calochallenge2", 6_000),
}


class Golden:
    """The golden values of one file, and the showers they were computed on."""

    def __init__(self, name, shared):
        data, geometry, self.rows = SETS[name]
        self.values = json.loads((shared / "reference" / "golden" / f"{name}_evaluation.json").read_text())
        with h5py.File(shared / "data" / f"{data}.hdf5") as file:
            self.showers, self.incident = file["showers"][:], file["incident_energies"][:, 0].astype(np.float64)
        self.geometry, self.threshold = load_geometry(geometry), self.values["threshold_MeV"]
        self.keys = [k for k, v in self.values.items() if isinstance(v, dict) and "separation" in v]
        self.settings = self.values["estimator settings"]
        self.reference = self.features(self.showers[: self.rows], self.incident[: self.rows])

    def features(self, showers, incident):
        return features_high(compute(showers, incident, self.geometry, self.threshold, 0), incident)

    def generated(self, key):
        """Showers and energies of the second half, distorted as the key says."""
        showers, incident = self.showers[self.rows :], self.incident[self.rows :]
        rng = np.random.default_rng(7)
        if key.startswith("voxels x 1.03"):
            showers = showers.astype(np.float64) * 1.03
        elif key.startswith("rows permuted"):
            showers = showers[rng.permutation(len(showers))]
        elif key.startswith("10 % of voxels dropped"):
            showers = showers * (rng.random(showers.shape) > 0.1)
        else:
            assert key == "as is"
        return showers, incident


@pytest.fixture(scope="module", params=SETS)
def golden(request, shared):
    return Golden(request.param, shared)


def golden_name(name):
    """Our name of a histogram in the reference files: ``EC Eta layer 12`` is ``EC_eta/12``."""
    if name in ("Etot / Einc", "Voxel distribution"):
        return {"Etot / Einc": "E_ratio", "Voxel distribution": "voxels"}[name]
    kind, layer = name.split(" layer ")
    kind = kind.replace(" Eta", "_eta").replace(" Phi", "_phi").replace(" r", "_r").replace("Width", "width")
    return {"E": "E_layer", "Sparsity": "sparsity"}.get(kind, kind) + f"/{layer}"


def test_separation_powers(golden):
    """The golden values are of files in float64, and of a processor without vectorised logarithms.

    NumPy rounds a logarithm in the last digit as the processor does, and with it on which side of the last logarithmic edge
    the largest energy falls: there either side is right.
    """
    where = golden.geometry, golden.threshold
    showers = golden.showers[: golden.rows].astype(np.float64)
    reference, maxima = challenge_histograms(showers, golden.incident[: golden.rows], *where)
    for key in golden.keys:
        showers, incident = golden.generated(key)
        counts, _ = challenge_histograms(showers.astype(np.float64), incident, *where, maxima)
        wanted = {golden_name(k): v for k, v in golden.values[key]["separation"].items()}
        found = {k: separation_power(reference[k], counts[k]) for k in reference}
        for name in set(found) & {k for k in found if k.startswith("E_layer") and found[k] != pytest.approx(wanted[k])}:
            moved = reference[name].copy()
            largest_is_inside = moved.sum() == filled(golden, name)
            moved[-1] += -1 if largest_is_inside else 1
            found[name] = separation_power(moved, counts[name])
        assert found == pytest.approx(wanted, abs=1e-9), key


def filled(golden, name):
    """Showers of the reference with at least the threshold in a layer."""
    layer = golden.geometry.layer_slices[list(golden.geometry.layer_ids).index(int(name.split("/")[1]))]
    part = golden.showers[: golden.rows, layer].astype(np.float64)
    return int((np.where(part >= golden.threshold, part, 0).sum(axis=1) >= golden.threshold).sum())


def script_scores(geometry, threshold, reference, generated):
    """Separation powers of two (showers, energies) by the published definitions alone, in the type of the arrays."""

    def features(showers, incident):
        showers = showers.copy()
        showers[showers < threshold] = 0
        out = {"E_ratio": showers.sum(axis=-1) / incident.squeeze()}
        for i, layer in enumerate(geometry.layer_ids):
            alpha, r = geometry.edges(i)
            alpha, r = 0.5 * (alpha[:-1] + alpha[1:]), 0.5 * (r[:-1] + r[1:])
            part = showers[:, geometry.layer_slices[i]]
            out[f"E_layer/{layer}"] = part.sum(axis=-1)
            out[f"sparsity/{layer}"] = 1 - (part > 0).mean(axis=-1)
            norm = part.sum(axis=-1) + 1e-16
            axes = {"r": np.tile(r, len(alpha))}
            if len(alpha) > 1:
                axes |= {"eta": np.outer(np.cos(alpha), r).ravel(), "phi": np.outer(np.sin(alpha), r).ravel()}
            for axis, x in axes.items():
                mean = out[f"EC_{axis}/{layer}"] = (x * part).sum(axis=-1) / norm
                square = (x * x * part).sum(axis=-1) / norm
                out[f"width_{axis}/{layer}"] = np.sqrt((square - mean**2).clip(min=0))
        return out | {"voxels": showers.ravel()}

    def bins(name, values):
        family, _, layer = name.partition("/")
        wide, large = layer in ("12", "13"), geometry.n_layers == 45
        if family in ("E_layer", "voxels"):
            return np.logspace(np.log10(threshold), np.log10(values.max()), 40 if family == "E_layer" else 50)
        if family in ("E_ratio", "sparsity"):
            return np.linspace(0.5, 1.5, 101) if family == "E_ratio" else np.linspace(0, 1, 21)
        if family == "EC_r":
            return np.linspace(0, 42 if large else 1500 if wide else 500, 101)
        if family == "width_r":
            return np.linspace(0, 20 if large else 1500 if wide else 500, 101)
        reach = 30 if large else (500 if family.startswith("EC") else 400) if wide else 100
        return np.linspace(-reach if family.startswith("EC") else 0, reach, 101)

    a, b = features(*reference), features(*generated)
    scores = {}
    for name in a:
        edges = bins(name, a[name])
        p, q = (np.histogram(v[name], edges, density=True)[0] * np.diff(edges) for v in (a, b))
        scores[name] = 0.5 * ((p - q) ** 2 / (p + q + 1e-16)).sum()
    return scores


@pytest.mark.parametrize("dtype", ["f4", "f8", ">f4"])
@pytest.mark.parametrize("name", SETS)
def test_separation_powers_follow_the_script_in_the_type_of_the_file(shared, tmp_path, name, dtype):
    """Written out from the definitions; the largest energies decide which side of the last edge they fall on."""
    data, geometry, _ = SETS[name]
    geometry, paths = load_geometry(geometry), [tmp_path / "ref.hdf5", tmp_path / "gen.hdf5"]
    threshold = 10.0 if name == "ds1like" else 0.5e-3 / 0.033
    samples = []
    with h5py.File(shared / "data" / f"{data}.hdf5") as file:
        for i, path in enumerate(paths):
            rows = slice(1500 * i, 1500 * (i + 1))
            showers, incident = ((file[k][rows] * 1.03**i).astype(dtype) for k in ("showers", "incident_energies"))
            samples.append((showers.astype(dtype[-2:]), incident.astype(dtype[-2:])))
            with h5py.File(path, "w") as out:
                out["showers"], out["incident_energies"] = showers, incident
    base = load_sample("reference", paths[0], Readout.of(geometry, threshold), histograms=tmp_path)
    sample = load_sample("generated", paths[1], Readout.of(geometry, threshold), histograms=tmp_path, reference=base)
    found = {
        name: separation_power(h.counts, sample.challenge_histograms[name].counts)
        for name, h in base.challenge_histograms.items()
    }
    wanted = script_scores(geometry, threshold, *samples)
    assert set(found) == set(wanted) and len(found) in (30, 362)
    assert found == pytest.approx(wanted, abs=1e-9)


@pytest.mark.parametrize("golden", ["ds1like", pytest.param("ds2like", marks=pytest.mark.trial)], indirect=True)
def test_physics_distances(golden):
    """Of the large set only two keys, and FPD only as it is: the time of the test."""
    settings = {k: dict(v) for k, v in golden.settings.items()}
    assert len(golden.keys) == 4
    large = golden.rows <= 6_000
    for key in golden.keys[::3] if large else golden.keys:
        generated, wanted = golden.features(*golden.generated(key)), golden.values[key]
        value, error = kernel_physics_distance(golden.reference, generated, **settings["kpd"])
        assert (value, error) == pytest.approx((wanted["kpd"], wanted["kpd_error"]), rel=1e-4, abs=1e-8), key
        if not large or key == "as is":
            value, error = frechet_physics_distance(golden.reference, generated, **settings["fpd"])
            # jetnet's fit of the intercept stops short of the exact one, by a few percent of its error
            assert value == pytest.approx(wanted["fpd"], abs=0.05 * wanted["fpd_error"]), key
            assert error == pytest.approx(wanted["fpd_error"], rel=1e-2), key


def test_precision_recall_density_coverage(shared):
    golden = Golden("ds1like", shared)
    showers = np.where(golden.showers[:8000] >= golden.threshold, golden.showers[:8000], 0)
    reference, generated = shower_logarithms(showers[:4000]), shower_logarithms(showers[4000:])
    scaled = generated + np.float32(np.log10(1.1))  # every voxel x 1.1, after zeros were set to 0.1
    for start, points in (("prdc (rows", generated), ("prdc (same rows", scaled)):
        wanted = next(v for k, v in golden.values.items() if k.startswith(start))
        assert precision_recall_density_coverage(reference, points, 5) == pytest.approx(wanted, abs=1e-9), start


# ---- hand-computable values and bad input, without reference files -------------------------------------------------
def sample_of(features, **loaders):
    sample = Sample(len(features), 0.01, {0: slice(0, 2)}, loaders)
    sample.__dict__["high_features"] = features
    return sample


def gaussian(n, seed=0, dim=4, shift=0.0):
    return np.random.default_rng(seed).normal(size=(n, dim)) + shift


def test_frechet_distance_of_gaussians():
    mean, cov = np.array([1.0, 2.0]), np.array([[2.0, 0.5], [0.5, 1.0]])
    assert frechet_distance(mean, cov, mean, cov) == pytest.approx(0, abs=1e-12)
    assert frechet_distance(mean, cov, mean + 2, cov) == pytest.approx(8)
    assert frechet_distance(mean, np.diag([4.0, 0.0]), mean, np.diag([1.0, 0.0])) == pytest.approx(1)  # (2 - 1)^2
    # two commuting covariances: sum of squared differences of the roots of their eigenvalues
    assert frechet_distance(mean, 4 * cov, mean, cov) == pytest.approx(np.trace(cov))


@pytest.mark.parametrize("slope", [0.05, -0.05, 0.0])
@pytest.mark.parametrize("level", [-0.3, 0.0, 1e-3, 1.0])
def test_the_intercept_is_the_exact_least_squares_at_every_scale(level, slope):
    """Against scipy's bounded linear least squares, of numbers near 1; other scales follow by definition."""
    sizes = (1 / np.linspace(1 / 10_000, 1 / 50_000, 10)).astype("int32")
    x = 1 / sizes
    y = level + slope * x / x.max() + 2e-3 * np.random.default_rng(0).normal(size=10)
    wanted = lsq_linear(np.stack([np.ones(10), x / x.max()], axis=1), y, bounds=(0, np.inf), tol=1e-15).x[0]
    for scale in 10.0 ** np.arange(-300, 301, 20):
        value, error = _intercept(x, scale * y)
        assert value == pytest.approx(scale * wanted, rel=1e-7, abs=scale * 1e-7), scale
        assert error == pytest.approx(scale * _intercept(x, y)[1]) and (error > 0)
    assert _intercept(x, np.zeros(10)) == (0, 0) and _intercept(np.ones(3), np.array([1.0, 2.0, 3.0]))[0] == 2


def one_ring(rng, n, least):
    """Features of made-up showers in a layer with one r bin beside one with several; `least` MeV in some of the former."""
    text = '<Bins><Bin name="a"><Layer id="0" r_edges="0,5,10,20" n_bin_alpha="4"/>'
    path = Path("ring.xml")
    path.write_text(text + '<Layer id="1" r_edges="0,400" n_bin_alpha="1"/></Bin></Bins>')
    geometry = load_geometry(path)
    showers = rng.exponential(1, (n, 13)) * (rng.random((n, 13)) < 0.5)
    if least is not None:
        showers[::20, 12] = least
    return showers, compute(showers, np.full(n, 1e3), geometry, 0.0, 0)


@pytest.mark.parametrize("least", [None, 0.0, 1e-6, 1e-9, 1e-14])
def test_widths_of_one_ring_are_zero_and_move_no_distance(least, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng, energies = np.random.default_rng(0), np.full(600, 1e3)
    (_, a), (_, b) = one_ring(rng, 600, None), one_ring(rng, 600, least)
    assert (a["width_r"][:, 1] == 0).all() and (b["width_r"][:, 1] == 0).all() and (a["width_r"][:, 0] > 0).any()
    value, _ = frechet_physics_distance(
        features_high(a, energies), features_high(b, energies), min_samples=200, max_samples=600
    )
    assert value < 0.2


def test_widths_of_one_hit_are_zero_and_tiny_energies_have_true_widths():
    geometry = load_geometry("calochallenge2")
    showers = np.diag(10.0 ** np.linspace(-14, 5, geometry.n_voxels))[::7]
    out = compute(showers, np.full(len(showers), 1e3), geometry, 0.0, 0)
    for name in ("width_r", "width_eta", "width_phi", "depth_width"):
        if name in out:
            assert (out[name] == 0).all(), name
    pair = np.zeros((5, geometry.n_voxels))
    pair[:, :2] = 10.0 ** np.array([-14, -9, -3, 3, 30])[:, None]
    width = compute(pair, np.full(5, 1e3), geometry, 0.0, 0)["width_r"][:, 0]
    assert width == pytest.approx(np.full(5, 4.65 / 2))


def test_physics_distances_reach_known_values():
    value, error = frechet_physics_distance(
        gaussian(40_000), gaussian(40_000, 1, shift=0.5), min_samples=5_000, max_samples=40_000, normalise=False
    )
    assert value == pytest.approx(1.0, abs=0.05) and 0 < error < 0.02
    one, two = np.full((50, 1), 1.0), np.full((50, 1), 2.0)
    few = {"num_batches": 3, "batch_size": 40}
    # kernels of constants: k(1, 1) = 2^4, k(2, 2) = 5^4, k(1, 2) = 3^4
    assert kernel_physics_distance(one, two, **few, normalise=False) == pytest.approx((16 + 625 - 2 * 81, 0))
    assert kernel_physics_distance(one, two, **few)[0] == pytest.approx(16 + 625 - 2 * 81)  # already in units of 1


def test_physics_distances_ignore_the_scale_of_features_and_are_deterministic():
    a, b = gaussian(400), gaussian(400, 1, shift=0.1)
    for distance, settings in (
        (frechet_physics_distance, {"min_samples": 100, "max_samples": 400}),
        (kernel_physics_distance, {"num_batches": 5, "batch_size": 200}),
    ):
        first = distance(a, b, **settings)
        assert first == distance(a, b, **settings)
        assert distance(a * [1, 10, 1e3, 1e-3], b * [1, 10, 1e3, 1e-3], **settings) == pytest.approx(first, rel=1e-6)
        assert distance(a, b, **settings, seed=1) != first


def test_a_distance_that_is_one_rare_feature_says_so():
    a, b, rng = gaussian(300), gaussian(300, 1), np.random.default_rng(0)
    rare = np.zeros((2, 300, 1))
    rare[0, 7], rare[1, 20] = 1e-3, 4.0  # one shower of each sample reaches the last layer
    plain = fpd(sample_of(a), sample_of(b), rng, FpdConfig())
    found = fpd(*(sample_of(np.concatenate(pair, axis=1)) for pair in zip((a, b), rare, strict=True)), rng, FpdConfig())
    assert found.value > 100 * plain.value and "one_feature" not in plain.extra
    assert "100% of it is one of" in found.extra["one_feature"]
    assert "not 0 in 1 of 300 showers" in found.extra["one_feature"]


@pytest.mark.parametrize(("metric", "config"), [(fpd, FpdConfig()), (kpd, KpdConfig())])
def test_small_samples_are_judged_and_say_so(metric, config):
    rng = np.random.default_rng(0)
    with_constant = np.concatenate([gaussian(300), np.zeros((300, 1)), np.ones((300, 1))], axis=1)
    small = metric(sample_of(with_constant[:150]), sample_of(with_constant[150:]), rng, config)
    assert small.n == 150 and "150 showers" in small.extra["note"] and small.floor is not None
    assert abs(small.value - small.floor) < 6 * np.hypot(small.error, small.extra["floor_error"]) + small.floor
    tiny = metric(sample_of(gaussian(40)), sample_of(gaussian(35, 1)), rng, config)
    assert np.isfinite(tiny.value) and tiny.floor is None
    assert tiny.extra["times_1000"][0] == pytest.approx(1e3 * tiny.value)
    with pytest.raises(MetricUnavailable, match="30 showers"):
        metric(sample_of(gaussian(10)), sample_of(gaussian(100)), rng, config)
    with pytest.raises(MetricUnavailable, match="do not match"):
        metric(sample_of(gaussian(100)), sample_of(gaussian(100, dim=3)), rng, config)
    with pytest.raises(MetricUnavailable, match="not finite"):
        metric(sample_of(gaussian(100)), sample_of(gaussian(100) * np.nan), rng, config)


@pytest.mark.parametrize(("metric", "config"), [(fpd, FpdConfig()), (kpd, KpdConfig())])
def test_a_feature_of_one_shower_does_not_spoil_the_floor(metric, config):
    features = gaussian(600)
    features[:, 3] *= 1e-9  # rounding; only one shower of each sample has a width in this layer
    features[[7, 400], 3] = 3.0
    found = metric(sample_of(features[:300]), sample_of(features[300:]), np.random.default_rng(0), config)
    assert abs(found.floor) < 1 and abs(found.value) < 1


def test_batches_are_never_larger_than_the_sample():
    config = FpdConfig()
    assert batch_range(100_000, config) == (10_000, 50_000)
    assert batch_range(40_000, config) == (10_000, 40_000)
    assert batch_range(6_000, config) == (2_000, 6_000)


def test_precision_recall_density_coverage_by_hand():
    line = np.arange(4.0)[:, None]  # with k = 1 every ball has radius 1
    assert precision_recall_density_coverage(line, line + 0.5, 1) == {
        "precision": 1.0, "recall": 1.0, "density": 7 / 4, "coverage": 1.0,
    }  # fmt: skip
    far = np.array([[0.5], [100.0], [101.5], [103.0]])
    found = precision_recall_density_coverage(line, far, 1)
    assert found == {"precision": 0.25, "recall": 1.0, "density": 0.5, "coverage": 0.5}
    # strictly inside: a point on the border, or equal showers whose ball is empty, do not count
    assert precision_recall_density_coverage(line, line + 4, 1)["precision"] == 0
    same = np.full((7, 300), 0.1, dtype=np.float32)
    assert precision_recall_density_coverage(same, same, 5) == dict.fromkeys(found, 0.0)
    for bad in (line[:1], np.zeros((4, 2))):
        with pytest.raises(MetricUnavailable):
            precision_recall_density_coverage(line, bad, 1)


def test_neighbours_are_those_of_a_plain_computation():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(700, 9)).astype(np.float32), rng.normal(0.3, 1, (650, 9)).astype(np.float32)
    k, distance = 3, lambda x, y: np.linalg.norm(x[:, None].astype(np.float64) - y, axis=2)
    of_a, of_b = (np.sort(distance(x, x), axis=1)[:, k] for x in (a, b))
    cross = distance(a, b)
    wanted = {
        "precision": (cross < of_a[:, None]).any(axis=0).mean(),
        "recall": (cross < of_b).any(axis=1).mean(),
        "density": (cross < of_a[:, None]).sum(axis=0).mean() / k,
        "coverage": (cross.min(axis=1) < of_a).mean(),
    }
    assert precision_recall_density_coverage(a, b, k) == pytest.approx(wanted, abs=1e-12)


def test_expected_precision_is_that_of_each_point_in_balls_drawn_without_it():
    points, k = np.random.default_rng(3).normal(0, 1, (60, 3)), 4
    points[7] = points[3]  # copies are at distance 0
    inside = np.zeros((60, 60), dtype=bool)
    for i in range(60):
        others = np.delete(points, i, axis=0)
        between = np.sqrt(((others[:, None] - others[None]) ** 2).sum(axis=2))
        radii = np.sort(between, axis=1)[:, k]
        inside[i, :59] = np.sqrt(((others - points[i]) ** 2).sum(axis=1)) < radii
    found = expected_of_same_distribution(points, k)
    assert found["precision"] == found["recall"] == pytest.approx(inside.any(axis=1).mean(), abs=1e-12)
    assert found["density"] == pytest.approx(inside.sum() / 60 / k, abs=1e-12) and 0.99 < found["density"] <= 1


def test_scores_of_independent_samples_average_to_the_expected_ones():
    rng, pairs, n = np.random.default_rng(4), 60, 100
    draw = [rng.exponential(1, (2, n, 6)) for _ in range(pairs)]
    measured = np.array([list(precision_recall_density_coverage(*d).values()) for d in draw])
    expected = np.mean([list(expected_of_same_distribution(d[0]).values()) for d in draw], axis=0)
    error = measured.std(axis=0, ddof=1) / np.sqrt(pairs)
    assert (np.abs(measured.mean(axis=0) - expected) < 4 * error).all(), (measured.mean(axis=0), expected, error)
    assert (error < 0.02).all()
    same = expected_of_same_distribution(np.zeros((20, 2)))
    assert same == {"precision": 0.0, "recall": 0.0, "density": 0.0, "coverage": 0.0}  # balls of copies are empty
    with pytest.raises(MetricUnavailable, match="k = 5 needs more showers, found 4"):
        expected_of_same_distribution(np.zeros((4, 2)))


def test_prdc_reads_only_the_showers_it_needs_and_has_errors_and_floors():
    showers = np.random.default_rng(0).exponential(1, (900, 12)).astype(np.float32)
    asked = []

    def some(rows):
        assert (np.diff(rows) > 0).all()
        asked.append(len(rows))
        return showers[rows]

    a, b = (sample_of(showers, some_showers=some) for _ in range(2))
    found = {m.name: m for m in prdc(a, b, np.random.default_rng(0), PrdcConfig(max_showers=400))}
    assert all(m.extra["target"] == m.floor for m in found.values())
    assert max(asked) == 400 and set(found) == {f"prdc/{k}" for k in ("precision", "recall", "density", "coverage")}
    for m in found.values():
        assert m.n == 400 and 0 < m.error < 0.1
        assert abs(m.value - m.floor) < 8 * m.error, m
    assert prdc(a, b, np.random.default_rng(0), PrdcConfig())[0].n == 900
    assert shower_logarithms(np.float32([[0, 0.1, 10]])) == pytest.approx(np.array([[0, 0, 2]]), abs=1e-6)
    with pytest.raises(MetricUnavailable, match="k = 5"):
        prdc(sample_of(showers[:4]), b, np.random.default_rng(0), PrdcConfig())


def challenge_sample(n, seed, shift=0.0, blocks=50):
    values = np.random.default_rng(seed).normal(shift, 1, (2, n))
    values[1] = values[0] + 0.1 * values[1]  # two layers that belong together
    edges, out = np.linspace(-4, 4, 41), {}
    for name, x in (("E_ratio", values[0]), ("E_layer/0", values[0]), ("E_layer/12", values[1])):
        parts = np.stack([np.histogram(x[i::blocks], edges)[0] for i in range(blocks)])
        out[name] = BinnedCounts(edges, parts.sum(axis=0), n, parts)
    empty = np.zeros((blocks, 40), dtype=int)
    out["EC_r/0"] = BinnedCounts(edges, empty[0], n, empty)
    return Sample(n, 1.0, {}, {"challenge_histograms": lambda: out})


def test_challenge_separation_has_means_floors_and_errors_that_know_correlations():
    config, rng = ChallengeSeparationConfig(), np.random.default_rng(0)
    runs = [
        {m.name.split("/", 1)[1]: m for m in challenge_separation(
            challenge_sample(4000, 2 * i), challenge_sample(4000, 2 * i + 1, 0.2), rng, config)}
        for i in range(20)
    ]  # fmt: skip
    halves = [
        challenge_separation(challenge_sample(4000, 90 + i), challenge_sample(4000, 190 + i), rng, config)
        for i in range(20)
    ]
    for name in ("E_ratio", "E_layer/12", "mean_layers/E_layer"):
        values, errors = ([getattr(r[name], k) for r in runs] for k in ("value", "error"))
        assert np.mean(errors) == pytest.approx(np.std(values, ddof=1), rel=0.5), name
        at_floor = [next(m for m in found if m.name.endswith(name)) for found in halves]
        floor = np.mean([m.floor for m in at_floor])
        assert np.mean([m.value for m in at_floor]) == pytest.approx(floor, rel=0.2), name
        assert floor == pytest.approx(37 / 4 * 2 / 4000, rel=0.2), name
    mean = runs[0]["mean_layers/E_layer"]
    assert mean.value == pytest.approx((runs[0]["E_layer/0"].value + runs[0]["E_layer/12"].value) / 2)
    assert mean.error > 0.9 * min(runs[0][f"E_layer/{i}"].error for i in (0, 12))  # the layers are nearly the same
    assert "no entries" in runs[0]["EC_r/0"].missing and runs[0]["mean_layers/EC_r"].missing


def test_deliberate_differences_from_the_challenge():
    """docs/metrics.md lists them."""
    geometry = load_geometry("calochallenge2")
    showers = np.zeros((1, geometry.n_voxels), dtype=np.float32)
    showers[0, 0] = geometry.threshold_MeV  # float32: a voxel at the readout is kept, whatever rounding did
    assert compute(showers, [1e3], geometry)["E_tot"] == showers[0, 0]
    assert compute(showers * np.float32(0.9999), [1e3], geometry)["E_tot"] == 0
    # voxels are divided by E_inc; the challenge's script also multiplies by 100
    assert features_low(showers, np.array([1e3]))[0, 1] * 100 == features_low(showers, np.array([1e3]), scale=100)[0, 1]
    # a layer that the reference never fills gets bins, which stay empty, in place of an error
    counts, _ = challenge_histograms(showers, np.array([1e3]), geometry, geometry.threshold_MeV)
    assert counts["E_layer/7"].sum() == 0 and counts["sparsity/7"].sum() == 1
