"""Flow matching: showers that turn, what is expected of cells, the solver's order, and a distribution that is learned."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from calopipe.config import validate
from calopipe.config.chains import Columns
from calopipe.extra_dimensions import ratios_of
from calopipe.models.base import Inputs, Now
from calopipe.models.matching.expectation import Cells, Posterior, renoised
from calopipe.models.matching.flow_matching import FlowMatching
from calopipe.models.matching.settings import FlowMatchingConfig
from calopipe.models.matching.transformer import PatchTransformer, _distances

GRID, PATCH = (4, 6, 2), (2, 2, 1)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def cells(periodic: bool) -> PatchTransformer:
    """With weights that no symmetry is hidden by."""
    network = PatchTransformer(
        GRID, PATCH, periodic=periodic, context=3, local=1, width=16, heads=2, blocks=2, outputs=2
    )
    for p in network.parameters():
        torch.nn.init.normal_(p, std=0.3)
    return network


def matching(extra: int = 0, periodic: bool = True, **settings: object) -> FlowMatching:
    inputs = Inputs(math.prod(GRID) + extra, layer_shapes=((6, 2),) * 4, periodic=(periodic,) * 4)
    config = {
        "patch": PATCH,
        "width": 16,
        "heads": 2,
        "blocks": 2,
        "first_width": 32,
        "first_components": 2,
        **settings,
    }
    return FlowMatching(validate(FlowMatchingConfig, config, "flow_matching"), inputs)


@pytest.mark.parametrize("periodic", [True, False])
def test_showers_that_turn_by_patches_turn_what_is_said_of_their_cells(periodic: bool) -> None:
    network = cells(periodic)
    given = torch.rand(3), torch.randn(3, 3), torch.randn(3, 4, 1)
    x = torch.randn(3, *GRID)
    turned, expected = network(x.roll(2, 2), *given), network(x, *given).roll(2, 3)
    assert torch.allclose(turned, expected, atol=1e-5) == periodic
    assert not torch.allclose(network(x.roll(1, 1), *given), network(x, *given).roll(1, 2), atol=1e-2)


def test_tokens_are_put_back_where_they_were() -> None:
    network, x = cells(True), torch.randn(2, *GRID)
    token = network._cut(x)
    assert token.shape == (2, 2 * 3 * 2, 4)
    assert torch.equal(network._joined(torch.cat([token, -token], dim=2)), torch.stack([x, -x], dim=1))
    assert torch.equal(
        token[0, 0], x[0, :2, :2, 0].flatten()
    )  # the first two layers, two cells along the first index, one radius
    local = torch.arange(8.0).view(2, 4, 1)
    assert torch.equal(network._spread(local)[1, 0], torch.tensor([4.0, 5.0])) and network._spread(local).shape == (
        2,
        12,
        2,
    )


def test_distances_wrap_around_where_the_first_index_does() -> None:
    round_, n_round = _distances((2, 4, 3), periodic=True)
    flat, n_flat = _distances((2, 4, 3), periodic=False)
    assert (n_round, n_flat) == (3 * 4 * 5, 3 * 7 * 5) and round_.max() < n_round and flat.max() < n_flat
    place = {p: i for i, p in enumerate((a, b, c) for a in range(2) for b in range(4) for c in range(3))}
    assert (
        round_[place[0, 0, 0], place[1, 3, 2]] == round_[place[0, 1, 0], place[1, 0, 2]]
    )  # three cells on, or one back
    assert flat[place[0, 0, 0], place[1, 3, 2]] != flat[place[0, 1, 0], place[1, 0, 2]]
    assert len(round_.unique()) == n_round and len(flat.unique()) == n_flat


@pytest.mark.parametrize("t", [0.0, 0.3, 0.9, 0.999])
def test_what_is_said_of_cells_follows_the_theorem_of_bayes(t: float) -> None:
    """The posterior of a hurdle with two kinds of hits, integrated numerically over the showers' values, and draws from it."""
    empty, p, weights, means, widths = -0.3, 0.2, (0.7, 0.3), (2.0, 0.4), (0.7, 0.2)
    value = torch.linspace(-4, 8, 600_001, dtype=torch.float64)
    density = sum(
        w * torch.exp(-0.5 * ((value - m) / s) ** 2) / (s * math.sqrt(2 * math.pi))
        for w, m, s in zip(weights, means, widths, strict=True)
    )
    x = torch.tensor([-2.0, -0.3, 0.0, 0.8, 1.7, 2.5], dtype=torch.float64)

    def likely(v: Tensor | float) -> Tensor:
        return torch.exp(-0.5 * ((x[:, None] - t * v) / (1 - t)) ** 2)

    likely_empty, weight = (1 - p) * likely(empty)[:, 0], likely(value) * p * density * (value[1] - value[0])
    whole = weight.sum(1) + likely_empty
    rate, brute = weight.sum(1) / whole, ((weight * value).sum(1) + likely_empty * empty) / whole
    spread = (((weight * value.square()).sum(1) + likely_empty * empty**2) / whole - brute.square()).sqrt()

    def each(*numbers: float) -> Tensor:
        return torch.tensor([numbers], dtype=torch.float64).log().unsqueeze(2).expand(6, len(numbers), 1)

    told = Cells(
        torch.tensor(empty, dtype=torch.float64), torch.full((6, 1), math.log(p / (1 - p)), dtype=torch.float64),
        each(*weights), each(*map(math.exp, means)), each(*widths),
    )  # fmt: skip
    times = torch.full((6,), t, dtype=torch.float64)
    found = told.posterior(x[:, None], times)
    known = brute.isfinite()  # far from all values the likelihoods of the sum are zero
    assert known.sum() >= 3 and torch.allclose(found.expected[known, 0], brute[known], atol=1e-6)
    assert torch.allclose(found.rate.sum(1)[known, 0], rate[known], atol=1e-6)
    # of an empty cell and of hits: -ln of probability and density
    for shower, wanted in ((empty, -(likely_empty / whole).log()), (1.1, -(_at(1.1, value, weight) / whole).log())):
        surprise = found.surprise(torch.full((6, 1), shower, dtype=torch.float64))[:, 0]
        fine = known & wanted.isfinite()
        assert torch.allclose(surprise[fine], wanted[fine], atol=1e-4)
    many = 100_000
    for i in known.nonzero()[:, 0].tolist():
        drawn = Posterior(found.empty, *(v[i : i + 1].expand(many, -1, -1) for v in found[1:])).draw()[:, 0]
        hits = drawn != empty
        assert hits.double().mean().item() == pytest.approx(rate[i].item(), abs=0.006)
        assert drawn.mean().item() == pytest.approx(brute[i].item(), abs=0.01)
        assert drawn.std().item() == pytest.approx(spread[i].item(), abs=0.01)


def _at(shower: float, value: Tensor, weight: Tensor) -> Tensor:
    """The density of weights (6, V) on a grid of values at one of them."""
    return weight[:, (value - shower).abs().argmin()] / (value[1] - value[0])


def test_noise_that_is_added_up_to_a_later_time_is_that_of_the_time() -> None:
    """Given the shower x is normal at both times, and the noise of the earlier time is that of the later one and more."""
    t, s, shower = torch.full((1,), 0.4), torch.full((1,), 0.7), torch.full((1, 400_000), 1.5)
    noise = torch.randn_like(shower)
    made = renoised(t * shower + (1 - t) * noise, shower, t, s)
    kept = (made - s * shower) / (1 - s)  # the noise of the later time
    assert kept.mean().item() == pytest.approx(0, abs=0.01) and kept.std().item() == pytest.approx(1, abs=0.01)
    wanted = (0.3 / 0.7) / (0.6 / 0.4)  # noise over time is the sum of what is left of it and of independent noise
    assert (kept * noise).mean().item() == pytest.approx(wanted, abs=0.01)
    first = renoised(noise, shower, torch.zeros(1), s)  # nothing is known at time 0
    assert ((first - s * shower) * noise).mean().item() == pytest.approx(0, abs=0.01)
    assert (first - s * shower).std().item() == pytest.approx(0.3, abs=0.003)


def test_cells_begin_with_what_is_usual() -> None:
    """Shares, means and widths of hits of each layer and radius; around the axis alike where it is an angle."""
    share, middle = torch.rand(4, 1, 2) * 0.8 + 0.1, torch.randn(4, 1, 2)
    x = torch.where(torch.rand(20_000, *GRID) < share, middle + 0.2 * torch.randn(20_000, *GRID), torch.tensor(-6.0))
    for periodic in (True, False):
        model = matching(periodic=periodic)
        model.fit_input(x.flatten(1), torch.ones(len(x), 1))
        odds, weights = model.usual[0], model.usual[1:4].softmax(0)
        mean = (weights * model.usual[4:7]).sum(0)
        spread = (weights * (model.usual[7:].exp().square() + model.usual[4:7].square())).sum(0) - mean.square()
        log_width = 0.5 * spread.log()
        assert torch.allclose(odds.sigmoid(), share.expand(GRID), atol=0.02)
        assert torch.allclose(mean * model.std + model.mean, middle.expand(GRID), atol=0.03)
        assert torch.allclose(log_width.exp() * model.std, torch.tensor(0.2), atol=0.02)
        assert model.empty * model.std + model.mean == pytest.approx(-6, abs=1e-5)
        assert torch.equal(odds[:, :1].expand_as(odds), odds) == periodic


@pytest.mark.parametrize(
    "settings",
    [
        {"steps": 16},
        {"steps": 12, "solver": "ancestral"},
        {"steps": 12, "solver": "ancestral", "drawn_from": 0.5, "near_noise": 2.0},
    ],
    ids=str,
)
def test_empty_cells_end_empty(settings: dict[str, Any]) -> None:
    """Also without any training: the last step lands on the value of empty cells, or far from it."""
    x = torch.where(
        torch.rand(5000, math.prod(GRID)) < 0.2, 3 + 0.3 * torch.randn(5000, math.prod(GRID)), torch.tensor(0.0)
    )
    model = matching(**settings)
    model.fit_input(x, torch.ones(len(x), 1))
    made = model.sample(torch.ones(2000, 1))
    empty = made.abs() < 1e-3
    assert empty.float().mean().item() == pytest.approx(0.8, abs=0.02)
    assert made[~empty].mean().item() == pytest.approx(3, abs=0.05) and made[~empty].min() > 1
    assert made[~empty].std().item() == pytest.approx(0.3, abs=0.05)


@pytest.mark.parametrize(("solver", "order"), [("euler", 1), ("midpoint", 2)])
def test_errors_of_the_solvers_fall_as_they_should(solver: str, order: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """dx/dt = x (1 + t) has the solution x exp(t + t^2 / 2)."""

    def velocity(x: Tensor, t: Tensor, *_: Tensor) -> Tensor:
        return x * (1 + t)[:, None]

    x, cond, errors = torch.randn(5, math.prod(GRID)).double(), torch.ones(5, 1).double(), []
    for steps in (20, 40):
        model = matching(solver=solver, steps=steps).double()
        monkeypatch.setattr(model, "_velocity", velocity)
        errors.append((model.draw(x, cond) - x * math.exp(1.5)).abs().max())
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.15)


@pytest.mark.parametrize(
    ("settings", "within"),
    [
        ({"solver": "midpoint"}, 0.05),
        ({"solver": "ancestral"}, 0.12),
        ({"solver": "ancestral", "drawn_from": 0.5}, 0.05),
        ({"solver": "ancestral", "drawn_from": 0.5, "near_noise": 2.0}, 0.05),
    ],
    ids=str,
)
def test_a_distribution_is_learned(settings: dict[str, Any], within: float) -> None:
    """Voxels of all layers are a number times the condition, but for a little noise: what they share is lost where each is drawn by itself."""
    model = matching(steps=20, **settings)

    def data(n: int) -> tuple[Tensor, Tensor]:
        cond, r = 1 + torch.rand(n, 1), 2 + 0.5 * torch.randn(n, 1)
        return r * cond + 0.1 * torch.randn(n, 48), cond

    x, cond = data(2000)
    model.fit_input(x, cond)
    optimizer = torch.optim.AdamW(model.parameters(), 4e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 400)
    losses = []
    for _ in range(400):
        x, cond = data(128)
        optimizer.zero_grad()
        loss = model.step("matching", x, cond, Now(0, 1, 0, 1, 2000))["loss"]
        loss.backward()
        losses.append(loss.item())
        optimizer.step()
        schedule.step()
    cond = 1 + torch.rand(1000, 1)
    voxels = model.sample(cond)
    r = voxels.mean(1, keepdim=True) / cond
    assert r.mean().item() == pytest.approx(2, abs=0.06) and r.std().item() == pytest.approx(0.5, abs=within)
    assert sum(losses[-20:]) < 0.5 * sum(losses[:20])
    assert (voxels - r * cond).std().item() < 0.25


def test_steps_are_where_the_training_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Times of both are numbers between 0 and 1, to the same power; draws begin where they are told to."""
    model = matching(steps=4, near_noise=2.0, solver="ancestral", drawn_from=0.25)
    seen: dict[str, list[float]] = {"draw": [], "learn": []}

    def note(name: str) -> Callable[..., Any]:
        found = model._told

        def told(x: Tensor, t: Tensor, known: Any) -> Posterior:
            seen[name] += t.tolist()
            return found(x, t, known)

        return told

    monkeypatch.setattr(model, "_told", note("draw"))
    model.draw(torch.randn(1, math.prod(GRID)), torch.ones(1, 1))
    # midpoints are between 0 and 1/16, and 1/16 and 1/4
    assert seen["draw"] == pytest.approx([0, 1 / 32, 1 / 16, 5 / 32, 1 / 4, 9 / 16])
    monkeypatch.setattr(model, "_told", note("learn"))
    model.step("matching", torch.randn(20_000, math.prod(GRID)), torch.ones(20_000, 1), Now(0, 1, 0, 1, 2000))
    t = torch.tensor(seen["learn"])
    assert t.mean().item() == pytest.approx(1 / 3, abs=0.01) and (t < 0.25).float().mean().item() == pytest.approx(
        0.5, abs=0.02
    )


def test_energies_of_layers_are_made_of_their_ratios() -> None:
    """ln E_layer / E_inc of logits of the energy ratios u, beside what else is known of each layer."""
    model = matching(extra=8).double()
    energies, incident = 10 * torch.rand(5, 4).double(), torch.full((5, 1), 60.0).double()
    further = torch.randn(5, 4).double()
    known = model._of_layer(torch.cat([torch.logit(ratios_of(energies, incident)), further], dim=1))
    assert known.shape == (5, 4, 3)
    torch.testing.assert_close(known[:, :, 2], (energies / incident).log(), rtol=0, atol=1e-8)
    torch.testing.assert_close(known[:, :, 1], further)


def test_a_layers_numbers_reach_its_cells_directly() -> None:
    """Each number of a layer changes what is said of the cells of that layer alone, as much at all angles of a radius."""
    model = matching(extra=8)
    model.fit_input(torch.randn(50, 56), torch.ones(50, 1))
    torch.nn.init.normal_(model.direct)
    x, t, cond, extras = torch.randn(1, *GRID), torch.zeros(1), torch.zeros(1, 1), torch.zeros(1, 8)
    before = model._told(x, t, model._known(cond, extras))
    after = model._told(x, t, model._known(cond, extras.index_fill(1, torch.tensor([6]), 1.0)))  # hits of layer 2
    for number in ("log_rate", "mean"):
        change = (getattr(after, number) - getattr(before, number))[0].view(-1, *GRID)
        assert (change[:, 2].abs() > 1e-3).all() and not change[:, [0, 1, 3]].any()
        assert torch.allclose(change[:, 2], change[:, 2, :1].expand_as(change[:, 2]), atol=1e-6)


def test_layers_are_learned_from_every_so_many_batches() -> None:
    found = matching(extra=8, first_every=7).objectives()
    assert [(name, o.every) for name, o in found.items()] == [("matching", 1), ("layers", 7)]
    assert len({id(p) for o in found.values() for p in o.parameters}) == len(list(matching(extra=8).parameters()))
    assert list(matching().objectives()) == ["matching"]


def test_wrong_settings_are_named() -> None:
    with pytest.raises(ValueError, match="multiple of 2 x heads"):
        FlowMatchingConfig(width=12, heads=4)
    voxels = Columns(((6, 2),) * 4, 0.0, 48)
    FlowMatchingConfig(patch=(2, 2, 1)).takes(voxels)
    with pytest.raises(ValueError, match="parts of the grid of 4 x 6 x 2 cells"):
        FlowMatchingConfig(patch=(3, 2, 1)).takes(voxels)
    with pytest.raises(ValueError, match="needs voxels"):
        FlowMatchingConfig().takes(Columns(((6, 2),) * 4, 0.0, None))
    with pytest.raises(ValueError, match="needs no columns after the voxels, or logits .*, found 8 other columns"):
        FlowMatchingConfig().takes(Columns(((6, 2),) * 4, 0.0, 56, extras=True, hits=True, unit_extras=True))
    told = Columns(((6, 2),) * 4, 0.0, 56, extras=True, hits=True)
    FlowMatchingConfig().takes(replace(told, power=0.0))
    FlowMatchingConfig(root=3).takes(replace(told, power=1 / 3))
    with pytest.raises(ValueError, match=r"logarithms of their energies \(log\), .*, found other values"):
        FlowMatchingConfig().takes(told)
    with pytest.raises(ValueError, match=r"\(log\), .*, found these to the power 0.25"):
        FlowMatchingConfig().takes(replace(told, power=0.25))
    with pytest.raises(ValueError, match=r"\(power with exponent 0.25\), .*, found their logarithms"):
        FlowMatchingConfig(root=4).takes(replace(voxels, power=0.0))
    with pytest.raises(ValueError, match="no regular grid"):
        FlowMatchingConfig().takes(Columns(((6, 2), (3, 2)), 0.0, 18))
