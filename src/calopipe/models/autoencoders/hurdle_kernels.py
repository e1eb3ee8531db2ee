"""Showers of the hurdle decoder, row by row, by one compiled function: see :mod:`calopipe.models.autoencoders.hurdle_few_rows`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numba import njit

from calopipe.compiled_code import FAST, Network, compiled_once
from calopipe.models.dense_kernels import SILU, copy, network, silu

#: 1 - k of a fraction k is at least this (:func:`calopipe.models.building.alpha_logit`); random numbers keep as far from 0 and 1
_REST, _EDGE = 1e-7, 1e-6


class Decoder(NamedTuple):
    """A hurdle decoder of G groups of the voxels (D,) of L layers, with C conditions.

    hidden: the network of all voxels without its last layer, whose weights (M D, H) and bias (M D,) are `last` and `bias`: M numbers of each voxel.
    nets: weights of the networks of neighbourhoods. voxels, neighbours: of one part after the other, which are the voxels of one group in layers of
    one shape. widths: (P, 4), of the network of a part; 0 where it has none. parts: (P, 6), its group, its first in `voxels`, their number,
    neighbours of each, the first in `neighbours` and the first in `nets`. order: (D,), voxels of each group, layer by layer. counts: (G, L) of
    them. layer_of: (D,). sizes: (L,). scale: (2, D), means and standard deviations of logits. given: (2, C), those of conditions. limits: (2,) of
    log variances. components: of each voxel's mixture. with_hits: conditions end with numbers of hits. least: x of a hit at least.
    """

    hidden: Network
    last: np.ndarray
    bias: np.ndarray
    nets: np.ndarray
    voxels: np.ndarray
    neighbours: np.ndarray
    widths: np.ndarray
    parts: np.ndarray
    order: np.ndarray
    counts: np.ndarray
    layer_of: np.ndarray
    sizes: np.ndarray
    scale: np.ndarray
    given: np.ndarray
    limits: np.ndarray
    components: int
    with_hits: bool
    alpha: float
    least: float


@njit(**FAST)
def _sigmoid(x):
    return 1 / (1 + math.exp(-x))


@njit(**FAST)
def _conditions(cond, decoder, wanted, out):
    """What the decoder sees of conditions: as ``HurdleVAE._condition``; numbers of hits into `wanted`."""
    layers, slope = len(decoder.sizes), 1 - 2 * decoder.alpha
    first = len(cond) - layers if decoder.with_hits else len(cond)
    for k in range(len(cond)):
        value = float(cond[k])
        if k >= first:
            size = decoder.sizes[k - first]
            wanted[k - first] = min(math.floor(min(max(value, 0), 1) * (size + 1)), size)
            value = (wanted[k - first] + 0.5) / (size + 1)
        if k > 0:
            part = slope * min(max(value, 0), 1) + decoder.alpha
            value = math.log(part) - math.log1p(-min(part, 1 - _REST))
        out[k] = (value - decoder.given[0, k]) / decoder.given[1, k]


@njit(**FAST)
def _number(decoder, hidden, at):
    """One of the numbers that the decoder says."""
    total, weight = decoder.bias[at], decoder.last[at]
    for k in range(len(hidden)):
        total += weight[k] * hidden[k]
    return total


@njit(**FAST)
def _describe(decoder, hidden, v, numbers):
    """What the decoder says of a hit voxel's energy, behind the logit of a hit; gives the mean, as ``HurdleVAE._expected``."""
    K, D = decoder.components, len(decoder.layer_of)
    for m in range(1, len(numbers)):
        numbers[m] = _number(decoder, hidden, m * D + v)
    if K == 1:
        return np.float64(numbers[1])
    most, total, mean = numbers[1 + 2 * K :].max(), 0.0, 0.0
    for k in range(K):
        weight = math.exp(numbers[1 + 2 * K + k] - most)
        total += weight
        mean += weight * numbers[1 + k]
    return mean / total


@njit(**FAST)
def _rates(wanted, left, decoder, room, rate):
    """Hits per voxel (L,) that a layer wants beyond those expected of voxels that are left, and how many these are: as ``HurdleVAE._rate``."""
    for layer in range(len(room)):
        room[layer], rate[layer] = 0, wanted[layer]
    for v in range(len(left)):
        layer = decoder.layer_of[v]
        rate[layer] -= left[v]
        room[layer] += left[v] > 0
    for layer in range(len(room)):
        rate[layer] /= max(room[layer], 1)


@njit(**FAST)
def _correct(decoder, part, hidden, known, rate, average, numbers, scratch):
    """Numbers (D, M) of the voxels of one part, of which there are the logits of hits, with what their neighbours add."""
    _, first, count, near, start, net = decoder.parts[part]
    widths, one = decoder.widths[part], scratch[0]
    M = numbers.shape[1]
    for i in range(count):
        v = decoder.voxels[first + i]
        average[v] = _describe(decoder, hidden, v, numbers[v])
        for j in range(near):
            other = decoder.neighbours[start + i * near + j]
            one[j], one[near + j] = known[0, other], known[1, other]
        for m in range(M):
            one[2 * near + m] = numbers[v, m]
        one[2 * near + M] = rate[decoder.layer_of[v]]
        more = network(decoder.nets[net:], widths, SILU, one, scratch[1])
        for m in range(M):
            numbers[v, m] += more[m]


@njit(**FAST)
def _drawn(numbers, limits, components, uniform, normal):
    """A standardised logit of a voxel's mixture."""
    K, k = components, 0
    if K > 1:
        most, total, passed = numbers[1 + 2 * K :].max(), 0.0, 0.0
        for j in range(K):
            total += math.exp(numbers[1 + 2 * K + j] - most)
        for j in range(K - 1):
            passed += math.exp(numbers[1 + 2 * K + j] - most)
            k += passed < uniform * total
    log_var = min(max(numbers[1 + K + k], limits[0]), limits[1])
    return numbers[1 + k] + math.exp(0.5 * log_var) * normal


@njit(**FAST)
def _share(size, wanted, expected, left, room, free, uniform):
    """How many of the wanted hits of a layer fall into a group: as ``HurdleVAE._share``.

    expected, left: sums and variances of probabilities of hits, in the group and beyond it. room: voxels beyond. free: hits in the group, if none were wanted.
    """
    share = expected[1] / max(expected[1] + left[1], 1e-12)
    n = expected[0] + share * (wanted - expected[0] - left[0])
    n += math.sqrt(max(1 - share, 0)) * (free - expected[0])
    n = np.rint(n + uniform - 0.5)
    return min(max(n, wanted - room, 0), wanted, size)


@njit(**FAST)
def _choose(voxels, key, n, hit):
    """The n voxels of the largest keys are hit; of equal ones the first."""
    for v in voxels:
        hit[v] = False
    if n > 0:
        for i in np.argsort(-key[voxels], kind="mergesort")[: int(n)]:
            hit[voxels[i]] = True


@njit(**FAST)
def _hits(group, decoder, numbers, noise, rounding, wanted, left, key, hit):
    """Which voxels of a group are hit: as ``HurdleVAE._draw_hits``."""
    groups = len(decoder.counts)
    first = decoder.counts[:group].sum()
    for v in decoder.order[first : first + decoder.counts[group].sum()]:
        u = min(max(np.float64(noise[v]), _EDGE), 1 - _EDGE)
        key[v] = numbers[v, 0] + math.log(u / (1 - u))
        hit[v] = key[v] > 0
    if not decoder.with_hits:
        return
    beyond, room = np.zeros((len(wanted), 2)), np.zeros(len(wanted))
    for v in range(len(left)):
        layer = decoder.layer_of[v]
        beyond[layer, 0] += left[v]
        beyond[layer, 1] += left[v] * (1 - left[v])
        room[layer] += left[v] > 0
    own = np.zeros(2)
    for layer in range(len(wanted)):
        size = decoder.counts[group, layer]
        voxels = decoder.order[first : first + size]
        first += size
        n = min(wanted[layer], size)
        if groups > 1:
            own[:], free = 0, 0
            for v in voxels:
                p = _sigmoid(numbers[v, 0])
                own[0] += p
                own[1] += p * (1 - p)
                free += key[v] > 0
            n = _share(size, wanted[layer], own, beyond[layer], room[layer], free, rounding[group, layer])
        _choose(voxels, key, n, hit)


def entry(digest: str) -> Callable[..., None]:
    """The compiled function; its cache belongs to this `digest` of the sources.

    It takes latents (N, Z), conditions (N, C), the :class:`Decoder`, random numbers (N, 3, D) of hits (uniform), components (uniform) and energies
    (normal) and (N, G, L) of roundings (uniform), and x (N, D), which it fills: with NaN where a network said so.
    """

    def decode(z, cond, decoder, noise, rounding, x):
        latent, D, L = z.shape[1], x.shape[1], len(decoder.sizes)
        groups, K = len(decoder.counts), decoder.components
        M = 3 if K == 1 else 1 + 3 * K
        wide = max(decoder.hidden.widths.max(), decoder.widths.max())
        one, two, small = np.empty(wide, np.float32), np.empty(wide, np.float32), np.empty((2, wide), np.float32)
        numbers, known = np.empty((D, M), np.float32), np.zeros((2, D + 1), np.float32)
        p, average, left, key = np.empty(D), np.empty(D), np.empty(D), np.empty(D)
        hit, wanted, room, rate = np.zeros(D, np.bool_), np.zeros(L), np.zeros(L), np.zeros(L)
        for row in range(len(x)):
            copy(z[row], one)
            _conditions(cond[row], decoder, wanted, one[latent:])
            hidden = network(decoder.hidden.weights, decoder.hidden.widths, SILU, one, two)
            if len(decoder.hidden.widths) > 1:
                silu(hidden)
            for v in range(D):
                numbers[v, 0] = _number(decoder, hidden, v)
                if groups > 1:
                    p[v] = left[v] = _sigmoid(numbers[v, 0])
            first, sound = 0, True
            for group in range(groups):
                if group > 0 and decoder.with_hits:
                    _rates(wanted, left, decoder, room, rate)
                for part in range(len(decoder.parts)):
                    if group > 0 and decoder.parts[part, 0] == group:
                        _correct(decoder, part, hidden, known, rate, average, numbers, small)
                last = first + decoder.counts[group].sum()
                voxels = decoder.order[first:last]
                first = last
                for v in voxels:
                    left[v] = 0
                    sound &= math.isfinite(numbers[v, 0])
                _hits(group, decoder, numbers, noise[row, 0], rounding[row], wanted, left, key, hit)
                for v in voxels:
                    x[row, v] = 0
                    known[0, v], known[1, v] = -p[v], 0
                    if not hit[v]:
                        continue
                    if group == 0:
                        average[v] = _describe(decoder, hidden, v, numbers[v])
                    y = _drawn(numbers[v], decoder.limits, K, noise[row, 1, v], noise[row, 2, v])
                    sound &= math.isfinite(y)
                    share = _sigmoid(y * decoder.scale[1, v] + decoder.scale[0, v]) - decoder.alpha
                    x[row, v] = min(max(share / (1 - 2 * decoder.alpha), decoder.least), 1)
                    known[0, v], known[1, v] = 1 - p[v], y - average[v]
                    wanted[decoder.layer_of[v]] -= 1
            if not sound:
                x[row] = np.nan

    return compiled_once(decode, digest)
