"""Showers of the hurdle decoder by compiled code: with the same random numbers those of PyTorch, and only where it may draw them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from calopipe.compiled_code import FEW
from calopipe.config import validate
from calopipe.models.autoencoders import hurdle_few_rows, hurdle_vae
from calopipe.models.autoencoders.hurdle_vae import HurdleVAE
from calopipe.models.autoencoders.settings import HurdleVAEConfig
from calopipe.models.base import Inputs

SHAPES = ((3, 16), (6, 6), (6, 6), (5, 1))
SIZES = [a * b for a, b in SHAPES]


def model_of(with_hits: bool = True, **settings: Any) -> HurdleVAE:
    """A decoder of random weights, also in the networks of neighbourhoods, which start at 0."""
    torch.manual_seed(2)
    given = {"hidden": [24, 16], "latent": 3, "alpha": 1e-6, **settings}
    names = ("incident_energy", *(f"u_{i}" for i in range(4)), *(f"hits_{i}" for i in range(4) if with_hits))
    model = HurdleVAE(validate(HurdleVAEConfig, given, "model"), Inputs(sum(SIZES), names, SHAPES))
    for layer in model.modules():
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=1.5 / layer.in_features**0.5)
            nn.init.normal_(layer.bias, std=0.3)
    x = torch.rand(200, sum(SIZES)) * (torch.rand(200, sum(SIZES)) < 0.3)
    model.fit_input(x, rows(200, model)[1])
    return model.eval()


def rows(n: int, model: HurdleVAE) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(n)
    cond = torch.rand(n, model.inputs.cond_dim, generator=generator)
    cond[:, 0] = torch.randn(n, generator=generator)
    return torch.randn(n, 3, generator=generator), cond


def by_torch(
    model: HurdleVAE, z: Tensor, cond: Tensor, numbers: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch
) -> Tensor:
    """What PyTorch makes of the random numbers that the compiled code is given."""
    noise, rounding = numbers
    groups = iter(model.near.columns)
    drawn = uniform(model, noise, rounding)

    def mixture(weights: Tensor, mean: Tensor, log_var: Tensor) -> Tensor:
        columns = next(groups)
        passed = weights.exp().cumsum(1)[:, :-1] < noise[:, None, 1, columns]
        k = passed.sum(1, keepdim=True)
        width = (0.5 * log_var.gather(1, k)[:, 0]).exp()
        return mean.gather(1, k)[:, 0] + width * noise[:, 2, columns]

    with monkeypatch.context() as patch, torch.no_grad():
        patch.setattr(hurdle_few_rows, "decode", lambda *_: None)
        patch.setattr(hurdle_vae, "draw_mixture", mixture)
        patch.setattr(torch, "rand_like", lambda like: next(drawn).to(like).view_as(like))
        return model.decode(z, cond)


def uniform(model: HurdleVAE, noise: Tensor, rounding: Tensor) -> Iterator[Tensor]:
    """In the order in which PyTorch asks for them: of each group its hits and then their number."""
    for group, columns in enumerate(model.near.columns):
        yield noise[:, 0, columns]
        if model.near.groups > 1 and model.inputs.hits_given:
            yield rounding[:, group]


@pytest.mark.parametrize("with_hits", [True, False], ids=["hits_given", "free"])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"groups": 2},
        {"groups": 4, "components": 2},
        {"groups": 8, "components": 3, "log_var_range": [-1.0, 0.5]},
        {"components": 4, "hidden": []},
        {"groups": 4, "hidden": [40]},
    ],
    ids=str,
)
@pytest.mark.parametrize("n", [1, FEW])
def test_as_pytorch(settings: dict[str, Any], with_hits: bool, n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of(with_hits, **settings)
    z, cond = rows(n, model)
    numbers = hurdle_few_rows.random_numbers(model, n)
    wanted = by_torch(model, z, cond, numbers, monkeypatch)
    monkeypatch.setattr(hurdle_few_rows, "random_numbers", lambda *_: numbers)
    with torch.no_grad():
        found = hurdle_few_rows.decode(model, z, cond)
        used = model.decode(z, cond)
    assert found is not None and torch.equal(found, used)
    assert torch.equal(found > 0, wanted > 0) and 0.1 < (found > 0).float().mean() < 0.9
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-6)
    if with_hits:
        hits = torch.stack([(part > 0).sum(1) for part in found.split(SIZES, 1)], dim=1)
        assert torch.equal(hits.float(), model._hits(cond))


def test_weights_are_those_of_now(monkeypatch: pytest.MonkeyPatch) -> None:
    model, other = model_of(groups=4), model_of(groups=4)
    z, cond = rows(2, model)
    numbers = hurdle_few_rows.random_numbers(model, 2)
    monkeypatch.setattr(hurdle_few_rows, "random_numbers", lambda *_: numbers)
    with torch.no_grad():
        before = model.decode(z, cond)
        for change in (model.decoder[0].weight, next(iter(model.near.nets.parameters())), model.voxels.mean):
            kept = change.clone()
            change.add_(0.5)
            assert not torch.equal(model.decode(z, cond), before)
            change.copy_(kept)
            assert torch.equal(model.decode(z, cond), before)
        model.decoder[0].weight.mul_(2)
        model.load_state_dict(other.state_dict())
        assert torch.equal(model.decode(z, cond), before)


def test_random_numbers_are_those_of_torch() -> None:
    model = model_of(groups=2)
    z, cond = rows(1, model)
    with torch.no_grad():
        torch.manual_seed(1)
        first = model.decode(z, cond)
        second = model.decode(z, cond)
        torch.manual_seed(1)
        assert torch.equal(model.decode(z, cond), first) and not torch.equal(second, first)


@pytest.mark.parametrize("part", ["decoder", "near"])
def test_weights_that_are_not_finite_come_out_as_nan(part: str) -> None:
    model = model_of(groups=4)
    z, cond = rows(1, model)
    with torch.no_grad():
        list(getattr(model, part).parameters())[-1].fill_(float("nan"))
        assert model.decode(z, cond).isnan().all()


def test_what_needs_pytorch_gets_it() -> None:
    model = model_of()
    z, cond = rows(FEW + 1, model)
    with torch.no_grad():
        assert hurdle_few_rows.decode(model, z, cond) is None
        assert hurdle_few_rows.decode(model, z[:0], cond[:0]) is None
        assert hurdle_few_rows.decode(model, z[:1].double(), cond[:1].double()) is None
        assert hurdle_few_rows.decode(model.double(), z[:1], cond[:1]) is None
    assert hurdle_few_rows.decode(model.float(), z[:1], cond[:1]) is None  # gradients
    with torch.no_grad():
        assert hurdle_few_rows.decode(model, z[:1], cond[:1]) is not None
