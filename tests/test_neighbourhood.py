"""Voxels drawn in groups that see their neighbours: hurdle decoders, and coupling blocks on a chequerboard."""

from __future__ import annotations

import pytest
import torch

from calopipe import hits
from calopipe.config import validate
from calopipe.models.autoencoders.hurdle_vae import HurdleVAE, HurdleVAEConfig
from calopipe.models.base import Inputs
from calopipe.models.flows.coupling import make_flow
from calopipe.models.flows.inn import INN, INNConfig
from calopipe.models.flows.lattice import lattice_columns
from calopipe.models.neighbourhood import Neighbourhood

SHAPES = ((2, 12), (6, 6), (6, 6))
SIZES = torch.tensor([24, 36, 36])
DIM = int(SIZES.sum())


def vae(groups: int = 4, hits_given: bool = True, **settings) -> HurdleVAE:
    torch.manual_seed(0)
    config = validate(HurdleVAEConfig, {"hidden": [32], "latent": 3, "groups": groups, **settings}, "hurdle_vae")
    kinds = ("u", "hits") if hits_given else ("u",)
    names = ("incident_energy", *(f"{kind}_{i}" for kind in kinds for i in range(3)))
    return HurdleVAE(config, Inputs(DIM, names, SHAPES))


def showers(n: int = 300) -> tuple[torch.Tensor, torch.Tensor]:
    """Hits that come in pairs of neighbours, shares of their layer, and conditions with numbers of hits."""
    generator = torch.Generator().manual_seed(1)
    seeds = torch.rand(n, DIM, generator=generator) < 0.15
    hit = seeds | seeds.roll(1, dims=1)
    x = torch.where(hit, torch.rand(n, DIM, generator=generator) + 0.1, torch.zeros(n, DIM))
    parts = x.split(SIZES.tolist(), dim=1)
    x = torch.cat([p / p.sum(1, keepdim=True).clamp(min=1e-9) for p in parts], dim=1)
    count = torch.stack([(p > 0).sum(1) for p in parts], dim=1)
    u = torch.rand(n, 3, generator=generator) * 0.8 + 0.1
    return x, torch.cat([torch.randn(n, 1, generator=generator), u, hits.dequantise(count.float(), SIZES)], dim=1)


def test_numbers_of_hits_return_from_their_noisy_form() -> None:
    n = torch.arange(0, 37).float()[:, None].expand(37, 2)
    assert torch.equal(hits.count(hits.dequantise(n, torch.tensor([36, 40])), torch.tensor([36, 40])), n)


def test_largest_values_by_hand() -> None:
    x = torch.tensor([[0.1, 0.5, 0.5, 0.2], [3.0, 1.0, 2.0, 0.0]])
    expected = torch.tensor([[False, True, False, False], [True, False, True, False]])
    assert torch.equal(hits.largest(x, torch.tensor([1, 2])), expected)
    assert not hits.largest(x, torch.tensor([0, 0])).any()


@pytest.mark.parametrize("groups", [2, 4, 8])
def test_every_voxel_is_in_one_group_and_neighbours_are_not_in_the_same(groups: int) -> None:
    columns = Neighbourhood(SHAPES, groups, 3, 2).columns
    assert torch.equal(torch.cat(columns).sort().values, torch.arange(DIM))
    group = torch.empty(DIM, dtype=torch.int64)
    for number, part in enumerate(columns):
        group[part] = number
    start = 0
    for a, b in SHAPES:
        grid = group[start : start + a * b].view(a, b)
        assert (grid[1:] != grid[:-1]).all() and (grid[:, 1:] != grid[:, :-1]).all()
        start += a * b


def test_a_group_depends_on_earlier_groups_only() -> None:
    torch.manual_seed(0)
    near = Neighbourhood(SHAPES, 4, 3, 2)
    for p in near.parameters():
        torch.nn.init.normal_(p)
    base, rate = torch.randn(5, 3, DIM), torch.zeros(5, DIM)
    known = torch.randn(5, 2, DIM)
    for group, columns in enumerate(near.columns):
        first = near(group, base, known, rate)
        later = torch.cat(near.columns[group:])
        changed = known.clone()
        changed[:, :, later] = 99.0
        assert torch.equal(near(group, base, changed, rate), first)
        if group:
            earlier = known.clone()
            earlier[:, :, near.columns[group - 1]] += 1
            assert not torch.allclose(near(group, base, earlier, rate), first)
        assert first.shape == (5, 3, len(columns))


@pytest.mark.parametrize(("groups", "components"), [(1, 1), (1, 3), (4, 1), (4, 2), (8, 2)])
def test_decoded_showers_have_just_the_hits_asked_for(groups: int, components: int) -> None:
    model, (x, cond) = vae(groups, components=components), showers()
    with torch.no_grad():
        model.fit_input(x, cond)
        made = model.decode(torch.randn(len(x), 3), cond)
    for a, b in zip(made.split(SIZES.tolist(), 1), x.split(SIZES.tolist(), 1), strict=True):
        assert torch.equal((a > 0).sum(1), (b > 0).sum(1))


def trained(groups: int) -> tuple[HurdleVAE, torch.Tensor, torch.Tensor, float]:
    model, (x, cond) = vae(groups), showers(800)
    with torch.no_grad():
        model.fit_input(x, cond)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(80):
        optimizer.zero_grad()
        losses = model.loss(x, cond)
        losses["loss"].backward()
        optimizer.step()
    return model, x, cond, losses["occupancy"].item()


@pytest.mark.parametrize("shapes", [((5, 1), (1, 1)), ((1, 1), (1, 1))])
@pytest.mark.parametrize("groups", [2, 8])
def test_layers_too_narrow_for_all_groups(shapes: tuple[tuple[int, int], ...], groups: int) -> None:
    dim = sum(a * b for a, b in shapes)
    config = validate(HurdleVAEConfig, {"hidden": [8], "latent": 2, "groups": groups}, "hurdle_vae")
    names = ("incident_energy", "u_0", "u_1", "hits_0", "hits_1")
    model = HurdleVAE(config, Inputs(dim, names, shapes))
    assert torch.equal(torch.cat(model.near.columns).sort().values, torch.arange(dim))
    x, cond = torch.rand(9, dim) * (torch.rand(9, dim) < 0.7), torch.rand(9, 5)
    model.fit_input(x, cond)
    assert model.loss(x, cond)["loss"].isfinite()
    for n in (1, 9):
        with torch.no_grad():
            drawn = model.decode(torch.randn(n, 2), cond[:n])
        assert torch.equal((drawn > 0).sum(1).float(), model._hits(cond[:n]).sum(1))


def test_groups_learn_that_neighbours_are_hit_together() -> None:
    """The correlation of neighbouring hits, which a decoder of independent voxels does not have."""

    def correlation(x: torch.Tensor) -> float:
        hit = (x[:, 24:60] > 0).double().view(len(x), 6, 6)
        hit = hit - hit.mean(0)
        a, b = hit[:, :, 1:], hit[:, :, :-1]
        return ((a * b).mean() / (a.square().mean() * b.square().mean()).sqrt()).item()

    found = {}
    for groups in (1, 4):
        model, x, cond, occupancy = trained(groups)
        with torch.no_grad():
            found[groups] = correlation(model.decode(torch.randn(len(x), 3), cond)), occupancy
    truth = correlation(x)
    assert truth > 0.35 and found[1][0] < 0.15 and found[4][0] > 0.6 * truth
    assert found[4][1] < found[1][1] - 3  # nats per shower


def test_lattice_halves_are_the_colours_of_a_chequerboard() -> None:
    halves = lattice_columns(DIM + 3, SHAPES, seed=0)
    assert torch.equal(torch.cat(halves).sort().values, torch.arange(DIM + 3))
    grid = torch.isin(torch.arange(24), halves[0]).view(2, 12)
    assert (grid[1:] != grid[:-1]).all() and (grid[:, 1:] != grid[:, :-1]).all()


@pytest.mark.parametrize("kind", ["rqs", "affine"])
def test_lattice_blocks_are_invertible_with_the_right_log_det(kind: str) -> None:
    torch.manual_seed(0)
    shapes = ((2, 3), (2, 2))
    flow = make_flow(12, 1, 4, hidden=(8,), kind=kind, masks="lattice", shapes=shapes, zero_init=False).double()
    for block in flow:
        for p in [] if block.near is None else block.near.parameters():
            torch.nn.init.normal_(p, std=0.5)
    x, cond = torch.randn(6, 12, dtype=torch.float64), torch.randn(6, 1, dtype=torch.float64)
    z, logdet = flow(x, cond)
    back, back_logdet = flow.inverse(z, cond)
    torch.testing.assert_close(back, x, rtol=1e-7, atol=1e-7)
    torch.testing.assert_close(back_logdet, -logdet, rtol=1e-6, atol=1e-6)
    jacobian = torch.autograd.functional.jacobian(lambda v: flow(v, cond)[0].sum(0), x)
    expected = torch.stack([jacobian[:, i, :].slogdet()[1] for i in range(6)])
    torch.testing.assert_close(logdet, expected, rtol=1e-6, atol=1e-6)


def test_lattice_of_latents_is_refused() -> None:
    with pytest.raises(ValueError, match="shapes of the layers"):
        INN(validate(INNConfig, {"masks": "lattice", "blocks": 2}, "inn"), Inputs(10))
