"""Hits and energies of the layers of a shower by compiled code: as :class:`calopipe.models.cascades.layers.LayerTotals`."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from calopipe.compiled_code import FAST
from calopipe.models.cascades.arithmetic_kernels import choose, free_energy, log_energy, logit_of, mix, sigmoid, uniform
from calopipe.models.cascades.layers import BACK as LAYERS_BACK
from calopipe.models.cascades.layers import DECAYS as LAYERS_DECAYS
from calopipe.models.cascades.layers import LEAST
from calopipe.models.dense_kernels import Affine, apply, copy, fill, silu


class Layers(NamedTuple):
    """Weights of :class:`calopipe.models.cascades.layers.LayerTotals`."""

    embedded: np.ndarray
    total_1: Affine
    total_2: Affine
    hidden_1: Affine
    hidden_2: Affine
    counts: Affine
    energies_1: Affine
    energies_2: Affine


@njit(**FAST)
def _tell(shape, n, energy, left, told):
    cells = shape.rings * shape.angles
    told[0], told[1] = math.sqrt(n / cells), log_energy(shape, energy)
    told[2], told[3] = log_energy(shape, energy / max(n, 1)), energy / max(left, 1e-12)


@njit(**FAST)
def draw_layers(shape, net, scaled, incident, follows, n, energy, state, found):
    """Hits and energies (L,) of the layers of a shower, drawn into `n` and `energy` or followed."""
    layers, cells = shape.layers, shape.rings * shape.angles
    width, parts = len(net.hidden_1.bias), len(net.total_2.bias)
    embedded = net.embedded.shape[1]
    one, half = np.array([scaled], np.float32), np.empty(len(net.total_1.bias), np.float32)
    out = np.empty(parts, np.float32)
    apply(one, 1, net.total_1, half)
    silu(half)
    apply(half, len(half), net.total_2, out)
    given = 0.0
    if follows:
        for i in range(layers):
            given += energy[i]
        found[0] -= math.log1p(math.exp(out[0])) if given > 0 else math.log1p(math.exp(-out[0]))
        empty = given <= 0
    else:
        empty = uniform(state) < sigmoid(out[0])
        fill(n, 0)
        fill(energy, 0.0)
    if empty:
        return
    ratio = mix(out, 1, 0.0, LEAST, math.log(max(given, 1e-300) / incident), follows, state, found)
    total = given if follows else incident * math.exp(ratio)
    left = total
    memory = np.zeros((LAYERS_BACK + len(LAYERS_DECAYS), 4), np.float32)
    x = np.empty(memory.size + 5 + embedded, np.float32)
    h1, h2 = np.empty(width, np.float32), np.empty(width + 4, np.float32)
    logits, e1 = np.empty(cells + 1, np.float32), np.empty(len(net.energies_1.bias), np.float32)
    split, told = np.empty(len(net.energies_2.bias), np.float32), np.empty(4, np.float32)
    hits_left = 0
    if follows:
        for i in range(layers):
            hits_left += n[i]
    for i in range(layers):
        if left <= 0:
            break
        last = i == layers - 1
        for r in range(len(memory)):
            for c in range(4):
                x[4 * r + c] = memory[r, c]
        rest, at = left / max(total, 1e-12), memory.size
        x[at], x[at + 1], x[at + 2] = scaled, ratio, rest
        x[at + 3], x[at + 4] = math.log(rest + 1e-4) / 4, log_energy(shape, left)
        copy(net.embedded[i], x[at + 5 :])
        apply(x, len(x), net.hidden_1, h1)
        silu(h1)
        apply(h1, width, net.hidden_2, h2[:width])
        silu(h2[:width])
        apply(h2, width, net.counts, logits)
        number = choose(logits, 1 if last else 0, cells, n[i] if follows else -1, state, found)
        count = min(number, int(left / shape.threshold)) if shape.threshold > 0 else number
        here = 0.0
        if count > 0:
            h2[width], h2[width + 1] = count / cells, math.log(count + 1.0) / 4
            h2[width + 2], h2[width + 3] = log_energy(shape, left / count), log_energy(shape, left)
            free = free_energy(shape, left, count)
            if last:
                here = energy[i] if follows else left
            else:
                apply(h2, width + 4, net.energies_1, e1)
                silu(e1)
                apply(e1, len(e1), net.energies_2, split)
                if follows:
                    here = energy[i]
                    whole = left - here <= 1e-6 * left or hits_left - count <= 0
                    found[0] -= math.log1p(math.exp(-split[0])) if whole else math.log1p(math.exp(split[0]))
                else:
                    whole = uniform(state) < sigmoid(split[0])
                    here = left
                if not whole:
                    y = logit_of(free_energy(shape, here, count), free)
                    share = sigmoid(mix(split, 1, 0.0, LEAST, y, follows, state, found))
                    here = energy[i] if follows else min(count * shape.threshold + share * free, left)
        n[i], energy[i] = count, here
        hits_left -= count
        _tell(shape, count, here, left, told)
        for c in range(4):
            for r in range(LAYERS_BACK - 1, 0, -1):
                memory[r, c] = memory[r - 1, c]
            memory[0, c] = told[c]
            for d in range(len(LAYERS_DECAYS)):
                decay = LAYERS_DECAYS[d]
                memory[LAYERS_BACK + d, c] = decay * memory[LAYERS_BACK + d, c] + (1 - decay) * told[c]
        left = 0.0 if here >= left else left - here
