"""The kernel VAE: its blocks, their overlaps, conditions everywhere, the learned norm that is undone by the same numbers, published sizes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from calopipe.config.load import load_study
from calopipe.errors import ConfigError
from calopipe.models.autoencoders.kernel_vae import KernelDecoder, KernelVAE, blocks_of
from calopipe.models.autoencoders.settings import KernelVAEConfig
from calopipe.models.base import Inputs
from calopipe.models.building import LearnableNorm
from calopipe.models.latent_target import LatentTarget
from calopipe.training.checkpoint import build_network
from calopipe.training.facts import DataFacts
from calopipe.workflow import Plan

PRESETS = Path(__file__).parents[1] / "presets"
SHAPES = ((2, 2), (2, 3), (1, 4), (2, 2), (2, 3), (1, 4), (2, 2), (2, 3))
CONDITIONS = ("incident_energy", *(f"u_{i}" for i in range(len(SHAPES))))
SETTINGS = {"kernel": 3, "stride": 2, "kernel_hidden": [12], "kernel_latent": 5, "hidden": [16, 8], "latent": 3}


def build(**settings) -> tuple[KernelVAE, Tensor, Tensor]:
    """A small one of 8 layers, with fractions of layers and conditions for it."""
    torch.manual_seed(0)
    config = KernelVAEConfig(**{**SETTINGS, **settings})
    model = KernelVAE(config, Inputs(sum(a * b for a, b in SHAPES), CONDITIONS, SHAPES))
    x = torch.rand(50, model.dim).pow(3)
    parts = [0.9 * part / part.sum(1, keepdim=True) for part in x.split(model.inputs.layer_sizes, 1)]
    x, cond = torch.cat(parts, dim=1), 0.1 + 0.8 * torch.rand(50, len(CONDITIONS))
    model.fit_input(x, cond)
    return model, x, cond


def test_blocks_are_the_published_ones():
    set2, set3 = blocks_of(45, 7, 3), blocks_of(45, 7, 5)
    assert len(set2) == 15 and set2[0] == (0, 4) and set2[1] == (0, 7) and set2[-1] == (39, 45)
    assert len(set3) == 9 and set3[1] == (2, 9) and set3[-1] == (37, 44)
    seen = [sum(a <= layer < b for a, b in set2) for layer in range(45)]
    assert min(seen[:-2]) >= 2 and min(seen) == 1  # two kernels or more see every layer but the last two


def test_every_block_reads_its_own_layers_and_the_conditions():
    model, x, cond = build()
    encoder, sizes = model.encoder, model.inputs.layer_sizes
    owner = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    assert len(encoder.blocks) == 4
    for (first, last), block, part in zip(blocks_of(8, 3, 2), encoder.blocks, encoder.parts, strict=True):
        assert set(owner[part].tolist()) == set(range(first, last))
        assert block[0].in_features == (owner[part].numel() + len(CONDITIONS))
    both = torch.cat([x, cond], dim=1).requires_grad_()
    codes: list[Tensor] = []
    hooks = [block.register_forward_hook(lambda _, __, out: codes.append(out)) for block in encoder.blocks]
    encoder(both)
    for hook in hooks:
        hook.remove()
    for (first, last), code in zip(blocks_of(8, 3, 2), codes, strict=True):
        (gradient,) = torch.autograd.grad(code.sum(), both, retain_graph=True)
        reached = gradient[:, : model.dim].abs().sum(0) > 0
        assert set(owner[reached].tolist()) == set(range(first, last))
        assert (gradient[:, model.dim :].abs().sum(0) > 0).all()


class Nothing(nn.Module):
    """Gives zeros, whatever it is told."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, x: Tensor) -> Tensor:
        return x.new_zeros(len(x), self.width)


def slope(network: nn.Module, both: Tensor, columns: slice) -> Tensor:
    """What the conditions at the end of the input change in these columns of the output, per condition."""
    both = both.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(network(both)[:, columns].square().sum(), both)
    return gradient[:, -len(CONDITIONS) :].abs().sum(0)


def test_the_conditions_reach_every_network_by_themselves():
    model, x, cond = build()
    encoder, decoder = model.encoder, model.decoder
    whole, latents = torch.cat([x, cond], dim=1), torch.cat([torch.randn(50, 3), cond], dim=1)
    encoder.blocks = nn.ModuleList(Nothing(5) for _ in encoder.blocks)
    assert (slope(encoder, whole, slice(None)) > 0).all()  # the network that gathers
    spread = decoder.inner
    decoder.inner = Nothing(20)
    blocks = list(decoder.blocks)
    for i, part in enumerate(decoder.parts):  # each block alone, told nothing but the conditions
        alone = (blocks[i] if k == i else Nothing(other.stop - other.start) for k, other in enumerate(decoder.parts))
        decoder.blocks = nn.ModuleList(alone)
        assert (slope(decoder, latents, part) > 0).all()
    assert (slope(spread, latents, slice(None)) > 0).all()


def test_what_blocks_say_of_the_same_layer_is_summed():
    class Say(nn.Module):
        def __init__(self, value: float, width: int) -> None:
            super().__init__()
            self.value, self.width = value, width

        def forward(self, x: Tensor) -> Tensor:
            return torch.full((len(x), self.width), self.value)

    parts = [slice(0, 4), slice(2, 6), slice(4, 6)]
    blocks = [Say(10.0**i, part.stop - part.start) for i, part in enumerate(parts)]
    decoder = KernelDecoder(blocks, parts, nn.Linear(3, 6), n_latent=2, n_voxels=6, numbers=1)
    assert decoder(torch.zeros(2, 3))[0].tolist() == [1, 1, 11, 11, 110, 110]
    two = [Say(1.0, 2 * (part.stop - part.start)) for part in parts]
    assert KernelDecoder(two, parts, nn.Linear(3, 6), 2, 6, numbers=2)(torch.zeros(1, 3)).shape == (1, 12)


def test_the_norm_is_learned_and_undone_by_the_same_numbers():
    model, _, cond = build()
    assert isinstance(model.voxels, LearnableNorm) and model.voxels.scale.numel() == model.dim
    assert model.conditions.scale.numel() == len(SHAPES)  # of u, not of the incident energy
    before = model.decode(torch.zeros(50, 3), cond)
    with torch.no_grad():
        model.voxels.scale.mul_(2.0)
        model.voxels.shift.add_(0.5)
    y = torch.randn(5, model.dim)
    torch.testing.assert_close(model.voxels.inverse(model.voxels(y)), y)
    assert (model.decode(torch.zeros(50, 3), cond) - before).abs().max() > 1e-3
    seen = model.conditions(torch.full((1, len(CONDITIONS)), 0.7))
    with torch.no_grad():
        model.conditions.scale.mul_(3.0)
    changed = model.conditions(torch.full((1, len(CONDITIONS)), 0.7))
    assert changed[0, 0] == seen[0, 0] and (changed[0, 1:] == 3 * seen[0, 1:]).all()
    fixed, *_ = build(learnable_norm=False)
    assert not list(fixed.voxels.parameters())


def test_every_parameter_learns_and_the_loss_falls():
    model, x, cond = build(latent=6, hidden=[32], beta=1e-6)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    losses = []
    for _ in range(150):
        optimizer.zero_grad()
        loss = model.loss(x, cond)["loss"]
        loss.backward()
        assert losses or all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] - 100


def test_kernels_that_leave_layers_out_are_refused():
    study = load_study_of("kvae_inn_set2", "kvae_inn_set2", "calochallenge2")
    for change, reason in (
        ({"stride": 8}, "no block would see some"),
        ({"kernel": 6}, "an odd number of layers, found 6"),
    ):
        wrong = {**study, "models": {"kvae_inn_set2": {"networks": {"autoencoder": {"model": change}}}}}
        with pytest.raises(ConfigError, match=reason):
            load_study(wrong, PRESETS)


def load_study_of(preset: str, model: str, dataset: str) -> dict:
    return {"presets": [preset], "evaluations": {"default": {}}, "runs": [{"dataset": dataset, "model": model}]}


@pytest.mark.parametrize(
    ("preset", "model", "dataset", "published"),
    [
        ("kvae_inn_set2", "kvae_inn_set2", "calochallenge2", 96_356_674),
        ("kvae_inn_set3", "kvae_inn_set3", "calochallenge3", 204_609_270),
        ("kvae_inn_set2", "vae_inn_set2", "calochallenge2", 77_450_060),
    ],
)
def test_parameter_counts(preset, model, dataset, published):
    plan = Plan(load_study(load_study_of(preset, model, dataset), PRESETS))
    settings, geometry = plan.model(model), plan.geometry(dataset)
    data = DataFacts.of(geometry, None)

    def built(name: str, dim: int):
        return build_network(
            settings.chain[name], settings.networks[name].network, data, dim=dim, seed=0, n_train=1
        ).model

    vae = built("autoencoder", geometry.n_voxels)
    count = sum(p.numel() for p in vae.parameters())
    dim = LatentTarget("mu_sigma", vae.latent_dim).columns(geometry.n_layers)
    del vae
    assert count + sum(p.numel() for p in built("flow", dim).parameters()) == published
