"""What :mod:`calopipe.models.base` demands, of every registered model on every kind of data that its settings accept.

Models are found by the registry and made small by their settings' own bounds: a new one is tested by being there.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from calopipe import hits
from calopipe.config import validate
from calopipe.config.chains import Columns, ModelSettings
from calopipe.config.parts import KINDS, MODELS, settings_class
from calopipe.convolutions import check_gradients
from calopipe.errors import ConfigError
from calopipe.models import base
from calopipe.models.base import Autoencoder, EnergyRegressor, GenerativeModel, Inputs, Learner, Now, Refiner
from calopipe.training.schema import at_most, check_finite, check_weights

ROWS, MOST = 48, 6
LAYERS, GRID = ((2, 3), (1, 4)), ((2, 3), (2, 3))
NOW = Now(epoch=0, epochs=3, step=0, steps=12, n_train=4 * ROWS)
Data = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Shape:
    """One kind of data: what settings are told of it, what models are told, and how it is drawn."""

    columns: Columns
    inputs: Inputs
    draw: Callable[[], Data]


def _voxels(shapes: tuple[tuple[int, int], ...]) -> list[Tensor]:
    """Energies in MeV, layer by layer, with empty voxels and an empty layer."""
    layers = [100 * torch.rand(ROWS, a * b).pow(4) for a, b in shapes]
    layers = [torch.where(part < 1, 0, part) for part in layers]
    layers[-1][0] = 0
    return layers


def _shape(shapes: tuple[tuple[int, int], ...], given: str = "", **facts: Any) -> Shape:
    """Showers as energies, fractions, or standardised fractions and u (`given`: what their condition ends with)."""
    n, size = len(shapes), sum(a * b for a, b in shapes)
    names = ["incident_energy", *(f"{kind}_{i}" for kind in given.split() for i in range(n))]
    dim = size + n if facts.get("extras") else size
    columns = Columns(shapes, 1.0, dim, cond_dim=len(names), **facts)

    def draw() -> Data:
        layers = _voxels(shapes)
        sizes = torch.tensor([part.shape[1] for part in layers])
        incident = 200 + 800 * torch.rand(ROWS, 1)
        if columns.energies:
            return torch.cat(layers, dim=1), incident
        x = torch.cat([part / part.sum(1, keepdim=True).clamp(min=1e-9) for part in layers], dim=1)
        cond = {"u": 0.1 + 0.8 * torch.rand(ROWS, n)}
        cond["hits"] = hits.dequantise(torch.stack([(part > 0).sum(1) for part in layers], dim=1).float(), sizes)
        if columns.extras:
            x = torch.cat([4 * x - 1, torch.randn(ROWS, n)], dim=1)
        return x, torch.cat([torch.randn(ROWS, 1), *(cond[kind] for kind in given.split())], dim=1)

    centres = torch.rand(size, 3, generator=torch.Generator().manual_seed(0))
    return Shape(columns, Inputs(dim, tuple(names), shapes, centres, (True,) * n, 1.0, 4 * ROWS, 7), draw)


def _plain(dim: int, conditions: tuple[str, ...] = ("incident_energy",)) -> Shape:
    """Columns that are no voxels: latents, toys."""
    inputs = Inputs(dim, conditions, n_train=4 * ROWS, seed=7)
    columns = Columns(LAYERS, 1.0, dim, cond_dim=len(conditions), raw_energy=False)
    return Shape(columns, inputs, lambda: (torch.randn(ROWS, dim), torch.rand(ROWS, len(conditions))))


def _image() -> Shape:
    """One layer, whose energies are of order one."""
    shape = _shape(((8, 8),), energies=True)
    return replace(shape, draw=lambda: (torch.cat(_voxels(((8, 8),)), dim=1) / 50, 200 + 800 * torch.rand(ROWS, 1)))


SHAPES = {
    "energies": _shape(GRID, energies=True),
    "fractions": _shape(LAYERS, "u", fractions=True),
    "fractions and hits": _shape(GRID, "u hits", fractions=True),
    "standardised": _shape(LAYERS, extras=True),
    "images": _image(),
    "latents": _plain(5, ("incident_energy", "incident_theta")),
    "one column": _plain(1),
}
#: what cannot be made small number by number
OWN = {
    "dcgan": {"generator": [[4, 4, 1, 0], [1, 4, 2, 1]], "critic": [[4, 4, 2, 1], [1, 4, 1, 0]], "noise": 4},
}


@cache
def small(name: str) -> Any:
    """Settings of a model: the defaults, with every width and number of things made small where that is allowed."""
    cls = settings_class(MODELS, name)
    if cls is None:
        return None
    chosen: dict[str, Any] = dict(OWN.get(name, {}))
    for key, value in cls(**chosen).model_dump(mode="json").items():
        less = [_less(v) for v in value] if isinstance(value, list) else _less(value)
        try:
            validate(cls, {**chosen, key: less}, name)
        except ConfigError:
            continue
        chosen[key] = less
    return validate(cls, chosen, name)


def _less(value: Any) -> Any:
    return min(value, MOST) if isinstance(value, int) and not isinstance(value, bool) else value


def _takes(name: str, shape: Shape) -> bool:
    settings = small(name)
    if MODELS.is_a(name, "EnergyRegressor") and not shape.columns.energies:
        return False
    try:
        if isinstance(settings, ModelSettings):
            settings.takes(shape.columns)
    except ValueError:
        return False
    return True


CASES = [(name, shape) for name in MODELS.names() for shape in SHAPES if _takes(name, SHAPES[shape])]
every_case = pytest.mark.parametrize(("name", "shape"), CASES, ids=["-".join(case) for case in CASES])


def of_kind(kind: str) -> pytest.MarkDecorator:
    """All cases of one kind of network."""
    cases = [case for case in CASES if MODELS.is_a(case[0], kind)]
    return pytest.mark.parametrize(("name", "shape"), cases, ids=["-".join(case) for case in cases])


def build(name: str, shape: str, seed: int = 0) -> Learner:
    torch.manual_seed(seed)
    return MODELS.get(name)(small(name), SHAPES[shape].inputs)


def data(name: str, shape: str) -> Data:
    """x and cond as training gives them: a refiner's cond ends with the showers to be refined."""
    torch.manual_seed(1)
    x, cond = SHAPES[shape].draw()
    return (x, torch.cat([cond, x.roll(1, 1)], dim=1)) if MODELS.is_a(name, "Refiner") else (x, cond)


def fitted(name: str, shape: str) -> tuple[Learner, Tensor, Tensor]:
    model, (x, cond) = build(name, shape), data(name, shape)
    with torch.no_grad():
        model.fit_input(x, cond)
    return model, x, cond


def trained(name: str, shape: str) -> tuple[Learner, Tensor, Tensor]:
    """In evaluation mode, with weights that are no longer those it started from."""
    model, x, cond = fitted(name, shape)
    for _ in range(3):
        for objective, what in model.objectives().items():
            losses = model.step(objective, x, cond, NOW)
            grads = torch.autograd.grad(losses["loss"], list(what.parameters))
            with torch.no_grad():
                for parameter, grad in zip(what.parameters, grads, strict=True):
                    parameter.sub_(0.01 * grad / (grad.norm() + 1e-6))
    return model.eval(), x, cond


def conditions(model: Learner, cond: Tensor) -> Tensor:
    """The conditions alone, which sampling gives."""
    return model.apart(cond)[0] if isinstance(model, Refiner) else cond


def follows_rows(function: Callable[..., Tensor], *arguments: Tensor) -> Tensor:
    """The result of a function that must treat rows alone and in order; it must draw no random numbers."""
    with torch.no_grad():
        state, order = torch.get_rng_state(), torch.randperm(len(arguments[0]))
        torch.set_rng_state(state)
        whole = function(*arguments)
        assert torch.equal(state, torch.get_rng_state()), "random numbers were drawn"
        torch.testing.assert_close(function(*(a[order] for a in arguments)), whole[order], rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(function(*(a[:1] for a in arguments)), whole[:1], rtol=1e-3, atol=1e-4)
    assert torch.isfinite(whole).all()
    return whole


def test_every_model_takes_some_data_and_is_of_one_kind() -> None:
    assert {name for name, _ in CASES} == set(MODELS.names())
    for name in MODELS.names():
        kinds = [kind for kind in KINDS if MODELS.is_a(name, kind)]
        assert kinds == [kind for kind in KINDS if issubclass(MODELS.get(name), getattr(base, kind))]
        assert len(kinds) == 1
        assert MODELS.marked(name, "likelihood") == MODELS.get(name).likelihood
        assert MODELS.marked(name, "weight_draws") == getattr(MODELS.get(name), "weight_draws", False)


@every_case
def test_weights_follow_the_seed(name: str, shape: str) -> None:
    first, again, other = build(name, shape), build(name, shape), build(name, shape, seed=1)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters(), strict=True))
    assert (first.dim, first.cond_dim) == (SHAPES[shape].inputs.dim, SHAPES[shape].inputs.cond_dim)


@every_case
def test_objectives_share_the_parameters_out(name: str, shape: str) -> None:
    model = build(name, shape)
    objectives, settings = model.objectives(), small(name)
    known = settings.objectives if isinstance(settings, ModelSettings) else ("loss",)
    assert objectives and tuple(objectives) == tuple(name for name in known if name in objectives)
    owned = [id(p) for objective in objectives.values() for p in objective.parameters]
    assert len(owned) == len(set(owned)) and set(owned) == {id(p) for p in model.parameters() if p.requires_grad}
    assert all(objective.every >= 1 for objective in objectives.values())


@every_case
def test_steps_move_their_own_parameters_only(name: str, shape: str) -> None:
    model, x, cond = fitted(name, shape)
    model.train()
    for objective, what in model.objectives().items():
        before = [p.detach().clone() for p in model.parameters()]
        optimizer = torch.optim.Adam(what.parameters, 1e-2)
        model.zero_grad()
        losses = model.step(objective, x, cond, NOW)
        assert all(value.ndim == 0 and torch.isfinite(value) for value in losses.values())
        losses["loss"].backward()
        assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in what.parameters)
        optimizer.step()
        own = {id(p) for p in what.parameters}
        moved = {id(p) for p, old in zip(model.parameters(), before, strict=True) if not torch.equal(p, old)}
        assert moved and moved <= own


@every_case
def test_validation_needs_no_gradients_and_changes_nothing(name: str, shape: str) -> None:
    model, x, cond = trained(name, shape)
    state = copy.deepcopy(model.state_dict())
    check_gradients(model, lambda: model.validate(x, cond))  # as trainings do at their start
    found = []
    for _ in range(2):
        torch.manual_seed(2)
        with torch.no_grad():
            found.append(model.validate(x, cond))
    assert found[0] and found[0].keys() == found[1].keys()
    assert all(v.ndim == 0 and torch.isfinite(v) and torch.equal(v, found[1][k]) for k, v in found[0].items())
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())


@every_case
def test_one_objective_is_learned(name: str, shape: str) -> None:
    """Where one loss is minimised, it falls. Several play against one another."""
    model, x, cond = fitted(name, shape)
    if len(model.objectives()) > 1:
        pytest.skip("several objectives")
    optimizer, losses = torch.optim.Adam(model.parameters(), 3e-3), []
    for step in range(60):
        optimizer.zero_grad()
        loss = model.step("loss", x, cond, replace(NOW, step=step, steps=60))["loss"]
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-5:]) < sum(losses[:5])


@every_case
def test_weights_are_saved_and_loaded(name: str, shape: str) -> None:
    model, x, cond = trained(name, shape)
    state = model.state_dict()
    check_finite(name, state)
    with at_most(sum(value.numel() for value in state.values())):
        other = build(name, shape, seed=1)
    check_weights(name, other, state)
    other.load_state_dict(state)
    found = []
    for network in (model, other.eval()):
        torch.manual_seed(3)
        with torch.no_grad():
            found.append(network.validate(x, cond))
    assert found[0] == found[1]


@every_case
def test_text_names_the_class_and_its_parts(name: str, shape: str) -> None:
    model = build(name, shape)
    assert repr(model).startswith(f"{type(model).__name__}(") and any(
        part in repr(model) for part in ("Linear", "Conv")
    )


@of_kind("GenerativeModel")
def test_draws_are_rows_in_order_without_randomness(name: str, shape: str) -> None:
    model, x, cond = trained(name, shape)
    assert isinstance(model, GenerativeModel)
    torch.manual_seed(4)
    sample = model.sample(cond)
    assert sample.shape == x.shape and not sample.requires_grad
    torch.manual_seed(4)
    if model.maps_noise:
        noise = torch.randn(len(cond), model.noise_dim)
        with torch.no_grad():
            assert torch.equal(sample, model.draw(noise, cond))
        assert follows_rows(model.draw, torch.randn(len(x), model.noise_dim), cond).shape == x.shape
    else:
        assert torch.equal(sample, model.sample(cond))
    assert model.sample(cond[:0]).shape == (0, x.shape[1])


@pytest.mark.parametrize("name", [name for name in MODELS.names() if MODELS.marked(name, "likelihood")])
def test_likelihoods_are_those_of_the_draws(name: str) -> None:
    """log p(x) = log N(z) - log |det dx/dz| for x drawn from z, the Jacobian taken by autograd in float64."""
    model, _, cond = trained(name, "latents")
    assert isinstance(model, GenerativeModel) and model.noise_dim == model.dim
    torch.manual_seed(5)
    for parameter in model.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    model.double()
    for c in cond[:3].double():
        z = torch.randn(model.dim, dtype=torch.float64)
        jacobian = torch.autograd.functional.jacobian(lambda z, c=c: model.draw(z[None], c[None])[0], z)
        with torch.no_grad():
            x = model.draw(z[None], c[None])
            log_p = -0.5 * z.square().sum() - 0.5 * model.dim * math.log(2 * math.pi) - jacobian.slogdet().logabsdet
            torch.testing.assert_close(model.validate(x, c[None])["loss"], -log_p, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize(
    ("name", "shape"), [case for case in CASES if MODELS.marked(case[0], "weight_draws")], ids="-".join
)
def test_draws_of_weights_are_chosen_by_number(name: str, shape: str) -> None:
    model, x, cond = trained(name, shape)
    assert isinstance(model, GenerativeModel) and torch.isfinite(model.log_variances()).all()
    noise, found = torch.randn(len(x), model.noise_dim), []
    with torch.no_grad():
        for number in (0, 1, None, 0):
            model.use_weights(number)
            found.append(model.draw(noise, cond))
    assert torch.equal(found[0], found[3])
    assert not torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])


@of_kind("Autoencoder")
def test_codes_are_rows_in_order(name: str, shape: str) -> None:
    model, x, cond = trained(name, shape)
    assert isinstance(model, Autoencoder) and model.latent_dim == small(name).latent_dim
    for part in (0, 1):
        assert follows_rows(lambda x, c, i=part: model.encode(x, c)[i], x, cond).shape == (ROWS, model.latent_dim)
    torch.manual_seed(6)
    z = model.prior(cond)
    assert z.shape == (ROWS, model.latent_dim)
    with torch.no_grad():
        torch.manual_seed(7)
        y = model.decode(z, cond)
        torch.manual_seed(7)
        again = model.decode(z, cond)
    assert y.shape == x.shape and torch.isfinite(y).all() and torch.equal(y, again)
    assert torch.equal(model.as_shower(y, cond), y)


@of_kind("Autoencoder")
def test_decoded_rows_belong_to_their_latents(name: str, shape: str) -> None:
    """Averages over many draws follow the rows of z and of the condition."""
    model, _, cond = trained(name, shape)
    assert isinstance(model, Autoencoder)
    few, z, copies = cond[:2], 5 * model.prior(cond[:2]), 400
    many, codes = few.repeat_interleave(copies, 0), z.repeat_interleave(copies, 0)
    with torch.no_grad():
        torch.manual_seed(8)
        together = model.decode(codes, many)
        for rows in (slice(0, copies), slice(copies, 2 * copies)):
            found, alone = together[rows], model.decode(codes[rows], many[rows])
            spread = ((found.var(0) + alone.var(0)) / copies).sqrt()
            assert ((found.mean(0) - alone.mean(0)).abs() <= 5 * spread + 1e-4).all()


@of_kind("Refiner")
def test_refined_showers_are_rows_in_order(name: str, shape: str) -> None:
    model, x, cond = trained(name, shape)
    assert isinstance(model, Refiner)
    alone, given = model.apart(cond)
    assert alone.shape[1] == model.cond_dim and given.shape == x.shape
    assert follows_rows(model.refine, given, alone).shape == x.shape


@of_kind("EnergyRegressor")
def test_energies_are_rows_in_order(name: str, shape: str) -> None:
    model, x, _ = trained(name, shape)
    assert isinstance(model, EnergyRegressor)
    features = follows_rows(model.features, x)
    assert features.ndim == 2 and follows_rows(model.energy, features).shape == (ROWS,)
