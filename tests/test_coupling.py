"""Coupling blocks and flows: contract, counts, exactness, state."""

from functools import partial

import pytest
import torch
from FrEIA.framework import SequenceINN

from calopipe.models.flows.coupling import ActNorm, AffineCoupling, RQSCoupling, make_flow
from calopipe.models.flows.masks import choose_columns

KINDS = ["rqs", "cubic", "affine"]


@pytest.fixture(autouse=True)
def one_thread():
    """Small problems: waiting for a second thread on a shared machine costs more than it gives."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def rows(n, dim, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, dim, generator=generator, dtype=dtype), torch.rand(n, 1, generator=generator, dtype=dtype)


@pytest.mark.parametrize("dim, count", [(105, 946_440), (107, 964_242)])
def test_parameter_counts_of_the_published_latent_flow(dim, count):
    flow = make_flow(dim, 1, 18, hidden=(32, 32))
    assert sum(p.numel() for p in flow.parameters()) == count


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("masks", ["random", "alternate", "pairs"])
@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-4), (torch.float64, 1e-10)])
def test_inverse(kind, masks, dtype, tolerance):
    torch.manual_seed(0)
    flow = make_flow(9, 1, 4, hidden=(16, 16), kind=kind, masks=masks, zero_init=False).to(dtype)
    x, cond = rows(200, 9, dtype)
    for grad in (False, True):
        with torch.set_grad_enabled(grad):
            z, logdet = flow(x, cond)
            back, logdet_back = flow.inverse(z, cond)
        assert z.dtype == logdet.dtype == dtype and logdet.shape == (200,)
        assert (back - x).abs().max() <= tolerance and (logdet + logdet_back).abs().max() <= tolerance


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rev", [False, True])
def test_log_det_against_autograd(kind, rev):
    torch.manual_seed(1)
    flow = make_flow(7, 1, 3, hidden=(16,), kind=kind, zero_init=False).double()
    x, cond = rows(5, 7, torch.float64)
    _, logdet = flow(x, cond, rev=rev)
    for i in range(5):
        jacobian = torch.autograd.functional.jacobian(lambda v, i=i: flow(v, cond[i : i + 1], rev=rev)[0], x[i : i + 1])
        assert abs(torch.linalg.slogdet(jacobian.reshape(7, 7))[1] - logdet[i]) <= 1e-6


@pytest.mark.parametrize("kind", KINDS)
def test_starts_as_the_identity(kind):
    flow, (x, cond) = make_flow(8, 1, 3, kind=kind), rows(20, 8)
    z, logdet = flow(x, cond)
    assert torch.allclose(z, x, atol=1e-5) and logdet.abs().max() <= 1e-4


@pytest.mark.parametrize("inverse", [False, True])
def test_weight_gradients_of_both_backends(inverse):
    grads, (x, cond) = [], rows(40, 10, torch.float64)
    for backend in ("eager", "compiled"):
        torch.manual_seed(2)
        flow = make_flow(10, 1, 3, hidden=(16, 16), backend=backend, zero_init=False).double()
        z, logdet = flow(x, cond, rev=inverse)
        (0.5 * z.square().sum(1) - logdet).mean().backward()
        grads.append([p.grad for p in flow.parameters()])
    for a, b in zip(*grads, strict=True):
        assert (a - b).abs().max() <= 1e-10


def test_freia_contract_without_condition():
    flow = SequenceINN(6)
    flow.append(RQSCoupling, active=[0, 2, 4], hidden=(8,), zero_init=False)
    flow.append(AffineCoupling, active=[1, 3, 5], hidden=(8,), zero_init=False)
    x = torch.randn(10, 6)
    z, logdet = flow(x)
    back, logdet_back = flow(z, rev=True, jac=True)
    assert torch.allclose(back, x, atol=1e-5) and torch.allclose(logdet, -logdet_back, atol=1e-4)
    (z1,), _ = flow[0]((x,))
    assert torch.equal(z1[:, [1, 3, 5]], x[:, [1, 3, 5]])


def test_state_reloads_with_its_columns(tmp_path):
    torch.manual_seed(3)
    flow, (x, cond) = make_flow(9, 1, 3, hidden=(8,), seed=4, zero_init=False), rows(30, 9)
    torch.save(flow.state_dict(), tmp_path / "flow.pt")
    other = make_flow(9, 1, 3, hidden=(8,), seed=5)
    other.load_state_dict(torch.load(tmp_path / "flow.pt", weights_only=True))
    assert torch.equal(flow(x, cond)[0], other(x, cond)[0])


def test_columns_are_all_reached_and_seeded():
    for dim in (8, 9):
        chosen = choose_columns(dim, 3, "alternate", seed=1)
        assert torch.cat(chosen).unique().numel() == dim and all(len(c) == dim // 2 for c in chosen)
        pairs = choose_columns(dim, 4, "pairs", seed=1)
        halves = [torch.cat(pairs[i : i + 2]) for i in (0, 2)]
        assert all(half.unique().numel() == dim // 2 * 2 for half in halves)  # two blocks share no column
        assert not torch.equal(pairs[0], pairs[2])  # the next two are cut anew
    first, again, other = (choose_columns(50, 4, "random", seed=s) for s in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first, other, strict=True))
    with pytest.raises(ValueError, match="masks"):
        choose_columns(8, 2, "checkered")


def test_chunks_do_not_change_results():
    torch.manual_seed(4)
    flow, (x, cond) = make_flow(12, 1, 3, hidden=(16,), chunk=7, zero_init=False), rows(30, 12)
    with torch.no_grad():
        z, logdet = flow(x, cond)
        flow.chunk = None
        whole, whole_logdet = flow(x, cond)
    assert torch.allclose(z, whole, atol=1e-5) and torch.allclose(logdet, whole_logdet, atol=1e-4)
    assert torch.allclose(flow.log_prob(x, cond), flow.log_prob(x, cond).detach(), atol=1e-4)


@pytest.mark.parametrize("dim", [50, 368])
@pytest.mark.parametrize("scale", [1.0, 1.25, 1.5])
def test_inverse_survives_large_weights(dim, scale):
    torch.manual_seed(5)
    flow, (x, cond) = make_flow(dim, 1, 12, zero_init=False), rows(64, dim)
    with torch.no_grad():
        for p in flow.parameters():
            p.mul_(scale if p.ndim == 2 else 1.0)
        z, _ = flow(x, cond)
        assert (flow.inverse(z, cond)[0] - x).abs().max() <= 1e-3
        z, _ = flow(x.double(), cond)
        assert (flow.inverse(z, cond)[0] - x).abs().max() <= 1e-8


def test_wrong_shapes_are_named():
    flow = make_flow(6, 2, 1, hidden=(4,))
    with pytest.raises(ValueError, match=r"\(N, 6\)"):
        flow(torch.zeros(3, 5), torch.zeros(3, 2))
    with pytest.raises(ValueError, match="condition"):
        flow(torch.zeros(3, 6), torch.zeros(3, 1))
    with pytest.raises(ValueError, match="kind"):
        make_flow(6, 2, 1, kind="quartic")


@pytest.mark.parametrize("rev", [False, True])
@pytest.mark.parametrize("build", [partial(RQSCoupling, active=[0, 2]), partial(AffineCoupling, active=[1]), ActNorm])
def test_every_block_takes_a_tensor_or_a_tuple_of_one_and_gives_a_tuple(build, rev):
    """What FrEIA hands from module to module, and the directions are inverse to each other."""
    torch.manual_seed(5)
    x, _ = rows(6, 4, torch.float64)
    block = build([(4,)]).double()
    for p in block.parameters():
        torch.nn.init.normal_(p, std=0.3)
    (z,), logdet = block(x, rev=rev)
    (same,), again = block((x,), rev=rev)
    (back,), minus = block([z], rev=not rev)
    assert torch.equal(z, same) and torch.equal(logdet, again) and logdet.shape == (6,) and not torch.equal(z, x)
    torch.testing.assert_close(back, x)
    torch.testing.assert_close(minus, -logdet)
    assert block.output_dims([(4,)]) == [(4,)]
