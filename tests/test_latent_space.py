"""Latent distributions of a run: by hand, on disk, of networks that are known, and as figures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from calopipe.config.links import Link
from calopipe.config.networks import NetworkSettings
from calopipe.evaluation.latent_space import measure_latent_space
from calopipe.geometry import Geometry, Layer
from calopipe.io import Showers, write_showers
from calopipe.plots.latents import latent_figure
from calopipe.plots.style import model_styles
from calopipe.records.latent_space import EDGES, Filling, load_space, save_space
from calopipe.training.checkpoint import build_network, save_network
from calopipe.training.facts import DataFacts

GEOMETRY = Geometry("six", "cartesian", (Layer(0, (0, 1, 2, 3), (0, 1, 2)),), threshold_MeV=0.01)


def test_histograms_count_each_column_and_moments_take_what_is_outside():
    filling = Filling("noise")
    filling.add(np.array([[0.01, 7.0], [0.02, -6.0]], dtype="f4"))
    filling.add(np.array([[-4.99, 0.0]], dtype="f4"))
    found = filling.marginals()
    assert found.n == 3 and found.counts.sum(1).tolist() == [3, 1]
    assert found.counts[0, 0] == 1 and found.counts[0, np.searchsorted(EDGES["noise"], 0.01) - 1] == 2
    np.testing.assert_allclose(found.mean, [(0.03 - 4.99) / 3, 1 / 3], rtol=1e-6)
    np.testing.assert_allclose(found.deviation[1], np.std([7, -6, 0]), rtol=1e-6)


def test_what_is_written_is_read(tmp_path: Path):
    filling = Filling("log_variances")
    filling.add(np.random.default_rng(0).normal(-3, 1, size=(100, 4)).astype("f4"))
    save_space(tmp_path / "a.npz", {("auto/encoder", "log_variances"): filling.marginals()})
    ((key, found),) = load_space(tmp_path / "a.npz").items()
    assert key == ("auto/encoder", "log_variances") and found.n == 100
    np.testing.assert_array_equal(found.counts, filling.marginals().counts)


@pytest.fixture
def run(tmp_path: Path) -> tuple[list[Path], Path]:
    """Checkpoints of an autoencoder and a flow of its latents, with random weights, and showers."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    showers = rng.exponential(5, (400, 6)).astype("f4")
    energies = (rng.uniform(1.5, 3, (400, 1)) * showers.sum(1, keepdims=True)).astype("f4")
    write_showers(tmp_path / "test.hdf5", Showers(energies, showers), GEOMETRY)
    data, cond = DataFacts.of(GEOMETRY, None), torch.from_numpy(energies)
    first = NetworkSettings(
        preprocessing=[{"step": "layer_normalise", "extras": "condition"}, {"step": "log_condition"}],
        model={"name": "bernoulli_vae", "hidden": [8], "latent": 2},
    )
    vae = build_network(Link("vae", "showers", contract="Autoencoder"), first, data, dim=6, seed=0, n_train=1)
    x, c, _ = vae.chain(torch.from_numpy(showers), cond)
    vae.model.fit_input(x, c)
    second = NetworkSettings(
        preprocessing=[{"step": "standardise"}, {"step": "log_condition"}], model={"name": "inn", "blocks": 2, "hidden": [4]},
        latents="mu_sigma",
    )  # fmt: skip
    flow = build_network(Link("flow", "vae"), second, data, dim=5, seed=0, n_train=1, latent_dim=2)
    mu, logvar = vae.eval().model.encode(x, c)
    latents = torch.cat([mu, logvar, c[:, 1:]], dim=1).detach()
    flow.chain.fit(latents, cond)
    flow.upstream = {"vae": vae.digest()}
    for name, network in (("vae", vae), ("flow", flow)):
        (tmp_path / name).mkdir()
        save_network(tmp_path / name / "model.pt", network, [])
    return [tmp_path / name / "model.pt" for name in ("vae", "flow")], tmp_path / "test.hdf5"


def test_every_network_with_latents_has_its_own(run, tmp_path: Path):
    measure_latent_space(*run, tmp_path / "space.npz", seed=1)
    measure_latent_space(*run, tmp_path / "again.npz", seed=1)
    found, again = load_space(tmp_path / "space.npz"), load_space(tmp_path / "again.npz")
    kinds = {("vae", kind): 2 for kind in ("means", "log_variances", "latents")} | {("flow", "noise"): 5}
    assert {key: len(marginals.counts) for key, marginals in found.items()} == kinds
    assert all((found[key].counts == again[key].counts).all() and found[key].n == 400 for key in kinds)
    spread = found["vae", "means"].deviation ** 2 + np.exp(found["vae", "log_variances"].mean)
    np.testing.assert_allclose(found["vae", "latents"].deviation ** 2, spread, rtol=0.25)
    np.testing.assert_allclose(found["flow", "noise"].mean, 0, atol=0.01)  # the flow is untrained: standardised latents
    np.testing.assert_allclose(found["flow", "noise"].deviation, 1, atol=0.01)


def test_figures(run, tmp_path: Path):
    measure_latent_space(*run, tmp_path / "space.npz", seed=1)
    found = load_space(tmp_path / "space.npz")
    style = model_styles(["vae_inn"])["vae_inn"]
    encoder = latent_figure({kind: m for (name, kind), m in found.items() if name == "vae"}, style, "vae")
    flow = latent_figure({"noise": found["flow", "noise"]}, style, "flow")
    assert len(encoder.axes) == 4 and len(flow.axes) == 2
    assert [line.get_label() for line in flow.axes[0].lines] == ["standard normal"]
    assert len(flow.axes[1].lines[0].get_xdata()) == 5
