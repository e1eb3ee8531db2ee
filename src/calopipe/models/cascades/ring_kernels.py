"""Hits and energies of the rings of a shower by compiled code: as :class:`calopipe.models.cascades.totals.RingTotals`."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from calopipe.compiled_code import FAST
from calopipe.models.cascades.arithmetic_kernels import choose, free_energy, log_energy, logit_of, mix, sigmoid
from calopipe.models.cascades.totals import DECAYS, LEAST
from calopipe.models.dense_kernels import Affine, add, apply, copy, fill, silu


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


@njit(**FAST)
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
        fill(inner, np.float32(0))
        done += layers_energy[i] / max(total, 1e-12)
        if layers_n[i] > 0:
            for r in range(len(memory)):
                for c in range(told):
                    x[told * r + c] = memory[r, c]
            at = memory.size
            hits, of = layers_n[i], layers_energy[i]
            x[at], x[at + 1], x[at + 2] = (
                log_energy(shape, of),
                math.sqrt(hits / (rings * angles)),
                log_energy(shape, of / hits),
            )
            x[at + 3], x[at + 4], x[at + 5] = done, before, scaled
            at += 6
            for by in (-2, -1, 1, 2):
                inside = 0 <= i - by < layers
                x[at] = log_energy(shape, layers_energy[i - by]) if inside else 0
                x[at + 4] = math.sqrt(layers_n[i - by] / (rings * angles)) if inside else 0
                at += 1
            copy(net.embedded[i], x[at + 4 :])
            apply(x, len(x), net.before_1, c1)
            silu(c1)
            apply(c1, len(c1), net.before_2, context)
            apply(context, width, net.hidden, of_layer)  # the same for all rings
            left_n, left_energy = layers_n[i], of
            for r in range(rings):
                count, here = 0, 0.0
                if left_n > 0:
                    known[0], known[1] = left_n / angles, left_n / ((rings - r) * angles)
                    known[2], known[3] = log_energy(shape, left_energy), log_energy(shape, left_energy / left_n)
                    copy(of_layer, h)
                    add(inner, told, net.hidden.weight, width, h[:width])
                    add(known, 4, net.hidden.weight, width + told, h[:width])
                    add(net.ring[r], len(net.ring[r]), net.hidden.weight, width + told + 4, h[:width])
                    silu(h[:width])
                    apply(h, width, net.counts, logits)
                    least = max(left_n - (rings - 1 - r) * angles, 0)
                    count = choose(logits, least, min(left_n, angles), n[i, r] if follows else -1, state, found)
                    if 0 < count < left_n:
                        part = count / left_n
                        h[width], h[width + 1] = count / angles, part
                        h[width + 2], h[width + 3] = known[2], known[3]
                        apply(h, width + 4, net.energies_1, e1)
                        silu(e1)
                        apply(e1, len(e1), net.energies_2, split)
                        free, shift = free_energy(shape, left_energy, left_n), math.log(part / (1 - part))
                        y = logit_of(free_energy(shape, energy[i, r], count), free) if follows else 0.0
                        share = sigmoid(mix(split, 0, shift, LEAST, y, follows, state, found))
                        here = energy[i, r] if follows else count * shape.threshold + share * free
                    elif count > 0:
                        here = left_energy
                n[i, r], energy[i, r] = count, here
                inner[r], inner[rings + r] = count / angles, log_energy(shape, here)
                inner[2 * rings + r] = here / max(of, 1e-12)
                left_n, left_energy = left_n - count, max(left_energy - here, 0.0)
        else:
            fill(n[i], 0)
            fill(energy[i], 0.0)
        for c in range(told):
            memory[1, c], memory[0, c] = memory[0, c], inner[c]
            for d in range(len(DECAYS)):
                memory[2 + d, c] = DECAYS[d] * memory[2 + d, c] + (1 - DECAYS[d]) * inner[c]
