"""Convolutions whose gradients can be trusted, on whatever processor: no other module makes any (tests/test_convolutions.py).

On processors with AVX-512 oneDNN 3.12, the CPU library of torch 2.13, computes garbage (nan, 1e30, or a plausible 0.4 off)
as weight gradients of convolutions that are longer than an axis of their padded input is without its padding. A network
trained so is worthless, without a word. The layers here pad such inputs explicitly, so that no kernel is longer than what
it is given; the numbers are the same by definition, and so are the weights' names and shapes.

:func:`check_gradients` compares the gradients of all convolutions of a network with float64 before it is trained, on the
machine at hand: the next fault of this kind will be another one.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from calopipe.errors import NumericsError

log = logging.getLogger("calopipe")

#: relative to the largest; float32 is right to 1e-5 and TensorFloat-32 to 2e-3, the known faults are 0.3 or more off
TOLERANCE = 0.01
_NUMBERS = 2**18  # of the input and output that a gradient is checked with
_right: set[tuple[Any, ...]] = set()  # convolutions that have passed in this process


#: any convolution of torch
Convolution = nn.modules.conv._ConvNd


class _Fitting(Convolution):
    """For convolutions with zeros as padding: makes the padding part of the input where a kernel is longer than an axis."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:  # noqa: A002  torch's name
        assert not isinstance(self.padding, str)
        sizes = input.shape[2:]
        reach = [d * (k - 1) + 1 for d, k in zip(self.dilation, self.kernel_size, strict=True)]
        if self.padding_mode != "zeros" or all(r <= n for r, n in zip(reach, sizes, strict=True)):
            return super()._conv_forward(input, weight, bias)
        ends = [p for p in reversed(self.padding) for _ in range(2)]
        convolve: Callable[..., Tensor] = functional.conv2d if input.ndim == 4 else functional.conv3d
        return convolve(functional.pad(input, ends), weight, bias, self.stride, 0, self.dilation, self.groups)


class Conv2d(_Fitting, nn.Conv2d):
    """``torch.nn.Conv2d`` with numbers as padding, see the module's text."""


class Conv3d(_Fitting, nn.Conv3d):
    """``torch.nn.Conv3d`` with numbers as padding, see the module's text."""


class ConvTranspose2d(nn.ConvTranspose2d):
    """``torch.nn.ConvTranspose2d``, whose gradients are checked too; the known fault is not in it."""


class ConvTranspose3d(nn.ConvTranspose3d):
    """``torch.nn.ConvTranspose3d``, whose gradients are checked too; the known fault is not in it."""


def check_gradients(network: nn.Module, run: Callable[[], object]) -> None:
    """Compare the gradients of the convolutions of `network` with float64, at the shapes that ``run()`` sends through them.

    One pass of a batch and, for convolutions that this process has not checked, two small gradients each; nothing where
    there are no convolutions. Neither the network nor random states are changed. Where oneDNN is wrong it is switched off
    for the rest of the process, with a warning.

    Raises:
        NumericsError: gradients are wrong all the same.
    """
    wrong = _wrong(network, run)
    if wrong and torch.backends.mkldnn.enabled and torch.backends.mkldnn.is_available():
        log.warning("oneDNN's gradients are wrong on this machine (%s): going on without it, slower", wrong)
        torch.backends.mkldnn.set_flags(False)
        wrong = _wrong(network, run)
    if wrong:
        raise NumericsError(
            f"gradients of convolutions are wrong on this machine: {wrong}; expected at most {TOLERANCE}"
        )


def gradient_error(convolution: Convolution, shape: torch.Size) -> float:
    """Largest error of the gradients of a convolution for inputs (n, channels, ...), relative to the largest exact one."""
    generator = torch.Generator().manual_seed(0)
    size = max(convolution.in_channels, convolution.out_channels) * shape[2:].numel()
    rows = max(2, min(64, _NUMBERS // size))
    x = torch.randn(rows, *shape[1:], generator=generator)
    weights = [torch.randn(p.shape, generator=generator) for p in convolution.parameters()]
    found, exact = (_gradients(convolution, x, weights, kind) for kind in (torch.float32, torch.float64))
    pairs = [(a - b).abs().max() / b.abs().max().clamp(min=1e-30) for a, b in zip(found, exact, strict=True)]
    return torch.stack(pairs).nan_to_num(nan=torch.inf).max().item()


def _gradients(convolution: nn.Module, x: Tensor, weights: list[Tensor], kind: torch.dtype) -> list[Tensor]:
    """Gradients of a fixed combination of the output, for the input and all parameters, in float64 on the CPU."""
    device = next(convolution.parameters()).device
    module = copy.deepcopy(convolution).to(device, kind)  # with what a spectral normalisation keeps
    for parameter, values in zip(module.parameters(), weights, strict=True):
        parameter.data = values.to(device, kind)
    given = x.detach().clone().to(device, kind).requires_grad_()
    with torch.enable_grad():
        out = module(given)
        combination = torch.randn(out.shape, generator=torch.Generator().manual_seed(1))
        total = (out * combination.to(device, kind)).sum()
        gradients = torch.autograd.grad(total, (given, *module.parameters()))
    return [gradient.double().cpu() for gradient in gradients]


def _wrong(network: nn.Module, run: Callable[[], object]) -> str:
    """What is wrong, for a message; empty where nothing is."""
    found = []
    for convolution, shape in _shapes(network, run):
        device = next(convolution.parameters()).device
        key = (repr(convolution), type(convolution), tuple(shape[1:]), device.type, torch.backends.mkldnn.enabled)
        if key in _right:
            continue
        error = gradient_error(convolution, shape)
        if error > TOLERANCE:
            found.append(f"{convolution} of {'x'.join(map(str, shape[2:]))} off by {error:.1g}")
        else:
            _right.add(key)
    return "; ".join(found[:3])


def _shapes(network: nn.Module, run: Callable[[], object]) -> list[tuple[Convolution, torch.Size]]:
    """Convolutions of a network with the shapes of their inputs in ``run()``."""
    seen: list[tuple[Convolution, torch.Size]] = []
    convolutions = [m for m in network.modules() if isinstance(m, Convolution)]
    if convolutions:
        hooks = [c.register_forward_pre_hook(lambda m, args: seen.append((m, args[0].shape))) for c in convolutions]
        with _unchanged(network):
            run()
        for hook in hooks:
            hook.remove()
    return seen


@contextmanager
def _unchanged(network: nn.Module) -> Iterator[None]:
    """Evaluation mode, no gradients, and random states that are put back."""
    modes = [(module, module.training) for module in network.modules()]
    cuda = {p.device for p in network.parameters() if p.device.type == "cuda"}
    network.eval()
    try:
        with torch.random.fork_rng(devices=list(cuda)), torch.no_grad():
            yield
    finally:
        for module, training in modes:
            module.training = training
