"""Gradients of convolutions against float64, at every shape in use, and the check of them before a training."""

from __future__ import annotations

import ast
import logging
from math import prod
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import calopipe
from calopipe import convolutions
from calopipe.config import ClassifierConfig, validate
from calopipe.config.parts import MODELS
from calopipe.convolutions import Conv2d, Conv3d, check_gradients, gradient_error
from calopipe.errors import NumericsError
from calopipe.metrics.classifier_networks import build_network
from calopipe.models.base import Inputs

ROOT = Path(calopipe.__file__).parent
RESNETS = [(6, 8, 4), (6, 8, 1), (1, 3, 1), (2, 5, 3), (12, 24, 6), (45, 16, 9)]
REGRESSORS = [(30, 30, 30), (45, 16, 9), (1, 5, 2), (6, 7, 12), (8, 8, 8), (1, 32, 32), (2, 2, 2), (30, 1, 1)]


@pytest.fixture(autouse=True)
def onednn_stays_on():
    yield
    torch.backends.mkldnn.set_flags(True)


def errors(network: nn.Module, run) -> dict[str, float]:
    """Error of the gradients of each kind of convolution and shape of input."""
    return {f"{c} {tuple(shape)}": gradient_error(c, shape) for c, shape in convolutions._shapes(network, run)}


@pytest.mark.parametrize("grid", RESNETS, ids=str)
def test_gradients_of_the_classifier(grid: tuple[int, int, int]) -> None:
    config = ClassifierConfig(network="cnn", channels=[4, 8, 8, 8])
    network = build_network(1 + prod(grid), config, grid=grid)
    found = errors(network, lambda: network(torch.rand(2, 1 + prod(grid))))
    assert len(found) >= 7 and max(found.values()) < 1e-4, found


@pytest.mark.parametrize("name", ["regressor", "regressor_plus"])
@pytest.mark.parametrize("grid", REGRESSORS, ids=str)
def test_gradients_of_the_regressors(name: str, grid: tuple[int, int, int]) -> None:
    config = validate(MODELS.config_class(name), {"grid": list(grid), "periodic": grid[1] == 16}, name)
    network = MODELS.get(name)(config, Inputs(prod(grid)))
    found = errors(network, lambda: network.features(torch.rand(2, prod(grid))))
    assert len(found) == (5 if name == "regressor_plus" else 3) and max(found.values()) < 1e-4, found


@pytest.mark.parametrize(
    ("inputs", "outputs", "kernel", "stride", "padding", "shape"),
    [
        (1, 4, 7, 2, (3, 0, 3), (6, 14, 4)),
        (1, 4, 7, 2, 3, (6, 8, 4)),
        (2, 4, 7, 2, 3, (6, 8, 4)),
        (1, 32, 7, 2, 3, (6, 8, 1)),
        (1, 16, 7, 2, (3, 0, 3), (45, 22, 9)),
        (1, 4, 5, 2, 2, (6, 8, 4)),
        (4, 4, 3, 1, 1, (1, 1, 1)),
    ],
)
def test_the_same_numbers_as_torch(inputs, outputs, kernel, stride, padding, shape) -> None:
    """Output and gradients are those of torch's own layer in float64; weights have its names and shapes."""
    torch.manual_seed(0)
    layer = Conv3d(inputs, outputs, kernel, stride, padding=padding)
    exact = nn.Conv3d(inputs, outputs, kernel, stride, padding=padding).double()
    exact.load_state_dict(layer.state_dict())
    x = torch.randn(60, inputs, *shape)
    out, expected = layer(x), exact(x.double())
    torch.testing.assert_close(out.double(), expected, rtol=1e-4, atol=1e-4)
    weights = torch.randn_like(expected)
    (out * weights.float()).sum().backward()
    (expected * weights).sum().backward()
    for a, b in zip(layer.parameters(), exact.parameters(), strict=True):
        assert (a.grad - b.grad).abs().max() < 1e-4 * b.grad.abs().max()


def test_two_dimensions_dilation_and_padding_modes() -> None:
    torch.manual_seed(0)
    for settings in (
        {"padding": 3},
        {"padding": (6, 3), "dilation": (2, 1)},
        {"padding": 3, "padding_mode": "circular"},
    ):
        layer, exact = Conv2d(2, 4, 7, **settings), nn.Conv2d(2, 4, 7, **settings)
        exact.load_state_dict(layer.state_dict())
        x = torch.randn(3, 2, 8 if "dilation" in settings else 4, 4)
        torch.testing.assert_close(layer(x), exact(x), rtol=1e-4, atol=1e-5)
        assert gradient_error(layer, x.shape) < 1e-4


class Broken(Conv3d):
    """A layer whose float32 gradients are wrong: where oneDNN is on, or always."""

    always = False

    def _conv_forward(self, x, weight, bias):
        if x.dtype == torch.float32 and (self.always or torch.backends.mkldnn.enabled):
            weight = weight.detach() + 0.1 * (weight - weight.detach())
        return super()._conv_forward(x, weight, bias)


def test_wrong_gradients_are_noticed(caplog, monkeypatch) -> None:
    network = nn.Sequential(Broken(1, 2, 3, padding=1), nn.BatchNorm3d(2), nn.Dropout(0.5))
    x = torch.rand(2, 1, 3, 3, 3)
    before, state = {k: v.clone() for k, v in network.state_dict().items()}, torch.get_rng_state()
    with caplog.at_level(logging.WARNING, logger="calopipe"):
        check_gradients(network, lambda: network(x))
    assert "oneDNN's gradients are wrong on this machine (Broken(1, 2" in caplog.text
    assert not torch.backends.mkldnn.enabled
    assert network.training and all(torch.equal(v, before[k]) for k, v in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state) and all(p.grad is None for p in network.parameters())
    monkeypatch.setattr(Broken, "always", True)
    monkeypatch.setattr(convolutions, "_right", set())
    with pytest.raises(NumericsError, match="gradients of convolutions are wrong .* 3x3x3 off by 0.9"):
        check_gradients(network, lambda: network(x))


@pytest.mark.parametrize("used", ["classifier", "regressor"])
def test_trainings_check_first(used: str, tmp_path, monkeypatch) -> None:
    """Neither a classifier nor a regressor is trained where gradients are wrong."""
    monkeypatch.setattr(convolutions, "_right", set())
    monkeypatch.setattr(convolutions, "gradient_error", lambda *_: 1.0)
    with pytest.raises(NumericsError, match="gradients of convolutions are wrong on this machine"):
        (train_classifier if used == "classifier" else train_regressor)(tmp_path)


def train_classifier(folder: Path) -> None:
    from calopipe.metrics.classifier import classifier_test

    tables = [np.random.default_rng(i).random((60, 1 + 6 * 8 * 4), dtype=np.float32) for i in range(2)]
    config = ClassifierConfig(network="cnn", channels=[4, 4], epochs=1, repeats=1, batch_size=20)
    classifier_test(*tables, config, 0, grid=(6, 8, 4))


def train_regressor(folder: Path) -> None:
    from calopipe import training
    from calopipe.config import RegressorStage
    from calopipe.io import Showers, write_showers

    rng = np.random.default_rng(0)
    for name in ("train", "val"):
        incident = rng.uniform(1e3, 2e3, (20, 1)).astype(np.float32)
        write_showers(folder / name, Showers(incident, rng.random((20, 504), dtype=np.float32)), "calogan")
    stage = {"model": {"name": "regressor", "grid": [6, 7, 12]}, "training": {"epochs": 1, "device": "cpu"}}
    paths = (folder / "m.pt", folder / "m.csv", folder / "roll")
    job = training.TrainingJob(folder / "train", folder / "val", "calogan", *paths)
    training.train_regressor(validate(RegressorStage, stage, "r"), "net", job)


def test_no_convolution_is_made_elsewhere() -> None:
    """Layers and functions of torch that convolve appear in calopipe.convolutions only."""
    names = ("Conv1d", "Conv2d", "Conv3d", "conv1d", "conv2d", "conv3d")
    found = []
    for path in sorted(ROOT.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            own = isinstance(node, ast.Attribute) and ast.unparse(node.value) in ("self", "model", "network")
            if (
                isinstance(node, ast.Attribute)
                and not own
                and any(n in node.attr for n in (*names, "convolution", "conv_tr"))
            ):
                found.append((path.relative_to(ROOT).as_posix(), node.attr))
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("torch"):
                found += [(path.relative_to(ROOT).as_posix(), a.name) for a in node.names if "conv" in a.name.lower()]
            if isinstance(node, ast.Attribute) and node.attr.startswith(
                ("ConvTranspose", "LazyConv", "conv_transpose")
            ):
                found.append((path.relative_to(ROOT).as_posix(), node.attr))
    assert {path for path, _ in found} == {"convolutions.py"}, found
