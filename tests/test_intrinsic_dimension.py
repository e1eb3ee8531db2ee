"""Intrinsic dimension: known manifolds, duplicates and empty showers, preprocessing, latent size."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from calopipe.config.base import validate
from calopipe.errors import ConfigError, MetricUnavailable
from calopipe.metrics.base import Sample
from calopipe.metrics.intrinsic_dimension import (
    IntrinsicDimensionConfig,
    distinct,
    intrinsic_dimension,
    levina_bickel,
    preprocessed,
)
from calopipe.preprocessing.base import Layout, build_chain

LAYERS = {0: slice(0, 12), 3: slice(12, 20)}
CONFIG = IntrinsicDimensionConfig(neighbours=[8, 12], showers=600, subsamples=3)


def sample(showers, latent=None):
    energies = np.full(len(showers), 1e3)
    loaders = {"showers": lambda: showers, "incident_energies": lambda: energies}
    loaders["observables"] = lambda: {"E_tot": showers.sum(axis=1)}
    return Sample(len(showers), 0.0, LAYERS, loaders, latent)


def manifold(n, dimension, seed=0):
    """Showers of 20 voxels on a linear manifold: positive mixtures of `dimension` patterns."""
    patterns = np.random.default_rng(99).uniform(0.2, 1, (dimension, 20))
    return (np.random.default_rng(seed).uniform(size=(n, dimension)) @ patterns).astype(np.float32)


def measure(reference, generated, config=CONFIG, latent=None):
    found = intrinsic_dimension(sample(reference), sample(generated, latent), np.random.default_rng(0), config)
    return {m.name.split("/")[1]: m for m in found}


def test_estimate_is_the_published_formula():
    points = np.random.default_rng(0).normal(size=(60, 4))
    distances = np.sort(np.linalg.norm(points[:, None] - points[None], axis=2), axis=1)[:, 1:]
    for k, found in zip((5, 9), levina_bickel(points, [5, 9]), strict=True):
        logs = np.log(distances[:, k - 1 : k] / distances[:, : k - 1])
        assert found == pytest.approx(1 / (logs.sum() / (60 * (k - 1))))
    with pytest.raises(MetricUnavailable, match="coincide"):
        levina_bickel(np.concatenate([points, points[:1]]), [5])
    with pytest.raises(MetricUnavailable, match="more points"):
        levina_bickel(points[:5], [5])


@pytest.mark.parametrize("dimension", [2, 4])
def test_dimension_of_a_linear_manifold_is_found(dimension):
    found = measure(manifold(3000, dimension), manifold(3000, dimension, 1))
    raw = found["raw"]
    assert raw.value == pytest.approx(dimension, rel=0.2)  # points at edges have fewer neighbours: biased low
    assert raw.value == pytest.approx(raw.floor, abs=4 * raw.error) and raw.floor == raw.extra["target"]
    assert raw.error > 0 and raw.n == 1800 and set(found) == {"raw", "preprocessed", "log"}
    # all of them are maps of the same manifold
    assert found["preprocessed"].value == pytest.approx(dimension, rel=0.25)
    assert found["log"].value == pytest.approx(dimension, rel=0.25)


def test_dimension_tells_manifolds_apart_and_names_the_latent_size():
    found = measure(manifold(2000, 6), manifold(2000, 2, 1), latent=2)["raw"]
    assert found.value < 0.6 * found.floor and found.extra["latent_size"] == 2
    assert measure(manifold(2000, 2), manifold(2000, 2, 1))["raw"].extra["latent_size"] is None


def test_duplicates_and_empty_showers_are_left_out_and_counted():
    clean, rng = manifold(1800, 3), np.random.default_rng(5)
    soiled = np.concatenate([clean[:1400], clean[:400], np.zeros((150, 20), dtype=np.float32)])
    found = measure(manifold(1800, 3, 1), soiled[rng.permutation(len(soiled))])["raw"]
    assert found.extra["removed_generated"] == {"empty": 150, "duplicates": 400, "of_filled": 1800}
    assert found.extra["removed_reference"] == {"empty": 0, "duplicates": 0, "of_filled": 1800}
    assert found.extra["showers_per_subsample"] == 466  # the same for both samples
    assert found.value == pytest.approx(3, rel=0.15)
    np.testing.assert_array_equal(distinct(np.array([[1, 2], [3, 4], [1, 2], [0, 0]])), [0, 1, 3])


def test_a_collapsed_generator_has_no_dimension():
    with pytest.raises(MetricUnavailable, match="more distinct showers than 2 .*'duplicates': 598"):
        measure(manifold(1000, 3), np.repeat(manifold(2, 3), 500, axis=0))
    with pytest.raises(MetricUnavailable, match="1000"):
        measure(manifold(1000, 3), np.zeros((1000, 20), dtype=np.float32))


def test_preprocessing_is_that_of_the_networks():
    showers = manifold(50, 4)
    showers[0, :12] = 0  # an empty layer
    incident = np.linspace(100, 1000, 50)
    chain = build_chain([{"step": "layer_normalise"}], Layout(((3, 4), (2, 4)), 0.0), 20, 1)
    expected = chain(torch.from_numpy(showers).double(), torch.from_numpy(incident[:, None]))[0]
    np.testing.assert_allclose(preprocessed(showers, incident, LAYERS), expected.numpy(), rtol=1e-6, atol=1e-12)


def test_mistakes_in_settings_are_named():
    for settings, expected in (
        ({"neighbours": [2]}, "greater than or equal to 3"),
        ({"data": ["u"]}, "'u'"),
        ({"showers": 3}, "10"),
    ):
        with pytest.raises(ConfigError, match=expected):
            validate(IntrinsicDimensionConfig, settings, "intrinsic_dimension")
