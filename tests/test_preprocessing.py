"""Every preprocessing step: the inverse undoes it, the log-det agrees with autograd, it survives saving."""

from __future__ import annotations

import math
from typing import cast

import pytest
import torch

from calopipe.compiled_code import FEW
from calopipe.config.chains import Columns
from calopipe.config.chains import showers as showers_of
from calopipe.config.parts import STEPS
from calopipe.errors import CheckpointError, ConfigError
from calopipe.extra_dimensions import energies_of, ratios_of
from calopipe.preprocessing import Chain, Layout, build_chain
from calopipe.preprocessing.layers import LayerNormalise
from calopipe.preprocessing.settings import DivideByConditionConfig, IncidentFractionsConfig

LAYOUT = Layout(((2, 3), (2, 2), (1, 3)), 0.01)
CHAINS = {
    "layer_normalise": [{"step": "layer_normalise"}],
    "layer_normalise_condition": [{"step": "layer_normalise", "extras": "condition", "scale": 0.9}],
    "noise": [{"step": "noise", "width": 1e-9, "threshold": 0.005}],
    "noise_once": [{"step": "noise", "width": 1e-9, "threshold": 0.005, "redraw": False, "restore_total": True}],
    "fill_empty": [{"step": "fill_empty"}],
    "fill_empty_gap": [{"step": "fill_empty", "gap": 1.0, "decades": 0.25}],
    "hits": [{"step": "layer_normalise", "hits": True, "fill_layers": True}],
    "hits_condition": [{"step": "layer_normalise", "hits": True, "extras": "condition"}],
    "energies": [{"step": "layer_normalise", "voxels": "energies"}],
    "hits_energies": [
        {"step": "layer_normalise", "voxels": "energies", "hits": True, "ratio_scale": 0.5},
        {"step": "logit", "alpha": 1e-6, "columns": "extras_and_hits"},
        {"step": "log", "alpha": 1e-3, "columns": "voxels"},
        "log_condition",
    ],
    "censored": [{"step": "censored"}],
    "censored_inn": [
        {"step": "layer_normalise", "voxels": "energies", "ratio_scale": 0.9, "fill_layers": True},
        "censored",
        {"step": "logit", "alpha": 1e-7, "columns": "extras"},
        "standardise",
        "log_condition",
    ],
    "log": [{"step": "log", "alpha": 1e-6}],
    "power": [{"step": "power", "alpha": 1e-3}],
    "roots_of_voxels": [
        {"step": "layer_normalise", "voxels": "energies", "hits": True, "ratio_scale": 0.5},
        {"step": "logit", "alpha": 1e-6, "columns": "extras_and_hits"},
        {"step": "power", "exponent": 0.25, "alpha": 1e-12, "columns": "voxels"},
        "log_condition",
    ],
    "standardise": [{"step": "standardise"}],
    "affine": [{"step": "affine"}],
    "log_condition": ["log_condition"],
    "standardise_condition": ["log_condition", "standardise_condition"],
    "inn": [
        {"step": "fill_empty"},
        {"step": "layer_normalise", "ratio_scale": 0.9},
        {"step": "logit", "alpha": 1e-7},
        {"step": "standardise"},
        {"step": "log_condition"},
    ],
    "vae": [
        {"step": "layer_normalise", "extras": "condition", "ratio_scale": 0.9, "fill_layers": True},
        "log_condition",
    ],
    "ratios": [{"step": "energy_ratios", "ratio_scale": 0.9}, {"step": "logit"}, "standardise", "log_condition"],
    "ratios_given": [{"step": "energy_ratios", "of": "condition", "ratio_scale": 0.9}, "standardise", "log_condition"],
    "normalise_given": [{"step": "layer_normalise", "extras": "given", "ratio_scale": 0.9}, "log_condition"],
    "caloscore": [{"step": "incident_fractions", "factor": 3.1}, "min_max_condition"],
    "above_threshold": [{"step": "incident_fractions", "above_threshold": True}],
    "residuals": [{"step": "divide_by_condition"}, {"step": "log_conditions"}],
    "images": [
        {"step": "min_max", "of": "all", "to": [-1.0, 1.0]},
        {"step": "min_max_condition", "ends": None, "to": [1.0, 10.0]},
    ],
    "caloflow_energies": [
        {"step": "energy_ratios", "ratio_scale": 1 / 3.1},
        {"step": "logit", "alpha": 1e-6},
        {"step": "log_condition", "reference": 33.3e3},
    ],
    "caloflow_voxels": [
        {"step": "layer_normalise", "extras": "energies"},
        {"step": "logit", "alpha": 1e-6},
        {"step": "log_condition", "reference": 33.3e3},
        "log_layer_energies",
    ],
    "log_layer_energies": ["log_layer_energies"],
    "split_logit": [{"step": "layer_normalise", "ratio_scale": 0.9}, {"step": "logit", "alpha": 1e-8, "alpha_1": 0.1}],
}


def showers(n: int = 64, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    incident = 1e3 * (1 + 19 * torch.rand(n, 1, generator=generator, dtype=dtype))
    x = torch.rand(n, 13, generator=generator, dtype=dtype).pow(4)
    x = torch.where(x < 0.05, torch.zeros_like(x), x)
    x[:, 0] += 0.1
    return 0.9 * incident * x / x.sum(1, keepdim=True), incident


def start(steps: list, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    """What a chain begins with: showers or their layer energies, which may be given too."""
    x, cond = showers(dtype=dtype)
    first, energies = as_items(steps)[0], LAYOUT.energies(x)
    if first.get("of") == "condition" or first.get("extras") in ("given", "energies") or "layer_en" in first["step"]:
        return x, torch.cat([cond, energies], dim=1)
    return (energies, cond) if first["step"] == "energy_ratios" else (x, cond)


def built(steps: list) -> tuple[Chain, torch.Tensor, torch.Tensor]:
    """A chain in float64, with x and condition for it."""
    x, cond = start(steps)
    return build_chain(as_items(steps), LAYOUT, x.shape[1], cond.shape[1]).double(), x, cond


def as_items(settings: list) -> list[dict]:
    return [{"step": s} if isinstance(s, str) else s for s in settings]


@pytest.mark.parametrize("name", CHAINS)
def test_inverse(name: str) -> None:
    chain, x, cond = built(CHAINS[name])
    chain.fit(x, cond)
    y, c, logdet = chain(x, cond)
    assert y.shape[1] == chain.dim_out and c.shape[1] == chain.cond_dim_out and logdet.shape == (64,)
    back, cond_back = chain.inverse(y, c)
    torch.testing.assert_close(back, x, rtol=1e-6, atol=1e-5)
    torch.testing.assert_close(cond_back, cond, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"scale": 0.9, "extras": "condition"},
        {"hits": True, "fill_layers": True},
        {"hits": True, "extras": "condition", "ratio_scale": 0.5, "extras_scale": 0.8},
        {"extras": "given", "ratio_scale": 0.9},
        {"extras": "energies"},
    ],
    ids=str,
)
@pytest.mark.parametrize("n", [1, FEW])
def test_layers_of_a_few_rows_are_restored_by_compiled_code(settings: dict, n: int) -> None:
    """Of whatever a network says, as PyTorch restores them: shares below 0, ratios outside of [0, 1], more hits than there are."""
    chain, x, cond = built([{"step": "layer_normalise", **settings}])
    step = cast("LayerNormalise", chain.steps[0])
    generator = torch.Generator().manual_seed(n)
    x = torch.randn(n, 13, generator=generator, dtype=torch.float64)
    u = 0.5 + torch.randn(n, step.n_extras, generator=generator, dtype=torch.float64)
    u = u * 100 if settings.get("extras") == "energies" else u
    wanted, energies = step._restored(x, u, cond[:n, :1])
    with torch.no_grad():
        found = step._restored_at_once(x, u, cond[:n, 0])
    assert found is not None
    torch.testing.assert_close(found[1], energies, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found[0], wanted, rtol=1e-12, atol=1e-12)
    assert step._restored_at_once(x, u, cond[:n, 0]) is None  # gradients are asked for


@pytest.mark.parametrize("where", ["share", "energy", "hits"])
def test_layers_that_are_not_finite_are_not_taken_for_showers(where: str) -> None:
    chain, x, cond = built([{"step": "layer_normalise", "hits": True}])
    y, c, _ = chain(x[:1], cond[:1])
    y[0, {"share": 2, "energy": 14, "hits": 17}[where]] = float("nan")
    with torch.no_grad():
        back, _ = chain.inverse(y, c)
    assert back.isnan().any() and back.isnan().all() == (where == "energy")  # which the other layers are reckoned from


def test_inverse_float32_of_the_full_chain() -> None:
    x, cond = showers(dtype=torch.float32)
    chain = build_chain(as_items(CHAINS["inn"]), LAYOUT, 13, 1)
    chain.fit(x, cond)
    back, _ = chain.inverse(*chain(x, cond)[:2])
    torch.testing.assert_close(back, x, rtol=2e-4, atol=2e-3)
    assert ((back == 0) == (x == 0)).all()


@pytest.mark.parametrize("name", ["log", "power", "standardise", "affine", "caloscore"])
def test_log_det_agrees_with_autograd(name: str) -> None:
    x, cond = showers(5)
    chain = build_chain(as_items(CHAINS[name]), LAYOUT, 13, 1).double()
    chain.fit(x, cond)
    jacobian = torch.autograd.functional.jacobian(lambda v: chain(v, cond)[0].sum(0), x)
    expected = torch.stack([jacobian[:, i, :].slogdet()[1] for i in range(5)])
    torch.testing.assert_close(chain(x, cond)[2], expected, rtol=1e-6, atol=1e-6)


def test_log_det_of_censored_hits_agrees_with_autograd() -> None:
    x, cond = showers()
    chain = build_chain([{"step": "censored"}], LAYOUT, 13, 1).double()
    chain.fit(x, cond)
    x, cond = torch.where(x > 0, x, x.amax(1, keepdim=True) / 2)[:5], cond[:5]
    jacobian = torch.autograd.functional.jacobian(lambda v: chain(v, cond)[0].sum(0), x)
    expected = torch.stack([jacobian[:, i, :].slogdet()[1] for i in range(5)])
    torch.testing.assert_close(chain(x, cond)[2], expected, rtol=1e-6, atol=1e-6)


def test_censored_voxels_are_standard_normal_and_empty_ones_lie_below_all_hits() -> None:
    generator = torch.Generator().manual_seed(1)
    cond = 1e3 * (1 + 19 * torch.rand(8000, 1, generator=generator, dtype=torch.float64))
    latent = torch.randn(8000, 13, generator=generator, dtype=torch.float64) + 0.3 * (cond / 1e3).log() - 1
    x = torch.where(latent > 0, 0.01 * (3 * latent).exp(), torch.zeros_like(latent))
    chain = build_chain([{"step": "censored"}], LAYOUT, 13, 1).double()
    chain.fit(x, cond)
    g = chain(x, cond)[0]
    assert g.mean(0).abs().max() < 0.05 and (g.std(0) - 1).abs().max() < 0.05
    for energies in (cond[:, 0] < 5e3, cond[:, 0] > 1.5e4):  # the occupancy's dependence on the energy is taken out
        assert g[energies].mean(0).abs().max() < 0.15
    at = cond[:1].expand(2, 1)  # one incident energy: whatever is empty is below whatever is hit
    for column in range(13):
        soft = torch.zeros(2, 13, dtype=torch.float64)
        soft[1, column] = 0.0101
        empty, hit = chain(soft, at)[0][:, column]
        assert empty < hit


def test_numbers_of_hits_and_energies_are_met_exactly() -> None:
    """Whatever a network makes of the shares: as many hits as h says, energies as u says, no hit below the threshold."""
    x, cond = showers()
    chain = build_chain(as_items(CHAINS["hits"]), LAYOUT, 13, 1).double()
    y, c, _ = chain(x, cond)
    y[:, :13] = torch.rand(64, 13, dtype=torch.float64)
    back, _ = chain.inverse(y, c)
    first = 0
    for size in LAYOUT.layer_sizes:
        made, true = back[:, first : first + size], x[:, first : first + size]
        assert torch.equal((made > 0).sum(1), (true > 0).sum(1))
        torch.testing.assert_close(made.sum(1), true.sum(1), rtol=1e-6, atol=1e-4)
        first += size
    assert back[back > 0].min() >= LAYOUT.threshold_MeV * (1 - 1e-6)


def test_of_voxels_as_energies_numbers_of_hits_are_told_and_not_met() -> None:
    """Columns behind the voxels are ratios and numbers of hits; voxels are logarithms, and those of at least the threshold are hits."""
    chain, x, cond = built(CHAINS["hits_energies"])
    y, c, _ = chain(x, cond)
    assert y.shape[1] == 13 + 2 * 3
    torch.testing.assert_close(y[:, :13], (x + 1e-3).log())
    told = torch.sigmoid(y[:, 16:]) * torch.tensor([7.0, 5.0, 4.0])
    assert torch.equal(told.floor(), LAYOUT.energies((x > 0).double()))
    y[:, :13] = torch.where(torch.rand(64, 13) < 0.5, math.log(1e-3), math.log(5.0)).double()
    y[:, 0] = y[:, 6] = y[:, 10] = 1.0  # a hit in each layer
    back, _ = chain.inverse(y, c)
    rich = LAYOUT.energies(x) > 1
    assert torch.equal((LAYOUT.energies((back > 0).double()))[rich], LAYOUT.energies((y[:, :13] > -5).double())[rich])
    torch.testing.assert_close(LAYOUT.energies(back)[rich], LAYOUT.energies(x)[rich], rtol=1e-4, atol=1e-4)


def test_hits_win_where_they_contradict_the_energy() -> None:
    chain = build_chain(as_items(CHAINS["hits"]), LAYOUT, 13, 1).double()
    x, cond = showers(1)
    y, c, _ = chain(x, cond)
    y[:, 13 + 3 :] = torch.tensor([[0.5 / 7, 4.5 / 5, 1.5 / 4]], dtype=torch.float64)  # no hit, all four, one
    y[:, 13] = 1e-9  # hardly any energy
    back, _ = chain.inverse(y, c)
    assert (back > 0).sum(1).item() == 5 and (back[:, :6] == 0).all()
    torch.testing.assert_close(back[back > 0], torch.full((5,), 0.01, dtype=torch.float64), rtol=1e-2, atol=0)


@pytest.mark.parametrize("alpha_1", [None, 0.1])
def test_logit_log_det_and_float32_at_the_ends(alpha_1: float | None) -> None:
    chain = build_chain([{"step": "logit", "alpha": 1e-8, "alpha_1": alpha_1}], LAYOUT, 13, 1)
    x = torch.rand(4, 13, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda v: chain(v, x[:, :1])[0].sum(0), x)
    expected = torch.stack([jacobian[:, i, :].slogdet()[1] for i in range(4)])
    torch.testing.assert_close(chain(x, x[:, :1])[2], expected, rtol=1e-6, atol=1e-6)
    ends = torch.tensor([[0.0, 1.0] + [0.5] * 11])
    y = chain(ends, ends[:, :1])[0]
    assert torch.isfinite(y).all() and y[0, 0] < -15 and (y[0, 1] > 15 or alpha_1 is not None)
    torch.testing.assert_close(chain.inverse(y, ends[:, :1])[0], ends, atol=1e-6, rtol=1e-6)


def test_logit_of_extras_only() -> None:
    chain = build_chain([{"step": "logit", "columns": "extras"}], LAYOUT, 8, 1)
    x = torch.rand(4, 8)
    y = chain(x, x[:, :1])[0]
    assert torch.equal(y[:, :5], x[:, :5]) and not torch.allclose(y[:, 5:], x[:, 5:])


def test_layer_ratios_by_hand() -> None:
    u = ratios_of(torch.tensor([[30.0, 60.0, 10.0]]), torch.tensor([[200.0]]))
    torch.testing.assert_close(u, torch.tensor([[0.5, 0.3, 60 / 70]]))
    torch.testing.assert_close(energies_of(u, torch.tensor([[200.0]])), torch.tensor([[30.0, 60.0, 10.0]]))


def test_inverse_restores_the_energy_that_u_demands() -> None:
    x, cond = showers()
    chain = build_chain(as_items(CHAINS["inn"]), LAYOUT, 13, 1).double()
    chain.fit(x, cond)
    y, c, _ = chain(x, cond)
    y[:, :13] += 0.3 * torch.randn(64, 13, dtype=torch.float64)
    back, _ = chain.inverse(y, c)
    torch.testing.assert_close(back.sum(1), x.sum(1), rtol=1e-3, atol=0.1)


def test_noise_is_drawn_in_every_call_and_removed() -> None:
    chain = build_chain([{"step": "noise", "width": 0.01, "removal": "subtract_mean"}], LAYOUT, 13, 1)
    x, cond = showers(dtype=torch.float32)
    first, second = chain(x, cond)[0], chain(x, cond)[0]
    assert not torch.equal(first, second)
    back = chain.inverse(first, cond)[0]
    assert ((back == 0) == (x == 0)).all() and (back - x).abs().max() < 0.006


def test_noise_that_is_drawn_once_is_uniform_and_belongs_to_its_shower() -> None:
    chain = build_chain([{"step": "noise", "width": 0.01, "redraw": False}], LAYOUT, 13, 1)
    x, cond = showers(4000, torch.float32)
    x[1] = x[0].flip(0)
    x[2] = x[0]
    noise = chain.steps[0](x.double(), cond)[0] - x
    again = chain.steps[0](x[5:9].double(), cond[5:9])[0] - x[5:9]
    torch.testing.assert_close(again, noise[5:9])
    assert (noise[2] == noise[0]).all() and not torch.isin(noise[1], noise[0]).any()
    u = noise[3:] / 0.01
    assert (
        u.min() >= 0 and u.max() < 1 and (u.mean(0) - 0.5).abs().max() < 0.02 and (u.var(0) * 12 - 1).abs().max() < 0.06
    )
    correlation = torch.corrcoef(u.T) - torch.eye(13)
    assert correlation.abs().max() < 0.08
    quarters = (u * 4).long()
    assert all((quarters.eq(k).double().mean() - 0.25).abs() < 0.01 for k in range(4))


def test_the_total_is_restored_when_noise_is_removed() -> None:
    steps = [{"step": "noise", "width": 0.2, "removal": "subtract_mean", "restore_total": True}]
    chain = build_chain(steps, LAYOUT, 13, 1)
    noisy = torch.tensor([[10.0, 5.0, *([0.1] * 11)], [0.0] * 13])
    back, _ = chain.inverse(noisy, torch.ones(2, 1))
    torch.testing.assert_close(back[0, :2], torch.tensor([9.9, 4.9]) * (16.1 - 1.3) / 14.8)
    assert back[0].sum() == pytest.approx(14.8, rel=1e-6) and not back[0, 2:].any() and not back[1].any()
    with pytest.raises(ConfigError, match="restore_total: expected false where nothing is removed"):
        build_chain([{"step": "noise", "width": 0.2, "removal": "none", "restore_total": True}], LAYOUT, 13, 1)


EXTREMES = {
    "an empty shower": torch.zeros(13),
    "one active voxel": torch.eye(13)[4] * 500.0,
    "an empty layer": torch.tensor([3.0, 0.0, 2.0, 0.0, 1.0, 1.0, *([0.0] * 4), 2.0, 4.0, 0.02]),
    "nearly all in one voxel": torch.tensor([900.0, *([0.0101] * 12)]),
    "more than the incident energy": torch.full((13,), 90.0),
    "just above the threshold": torch.full((13,), 0.0101),
}
#: chains with a logit of u, which ends at a little more than E_tot = E_inc
BOUNDED = {"inn", "ratios", "split_logit", "censored_inn"}
#: chains whose inverse does not know what was empty: columns without meaning
PLAIN = {"log", "standardise", "affine", "ratios_given"}


@pytest.mark.parametrize("what", EXTREMES)
@pytest.mark.parametrize("name", CHAINS)
def test_extreme_showers_in_float32_come_back(name: str, what: str) -> None:
    """Round trip and log-det in the precision of networks; empty layers and showers come back exactly empty."""
    steps = as_items(CHAINS[name])
    x, cond = start(CHAINS[name], torch.float32)
    half = 0.5 if name in BOUNDED and what == "more than the incident energy" else 1.0
    shower = half * EXTREMES[what].to(x.dtype)[None]
    one = LAYOUT.energies(shower) if x.shape[1] == 3 else shower
    given = torch.cat([torch.full((1, 1), 1000.0), LAYOUT.energies(shower)], 1)[:, : cond.shape[1]]
    chain = build_chain(steps, LAYOUT, x.shape[1], cond.shape[1])
    chain.fit(x, cond)
    y, c, logdet = chain(one, given)
    assert y.dtype == torch.float32 and y.isfinite().all() and c.isfinite().all() and logdet.isfinite().all()
    back, again = chain.inverse(y, c)
    assert back.isfinite().all()
    torch.testing.assert_close(again, given, rtol=1e-5, atol=1e-5)
    if name not in PLAIN:
        assert (back >= 0).all() and not back[one == 0].any()
    if not any(step["step"] == "censored" for step in steps):  # whose scores end far from what it was fitted to
        torch.testing.assert_close(back, one, rtol=2e-3, atol=2e-3)
        assert name in PLAIN or back[one > 0].all()


@pytest.mark.parametrize("name", CHAINS)
def test_state_reloads(name: str) -> None:
    chain, x, cond = built(CHAINS[name])
    chain.fit(x, cond)
    fresh = built(CHAINS[name])[0]
    fresh.load_state_dict(chain.state_dict())
    torch.manual_seed(1)
    expected = chain(x, cond)[0]
    torch.manual_seed(1)
    assert torch.equal(fresh(x, cond)[0], expected)


def test_every_step_is_tested() -> None:
    used = {item["step"] for chain in CHAINS.values() for item in as_items(chain)}
    assert used | {"logit"} == set(STEPS.names())


@pytest.mark.parametrize("name", STEPS.names())
def test_marks_of_steps_are_true(name: str) -> None:
    """What settings read in the source is what the class says, and what it does."""
    settings = next((i for c in CHAINS.values() for i in as_items(c) if i["step"] == name), {"step": name})
    step = built([settings])[0].steps[0]
    assert STEPS.marked(name, "learnable") == step.learnable == any(p.requires_grad for p in step.parameters())
    assert STEPS.marked(name, "bijective") == step.bijective
    if step.bijective:
        step.float().fit(*showers(dtype=torch.float32))
        x = torch.linspace(-50, 50, 13)[None].repeat(3, 1) * torch.tensor([[1.0], [-1.0], [0.1]])
        y, c, _ = step(x, torch.full((3, 1), 1e3))
        torch.testing.assert_close(step.inverse(y, c)[0], x, rtol=1e-4, atol=1e-4)


def test_wrong_settings_and_widths_are_named() -> None:
    with pytest.raises(ConfigError, match=r"preprocessing.0.alfa: unknown key \(did you mean 'alpha'\?\)"):
        build_chain([{"step": "logit", "alfa": 1e-6}], LAYOUT, 13, 1)
    with pytest.raises(ConfigError, match="did you mean 'standardise'"):
        build_chain([{"step": "standardize"}], LAYOUT, 13, 1)
    with pytest.raises(CheckpointError, match="expected 13 columns, found 12"):
        build_chain([{"step": "layer_normalise"}], LAYOUT, 12, 1)


@pytest.mark.parametrize("steps", [CHAINS["ratios_given"], CHAINS["normalise_given"]])
def test_given_energies_become_ratios_with_and_without_showers(steps: list) -> None:
    chain, x, cond = built(steps)
    chain.fit(x, cond)
    names = chain.conditions(("incident_energy", "energy_0", "energy_1", "energy_2"))
    assert names == ("incident_energy", "u_0", "u_1", "u_2")
    torch.testing.assert_close(chain.condition(cond), chain(x, cond)[1])
    torch.testing.assert_close(chain.condition(cond)[:, 1], 0.9 * x.sum(1) / cond[:, 0])


def test_normalised_layers_get_the_energies_that_are_given() -> None:
    chain, x, cond = built(CHAINS["normalise_given"])
    chain.fit(x, cond)
    energies = cond[:, 1:] * torch.tensor([1.1, 0.5, 2.0])
    y, _, _ = chain(x, cond)
    back, _ = chain.inverse(y, chain.condition(torch.cat([cond[:, :1], energies], dim=1)))
    torch.testing.assert_close(LAYOUT.energies(back), energies, rtol=1e-6, atol=1e-6)


def test_layers_below_the_threshold_come_back_empty() -> None:
    steps = [{"step": "energy_ratios", "fill_layers": True}]
    x, cond = torch.tensor([[5.0, 0.0, 3.0], [0.0, 0.0, 2.0]]), torch.full((2, 1), 10.0)
    chain = build_chain(steps, LAYOUT, 3, 1)
    y, c, _ = chain(x, cond)
    assert (y > 0).all()
    torch.testing.assert_close(chain.inverse(y, c)[0], x, rtol=1e-2, atol=0.0)


def test_caloscore_chain_is_the_published_one() -> None:
    chain = build_chain(as_items(CHAINS["caloscore"]), LAYOUT, 13, 1)
    x, cond = torch.full((2, 13), 6.2), torch.tensor([[256.0], [4_194_304.0]])
    y, c, _ = chain(x, cond)
    torch.testing.assert_close(y[0], torch.full((13,), 6.2 / (3.1 * 256)))
    torch.testing.assert_close(c, torch.tensor([[0.0], [1.0]]))
    electrons = build_chain(
        [{"step": "incident_fractions", "factor": 2.0}, {"step": "min_max_condition", "ends": [1e3, 1e6]}],
        LAYOUT,
        13,
        1,
    )
    y, c, _ = electrons(x, torch.tensor([[1e3], [1e6]]))
    torch.testing.assert_close(y[0], torch.full((13,), 3.1e-3))
    torch.testing.assert_close(c, torch.tensor([[0.0], [1.0]]))
    assert (electrons.inverse(torch.full((2, 13), -1.0), c)[0] == 0).all()


def test_every_fraction_above_the_threshold_is_a_hit() -> None:
    layout = Layout(((1, 3),), 0.01)
    chain = build_chain([{"step": "incident_fractions", "factor": 0.5, "above_threshold": True}], layout, 3, 1)
    x, cond = torch.tensor([[0.01, 5.01, 0.0]]), torch.full((1, 1), 100.0)
    y, c, logdet = chain(x, cond)
    torch.testing.assert_close(y, torch.tensor([[1e-10, 0.1, 0.0]]), rtol=1e-6, atol=1e-12)
    assert float(logdet) == pytest.approx(-3 * math.log(50))
    back = chain.inverse(torch.tensor([[1e-12, 0.1, -0.2]]), c)[0]
    torch.testing.assert_close(back, torch.tensor([[0.01, 5.01, 0.0]]))
    assert (layout.cut(back) > 0).tolist() == [[True, True, False]]
    given = showers_of(((1, 3),), 0.0)
    with pytest.raises(ValueError, match="needs a readout threshold above 0"):
        IncidentFractionsConfig(above_threshold=True).after(given)


def test_caloflow_chains_are_the_published_ones() -> None:
    x, cond = torch.zeros(2, 13), torch.full((2, 1), 33.3e3)
    x[0, 0], x[0, 6] = 3e4, 1e4
    given = torch.cat([cond, LAYOUT.energies(x)], dim=1)
    y, c, _ = build_chain(as_items(CHAINS["caloflow_voxels"]), LAYOUT, 13, 4)(x, given)
    edge = torch.logit(torch.tensor(1e-6, dtype=torch.float64)).item()
    torch.testing.assert_close(y[0, [0, 1, 6]], torch.tensor([-edge, edge, -edge]), rtol=1e-4, atol=0.0)
    expected = torch.tensor([[0.0, math.log10(0.3 + 1e-8), math.log10(0.1 + 1e-8), -8.0], [0.0, -8.0, -8.0, -8.0]])
    torch.testing.assert_close(c, expected, rtol=1e-5, atol=1e-6)
    u, c, _ = build_chain(as_items(CHAINS["caloflow_energies"]), LAYOUT, 3, 1)(LAYOUT.energies(x), cond)
    k = 1e-6 + (1 - 2e-6) * torch.tensor([4e4 / (3.1 * 33.3e3), 0.75, 1.0], dtype=torch.float64)
    torch.testing.assert_close(u[0], torch.logit(k).float(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(c, torch.zeros(2, 1), rtol=0.0, atol=1e-6)


@pytest.mark.parametrize("name", ["caloscore", "caloflow_energies", "caloflow_voxels"])
def test_extreme_showers_survive_float32(name: str) -> None:
    """Empty layers, an empty shower, a shower of three times the incident energy, all energy in one voxel; low and high."""
    steps = CHAINS[name]
    x = torch.rand(6, 13, generator=torch.Generator().manual_seed(0)) + 0.02
    cond = torch.tensor([[256.0], [256.0], [256.0], [4_194_304.0], [4_194_304.0], [1e3]])
    x[0] = 0
    x[1, :6], x[3, 6:10], x[4, :12] = 0, 0, 0
    x[2] *= 3 * 256 / x[2].sum()
    x[3] *= 3 * 4_194_304 / x[3].sum()
    x[4] *= 4_194_304 / x[4].sum()
    energies = LAYOUT.energies(x)
    if name == "caloflow_voxels":
        given = torch.cat([cond, energies], dim=1)
    else:
        x, given = (energies if name == "caloflow_energies" else x), cond
    chain = build_chain(as_items(steps), LAYOUT, x.shape[1], given.shape[1])
    chain.fit(x, given)
    y, c, logdet = chain(x, given)
    assert torch.isfinite(y).all() and torch.isfinite(c).all() and torch.isfinite(logdet).all()
    back, again = chain.inverse(y, c)
    torch.testing.assert_close(back, x, rtol=2e-5, atol=1e-3)
    assert torch.equal(LAYOUT.cut(back) == 0, x == 0)
    torch.testing.assert_close(again, given, rtol=1e-4, atol=1e-5)
    if name == "caloflow_voxels":
        assert torch.equal(again[:, 1:] == 0, given[:, 1:] == 0)


def test_columns_and_conditions_between_two_ends_by_hand() -> None:
    x, cond = torch.tensor([[0.0, 10.0], [4.0, 30.0]]), torch.tensor([[100.0], [1800.0]])

    def moved(**settings: object) -> tuple[object, list[float]]:
        steps = [{"step": "min_max", **settings}, {"step": "min_max_condition", "ends": None, "to": [1.0, 10.0]}]
        chain = build_chain(steps, Layout(((1, 2),), 0.0), 2, 1)
        chain.fit(x, cond)
        y, c, _ = chain(x, cond)
        return pytest.approx(y.flatten().tolist(), abs=1e-6), c.flatten().tolist()

    assert moved() == ([0.0, 0.0, 1.0, 1.0], pytest.approx([1.0, 10.0]))
    assert moved(to=[-1.0, 1.0])[0] == [-1.0, -1.0, 1.0, 1.0]
    assert moved(of="all")[0] == [0, 1 / 3, 4 / 30, 1]
    assert moved(ends=[0.0, 100.0])[0] == [0, 0.1, 0.04, 0.3]


def test_residuals_in_units_of_a_condition_by_hand() -> None:
    x, cond = torch.tensor([[3.0], [-8.0]]), torch.tensor([[0.5, 100.0], [-1.0, 400.0]])
    steps = [{"step": "divide_by_condition", "condition": 1}, {"step": "log_conditions", "conditions": [1]}]
    y, c, logdet = build_chain(steps, Layout((), 0.0), 1, 2)(x, cond)
    torch.testing.assert_close(y, torch.tensor([[0.03], [-0.02]]))
    torch.testing.assert_close(c, torch.tensor([[0.5, math.log(100)], [-1.0, math.log(400)]]))
    torch.testing.assert_close(logdet, -torch.tensor([math.log(100), math.log(400)]))
    root = build_chain([{**steps[0], "power": 0.5}], Layout((), 0.0), 1, 2)
    y, c, logdet = root(x, cond)
    torch.testing.assert_close(y, torch.tensor([[0.3], [-0.4]]))
    torch.testing.assert_close(logdet, -torch.tensor([math.log(10), math.log(20)]))
    torch.testing.assert_close(root.inverse(y, c)[0], x)
    turned = build_chain([{**steps[0], "power": 0.75, "eta": 0}], Layout((), 0.0), 1, 2)
    y, c, logdet = turned(x, cond)
    slant = torch.tensor([math.cosh(0.5), math.cosh(1.0)])
    unit = (cond[:, 1] * slant) ** 0.75 / slant
    torch.testing.assert_close(y[:, 0], x[:, 0] / unit)
    torch.testing.assert_close(logdet, -unit.log())
    torch.testing.assert_close(turned.inverse(y, c)[0], x)
    for wrong in ({"condition": 2}, {"eta": 2}):
        with pytest.raises(ValueError, match=r"needs a condition no\. 2 \(from 0\), found 2 of them"):
            DivideByConditionConfig(**wrong).after(Columns((), 0.0, 1, cond_dim=2))
