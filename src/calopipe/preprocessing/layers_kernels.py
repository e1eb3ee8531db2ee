"""Layers of a few showers made to have the energies and numbers of hits that they are told, by one compiled function."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numba import njit

from calopipe.compiled_code import FAST, compiled_once
from calopipe.extra_dimensions import TINY


@njit(**FAST)
def _energies(u, incident, scale, out):
    """As :func:`calopipe.extra_dimensions.energies_of`."""
    rest, layers = max(u[0] / scale[0], 0) * incident, len(out)
    for layer in range(layers - 1):
        out[layer] = rest * min(max(u[layer + 1] / scale[layer + 1], 0), 1)
        rest -= out[layer]
    out[layers - 1] = max(rest, 0)


@njit(**FAST)
def _share(x, energy, out):
    """As ``LayerNormalise.inverse`` of fractions without hits."""
    total = 0.0
    for k in range(len(x)):
        total += max(x[k], 0)
    for k in range(len(x)):
        out[k] = max(x[k], 0) * (energy / (total + TINY))


@njit(**FAST)
def _keep(x, energy, n, cut, out):
    """As ``LayerNormalise._keep``."""
    chosen, total = np.argsort(-x, kind="mergesort")[:n], 0.0
    for k in chosen:
        total += max(x[k], TINY)
    factor = max(energy - n * cut, 0) / (total + TINY)
    out[:] = 0
    for k in chosen:
        out[k] = cut + max(x[k], TINY) * factor


def entry(digest: str) -> Callable[..., None]:
    """The compiled function; its cache belongs to this `digest` of the sources.

    Args, of which all numbers are float64: x (N, V), shares of the energies of layers. told (N, L), or (N, 2 L) with numbers of hits as
    :func:`calopipe.hits.dequantise` has them: layer energies in MeV or, where there are incident energies (N,) in MeV, u times a scale. shape: that
    scale (L,), numbers of voxels (L,) and the threshold in MeV. energies (N, L) and out (N, V), both in MeV, are filled: with NaN where it was found
    in a layer.
    """

    def restore(x, told, incident, shape, energies, out):
        scale, sizes, cut = shape
        layers = len(sizes)
        for row in range(len(x)):
            if len(incident):
                _energies(told[row], incident[row], scale, energies[row])
            else:
                energies[row] = told[row, :layers]
            first = 0
            for layer in range(layers):
                size, energy, h = sizes[layer], energies[row, layer], 0.0
                part, made = x[row, first : first + size], out[row, first : first + size]
                first += size
                if told.shape[1] > layers:
                    h = told[row, layers + layer]
                if not math.isfinite(part.sum() + energy + h):
                    made[:] = np.nan
                elif told.shape[1] > layers:
                    n = min(math.floor(min(max(h, 0), 1) * (size + 1)), size)
                    _keep(part, energy, n, cut, made)
                else:
                    _share(part, energy, made)

    return compiled_once(restore, digest)
