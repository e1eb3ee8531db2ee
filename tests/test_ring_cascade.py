"""Showers from coarse to fine: densities that add up to 1, sums that are met, and sampling that knows what training knew."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pytest
import torch

from calopipe.models.base import Inputs
from calopipe.models.cascades import ring_cascade
from calopipe.models.cascades.cells import Drawn, RingCells, Rings
from calopipe.models.cascades.compiled import compiled, log_prob
from calopipe.models.cascades.layers import LayerTotals
from calopipe.models.cascades.ring_cascade import RingCascade
from calopipe.models.cascades.scales import Grid
from calopipe.models.cascades.settings import RingCascadeConfig
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
    assert ((found > 0).sum(3) == n).all() and (found[found > 0] >= GRID.threshold * (1 - 2e-4)).all()
    torch.testing.assert_close(found.sum(3), energy, rtol=1e-4, atol=1e-5)


def test_rings_of_an_odd_number_of_cells_keep_their_sums() -> None:
    grid = Grid(2, 2, 5, periodic=True, threshold=0.02)
    model, cells = randomised(RingCells(grid, 16, 3)), some_cells(100)[:, :2, :2, :5]
    found = model.draw(torch.randn(100), (cells > 0).float().sum(3), cells.sum(3))
    assert ((found > 0).sum(3) == (cells > 0).sum(3)).all()
    torch.testing.assert_close(found.sum(3), cells.sum(3), rtol=1e-4, atol=1e-5)


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


def test_probabilities_of_the_hits_of_a_ring_add_up_to_one() -> None:
    """Of every way to put hits into the cells of one ring, behind others that are as they are."""
    grid = Grid(2, 1, 8, periodic=True, threshold=0.02)
    model = randomised(RingCells(grid, 16, 3)).requires_grad_(False)
    for number in (1, 3, 7, 8):
        found = []
        for chosen in itertools.combinations(range(8), number):
            energy = torch.zeros(1, 2, 1, 8)
            energy[0, 1, 0, list(chosen)] = 1.0
            found.append(model.log_prob(torch.zeros(1), energy, 1.0)[0])
        assert float(torch.stack(found).exp().sum()) == pytest.approx(1, abs=1e-3), number


def test_a_sweep_knows_what_it_has_passed_and_nothing_else() -> None:
    model, ring = RingCells(Grid(2, 1, 8, True, 0.02), 16, 3), torch.arange(1.0, 9).view(1, 8)
    weights = torch.tensor([[0.0, 2, 0, 1, 0, 5, 0, 0]])
    passed = model._passed(ring, weights)
    assert passed[0, 5, :8].tolist() == [2, 3, 4, 5, 0, 0, 1, 0]  # four back, two ahead; all four are there, none ahead
    assert passed[0, 0].tolist() == [0] * 10
    assert passed[0, 6, :8].tolist() == [3, 4, 5, 6, 0, 1, 1, 0.5]
    assert passed[0, 7, :8].tolist() == [4, 5, 6, 7, 1, 2, 1, 1]  # behind the last cell comes the first
    half = math.sqrt(0.5)  # of a ring of eight cells: the middle of what was passed, towards the cell and to its side
    assert passed[0, 2, 8:].tolist() == pytest.approx([half, -half])  # all at cell 1
    assert passed[0, 5, 8:].tolist() == pytest.approx([(2 * -1 + 0) / 3, (0 - 1) / 3], abs=1e-6)  # also cell 3
    sweep = model._begin(ring)
    for angle in range(8):
        torch.testing.assert_close(model._at(sweep, angle), passed[:, angle])
        model._pass(sweep, angle, ring[:, angle], weights[:, angle])


def test_middles_of_the_energy_by_hand() -> None:
    grid = Grid(3, 3, 4, True, 0.02)
    cells = torch.zeros(1, 3, 3, 4)
    cells[0, 0, 0, 0], cells[0, 0, 2, 1] = 3.0, 1.0  # in the innermost ring at angle 0, in the outermost a quarter on
    cells[0, 1, 0, 2] = 2.0
    drawn, directions = Drawn.of(cells, grid), grid.directions(cells)
    at = Rings(torch.tensor([0, 0, 0]), torch.tensor([0, 1, 2]), torch.tensor([2, 0, 0]))
    found = drawn.middles(at, directions)
    expected = torch.zeros(3, 4, 3)
    expected[0, :, 2] = 0.5 * torch.tensor([1.0, 0, -1, 0])  # the rings inside the outermost one
    expected[1, :, :2] = 0.5 * torch.tensor([1.0, 0, -1, 0])[:, None]  # of the layer before, up to one ring further out
    both = (
        torch.tensor([1.5 - 1, 2.5, -0.5, -2.5]) / 6
    )  # of the first layer, up to two rings further out, and the second
    expected[2, :, 0], expected[2, :, 1] = both, 0.5 * torch.tensor([-1.0, 0, 1, 0])
    torch.testing.assert_close(found, torch.asinh(10 * expected), atol=1e-5, rtol=1e-5)


def test_hits_and_energies_are_shared_out_by_scores() -> None:
    """Of the cells to come, in proportion to the exponentials of scores; with equal ones to each alike."""
    weights, hit = torch.tensor([[1.0, 2.0, 3.0, 4.0]]), torch.tensor([[1.0, 0.0, 1.0, 1.0]])
    assert RingCells._rates(weights.log())[0].tolist() == pytest.approx([1 / 10, 2 / 9, 3 / 7, 1])
    shares = RingCells._shares(weights.log(), hit).sigmoid()[0]
    assert shares[[0, 2]].tolist() == pytest.approx([1 / 8, 3 / 7])
    alike = torch.zeros(1, 4)
    assert RingCells._rates(alike)[0].tolist() == pytest.approx([1 / 4, 1 / 3, 1 / 2, 1])
    assert RingCells._shares(alike, hit)[0, [0, 2]].tolist() == pytest.approx([-math.log(2), 0])
    model = RingCells(GRID, 16, 3)
    assert all((scores == 0).all() for scores in model._scores(torch.randn(5, 6, 16)))  # before anything is learned


def test_showers_that_are_turned_see_the_same_layers_before() -> None:
    """What is known of a cell turns with the shower; only where the sweep begins does not."""
    model, cells = randomised(RingCells(GRID, 16, 3)), some_cells(20)
    at, numbers = Rings(*torch.ones(20, 5, 3).nonzero().unbind(1)), torch.randn(300, 13)
    before, after = (model._hidden(Drawn.of(x, GRID), at, numbers) for x in (cells, cells.roll(1, 3)))
    torch.testing.assert_close(before.roll(1, 1), after, rtol=1e-4, atol=1e-4)


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
    logs = torch.linspace(-9, 9, 601)
    found = -math.inf
    for n in range(1, 5):
        p = [
            model.log_prob(torch.zeros(1), torch.ones(1), torch.full((1, 1), float(n)), e.exp().view(1, 1))
            for e in logs
        ]
        found = float(torch.logsumexp(torch.stack([torch.tensor(found), *p]), 0))
    empty = model.log_prob(torch.zeros(1), torch.ones(1), torch.zeros(1, 1), torch.zeros(1, 1)).exp()
    density = math.exp(found) / math.sqrt(2 * math.pi)  # the loss leaves out the constant
    assert density * 18 / 600 + float(empty) == pytest.approx(1, abs=0.01)


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


# ---- compiled sampling -------------------------------------------------------------------------------------------------------
def cascade_of(grid: Grid) -> RingCascade:
    """A cascade with weights that say something."""
    shapes = ((grid.angles, grid.rings),) * grid.layers
    dim = grid.layers * grid.rings * grid.angles
    inputs = Inputs(dim=dim, layer_shapes=shapes, periodic=(grid.periodic,) * grid.layers, threshold_MeV=grid.threshold)
    settings = RingCascadeConfig(layers_width=16, rings_width=24, cells_width=16, components=3, part=1.0)
    model = RingCascade(settings, inputs)
    randomised(model)
    with torch.no_grad():
        model.layers.total[-1].bias[0] = -2.0  # empty showers are seldom
    return model


def compiled_code() -> Callable[..., None]:
    run = compiled()
    assert run is not None, "numba compiles on every machine that has tests"
    return run


@pytest.mark.parametrize("angles, periodic", [(6, True), (8, True), (8, False)])
def test_compiled_sampling_walks_the_way_that_training_learned(angles: int, periodic: bool) -> None:
    """ln p of given showers, added up by the code that draws, is the loss."""
    grid = Grid(layers=5, rings=3, angles=angles, periodic=periodic, threshold=0.02)
    model, rows = cascade_of(grid), 40
    energy = grid.threshold + torch.empty(rows, 5, 3, angles).exponential_()
    cells = energy * (torch.rand_like(energy) < torch.rand(rows, 5, 1, 1))
    cells[:3] = 0
    cells[3:20] *= torch.rand(17, 5, 1, 1) < 0.5  # layers without hits
    cond = 20 + 50 * torch.rand(rows, 1)
    model.fit_input(grid.voxels(cells), cond)
    with torch.no_grad():
        losses = model.loss(grid.voxels(cells), cond)
    found = log_prob(compiled_code(), model, model._scaled(cond), cond[:, 0], cells).mean(0)
    for name, value in zip(("layers", "rings", "hits", "energies"), found, strict=True):
        assert float(-value) == pytest.approx(float(losses[name]), rel=1e-4), name


def test_compiled_and_torch_showers_are_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    grid = Grid(layers=4, rings=3, angles=8, periodic=True, threshold=0.02)
    model, cond = cascade_of(grid), torch.full((6000, 1), 20.0)
    a = grid.cells(model.sample(cond))
    monkeypatch.setattr(ring_cascade, "compiled", lambda: None)
    b = grid.cells(model.sample(cond))
    assert not torch.equal(a, b) and 0.02 < (a > 0).float().mean() < 0.98

    def differ(x: torch.Tensor, y: torch.Tensor) -> float:
        """The largest difference of means over rows in standard errors."""
        error = ((x.var(0) + y.var(0)) / len(x)).sqrt()
        return float(((x.mean(0) - y.mean(0)).abs() / error.clamp(min=1e-9)).max())

    for of in (lambda v: (v > 0).float(), grid.log, lambda v: grid.log(v.sum((2, 3))), lambda v: grid.log(v) ** 2):
        assert differ(of(a), of(b)) < 5  # of some hundred numbers
    hits_a, hits_b = ((v > 0).float() for v in (a, b))
    assert differ(hits_a * hits_a.roll(1, 3), hits_b * hits_b.roll(1, 3)) < 5
    assert differ(hits_a[:, 1:] * hits_a[:, :-1], hits_b[:, 1:] * hits_b[:, :-1]) < 5


def test_compiled_showers_have_their_energy_and_no_soft_hits() -> None:
    grid = Grid(layers=4, rings=3, angles=8, periodic=True, threshold=0.02)
    cells = grid.cells(cascade_of(grid).sample(torch.full((500, 1), 20.0)))
    assert cells[cells > 0].min() >= 0.999 * grid.threshold
    assert torch.isfinite(cells).all()


def test_compiled_showers_depend_on_the_seed_and_not_on_threads_or_other_showers() -> None:
    grid, threads = Grid(layers=4, rings=3, angles=8, periodic=True, threshold=0.02), torch.get_num_threads()
    model, cond = cascade_of(grid), torch.full((100, 1), 20.0)
    found = []
    try:
        for n, rows in ((1, 100), (3, 100), (1, 20)):
            torch.set_num_threads(n)
            torch.manual_seed(5)
            found.append(model.sample(cond[:rows]))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(found[0], found[1]) and torch.equal(found[0][:20], found[2])
    assert len(found[0].unique(dim=0)) > 80
