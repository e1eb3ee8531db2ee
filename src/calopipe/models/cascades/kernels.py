"""Showers of a ring cascade, one after another, by compiled code on the CPU: what the torch modules beside it do for a batch.

The batch goes through some ten thousand small tensors for every step of the cascade; a shower alone needs them all. Here a shower is a few
hundred products of a vector and a small matrix, and rings without hits, or inputs that are zero, cost nothing.

What is compiled either draws or follows showers that are given, and then adds up ln p as the modules do: that is how tests hold both
equal. Random numbers come from a counter for each shower, so that they depend neither on threads nor on the showers beside it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from calopipe.models.cascades.cells import AHEAD, BACK, CHANNELS, DECAY, NUMBERS, REACH
from calopipe.models.cascades.layers import BACK as LAYERS_BACK
from calopipe.models.cascades.layers import DECAYS as LAYERS_DECAYS
from calopipe.models.cascades.scales import EDGE
from calopipe.models.cascades.totals import DECAYS
from calopipe.models.splines.lanes import exp

_FAST: Any = {"error_model": "numpy", "nogil": True, "fastmath": {"contract", "reassoc", "nsz", "arcp"}}
_ONE, _FAR = np.float32(1), np.float32(80)


class Affine(NamedTuple):
    """A linear layer: weights (inputs, outputs) and bias (outputs)."""

    weight: np.ndarray
    bias: np.ndarray


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


class Totals(NamedTuple):
    """Weights of :class:`calopipe.models.cascades.totals.RingTotals`."""

    embedded: np.ndarray
    ring: np.ndarray
    before_1: Affine
    before_2: Affine
    hidden: Affine
    counts: Affine
    energies_1: Affine
    energies_2: Affine


class Cells(NamedTuple):
    """Weights of :class:`calopipe.models.cascades.cells.RingCells`; the rows of `near` run over cells, then channels."""

    embedded: np.ndarray
    ring: np.ndarray
    numbers: Affine
    near: Affine
    mixed: Affine
    common: Affine
    hit_cell: Affine
    hit_swept: Affine
    hit: Affine
    energy_cell: Affine
    energy_swept: Affine
    energy: Affine


class Shape(NamedTuple):
    """Layers, rings, cells of a ring, whether rings are periodic and close, threshold and unit of energies in MeV."""

    layers: int
    rings: int
    angles: int
    periodic: bool
    closes: bool
    threshold: float
    unit: float


# ---- small networks ----------------------------------------------------------------------------------------------------------
@njit(**_FAST)
def _add(x, count, weight, first, out):
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


@njit(**_FAST)
def _apply(x, count, affine, out):
    """out = x[:count] @ weight + bias."""
    for j in range(len(out)):
        out[j] = affine.bias[j]
    _add(x, count, affine.weight, 0, out)


@njit(**_FAST)
def _fill(x, value):
    for j in range(len(x)):
        x[j] = value


@njit(**_FAST)
def _copy(x, out):
    for j in range(len(x)):
        out[j] = x[j]


@njit(**_FAST)
def _silu(x):
    for j in range(len(x)):
        x[j] = x[j] / (_ONE + exp(min(-x[j], _FAR)))


@njit(**_FAST)
def _log(shape, energy):
    return np.float32(0.2 * math.log1p(energy / shape.unit))


@njit(**_FAST)
def _free(shape, energy, n):
    return max(energy - n * shape.threshold, 1e-5 * energy + 1e-9)


# ---- random numbers and densities --------------------------------------------------------------------------------------------
@njit(**_FAST)
def _uniform(state):
    """A number between 0 and 1, without the ends, of a counter (splitmix64)."""
    state[0] += np.uint64(0x9E3779B97F4A7C15)
    z = state[0]
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    return (np.float64(z >> np.uint64(12)) + 0.5) * 2.0**-52


@njit(**_FAST)
def _sigmoid(x):
    return 1 / (1 + math.exp(-x))


@njit(**_FAST)
def _choose(logits, low, high, given, state, found):
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
    mark, passed = _uniform(state) * total, 0.0
    for k in range(low, high):
        passed += math.exp(logits[k] - most)
        if passed > mark:
            return k
    return high


@njit(**_FAST)
def _mix(out, first, shift, least, given, follows, state, found):
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
            log_var = min(max(out[first + 2 * parts + k], least), 6.0)
            z = given - out[first + parts + k] - shift
            density += math.exp(out[first + k] - most - 0.5 * (z * z * math.exp(-log_var) + log_var))
        found[0] += math.log(max(density, 1e-300)) - math.log(total)
        return given
    mark, passed, k = _uniform(state) * total, 0.0, 0
    while k < parts - 1:
        passed += math.exp(out[first + k] - most)
        if passed > mark:
            break
        k += 1
    log_var = min(max(out[first + 2 * parts + k], least), 6.0)
    normal = math.sqrt(-2 * math.log(_uniform(state))) * math.cos(2 * math.pi * _uniform(state))
    return out[first + parts + k] + shift + math.exp(0.5 * log_var) * normal


@njit(**_FAST)
def _logit(part, whole):
    x = min(max(part / whole, EDGE), 1 - EDGE)
    return math.log(x / (1 - x))


# ---- layers ------------------------------------------------------------------------------------------------------------------
@njit(**_FAST)
def _tell(shape, n, energy, left, told):
    cells = shape.rings * shape.angles
    told[0], told[1] = math.sqrt(n / cells), _log(shape, energy)
    told[2], told[3] = _log(shape, energy / max(n, 1)), energy / max(left, 1e-12)


@njit(**_FAST)
def draw_layers(shape, net, scaled, incident, follows, n, energy, state, found):
    """Hits and energies (L,) of the layers of a shower, drawn into `n` and `energy` or followed."""
    layers, cells = shape.layers, shape.rings * shape.angles
    width, parts = len(net.hidden_1.bias), len(net.total_2.bias)
    embedded = net.embedded.shape[1]
    one, half = np.array([scaled], np.float32), np.empty(len(net.total_1.bias), np.float32)
    out = np.empty(parts, np.float32)
    _apply(one, 1, net.total_1, half)
    _silu(half)
    _apply(half, len(half), net.total_2, out)
    given = 0.0
    if follows:
        for i in range(layers):
            given += energy[i]
        found[0] -= math.log1p(math.exp(out[0])) if given > 0 else math.log1p(math.exp(-out[0]))
        empty = given <= 0
    else:
        empty = _uniform(state) < _sigmoid(out[0])
        _fill(n, 0)
        _fill(energy, 0.0)
    if empty:
        return
    ratio = _mix(out, 1, 0.0, -12.0, math.log(max(given, 1e-300) / incident), follows, state, found)
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
        x[at + 3], x[at + 4] = math.log(rest + 1e-4) / 4, _log(shape, left)
        _copy(net.embedded[i], x[at + 5 :])
        _apply(x, len(x), net.hidden_1, h1)
        _silu(h1)
        _apply(h1, width, net.hidden_2, h2[:width])
        _silu(h2[:width])
        _apply(h2, width, net.counts, logits)
        number = _choose(logits, 1 if last else 0, cells, n[i] if follows else -1, state, found)
        count = min(number, int(left / shape.threshold)) if shape.threshold > 0 else number
        here = 0.0
        if count > 0:
            h2[width], h2[width + 1] = count / cells, math.log(count + 1.0) / 4
            h2[width + 2], h2[width + 3] = _log(shape, left / count), _log(shape, left)
            free = _free(shape, left, count)
            if last:
                here = energy[i] if follows else left
            else:
                _apply(h2, width + 4, net.energies_1, e1)
                _silu(e1)
                _apply(e1, len(e1), net.energies_2, split)
                if follows:
                    here = energy[i]
                    whole = left - here <= 1e-6 * left or hits_left - count <= 0
                    found[0] -= math.log1p(math.exp(-split[0])) if whole else math.log1p(math.exp(split[0]))
                else:
                    whole = _uniform(state) < _sigmoid(split[0])
                    here = left
                if not whole:
                    y = _logit(_free(shape, here, count), free)
                    share = _sigmoid(_mix(split, 1, 0.0, -12.0, y, follows, state, found))
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


# ---- rings -------------------------------------------------------------------------------------------------------------------
@njit(**_FAST)
def draw_rings(shape, net, scaled, layers_n, layers_energy, follows, n, energy, state, found):
    """Hits and energies (L, R) of rings, from those of the layers (L,)."""
    layers, rings, angles = shape.layers, shape.rings, shape.angles
    width, embedded, told = len(net.hidden.bias), net.embedded.shape[1], 3 * rings
    memory = np.zeros((2 + len(DECAYS), told), np.float32)
    x = np.empty(memory.size + 14 + embedded, np.float32)
    c1, context = np.empty(len(net.before_1.bias), np.float32), np.empty(width, np.float32)
    of_layer, h = np.empty(width, np.float32), np.empty(width + 4, np.float32)
    known, logits = np.empty(4, np.float32), np.empty(angles + 1, np.float32)
    e1, split = np.empty(len(net.energies_1.bias), np.float32), np.empty(len(net.energies_2.bias), np.float32)
    inner, total = np.empty(told, np.float32), 0.0
    for i in range(layers):
        total += layers_energy[i]
    done = 0.0
    for i in range(layers):
        before = done
        _fill(inner, np.float32(0))
        done += layers_energy[i] / max(total, 1e-12)
        if layers_n[i] > 0:
            for r in range(len(memory)):
                for c in range(told):
                    x[told * r + c] = memory[r, c]
            at = memory.size
            hits, of = layers_n[i], layers_energy[i]
            x[at], x[at + 1], x[at + 2] = _log(shape, of), math.sqrt(hits / (rings * angles)), _log(shape, of / hits)
            x[at + 3], x[at + 4], x[at + 5] = done, before, scaled
            at += 6
            for by in (-2, -1, 1, 2):
                inside = 0 <= i - by < layers
                x[at] = _log(shape, layers_energy[i - by]) if inside else 0
                x[at + 4] = math.sqrt(layers_n[i - by] / (rings * angles)) if inside else 0
                at += 1
            _copy(net.embedded[i], x[at + 4 :])
            _apply(x, len(x), net.before_1, c1)
            _silu(c1)
            _apply(c1, len(c1), net.before_2, context)
            _apply(context, width, net.hidden, of_layer)  # the same for all rings
            left_n, left_energy = layers_n[i], of
            for r in range(rings):
                count, here = 0, 0.0
                if left_n > 0:
                    known[0], known[1] = left_n / angles, left_n / ((rings - r) * angles)
                    known[2], known[3] = _log(shape, left_energy), _log(shape, left_energy / left_n)
                    _copy(of_layer, h)
                    _add(inner, told, net.hidden.weight, width, h[:width])
                    _add(known, 4, net.hidden.weight, width + told, h[:width])
                    _add(net.ring[r], len(net.ring[r]), net.hidden.weight, width + told + 4, h[:width])
                    _silu(h[:width])
                    _apply(h, width, net.counts, logits)
                    least = max(left_n - (rings - 1 - r) * angles, 0)
                    count = _choose(logits, least, min(left_n, angles), n[i, r] if follows else -1, state, found)
                    if 0 < count < left_n:
                        part = count / left_n
                        h[width], h[width + 1] = count / angles, part
                        h[width + 2], h[width + 3] = known[2], known[3]
                        _apply(h, width + 4, net.energies_1, e1)
                        _silu(e1)
                        _apply(e1, len(e1), net.energies_2, split)
                        free, shift = _free(shape, left_energy, left_n), math.log(part / (1 - part))
                        y = _logit(_free(shape, energy[i, r], count), free) if follows else 0.0
                        share = _sigmoid(_mix(split, 0, shift, -9.0, y, follows, state, found))
                        here = energy[i, r] if follows else count * shape.threshold + share * free
                    elif count > 0:
                        here = left_energy
                n[i, r], energy[i, r] = count, here
                inner[r], inner[rings + r] = count / angles, _log(shape, here)
                inner[2 * rings + r] = here / max(of, 1e-12)
                left_n, left_energy = left_n - count, max(left_energy - here, 0.0)
        else:
            _fill(n[i], 0)
            _fill(energy[i], 0.0)
        for c in range(told):
            memory[1, c], memory[0, c] = memory[0, c], inner[c]
            for d in range(len(DECAYS)):
                memory[2 + d, c] = DECAYS[d] * memory[2 + d, c] + (1 - DECAYS[d]) * inner[c]


# ---- cells -------------------------------------------------------------------------------------------------------------------
@njit(**_FAST)
def _of_rings(shape, scaled, n, energy, layer, ring, layer_n, layer_energy, numbers):
    """What is known of a ring before its cells are: as ``RingCells.of_rings``."""
    layers, rings, angles = n.shape[0], n.shape[1], shape.angles
    numbers[0], numbers[1] = n[layer, ring] / angles, _log(shape, energy[layer, ring])
    numbers[2] = _log(shape, energy[layer, ring] / max(n[layer, ring], 1))
    numbers[3], numbers[4], numbers[5] = math.sqrt(layer_n / (rings * angles)), _log(shape, layer_energy), scaled
    _fill(numbers[6:], np.float32(0))
    if ring + 1 < rings:
        numbers[6], numbers[9] = n[layer, ring + 1] / angles, _log(shape, energy[layer, ring + 1])
    if layer + 1 < layers:
        numbers[7], numbers[10] = n[layer + 1, ring] / angles, _log(shape, energy[layer + 1, ring])
    if layer > 0:
        numbers[8], numbers[11] = n[layer - 1, ring] / angles, _log(shape, energy[layer - 1, ring])
        numbers[12] = _log(shape, energy[layer - 1, ring] / max(n[layer - 1, ring], 1))


@njit(**_FAST)
def _passed(shape, values, angle, known):
    """What a sweep has passed when it comes to a cell, as ``RingCells._passed``: values (A,), of which the later ones are not looked at."""
    for k in range(BACK):
        at = angle - BACK + k
        known[k] = values[at] if at >= 0 else 0
    follow = 0
    for k in range(AHEAD):
        at = angle + 1 + k - shape.angles
        there = shape.closes and at >= 0
        known[BACK + k] = values[at] if there else 0
        follow += there
    known[BACK + AHEAD] = min(angle, BACK) / BACK
    known[BACK + AHEAD + 1] = follow / AHEAD


@njit(**_FAST)
def _see(shape, cells, before, layer, ring, seen):
    """Cells around those of a ring into `seen` (A + 2 reach, channels), with those at its ends again on the other side."""
    angles, this, r = shape.angles, layer + 2, ring + 2
    for a in range(-REACH, angles + REACH):
        at = a % angles
        for c in range(2):
            row = seen[a + REACH]
            if a == at or shape.periodic:
                for k in range(3):
                    row[2 * k + c] = cells[this - 1, r - 1 + k, at, c]
                    row[6 + 2 * k + c] = before[r - 1 + k, at, c]
                row[12 + c] = cells[this - 2, r, at, c]
                row[14 + c], row[16 + c] = cells[this, r - 1, at, c], cells[this, r - 2, at, c]
            else:
                for k in range(9):
                    row[2 * k + c] = 0


@njit(**_FAST)
def draw_cells(shape, net, scaled, n, energy, follows, out, state, found):
    """Energies (L, R, A) of cells into `out`, from hits and energies (L, R) of rings. `found`: ln p of hits, of energies."""
    layers, rings, angles = shape.layers, shape.rings, shape.angles
    width = len(net.near.bias)
    cells = np.zeros((layers + 2, rings + 3, angles, 2), np.float32)
    before = np.zeros((rings + 3, angles, 2), np.float32)
    numbers, whole = np.empty(NUMBERS, np.float32), np.empty(width, np.float32)
    seen = np.empty((angles + 2 * REACH, CHANNELS), np.float32)
    flat, window = seen.ravel(), CHANNELS * (2 * REACH + 1)
    h, mean, common = np.empty((angles, width), np.float32), np.empty(width, np.float32), np.empty(width, np.float32)
    mixed, hit_cell = np.empty(width, np.float32), np.empty(len(net.hit_cell.bias), np.float32)
    energy_cell, density = np.empty(len(net.energy_cell.bias), np.float32), np.empty(len(net.energy.bias), np.float32)
    swept = BACK + AHEAD + 2
    known, hits, logs = np.empty(swept + 5, np.float32), np.empty(angles, np.float32), np.empty(angles, np.float32)
    for layer in range(layers):
        layer_n, layer_energy = 0, 0.0
        for ring in range(rings):
            layer_n, layer_energy = layer_n + n[layer, ring], layer_energy + energy[layer, ring]
        for ring in range(rings):
            if n[layer, ring] == 0:
                if not follows:
                    _fill(out[layer, ring], np.float32(0))
                continue
            _of_rings(shape, scaled, n, energy, layer, ring, layer_n, layer_energy, numbers)
            _apply(numbers, NUMBERS, net.numbers, whole)
            for j in range(width):
                whole[j] += net.embedded[layer, j] + net.ring[ring, j] + net.near.bias[j]
            _see(shape, cells, before, layer, ring, seen)
            _fill(mean, np.float32(0))
            for a in range(angles):
                _copy(whole, h[a])
                _add(flat[a * CHANNELS :], window, net.near.weight, 0, h[a])
                _silu(h[a])
                for j in range(width):
                    mean[j] += h[a, j] / angles
            _apply(mean, width, net.common, common)
            for a in range(angles):
                for j in range(width):
                    mixed[j] = common[j] + net.mixed.bias[j]
                _add(h[a], width, net.mixed.weight, 0, mixed)
                _silu(mixed)
                for j in range(width):
                    h[a, j] += mixed[j]
            # hits, so that the ring has its number
            left = n[layer, ring]
            for a in range(angles):
                room = angles - a
                if left >= room:
                    hit = 1
                elif left <= 0:
                    hit = 0
                else:
                    rate = min(max(left / room, 1e-3), 1 - 1e-3)
                    prior = math.log(rate / (1 - rate))
                    _passed(shape, hits, a, known)
                    known[swept], known[swept + 1] = left / angles, room / angles
                    known[swept + 2], known[swept + 3] = rate, prior
                    _apply(h[a], width, net.hit_cell, hit_cell)
                    _add(known, swept + 4, net.hit_swept.weight, 0, hit_cell)
                    _silu(hit_cell)
                    logit = prior + net.hit.bias[0]
                    for j in range(len(hit_cell)):
                        logit += hit_cell[j] * net.hit.weight[j, 0]
                    if follows:
                        hit = 1 if out[layer, ring, a] > 0 else 0
                        found[0] -= math.log1p(math.exp(-logit if hit else logit))
                    else:
                        hit = 1 if _uniform(state) < _sigmoid(logit) else 0
                hits[a] = hit
                left -= hit
            # energies, so that the ring has its energy
            left, rest = n[layer, ring], energy[layer, ring]
            for a in range(angles):
                here = 0.0
                if hits[a] > 0 and left == 1:
                    here = rest
                elif hits[a] > 0:
                    free = _free(shape, rest, left)
                    _passed(shape, logs, a, known)
                    known[swept], known[swept + 1] = left / angles, 1.0 / left
                    known[swept + 2], known[swept + 3] = _log(shape, rest), _log(shape, rest / left)
                    known[swept + 4] = _log(shape, free)
                    _apply(h[a], width, net.energy_cell, energy_cell)
                    _add(known, swept + 5, net.energy_swept.weight, 0, energy_cell)
                    _silu(energy_cell)
                    _apply(energy_cell, len(energy_cell), net.energy, density)
                    y = _logit(max(out[layer, ring, a] - shape.threshold, 0.0), free) if follows else 0.0
                    y = _mix(density, 0, -math.log(left - 1.0), -9.0, y, follows, state, found[1:])
                    here = out[layer, ring, a] if follows else shape.threshold + _sigmoid(y) * free
                left -= int(hits[a])
                out[layer, ring, a] = here
                logs[a] = _log(shape, here)
                rest = max(rest - here, 0.0)
                cells[layer + 2, ring + 2, a, 0], cells[layer + 2, ring + 2, a, 1] = hits[a], logs[a]
        for r in range(rings + 3):
            for a in range(angles):
                for c in range(2):
                    before[r, a, c] = DECAY * before[r, a, c] + (1 - DECAY) * cells[layer + 2, r, a, c]


def entry(digest: str) -> Callable[..., None]:
    """The compiled function that draws showers. Its cache, where there is one, belongs to this `digest` of the sources.

    It takes the shape, the weights of the three networks, of each shower its incident energy as a number of order one and in MeV (N,), seeds (N,) (uint64, one for each shower), whether
    it follows the showers (N, L, R, A) in MeV or draws into them, and where ln p (N, 4) of layers, rings, hits and energies goes if it follows.
    """

    def draw(shape, networks, rows, follows, showers, found):
        (layers, totals, cells), (scaled, incident, seeds) = networks, rows
        layers_n, layers_energy = np.zeros(shape.layers, np.int64), np.zeros(shape.layers)
        n, energy = np.zeros((shape.layers, shape.rings), np.int64), np.zeros((shape.layers, shape.rings))
        state = np.empty(1, np.uint64)
        for i in range(len(incident)):
            state[0] = seeds[i]
            if follows:
                for layer in range(shape.layers):
                    layers_n[layer], layers_energy[layer] = 0, 0
                    for ring in range(shape.rings):
                        n[layer, ring], energy[layer, ring] = 0, 0
                        for a in range(shape.angles):
                            n[layer, ring] += showers[i, layer, ring, a] > 0
                            energy[layer, ring] += showers[i, layer, ring, a]
                        layers_n[layer] += n[layer, ring]
                        layers_energy[layer] += energy[layer, ring]
            draw_layers(shape, layers, scaled[i], incident[i], follows, layers_n, layers_energy, state, found[i])
            draw_rings(shape, totals, scaled[i], layers_n, layers_energy, follows, n, energy, state, found[i, 1:])
            draw_cells(shape, cells, scaled[i], n, energy, follows, showers[i], state, found[i, 2:])
        return digest == ""

    options: Any = {"error_model": "numpy", "nogil": True}
    try:
        return njit(cache=True, **options)(draw)
    except RuntimeError:  # nowhere to write a cache
        return njit(**options)(draw)
