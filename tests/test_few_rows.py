"""Inverses of a few rows by compiled code: the same as PyTorch's, with the weights as they are, and only where it knows the blocks."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from calopipe.compiled_code import FEW, compiled_once
from calopipe.models.flows import few_rows
from calopipe.models.flows.coupling import CouplingFlow, make_flow


def flow_of(dim: int = 11, cond_dim: int = 1, **settings: Any) -> CouplingFlow:
    torch.manual_seed(3)
    given = {"blocks": 4, "hidden": (16, 16), "zero_init": False, "heat": 1.0, **settings}
    return make_flow(dim, cond_dim, **given).eval()


def rows(n: int, flow: CouplingFlow, scale: float = 1.0) -> tuple[Tensor, Tensor | None]:
    generator = torch.Generator().manual_seed(n)
    z = scale * torch.randn(n, flow.dim, generator=generator)
    return z, torch.rand(n, flow.cond_dim, generator=generator) if flow.cond_dim else None


def by_torch(
    flow: CouplingFlow, z: Tensor, cond: Tensor | None, monkeypatch: pytest.MonkeyPatch
) -> tuple[Tensor, Tensor]:
    with monkeypatch.context() as patch, torch.no_grad():
        patch.setattr(few_rows, "FEW", 0)
        return flow.inverse(z, cond)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"dim": 2},
        {"dim": 303},  # more columns than a tile
        {"cond_dim": 0},
        {"cond_dim": 5, "masks": "pairs"},
        {"masks": "alternate", "bins": 3, "bounds": 2.0},
        {"hidden": (), "heat": 0.25},
        {"hidden": (40, 8, 24), "heat": None},
        {"leaky": True},
        {"dropout": 0.3},
        {"dropout": 0.3, "leaky": True},
    ],
    ids=str,
)
@pytest.mark.parametrize("n", [1, FEW])
def test_as_pytorch(settings: dict[str, Any], n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    flow = flow_of(**settings)
    z, cond = rows(n, flow, 2.0)
    wanted, wanted_logdet = by_torch(flow, z, cond, monkeypatch)
    with torch.no_grad():
        found = few_rows.inverse(flow, z, cond)
        used, _ = flow.inverse(z, cond)
    if settings.get("dropout") and settings.get("leaky"):
        assert found is None  # a network in a network
        return
    assert found is not None and torch.equal(found[0], used)
    x, logdet = found
    assert x.dtype == logdet.dtype == torch.float32 and (x - z).abs().max() > 0.1
    torch.testing.assert_close(x, wanted, rtol=1e-5, atol=2e-5)
    torch.testing.assert_close(logdet, wanted_logdet, rtol=1e-5, atol=1e-4)
    with torch.no_grad():
        torch.testing.assert_close(flow(x, cond)[0], z, rtol=1e-5, atol=1e-4)


def test_outside_the_bounds_and_nan(monkeypatch: pytest.MonkeyPatch) -> None:
    flow = flow_of(bounds=2.0)
    z, cond = rows(3, flow)
    z[0], z[1, 0] = 50.0, float("nan")
    wanted, _ = by_torch(flow, z, cond, monkeypatch)
    with torch.no_grad():
        found = few_rows.inverse(flow, z, cond)
    assert found is not None and torch.equal(found[0][0], z[0]) and found[0][1].isnan().any()
    torch.testing.assert_close(found[0], wanted, rtol=1e-5, atol=2e-5, equal_nan=True)


def test_weights_are_those_of_now(monkeypatch: pytest.MonkeyPatch) -> None:
    flow, other = flow_of(), flow_of(heat=1.0)
    z, cond = rows(2, flow)
    with torch.no_grad():
        before = flow.inverse(z, cond)[0]
        for p in flow.parameters():
            p.mul_(1.2)
        after = flow.inverse(z, cond)[0]
        assert (after - before).abs().max() > 1e-3
        torch.testing.assert_close(after, by_torch(flow, z, cond, monkeypatch)[0], rtol=1e-5, atol=2e-5)
        flow.load_state_dict(other.state_dict())
        assert torch.equal(flow.inverse(z, cond)[0], before)
        flow.double()
        assert few_rows.inverse(flow, z, cond) is None


@pytest.mark.parametrize(
    "settings",
    [
        {"kind": "affine"},
        {"kind": "cubic"},
        {"actnorm": True},
        {"batch_norm": True},
        {"backend": "eager"},
        {"dim": 12, "masks": "lattice", "shapes": [(4, 3)]},
    ],
    ids=str,
)
def test_other_flows_are_left_to_pytorch(settings: dict[str, Any]) -> None:
    flow = flow_of(**settings)
    with torch.no_grad():
        assert few_rows.inverse(flow, *rows(1, flow)) is None
        x, cond = rows(1, flow)
        torch.testing.assert_close(flow(flow.inverse(x, cond)[0], cond)[0], x, rtol=1e-4, atol=1e-4)


def test_what_needs_pytorch_gets_it() -> None:
    flow = flow_of(dropout=0.5)
    z, cond = rows(FEW + 1, flow)
    assert cond is not None and few_rows.inverse(flow, z, cond) is None
    assert few_rows.inverse(flow, z[:0], cond[:0]) is None
    assert few_rows.inverse(flow, z[:1].double(), cond[:1]) is None
    assert few_rows.inverse(flow.train(), z[:1], cond[:1]) is None
    x, _ = flow.eval().inverse(z[:1].requires_grad_(), cond[:1])
    assert x.requires_grad


def test_float64_rows_come_back_exactly() -> None:
    flow = flow_of(heat=None)
    z, cond = rows(2, flow)
    with torch.no_grad():
        x, _ = flow.inverse(z.double(), cond)
        assert (flow(x, cond)[0] - z).abs().max() < 1e-9


def test_caches_of_other_sources_are_not_even_opened() -> None:
    """After an update a cache may hold types that are somewhere else now: it cannot be read."""

    def function(x: int) -> None:
        del x

    one, same, other = (compiled_once(function, digest) for digest in ("a" * 64, "a" * 64, "b" * 64))
    names = [run._cache._cache_file._index_name for run in (one, same, other)]  # type: ignore[attr-defined]
    assert names[0] == names[1] != names[2]
