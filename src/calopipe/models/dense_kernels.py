"""Fully connected networks for compiled samplers of one shower: a vector times a matrix costs what its inputs that are not zero cost."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from calopipe.compiled_code import FAST
from calopipe.models.splines.lanes import exp

_ONE, _FAR = np.float32(1), np.float32(80)
#: slope of :func:`network` that means SiLU
SILU = np.float32(-1)


class Affine(NamedTuple):
    """A linear layer: weights (inputs, outputs) and bias (outputs)."""

    weight: np.ndarray
    bias: np.ndarray


@njit(**FAST)
def add(x, count, weight, first, out):
    """out += x[:count] @ weight[first : first + count]; zeros are passed over."""
    size = len(out)
    k = 0
    while k < count:
        a = x[k]
        if a == 0:
            k += 1
            continue
        w = weight[first + k]
        other = k + 1
        while other < count and x[other] == 0:
            other += 1
        if other < count:
            b, v = x[other], weight[first + other]
            for j in range(size):
                out[j] += a * w[j] + b * v[j]
        else:
            for j in range(size):
                out[j] += a * w[j]
        k = other + 1


@njit(**FAST)
def apply(x, count, affine, out):
    """out = x[:count] @ weight + bias."""
    for j in range(len(out)):
        out[j] = affine.bias[j]
    add(x, count, affine.weight, 0, out)


@njit(**FAST)
def fill(x, value):
    """Every x becomes the value."""
    for j in range(len(x)):
        x[j] = value


@njit(**FAST)
def copy(x, out):
    """The first of `out` become x."""
    for j in range(len(x)):
        out[j] = x[j]


@njit(**FAST)
def silu(x):
    """x times its sigmoid, in place."""
    for j in range(len(x)):
        x[j] = x[j] / (_ONE + exp(min(-x[j], _FAR)))


@njit(**FAST)
def network(weights, widths, slope, one, two):
    """Outputs of a :class:`~calopipe.compiled_code.Network` whose inputs stand in `one`; both are scratch, wide enough for its widest layer.

    Activations are SiLU where the `slope` is that of `SILU`, otherwise leaky ReLU of a slope.
    """
    first, last = 0, len(widths) - 2
    x, out = one, two
    for layer in range(last + 1):
        inputs, outputs = widths[layer], widths[layer + 1]
        end = first + inputs * outputs
        y = out[:outputs]
        copy(weights[end : end + outputs], y)
        add(x, inputs, weights[first:end].reshape(inputs, outputs), 0, y)
        if layer < last and slope == SILU:
            silu(y)
        elif layer < last:
            for j in range(outputs):
                if y[j] < 0:
                    y[j] *= slope
        first = end + outputs
        x, out = out, x
    return x[: widths[-1]]
