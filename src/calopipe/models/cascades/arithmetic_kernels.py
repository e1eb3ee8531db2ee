"""What the compiled parts of a cascade share beside products with matrices: energy scales, random numbers and densities.

Random numbers come from a counter for each shower, so that they depend neither on threads nor on the showers beside it.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from calopipe.compiled_code import FAST
from calopipe.models.building import LARGEST
from calopipe.models.cascades.scales import EDGE, SCALE, SMALLEST


class Shape(NamedTuple):
    """Layers, rings, cells of a ring, whether rings are periodic and close, threshold and unit of energies in MeV."""

    layers: int
    rings: int
    angles: int
    periodic: bool
    closes: bool
    threshold: float
    unit: float


@njit(**FAST)
def log_energy(shape, energy):
    """As ``Grid.log``."""
    return np.float32(SCALE * math.log1p(energy / shape.unit))


@njit(**FAST)
def free_energy(shape, energy, n):
    """As ``Grid.free``."""
    return max(energy - n * shape.threshold, SMALLEST[0] * energy + SMALLEST[1])


# ---- random numbers and densities --------------------------------------------------------------------------------------------
@njit(**FAST)
def uniform(state):
    """A number between 0 and 1, without the ends, of a counter (splitmix64)."""
    state[0] += np.uint64(0x9E3779B97F4A7C15)
    z = state[0]
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    return (np.float64(z >> np.uint64(12)) + 0.5) * 2.0**-52


@njit(**FAST)
def sigmoid(x):
    """The logistic function."""
    return 1 / (1 + math.exp(-x))


@njit(**FAST)
def choose(logits, low, high, given, state, found):
    """A number from `low` to `high` by its logits, or the `given` one (below 0: none) and its ln p into `found`."""
    most = logits[low]
    for k in range(low + 1, high + 1):
        most = max(most, logits[k])
    total = 0.0
    for k in range(low, high + 1):
        total += math.exp(logits[k] - most)
    if given >= 0:
        found[0] += logits[given] - most - math.log(total)
        return given
    mark, passed = uniform(state) * total, 0.0
    for k in range(low, high):
        passed += math.exp(logits[k] - most)
        if passed > mark:
            return k
    return high


@njit(**FAST)
def mix(out, first, shift, least, given, follows, state, found):
    """A number of a mixture of normals, or the `given` one, with its ln p into `found`: out[first:] are weights, means, log variances."""
    parts = (len(out) - first) // 3
    most = out[first]
    for k in range(1, parts):
        most = max(most, out[first + k])
    total = 0.0
    for k in range(parts):
        total += math.exp(out[first + k] - most)
    if follows:
        density = 0.0
        for k in range(parts):
            log_var = min(max(out[first + 2 * parts + k], least), LARGEST)
            z = given - out[first + parts + k] - shift
            density += math.exp(out[first + k] - most - 0.5 * (z * z * math.exp(-log_var) + log_var))
        found[0] += math.log(max(density, 1e-300)) - math.log(total)
        return given
    mark, passed, k = uniform(state) * total, 0.0, 0
    while k < parts - 1:
        passed += math.exp(out[first + k] - most)
        if passed > mark:
            break
        k += 1
    log_var = min(max(out[first + 2 * parts + k], least), LARGEST)
    normal = math.sqrt(-2 * math.log(uniform(state))) * math.cos(2 * math.pi * uniform(state))
    return out[first + parts + k] + shift + math.exp(0.5 * log_var) * normal


@njit(**FAST)
def logit_of(part, whole):
    """As ``share_logit``, of numbers."""
    x = min(max(part / whole, EDGE), 1 - EDGE)
    return math.log(x / (1 - x))
