"""Bayesian INN: the prior by hand, noise of each row, the weight of the KL, draws that stay, means that are means."""

from __future__ import annotations

import copy
import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from calopipe import seeds
from calopipe.config import Generation, HistogramConfig, Model, Study, validate
from calopipe.config.links import Link
from calopipe.config.load import read_yaml
from calopipe.config.networks import NetworkSettings
from calopipe.config.parts import MODELS
from calopipe.errors import DataError
from calopipe.evaluation import Readout, evaluate_observables
from calopipe.evaluation.weight_spread import measure_weight_spread
from calopipe.evaluation.weights import coarser
from calopipe.geometry import load_geometry
from calopipe.io import ShowerWriter, file_info, read_showers
from calopipe.models.base import Inputs, Now
from calopipe.models.flows.bayesian_inn import BayesianINN
from calopipe.models.flows.inn import INN
from calopipe.models.flows.variational import VariationalLinear, layers_of
from calopipe.plots.histograms import Series, histogram_figure
from calopipe.plots.style import model_styles
from calopipe.plots.weight_spread import spread_figure
from calopipe.records.histograms import Histogram, load_histograms, save_histograms
from calopipe.records.samples import DRAWS, draws_of
from calopipe.records.weight_spread import EDGES, load_spread
from calopipe.sampling import Generator, generate
from calopipe.training.checkpoint import build_network, save_network
from calopipe.training.facts import DataFacts
from calopipe.workflow import Plan
from calopipe.workflow.making import Generate

ROOT = Path(__file__).parents[1]
NOW = Now(epoch=0, epochs=2, step=0, steps=4, n_train=50)
SMALL = {"blocks": 3, "hidden": [12, 12], "bins": 4, "bounds": 4.0}


def build(dim: int = 4, seed: int = 3, **settings: object) -> BayesianINN:
    torch.manual_seed(0)
    config = validate(MODELS.config_class("bayesian_inn"), {**SMALL, **settings}, "m")
    found = MODELS.get("bayesian_inn")(config, Inputs(dim, n_train=50, seed=seed))
    assert isinstance(found, BayesianINN)
    return found


def data(n: int = 30, dim: int = 4) -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    return torch.randn(n, dim), torch.rand(n, 1)


def wide(**settings: object) -> BayesianINN:
    """Weights whose spread is seen in everything."""
    return build(bayesian="all", log_variance=-3.0, **settings).eval()


def layer(inputs: int = 3, outputs: int = 2, log_variance: float = -2.0) -> VariationalLinear:
    torch.manual_seed(2)
    return VariationalLinear(inputs, outputs, log_variance)


def test_kl_by_hand() -> None:
    """Of two weights: mean 0.5, variance e^-1, and mean -2, variance e; the prior has variance 1/4."""
    found = layer(2, 1)
    with torch.no_grad():
        found.weight.copy_(torch.tensor([[0.5, -2.0]]))
        found.log_variance.copy_(torch.tensor([[-1.0, 1.0]]))
    first = 0.5 * (4 * (0.25 + 0.367879441) + 1 - 1 - 1.386294361)
    second = 0.5 * (4 * (4 + 2.718281828) - 1 - 1 - 1.386294361)
    assert found.kl(4.0).item() == pytest.approx(first + second, rel=1e-6)
    q = torch.distributions.Normal(found.weight, (0.5 * found.log_variance).exp())
    expected = torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 0.5)).sum()
    torch.testing.assert_close(found.kl(4.0), expected)


def test_kl_is_zero_at_the_prior_alone() -> None:
    found = layer()
    with torch.no_grad():
        found.weight.zero_()
        found.log_variance.fill_(-math.log(50.0))
    assert found.kl(50.0).item() == pytest.approx(0, abs=1e-5)
    assert found.kl(49.0) > 1e-5 and found.kl(51.0) > 1e-5


def test_training_outputs_have_the_moments_of_drawn_weights() -> None:
    found, x = layer(log_variance=-1.0).train(), torch.tensor([[1.0, -2.0, 0.5]])
    with torch.no_grad():
        found.log_variance.copy_(torch.tensor([[-1.0, 0.0, 1.0], [0.5, -2.0, -3.0]]))
        outputs = found(x.expand(100_000, 3))
    mean = x @ found.weight.T + found.bias
    variance = x.square() @ found.log_variance.exp().T
    torch.testing.assert_close(outputs.mean(0), mean[0], rtol=0, atol=0.03)
    torch.testing.assert_close(outputs.var(0), variance[0], rtol=0.03, atol=0)
    assert abs(torch.corrcoef(outputs.T)[0, 1]) < 0.02


def test_rows_have_noise_of_their_own_in_training() -> None:
    found = layer().train()
    outputs = found(torch.ones(6, 3))
    assert len(outputs[:, 0].unique()) == 6
    assert not torch.equal(outputs, found(torch.ones(6, 3)))


def test_a_draw_is_fixed_in_evaluation_and_the_next_is_another() -> None:
    found, x = layer().eval(), torch.ones(4, 3)
    found.drawn = 17
    first = found(x)
    assert torch.equal(first, found(x)) and len(first[:, 0].unique()) == 1
    found.drawn = 18
    assert not torch.allclose(found(x), first, atol=1e-3)
    found.drawn = 17
    assert torch.equal(found(x), first)


def test_draws_have_the_means_and_variances_of_the_weights() -> None:
    found = layer().eval()
    with torch.no_grad():
        found.log_variance.copy_(torch.tensor([[-1.0, 0.0, 1.0], [0.5, -2.0, -3.0]]))
    drawn = []
    for seed in range(4000):
        found.drawn = seed
        drawn.append(found.evaluated().detach())
    torch.testing.assert_close(torch.stack(drawn).mean(0), found.weight.detach(), rtol=0, atol=0.1)
    torch.testing.assert_close(torch.stack(drawn).var(0), found.log_variance.detach().exp(), rtol=0.1, atol=0)


def test_starts_as_published() -> None:
    torch.manual_seed(0)
    found = build(dim=40, hidden=[200, 200], bayesian="all", log_variance=-9.0, prior_precision=1.0)
    nets = [block.net for block in found.flow]
    assert all(sum(isinstance(part, VariationalLinear) for part in net) == 3 for net in nets)
    for net in nets:
        assert not net[-1].weight.any() and not net[-1].bias.any()
        assert net[2].weight.std().item() == pytest.approx(200**-0.5, rel=0.03) and not net[2].bias.any()
        assert net[2].log_variance.mean().item() == pytest.approx(-9, abs=1e-3)
        assert net[2].log_variance.std().item() == pytest.approx(1e-3, rel=0.05)
    last = build(bayesian="last")
    assert [[type(part) for part in block.net if isinstance(part, nn.Linear)] for block in last.flow] == [
        [nn.Linear, nn.Linear, VariationalLinear]
    ] * 3


def test_loss_is_the_mean_likelihood_and_the_kl_over_the_training_rows() -> None:
    model, (x, cond) = wide().train(), data()
    found = []
    for n_train in (50, 5000):
        torch.manual_seed(5)
        found.append(model.step("loss", x, cond, replace(NOW, n_train=n_train)))
    kl = sum(part.kl(5000.0) for part in layers_of(model))
    for losses, n_train in zip(found, (50, 5000), strict=True):
        torch.testing.assert_close(losses["kl"], kl)
        torch.testing.assert_close(losses["loss"], losses["nll"] + kl / n_train)
    assert found[0]["nll"] == found[1]["nll"] and kl > 100
    torch.manual_seed(5)
    torch.testing.assert_close(found[0]["nll"], -model.log_prob(x, cond).mean())
    half = model.step("loss", x[:15], cond[:15], NOW)
    torch.testing.assert_close(half["loss"] - half["nll"], found[0]["loss"] - found[0]["nll"], rtol=1e-4, atol=0)


def test_validation_is_that_of_the_fixed_draw_without_the_kl() -> None:
    model, (x, cond) = wide(), data()
    with torch.no_grad():
        found = model.validate(x, cond)
        assert found["loss"] == found["nll"] == -model.log_prob(x, cond).mean()
        model.use_weights(None)
        assert abs(model.validate(x, cond)["loss"] - found["loss"]) > 1e-3


@pytest.mark.parametrize("number", [None, 0, 7])
def test_inverse_and_log_det_belong_to_the_weights_in_use(number: int | None) -> None:
    model, (x, cond) = wide().double(), data(5)
    x, cond = x.double(), cond.double()
    model.use_weights(number)
    z, logdet = model.flow(x, cond)
    back, logdet_back = model.flow.inverse(z, cond)
    torch.testing.assert_close(back, x, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(logdet_back, -logdet, rtol=1e-9, atol=1e-9)
    jacobian = torch.autograd.functional.jacobian(lambda v: model.flow(v, cond)[0].sum(0), x).permute(1, 0, 2)
    torch.testing.assert_close(logdet, jacobian.slogdet()[1], rtol=1e-8, atol=1e-8)
    other = number + 1 if number is not None else 0
    model.use_weights(other)
    assert (model.flow(x, cond)[1] - logdet).abs().max() > 1e-3


def test_means_are_an_inn_of_the_means() -> None:
    model, (x, cond) = wide(), data()
    model.use_weights(None)
    plain = INN(validate(MODELS.config_class("inn"), SMALL, "m"), model.inputs).eval()
    plain.load_state_dict({k: v for k, v in model.state_dict().items() if not k.endswith("log_variance")})
    with torch.no_grad():
        assert torch.equal(model.log_prob(x, cond), plain.log_prob(x, cond))
        assert torch.equal(model.draw(x, cond), plain.draw(x, cond))
        model.use_weights(0)
        assert not torch.allclose(model.draw(x, cond), plain.draw(x, cond), atol=1e-3)


def test_draws_follow_the_seed_and_the_number_and_differ_between_layers() -> None:
    model, same, other = wide(), wide(), wide(seed=4)
    x, cond = data()
    with torch.no_grad():
        assert torch.equal(model.draw(x, cond), same.draw(x, cond))
        assert not torch.allclose(model.draw(x, cond), other.draw(x, cond), atol=1e-3)
        copied = copy.deepcopy(model)
        copied.use_weights(3)
        model.use_weights(3)
        assert torch.equal(model.draw(x, cond), copied.draw(x, cond))
    drawn = [part.drawn for part in layers_of(model)]
    assert len(set(drawn)) == len(drawn) == 9


def test_log_variances_are_those_of_all_weights() -> None:
    model = build(bayesian="last")
    found = model.log_variances()
    assert len(found) == sum(block.net[-1].weight.numel() for block in model.flow)
    assert not found.requires_grad and found.mean().item() == pytest.approx(-15, abs=0.01)


@pytest.mark.parametrize(
    ("preset", "blocks", "width", "bins", "every", "counted"),
    [
        ("calogan_binn_pions", 12, 256, 10, False, 46_742_508),
        ("calogan_binn_all_pions", 12, 256, 10, True, 48_312_300),
        ("calogan_binn_small_pions", 18, 32, 10, True, 8_916_066),
        ("calogan_binn_cpu", 6, 64, 6, False, 3_452_238),
    ],
)
def test_presets_have_their_sizes(preset: str, blocks: int, width: int, bins: int, every: bool, counted: int) -> None:
    """Of 504 voxels of CaloGAN and 3 ratios each block transforms 253, given 254 and the incident energy."""
    settings = validate(Model, read_yaml(ROOT / "presets" / f"{preset}.yaml")["models"][preset], preset)
    found = BayesianINN(settings.networks["flow"].model.settings, Inputs(507))
    first, inner, last = 255 * width, width * width, width * (3 * bins - 1) * 253
    uncertain = blocks * (last + every * (first + inner))
    plain = blocks * (first + inner + last + 2 * width + (3 * bins - 1) * 253)
    assert len(found.log_variances()) == uncertain
    assert sum(p.numel() for p in found.parameters()) == uncertain + plain == counted


def prepared(folder: Path, n: int = 40) -> Path:
    """Showers in the CaloGAN geometry: a tenth of the voxels hit."""
    rng = np.random.default_rng(0)
    x = rng.exponential(1, (n, 504)) * (rng.random((n, 504)) < 0.1)
    energies = rng.uniform(2e3, 9e4, (n, 1)).astype(np.float32)
    path = folder / "showers.hdf5"
    with ShowerWriter(path, "calogan", attributes={"threshold_MeV": 0.01}) as writer:
        writer.append_arrays(energies, (0.8 * energies * x / x.sum(1, keepdims=True)).astype(np.float32))
    return path


def checkpoint(folder: Path, name: str = "bayesian_inn", **settings: object) -> Path:
    steps = [{"step": s} for s in ("layer_normalise", "logit", "standardise", "log_condition")]
    model = {"name": name, "blocks": 2, "hidden": [8], "bins": 4, **settings}
    data = DataFacts.of(load_geometry("calogan"), 0.01)
    link = Link("flow", "showers", contract="GenerativeModel")
    torch.manual_seed(0)
    network = build_network(link, NetworkSettings(preprocessing=steps, model=model), data, dim=504, seed=1, n_train=40)
    save_network(folder / "model.pt", network, [])
    return folder / "model.pt"


def test_showers_are_dealt_to_draws(tmp_path: Path) -> None:
    """With factor = draws every draw makes all test showers; those of a draw are those that it makes alone."""
    showers, out = prepared(tmp_path), tmp_path / "generated.hdf5"
    path = checkpoint(tmp_path, log_variance=-1.0)
    generate([path], showers, out, Generation(device="cpu", draws=3, factor=3), 1)
    found = read_showers(out)
    assert draws_of(file_info(out).attributes) == 3 and len(found) == 120
    for number in range(3):
        assert np.array_equal(found.incident_energies[number::3], read_showers(showers).incident_energies)
    generator = Generator.load([path], "cpu")
    conditions = found.incident_energies
    torch.manual_seed(seeds.derive(1, "generate"))
    for number in range(3):
        generator.use_weights(number)
        assert np.array_equal(generator.sample(conditions[number::3]), found.showers[number::3])
    with pytest.raises(DataError, match="draws: 50"):
        generate([path], showers, out, Generation(device="cpu", draws=50), 1)


def test_networks_without_draws_are_sampled_as_ever(tmp_path: Path) -> None:
    showers, path = prepared(tmp_path), checkpoint(tmp_path, "inn")
    made = []
    for draws in (1, 4):
        made.append(tmp_path / f"{draws}.hdf5")
        generate([path], showers, made[-1], Generation(device="cpu", draws=draws), 1)
        assert DRAWS not in file_info(made[-1]).attributes
    assert made[0].read_bytes() == made[1].read_bytes()


def test_histograms_of_each_draw(tmp_path: Path) -> None:
    showers, out = prepared(tmp_path), tmp_path / "generated.hdf5"
    generate([checkpoint(tmp_path)], showers, out, Generation(device="cpu", draws=4, factor=2), 1)
    config = HistogramConfig(bins=6, brightest=0)
    readout = Readout.of("calogan", 0.01)
    evaluate_observables(showers, {"generated": out}, readout, config=config, out=tmp_path / "h.npz")
    histograms, averages = load_histograms(tmp_path / "h.npz")
    assert {"E_ratio", "voxels"} <= {h.name for h in histograms} and set(averages[0].mean) == {"reference", "generated"}
    alone = tmp_path / "alone.hdf5"
    with ShowerWriter(alone, "calogan", attributes={"threshold_MeV": 0.01}) as writer:
        found = read_showers(out)
        writer.append_arrays(found.incident_energies[2::4], found.showers[2::4])
    evaluate_observables(showers, {"generated": alone}, readout, config=config, out=tmp_path / "a.npz")
    for h, third in zip(histograms, load_histograms(tmp_path / "a.npz")[0], strict=True):
        assert set(h.draws) == {"generated"}
        assert np.array_equal(h.draws["generated"].sum(0), h.counts["generated"])
        assert h.draw_totals["generated"].sum() == h.totals["generated"]
        assert np.array_equal(h.draws["generated"][2], third.counts["generated"])
        assert not third.draws


def test_band_is_mean_and_standard_deviation_over_draws() -> None:
    counts = {"reference": np.array([5.0, 5.0]), "generated": np.array([9.0, 11.0])}
    drawn = {"draws": {"generated": np.array([[2, 8], [7, 3]])}, "draw_totals": {"generated": np.array([10, 10])}}
    edges, totals = np.array([0.0, 1.0, 3.0]), {"reference": 10, "generated": 20}
    one = Histogram("E_ratio", "energies", "x", edges, counts, totals, **drawn)
    style = model_styles(["binn"])["binn"]
    mean, spread = Series(style, (one,)).density()
    np.testing.assert_allclose(mean, [0.45, 0.275])
    np.testing.assert_allclose(spread, [0.5 / 2**0.5, 0.25 / 2**0.5])
    assert Series(style, (one,)).draws_beside() is None
    other = Histogram("E_ratio", "energies", "x", edges, {**counts, "generated": np.array([5.0, 15.0])}, totals)
    both = Series(style, (one, other))
    np.testing.assert_allclose(both.density()[1], [0.2 / 2**0.5, 0.1 / 2**0.5])
    np.testing.assert_allclose(both.draws_beside()[1], spread)
    lines = [len(histogram_figure([s]).axes[0].artists) + len(histogram_figure([s]).axes[0].patches)
             for s in (Series(style, (other, other)), both)]  # fmt: skip
    assert lines[1] == lines[0] + 2


def test_draws_enter_the_stage_of_bayesian_networks_alone() -> None:
    def found(name: str, **generation: int) -> dict:
        steps = [{"step": "layer_normalise"}, {"step": "logit"}]
        training = {"epochs": 1, "batch_size": 8}
        network = {"learns": "showers", "preprocessing": steps, "model": {"name": name}, "training": training}
        study = {
            "datasets": {"d": {"source": {"kind": "bundled", "name": "calogan_eplus_sample"}, "geometry": "calogan"}},
            "models": {"m": {"networks": {"flow": network}}},
            "evaluations": {"default": {"generation": generation}},
            "runs": [{"dataset": "d", "model": "m"}],
        }
        plan = Plan(validate(Study, study, "study"))
        return Generate().settings(plan, dataset="d", model="m", evaluation="default", seed="0")

    assert found("inn", draws=30) == found("inn") == found("bayesian_inn")
    assert found("bayesian_inn", draws=30) == {**found("bayesian_inn"), "draws": 30}


def test_spread_of_weights_by_epoch(tmp_path: Path) -> None:
    path = checkpoint(tmp_path, log_variance=-3.2, prior_precision=50.0)
    kept = tmp_path / "epochs"
    kept.mkdir()
    shutil.copy(path, kept / "epoch-00004.pt")
    checkpoint(tmp_path, log_variance=-8.1, prior_precision=50.0)
    measure_weight_spread([path], [kept], tmp_path / "s.npz")
    found = load_spread(tmp_path / "s.npz")["flow"]
    weights = len(Generator.load([path], "cpu").main.model.log_variances())
    assert list(found.counts) == [4, 0] and found.prior == pytest.approx(-3.912023)
    for epoch, value in ((4, -3.2), (0, -8.1)):
        assert found.counts[epoch].sum() == found.counts[epoch][np.searchsorted(EDGES, value) - 1] == weights
    axes = spread_figure(found, model_styles(["binn"])["binn"], "t").axes[0]
    assert [line.get_xdata()[0] for line in axes.lines] == [pytest.approx(-3.912023)]
    low, high = axes.get_xlim()
    assert low < -8.2 and high > -3.2


def test_networks_without_draws_have_no_spread(tmp_path: Path) -> None:
    measure_weight_spread([checkpoint(tmp_path, "inn")], [tmp_path], tmp_path / "s.npz")
    assert load_spread(tmp_path / "s.npz") == {}


def test_draws_get_the_coarser_bins_of_few_showers(tmp_path):
    """Bins are merged in the counts of each draw, too, so that the file of showers of extreme weight can be read."""
    counts = {"reference": np.arange(40), "generated": np.ones(40, dtype=int)}
    draws = {"generated": np.stack([np.arange(40), np.full(40, 2)])}
    one = Histogram(
        "E_tot", "energies", "x", np.arange(41.0), counts, {"reference": 780, "generated": 40},
        draws=draws, draw_totals={"generated": np.array([780, 80])},
    )  # fmt: skip
    save_histograms(tmp_path / "h.npz", [coarser(one, 40)])
    found = load_histograms(tmp_path / "h.npz")[0][0]
    assert found.edges.tolist() == np.arange(0, 41, 4).tolist() and found.counts["generated"].tolist() == [4] * 10
    assert found.draws["generated"].tolist() == [[6 + 16 * k for k in range(10)], [8] * 10]
