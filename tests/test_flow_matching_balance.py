"""Flow matching whose layers have the energies and numbers of hits that are told: conditioned cells, draws that meet sums, and what is told."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from calopipe.config import validate
from calopipe.extra_dimensions import ratios_of
from calopipe.models.base import Inputs
from calopipe.models.matching.balance import Energies, Sums, drawn, systematic
from calopipe.models.matching.expectation import Posterior
from calopipe.models.matching.flow_matching import FlowMatching
from calopipe.models.matching.scale import Scale
from calopipe.models.matching.settings import FlowMatchingConfig
from calopipe.models.matching.walk import LayerWalk

GRID = (3, 4, 3)
ONE, NONE = torch.tensor(1.0), torch.tensor(0.0)
#: by what voxels are: logarithms of energies, or fourth roots
SCALES = {None: Scale(None, ONE, NONE, NONE), 4: Scale(4, ONE, NONE, NONE)}
EMPTY = {None: -9.0, 4: 0.0}
both = pytest.mark.parametrize("root", SCALES)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def posterior(rate: Tensor, mean: Tensor, width: Tensor, root: int | None) -> Posterior:
    """Of one layer of cells (A, R), hit with probabilities ``rate`` in one way."""
    log_rate = torch.stack([(1 - rate).log(), rate.log()])[None, :, None]
    return Posterior(torch.tensor(EMPTY[root]), log_rate, mean[None, None, None], width[None, None, None])


def hit_in(value: Tensor, root: int | None) -> Tensor:
    return value > EMPTY[root] + 1e-3


def energies(value: Tensor, root: int | None = None) -> Tensor:
    return torch.where(hit_in(value, root), value.exp() if root is None else value**4, torch.zeros_like(value))


def values(log_energy: Tensor, width: float, root: int | None) -> tuple[Tensor, Tensor]:
    """Means and widths of values of about these energies, whose logarithms are about so wide."""
    if root is None:
        return log_energy, torch.full_like(log_energy, width)
    mean = (log_energy / root).exp()
    return mean, width / root * mean


@both
def test_moments_are_those_of_draws(root: int | None) -> None:
    scale = Scale(root, torch.tensor(0.6), torch.tensor(1.2), torch.tensor(0.7))
    mean, width = torch.tensor([0.5, 1.0, 2.0]), torch.tensor([0.05, 0.1, 0.2])
    value = mean + width * torch.randn(400_000, 3)
    found, energy = scale.moments(mean, width), scale.energy(value)
    assert torch.allclose(energy.mean(0), found.first, rtol=3e-3)
    assert torch.allclose(energy.square().mean(0), found.second, rtol=1e-2)
    assert torch.allclose((scale.slope(value) * width).mean(0), found.slope, rtol=3e-3)
    step = (scale.energy(mean + 1e-3) - scale.energy(mean - 1e-3)) / 2e-3
    assert torch.allclose(step, scale.slope(mean), rtol=2e-3)


def test_systematic_draws_keep_probabilities_and_numbers() -> None:
    rate = torch.rand(1, 2, 20).expand(20_000, -1, -1)
    taken = systematic(rate)
    assert (taken.sum(2) - rate.sum(2)).abs().max() < 1
    assert torch.allclose(taken.float().mean(0), rate[0], atol=0.02)
    sure = systematic(torch.tensor([[[0.0, 1.0, 0.0, 1.0]]]))
    assert sure.tolist() == [[[False, True, False, True]]]


@both
def test_tilted_cells_are_those_of_showers_with_the_sums(root: int | None) -> None:
    """Against showers of independent cells of which those are kept that have about the sums."""
    rate = 0.05 + 0.9 * torch.rand(2, 15)
    mean, width = values(torch.randn(2, 15) * 0.7, 0.3, root)
    cells = posterior(rate, mean, width, root)
    n = 400_000
    hit = torch.rand(n, 2, 15) < rate
    value = mean + width * torch.randn(n, 2, 15)
    energy, number = (energies(value, root) * hit).sum((1, 2)), hit.sum((1, 2))
    usual, expected = (rate * SCALES[root].moments(mean, width).first).sum(), rate.sum().round()
    for energy_told in (0.85 * usual, 1.15 * usual):
        kept = (number == expected) & ((energy / energy_told - 1).abs() < 0.02)
        assert kept.sum() > 2000
        told = Sums(energy_told.log().view(1, 1), expected.view(1, 1))
        odds, lean = Energies.of(cells, SCALES[root]).tilt(told)
        found = cells.tilted(odds, lean, torch.zeros(1, 1, 2, 15))
        true_rate, true_value = hit[kept].float().mean(0), ((value * hit)[kept].sum(0) / hit[kept].sum(0))
        before, after = (rate - true_rate).abs().mean(), (found.rate[0, 0, 0] - true_rate).abs().mean()
        assert after < 0.3 * before
        assert (found.mean[0, 0, 0] - true_value).abs().mean() < 0.3 * (mean - true_value).abs().mean()


@both
def test_draws_meet_the_sums(root: int | None) -> None:
    rate, scale = torch.tensor([[1.0, 0.3, 0.5, 1.0], [1.0, 0.2, 0.4, 0.6]]), SCALES[root]
    mean, width = values(torch.randn(2, 4) * 0.5, 0.1, root)
    cells = posterior(rate.clamp(1e-6, 1 - 1e-6), mean, width, root)

    def sums(value: Tensor) -> Tensor:
        return energies(value, root).sum((2, 3))

    many = Posterior(cells.empty, *(v.expand(20_000, *v.shape[1:]) for v in cells[1:]))
    told = Sums(sums(many.draw()).log(), torch.full((20_000, 1), 5.0))
    made, free = drawn(many, told, scale), many.draw()
    assert set(hit_in(made, root).sum((1, 2, 3)).tolist()) == {5}
    off, usual = (sums(v).log() - told.log_energy for v in (made, free))
    assert off.std() < 0.3 * usual.std()
    # where only values are uncertain, sums are met, and values are those of showers with the sums
    sure = Posterior(cells.empty, torch.tensor([-20.0, 0.0]).view(1, 2, 1, 1, 1).expand_as(many.log_rate), *many[2:])
    free = sure.draw()
    made = drawn(sure, Sums(sums(free).log(), torch.full((20_000, 1), 8.0)), scale)
    assert (sums(made) / sums(free) - 1).abs().quantile(0.95) < 0.01
    assert torch.allclose(made.mean(0), free.mean(0), atol=0.01) and torch.allclose(made.std(0), free.std(0), atol=0.01)
    empty = drawn(sure, Sums(torch.full((20_000, 1), -20.0), torch.zeros(20_000, 1)), scale)
    assert empty.isfinite().all()


def balanced(**settings: object) -> FlowMatching:
    inputs = Inputs(math.prod(GRID) + 6, layer_shapes=(GRID[1:],) * 3, periodic=(True,) * 3)
    config = {
        "patch": (1, 2, 3),
        "width": 16,
        "heads": 2,
        "blocks": 2,
        "first_width": 32,
        "first_components": 3,
        **settings,
    }
    return FlowMatching(validate(FlowMatchingConfig, config, "flow_matching"), inputs)


def showers(n: int, root: int | None = None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Voxels as logarithms or roots of energies and what is told of the layers, ln E_inc but for a scale, energies and numbers of hits of layers."""
    incident = torch.exp(torch.rand(n, 1) * 2 + 1)
    hit = torch.rand(n, *GRID) < 0.6
    value = 0.8 * torch.randn(n, *GRID) + incident.log()[:, :, None, None] - 4.5
    value = torch.where(hit, value if root is None else (value / root).exp(), torch.tensor(EMPTY[root]))
    energy, number = energies(value, root).sum((2, 3)), hit.sum((2, 3))
    u = ratios_of(energy, incident).clamp(1e-6, 1 - 1e-6)
    h = (number + torch.rand(n, 3)) / (math.prod(GRID[1:]) + 1)
    x = torch.cat([value.flatten(1), u.logit(), h.clamp(1e-6, 1 - 1e-6).logit()], dim=1)
    return x, (incident.log() - 2) / 0.7, energy, number


@both
def test_what_is_told_are_energies_and_numbers_of_hits(root: int | None) -> None:
    model = balanced(root=root)
    x, cond, energy, number = showers(4000, root)
    model.fit_input(x, cond)
    x, cond, energy, number = showers(500, root)
    told = model._known(model.conditions(cond), model.extras(x[:, math.prod(GRID) :])).sums
    assert told is not None
    some = number > 0
    assert torch.allclose((told.log_energy + model.unit)[some], energy[some].log(), atol=0.03)
    assert (told.hits != number).float().mean() < 0.03  # of which numbers are dequantised


@both
@pytest.mark.parametrize("t", [0.0, 0.5, 0.9])
def test_sums_make_showers_more_probable_and_are_met(t: float, root: int | None) -> None:
    """Without any training: likelihoods of showers, and the energies of layers of those that are drawn."""
    model = balanced(root=root)
    model.fit_input(*showers(4000, root)[:2])
    x, cond, *_ = showers(1000, root)
    shower = ((x[:, : math.prod(GRID)] - model.mean) / model.std).view(-1, *GRID)
    cond, extras, time = model.conditions(cond), model.extras(x[:, math.prod(GRID) :]), torch.full((1000,), t)
    noisy = t * shower + (1 - t) * torch.randn_like(shower)
    known = model._known(cond, extras)
    told, sums = model._told(noisy, time, known), known.sums
    plain = model._said(model.usual[None]).posterior(noisy, time)
    assert sums is not None
    assert told.surprise(shower).mean() < plain.surprise(shower).mean() - 0.01
    some = sums.hits > 2

    def off(cells: Tensor) -> Tensor:
        energy = energies(cells * model.std + model.mean, root).sum((2, 3)).clamp(min=1e-9)
        return (energy.log() - model.unit - sums.log_energy)[some].abs().quantile(0.9)

    met = off(drawn(told, sums, model.scale))
    assert met < 0.6 * off(plain.draw()) and (t < 0.9 or met < 0.05)


@both
def test_showers_are_drawn_with_the_sums(root: int | None) -> None:
    """By the solver that draws showers at each step, to the end."""
    model = balanced(root=root, solver="ancestral", steps=12)
    model.fit_input(*showers(4000, root)[:2])
    cond = showers(500, root)[1]
    made = model.sample(cond)
    voxels, extras = made[:, : math.prod(GRID)].view(-1, *GRID), made[:, math.prod(GRID) :]
    sums = model._known(model.conditions(cond), model.extras(extras)).sums
    assert sums is not None
    energy, number = energies(voxels, root).sum((2, 3)), hit_in(voxels, root).sum((2, 3))
    some = (sums.hits > 2) & (sums.hits < math.prod(GRID[1:]))
    off = (energy.clamp(min=1e-9).log() - model.unit - sums.log_energy)[some]
    assert off.abs().quantile(0.8) < 0.1 and (number - sums.hits)[some].abs().float().mean() < 0.5


def learned_walk(n: int) -> tuple[Tensor, Tensor]:
    """Numbers of three layers that follow each other: each ratio from the number of hits, each number of hits from the ratio before."""
    cond = torch.randn(n, 1)
    u, hits = [cond + 0.3 * torch.randn(n, 1)], []
    for _ in range(3):
        hits.append(torch.tanh(u[-1]) + 0.3 * torch.randn(n, 1))
        u.append(hits[-1] - 0.5 * cond + 0.3 * torch.randn(n, 1))
    return torch.cat([*u[:3], *hits], dim=1), cond


def test_layers_are_drawn_as_they_are_likely() -> None:
    """Drawn with the densities that the likelihood is of, and both learned from data."""
    walk = LayerWalk(3, 1, width=64, components=3, dropout=0.0)
    v, cond = learned_walk(20_000)
    walk.standard.fit(v)
    optimizer = torch.optim.Adam(walk.parameters(), 3e-3)
    for rows in torch.randperm(20_000).repeat(3).view(-1, 200):
        optimizer.zero_grad()
        (-walk.log_prob(v[rows], cond[rows]).mean()).backward()
        optimizer.step()
    other, cond = learned_walk(20_000)
    with torch.no_grad():
        made = walk.draw(cond)
        likely = [walk.log_prob(x, cond) for x in (other, made)]
    assert abs(likely[0].mean() - likely[1].mean()) < 0.15
    assert torch.allclose(made.mean(0), other.mean(0), atol=0.05)
    both = [torch.cat([x, cond], dim=1).T.corrcoef() for x in (other, made)]
    assert (both[0] - both[1]).abs().max() < 0.1


def test_each_number_of_a_layer_depends_on_those_before_alone() -> None:
    walk = LayerWalk(4, 1, width=16, components=2, dropout=0.0)
    order = [0, 4, 1, 5, 2, 6, 3, 7]  # u of the total, then hits and share of each layer, hits of the last
    v, cond = torch.randn(1, 8), torch.randn(1, 1)
    parts = torch.autograd.functional.jacobian(lambda x: walk.parts(x, cond)[0], v)[
        :, 0
    ]  # of each density by each number
    reached = parts[order][:, order].abs() > 0
    assert not reached.triu(1).any() and reached.tril().sum() > 25
