"""Fully connected networks for compiled samplers of one shower: a vector times a matrix costs what its inputs that are not zero cost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from calopipe.models.splines.lanes import exp

FAST: Any = {"error_model": "numpy", "nogil": True, "fastmath": {"contract", "reassoc", "nsz", "arcp"}}
_ONE, _FAR = np.float32(1), np.float32(80)


def compiled_once(function: Callable[..., None], digest: str) -> Callable[..., None]:
    """A function compiled by numba and cached, where a cache can be written, in files of its own for each `digest` of the sources.

    numba looks at the file of the function alone. A cache that was made of other sources would be taken for one of these, or
    cannot even be read where types have moved since.
    """
    function.__qualname__ = f"{function.__name__}_{digest[:16]}"
    options: Any = {"error_model": "numpy", "nogil": True}
    try:
        return njit(cache=True, **options)(function)
    except RuntimeError:  # nowhere to write a cache
        return njit(**options)(function)


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
