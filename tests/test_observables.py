"""Observables: hand-computable cases, published values, independence of chunks."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from calopipe.config.evaluation import HistogramConfig
from calopipe.errors import DataError
from calopipe.geometry import load_geometry
from calopipe.observables import (
    SPECS,
    bin_edges,
    central_rows,
    columns,
    compute,
    layer_pairs,
    log_edges,
    ratio_edges,
    row_moments,
    voxel_spectrum,
)


@pytest.fixture(scope="module")
def calogan():
    return load_geometry("calogan")


def one_voxel(geometry, layer, i, j, energy=10.0):
    shower = np.zeros((1, geometry.n_voxels), dtype=np.float32)
    shower[0, geometry.layer_slices[layer].start + i * geometry.layer_shape(layer)[1] + j] = energy
    return shower


def random_showers(geometry, n=700, seed=0):
    rng = np.random.default_rng(seed)
    showers = rng.exponential(5, (n, geometry.n_voxels)) * (rng.random((n, geometry.n_voxels)) < 0.2)
    return showers.astype(np.float32), rng.uniform(1e3, 2e4, n)


def test_one_voxel_has_its_centre_as_centroid_and_no_width(calogan):
    shower = one_voxel(calogan, 1, 3, 7)
    out = compute(shower, np.array([20.0]), calogan)
    voxel = int(np.argmax(shower))
    assert out["E_tot"][0] == 10 and out["E_ratio"][0] == 0.5 and out["layer_ratio"][0, 1] == 0.5
    assert out["EC_eta"][0, 1] == pytest.approx(calogan.eta[voxel])
    assert out["EC_phi"][0, 1] == pytest.approx(calogan.phi[voxel])
    assert out["width_eta"][0, 1] == pytest.approx(0, abs=1e-5)
    assert out["activity"][0].tolist() == pytest.approx([0, 1 / 144, 0])
    assert out["sparsity"][0] == pytest.approx(1 - out["activity"][0])
    assert out["brightest"][0, 1].tolist() == [10, 0, 0] and out["brightest_fraction"][0, 1, 0] == 1
    assert out["layer_fraction"][0].tolist() == [0, 1, 0] and out["layer_quotient"][0].tolist() == [0, 0, 0]
    assert out["EC_eta_difference"][0, 0] == pytest.approx(-calogan.eta[voxel])
    assert out["depth"][0] == pytest.approx(calogan.z[1])


def test_two_voxels_have_half_their_distance_as_width(calogan):
    shower = one_voxel(calogan, 2, 2, 1, 4.0) + one_voxel(calogan, 2, 6, 1, 4.0) + one_voxel(calogan, 0, 1, 40, 2.0)
    out = compute(shower, np.array([100.0]), calogan, threshold_MeV=0.0)
    a, b = np.flatnonzero(shower[0])[1:]
    distance = np.hypot(calogan.eta[a] - calogan.eta[b], calogan.phi[a] - calogan.phi[b])
    assert np.hypot(out["width_eta"][0, 2], out["width_phi"][0, 2]) == pytest.approx(distance / 2)
    assert out["layer_quotient"][0].tolist() == [0, 0.25, 0]  # layers 0/1 (empty), 0/2, 1/2
    assert out["brightest"][0, 2].tolist() == [4, 4, 0]


def test_threshold_is_inclusive_and_applies_to_everything(calogan):
    shower = one_voxel(calogan, 0, 0, 0, 0.01) + one_voxel(calogan, 0, 0, 1, 0.00999)
    out = compute(shower, np.array([1.0]), calogan, threshold_MeV=0.01)
    assert out["E_tot"][0] == pytest.approx(0.01) and out["activity"][0, 0] == pytest.approx(1 / 288)
    assert compute(shower, np.array([1.0]), calogan, threshold_MeV=0.0)["activity"][0, 0] == pytest.approx(2 / 288)


def test_cylindrical_radius_and_shapes():
    geometry = load_geometry("calochallenge1_photons")
    showers, incident = random_showers(geometry, 20)
    out = compute(showers, incident, geometry, brightest=2)
    part = showers[:, geometry.layer_slices[4]].astype(np.float64) * (showers[:, geometry.layer_slices[4]] >= 1)
    expected = part @ geometry.r[geometry.layer_slices[4]] / (part.sum(axis=1) + 1e-16)
    assert out["EC_r"][:, 4] == pytest.approx(expected)
    shapes = {"E_tot": (20,), "E_layer": (20, 5), "EC_eta": (20, 2), "width_r": (20, 5), "brightest": (20, 5, 2)}
    assert {k: out[k].shape for k in shapes} == shapes
    for column in columns(geometry, out, 2):
        assert out[column.name].reshape(20, -1)[:, column.index].shape == (20,), column
        assert "{" not in column.label.replace("{", "", column.label.count("}")), column.label
    assert {c.name for c in columns(geometry, out, 2)} == set(out) - {"sparsity"}
    assert set(out) - {"sparsity"} <= set(SPECS)


@pytest.mark.parametrize("name", ["calochallenge2", "calochallenge1_photons", "calogan"])
def test_centres_of_all_layers_are_means_over_their_voxels(name):
    geometry = load_geometry(name)
    showers, incident = random_showers(geometry, 5)
    showers[0] = 0
    out = compute(showers, incident, geometry)
    kept = np.where(showers >= geometry.threshold_MeV, showers, 0).astype(np.float64)
    resolved = np.isin(geometry.layer_index, geometry.alpha_layers)
    for axis, among in (("eta", resolved), ("phi", resolved), ("r", np.ones_like(resolved))):
        if axis == "r" and geometry.kind != "cylindrical":
            assert "centre_r" not in out
            continue
        x = kept[:, among]
        expected = x @ getattr(geometry, axis)[among] / (x.sum(1) + 1e-16)
        assert out[f"centre_{axis}"] == pytest.approx(expected, rel=1e-9, abs=1e-9), axis
        assert out[f"centre_{axis}"][0] == 0 and expected[1] != 0


def test_cartesian_layers_have_no_radial_observables(calogan):
    out = compute(*random_showers(calogan, 3), calogan)
    assert "EC_r" not in out and len({c.key for c in columns(calogan, out, 3)}) == len(columns(calogan, out, 3))


def test_result_does_not_depend_on_chunks_or_precision(calogan):
    showers, incident = random_showers(calogan)
    whole = compute(showers, incident, calogan)
    pieces = [compute(showers[i : i + 97], incident[i : i + 97], calogan) for i in range(0, len(showers), 97)]
    double = compute(showers.astype(np.float64), incident, calogan)
    for name, values in whole.items():
        np.testing.assert_allclose(np.concatenate([p[name] for p in pieces]), values, rtol=1e-9, atol=1e-5)
        np.testing.assert_allclose(double[name], values, rtol=1e-9, atol=1e-5)
    np.testing.assert_array_equal(
        whole["brightest"], compute(showers, incident, calogan, brightest=9)["brightest"][..., :3]
    )


def test_bad_input_is_an_error(calogan):
    showers, incident = random_showers(calogan, 5)
    with pytest.raises(DataError, match="504 voxels"):
        compute(showers[:, :100], incident, calogan)
    with pytest.raises(DataError, match="5 showers, but 4"):
        compute(showers, incident[:4], calogan)
    with pytest.raises(DataError, match="positive"):
        compute(showers, incident * 0, calogan)
    showers[3, 77] = np.nan
    with pytest.raises(DataError, match="row 3"):
        compute(showers, incident, calogan)


def test_layer_pairs():
    assert [list(x) for x in layer_pairs(range(3))] == [[0, 0, 1], [1, 2, 2]]
    assert [list(x) for x in layer_pairs(range(6))] == [[0, 1, 2, 3, 4], [1, 2, 3, 4, 5]]
    assert [list(x) for x in layer_pairs([7])] == [[], []]


@pytest.mark.parametrize(
    ("name", "geometry"), [("ds1like_photons", "calochallenge1_photons"), ("ds2like_electrons", "calochallenge2")]
)
def test_published_feature_code_gives_the_same(shared, name, geometry):
    golden = np.load(shared / "reference" / "golden" / f"{name}_first1000.npz")
    n = int(golden["n"])
    with h5py.File(shared / "data" / f"{name}.hdf5") as file:
        showers, incident = file["showers"][:n], file["incident_energies"][:n]
    out = compute(showers, incident, load_geometry(geometry), float(golden["threshold_MeV"]))
    out["E_layers"] = out["E_layer"]
    checked = [k for k in golden if k in out]
    assert len(checked) == 9
    for key in checked:  # widths that are 0 up to rounding differ by less than 1e-5 mm
        np.testing.assert_allclose(out[key], golden[key], rtol=1e-5, atol=1e-5 if "width" in key else 0, err_msg=key)


def test_bins_follow_the_reference(calogan):
    showers, incident = random_showers(calogan)
    out, config = compute(showers, incident, calogan), HistogramConfig(bins=20, layer_ratio_bins=30)
    for column in columns(calogan, out, 3):
        values = out[column.name].reshape(len(showers), -1)[:, column.index]
        edges = bin_edges(column, values, config)
        assert (np.diff(edges) > 0).all() and np.isfinite(edges).all(), column
        assert len(edges) - 1 == (30 if column.name == "layer_ratio" else len(edges) - 1) and len(edges) <= 31
        inside = np.histogram(values, edges)[0].sum()
        if column.spec.range in ("extremes", "layer_ratio", "unit", "levels"):
            assert inside == len(values), column
        elif column.spec.range == "log":
            assert inside == (values > 0).sum(), column
        constant = bin_edges(column, np.zeros(5), config)
        assert (np.diff(constant) > 0).all(), column


def test_voxel_spectrum_is_numpys_histogram():
    rng = np.random.default_rng(1)
    showers = rng.lognormal(0, 3, (200, 300)).astype(np.float32) * (rng.random((200, 300)) < 0.5)
    edges = log_edges(0.01, float(showers.max()), 49)
    showers.ravel()[:50] = edges.astype(np.float32)
    expected = np.histogram(showers[showers >= np.float32(0.01)], edges)[0]
    np.testing.assert_array_equal(voxel_spectrum(showers, edges, 0.01), expected)
    assert voxel_spectrum(np.zeros((2, 3), dtype=np.float32), edges).sum() == 0


# ---- cross sections -----------------------------------------------------------------------------------------------
def test_rows_run_through_the_middle_of_cartesian_layers():
    geometry = load_geometry("calogan")
    rows = {(r.layer, r.axis): r for r in central_rows(geometry)}
    assert set(rows) == {(i, axis) for i in range(3) for axis in ("eta", "phi")}
    along = rows[0, "eta"]
    assert along.voxels.shape == (3, 96) and rows[0, "phi"].voxels.shape == (12, 3), "the middle 12 of 96"
    for r in rows.values():
        first, other = (geometry.eta, geometry.phi) if r.axis == "eta" else (geometry.phi, geometry.eta)
        np.testing.assert_allclose(first[r.voxels], np.broadcast_to((r.edges[:-1] + r.edges[1:]) / 2, r.voxels.shape))
        np.testing.assert_allclose(other[r.voxels], np.broadcast_to(r.offsets[:, None], r.voxels.shape))
        np.testing.assert_allclose(r.offsets.sum(), 0, atol=1e-9)
        assert (geometry.layer_index[r.voxels] == r.layer).all()


@pytest.mark.parametrize("name", ["calochallenge2", "calochallenge1_photons"])
def test_rows_of_cylinders_are_diameters(name):
    geometry = load_geometry(name)
    for rows in central_rows(geometry):
        layer = geometry.layer_shape(rows.layer)
        assert rows.axis == "r" and rows.voxels.shape[1] == len(rows.edges) - 1
        if layer[0] == 1:
            assert rows.voxels.shape == layer
            continue
        assert rows.voxels.shape[1] == 2 * layer[1] and (np.diff(rows.edges) > 0).all()
        signed = geometry.r[rows.voxels] * np.where(np.arange(2 * layer[1]) < layer[1], -1, 1)
        x = signed * np.cos(rows.offsets)[:, None]
        np.testing.assert_allclose(geometry.eta[rows.voxels], x, atol=1e-6)


def test_moments_of_rows():
    position, width = row_moments(
        np.array([[1.0, 0.0, 1.0], [0.0, 3.0, 0.0], [0.0, 0.0, 0.0]]), np.array([0.0, 2, 4, 6])
    )
    np.testing.assert_allclose(position, [3, 3, np.nan])
    np.testing.assert_allclose(width, [2, 0, np.nan])


def test_edges_at_one_energy_follow_the_reference():
    values = np.random.default_rng(0).normal(1.0, 0.1, 100_000)
    edges = ratio_edges(values, 20)
    assert len(edges) == 21 and 0.4 < edges[0] < 0.65 and 1.35 < edges[-1] < 1.6
    assert ratio_edges(np.full(5, 0.5), 10)[0] < 0.5 < ratio_edges(np.full(5, 0.5), 10)[-1]
