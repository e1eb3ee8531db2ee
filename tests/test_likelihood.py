"""The density of showers by a flow: integrated numerically, compared with autograd, and used to find what is odd."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from calopipe.cli import main
from calopipe.config.links import Link
from calopipe.config.networks import NetworkSettings
from calopipe.errors import DataError
from calopipe.geometry import Geometry, Layer
from calopipe.io import Showers, write_showers
from calopipe.preprocessing import Layout, build_chain
from calopipe.sampling.generator import Generator
from calopipe.sampling.likelihood import Typical, log_prob
from calopipe.training.checkpoint import Network, build_network, save_network
from calopipe.training.facts import DataFacts

TWO = Geometry("two", "cartesian", (Layer(0, (0, 1, 2), (0, 1)),), threshold_MeV=0.5)
FILLED = [
    {"step": "fill_empty", "gap": 0.3, "decades": 0.4},
    {"step": "log", "alpha": 1e-9},
    "standardise",
    "log_condition",
]
CENSORED = ["censored", "standardise", "log_condition"]
SHARES = [{"step": "fill_empty", "gap": 0.3, "decades": 0.4}, {"step": "layer_normalise", "ratio_scale": 0.9}, {"step": "logit", "alpha": 1e-3}, "standardise",
          "log_condition"]  # fmt: skip


def flow(steps: list, model: dict | None = None, contract: str = "GenerativeModel") -> Network:
    """A flow of showers of two voxels with random weights, fitted to some."""
    torch.manual_seed(3)
    settings = NetworkSettings(
        preprocessing=[{"step": s} if isinstance(s, str) else s for s in steps],
        model=model or {"name": "inn", "blocks": 4, "hidden": [16], "masks": "random"},
    )
    network = build_network(
        Link("flow", "showers", contract=contract), settings, DataFacts.of(TWO, None), dim=2, seed=0, n_train=1
    )
    x, cond = showers(500)
    network.chain.fit(x, cond)
    for parameter in network.model.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    return network.eval()


def showers(n: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = 0.5 * (2 * torch.randn(n, 2, generator=generator)).exp()
    cond = 100 + 100 * torch.rand(n, 1, generator=generator)
    return torch.where(x < 0.5, torch.zeros_like(x), x).clamp(max=40), cond


def generator_of(network: Network) -> Generator:
    from calopipe.config.links import chain_of

    return Generator({"flow": network}, chain_of([network.link]), torch.device("cpu"))


@pytest.mark.parametrize("steps", [FILLED, CENSORED], ids=["filled", "censored"])
def test_probabilities_of_hit_patterns_times_densities_of_energies_add_up_to_one(steps):
    generator = generator_of(flow(steps))
    energies = np.geomspace(0.5, 5e5, 161)
    middle, width = np.sqrt(energies[1:] * energies[:-1]), np.diff(energies)
    a, b = np.meshgrid(middle, middle, indexing="ij")
    patterns = {
        "none": (np.zeros((1, 2)), np.ones(1)),
        "first": (np.column_stack([middle, 0 * middle]), width),
        "second": (np.column_stack([0 * middle, middle]), width),
        "both": (np.column_stack([a.ravel(), b.ravel()]), np.outer(width, width).ravel()),
    }
    torch.manual_seed(0)
    found = {}
    for name, (x, volume) in patterns.items():
        draws = 4000 if name == "none" else 400 if name != "both" else 1
        log_p = log_prob(generator, x.astype(np.float32), np.full((len(x), 1), 150, np.float32), draws, batch=30_000)
        found[name] = float(np.sum(np.exp(log_p) * volume))
    assert sum(found.values()) == pytest.approx(1, abs=0.03), found
    torch.manual_seed(0)
    drawn = generator.sample(np.full(20_000, 150.0))
    shares = {"none": (drawn == 0).all(1).mean(), "both": (drawn > 0).all(1).mean()}
    assert all(found[name] == pytest.approx(share, abs=0.03) for name, share in shares.items()), (found, shares)


@pytest.mark.parametrize("kept", ["fractions", "energies"])
def test_volume_of_normalised_layers_agrees_with_autograd(kept):
    layout = Layout(((2, 3), (2, 2), (1, 3)), 0.01)
    settings = {"step": "layer_normalise", "ratio_scale": 0.45, "extras_scale": 0.9, "voxels": kept}
    settings |= {"scale": 0.9} if kept == "fractions" else {}
    low = 0.0 if kept == "fractions" else float(np.float32(0.01))
    step = build_chain([settings], layout, 13, 1).double().steps[0]
    generator = torch.Generator().manual_seed(0)
    x = 1 + torch.rand(5, 13, generator=generator, dtype=torch.float64)
    cond = 100 + torch.rand(5, 1, generator=generator, dtype=torch.float64)
    owner = torch.repeat_interleave(torch.arange(3), torch.tensor(layout.layer_sizes))

    def mapped(both: torch.Tensor, i: int) -> torch.Tensor:
        out = step(both[None, :13], cond[i : i + 1])[0][0]
        return torch.cat([low + (out[:13] - low) * both[13:][owner], out[13:]])

    expected = [
        torch.autograd.functional.jacobian(lambda v, i=i: mapped(v, i), torch.cat([x[i], torch.ones(3)])).slogdet()[1]
        for i in range(5)
    ]
    torch.testing.assert_close(
        step.volume_of(x, cond, *step(x, cond)[::2]), torch.stack(expected), rtol=1e-8, atol=1e-8
    )


def test_the_logarithm_of_the_density_has_the_jacobian_of_all_steps():
    """By hand: one draw, so that the filled energies are known."""
    network = flow(SHARES)
    x, cond = showers(50)
    torch.manual_seed(1)
    y, c, logdet = network.chain(x, cond)
    expected = network.model.log_prob(y, c).double() + logdet
    torch.manual_seed(1)
    found = log_prob(generator_of(network), x.numpy(), cond.numpy())
    torch.manual_seed(1)
    filled = network.chain.steps[0](x.double(), cond.double())[0]
    total = filled.sum(1)
    missing = -total.log() + math.log(0.9) - cond[:, 0].log()  # V - 1 shares of the layer, and du / dE
    g = ((0.5 / filled.clamp(max=0.5)).log10()[None] * torch.tensor([1.0, -1.0])[:, None, None] - 0.3) / 0.4
    density = (-0.5 * g.square()).exp().sum(0) / (math.sqrt(2 * math.pi) * 0.4 * math.log(10) * filled)
    missing -= (density.log() * (x < 0.5)).sum(1)
    torch.testing.assert_close(torch.from_numpy(found), expected.detach() + missing, rtol=1e-4, atol=1e-3)


def test_what_is_unlike_the_reference_is_odd_at_every_energy():
    rng = np.random.default_rng(0)
    energies = np.geomspace(1e3, 1e5, 4000).astype(np.float32)
    usual = -5 * np.log(energies) + rng.normal(size=4000)  # larger showers are less likely, and not odd
    typical = Typical.of(energies, usual)
    odd = typical.oddness(energies, usual - 3)
    assert abs(np.median(typical.oddness(energies, usual))) < 0.1 and np.median(odd) == pytest.approx(3, abs=0.3)
    assert np.median(odd[:500]) == pytest.approx(np.median(odd[-500:]), abs=0.5)
    with pytest.raises(DataError, match="at least 20 reference showers, found 3"):
        Typical.of(energies[:3], usual[:3])


def test_generators_without_a_density_are_named(tmp_path):
    critic = {"name": "gan", "generator": [8], "critic": [8]}
    with pytest.raises(DataError, match=r"one network that has a likelihood, found flow \(gan\)"):
        log_prob(generator_of(flow(["log_condition"], critic)), *(t.numpy() for t in showers(3)))
    hits = [{"step": "layer_normalise", "hits": True, "fill_layers": True}, "log_condition"]
    with pytest.raises(DataError, match="layer_normalise with hits: the density of a shower is not known"):
        log_prob(generator_of(flow(hits)), *(t.numpy() for t in showers(3)))


def test_command(tmp_path: Path, capsys):
    network = flow(SHARES)
    save_network(tmp_path / "model.pt", network, [])
    for name, seed in (("known", 1), ("same", 2)):
        x, cond = showers(600, seed)
        write_showers(tmp_path / f"{name}.hdf5", Showers(cond.numpy(), x.numpy()), TWO)
    x = x.flip(1)
    x[:, 0] *= 20
    write_showers(tmp_path / "other.hdf5", Showers(cond.numpy(), x.numpy()), TWO)
    shares = {}
    for name in ("same", "other"):
        files = [
            str(tmp_path / "model.pt"),
            str(tmp_path / f"{name}.hdf5"),
            "--reference",
            str(tmp_path / "known.hdf5"),
        ]
        assert main(["likelihood", *files, "--draws", "4", "--out", str(tmp_path / f"{name}.csv")]) == 0
        shares[name] = float(capsys.readouterr().out.rsplit(" ", 1)[1])
    assert shares["same"] == pytest.approx(0.5, abs=0.05) and shares["other"] > 0.6
    with (tmp_path / "same.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 600 and list(rows[0]) == ["row", "incident_energy_MeV", "log_p", "oddness"]
    assert main(["likelihood", str(tmp_path / "model.pt"), str(tmp_path / "missing.hdf5")]) == 1
