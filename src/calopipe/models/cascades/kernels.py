"""Showers of a ring cascade, one after another, by compiled code on the CPU: what the torch modules beside it do for a batch.

The batch goes through some ten thousand small tensors for every step of the cascade; a shower alone needs them all. Here a shower is a few
hundred products of a vector and a small matrix, and rings without hits, or inputs that are zero, cost nothing.

What is compiled either draws or follows showers that are given, and then adds up ln p as the modules do: that is how tests hold both
equal. Random numbers come from a counter for each shower, so that they depend neither on threads nor on the showers beside it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from calopipe.compiled_code import compiled_once
from calopipe.models.cascades.cell_kernels import draw_cells
from calopipe.models.cascades.layer_kernels import draw_layers
from calopipe.models.cascades.ring_kernels import draw_rings


def entry(digest: str) -> Callable[..., None]:
    """The compiled function that draws showers; its cache belongs to this `digest` of the sources.

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

    return compiled_once(draw, digest)
