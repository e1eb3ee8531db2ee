"""Showers from coarse to fine: densities that add up to 1, sums that are met, and sampling that knows what training knew."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from calopipe.models.base import Inputs
from calopipe.models.cascades.cells import Drawn, RingCells, Rings
from calopipe.models.cascades.layers import LayerTotals
from calopipe.models.cascades.ring_cascade import RingCascade
from calopipe.models.cascades.scales import Grid
from calopipe.models.cascades.settings import RingCascadeConfig
from calopipe.models.cascades.sums import (
    dirichlet_log_prob,
    draw_hits,
    draw_shares,
    log_prob_of_hits,
)
from calopipe.models.cascades.totals import RingTotals

GRID = Grid(layers=5, rings=3, angles=6, periodic=True, threshold=0.02)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def some_cells(n: int, seed: int = 1) -> torch.Tensor:
    """(n, 5, 3, 6) energies in MeV, a third of them hits."""
    g = torch.Generator().manual_seed(seed)
    shape = (n, GRID.layers, GRID.rings, GRID.angles)
    energy = GRID.threshold + torch.empty(shape).exponential_(generator=g)
    return torch.where(torch.rand(shape, generator=g) < 0.35, energy, torch.zeros(()))


def randomised(module: torch.nn.Module) -> torch.nn.Module:
    for p in module.parameters():
        torch.nn.init.normal_(p, std=0.3)
    return module.eval()


# ---- distributions with a given sum --------------------------------------------------------------------------------------
def subsets(cells: int, number: int) -> torch.Tensor:
    found = torch.zeros(math.comb(cells, number), cells, dtype=torch.float64)
    for row, chosen in zip(found, itertools.combinations(range(cells), number), strict=True):
        row[list(chosen)] = 1
    return found


def test_hits_given_their_number_are_independent_hits_given_their_number() -> None:
    logits = torch.randn(6, dtype=torch.float64) * 2
    p = torch.sigmoid(logits)
    for number in range(7):
        hit = subsets(6, number)
        free = torch.where(hit > 0, p, 1 - p).prod(1)
        found = log_prob_of_hits(logits.expand_as(hit), hit).exp()
        torch.testing.assert_close(found, free / free.sum())


def test_drawn_hits_have_their_number_and_their_frequencies() -> None:
    logits = torch.tensor([2.0, -1.0, 0.0, 0.5, -3.0]).expand(40_000, 5)
    number = torch.arange(40_000) % 6
    hit = draw_hits(logits, number)
    assert (hit.sum(1) == number).all()
    for k in range(1, 5):
        every = subsets(5, k).float()
        p = log_prob_of_hits(logits[: len(every)], every).exp()
        found = hit[number == k].float().mean(0)
        torch.testing.assert_close(found, (p[:, None] * every).sum(0), atol=0.02, rtol=0)


def test_gradients_of_no_and_all_hits_are_zero_and_finite() -> None:
    logits = torch.randn(2, 4, requires_grad=True)
    log_prob_of_hits(logits, torch.tensor([[0.0] * 4, [1.0] * 4])).sum().backward()
    torch.testing.assert_close(logits.grad, torch.zeros(2, 4), atol=1e-6, rtol=0)


def test_density_of_shares_integrates_to_one_over_the_hit_cells() -> None:
    log_alpha, hit = torch.randn(1, 2, 3).double() * 0.5 + 0.7, torch.tensor([[1.0, 0.0, 1.0]]).double()
    weights = torch.tensor([[0.3, 0.7]]).double().log()
    s = (torch.arange(200_000).double() + 0.5) / 200_000
    shares = torch.stack([s, 0 * s, 1 - s], dim=1)
    n = len(s)
    density = dirichlet_log_prob(log_alpha.expand(n, -1, -1), weights.expand(n, -1), shares, hit.expand(n, -1)).exp()
    assert density.mean() == pytest.approx(1, abs=2e-3)
    drawn = draw_shares(log_alpha.expand(n, -1, -1).float(), weights.expand(n, -1).float(), hit.expand(n, -1) > 0)
    torch.testing.assert_close(drawn.sum(1), torch.ones(n))
    assert (drawn[:, 1] == 0).all()
    for power in (1, 2):
        assert (drawn[:, 0] ** power).mean() == pytest.approx(float((density * s**power).mean()), abs=4e-3)


# ---- rings -----------------------------------------------------------------------------------------------------------------
def test_rings_have_the_hits_and_the_energy_of_their_layer() -> None:
    totals, cells = randomised(RingTotals(GRID, 16, 3)), some_cells(300)
    n, energy = (cells > 0).float().sum((2, 3)), cells.sum((2, 3))
    n[0], n[1], energy[0] = 0, GRID.rings * GRID.angles, 0
    energy[1] = energy[1] + n[1] * GRID.threshold
    found_n, found = totals.draw(torch.randn(300), n, energy)
    assert (found_n.sum(2) == n).all() and (found_n <= GRID.angles).all() and (found_n == found_n.round()).all()
    torch.testing.assert_close(found.sum(2), energy)
    assert ((found > 0) == (found_n > 0)).all() and (found >= found_n * GRID.threshold * (1 - 1e-5)).all()


def test_probabilities_of_the_hits_of_rings_add_up_to_one() -> None:
    """Of every way to put the hits of one layer into its rings; energies, one density more, are left out."""
    totals = randomised(RingTotals(GRID, 16, 3)).requires_grad_(False)
    for number in (1, 5, 11, 17):
        total = 0.0
        for ways in itertools.product(range(GRID.angles + 1), repeat=GRID.rings):
            if sum(ways) != number:
                continue
            left, p = torch.tensor([float(number)]), 1.0
            for ring, n in enumerate(ways):
                h = torch.zeros(1, 16)  # what the networks say may differ from ring to ring
                h[0, ring] = 1
                p *= float(totals._logits(h, left, torch.tensor(ring))[0, n].exp())
                left = left - n
            total += p
        assert total == pytest.approx(1, abs=1e-4), number


def test_sampling_of_rings_knows_what_training_knew(monkeypatch: pytest.MonkeyPatch) -> None:
    totals, cells = randomised(RingTotals(GRID, 16, 3)), some_cells(40)
    incident, n, energy = torch.randn(40), (cells > 0).float().sum((2, 3)), cells.sum((2, 3))
    seen: list[torch.Tensor] = []
    hidden = totals._hidden
    monkeypatch.setattr(totals, "_hidden", lambda *a: seen.append(hidden(*a)) or seen[-1])
    with torch.no_grad():
        found_n, found = totals.draw(incident, n, energy)
        drawn = torch.stack(seen, dim=1).view(40, GRID.layers, GRID.rings, -1)
        seen.clear()
        totals.log_prob(incident, found_n, found, 1.0)
    torch.testing.assert_close(seen[0], drawn[n > 0], atol=1e-4, rtol=1e-4)


def test_a_part_of_the_rings_estimates_the_whole() -> None:
    model = RingCells(GRID, 16, 3)
    cells, incident = some_cells(64), torch.randn(64)
    whole = sum(model.log_prob(incident, cells, 1.0))
    parts = torch.stack([sum(model.log_prob(incident, cells, 0.5)) for _ in range(40)])
    assert abs(parts.mean() - whole) < 4 * parts.std() / math.sqrt(40)
    totals, n = RingTotals(GRID, 16, 3), (cells > 0).float().sum(3)
    whole = totals.log_prob(incident, n, cells.sum(3), 1.0)
    parts = torch.stack([totals.log_prob(incident, n, cells.sum(3), 0.5) for _ in range(40)])
    assert abs(parts.mean() - whole) < 4 * parts.std() / math.sqrt(40)


# ---- cells -----------------------------------------------------------------------------------------------------------------
def test_cells_have_the_hits_and_the_energy_of_their_ring() -> None:
    model, cells = randomised(RingCells(GRID, 16, 3)), some_cells(200)
    n, energy = (cells > 0).float().sum(3), cells.sum(3)
    found = model.draw(torch.randn(200), n, energy)
    assert ((found > 0).sum(3) == n).all() and (found[found > 0] >= GRID.threshold * (1 - 1e-5)).all()
    torch.testing.assert_close(found.sum(3), energy, rtol=1e-4, atol=1e-5)


def test_sampling_of_cells_knows_what_training_knew(monkeypatch: pytest.MonkeyPatch) -> None:
    model, cells, incident = randomised(RingCells(GRID, 16, 3)), some_cells(30), torch.randn(30)
    seen: list[tuple[Rings, torch.Tensor]] = []
    hidden = model._hidden
    monkeypatch.setattr(
        model, "_hidden", lambda drawn, at, numbers: seen.append((at, hidden(drawn, at, numbers))) or seen[-1][1]
    )
    with torch.no_grad():
        found = model.draw(incident, (cells > 0).float().sum(3), cells.sum(3))
        drawn = torch.zeros(30, GRID.layers, GRID.rings, GRID.angles, 16)
        for at, h in seen:
            drawn[at.shower, at.layer, at.ring] = h
        seen.clear()
        model.log_prob(incident, found, 1.0)
    ((at, h),) = seen
    torch.testing.assert_close(h, drawn[at.shower, at.layer, at.ring], atol=1e-4, rtol=1e-4)


def test_the_remembered_layers_are_an_average_of_those_before() -> None:
    cells = some_cells(3)
    drawn = Drawn.of(cells, GRID)
    hit = (cells > 0).float()
    expected = 0.3 * hit[:, 2] + 0.7 * 0.3 * hit[:, 1] + 0.7**2 * 0.3 * hit[:, 0]
    torch.testing.assert_close(drawn.before[:, 3 + 2, 2:-1, :, 0], expected)
    assert (drawn.before[:, 2] == 0).all() and (drawn.now[:, :2] == 0).all()


@pytest.mark.parametrize("turn", [2, 4])
def test_showers_turned_by_two_cells_are_as_probable(turn: int) -> None:
    model, cells, incident = randomised(RingCells(GRID, 16, 3)), some_cells(20), torch.randn(20)
    before, after = (model.log_prob(incident, x, 1.0) for x in (cells, cells.roll(turn, 3)))
    for a, b in zip(before, after, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-2)


def test_rings_without_an_angle_do_not_close() -> None:
    plane = Grid(5, 3, 6, periodic=False, threshold=0.02)
    model, cells = randomised(RingCells(plane, 16, 3)), some_cells(20)
    before, after = (sum(model.log_prob(torch.zeros(20), x, 1.0)) for x in (cells, cells.roll(2, 3)))
    assert abs(before - after) > 0.1


# ---- layers ------------------------------------------------------------------------------------------------------------------
def layers() -> LayerTotals:
    return randomised(LayerTotals(GRID, 16, 3, 0.1))


def test_layers_have_the_energy_of_the_shower() -> None:
    model, incident = layers(), torch.full((4000,), 50.0)
    with torch.no_grad():
        model.total[-1].weight.zero_()
        model.total[-1].bias.copy_(
            torch.tensor([-1.0, *[0.0] * 3, 0.1, 0.0, -0.1, *[-4.0] * 3])
        )  # a mixture around E_inc
        n, energy = model.draw(torch.zeros(4000), incident)
    total = energy.sum(1)
    assert ((n > 0) == (energy > 0)).all() and (n == n.round()).all() and (n <= GRID.rings * GRID.angles).all()
    assert (energy >= n * GRID.threshold * (1 - 1e-4)).all()
    some = total > 0
    assert float((~some).float().mean()) == pytest.approx(1 / (1 + math.e), abs=0.03)
    ratio = (total[some] / 50).log()
    assert ratio.mean() == pytest.approx(0, abs=0.02)
    assert ratio.std() == pytest.approx(math.sqrt(math.exp(-4) + 0.02 / 3), rel=0.05)


def test_probabilities_of_one_layer_add_up_to_one() -> None:
    """Over numbers of hits and over ln E_tot of showers of one layer, which has all the energy."""
    grid = Grid(1, 1, 4, True, 1e-6)
    model = randomised(LayerTotals(grid, 16, 3, 0.0)).requires_grad_(False)
    logs = torch.linspace(-9, 9, 3001)
    found = -math.inf
    for n in range(1, 5):
        p = [
            model.log_prob(torch.zeros(1), torch.ones(1), torch.full((1, 1), float(n)), e.exp().view(1, 1))
            for e in logs
        ]
        found = float(torch.logsumexp(torch.stack([torch.tensor(found), *p]), 0))
    empty = model.log_prob(torch.zeros(1), torch.ones(1), torch.zeros(1, 1), torch.zeros(1, 1)).exp()
    density = math.exp(found) / math.sqrt(2 * math.pi)  # the loss leaves out the constant
    assert density * 18 / 3000 + float(empty) == pytest.approx(1, abs=0.01)


def test_sampling_of_layers_knows_what_training_knew(monkeypatch: pytest.MonkeyPatch) -> None:
    model, incident = layers(), torch.full((60,), 50.0)
    seen: list[torch.Tensor] = []
    counts = model._counts
    monkeypatch.setattr(model, "_counts", lambda h, last: seen.append(h) or counts(h, last))
    with torch.no_grad():
        n, energy = model.draw(torch.zeros(60), incident)
        drawn = torch.stack(seen, dim=1)
        seen.clear()
        model.log_prob(torch.zeros(60), incident, n, energy)
    some = energy.sum(1) > 0
    alive = (energy.flip(1).cumsum(1).flip(1) > 0)[some]
    torch.testing.assert_close(seen[0][alive], drawn[some][alive], atol=2e-3, rtol=2e-3)


# ---- the network -------------------------------------------------------------------------------------------------------------
def cascade() -> RingCascade:
    shapes = ((GRID.angles, GRID.rings),) * GRID.layers
    inputs = Inputs(dim=90, layer_shapes=shapes, periodic=(True,) * GRID.layers, threshold_MeV=GRID.threshold)
    settings = RingCascadeConfig(layers_width=32, rings_width=32, cells_width=32, components=3, part=1.0, dropout=0.0)
    return RingCascade(settings, inputs)


def test_it_learns_that_hits_go_on_straight() -> None:
    """One hit in each layer, at an angle and in a ring that all layers share."""
    n = 512
    angle, ring = torch.randint(0, GRID.angles, (n,)), torch.randint(0, GRID.rings, (n,))
    cells = torch.zeros(n, GRID.layers, GRID.rings, GRID.angles)
    cells[torch.arange(n), :, ring, angle] = torch.empty(n, GRID.layers).exponential_() + 1
    model, x, cond = cascade(), GRID.voxels(cells), torch.full((n, 1), 10.0)
    model.fit_input(x, cond)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(150):
        optimiser.zero_grad()
        losses = model.loss(x, cond)
        losses["loss"].backward()
        optimiser.step()
    assert losses["rings"] < 1.15 * math.log(GRID.rings)  # all there is to know is where the first one goes
    assert losses["hits"] < 1.15 * math.log(GRID.angles)
    found = GRID.cells(model.eval().sample(cond)) > 0
    assert ((found.sum((2, 3)) == 1).float().mean()) > 0.97
    assert (found[:, 1:] & found[:, :-1]).sum((2, 3)).float().mean() > 0.92
    assert found[:, 0].float().sum((0, 1)).min() > 0.5 * n / GRID.angles


def test_energies_below_the_threshold_are_no_hits() -> None:
    model, cells = cascade().eval(), some_cells(20)
    cond = torch.full((20, 1), 30.0)
    below = torch.where(cells == 0, torch.full_like(cells, 0.9 * GRID.threshold), cells)
    with torch.no_grad():
        a, b = (model.loss(GRID.voxels(x), cond)["loss"] for x in (cells, below))
    assert a == b


def test_empty_showers_are_learned_and_drawn() -> None:
    model, cond = cascade(), torch.full((64, 1), 10.0)
    x = torch.zeros(64, 90)
    model.fit_input(x, cond)
    loss = model.loss(x, cond)["loss"]
    loss.backward()
    assert torch.isfinite(loss)
    with torch.no_grad():
        model.layers.total[-1].bias[0] = 50.0
    assert (model.eval().sample(cond) == 0).all()
