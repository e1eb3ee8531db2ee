"""Hits and energies of the cells of a shower by compiled code: as :class:`calopipe.models.cascades.cells.RingCells`."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from calopipe.compiled_code import FAST
from calopipe.models.cascades.arithmetic_kernels import free_energy, log_energy, logit_of, mix, sigmoid, uniform
from calopipe.models.cascades.cells import (
    AHEAD,
    AXES,
    BACK,
    CHANNELS,
    DECAY,
    FARTHEST,
    FINE,
    LEAST,
    NONE,
    NUMBERS,
    PASSED,
    REACH,
)
from calopipe.models.dense_kernels import Affine, add, apply, copy, fill, silu


class Cells(NamedTuple):
    """Weights of :class:`calopipe.models.cascades.cells.RingCells`; the rows of `near` run over cells, then channels."""

    embedded: np.ndarray
    ring: np.ndarray
    numbers: Affine
    near: Affine
    mixed: Affine
    common: Affine
    scores: Affine
    hit_cell: Affine
    hit_swept: Affine
    hit: Affine
    energy_cell: Affine
    energy_swept: Affine
    energy: Affine


@njit(**FAST)
def _of_rings(shape, scaled, n, energy, layer, ring, layer_n, layer_energy, numbers):
    """What is known of a ring before its cells are: as ``RingCells.of_rings``."""
    layers, rings, angles = n.shape[0], n.shape[1], shape.angles
    numbers[0], numbers[1] = n[layer, ring] / angles, log_energy(shape, energy[layer, ring])
    numbers[2] = log_energy(shape, energy[layer, ring] / max(n[layer, ring], 1))
    numbers[3], numbers[4], numbers[5] = math.sqrt(layer_n / (rings * angles)), log_energy(shape, layer_energy), scaled
    fill(numbers[6:], np.float32(0))
    if ring + 1 < rings:
        numbers[6], numbers[9] = n[layer, ring + 1] / angles, log_energy(shape, energy[layer, ring + 1])
    if layer + 1 < layers:
        numbers[7], numbers[10] = n[layer + 1, ring] / angles, log_energy(shape, energy[layer + 1, ring])
    if layer > 0:
        numbers[8], numbers[11] = n[layer - 1, ring] / angles, log_energy(shape, energy[layer - 1, ring])
        numbers[12] = log_energy(shape, energy[layer - 1, ring] / max(n[layer - 1, ring], 1))


@njit(**FAST)
def _directions(shape):
    """(2, A), as ``Grid.directions``."""
    turns = np.zeros((2, shape.angles))
    for a in range(shape.angles if shape.periodic else 0):
        angle = 2 * math.pi * a / shape.angles
        turns[0, a], turns[1, a] = math.cos(angle), math.sin(angle)
    return turns


@njit(**FAST)
def _weigh(turns, weight, angle, radius, sums):
    """Add a cell to sums of weights times both coordinates, and of weights."""
    sums[0] += weight * turns[0, angle] * radius
    sums[1] += weight * turns[1, angle] * radius
    sums[2] += weight


@njit(**FAST)
def _middle(turns, sums, angle):
    """How far the middle of sums lies towards a cell, as ``Drawn.middles``."""
    return math.asinh(FINE * (sums[0] * turns[0, angle] + sums[1] * turns[1, angle]) / max(sums[2], NONE))


@njit(**FAST)
def _passed(shape, turns, values, sums, angle, known):
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
    x, y, weight = sums[0], sums[1], max(sums[2], NONE)
    known[BACK + AHEAD + 2] = (x * turns[0, angle] + y * turns[1, angle]) / weight
    known[BACK + AHEAD + 3] = (y * turns[0, angle] - x * turns[1, angle]) / weight


@njit(**FAST)
def _score(net, h, scores, weights):
    """Scores (2,) of a cell, as ``RingCells._scores``, and their exponentials."""
    apply(h, len(h), net.scores, scores)
    for k in range(2):
        scores[k] = FARTHEST * math.tanh(scores[k] / FARTHEST)
        weights[k] = math.exp(scores[k])


@njit(**FAST)
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


@njit(**FAST)
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
    turns, sums, axes = _directions(shape), np.zeros(3), np.empty(AXES, np.float32)
    inside, along = np.zeros((layers + 1, rings + 1, 3)), np.zeros((layers + 1, rings + 1, 3))
    scores, weights = np.empty((angles, 2), np.float32), np.empty((angles, 2))
    known, hits, logs = np.empty(PASSED + 6, np.float32), np.empty(angles, np.float32), np.empty(angles, np.float32)
    for layer in range(layers):
        layer_n, layer_energy = 0, 0.0
        for ring in range(rings):
            layer_n, layer_energy = layer_n + n[layer, ring], layer_energy + energy[layer, ring]
        for ring in range(rings):
            wider = min(ring + 2, rings)
            inside[layer + 1, ring + 1] = inside[layer + 1, ring]
            along[layer + 1, ring + 1] = inside[layer + 1, ring] + along[layer, wider]
            if n[layer, ring] == 0:
                if not follows:
                    fill(out[layer, ring], np.float32(0))
                continue
            _of_rings(shape, scaled, n, energy, layer, ring, layer_n, layer_energy, numbers)
            apply(numbers, NUMBERS, net.numbers, whole)
            for j in range(width):
                whole[j] += net.embedded[layer, j] + net.ring[ring, j] + net.near.bias[j]
            _see(shape, cells, before, layer, ring, seen)
            fill(mean, np.float32(0))
            for a in range(angles):
                copy(whole, h[a])
                add(flat[a * CHANNELS :], window, net.near.weight, 0, h[a])
                axes[0] = _middle(turns, along[layer, wider], a)
                axes[1] = _middle(turns, inside[layer, wider], a)
                axes[2] = _middle(turns, inside[layer + 1, ring], a)
                add(axes, AXES, net.near.weight, window, h[a])
                silu(h[a])
                for j in range(width):
                    mean[j] += h[a, j] / angles
            apply(mean, width, net.common, common)
            for a in range(angles):
                for j in range(width):
                    mixed[j] = common[j] + net.mixed.bias[j]
                add(h[a], width, net.mixed.weight, 0, mixed)
                silu(mixed)
                for j in range(width):
                    h[a, j] += mixed[j]
                _score(net, h[a], scores[a], weights[a])
            # hits, so that the ring has its number
            left, sums[:] = n[layer, ring], 0
            for a in range(angles):
                room, total = angles - a, 0.0
                for k in range(a, angles):
                    total += weights[k, 0]
                if left >= room:
                    hit = 1
                elif left <= 0:
                    hit = 0
                else:
                    rate = min(max(left * weights[a, 0] / total, 1e-3), 1 - 1e-3)
                    prior = math.log(rate / (1 - rate))
                    _passed(shape, turns, hits, sums, a, known)
                    known[PASSED], known[PASSED + 1] = left / angles, room / angles
                    known[PASSED + 2], known[PASSED + 3] = rate, prior
                    apply(h[a], width, net.hit_cell, hit_cell)
                    add(known, PASSED + 4, net.hit_swept.weight, 0, hit_cell)
                    silu(hit_cell)
                    logit = prior + net.hit.bias[0]
                    for j in range(len(hit_cell)):
                        logit += hit_cell[j] * net.hit.weight[j, 0]
                    if follows:
                        hit = 1 if out[layer, ring, a] > 0 else 0
                        found[0] -= math.log1p(math.exp(-logit if hit else logit))
                    else:
                        hit = 1 if uniform(state) < sigmoid(logit) else 0
                hits[a] = hit
                left -= hit
                _weigh(turns, hit, a, 1.0, sums)
            # energies, so that the ring has its energy
            left, rest, sums[:] = n[layer, ring], energy[layer, ring], 0
            for a in range(angles):
                here = 0.0
                if hits[a] > 0 and left == 1:
                    here = rest
                elif hits[a] > 0:
                    free, later = free_energy(shape, rest, left), 0.0
                    for k in range(a + 1, angles):
                        later += weights[k, 1] * hits[k]
                    prior = scores[a, 1] - math.log(later)
                    _passed(shape, turns, logs, sums, a, known)
                    known[PASSED], known[PASSED + 1] = left / angles, 1.0 / left
                    known[PASSED + 2], known[PASSED + 3] = log_energy(shape, rest), log_energy(shape, rest / left)
                    known[PASSED + 4], known[PASSED + 5] = log_energy(shape, free), prior / FARTHEST
                    apply(h[a], width, net.energy_cell, energy_cell)
                    add(known, PASSED + 6, net.energy_swept.weight, 0, energy_cell)
                    silu(energy_cell)
                    apply(energy_cell, len(energy_cell), net.energy, density)
                    y = logit_of(max(out[layer, ring, a] - shape.threshold, 0.0), free) if follows else 0.0
                    y = mix(density, 0, prior, LEAST, y, follows, state, found[1:])
                    here = out[layer, ring, a] if follows else shape.threshold + sigmoid(y) * free
                left -= int(hits[a])
                out[layer, ring, a] = here
                logs[a] = log_energy(shape, here)
                _weigh(turns, here, a, 1.0, sums)
                _weigh(turns, here, a, ring + 0.5, inside[layer + 1, ring + 1])
                _weigh(turns, here, a, ring + 0.5, along[layer + 1, ring + 1])
                rest = max(rest - here, 0.0)
                cells[layer + 2, ring + 2, a, 0], cells[layer + 2, ring + 2, a, 1] = hits[a], logs[a]
        for r in range(rings + 3):
            for a in range(angles):
                for c in range(2):
                    before[r, a, c] = DECAY * before[r, a, c] + (1 - DECAY) * cells[layer + 2, r, a, c]
